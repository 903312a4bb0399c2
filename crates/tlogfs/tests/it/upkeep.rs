//! Checkpoints and merges: they change nothing that can be seen.

use std::time::Duration;

use futures::FutureExt;
use tinyfs::{Appended, PersistenceLayer, Place, Txn};

use crate::support::{Pond, commit_of, committed, grow, memory, told, whole, write};

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_and_merges_keep_everything() {
    let pond = Pond::upkept(4);
    let (store, other) = (pond.create().await, pond.open().await);
    let node = grow(&store, 0).await;
    let mut state = store.latest();
    for version in 1..=99 {
        state = committed(&store, &state, vec![write(node, "f", version, memory(format!("v{version}")))]).await;
        store.settle().await.unwrap();
    }
    assert!(pond.names("_delta_log").contains(&"00000000000000000100.checkpoint.parquet".to_owned()));
    assert!(pond.names("_delta_log").contains(&"_last_checkpoint".to_owned()));
    assert!(pond.names("log").len() > 100, "merged files are there");
    let removes = |txn| std::fs::read_to_string(pond.entry(txn)).unwrap().matches(r#"{"remove""#).count();
    assert_eq!((removes(64), removes(65), removes(69)), (0, 4, 16), "merged files are merged again");

    let again = pond.open().await;
    assert_eq!(told(&again.latest()), told(&state));
    assert_eq!(told(&other.refresh().await.unwrap()), told(&state));
    for store in [&store, &again, &other] {
        let versions = store.latest().node(node).unwrap().versions().unwrap().clone();
        for version in versions.iter() {
            assert_eq!(whole(store, &version.part).await.unwrap(), format!("v{}", version.number));
        }
        for txn in [1, 17, 64, 65, 99] {
            let versions = store.state_at(Txn(txn)).await.unwrap().node(node).unwrap().versions().unwrap().len();
            assert_eq!(versions as u64, txn - 1);
        }
        let log = store.log(Txn(100)).await.unwrap();
        assert!(log.iter().zip(1..).all(|(entry, txn)| entry.txn == Txn(txn)), "{log:?}");
        assert_eq!(log.len(), 100);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pond_is_upkept_with_its_64th_transaction_and_keeps_64_kib_in_a_row() {
    let pond = Pond::new();
    let store = pond.create().await;
    let node = grow(&store, 62).await;
    store.settle().await.unwrap();
    let checkpoints = || pond.names("_delta_log").into_iter().filter(|name| name.contains("checkpoint")).collect();
    let (before, merged): (Vec<String>, _) = (checkpoints(), pond.log_files().len());
    assert_eq!((store.latest().txn(), before, merged), (Txn(63), vec![], 63));
    let more = memory(vec![7; 65_537]);
    let operations = vec![write(node, "f", 63, memory(vec![7; 65_536])), write(node, "f", 64, more.clone())];
    let state = committed(&store, &store.latest(), operations).await;
    store.settle().await.unwrap();
    let after: Vec<String> = checkpoints();
    assert_eq!(after, ["00000000000000000064.checkpoint.parquet", "_last_checkpoint"]);
    // The one part that is too large for a row.
    let hex = more.hash.to_hex();
    assert_eq!(pond.names("_content"), [&hex[..2]]);
    assert_eq!(pond.names(&format!("_content/{}", &hex[..2])), [hex.as_str()]);
    let versions = state.node(node).unwrap().versions().unwrap();
    let places = [63, 64].map(|number| versions.get(number).unwrap().part.place.clone());
    assert_eq!(places, [Place::Log(Txn(64)), Place::Content]);
    assert_eq!(whole(&store, &versions.get(63).unwrap().part).await.unwrap(), vec![7; 65_536]);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_before_a_vacuum_find_the_merged_files() {
    let mut pond = Pond::upkept(4);
    pond.options.cache_bytes = 0;
    let store = pond.create().await;
    let node = grow(&store, 3).await;
    let reader = pond.open().await;
    store.settle().await.unwrap();
    let before = pond.log_files();
    let state = committed(&store, &store.latest(), vec![write(node, "f", 4, memory("four"))]).await;
    for file in before.iter().filter(|file| file.file_name().unwrap().len() < 70) {
        std::fs::remove_file(file).unwrap();
    }
    let part = reader.latest().node(node).unwrap().versions().unwrap().get(2).unwrap().part.clone();
    assert_eq!(whole(&reader, &part).await.unwrap(), "bytes of version 2");
    assert_eq!(told(&reader.latest()), told(&state));
    assert_eq!(pond.open().await.state_at(Txn(2)).await.unwrap().txn(), Txn(2));
}

#[tokio::test]
async fn programs_that_commit_once_get_a_merge_too() {
    let pond = Pond::upkept(4);
    let node = grow(&*pond.create().await, 0).await;
    for version in 1..=40 {
        let store = pond.open().await;
        let part = memory(version.to_string());
        let _ = committed(&store, &store.latest(), vec![write(node, "f", version, part)]).await;
        store.settle().await.unwrap();
    }
    let entries: String = (1..=41).map(|txn| std::fs::read_to_string(pond.entry(txn)).unwrap()).collect();
    assert!(entries.matches(r#"{"remove""#).count() >= 16, "{entries}");
    assert_eq!(pond.open().await.latest().node(node).unwrap().versions().unwrap().len(), 40);
}

/// To copy the part, the writer must read a log file that was merged away, and thus learn of newer commits, while it
/// commits itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_merged_row_can_be_committed_again() {
    let mut pond = Pond::upkept(4);
    pond.options.cache_bytes = 0;
    let store = pond.create().await;
    let node = grow(&store, 3).await;
    let behind = pond.open().await;
    store.settle().await.unwrap();
    let unmerged = pond.log_files();
    let _ = committed(&store, &store.latest(), vec![write(node, "f", 4, memory("four"))]).await;
    for file in unmerged.iter().filter(|file| file.file_name().unwrap().len() < 70) {
        std::fs::remove_file(file).unwrap();
    }
    let base = behind.latest();
    let old = base.node(node).unwrap().versions().unwrap().get(1).unwrap().part.clone();
    let again = commit_of(&base, vec![write(node, "f", 4, old)]);
    let outcome = tokio::time::timeout(Duration::from_secs(20), behind.commit(&base, again)).await.unwrap();
    assert!(matches!(outcome.unwrap(), Appended::Stale(newest) if newest.txn() == Txn(5)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_ends_though_its_caller_is_gone() {
    let pond = Pond::new();
    let store = pond.create().await;
    let node = grow(&store, 0).await;
    let base = store.latest();
    let commit = commit_of(&base, vec![write(node, "f", 1, memory("one"))]);
    assert!(store.commit(&base, commit).now_or_never().is_none());
    // The next one waits for the first, which nobody waits for.
    let next = commit_of(&base, vec![write(node, "f", 1, memory("another"))]);
    while store.refresh().await.unwrap().txn() == base.txn() {
        tokio::task::yield_now().await;
    }
    assert!(matches!(store.commit(&base, next).await.unwrap(), Appended::Stale(newest) if newest.txn() == Txn(2)));
}
