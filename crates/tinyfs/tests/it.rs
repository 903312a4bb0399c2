//! The suites that every store must pass, on the store that ships here; a store of another crate does the same. And
//! what a transaction has read through names of its own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says no by failing")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use proptest::prelude::*;
use tinyfs::conformance::{self, Step, StoreFactory};
use tinyfs::{
    Action, Appended, Attributes, Commit, CommitInfo, CommitOutcome, Conflict, EntryKind, Glob, MemoryStore, Mine,
    NewEntry, Node, NodeId, Operation, Part, PersistenceLayer, Place, PondPath, RemoveMode, Snapshot, State, Theirs,
    Transaction, TransactionOptions, Txn, WriteMode,
};

/// A memory store lives in one process: its second handle is the first.
struct Memory;

#[async_trait]
impl StoreFactory for Memory {
    async fn create(&self) -> Arc<dyn PersistenceLayer> {
        Arc::new(MemoryStore::new())
    }

    async fn reopen(&self, store: &Arc<dyn PersistenceLayer>) -> Arc<dyn PersistenceLayer> {
        Arc::clone(store)
    }
}

macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $case() {
                conformance::$case(&Memory).await;
            }
        )*
    };
}

cases!(
    starts_empty,
    commits_are_numbered_without_gaps,
    one_commit_for_each_number,
    other_handles_are_seen,
    reopening_gives_equal_states,
    old_states_stay_readable,
    parts_of_all_sizes,
    versions_are_read_in_pieces,
    equal_bytes_may_be_written_twice,
    a_dropped_writer_leaves_nothing,
    every_cell_of_the_conflict_table,
    a_compaction_stands_for_what_it_was_made_of,
    reading_alone_never_conflicts,
    reads_its_own_writes,
    rollback_leaves_nothing,
    an_empty_transaction_commits_nothing,
    a_read_only_transaction_refuses_changes,
    the_log_tells_who_and_when,
    concurrent_appenders_all_succeed,
    a_counter_loses_no_update,
);

/// The whole suite needs no threads of its own.
#[tokio::test]
async fn run_all_on_one_thread() {
    conformance::run_all(&Memory).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_pond_behaves_as_a_map(choices in prop::collection::vec(any::<u64>(), 1..50)) {
        let steps: Vec<Step> = choices.into_iter().map(Step::pick).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(conformance::run_model(&Memory, &steps));
    }
}

fn at(text: &str) -> PondPath {
    PondPath::parse(text).unwrap()
}

fn bytes(text: &str) -> Part {
    let bytes = bytes::Bytes::from(text.to_owned());
    Part { hash: blake3::hash(&bytes), size: bytes.len() as u64, place: Place::Memory(bytes) }
}

/// Two transactions over a pond with the files `/a`, `/b` and `/d/f`.
async fn two() -> (Transaction, Transaction) {
    let store: Arc<dyn PersistenceLayer> = Arc::new(MemoryStore::new());
    let begin = |snapshot| Transaction::begin(snapshot, TransactionOptions::default());
    let mut setup = begin(Snapshot::latest(Arc::clone(&store)));
    for file in ["/a", "/b", "/d/f"] {
        setup.create(&at(file), NewEntry::File, Attributes::default()).unwrap();
    }
    setup.create(&at("/to"), NewEntry::Symlink("/a".into()), Attributes::default()).unwrap();
    let CommitOutcome::Committed(snapshot) = setup.commit(CommitInfo::default()).await.unwrap() else { panic!() };
    (begin(snapshot.clone()), begin(snapshot))
}

fn replace(transaction: &mut Transaction, file: &str) {
    let _ = transaction.write(&at(file), WriteMode::Replace, bytes("new"), Attributes::default()).unwrap();
}

/// Whether the second can stand after the first.
async fn both(first: Transaction, second: Transaction) -> bool {
    assert!(matches!(first.commit(CommitInfo::default()).await.unwrap(), CommitOutcome::Committed(_)));
    match second.commit(CommitInfo::default()).await.unwrap() {
        CommitOutcome::Committed(_) => true,
        CommitOutcome::Conflicted(_) => false,
        CommitOutcome::Unchanged(_) => panic!("it changes something"),
    }
}

