//! Short words for the cases: making changes, reading them back, comparing trees.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::Result;
use crate::log::{Action, Commit, CommitInfo, Operation};
use crate::node::{Attributes, Body, EntryKind, Node, NodeId, Part, Version, WriteMode};
use crate::path::PondPath;
use crate::persistence::PersistenceLayer;
use crate::snapshot::Snapshot;
use crate::state::State;
use crate::transaction::{CommitOutcome, NewEntry, Transaction, TransactionOptions};
use crate::versions::Versions;

pub(super) type Store = Arc<dyn PersistenceLayer>;

pub(super) fn path(text: &str) -> PondPath {
    PondPath::parse(text).expect("the suite uses valid paths")
}

pub(super) async fn part(store: &Store, bytes: &[u8]) -> Part {
    let mut writer = store.create_part().await.expect("a part can be started");
    for chunk in bytes.chunks(100_000) {
        writer.write(Bytes::copy_from_slice(chunk)).await.expect("a part takes bytes");
    }
    let part = writer.finish().await.expect("a part can be finished");
    assert_eq!(part.size, bytes.len() as u64, "a finished part must tell its size");
    assert_eq!(part.hash, blake3::hash(bytes), "a finished part must tell the BLAKE3 of its bytes");
    part
}

pub(super) fn begin(snapshot: Snapshot) -> Transaction {
    Transaction::begin(snapshot, TransactionOptions::default())
}

pub(super) async fn begin_newest(store: &Store) -> Transaction {
    begin(Snapshot::newest(Arc::clone(store)).await.expect("the store can be refreshed"))
}

pub(super) async fn write(transaction: &mut Transaction, at: &str, mode: WriteMode, bytes: &[u8]) -> u64 {
    let part = part(&Arc::clone(transaction.base().store()), bytes).await;
    transaction.write(&path(at), mode, part, Attributes::default()).expect("the file can be written")
}

pub(super) async fn create_file(transaction: &mut Transaction, at: &str, bytes: &[u8]) {
    transaction.create(&path(at), NewEntry::File, Attributes::default()).expect("the file can be created");
    let _ = write(transaction, at, WriteMode::Append, bytes).await;
}

/// Lets parts stand for the versions `first` to `last`: all their bytes, cut in two.
pub(super) async fn compact(transaction: &mut Transaction, at: &str, first: u64, last: u64) -> Result<()> {
    let store = Arc::clone(transaction.base().store());
    let entry = transaction.snapshot().lookup(&path(at))?;
    let mut bytes = Vec::new();
    for version in entry.node.versions().into_iter().flat_map(|versions| versions.iter()) {
        if (first..=last).contains(&version.number) {
            bytes.extend(read_part(&store, &version.part).await);
        }
    }
    let half = bytes.len() / 2;
    let attributes = Attributes::from_iter([("compacted", "yes")]);
    let parts = vec![
        (part(&store, &bytes[..half]).await, attributes.clone()),
        (part(&store, &bytes[half..]).await, attributes),
    ];
    transaction.compact(&path(at), first, last, parts)
}

/// The content of a file, by way of what its compactions keep.
pub(super) async fn compacted(snapshot: &Snapshot, versions: &Versions) -> Vec<u8> {
    let mut bytes = Vec::new();
    for version in versions.compacted_at(versions.len() as u64) {
        bytes.extend(read_part(snapshot.store(), &version.part).await);
    }
    bytes
}

/// Commits, and insists that it succeeds.
pub(super) async fn committed(transaction: Transaction) -> Snapshot {
    match transaction.commit(info("setup")).await.expect("the store can commit") {
        CommitOutcome::Committed(snapshot) => snapshot,
        outcome => panic!("a commit without a rival must succeed, but was {outcome:?}"),
    }
}

pub(super) fn info(message: &str) -> CommitInfo {
    CommitInfo { author: "conformance".to_owned(), message: message.to_owned() }
}

