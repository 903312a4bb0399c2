//! Numbering, atomicity, history, reopening.

use std::sync::Arc;

use crate::error::ErrorKind;
use crate::node::{Attributes, Txn, WriteMode};
use crate::persistence::Appended;
use crate::snapshot::Snapshot;
use crate::state::State;
use crate::transaction::{NewEntry, RemoveMode};

use super::StoreFactory;
use super::pond::{
    Store, assert_same, begin, begin_newest, committed, content, create_file, describe, directory_commit, path,
    root_names, write,
};

/// A new pond is at transaction 0 and holds nothing.
///
/// # Panics
/// When the store breaks its contract.
pub async fn starts_empty(factory: &dyn StoreFactory) {
    let store = factory.create().await;
    for state in [store.latest(), store.refresh().await.expect("a new pond can be refreshed")] {
        assert_eq!(state.txn(), Txn(0), "a new pond is at transaction 0");
        assert!(state.is_empty(), "a new pond holds nothing but its root");
    }
    assert_eq!(store.log(Txn(0)).await.expect("the history can be read"), [], "a new pond has no history");
    let state = store.state_at(Txn(0)).await.expect("transaction 0 can be asked for");
    assert!(state.is_empty(), "transaction 0 is the empty pond");
    let error = store.state_at(Txn(1)).await.expect_err("transaction 1 is in the future");
    assert_eq!(error.kind(), ErrorKind::NotFound, "the future is not found: {error}");
    let other = factory.create().await;
    assert_ne!(store.pond_id(), other.pond_id(), "two ponds have two ids");
    let again = factory.reopen(&store).await;
    assert_eq!(store.pond_id(), again.pond_id(), "a pond keeps its id");
    store.settle().await.expect("an empty pond settles");
}

/// Commits are numbered from 1; each state and the history up to it can be asked for.
///
/// # Panics
/// When the store breaks its contract.
pub async fn commits_are_numbered_without_gaps(factory: &dyn StoreFactory) {
    let store = factory.create().await;
    let names = ["a", "b", "c", "d", "e"];
    for (index, name) in names.iter().enumerate() {
        let base = store.latest();
        let state = append(&store, &base, name).await.unwrap_or_else(|_| panic!("nobody else commits"));
        assert_eq!(state.txn(), Txn(index as u64 + 1), "a commit gets the number that follows");
        assert_same(&state, &store.latest(), "what was committed is the latest state");
    }
    store.settle().await.expect("the store settles");
    for store in [Arc::clone(&store), factory.reopen(&store).await] {
        let newest = store.refresh().await.expect("the store can be refreshed");
        assert_eq!(newest.txn(), Txn(5), "five commits were made");
        for number in 0..=5 {
            let state = store.state_at(Txn(number)).await.expect("every transaction can be asked for");
            assert_eq!(state.txn(), Txn(number), "state_at gives the state that was asked for");
            let seen = root_names(&state);
            assert_eq!(seen, names[..seen.len()], "transaction {number} holds what was committed until then");
            assert_eq!(seen.len() as u64, number, "transaction {number} holds what was committed until then");
            let log = store.log(Txn(number)).await.expect("the history can be read");
            let told: Vec<(u64, &str, u64)> =
                log.iter().map(|entry| (entry.txn.0, entry.info.message.as_str(), entry.operations)).collect();
            let expected: Vec<(u64, &str, u64)> =
                names[..seen.len()].iter().enumerate().map(|(index, name)| (index as u64 + 1, *name, 1)).collect();
            assert_eq!(told, expected, "the history up to transaction {number} is told oldest first");
        }
        let error = store.state_at(Txn(6)).await.expect_err("transaction 6 is in the future");
        assert_eq!(error.kind(), ErrorKind::NotFound, "the future is not found: {error}");
    }
}

