//! What others do to a pond's directory: they remove it, replace it, empty its log, or write to the table.

use tinyfs::{Appended, ErrorKind, NodeId, PersistenceLayer, Txn};
use tlogfs::{DeltaStore, LazyStore};

use crate::support::{Pond, commit_of, committed, grow, memory, told, whole, write};

async fn refused(store: &DeltaStore, node: NodeId, bytes: Vec<u8>) {
    let state = store.latest();
    let version = state.node(node).unwrap().versions().unwrap().len() as u64 + 1;
    let error = store.commit(&state, commit_of(&state, vec![write(node, "f", version, memory(bytes))])).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    assert_eq!(store.latest().txn(), state.txn());
}

#[tokio::test]
async fn a_writer_of_a_removed_pond_does_not_bring_it_back() {
    let pond = Pond::new();
    let store = pond.create().await;
    let node = grow(&store, 3).await;
    std::fs::remove_dir_all(pond.path()).unwrap();
    for size in [1, 1_200_000] {
        refused(&store, node, vec![7; size]).await;
        assert!(!pond.path().exists());
    }
    std::fs::create_dir(pond.path()).unwrap();
    refused(&store, node, vec![7]).await;
    assert_eq!(pond.names("log"), Vec::<String>::new());
    let _ = pond.create().await;
}

#[tokio::test]
async fn a_writer_of_a_replaced_pond_leaves_the_new_one_alone() {
    for ahead in [0, 3, 5] {
        let pond = Pond::new();
        let store = pond.create().await;
        let node = grow(&store, 3).await;
        std::fs::remove_dir_all(pond.path()).unwrap();
        let other = pond.create().await;
        let _ = grow(&other, ahead).await;
        let before = pond.names("log");
        let state = store.latest();
        let commit = commit_of(&state, vec![write(node, "f", 4, memory("four"))]);
        let error = store.commit(&state, commit).await.unwrap_err();
        assert!(
            error.to_string().contains("removed or replaced") && error.to_string().contains("open it again"),
            "{error}"
        );
        assert_eq!(pond.names("log"), before, "{ahead}");
        assert_eq!(told(&pond.open().await.latest()), told(&other.latest()), "{ahead}");
        if ahead > 3 {
            assert!(store.refresh().await.unwrap_err().to_string().contains("removed or replaced"));
        }
    }
}

#[tokio::test]
async fn a_pond_whose_log_is_gone_is_not_made_anew() {
    let pond = Pond::new();
    let _ = grow(&*pond.create().await, 2).await;
    std::fs::rename(pond.path().join("_delta_log"), pond.dir.path().join("saved")).unwrap();
    for empty in [false, true] {
        if empty {
            std::fs::create_dir(pond.path().join("_delta_log")).unwrap();
        }
        let error = LazyStore::open(&pond.location(), pond.options.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("restore _delta_log"), "{error}");
    }
    std::fs::remove_dir(pond.path().join("_delta_log")).unwrap();
    std::fs::rename(pond.dir.path().join("saved"), pond.path().join("_delta_log")).unwrap();
    assert_eq!(pond.open().await.latest().txn(), Txn(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pond_opens_while_others_commit() {
    let pond = Pond::upkept(8);
    let store = pond.create().await;
    let node = grow(&store, 0).await;
    let writer = tokio::spawn(async move {
        for version in 1..=150 {
            let _ = committed(&store, &store.latest(), vec![write(node, "f", version, memory("x"))]).await;
        }
        store.settle().await.unwrap();
    });
    let mut least = 0;
    while !writer.is_finished() {
        let txn = pond.open().await.latest().txn().0;
        assert!(txn >= least, "{txn} after {least}");
        least = txn;
    }
    writer.await.unwrap();
    assert_eq!(pond.open().await.latest().txn(), Txn(151));
    let checkpoints = pond.names("_delta_log").iter().filter(|name| name.ends_with(".checkpoint.parquet")).count();
    assert!(checkpoints <= 2, "{checkpoints}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_was_left_behind_finds_the_merged_rows() {
    let pond = Pond::upkept(4);
    let (store, behind) = (pond.create().await, pond.open().await);
    let node = grow(&store, 3).await;
    store.settle().await.unwrap();
    let unmerged = pond.log_files();
    let state = committed(&store, &store.latest(), vec![write(node, "f", 4, memory("four"))]).await;
    for file in unmerged.iter().filter(|file| file.file_name().unwrap().len() < 70) {
        std::fs::remove_file(file).unwrap();
    }
    assert_eq!(told(&behind.refresh().await.unwrap()), told(&state));
    let part = state.node(node).unwrap().versions().unwrap().get(1).unwrap().part.clone();
    assert_eq!(whole(&behind, &part).await.unwrap(), "bytes of version 1");
    let next = commit_of(&behind.latest(), vec![write(node, "f", 5, memory("five"))]);
    assert!(matches!(behind.commit(&behind.latest(), next).await.unwrap(), Appended::Committed(_)));
}
