//! Two transactions over one state: which of them can both stand.

use std::sync::Arc;

use crate::conflict::{Conflict, Mine, Theirs};
use crate::glob::Glob;
use crate::node::{Attributes, WriteMode};
use crate::snapshot::Snapshot;
use crate::transaction::{CommitOutcome, NewEntry, RemoveMode, Transaction};

use super::StoreFactory;
use super::pond::{assert_same, begin_newest, committed, compacted, content, create_file, info, path, write};

/// What one of the two does.
#[derive(Debug, Clone, Copy)]
enum Act {
    Append(&'static str),
    Replace(&'static str),
    Create(&'static str),
    MakeDirectory(&'static str),
    Remove(&'static str),
    Rename(&'static str, &'static str),
    Update(&'static str),
    /// Sets the attributes of a file.
    Describe(&'static str),
    /// Lets parts stand for the file's versions.
    Compact(&'static str),
    /// Reads the path, and writes `/mine`.
    Read(&'static str),
    /// Reads what the glob matches, and writes `/mine`.
    ReadGlob(&'static str),
}

/// What must become of the second.
#[derive(Debug, Clone, Copy)]
enum Expected {
    Both,
    /// Neither refused nor committed: there is nothing left to do.
    Moot,
    /// Refused at this place.
    Refused(&'static str, Mine, Theirs),
}

use Act::{Append, Compact, Create, Describe, MakeDirectory, Read, ReadGlob, Remove, Rename, Replace, Update};
use Expected::{Both, Moot, Refused};

/// The pond before: `/d/f` and `/d/g` with one version each, the view `/d/v`, the directory `/e`.
const CELLS: &[(Act, Act, Expected)] = &[
    // Append.
    (Append("/d/f"), Append("/d/f"), Both),
    (Append("/d/f"), Replace("/d/f"), Refused("/d/f", Mine::Append, Theirs::Replaced)),
    (Append("/d/f"), Remove("/d/f"), Refused("/d/f", Mine::Append, Theirs::RemovedOrRenamed)),
    (Append("/d/f"), Rename("/d/f", "/d/h"), Refused("/d/f", Mine::Append, Theirs::RemovedOrRenamed)),
    (Append("/d/f"), Remove("/d"), Refused("/d", Mine::Append, Theirs::RemovedOrRenamed)),
    (Append("/d/f"), Rename("/d", "/h"), Refused("/d", Mine::Append, Theirs::RemovedOrRenamed)),
    (Append("/d/f"), Append("/d/g"), Both),
    (Append("/d/f"), Replace("/d/g"), Both),
    (Append("/d/f"), Create("/d/new"), Both),
    (Append("/d/f"), Remove("/d/g"), Both),
    (Append("/d/f"), Rename("/d/g", "/d/h"), Both),
    (Append("/d/f"), Remove("/e"), Both),
    (Append("/d/f"), Describe("/d/f"), Refused("/d/f", Mine::Append, Theirs::Changed)),
    (Append("/d/f"), Describe("/d/g"), Both),
    (Append("/d/f"), Describe("/d"), Both),
    // Replace.
    (Replace("/d/f"), Append("/d/f"), Refused("/d/f", Mine::Replace, Theirs::Appended)),
    (Replace("/d/f"), Replace("/d/f"), Refused("/d/f", Mine::Replace, Theirs::Replaced)),
    (Replace("/d/f"), Remove("/d/f"), Refused("/d/f", Mine::Replace, Theirs::RemovedOrRenamed)),
    (Replace("/d/f"), Rename("/d/f", "/h"), Refused("/d/f", Mine::Replace, Theirs::RemovedOrRenamed)),
    (Replace("/d/f"), Remove("/d"), Refused("/d", Mine::Replace, Theirs::RemovedOrRenamed)),
    (Replace("/d/f"), Rename("/d", "/e/d"), Refused("/d", Mine::Replace, Theirs::RemovedOrRenamed)),
    (Replace("/d/f"), Replace("/d/g"), Both),
    (Replace("/d/f"), Create("/d/new"), Both),
    (Replace("/d/f"), Describe("/d/f"), Refused("/d/f", Mine::Replace, Theirs::Changed)),
    // Create.
    (Create("/e/new"), Create("/e/new"), Refused("/e/new", Mine::Create, Theirs::Created)),
    (Create("/e/new"), MakeDirectory("/e/new"), Refused("/e/new", Mine::Create, Theirs::Created)),
    (MakeDirectory("/e/new"), Create("/e/new"), Refused("/e/new", Mine::Create, Theirs::Created)),
    (MakeDirectory("/e/new"), MakeDirectory("/e/new"), Both),
    (MakeDirectory("/n/a"), MakeDirectory("/n/b"), Both),
    (Create("/n/a/f"), Create("/n/a/g"), Both),
    (Create("/n/a/f"), Create("/n/a/f"), Refused("/n/a/f", Mine::Create, Theirs::Created)),
    (Create("/e/new"), Rename("/d/f", "/e/new"), Refused("/e/new", Mine::Create, Theirs::Created)),
    (Rename("/d/f", "/e/new"), Create("/e/new"), Refused("/e/new", Mine::Create, Theirs::Created)),
    (Create("/e/new"), Create("/e/other"), Both),
    (Create("/e/new"), Append("/d/f"), Both),
    (Create("/e/new"), Replace("/d/f"), Both),
    (Create("/e/new"), Remove("/e"), Refused("/e", Mine::Create, Theirs::RemovedOrRenamed)),
    (Create("/e/new"), Rename("/e", "/h"), Refused("/e", Mine::Create, Theirs::RemovedOrRenamed)),
    (MakeDirectory("/e/new"), Rename("/e", "/h"), Refused("/e", Mine::Create, Theirs::RemovedOrRenamed)),
    // Read something, write something else.
    (Read("/d/f"), Append("/d/f"), Refused("/d/f", Mine::Read, Theirs::Appended)),
    (Read("/d/f"), Replace("/d/f"), Refused("/d/f", Mine::Read, Theirs::Replaced)),
    (Read("/d/f"), Remove("/d/f"), Refused("/d/f", Mine::Read, Theirs::RemovedOrRenamed)),
    (Read("/d/f"), Remove("/d"), Refused("/d/f", Mine::Read, Theirs::RemovedOrRenamed)),
    (Read("/d/f"), Rename("/d", "/h"), Refused("/d/f", Mine::Read, Theirs::RemovedOrRenamed)),
    (Read("/d/v"), Update("/d/v"), Refused("/d/v", Mine::Read, Theirs::Changed)),
    (Read("/e/new"), Create("/e/new"), Refused("/e/new", Mine::Read, Theirs::Created)),
    (Read("/e/x"), Rename("/d/f", "/e/x"), Refused("/e/x", Mine::Read, Theirs::Created)),
    (Read("/d/f"), Rename("/d/f", "/e/x"), Refused("/d/f", Mine::Read, Theirs::RemovedOrRenamed)),
    (Read("/e/d/f"), Rename("/d", "/e/d"), Refused("/e/d/f", Mine::Read, Theirs::Created)),
    (Read("/d/f"), Describe("/d/f"), Refused("/d/f", Mine::Read, Theirs::Changed)),
    (Read("/d/f"), Append("/d/g"), Both),
    (Read("/d/f"), Create("/d/new"), Both),
    (ReadGlob("/d/*"), Append("/d/f"), Refused("/d/f", Mine::Read, Theirs::Changed)),
    (ReadGlob("/d/*"), Replace("/d/f"), Refused("/d/f", Mine::Read, Theirs::Changed)),
    (ReadGlob("/d/*"), Create("/d/new"), Refused("/d/new", Mine::Read, Theirs::Created)),
    (ReadGlob("/**"), Create("/n/new"), Refused("/n", Mine::Read, Theirs::Created)),
    (ReadGlob("/d/*"), Remove("/d/f"), Refused("/d/*", Mine::Read, Theirs::RemovedOrRenamed)),
    (ReadGlob("/d/*"), Remove("/d"), Refused("/d/*", Mine::Read, Theirs::RemovedOrRenamed)),
    (ReadGlob("/d/*"), Rename("/e", "/d/e"), Refused("/d/e", Mine::Read, Theirs::Created)),
    (ReadGlob("/d/*"), Rename("/d/f", "/d/h"), Refused("/d/h", Mine::Read, Theirs::Created)),
    (ReadGlob("/d/*"), Rename("/d/f", "/e/f"), Refused("/d/*", Mine::Read, Theirs::RemovedOrRenamed)),
    (ReadGlob("/*/d/*"), Rename("/d", "/e/d"), Refused("/e/d/f", Mine::Read, Theirs::Created)),
    (ReadGlob("/d/*"), Describe("/d/f"), Refused("/d/f", Mine::Read, Theirs::Changed)),
    (ReadGlob("/d/[f]*"), Rename("/e", "/d/e"), Both),
    (ReadGlob("/d/[f]*"), Create("/d/new"), Both),
    (ReadGlob("/d/*"), Create("/e/new"), Both),
    // Remove and rename.
    (Remove("/d/f"), Append("/d/f"), Refused("/d/f", Mine::RemoveOrRename, Theirs::Appended)),
    (Remove("/d/f"), Replace("/d/f"), Refused("/d/f", Mine::RemoveOrRename, Theirs::Replaced)),
    (Remove("/d/f"), Remove("/d/f"), Refused("/d/f", Mine::RemoveOrRename, Theirs::RemovedOrRenamed)),
    (Remove("/d/f"), Rename("/d/f", "/h"), Refused("/d/f", Mine::RemoveOrRename, Theirs::RemovedOrRenamed)),
    (Rename("/d/f", "/h"), Append("/d/f"), Refused("/d/f", Mine::RemoveOrRename, Theirs::Appended)),
    (Rename("/d/f", "/h"), Rename("/d/f", "/i"), Refused("/d/f", Mine::RemoveOrRename, Theirs::RemovedOrRenamed)),
    (Remove("/d"), Append("/d/f"), Refused("/d/f", Mine::RemoveOrRename, Theirs::Changed)),
    (Remove("/d"), Create("/d/new"), Refused("/d/new", Mine::RemoveOrRename, Theirs::Changed)),
    (Rename("/d", "/h"), Replace("/d/f"), Refused("/d/f", Mine::RemoveOrRename, Theirs::Changed)),
    (Rename("/d", "/h"), Create("/d/new"), Refused("/d/new", Mine::RemoveOrRename, Theirs::Changed)),
    (Remove("/d"), Remove("/d/f"), Refused("/d/f", Mine::RemoveOrRename, Theirs::RemovedOrRenamed)),
    (Rename("/d", "/h"), Rename("/d/f", "/e/f"), Refused("/d/f", Mine::RemoveOrRename, Theirs::RemovedOrRenamed)),
    (Remove("/d/f"), Describe("/d/f"), Refused("/d/f", Mine::RemoveOrRename, Theirs::Changed)),
    (Rename("/d/f", "/e/x"), Rename("/d/g", "/e/x"), Refused("/e/x", Mine::Create, Theirs::Created)),
    (Rename("/d/f", "/e/x"), Remove("/e"), Refused("/e", Mine::RemoveOrRename, Theirs::RemovedOrRenamed)),
    (Rename("/d", "/e/d"), Rename("/e", "/d/e"), Refused("/e", Mine::RemoveOrRename, Theirs::RemovedOrRenamed)),
    (Rename("/d/f", "/e/f"), Rename("/d/g", "/e/g"), Both),
    (Remove("/d/f"), Remove("/d/g"), Both),
    (Remove("/e"), Append("/d/f"), Both),
    // Update.
    (Update("/d/v"), Update("/d/v"), Refused("/d/v", Mine::Update, Theirs::Changed)),
    (Update("/d/v"), Remove("/d/v"), Refused("/d/v", Mine::Update, Theirs::RemovedOrRenamed)),
    (Update("/d/v"), Append("/d/f"), Both),
    (Describe("/d/f"), Append("/d/f"), Refused("/d/f", Mine::Update, Theirs::Appended)),
    (Describe("/d/f"), Replace("/d/f"), Refused("/d/f", Mine::Update, Theirs::Replaced)),
    (Describe("/d/f"), Describe("/d/f"), Refused("/d/f", Mine::Update, Theirs::Changed)),
    (Describe("/d/f"), Rename("/d/f", "/d/h"), Refused("/d/f", Mine::Update, Theirs::RemovedOrRenamed)),
    (Describe("/d/f"), Describe("/d/g"), Both),
    // Compact: in nobody's way.
    (Compact("/d/f"), Append("/d/f"), Both),
    (Compact("/d/f"), Compact("/d/f"), Both),
    (Compact("/d/f"), Compact("/d/g"), Both),
    (Compact("/d/f"), Rename("/d/f", "/e/h"), Both),
    (Compact("/d/f"), Rename("/d", "/h"), Both),
    (Compact("/d/f"), Replace("/d/f"), Moot),
    (Compact("/d/f"), Remove("/d/f"), Moot),
    (Compact("/d/f"), Remove("/d"), Moot),
    (Append("/d/f"), Compact("/d/f"), Both),
    (Replace("/d/f"), Compact("/d/f"), Both),
    (Remove("/d/f"), Compact("/d/f"), Both),
    (Remove("/d"), Compact("/d/f"), Both),
    (Rename("/d/f", "/h"), Compact("/d/f"), Both),
    (Rename("/d", "/h"), Compact("/d/f"), Both),
    (Create("/e/new"), Compact("/d/f"), Both),
    (Read("/d/f"), Compact("/d/f"), Both),
    (ReadGlob("/d/*"), Compact("/d/f"), Both),
];

/// Each pair of transactions ends as the conflict table says; one that is refused leaves nothing.
///
/// # Panics
/// When the store breaks its contract.
pub async fn every_cell_of_the_conflict_table(factory: &dyn StoreFactory) {
    // One pond for all: each cell has a directory of its own in front of its paths.
    let store = factory.create().await;
    let other = factory.reopen(&store).await;
    let mut broken: Vec<String> = Vec::new();
    for (number, (mine, theirs, expected)) in CELLS.iter().enumerate() {
        let top = format!("/c{number}");
        let why = format!("mine: {mine:?}, theirs: {theirs:?}");
        let mut setup = begin_newest(&store).await;
        for (name, bytes) in [("f", b"base "), ("g", b"else ")] {
            create_file(&mut setup, &format!("{top}/d/{name}"), bytes).await;
        }
        let view = NewEntry::View(Arc::from("SELECT 1"));
        setup.create(&path(&format!("{top}/d/v")), view, Attributes::default()).expect("a view can be made");
        setup.create_directory(&path(&format!("{top}/e"))).expect("a directory can be made");
        let base = committed(setup).await;

        let mut first = begin_newest(&other).await;
        let mut second = begin_newest(&store).await;
        assert_same(first.base().state(), base.state(), "both start from the same state");
        assert_same(second.base().state(), base.state(), "both start from the same state");
        perform(&mut second, &top, *mine, b"mine ").await;
        perform(&mut first, &top, *theirs, b"theirs ").await;
        let after_first = committed(first).await;
        let outcome = second.commit(info("second")).await.unwrap_or_else(|error| panic!("{why}: {error}"));
        match (expected, outcome) {
            (Both, CommitOutcome::Committed(snapshot)) => {
                assert_eq!(snapshot.txn(), after_first.txn().next(), "{why}: both are committed, one after the other");
                check_both(&snapshot, &top, *mine, *theirs, &why).await;
            }
            (Moot, CommitOutcome::Unchanged(snapshot)) => {
                assert_same(snapshot.state(), after_first.state(), &format!("{why}: nothing was left to do"));
            }
            (Refused(place, mine, theirs), CommitOutcome::Conflicted(conflict)) => {
                let winner = after_first.txn();
                let expected = Conflict { place: format!("{top}{place}"), mine: *mine, theirs: *theirs, winner };
                if conflict != expected {
                    broken.push(format!("{why}: expected {expected:?}, but it was {conflict:?}"));
                }
                let newest = Snapshot::newest(Arc::clone(&store)).await.expect("the store can be refreshed");
                assert_same(
                    newest.state(),
                    after_first.state(),
                    &format!("{why}: a refused transaction writes nothing"),
                );
            }
            (expected, outcome) => broken.push(format!("{why}: expected {expected:?}, but it was {outcome:?}")),
        }
    }
    assert!(broken.is_empty(), "not as the conflict table says:\n{}", broken.join("\n"));
}

/// A transaction that only reads is never refused.
///
/// # Panics
/// When the store breaks its contract.
pub async fn reading_alone_never_conflicts(factory: &dyn StoreFactory) {
    let store = factory.create().await;
    let mut setup = begin_newest(&store).await;
    create_file(&mut setup, "/f", b"base").await;
    let base = committed(setup).await;
    let mut reader = begin_newest(&store).await;
    reader.record_read(&path("/f"));
    reader.record_glob(&Glob::parse("/**").expect("the suite uses valid globs"));
    let mut writer = begin_newest(&store).await;
    let _ = write(&mut writer, "/f", WriteMode::Replace, b"new").await;
    let _ = committed(writer).await;
    assert_eq!(content(&reader.snapshot(), "/f").await, b"base", "a reader sees one state");
    match reader.commit(info("reader")).await.expect("a reader can end") {
        CommitOutcome::Unchanged(snapshot) => {
            assert_same(snapshot.state(), base.state(), "a reader ends where it began")
        }
        outcome => panic!("a transaction that only reads must end unchanged, but was {outcome:?}"),
    }
}

/// Parts that stand for versions which the transaction wrote itself are left out if others took the numbers of these.
///
/// # Panics
/// When the store breaks its contract.
pub async fn a_compaction_stands_for_what_it_was_made_of(factory: &dyn StoreFactory) {
    let store = factory.create().await;
    let other = factory.reopen(&store).await;
    let mut setup = begin_newest(&store).await;
    create_file(&mut setup, "/f", b"one ").await;
    let _ = committed(setup).await;
    for theirs in [false, true] {
        let mut mine = begin_newest(&store).await;
        let last = write(&mut mine, "/f", WriteMode::Append, b"mine ").await;
        super::pond::compact(&mut mine, "/f", 1, last).await.expect("a file can be compacted");
        if theirs {
            let mut append = begin_newest(&other).await;
            let _ = write(&mut append, "/f", WriteMode::Append, b"theirs ").await;
            let _ = committed(append).await;
        }
        let after = committed(mine).await;
        let entry = after.lookup(&path("/f")).expect("the file is there");
        let versions = entry.node.versions().expect("it is a file");
        assert_eq!(compacted(&after, versions).await, content(&after, "/f").await, "theirs: {theirs}");
        let runs: Vec<(u64, u64)> = versions.compactions().iter().map(|run| (run.first, run.last)).collect();
        assert_eq!(runs, [(1, 2)], "the compaction of others' versions stays, the moot one is left out");
    }
    let mut replaced = begin_newest(&store).await;
    super::pond::compact(&mut replaced, "/f", 1, 4).await.expect("a file can be compacted");
    let _ = write(&mut replaced, "/f", WriteMode::Replace, b"new").await;
    let after = committed(replaced).await;
    assert_eq!(content(&after, "/f").await, b"new");
    for (first, last) in [(1, 4), (4, 5), (5, 6), (6, 5)] {
        let mut late = begin_newest(&store).await;
        let error = super::pond::compact(&mut late, "/f", first, last).await.expect_err("these are not the content");
        assert_eq!(error.kind(), crate::error::ErrorKind::Unsupported, "{first} to {last}: {error}");
        assert!(late.is_empty(), "a refused compaction leaves nothing");
    }
}

async fn perform(transaction: &mut Transaction, top: &str, act: Act, bytes: &[u8]) {
    let at = |text: &str| path(&format!("{top}{text}"));
    match act {
        Append(file) => {
            let _ = write(transaction, at(file).as_str(), WriteMode::Append, bytes).await;
        }
        Replace(file) => {
            let _ = write(transaction, at(file).as_str(), WriteMode::Replace, bytes).await;
        }
        Create(file) => create_file(transaction, at(file).as_str(), bytes).await,
        MakeDirectory(directory) => transaction.create_directory(&at(directory)).expect("a directory can be made"),
        Remove(entry) => transaction.remove(&at(entry), RemoveMode::Recursive).expect("an entry can be removed"),
        Rename(from, to) => transaction.rename(&at(from), &at(to)).expect("an entry can be moved"),
        Update(view) => {
            let text = Some(Arc::from(String::from_utf8_lossy(bytes)));
            transaction.update(&at(view), text, Attributes::default()).expect("a view can be changed");
        }
        Describe(entry) => {
            let attributes = Attributes::from_iter([("by", &*String::from_utf8_lossy(bytes))]);
            transaction.update(&at(entry), None, attributes).expect("an entry can be described");
        }
        Compact(file) => {
            super::pond::compact(transaction, at(file).as_str(), 1, 1).await.expect("a file can be compacted");
        }
        Read(entry) => {
            transaction.record_read(&at(entry));
            create_file(transaction, at("/mine").as_str(), bytes).await;
        }
        ReadGlob(glob) => {
            let glob = Glob::parse(&format!("{top}{glob}")).expect("the suite uses valid globs");
            transaction.record_glob(&glob);
            create_file(transaction, at("/mine").as_str(), bytes).await;
        }
    }
}

/// What both did is there.
async fn check_both(snapshot: &Snapshot, top: &str, mine: Act, theirs: Act, why: &str) {
    if let (Append(one), Append(other)) = (mine, theirs)
        && one == other
    {
        let at = format!("{top}{one}");
        assert_eq!(content(snapshot, &at).await, b"base theirs mine ", "{why}: both appended, in the order of commits");
        let entry = snapshot.lookup(&path(&at)).expect("the file is there");
        let numbers: Vec<u64> = entry
            .node
            .versions()
            .into_iter()
            .flat_map(|versions| versions.iter().map(|version| version.number))
            .collect();
        assert_eq!(numbers, [1, 2, 3], "{why}: versions are numbered without gaps");
        return;
    }
    for (act, bytes) in [(mine, "mine "), (theirs, "theirs ")] {
        let at = |text: &str| format!("{top}{text}");
        let seen = |text: &str| snapshot.lookup(&path(&at(text))).is_ok();
        match act {
            Append(file) => {
                let all = content(snapshot, &at(file)).await;
                assert!(
                    all.ends_with(bytes.as_bytes()) && all.len() == 5 + bytes.len(),
                    "{why}: '{file}' was appended to"
                );
            }
            Replace(file) | Create(file) => {
                assert_eq!(content(snapshot, &at(file)).await, bytes.as_bytes(), "{why}: '{file}' has its content");
            }
            MakeDirectory(directory) => assert!(seen(directory), "{why}: '{directory}' was made"),
            Remove(entry) => assert!(!seen(entry), "{why}: '{entry}' was removed"),
            Rename(from, to) => assert!(!seen(from) && seen(to), "{why}: '{from}' was moved to '{to}'"),
            Update(view) => {
                let entry = snapshot.lookup(&path(&at(view))).expect("the view is there");
                assert_eq!(entry.node.text().map(|text| &**text), Some(bytes), "{why}: '{view}' was changed");
            }
            Describe(entry) => {
                let found = snapshot.lookup(&path(&at(entry))).expect("the entry is there");
                assert_eq!(found.node.attributes.get("by").map(|by| &**by), Some(bytes), "{why}: '{entry}'");
            }
            Compact(file) => check_compacted(snapshot, top, file, mine, theirs, why).await,
            Read(_) | ReadGlob(_) => {
                assert_eq!(
                    content(snapshot, &at("/mine")).await,
                    bytes.as_bytes(),
                    "{why}: the reader's file was written"
                );
            }
        }
    }
}

/// The file is compacted, wherever it is now, unless it has other content or is gone.
async fn check_compacted(snapshot: &Snapshot, top: &str, file: &str, mine: Act, theirs: Act, why: &str) {
    let mut at = format!("{top}{file}");
    for act in [mine, theirs] {
        match act {
            Remove(_) => return,
            Rename(from, to) => at = at.replacen(&format!("{top}{from}"), &format!("{top}{to}"), 1),
            _ => {}
        }
    }
    let entry = snapshot.lookup(&path(&at)).unwrap_or_else(|error| panic!("{why}: {error}"));
    let versions = entry.node.versions().expect("it is a file");
    assert_eq!(compacted(snapshot, versions).await, content(snapshot, &at).await, "{why}: '{at}' has its content");
    let kept = versions.compactions().len();
    let replaced = [mine, theirs].iter().any(|act| matches!(act, Replace(of) if *of == file));
    assert_eq!(kept, usize::from(!replaced), "{why}: '{at}' is compacted, unless it was replaced");
}