/// Of commits for one number exactly one succeeds, and the others leave no trace.
///
/// # Panics
/// When the store breaks its contract.
pub async fn one_commit_for_each_number(factory: &dyn StoreFactory) {
    let store = factory.create().await;
    let mut handles = vec![Arc::clone(&store)];
    for _ in 0..3 {
        handles.push(factory.reopen(&store).await);
    }
    for round in 1..=5 {
        let mut race = tokio::task::JoinSet::new();
        for (index, handle) in handles.iter().enumerate() {
            let handle = Arc::clone(handle);
            let _ = race.spawn(async move {
                let base = handle.refresh().await.expect("the store can be refreshed");
                (base.txn(), handle, format!("r{round}h{index}"), base)
            });
        }
        // All have refreshed before the first commits, so all race for the same number.
        let ready = race.join_all().await;
        let mut race = tokio::task::JoinSet::new();
        for (txn, handle, name, base) in ready {
            assert_eq!(txn, Txn(round - 1), "a refreshed handle sees all commits");
            let _ = race.spawn(async move { (append(&handle, &base, &name).await, name) });
        }
        let mut winners = Vec::new();
        for (outcome, name) in race.join_all().await {
            match outcome {
                Ok(state) => {
                    assert_eq!(state.txn(), Txn(round), "the winner has the number it asked for");
                    winners.push(name);
                }
                Err(newest) => assert_eq!(newest.txn(), Txn(round), "a stale commit is told the newest state"),
            }
        }
        assert_eq!(
            winners.len(),
            1,
            "exactly one of the commits for number {round} succeeds, but these did: {winners:?}"
        );
        for handle in &handles {
            let state = handle.refresh().await.expect("the store can be refreshed");
            let names: Vec<String> =
                root_names(&state).into_iter().filter(|name| name.starts_with(&format!("r{round}"))).collect();
            assert_eq!(names, winners, "a stale commit changes nothing");
        }
    }
    let base = store.state_at(Txn(2)).await.expect("an old transaction can be asked for");
    let newest = append(&store, &base, "late").await.expect_err("a commit over an old state is stale");
    assert_eq!(newest.txn(), Txn(5), "a stale commit is told the newest state");
    assert_eq!(
        store.log(Txn(5)).await.expect("the history can be read").len(),
        5,
        "a stale commit is not in the history"
    );
    let base = store.latest();
    let _ = append(&store, &base, "after").await.expect("a stale commit is in nobody's way");
}

/// A commit through one handle is seen through another after a refresh, and states are equal there.
///
/// # Panics
/// When the store breaks its contract.
pub async fn other_handles_are_seen(factory: &dyn StoreFactory) {
    let one = factory.create().await;
    let two = factory.reopen(&one).await;
    for round in 0..6 {
        let (writer, reader) = if round % 2 == 0 { (&one, &two) } else { (&two, &one) };
        let mut transaction = begin_newest(writer).await;
        create_file(&mut transaction, &format!("/d/f{round}"), format!("round {round}").as_bytes()).await;
        let written = committed(transaction).await;
        let seen = Snapshot::newest(Arc::clone(reader)).await.expect("the store can be refreshed");
        assert_same(written.state(), seen.state(), "both handles see the same pond");
        assert_same(seen.state(), &reader.latest(), "what a refresh has seen is the latest");
        assert_eq!(content(&seen, &format!("/d/f{round}")).await, format!("round {round}").as_bytes());
    }
}

