//! A pond in a temporary directory, and short ways to change it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use tempfile::TempDir;
use tinyfs::{
    Action, Appended, Attributes, Commit, CommitInfo, EntryKind, NodeId, Operation, Part, PersistenceLayer, Place,
    State, WriteMode,
};
use tlogfs::{DeltaStore, Location, StoreOptions};

pub(crate) struct Pond {
    pub(crate) dir: TempDir,
    pub(crate) options: StoreOptions,
}

impl Pond {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), options: StoreOptions::default() }
    }

    /// A pond that is upkept every so many commits.
    pub(crate) fn upkept(interval: u64) -> Self {
        let options = StoreOptions { checkpoint_interval: interval, ..StoreOptions::default() };
        Self { options, ..Self::new() }
    }

    pub(crate) fn path(&self) -> PathBuf {
        // What needs escaping in URLs must not matter.
        self.dir.path().join("my pönd 100%")
    }

    pub(crate) fn location(&self) -> Location {
        Location::from_path(&self.path()).unwrap()
    }

    pub(crate) async fn create(&self) -> Arc<DeltaStore> {
        DeltaStore::create(&self.location(), self.options.clone()).await.unwrap()
    }

    pub(crate) async fn open(&self) -> Arc<DeltaStore> {
        self.try_open().await.unwrap()
    }

    pub(crate) async fn try_open(&self) -> tinyfs::Result<Arc<DeltaStore>> {
        DeltaStore::open(&self.location(), self.options.clone()).await
    }

    /// The names in a directory of the pond, sorted.
    pub(crate) fn names(&self, below: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path().join(below)) else { return Vec::new() };
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(crate) fn log_files(&self) -> Vec<PathBuf> {
        self.names("log").iter().map(|name| self.path().join("log").join(name)).collect()
    }

    pub(crate) fn entry(&self, txn: u64) -> PathBuf {
        self.path().join(format!("_delta_log/{txn:020}.json"))
    }
}

pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(1_700_000_000_000_000 + seconds * 1_000_000 + 123_456).unwrap()
}

pub(crate) fn commit_of(base: &State, operations: Vec<Operation>) -> Commit {
    let txn = base.txn().next();
    Commit {
        txn,
        committed_at: at(i64::try_from(txn.0).unwrap()),
        info: CommitInfo { author: "ann".into(), message: format!("change {txn}") },
        operations,
    }
}

pub(crate) async fn committed(store: &DeltaStore, base: &Arc<State>, operations: Vec<Operation>) -> Arc<State> {
    match store.commit(base, commit_of(base, operations)).await.unwrap() {
        Appended::Committed(state) => state,
        Appended::Stale(newest) => panic!("stale: {newest:?}"),
    }
}

pub(crate) fn create(node: NodeId, name: &str, kind: EntryKind, text: Option<&str>) -> Operation {
    let attributes = Attributes::from_iter([("made", "by a test")]);
    let action = Action::Create { kind, text: text.map(Arc::from), attributes };
    Operation { node, parent: NodeId::ROOT, name: name.into(), action }
}

pub(crate) fn write(node: NodeId, name: &str, version: u64, part: Part) -> Operation {
    let attributes = Attributes::from_iter([("format", "text"), ("rows", "3")]);
    let action = Action::Write { version, mode: WriteMode::Append, part, attributes };
    Operation { node, parent: NodeId::ROOT, name: name.into(), action }
}

pub(crate) fn memory(bytes: impl Into<Bytes>) -> Part {
    let bytes = bytes.into();
    Part { hash: blake3::hash(&bytes), size: bytes.len() as u64, place: Place::Memory(bytes) }
}

pub(crate) async fn streamed(store: &DeltaStore, chunks: &[Bytes]) -> Part {
    let mut writer = store.create_part().await.unwrap();
    for chunk in chunks {
        writer.write(chunk.clone()).await.unwrap();
    }
    writer.finish().await.unwrap()
}

pub(crate) async fn whole(store: &DeltaStore, part: &Part) -> tinyfs::Result<Bytes> {
    store.read_part(part, 0..part.size).await
}

/// Makes the file `/f`, and appends `count` small versions in as many transactions.
pub(crate) async fn grow(store: &DeltaStore, count: u64) -> NodeId {
    let node = NodeId::unique();
    let mut state = committed(store, &store.latest(), vec![create(node, "f", EntryKind::File, None)]).await;
    for version in 1..=count {
        let part = memory(format!("bytes of version {version}"));
        state = committed(store, &state, vec![write(node, "f", version, part)]).await;
    }
    node
}

/// Everything that a state says, for comparison: nodes by path.
pub(crate) fn told(state: &State) -> Vec<(String, tinyfs::Node)> {
    let mut found = Vec::new();
    let mut open = vec![NodeId::ROOT];
    while let Some(id) = open.pop() {
        let node = state.node(id).unwrap();
        if let Some(entries) = node.entries() {
            open.extend(entries.values());
        }
        found.push((state.path_of(id).unwrap().to_string(), tinyfs::Node::clone(node)));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

/// Changes the byte in the middle of a file.
pub(crate) fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x20;
    std::fs::write(path, bytes).unwrap();
}
