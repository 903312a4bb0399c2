//! What a transaction writes down: [`Operation`]s, gathered into a [`Commit`].

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::node::{Attributes, EntryKind, NodeId, Part, Txn, WriteMode};

/// One change of one node. A store keeps it as one row; replaying all rows in order gives the pond.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// The node that changes.
    pub node: NodeId,
    /// The directory that holds it, after the change.
    pub parent: NodeId,
    /// Its name there, after the change.
    pub name: Arc<str>,
    /// The change.
    pub action: Action,
}

/// What happens to a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// It comes to be. `text` is what a symlink, view or dynamic entry holds; directories and files have none.
    Create {
        /// What it is.
        kind: EntryKind,
        /// The symlink's target, the view's query, the factory's configuration.
        text: Option<Arc<str>>,
        /// What the layers above keep with it.
        attributes: Attributes,
    },
    /// A file gets a version.
    Write {
        /// The version's number: one more than the newest.
        version: u64,
        /// What it does to the content before it.
        mode: WriteMode,
        /// Its bytes.
        part: Part,
        /// What the layers above know of the bytes.
        attributes: Attributes,
    },
    /// A part holds, once more, what a run of versions of the present content holds, or some of it: see
    /// [`Compaction`](crate::Compaction). The file is not changed by it: it keeps its versions, its time and its transaction.
    Compact {
        /// The number of the first of these versions.
        first: u64,
        /// The number of the last.
        last: u64,
        /// The first part of a compaction replaces those before it of these versions; the others append to it.
        mode: WriteMode,
        /// Its bytes.
        part: Part,
        /// What the layers above know of the bytes.
        attributes: Attributes,
    },
    /// Its text or attributes are replaced.
    Update {
        /// The new text; `None` for a directory or file.
        text: Option<Arc<str>>,
        /// The new attributes.
        attributes: Attributes,
    },
    /// It goes, and with it everything below it.
    Remove,
    /// It gets the parent and name that the operation carries.
    Rename,
}

impl Action {
    /// The word that the log shows.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Write { .. } => "write",
            Self::Compact { .. } => "compact",
            Self::Update { .. } => "update",
            Self::Remove => "remove",
            Self::Rename => "rename",
        }
    }

    /// The part that it adds.
    pub fn part_mut(&mut self) -> Option<&mut Part> {
        match self {
            Self::Write { part, .. } | Self::Compact { part, .. } => Some(part),
            Self::Create { .. } | Self::Update { .. } | Self::Remove | Self::Rename => None,
        }
    }
}

/// Who committed, when, and why.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommitInfo {
    /// The program or person, as they wish to be known.
    pub author: String,
    /// What the transaction was for; a session puts the statement's text here.
    pub message: String,
}

/// One transaction as a store makes it durable: all of it, or nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// Its number: one more than the state it was made for.
    pub txn: Txn,
    /// When it is committed, in whole microseconds.
    pub committed_at: DateTime<Utc>,
    /// Who and why.
    pub info: CommitInfo,
    /// The changes, in order.
    pub operations: Vec<Operation>,
}

/// One line of a pond's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// The transaction.
    pub txn: Txn,
    /// When it was committed.
    pub committed_at: DateTime<Utc>,
    /// Who and why.
    pub info: CommitInfo,
    /// How many operations it holds.
    pub operations: u64,
}