/// A commit made by hand, for what transactions would never do: one that makes the directory `name`.
pub(super) fn directory_commit(base: &State, name: &str) -> Commit {
    let action = Action::Create { kind: EntryKind::Directory, text: None, attributes: Attributes::default() };
    Commit {
        txn: base.txn().next(),
        committed_at: base.committed_at(),
        info: info(name),
        operations: vec![Operation { node: NodeId::unique(), parent: NodeId::ROOT, name: Arc::from(name), action }],
    }
}

/// The names in the root directory.
pub(super) fn root_names(state: &State) -> Vec<String> {
    let Body::Directory(entries) = &state.root().expect("there is a root").body else {
        panic!("the root is no directory")
    };
    entries.keys().map(|name| name.to_string()).collect()
}

pub(super) async fn read_part(store: &Store, part: &Part) -> Vec<u8> {
    let bytes =
        store.read_part(part, 0..part.size).await.unwrap_or_else(|error| panic!("a part cannot be read: {error}"));
    assert_eq!(blake3::hash(&bytes), part.hash, "the bytes read must be the bytes written");
    bytes.to_vec()
}

/// The content of a file: all versions since the last that replaces.
pub(super) async fn content(snapshot: &Snapshot, at: &str) -> Vec<u8> {
    let entry = snapshot.lookup(&path(at)).unwrap_or_else(|error| panic!("the file must be there: {error}"));
    let mut bytes = Vec::new();
    for version in entry.node.versions().expect("it is a file").content() {
        bytes.extend(read_part(snapshot.store(), &version.part).await);
    }
    bytes
}

/// The tree as text, without [`Place`](crate::Place)s: where bytes are is the handle's own business.
pub(super) fn describe(state: &State) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut waiting = vec![("/".to_owned(), Arc::clone(state.root().expect("there is a root")))];
    while let Some((at, node)) = waiting.pop() {
        if let Some(entries) = node.entries() {
            for (name, id) in entries {
                let child = state.node(*id).unwrap_or_else(|| panic!("the entry '{at}{name}' leads to no node"));
                assert_eq!(
                    (child.parent, &child.name),
                    (node.id, name),
                    "'{at}{name}' must know its directory and name"
                );
                waiting.push((format!("{at}{name}/"), Arc::clone(child)));
            }
        }
        let _ = all.insert(at, describe_node(&node));
    }
    assert_eq!(all.len(), state.len(), "every node must be reachable from the root");
    all
}

fn describe_node(node: &Node) -> String {
    let Node { id, parent, name, txn, modified, attributes, .. } = node;
    // The root is made when a handle is, so its time is not part of the pond.
    let modified = if *id == NodeId::ROOT { String::new() } else { modified.to_rfc3339() };
    let versions: Vec<String> = node
        .versions()
        .into_iter()
        .flat_map(|versions| versions.iter().map(|version| describe_version(version)))
        .collect();
    let compactions: Vec<String> = node
        .versions()
        .into_iter()
        .flat_map(|versions| versions.compactions())
        .map(|run| {
            let parts: Vec<String> = run.parts.iter().map(|part| describe_version(part)).collect();
            format!("{} to {} by {}: {parts:?}", run.first, run.last, run.txn)
        })
        .collect();
    let kind = node.kind().as_str();
    format!(
        "{kind} {id} in {parent} '{name}' txn {txn} {modified} {attributes:?} {:?} {versions:?} {compactions:?}",
        node.text()
    )
}

fn describe_version(version: &Version) -> String {
    let Version { number, mode, part, txn, modified, attributes } = version;
    let (hash, size) = (part.hash.to_hex(), part.size);
    format!("{number} {mode:?} {hash} {size} txn {txn} {} {attributes:?}", modified.to_rfc3339())
}

pub(super) fn assert_same(one: &State, other: &State, why: &str) {
    assert_eq!(one.txn(), other.txn(), "{why}: the transactions differ");
    if one.txn().0 > 0 {
        assert_eq!(one.committed_at(), other.committed_at(), "{why}: the times of transaction {} differ", one.txn());
    }
    assert_eq!(describe(one), describe(other), "{why}: the trees of transaction {} differ", one.txn());
}
