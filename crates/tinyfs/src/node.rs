//! What a pond holds: nodes, their versions and parts.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::versions::Versions;

/// A committed transaction of a pond, counted from 0 (the empty pond). In a Delta log it is the table version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Txn(pub u64);

impl Txn {
    /// The transaction that follows.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Txn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names a node for as long as the pond lives; a path may come to name another one, an id never does.
///
/// Made without coordination (UUID version 7), because several processes create nodes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub Uuid);

impl NodeId {
    /// The root directory of every pond.
    pub const ROOT: Self = Self(Uuid::nil());

    /// An id that no other node has.
    pub fn unique() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an entry of a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// Holds entries.
    Directory,
    /// A sequence of [`Version`]s.
    File,
    /// Leads to another path.
    Symlink,
    /// A derived file: its text is a query.
    View,
    /// A table made by a factory, or an external file: its text is the configuration.
    Dynamic,
    /// Made by a factory, as its text says, and holds entries as a directory does. The factory may show more than are stored.
    DynamicDirectory,
}

impl EntryKind {
    /// The word that users and the log see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::File => "file",
            Self::Symlink => "symlink",
            Self::View => "view",
            Self::Dynamic => "dynamic",
            Self::DynamicDirectory => "dynamic directory",
        }
    }

    /// Whether it holds entries.
    pub fn holds_entries(self) -> bool {
        matches!(self, Self::Directory | Self::DynamicDirectory)
    }

    /// The kind that [`as_str`](Self::as_str) spells so.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Directory, Self::File, Self::Symlink, Self::View, Self::Dynamic, Self::DynamicDirectory]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// What a new version does to the content before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WriteMode {
    /// Adds to it: a series.
    Append,
    /// Takes its place: a table.
    Replace,
}

impl WriteMode {
    /// The word that users and the log see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Replace => "replace",
        }
    }

    /// The mode that [`as_str`](Self::as_str) spells so.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Append, Self::Replace].into_iter().find(|mode| mode.as_str() == text)
    }
}

/// Names and texts that the layers above keep with a node or a version. TinyFS stores them and looks into none.
///
/// Cheap to clone. Two values that are equal may share one allocation; a store that replays a log sees to that.
// A slice sorted by name, not a tree: a tree's smallest node is twice as large as what most entries have to keep, and
// there may be a million.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes(Arc<[(Arc<str>, Arc<str>)]>);

impl Attributes {
    /// The text kept under `name`.
    pub fn get(&self, name: &str) -> Option<&Arc<str>> {
        let index = self.0.binary_search_by(|(key, _)| (**key).cmp(name)).ok()?;
        self.0.get(index).map(|(_, value)| value)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Arc<str>, &Arc<str>)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These, with `name` set.
    #[must_use]
    pub fn with(&self, name: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        self.0.iter().cloned().chain([(name.into(), value.into())]).collect()
    }
}

/// Of a name that comes twice, the later text counts.
impl<K: Into<Arc<str>>, V: Into<Arc<str>>> FromIterator<(K, V)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut pairs: Vec<(Arc<str>, Arc<str>)> = pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        // The sort is stable, so the later of two is behind the earlier one, which is dropped in its favour.
        pairs.reverse();
        pairs.dedup_by(|earlier, later| earlier.0 == later.0);
        pairs.reverse();
        Self(pairs.into())
    }
}

/// Where the bytes of a [`Part`] are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// At hand: the memory store's, or small and not yet committed.
    Memory(Bytes),
    /// In the log row that this transaction wrote for the version.
    Log(Txn),
    /// Beside the log, named by their hash.
    Content,
}

/// The bytes of one version. Immutable, and named by their hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// BLAKE3 of the bytes.
    pub hash: blake3::Hash,
    /// Their number.
    pub size: u64,
    /// Where the store keeps them.
    pub place: Place,
}

/// One write to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its place in the file's history, from 1, without gaps.
    pub number: u64,
    /// What it does to the content before it.
    pub mode: WriteMode,
    /// Its bytes.
    pub part: Part,
    /// The transaction that wrote it; [`Txn`] after the base while it is not committed.
    pub txn: Txn,
    /// When that transaction was committed.
    pub modified: DateTime<Utc>,
    /// What the layers above know of the bytes: format, schema, row count, statistics.
    pub attributes: Attributes,
}

/// A node: what an entry leads to.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its name for good.
    pub id: NodeId,
    /// The directory that holds it. The root is its own parent.
    pub parent: NodeId,
    /// Its name there. The root's is empty.
    pub name: Arc<str>,
    /// The transaction that last changed the node itself: created, renamed, wrote or updated it.
    /// A directory does not change when an entry in it does.
    pub txn: Txn,
    /// When that transaction was committed.
    pub modified: DateTime<Utc>,
    /// What the layers above keep with the node as a whole, such as a table's declared schema.
    pub attributes: Attributes,
    /// What it holds.
    pub body: Body,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Entries by name.
    Directory(imbl::OrdMap<Arc<str>, NodeId>),
    /// Versions, oldest first.
    File(Versions),
    /// The target, as written: absolute, or relative to the link's directory.
    Symlink(Arc<str>),
    /// The text of the query.
    View(Arc<str>),
    /// The factory's configuration.
    Dynamic(Arc<str>),
    /// The factory's configuration, and the entries that are stored. A body of its own, so that nothing can be made below an
    /// external file, and a pond whose factory is missing can still be read.
    DynamicDirectory {
        /// The factory's configuration.
        text: Arc<str>,
        /// Entries by name.
        entries: imbl::OrdMap<Arc<str>, NodeId>,
    },
}

impl Node {
    /// What the node is.
    pub fn kind(&self) -> EntryKind {
        match self.body {
            Body::Directory(_) => EntryKind::Directory,
            Body::File(_) => EntryKind::File,
            Body::Symlink(_) => EntryKind::Symlink,
            Body::View(_) => EntryKind::View,
            Body::Dynamic(_) => EntryKind::Dynamic,
            Body::DynamicDirectory { .. } => EntryKind::DynamicDirectory,
        }
    }

    /// The text of a symlink, view or dynamic entry.
    pub fn text(&self) -> Option<&Arc<str>> {
        match &self.body {
            Body::Symlink(text) | Body::View(text) | Body::Dynamic(text) | Body::DynamicDirectory { text, .. } => {
                Some(text)
            }
            Body::Directory(_) | Body::File(_) => None,
        }
    }

    /// The entries that are stored in a directory, by name.
    pub fn entries(&self) -> Option<&imbl::OrdMap<Arc<str>, NodeId>> {
        match &self.body {
            Body::Directory(entries) | Body::DynamicDirectory { entries, .. } => Some(entries),
            _ => None,
        }
    }

    /// The versions of a file.
    pub fn versions(&self) -> Option<&Versions> {
        match &self.body {
            Body::File(versions) => Some(versions),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_sorted_and_the_later_text_counts() {
        let attributes = Attributes::from_iter([("b", "1"), ("a", "2"), ("b", "3"), ("c", "4"), ("b", "5")]);
        let told: Vec<_> = attributes.iter().map(|(name, value)| format!("{name}{value}")).collect();
        assert_eq!(told, ["a2", "b5", "c4"]);
        assert_eq!(attributes.get("b").map(|text| &**text), Some("5"));
        assert_eq!((attributes.get("bb"), attributes.with("a", "9").get("a").map(|text| &**text)), (None, Some("9")));
        assert_eq!(attributes.with("d", "0").iter().len(), 4);
        assert!(Attributes::default().is_empty() && Attributes::default().get("a").is_none());
    }
}
