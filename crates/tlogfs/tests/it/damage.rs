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
