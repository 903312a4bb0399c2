//! One transaction alone, and many at once.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::error::ErrorKind;
use crate::glob::Glob;
use crate::node::{Attributes, EntryKind, Txn, WriteMode};
use crate::snapshot::Snapshot;
use crate::transaction::{CommitOutcome, NewEntry, RemoveMode, Transaction, TransactionOptions};

use super::StoreFactory;
use super::pond::{Store, assert_same, begin_newest, committed, content, create_file, describe, info, path, write};

/// A transaction sees its own changes, and nobody else does before the commit.
///
/// # Panics
/// When the store breaks its contract.
pub async fn reads_its_own_writes(factory: &dyn StoreFactory) {
    let store = factory.create().await;
    let mut transaction = begin_newest(&store).await;
    for size in [5, 200_000] {
        let at = format!("/d/f{size}");
        create_file(&mut transaction, &at, &vec![b'a'; size]).await;
        assert_eq!(write(&mut transaction, &at, WriteMode::Append, b"b").await, 2, "the second version has number 2");
        let mut expected = vec![b'a'; size];
        expected.push(b'b');
        assert_eq!(content(&transaction.snapshot(), &at).await, expected, "a transaction reads what it wrote");
    }
    transaction.rename(&path("/d/f5"), &path("/moved")).expect("a file can be moved");
    transaction.remove(&path("/d/f200000"), RemoveMode::Empty).expect("a file can be removed");
    assert_eq!(content(&transaction.snapshot(), "/moved").await, b"aaaaab", "a moved file keeps its content");
    assert!(transaction.snapshot().lookup(&path("/d/f200000")).is_err_and(|error| error.is_not_found()));
    let newest = store.refresh().await.expect("the store can be refreshed");
    assert!(newest.is_empty(), "nobody sees a transaction before its commit");
    let snapshot = committed(transaction).await;
    assert_eq!(content(&snapshot, "/moved").await, b"aaaaab", "what was committed is what was seen");
    assert_eq!(snapshot.state().len(), 3, "the root, '/d' and '/moved'");
}

/// A transaction that is dropped leaves nothing; one that goes back to a savepoint leaves nothing since then.
///
/// # Panics
/// When the store breaks its contract.
pub async fn rollback_leaves_nothing(factory: &dyn StoreFactory) {
    let store = factory.create().await;
    let mut setup = begin_newest(&store).await;
    create_file(&mut setup, "/f", b"base").await;
    let base = committed(setup).await;

    let mut dropped = begin_newest(&store).await;
    create_file(&mut dropped, "/g", &vec![1; 100_000]).await;
    let _ = write(&mut dropped, "/f", WriteMode::Replace, b"new").await;
    drop(dropped);
    for store in [Arc::clone(&store), factory.reopen(&store).await] {
        let newest = store.refresh().await.expect("the store can be refreshed");
        assert_same(&newest, base.state(), "a dropped transaction leaves nothing");
        assert_eq!(store.log(Txn(1)).await.expect("the history can be read").len(), 1);
    }

    let mut half = begin_newest(&store).await;
    let _ = write(&mut half, "/f", WriteMode::Append, b" kept").await;
    let savepoint = half.savepoint();
    create_file(&mut half, "/gone", b"gone").await;
    let _ = write(&mut half, "/f", WriteMode::Append, b" gone").await;
    half.roll_back_to(savepoint);
    let snapshot = committed(half).await;
    assert_eq!(content(&snapshot, "/f").await, b"base kept", "what was done after the savepoint is gone");
    assert!(snapshot.lookup(&path("/gone")).is_err_and(|error| error.is_not_found()), "so is what was made after it");
}

/// A transaction without changes takes no number.
///
/// # Panics
/// When the store breaks its contract.
pub async fn an_empty_transaction_commits_nothing(factory: &dyn StoreFactory) {
    let store = factory.create().await;
    let transaction = begin_newest(&store).await;
    assert!(transaction.is_empty(), "a new transaction is empty");
    match transaction.commit(info("nothing")).await.expect("an empty transaction can end") {
        CommitOutcome::Unchanged(snapshot) => assert_eq!(snapshot.txn(), Txn(0)),
        outcome => panic!("an empty transaction must end unchanged, but was {outcome:?}"),
    }
    assert_eq!(store.refresh().await.expect("the store can be refreshed").txn(), Txn(0), "no number was taken");
}

