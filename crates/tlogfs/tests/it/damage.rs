//! What is not what was written is an error that says where.

use tinyfs::{EntryKind, ErrorKind, NodeId, PersistenceLayer, Txn};

use crate::support::{Pond, committed, create, flip, grow, memory, streamed, told, whole, write};

#[tokio::test]
async fn a_changed_log_file_is_seen() {
    let pond = Pond::new();
    let store = pond.create().await;
    let node = grow(&store, 3).await;
    let file = &pond.log_files()[2];
    flip(file);
    let error = pond.try_open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(error.to_string().contains(name) && error.to_string().contains("transaction 3"), "{error}");
    // The handle that knew better still has the state; a reader without a cache sees the damage.
    assert!(store.latest().node(node).is_some());
    assert_eq!(store.log(Txn(4)).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_missing_log_file_is_seen() {
    let mut pond = Pond::new();
    pond.options.cache_bytes = 0;
    let store = pond.create().await;
    let node = grow(&store, 3).await;
    std::fs::remove_file(&pond.log_files()[1]).unwrap();
    let error = pond.try_open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("transaction 2 (log/0000"), "{error}");
    let part = store.latest().node(node).unwrap().versions().unwrap().get(1).unwrap().part.clone();
    assert_eq!(whole(&store, &part).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_truncated_or_empty_entry_is_seen() {
    for keep in [0, 1, 200, 400] {
        let pond = Pond::new();
        let (store, other) = (pond.create().await, pond.open().await);
        let _ = grow(&store, 2).await;
        let mut bytes = std::fs::read(pond.entry(2)).unwrap();
        bytes.truncate(keep);
        std::fs::write(pond.entry(2), bytes).unwrap();
        for error in [pond.try_open().await.unwrap_err(), other.refresh().await.unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert!(error.to_string().contains("00000000000000000002.json"), "{keep}: {error}");
        }
        assert_eq!(other.latest().txn(), Txn(1));
    }
}

#[tokio::test]
async fn a_missing_entry_is_seen() {
    let pond = Pond::new();
    let _ = grow(&*pond.create().await, 3).await;
    std::fs::remove_file(pond.entry(2)).unwrap();
    assert_eq!(pond.try_open().await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn every_flipped_byte_of_an_entry_is_seen_or_harmless() {
    let pond = Pond::new();
    let store = pond.create().await;
    let _ = grow(&store, 2).await;
    let good = std::fs::read(pond.entry(2)).unwrap();
    for index in (0..good.len()).step_by(7) {
        let mut bytes = good.clone();
        bytes[index] ^= 1;
        std::fs::write(pond.entry(2), &bytes).unwrap();
        match pond.try_open().await {
            Ok(opened) => assert_eq!(told(&opened.latest()), told(&store.latest()), "byte {index}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {index}: {error}"),
        }
    }
}

#[tokio::test]
async fn a_changed_part_is_seen() {
    let mut pond = Pond::new();
    pond.options.inline_limit = 4;
    let store = pond.create().await;
    let node = NodeId::unique();
    let part = streamed(&store, &["ten bytes!".into()]).await;
    let operations = vec![create(node, "f", EntryKind::File, None), write(node, "f", 1, part.clone())];
    let _ = committed(&store, &store.latest(), operations).await;
    let hex = part.hash.to_hex();
    let file = pond.path().join("_content").join(&hex[..2]).join(hex.as_str());
    flip(&file);
    let error = whole(&store, &part).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(hex.as_str()), "{error}");
    std::fs::write(&file, "short").unwrap();
    assert_eq!(store.read_part(&part, 1..3).await.unwrap_err().kind(), ErrorKind::Corrupt);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(whole(&store, &part).await.unwrap_err().kind(), ErrorKind::Corrupt);
    // Writing the same bytes again heals it.
    let _ = streamed(&store, &["ten bytes!".into()]).await;
    assert_eq!(whole(&store, &part).await.unwrap(), "ten bytes!");
}

#[tokio::test]
async fn a_flipped_bit_of_a_part_is_seen_by_every_range_that_covers_it() {
    let pond = Pond::new();
    let store = pond.create().await;
    let good: Vec<u8> = (0..1_100_003_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let part = streamed(&store, &[good.clone().into()]).await;
    assert_eq!(part.hash, blake3::hash(&good));
    let hex = part.hash.to_hex();
    let file = pond.path().join("_content").join(&hex[..2]).join(hex.as_str());
    let hashes = pond.path().join("_hashes").join(&hex[..2]).join(hex.as_str());
    assert_eq!(std::fs::metadata(&hashes).unwrap().len(), 9 * 32);
    let ranges = |at: u64| [at..at + 1, at.saturating_sub(70_000)..at + 1, at..part.size, 0..at + 1, 0..part.size];
    for step in 0..40 {
        let at = step * (good.len() - 1) / 39;
        let mut bad = good.clone();
        bad[at] ^= 1 << (step % 8);
        std::fs::write(&file, &bad).unwrap();
        let at = at as u64;
        // One handle has the hashes in memory, the other reads them.
        for store in [&store, &pond.open().await] {
            for range in ranges(at) {
                let error = store.read_part(&part, range.clone()).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{at} {range:?}");
                assert!(error.to_string().contains("are not those that were written"), "{error}");
            }
            let block = at / 131_072 * 131_072;
            for range in [0..block, block + 131_072..part.size] {
                if range.start < range.end {
                    let read = store.read_part(&part, range.clone()).await.unwrap();
                    assert_eq!(read, good[range.start as usize..range.end as usize]);
                }
            }
        }
    }
    // Hashes that are damaged or gone are made anew, from a part that is checked as a whole.
    for damage in [Some(vec![1; 9 * 32]), Some(Vec::new()), None] {
        match damage {
            Some(bytes) => std::fs::write(&hashes, bytes).unwrap(),
            None => std::fs::remove_file(&hashes).unwrap(),
        }
        std::fs::write(&file, &good[..good.len() - 1]).unwrap();
        assert_eq!(pond.open().await.read_part(&part, 0..9).await.unwrap_err().kind(), ErrorKind::Corrupt);
        std::fs::write(&file, &good).unwrap();
        assert_eq!(pond.open().await.read_part(&part, 131_000..131_100).await.unwrap(), good[131_000..131_100]);
        assert_eq!(std::fs::metadata(&hashes).unwrap().len(), 9 * 32);
    }
}

#[tokio::test]
async fn what_a_crash_leaves_is_ignored() {
    let pond = Pond::new();
    let store = pond.create().await;
    let node = grow(&store, 2).await;
    let log = pond.path().join("log");
    std::fs::copy(&pond.log_files()[0], log.join("00000000000000000004-orphan.parquet")).unwrap();
    std::fs::write(log.join("00000000000000000004-half.parquet#123"), "PAR1").unwrap();
    std::fs::write(pond.path().join("_delta_log/00000000000000000004.json#99"), "{").unwrap();
    std::fs::create_dir_all(pond.path().join("_content")).unwrap();
    std::fs::write(pond.path().join("_content/_tmp#7"), "half a part").unwrap();
    let again = pond.open().await;
    assert_eq!(told(&again.latest()), told(&store.latest()));
    let state = committed(&again, &again.latest(), vec![write(node, "f", 3, memory("three"))]).await;
    assert_eq!(state.txn(), Txn(4));
    assert_eq!(told(&pond.open().await.latest()), told(&state));
}

/// The numbers in the entry's `contentRanges`, as text.
fn ranges_of(entry: &str) -> &str {
    let (_, rest) = entry.split_once(r#""contentRanges":""#).unwrap();
    rest.split_once('"').unwrap().0
}

#[tokio::test]
async fn a_damaged_part_in_the_log_is_seen_when_it_is_read_and_all_else_at_once() {
    // Small enough to be read as a whole, and not.
    for size in [1000, 60_000] {
        let mut pond = Pond::new();
        pond.options.cache_bytes = 0;
        let store = pond.create().await;
        let state = committed(&store, &store.latest(), vec![]).await;
        let nodes = [NodeId::unique(), NodeId::unique()];
        let operations = nodes.iter().zip(["a", "b"]).flat_map(|(node, name)| {
            let part = memory(name.repeat(size));
            [create(*node, name, EntryKind::File, None), write(*node, name, 1, part)]
        });
        let state = committed(&store, &state, operations.collect()).await;
        let entry = std::fs::read_to_string(pond.entry(2)).unwrap();
        let bounds: Vec<usize> =
            ranges_of(&entry).split(['[', ']', ',']).filter_map(|number| number.parse().ok()).collect();
        let [start, end] = bounds[..] else { panic!("one row group") };
        assert!(end - start > 2 * size);
        let path = pond.log_files().pop().unwrap();
        let good = std::fs::read(&path).unwrap();
        let steps = (0..start).step_by(97).chain([start - 1, end]).chain((end..good.len()).step_by(97));
        for at in steps.chain([good.len() - 1]) {
            let mut bad = good.clone();
            bad[at] ^= 4;
            std::fs::write(&path, bad).unwrap();
            let error = pond.try_open().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {at}");
            assert!(error.to_string().contains("transaction 2") && error.to_string().contains("not those"), "{error}");
        }
        for at in (start..end).step_by(size / 7).chain([start, end - 1]) {
            let mut bad = good.clone();
            bad[at] ^= 4;
            std::fs::write(&path, bad).unwrap();
            let opened = pond.open().await;
            assert_eq!(told(&opened.latest()), told(&state), "byte {at}");
            assert_eq!(opened.log(Txn(2)).await.unwrap().len(), 2);
            let part = state.node(nodes[0]).unwrap().versions().unwrap().get(1).unwrap().part.clone();
            let error = whole(&opened, &part).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {at}");
            assert!(error.to_string().contains("transaction 2"), "{error}");
        }
        for length in [0, 3, start, end, good.len() - 1] {
            std::fs::write(&path, &good[..length]).unwrap();
            let error = pond.try_open().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{length} bytes: {error}");
        }
        std::fs::write(&path, [&good[..], b"more"].concat()).unwrap();
        assert_eq!(pond.try_open().await.unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[tokio::test]
async fn ranges_that_lie_are_seen() {
    let pond = Pond::new();
    let store = pond.create().await;
    let node = NodeId::unique();
    let operations = [1_u8, 2, 3].map(|version| write(node, "f", version.into(), memory(vec![version; 50_000])));
    let operations = [vec![create(node, "f", EntryKind::File, None)], operations.into()].concat();
    let _ = committed(&store, &store.latest(), operations).await;
    let good = std::fs::read_to_string(pond.entry(1)).unwrap();
    let size = std::fs::metadata(&pond.log_files()[0]).unwrap().len();
    let ranges = ranges_of(&good);
    let lies = [
        String::new(),
        "[]".to_owned(),
        "null".to_owned(),
        format!("[[0,{size}]]"),
        format!("[[0,{}]]", size + 1),
        format!("[[4,{}],[{},{}]]", size / 2, size / 2 - 1, size),
        "[[4,100000],[200,300]]".to_owned(),
        "[[4,18446744073709551615]]".to_owned(),
        "[[4,100000000000000000000]]".to_owned(),
        "[[100000,4]]".to_owned(),
        "[[-4,100000]]".to_owned(),
        "[[4,100001]]".to_owned(),
    ];
    for lie in lies {
        std::fs::write(pond.entry(1), good.replace(ranges, &lie)).unwrap();
        let error = pond.try_open().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{lie}: {error}");
        assert!(error.to_string().contains("log/0000"), "{lie}: {error}");
    }
    // A length that no memory holds is not believed either.
    for length in [size + 1, 1 << 40, i64::MAX as u64] {
        std::fs::write(pond.entry(1), good.replace(&format!(r#""size":{size}"#), &format!(r#""size":{length}"#)))
            .unwrap();
        assert_eq!(pond.try_open().await.unwrap_err().kind(), ErrorKind::Corrupt);
    }
    std::fs::write(pond.entry(1), good).unwrap();
    let _ = pond.open().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_gone_is_named() {
    for interval in [0, 4] {
        let pond = Pond::upkept(interval);
        let store = pond.create().await;
        let node = grow(&store, 0).await;
        for version in 1..=10 {
            let _ = committed(&store, &store.latest(), vec![write(node, "f", version, memory("x"))]).await;
            store.settle().await.unwrap();
        }
        for txn in 0..11 {
            let good = std::fs::read(pond.entry(txn)).unwrap();
            std::fs::remove_file(pond.entry(txn)).unwrap();
            match pond.try_open().await {
                // What is before a checkpoint is not needed.
                Ok(opened) => {
                    assert!(interval == 4 && txn <= 8, "{txn}");
                    assert_eq!(told(&opened.latest()), told(&store.latest()));
                }
                Err(error) => {
                    assert!(interval == 0 || txn > 8, "{txn}: {error}");
                    let name = format!("_delta_log/{txn:020}.json is gone");
                    assert!(error.to_string().contains(&name) && error.to_string().contains("restore"), "{error}");
                }
            }
            std::fs::write(pond.entry(txn), good).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_checkpoint_is_told_in_one_line() {
    let pond = Pond::upkept(4);
    let store = pond.create().await;
    let node = grow(&store, 0).await;
    for version in 1..=10 {
        let _ = committed(&store, &store.latest(), vec![write(node, "f", version, memory("x"))]).await;
        store.settle().await.unwrap();
    }
    let checkpoint = pond.path().join("_delta_log/00000000000000000008.checkpoint.parquet");
    let good = std::fs::read(&checkpoint).unwrap();
    let cut = [0, 10, good.len() / 2, good.len() - 1].map(|length| good[..length].to_vec());
    let flips = (0..good.len()).step_by(good.len() / 40).map(|at| {
        let mut bad = good.clone();
        bad[at] ^= 8;
        bad
    });
    let mut seen = 0;
    for bad in cut.into_iter().chain(flips) {
        std::fs::write(&checkpoint, bad).unwrap();
        match pond.try_open().await {
            Ok(opened) => assert_eq!(told(&opened.latest()), told(&store.latest())),
            Err(error) => {
                seen += 1;
                let text = error.to_string();
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{text}");
                assert!(text.lines().count() == 1 && text.len() < 600, "{text}");
            }
        }
    }
    assert!(seen > 4);
    // As the error says: without its checkpoints a pond opens from the entries.
    std::fs::write(&checkpoint, "bad").unwrap();
    let text = pond.try_open().await.unwrap_err().to_string();
    assert!(text.contains("00000000000000000008.checkpoint.parquet, _last_checkpoint from"), "{text}");
    for name in pond.names("_delta_log").iter().filter(|name| name.contains("checkpoint")) {
        std::fs::remove_file(pond.path().join("_delta_log").join(name)).unwrap();
    }
    assert_eq!(told(&pond.open().await.latest()), told(&store.latest()));
    // A checkpoint that says nothing, and an entry that is gone.
    std::fs::write(&checkpoint, "").unwrap();
    std::fs::remove_file(pond.entry(6)).unwrap();
    let text = pond.try_open().await.unwrap_err().to_string();
    assert!(text.contains("_delta_log/00000000000000000006.json is gone") && text.len() < 300, "{text}");
}
