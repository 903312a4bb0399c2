//! Commit, reopen, refresh, stale, read-only.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tinyfs::{
    Action, Appended, Attributes, EntryKind, ErrorKind, NodeId, Operation, PersistenceLayer, Place, State, Txn,
};
use tlogfs::{DeltaStore, LazyStore, Location, StoreOptions};

use crate::support::{Pond, at, commit_of, committed, create, grow, memory, streamed, told, whole, write};

#[tokio::test]
async fn all_operations_survive_a_reopen() {
    let pond = Pond::new();
    let store = pond.create().await;
    assert_eq!(store.latest().txn(), Txn(0));
    let [file, dir, link, view, gone] = std::array::from_fn(|_| NodeId::unique());
    let state = committed(
        &store,
        &store.latest(),
        vec![
            create(file, "a.series", EntryKind::File, None),
            write(file, "a.series", 1, memory("one")),
            create(dir, "dir", EntryKind::Directory, None),
            create(link, "link", EntryKind::Symlink, Some("/a.series")),
            create(view, "view", EntryKind::View, Some("SELECT 'ä'\n")),
            create(gone, "gone", EntryKind::Dynamic, Some("{}")),
        ],
    )
    .await;
    let renamed = Operation { node: file, parent: dir, name: "b".into(), action: Action::Rename };
    let removed = Operation { node: gone, parent: NodeId::ROOT, name: "gone".into(), action: Action::Remove };
    let action = Action::Update { text: Some("SELECT 2".into()), attributes: Attributes::default() };
    let updated = Operation { node: view, parent: NodeId::ROOT, name: "view".into(), action };
    let second = Operation { parent: dir, ..write(file, "b", 2, memory("")) };
    let state = committed(&store, &state, vec![renamed, removed, updated, second]).await;
    let state = committed(&store, &state, vec![]).await;

    let again = pond.open().await;
    assert_eq!(again.pond_id(), store.pond_id());
    assert_eq!((again.latest().txn(), again.latest().committed_at()), (Txn(3), at(3)));
    assert_eq!(told(&again.latest()), told(&state));
    assert_eq!(again.latest().path_of(file).unwrap().as_str(), "/dir/b");
    let versions = again.latest().node(file).unwrap().versions().unwrap().clone();
    assert_eq!(versions.get(1).unwrap().part.place, Place::Log(Txn(1)));
    assert_eq!(whole(&again, &versions.get(1).unwrap().part).await.unwrap(), "one");
    assert_eq!(whole(&again, &versions.get(2).unwrap().part).await.unwrap(), "");
    assert_eq!(again.read_part(&versions.get(1).unwrap().part, 1..3).await.unwrap(), "ne");
    let beyond = again.read_part(&versions.get(1).unwrap().part, 1..4).await.unwrap_err();
    assert_eq!(beyond.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn the_past_is_kept() {
    let pond = Pond::new();
    let store = pond.create().await;
    let node = grow(&store, 4).await;
    for store in [store, pond.open().await] {
        for txn in [2, 5, 1, 0, 3] {
            let state = store.state_at(Txn(txn)).await.unwrap();
            assert_eq!(state.txn(), Txn(txn));
            let versions = state.node(node).map(|node| node.versions().unwrap().len());
            assert_eq!(versions, txn.checked_sub(1).map(|count| usize::try_from(count).unwrap()));
        }
        assert_eq!(store.state_at(Txn(6)).await.unwrap_err().kind(), ErrorKind::NotFound);
        let log = store.log(Txn(3)).await.unwrap();
        let told: Vec<_> =
            log.iter().map(|e| (e.txn.0, e.committed_at, e.info.message.as_str(), e.operations)).collect();
        assert_eq!(told, [(1, at(1), "change 1", 1), (2, at(2), "change 2", 1), (3, at(3), "change 3", 1)]);
        assert_eq!(log[0].info.author, "ann");
        assert_eq!(store.log(Txn(9)).await.unwrap().len(), 5);
    }
}

#[tokio::test]
async fn two_handles_see_each_other() {
    let pond = Pond::new();
    let (one, two) = (pond.create().await, pond.open().await);
    let node = grow(&one, 3).await;
    assert_eq!(two.latest().txn(), Txn(0));
    let seen = two.refresh().await.unwrap();
    assert_eq!(told(&seen), told(&one.latest()));
    let part = seen.node(node).unwrap().versions().unwrap().last().unwrap().part.clone();
    assert_eq!(whole(&two, &part).await.unwrap(), "bytes of version 3");

    let mine = committed(&two, &seen, vec![write(node, "f", 4, memory("four"))]).await;
    let before = pond.names("log");
    let late = commit_of(&one.latest(), vec![write(node, "f", 4, memory("late"))]);
    match one.commit(&one.latest(), late).await.unwrap() {
        Appended::Stale(newest) => assert_eq!(told(&newest), told(&mine)),
        Appended::Committed(_) => panic!("two commits of one number"),
    }
    assert_eq!(pond.names("log"), before, "the loser's rows are gone");
    assert_eq!(told(&one.latest()), told(&pond.open().await.latest()));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_writers_one_wins_each_time() {
    let pond = Pond::upkept(8);
    let node = grow(&*pond.create().await, 0).await;
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let store = pond.open().await;
        tasks.push(tokio::spawn(async move {
            let mut state = store.latest();
            for _ in 0..20 {
                loop {
                    let version = state.node(node).unwrap().versions().unwrap().len() as u64 + 1;
                    let commit = commit_of(&state, vec![write(node, "f", version, memory(format!("{version}")))]);
                    match store.commit(&state, commit).await.unwrap() {
                        Appended::Committed(next) => {
                            state = next;
                            break;
                        }
                        Appended::Stale(next) => state = next,
                    }
                }
            }
            store.settle().await.unwrap();
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let store = pond.open().await;
    assert_eq!(store.latest().txn(), Txn(81));
    let versions = store.latest().node(node).unwrap().versions().unwrap().clone();
    for version in versions.iter() {
        assert_eq!(whole(&store, &version.part).await.unwrap(), version.number.to_string());
    }
}

#[tokio::test]
async fn large_parts_are_files_of_their_own() {
    let mut pond = Pond::new();
    pond.options.inline_limit = 10;
    let store = pond.create().await;
    let bytes = Bytes::from((0..3_000_000_u32).map(|n| (n % 251) as u8).collect::<Vec<_>>());
    let large =
        streamed(&store, &[bytes.slice(..700_000), bytes.slice(700_000..2_000_000), bytes.slice(2_000_000..)]).await;
    assert_eq!((large.hash, large.size, &large.place), (blake3::hash(&bytes), 3_000_000, &Place::Content));
    assert_eq!(whole(&store, &large).await.unwrap(), bytes, "it is readable before the commit");
    let small = streamed(&store, &[Bytes::from_static(b"12345"), Bytes::from_static(b"67890")]).await;
    assert_eq!(small.place, Place::Memory(Bytes::from_static(b"1234567890")));
    let given = memory("larger than ten bytes");
    drop({
        let mut unfinished = store.create_part().await.unwrap();
        unfinished.write(bytes.clone()).await.unwrap();
        unfinished
    });

    let node = NodeId::unique();
    let parts = [large, small, given];
    let mut operations = vec![create(node, "f", EntryKind::File, None)];
    operations.extend(parts.iter().zip(1..).map(|(part, version)| write(node, "f", version, part.clone())));
    let _ = committed(&store, &store.latest(), operations).await;
    let hex = parts[0].hash.to_hex();
    assert_eq!(std::fs::read(pond.path().join("_content").join(&hex[..2]).join(hex.as_str())).unwrap(), bytes);
    let mut shards: Vec<_> = [&parts[0], &parts[2]].map(|part| part.hash.to_hex()[..2].to_owned()).into();
    shards.sort();
    assert_eq!(pond.names("_content"), shards, "the unfinished part is gone");
    for store in [store, pond.open().await] {
        let versions = store.latest().node(node).unwrap().versions().unwrap().clone();
        let places: Vec<_> = versions.iter().map(|version| version.part.place.clone()).collect();
        assert_eq!(places, [Place::Content, Place::Log(Txn(1)), Place::Content]);
        let part = &versions.get(1).unwrap().part;
        assert_eq!(store.read_part(part, 1_999_990..2_000_010).await.unwrap(), bytes.slice(1_999_990..2_000_010));
        assert_eq!(store.read_part(part, 5..5).await.unwrap(), "");
        assert_eq!(store.read_part(part, 0..3_000_001).await.unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(whole(&store, &versions.get(2).unwrap().part).await.unwrap(), "1234567890");
        assert_eq!(whole(&store, &versions.get(3).unwrap().part).await.unwrap(), "larger than ten bytes");
    }
}

#[tokio::test]
async fn a_part_of_an_older_row_can_be_committed_again() {
    let pond = Pond::new();
    let store = pond.create().await;
    let node = grow(&store, 1).await;
    let old = store.latest().node(node).unwrap().versions().unwrap().get(1).unwrap().part.clone();
    let state = committed(&store, &store.latest(), vec![write(node, "f", 2, old)]).await;
    let part = state.node(node).unwrap().versions().unwrap().get(2).unwrap().part.clone();
    assert_eq!(part.place, Place::Log(Txn(3)));
    assert_eq!(whole(&*pond.open().await, &part).await.unwrap(), "bytes of version 1");
}

#[tokio::test]
async fn read_only_refuses_and_creates_nothing() {
    let mut pond = Pond::new();
    pond.options.read_only = true;
    let absent = LazyStore::open(&pond.location(), pond.options.clone()).await.unwrap_err();
    assert_eq!(absent.kind(), ErrorKind::NotFound);
    let refused = DeltaStore::create(&pond.location(), pond.options.clone()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ReadOnly);
    assert!(!pond.path().exists());

    let writer = DeltaStore::create(&pond.location(), StoreOptions::default()).await.unwrap();
    let reader = pond.open().await;
    let node = grow(&writer, 1).await;
    let state = reader.refresh().await.unwrap();
    assert_eq!(state.txn(), Txn(2));
    let refused = reader.commit(&state, commit_of(&state, vec![])).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ReadOnly);
    assert_eq!(reader.create_part().await.unwrap_err().kind(), ErrorKind::ReadOnly);
    assert!(state.node(node).is_some());
}

#[tokio::test]
async fn a_pond_is_made_once() {
    let pond = Pond::new();
    assert_eq!(pond.try_open().await.unwrap_err().kind(), ErrorKind::NotFound);
    std::fs::create_dir_all(pond.path()).unwrap();
    assert_eq!(pond.try_open().await.unwrap_err().kind(), ErrorKind::NotFound);
    let location = pond.location();
    let create = || DeltaStore::create(&location, StoreOptions::default());
    let (one, two, three) = tokio::join!(create(), create(), create());
    assert_eq!([&one, &two, &three].iter().filter(|made| made.is_ok()).count(), 1);
    let again = DeltaStore::create(&location, StoreOptions::default()).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
}

#[tokio::test]
async fn the_first_write_makes_the_pond() {
    let pond = Pond::new();
    let lazy = async || LazyStore::open(&pond.location(), StoreOptions::default()).await.unwrap();
    let (one, two, reader) = (lazy().await, lazy().await, lazy().await);
    let change =
        |state: &State, name: &str| commit_of(state, vec![create(NodeId::unique(), name, EntryKind::File, None)]);
    assert_eq!(reader.refresh().await.unwrap().txn(), Txn(0));
    assert_eq!(reader.log(Txn(0)).await.unwrap(), []);
    assert_eq!(reader.state_at(Txn(1)).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!pond.path().exists());

    let (empty, other) = (one.latest(), two.latest());
    let (first, second) = (change(&empty, "a"), change(&other, "b"));
    let (first, second) = tokio::join!(one.commit(&empty, first), two.commit(&other, second));
    let committed = [first, second].map(|appended| matches!(appended.unwrap(), Appended::Committed(_)));
    assert_eq!(
        committed.iter().filter(|done| **done).count(),
        1,
        "one of two transactions 1 stands, the other is stale"
    );
    for (store, name) in [(&one, "c"), (&two, "d"), (&reader, "e")] {
        let state = store.refresh().await.unwrap();
        assert_eq!(told(&state), told(&pond.open().await.latest()));
        assert!(matches!(store.commit(&state, change(&state, name)).await.unwrap(), Appended::Committed(_)));
    }
    assert_eq!(pond.open().await.latest().txn(), Txn(4));
}

#[tokio::test]
async fn no_pond_is_made_among_files_that_came_later() {
    let pond = Pond::new();
    let store = LazyStore::open(&pond.location(), StoreOptions::default()).await.unwrap();
    std::fs::create_dir_all(pond.path()).unwrap();
    std::fs::write(pond.path().join("mine.csv"), "a\n1\n").unwrap();
    let node = create(NodeId::unique(), "a", EntryKind::File, None);
    let error = store.commit(&store.latest(), commit_of(&store.latest(), vec![node])).await.unwrap_err();
    assert!(error.to_string().contains("other files"), "{error}");
    assert_eq!(pond.names(""), ["mine.csv"]);
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let pond = Pond::new();
    drop(pond.create().await);
    let text = std::fs::read_to_string(pond.entry(0)).unwrap();
    std::fs::write(pond.entry(0), text.replace(r#""pondsql.format":"1""#, r#""pondsql.format":"2""#)).unwrap();
    let error = pond.try_open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("format 2"), "{error}");
}

#[tokio::test]
async fn a_refused_commit_changes_nothing() {
    let pond = Pond::new();
    let store = pond.create().await;
    let node = NodeId::unique();
    let misfit = commit_of(&store.latest(), vec![write(node, "absent", 1, memory("x"))]);
    assert_eq!(store.commit(&store.latest(), misfit).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(pond.names("log"), Vec::<String>::new());
    assert_eq!(pond.open().await.latest().txn(), Txn(0));
}

#[tokio::test]
async fn a_store_of_another_kind_works_the_same() {
    let objects = Arc::new(object_store::memory::InMemory::new());
    let options = StoreOptions { object_store: Some(objects), inline_limit: 8, ..StoreOptions::default() };
    let location = Location::parse("s3://bucket/some/pond").unwrap();
    let store = DeltaStore::create(&location, options.clone()).await.unwrap();
    let large = Bytes::from(vec![7; 20_000_000]);
    let part = streamed(&store, &[large.slice(..9_000_000), large.slice(9_000_000..)]).await;
    let medium = streamed(&store, &[Bytes::from_static(b"more than eight")]).await;
    let node = NodeId::unique();
    let operations = vec![
        create(node, "f", EntryKind::File, None),
        write(node, "f", 1, part.clone()),
        write(node, "f", 2, medium.clone()),
    ];
    let state: Arc<State> = committed(&store, &store.latest(), operations).await;
    let again = DeltaStore::open(&location, options).await.unwrap();
    assert_eq!(told(&again.latest()), told(&state));
    assert_eq!(whole(&again, &part).await.unwrap(), large);
    assert_eq!(whole(&again, &medium).await.unwrap(), "more than eight");
}

#[tokio::test]
async fn after_a_rest_the_end_of_the_log_is_looked_for() {
    let mut pond = Pond::upkept(4);
    pond.options.idle_limit = Duration::ZERO;
    let (writer, idle) = (pond.create().await, pond.open().await);
    let node = grow(&writer, 3).await;
    writer.settle().await.unwrap();
    // Another program cleans up what the checkpoint of transaction 4 holds.
    (0..4).for_each(|txn| std::fs::remove_file(pond.entry(txn)).unwrap());
    let late = commit_of(&idle.latest(), vec![create(NodeId::unique(), "g", EntryKind::File, None)]);
    match idle.commit(&idle.latest(), late).await.unwrap() {
        Appended::Stale(newest) => assert_eq!(newest.txn(), Txn(4)),
        Appended::Committed(_) => panic!("it took the place of a commit that was cleaned up"),
    }
    assert!(idle.refresh().await.unwrap().node(node).is_some());
}

#[tokio::test]
async fn a_commit_may_be_large() {
    let pond = Pond::new();
    let store = pond.create().await;
    let mut operations = Vec::new();
    for index in 0..600_u32 {
        let (node, name) = (NodeId::unique(), format!("f{index}"));
        operations.push(create(node, &name, EntryKind::File, None));
        let bytes: Vec<u8> = index.to_le_bytes().repeat(16 * 1024);
        operations.push(write(node, &name, 1, memory(bytes)));
    }
    let state = committed(&store, &store.latest(), operations).await;
    let again = pond.open().await;
    assert_eq!(told(&again.latest()), told(&state));
    let mut places = [0, 0];
    for (path, node) in told(&state).into_iter().skip(1) {
        let part = &node.versions().unwrap().get(1).unwrap().part;
        let bytes = whole(&again, part).await.unwrap();
        let index: u32 = path[2..].parse().unwrap();
        assert_eq!(bytes[bytes.len() - 4..], index.to_le_bytes());
        places[usize::from(part.place == Place::Content)] += 1;
    }
    assert_eq!(places, [512, 88], "32 MiB of parts are in the rows");
    assert_eq!(again.log(Txn(1)).await.unwrap()[0].operations, 1200);
}

#[test]
fn locations_are_paths_or_urls() {
    let url = |text| Location::parse(text).unwrap().url().unwrap().to_string();
    assert_eq!(url("/data/my pond"), "file:///data/my%20pond/");
    assert_eq!(url("file:///data/my%20pond"), "file:///data/my%20pond/");
    assert_eq!(url("s3://bucket/pond"), "s3://bucket/pond/");
    let here = std::env::current_dir().unwrap().join("pond");
    assert_eq!(Location::parse("./pond").unwrap().directory(), Some(here.as_path()));
    assert_eq!(Location::parse("").unwrap_err().kind(), ErrorKind::InvalidPath);
    assert_eq!(Location::parse("s3://").unwrap().to_string(), "s3:///");
    assert_eq!(Location::parse("s 3://x").unwrap_err().kind(), ErrorKind::InvalidPath);
}