/// A read-only transaction refuses each change, and stays usable.
///
/// # Panics
/// When the store breaks its contract.
pub async fn a_read_only_transaction_refuses_changes(factory: &dyn StoreFactory) {
    let store = factory.create().await;
    let mut setup = begin_newest(&store).await;
    create_file(&mut setup, "/f", b"base").await;
    let base = committed(setup).await;
    let options = TransactionOptions { read_only: true, ..TransactionOptions::default() };
    let mut transaction = Transaction::begin(base.clone(), options);
    let part = super::pond::part(&store, b"x").await;
    let none = Attributes::default();
    for refused in [
        transaction.create_directory(&path("/d")),
        transaction.create(&path("/g"), NewEntry::File, none.clone()),
        transaction.write(&path("/f"), WriteMode::Append, part, none.clone()).map(|_| ()),
        transaction.update(&path("/f"), None, none.with("a", "b")),
        transaction.rename(&path("/f"), &path("/g")),
        transaction.remove(&path("/f"), RemoveMode::Empty),
    ] {
        let error = refused.expect_err("a read-only transaction refuses changes");
        assert_eq!(error.kind(), ErrorKind::ReadOnly, "the refusal says why: {error}");
    }
    assert_eq!(describe(transaction.snapshot().state()), describe(base.state()), "nothing changed");
}

/// The history names author, message, time and number of operations; time does not run backwards.
///
/// # Panics
/// When the store breaks its contract.
pub async fn the_log_tells_who_and_when(factory: &dyn StoreFactory) {
    let store = factory.create().await;
    let mut times = Vec::new();
    for round in 1..=3_u64 {
        let mut transaction = begin_newest(&store).await;
        for file in 0..round {
            let at = path(&format!("/d{round}/f{file}"));
            transaction.create(&at, NewEntry::File, Attributes::default()).expect("a file can be made");
        }
        let message = format!("round {round}: 'quoted',\nand \u{fc}nicode");
        match transaction.commit(info(&message)).await.expect("the store can commit") {
            CommitOutcome::Committed(snapshot) => times.push(snapshot.committed_at()),
            outcome => panic!("a commit without a rival must succeed, but was {outcome:?}"),
        }
    }
    assert!(times.is_sorted(), "time does not run backwards");
    for store in [Arc::clone(&store), factory.reopen(&store).await] {
        let log = store.log(Txn(3)).await.expect("the history can be read");
        for (index, entry) in log.iter().enumerate() {
            let round = index as u64 + 1;
            assert_eq!(entry.txn, Txn(round), "the history is told oldest first");
            assert_eq!(entry.info, info(&format!("round {round}: 'quoted',\nand \u{fc}nicode")));
            assert_eq!(entry.committed_at, times[index], "the history tells the time of the commit");
            assert_eq!(entry.operations, round + 1, "a directory and {round} files were made");
        }
        assert_eq!(log.len(), 3, "three transactions were committed");
    }
}

/// Appends to one file from many tasks and two handles all succeed, without a retry by the caller.
///
/// # Panics
/// When the store breaks its contract.
pub async fn concurrent_appenders_all_succeed(factory: &dyn StoreFactory) {
    const TASKS: usize = 8;
    const APPENDS: usize = 5;
    let store = factory.create().await;
    let other = factory.reopen(&store).await;
    let mut setup = begin_newest(&store).await;
    setup.create(&path("/series"), NewEntry::File, Attributes::default()).expect("a file can be made");
    let _ = committed(setup).await;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let store = Arc::clone(if task % 2 == 0 { &store } else { &other });
        let _ = tasks.spawn(async move {
            for round in 0..APPENDS {
                let mut transaction = begin_newest(&store).await;
                let _ =
                    write(&mut transaction, "/series", WriteMode::Append, format!("{task}.{round} ").as_bytes()).await;
                let _ = committed(transaction).await;
            }
        });
    }
    let _ = tasks.join_all().await;
    let snapshot = Snapshot::newest(factory.reopen(&store).await).await.expect("the store can be refreshed");
    assert_eq!(snapshot.txn(), Txn(1 + (TASKS * APPENDS) as u64), "each append is one transaction");
    let text = String::from_utf8(content(&snapshot, "/series").await).expect("only text was written");
    let mut seen: Vec<&str> = text.split_whitespace().collect();
    seen.sort_unstable();
    let expected: Vec<String> =
        (0..TASKS).flat_map(|task| (0..APPENDS).map(move |round| format!("{task}.{round}"))).collect();
    assert_eq!(seen, expected, "each append is there once");
}