#[tokio::test]
async fn what_is_missing_is_no_error_to_who_looks_for_it() {
    let (mut transaction, _) = two().await;
    transaction.create(&at("/dangling"), NewEntry::Symlink("/none".into()), Attributes::default()).unwrap();
    transaction.create(&at("/round"), NewEntry::Symlink("/round".into()), Attributes::default()).unwrap();
    let snapshot = transaction.snapshot();
    let kind = |entry: tinyfs::Result<Option<tinyfs::Entry>>| entry.map(|entry| entry.map(|entry| entry.kind()));
    for (name, followed, itself) in [
        ("/a", Some(EntryKind::File), Some(EntryKind::File)),
        ("/to", Some(EntryKind::File), Some(EntryKind::Symlink)),
        ("/dangling", None, Some(EntryKind::Symlink)),
        ("/d/none/further", None, None),
    ] {
        let found = (kind(snapshot.find(&at(name))).unwrap(), kind(snapshot.find_link(&at(name))).unwrap());
        assert_eq!(found, (followed, itself), "{name}");
    }
    assert_eq!(snapshot.find(&at("/round")).unwrap_err().kind(), tinyfs::ErrorKind::SymlinkLoop);
    assert_eq!(snapshot.find_link(&at("/a/below")).unwrap_err().kind(), tinyfs::ErrorKind::NotADirectory);
}

#[tokio::test]
async fn what_is_read_through_names_of_its_own_is_read() {
    // A write skew: each reads what the other writes, one of them through a link that it has just made.
    for (target, theirs, stands) in [("/a", "/a", false), ("/a", "/d/f", true), ("/to", "/a", false)] {
        for look in ["/l", "/l*"] {
            let (mut one, mut other) = two().await;
            other.record_read(&at("/b"));
            replace(&mut other, theirs);
            one.create(&at("/l"), NewEntry::Symlink(target.into()), Attributes::default()).unwrap();
            match Glob::parse(look).unwrap() {
                glob if look.contains('*') => one.record_glob(&glob),
                _ => one.record_read(&at(look)),
            }
            replace(&mut one, "/b");
            assert_eq!(both(other, one).await, stands, "{look} to {target}, and {theirs} is written");
        }
    }
}

#[tokio::test]
async fn the_links_between_are_read_too() {
    let (mut one, mut other) = two().await;
    other.update(&at("/to"), Some("/d/f".into()), Attributes::default()).unwrap();
    one.create(&at("/l"), NewEntry::Symlink("/to".into()), Attributes::default()).unwrap();
    one.record_read(&at("/l"));
    replace(&mut one, "/b");
    assert!(!both(other, one).await);
}

#[tokio::test]
async fn a_listing_of_links_is_a_read_of_links() {
    let (mut one, mut other) = two().await;
    one.record_glob(&Glob::parse("/t*").unwrap());
    replace(&mut one, "/b");
    other.create(&at("/tx"), NewEntry::Symlink("/nowhere".into()), Attributes::default()).unwrap();
    assert!(!both(other, one).await, "a link that leads nowhere is listed");
}

#[tokio::test]
async fn a_link_of_its_own_that_leads_nowhere_is_read_as_nothing() {
    let (mut one, mut other) = two().await;
    one.create(&at("/l"), NewEntry::Symlink("/x".into()), Attributes::default()).unwrap();
    one.record_read(&at("/l"));
    other.create(&at("/x"), NewEntry::File, Attributes::default()).unwrap();
    assert!(!both(other, one).await);
}

#[tokio::test]
async fn what_it_reads_below_a_directory_that_it_renamed() {
    let (mut one, mut other) = two().await;
    one.rename(&at("/d"), &at("/e")).unwrap();
    one.record_read(&at("/e/f"));
    one.record_glob(&Glob::parse("/e/*").unwrap());
    replace(&mut other, "/a");
    assert!(both(other, one).await, "others did nothing there");

    let (mut one, mut other) = two().await;
    one.create_directory(&at("/n")).unwrap();
    one.record_glob(&Glob::parse("/n/*").unwrap());
    replace(&mut one, "/b");
    other.create(&at("/n/x"), NewEntry::File, Attributes::default()).unwrap();
    assert!(!both(other, one).await, "its own directory was empty");
}

#[tokio::test]
async fn what_it_wrote_and_read_itself_is_its_own() {
    let (mut one, mut other) = two().await;
    replace(&mut one, "/b");
    one.record_read(&at("/b"));
    one.create(&at("/mine"), NewEntry::File, Attributes::default()).unwrap();
    one.record_glob(&Glob::parse("/{b,mine}").unwrap());
    replace(&mut other, "/a");
    assert!(both(other, one).await);
}

#[tokio::test]
async fn what_was_read_before_a_roll_back_stays_read() {
    let (mut one, mut other) = two().await;
    let savepoint = one.savepoint();
    replace(&mut one, "/d/f");
    one.record_read(&at("/a"));
    one.roll_back_to(savepoint);
    replace(&mut one, "/b");
    replace(&mut other, "/a");
    assert!(!both(other, one).await);
}