/// Every kind of operation survives: a second handle sees equal states, now and at each transaction before.
///
/// # Panics
/// When the store breaks its contract.
pub async fn reopening_gives_equal_states(factory: &dyn StoreFactory) {
    let store = factory.create().await;
    let mut states = vec![store.latest()];
    let attributes: Attributes =
        [("format", "parquet"), ("empty", ""), ("ünïcode \"\n", "'\\\0'")].into_iter().collect();

    let mut all = begin_newest(&store).await;
    all.create_directory(&path("/d/deep/er")).expect("a directory can be made");
    create_file(&mut all, "/d/f", b"one").await;
    all.create(&path("/d/empty"), NewEntry::File, attributes.clone()).expect("a file can be made");
    for (name, entry) in [
        ("/l", NewEntry::Symlink(Arc::from("d/f"))),
        ("/v", NewEntry::View(Arc::from("SELECT 'ü' FROM '/d/f'"))),
        ("/x", NewEntry::Dynamic(Arc::from("{}"))),
        ("/name with ' and \" and \u{1F4A7}\n", NewEntry::View(Arc::from(""))),
    ] {
        all.create(&path(name), entry, attributes.clone()).expect("an entry can be made");
    }
    states.push(Arc::clone(committed(all).await.state()));

    let mut more = begin_newest(&store).await;
    let small = super::pond::part(&store, b"two").await;
    let _ = more.write(&path("/d/f"), WriteMode::Append, small, attributes.clone()).expect("a file can be written");
    assert_eq!(write(&mut more, "/d/f", WriteMode::Replace, &vec![7; 200_000]).await, 3, "versions are counted");
    super::pond::compact(&mut more, "/d/f", 3, 3).await.expect("a file can be compacted");
    more.update(&path("/v"), Some(Arc::from("SELECT 2")), Attributes::default()).expect("a view can be changed");
    more.update(&path("/d/f"), None, attributes.clone()).expect("a file's attributes can be changed");
    states.push(Arc::clone(committed(more).await.state()));

    let mut moved = begin_newest(&store).await;
    moved.rename(&path("/d/deep"), &path("/e/deep")).expect("a directory can be moved");
    moved.rename(&path("/l"), &path("/e/deep/l")).expect("a link can be moved");
    moved.remove(&path("/x"), RemoveMode::Empty).expect("an entry can be removed");
    states.push(Arc::clone(committed(moved).await.state()));

    let mut removed = begin_newest(&store).await;
    removed.remove(&path("/e"), RemoveMode::Recursive).expect("a directory can be removed");
    create_file(&mut removed, "/e", b"a file now").await;
    states.push(Arc::clone(committed(removed).await.state()));

    store.settle().await.expect("the store settles");
    let again = factory.reopen(&store).await;
    let newest = again.refresh().await.expect("the store can be refreshed");
    assert_same(&states[4], &newest, "another process sees the newest state");
    for handle in [&store, &again] {
        for state in &states {
            let then = handle.state_at(state.txn()).await.expect("every transaction can be asked for");
            assert_same(state, &then, "state_at gives the state as it was committed");
        }
    }
    let snapshot = Snapshot::at(again, Txn(2)).await.expect("transaction 2 can be asked for");
    assert_eq!(
        content(&snapshot, "/l").await,
        vec![7; 200_000],
        "the bytes of an old state can be read by another process"
    );
    assert_eq!(
        describe(&states[4]).keys().map(String::as_str).collect::<Vec<_>>(),
        ["/", "/d/", "/d/empty/", "/d/f/", "/e/", "/name with ' and \" and \u{1F4A7}\n/", "/v/"]
    );
}

/// A state once handed out stays readable, whatever is committed afterwards.
///
/// # Panics
/// When the store breaks its contract.
pub async fn old_states_stay_readable(factory: &dyn StoreFactory) {
    let store = factory.create().await;
    let mut transaction = begin_newest(&store).await;
    create_file(&mut transaction, "/small", b"small").await;
    create_file(&mut transaction, "/large", &vec![1; 300_000]).await;
    let old = committed(transaction).await;
    let before = describe(old.state());

    let mut transaction = begin(old.clone());
    let _ = write(&mut transaction, "/small", WriteMode::Replace, b"new").await;
    transaction.remove(&path("/large"), RemoveMode::Empty).expect("a file can be removed");
    let _ = committed(transaction).await;
    for round in 0..5 {
        let mut transaction = begin_newest(&store).await;
        create_file(&mut transaction, &format!("/more{round}"), b"more").await;
        let _ = committed(transaction).await;
    }
    store.settle().await.expect("the store settles");

    assert_eq!(describe(old.state()), before, "a state never changes");
    assert_eq!(content(&old, "/small").await, b"small", "an old version stays readable");
    assert_eq!(content(&old, "/large").await, vec![1; 300_000], "a removed file stays readable in an old state");
}

/// Commits a directory over `base`; the error is the newest state.
async fn append(store: &Store, base: &Arc<State>, name: &str) -> Result<Arc<State>, Arc<State>> {
    match store
        .commit(base, directory_commit(base, name))
        .await
        .unwrap_or_else(|error| panic!("a commit failed: {error}"))
    {
        Appended::Committed(state) => Ok(state),
        Appended::Stale(newest) => Err(newest),
    }
}