/// Read-modify-write by many tasks, with a retry on conflict, loses no update.
///
/// # Panics
/// When the store breaks its contract.
pub async fn a_counter_loses_no_update(factory: &dyn StoreFactory) {
    const TASKS: u64 = 8;
    const INCREMENTS: u64 = 20;
    let store = factory.create().await;
    let other = factory.reopen(&store).await;
    let mut setup = begin_newest(&store).await;
    create_file(&mut setup, "/counter", b"0").await;
    let _ = committed(setup).await;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let store = Arc::clone(if task % 2 == 0 { &store } else { &other });
        let _ = tasks.spawn(async move {
            for _ in 0..INCREMENTS {
                while !increment(&store).await {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    let _ = tasks.join_all().await;
    let snapshot = Snapshot::newest(factory.reopen(&store).await).await.expect("the store can be refreshed");
    assert_eq!(content(&snapshot, "/counter").await, (TASKS * INCREMENTS).to_string().as_bytes(), "no update is lost");
    assert_eq!(snapshot.txn(), Txn(1 + TASKS * INCREMENTS), "a refused transaction takes no number");
}

/// Adds one to the counter; false when another was first.
async fn increment(store: &Store) -> bool {
    let mut transaction = begin_newest(store).await;
    let counter = path("/counter");
    transaction.record_read(&counter);
    let text = String::from_utf8(content(&transaction.snapshot(), "/counter").await).expect("only text was written");
    let count: u64 = text.parse().expect("the counter is a number");
    let _ = write(&mut transaction, "/counter", WriteMode::Replace, (count + 1).to_string().as_bytes()).await;
    match transaction.commit(info("increment")).await.expect("the store can commit") {
        CommitOutcome::Committed(_) => true,
        CommitOutcome::Conflicted(conflict) => {
            assert_eq!(conflict.place, "/counter", "the conflict names the file");
            false
        }
        outcome @ CommitOutcome::Unchanged(_) => panic!("an increment changes something, but was {outcome:?}"),
    }
}

/// What a factory made as a directory holds entries as a directory does, keeps its text, and goes with them; nothing can be made below
/// what it made as a table.
///
/// # Panics
/// When the store breaks its contract.
pub async fn a_dynamic_directory_holds_entries(factory: &dyn StoreFactory) {
    let store = factory.create().await;
    let mut transaction = begin_newest(&store).await;
    let (text, attributes) = ("{}".into(), Attributes::default());
    transaction.create(&path("/d"), NewEntry::DynamicDirectory(text), attributes.clone()).expect("it can be made");
    transaction.create(&path("/leaf"), NewEntry::Dynamic("{}".into()), attributes.clone()).expect("it can be made");
    let below = transaction.create(&path("/leaf/x"), NewEntry::File, attributes);
    assert_eq!(below.map_err(|error| error.kind()), Err(ErrorKind::NotADirectory), "a table holds no entries");
    let made = committed(transaction).await;
    // Two runs at once make the same directories, as two statements may.
    let (mut one, mut two) = (begin_newest(&store).await, begin_newest(&store).await);
    create_file(&mut one, "/d/devices/1/a", b"one").await;
    create_file(&mut two, "/d/devices/2/b", b"two").await;
    let _ = committed(one).await;
    let snapshot = committed(two).await;
    for store in [Arc::clone(&store), factory.reopen(&store).await] {
        let newest = store.refresh().await.expect("the store can be refreshed");
        assert_same(&newest, snapshot.state(), "a dynamic directory is the same when it is read again");
        let snapshot = Snapshot::new(newest, store);
        assert_eq!(content(&snapshot, "/d/devices/1/a").await, b"one");
        assert_eq!(content(&snapshot, "/d/devices/2/b").await, b"two");
        let found = snapshot.glob(&Glob::parse("/d/**/{name}").expect("a glob")).expect("it can be expanded");
        assert_eq!(found.len(), 5, "two files, and three directories");
        let entry = snapshot.lookup(&path("/d")).expect("it is there");
        assert_eq!((entry.kind(), entry.node.text().map(|text| &**text)), (EntryKind::DynamicDirectory, Some("{}")));
        let known: Vec<_> = snapshot.state().dynamic_directories().map(|node| node.id).collect();
        assert_eq!(known, [entry.node.id], "the state knows its dynamic directories");
    }
    let mut transaction = begin_newest(&store).await;
    transaction.update(&path("/d"), Some("{1}".into()), Attributes::default()).expect("its text can change");
    let kept = transaction.remove(&path("/d"), RemoveMode::Empty).map_err(|error| error.kind());
    assert_eq!(kept, Err(ErrorKind::NotEmpty), "it goes with what it holds, or not at all");
    transaction.rename(&path("/d"), &path("/e")).expect("it can be moved");
    assert_eq!(content(&transaction.snapshot(), "/e/devices/2/b").await, b"two", "what it holds moves with it");
    transaction.remove(&path("/e"), RemoveMode::Recursive).expect("it can be removed");
    let gone = committed(transaction).await;
    assert_eq!(gone.state().dynamic_directories().count(), 0, "the state forgets what is gone");
    assert_eq!(gone.state().len(), 2, "the root and '/leaf'");
    assert_eq!(made.state().len(), 3, "an older state stays what it was");
}