#[tokio::test]
async fn the_one_that_moved_a_directory_is_named_as_the_winner() {
    for look in ["/n/d/f", "/n/d/*"] {
        let (mut reader, first) = two().await;
        let begin =
            || Transaction::begin(Snapshot::latest(Arc::clone(first.base().store())), TransactionOptions::default());
        match Glob::parse(look).unwrap() {
            glob if look.contains('*') => reader.record_glob(&glob),
            _ => reader.record_read(&at(look)),
        }
        replace(&mut reader, "/b");
        let mut winner = Txn(0);
        for number in 0..3 {
            let mut other = begin();
            match number {
                1 => other.rename(&at("/d"), &at("/n/d")).unwrap(),
                _ => replace(&mut other, "/a"),
            }
            let after = committed(other).await;
            if number == 1 {
                winner = after.txn();
            }
        }
        let CommitOutcome::Conflicted(conflict) = reader.commit(CommitInfo::default()).await.unwrap() else { panic!() };
        let expected = Conflict { place: "/n/d/f".to_owned(), mine: Mine::Read, theirs: Theirs::Created, winner };
        assert_eq!((conflict, winner), (expected, Txn(3)), "{look}");
    }
}

/// Every node by its path, with how many hold it: a map that is copied holds each of its values once more.
fn nodes(state: &State) -> BTreeMap<String, (*const Node, usize)> {
    let mut all = BTreeMap::new();
    let mut waiting = vec![(String::new(), state.root().unwrap())];
    while let Some((path, node)) = waiting.pop() {
        for (name, id) in node.entries().into_iter().flatten() {
            waiting.push((format!("{path}/{name}"), state.node(*id).unwrap()));
        }
        let _ = all.insert(path, (Arc::as_ptr(node), Arc::strong_count(node)));
    }
    all
}

async fn committed(transaction: Transaction) -> Snapshot {
    match transaction.commit(CommitInfo::default()).await.unwrap() {
        CommitOutcome::Committed(snapshot) => snapshot,
        outcome => panic!("{outcome:?}"),
    }
}

#[tokio::test]
async fn a_transaction_costs_what_it_touches() {
    let store: Arc<dyn PersistenceLayer> = Arc::new(MemoryStore::new());
    let empty = Snapshot::latest(Arc::clone(&store));
    let create = |parent, name: String, kind| {
        let action = Action::Create { kind, text: None, attributes: Attributes::default() };
        Operation { node: NodeId::unique(), parent, name: name.into(), action }
    };
    let mut operations = Vec::new();
    for directory in 0..100 {
        let directory = create(NodeId::ROOT, format!("d{directory}"), EntryKind::Directory);
        operations.extend((0..1000).map(|file| create(directory.node, format!("f{file}"), EntryKind::File)));
        operations.insert(operations.len() - 1000, directory);
    }
    let (txn, committed_at) = (empty.txn().next(), empty.committed_at());
    let setup = Commit { txn, committed_at, info: CommitInfo::default(), operations };
    let Appended::Committed(state) = store.commit(empty.state(), setup).await.unwrap() else { panic!() };
    let base = Snapshot::new(state, store);
    assert_eq!(base.state().len(), 100_101);

    let begin = || Transaction::begin(base.clone(), TransactionOptions::default());
    let (mut theirs, mut mine) = (begin(), begin());
    replace(&mut theirs, "/d40/f1");
    let between = committed(theirs).await;
    let before = nodes(between.state());
    replace(&mut mine, "/d10/f10");
    mine.create(&at("/d20/new"), NewEntry::File, Attributes::default()).unwrap();
    mine.remove(&at("/d30/f1"), RemoveMode::Empty).unwrap();
    mine.rename(&at("/d50"), &at("/d60/d50")).unwrap();
    let result = committed(mine).await;
    let (left, after) = (nodes(between.state()), nodes(result.state()));
    let moved = |path: &str| if path.starts_with("/d50") { format!("/d60{path}") } else { path.to_owned() };
    let known: BTreeSet<String> = before.keys().map(|path| moved(path)).collect();
    let made: Vec<&String> = after.keys().filter(|path| !known.contains(*path)).collect();
    assert_eq!(made, ["/d20/new"]);
    let same = |path: &str, node| after.get(&moved(path)).is_some_and(|(after, _)| *after == node);
    let others: Vec<&String> =
        before.iter().filter(|(path, (node, _))| !same(path, *node)).map(|(path, _)| path).collect();
    // The root and /d60 have other entries, /d20 one more, /d30 one less; a file is in no directory's way.
    assert_eq!(others, ["", "/d10/f10", "/d20", "/d30", "/d30/f1", "/d50", "/d60"]);
    assert_eq!(after.len(), before.len());
    // Both states are alive: of the map that holds the nodes, only the branches to these few are there twice.
    let twice = before.iter().filter(|(path, (_, count))| left[*path].1 > *count).count();
    assert!((1..1000).contains(&twice), "{twice} of {} nodes are held twice", before.len());
}
