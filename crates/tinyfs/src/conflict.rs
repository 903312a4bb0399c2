//! [`Conflict`]: why two transactions cannot both stand, and who was first.

use std::fmt;

use crate::node::Txn;
use crate::path::PondPath;

/// What this transaction does to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mine {
    /// Adds a version that appends.
    Append,
    /// Adds a version that replaces.
    Replace,
    /// Makes an entry.
    Create,
    /// Changes an entry's text or attributes.
    Update,
    /// Removes or renames it.
    RemoveOrRename,
    /// Reads it, and writes something else.
    Read,
}

/// What the other transaction did to that path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theirs {
    /// Appended to it.
    Appended,
    /// Replaced its content.
    Replaced,
    /// Created it.
    Created,
    /// Removed or renamed it, or a directory above it.
    RemovedOrRenamed,
    /// Changed its text or attributes, or something below it.
    Changed,
}

/// Another transaction was committed first, and this one cannot be rebased over it. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Where they met; a glob that was read shows as its text.
    pub place: String,
    /// What this transaction does there.
    pub mine: Mine,
    /// What the other did.
    pub theirs: Theirs,
    /// The transaction that won; where it removed the entry, the newest one that can have.
    pub winner: Txn,
}

impl Conflict {
    pub(crate) fn new(path: &PondPath, mine: Mine, theirs: Theirs, winner: Txn) -> Self {
        Self { place: path.to_string(), mine, theirs, winner }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let theirs = match self.theirs {
            Theirs::Appended => "appended to",
            Theirs::Replaced => "replaced the content of",
            Theirs::Created => "created",
            Theirs::RemovedOrRenamed => "removed or renamed",
            Theirs::Changed => "changed",
        };
        let mine = match self.mine {
            Mine::Append => "appends to it",
            Mine::Replace => "replaces its content",
            Mine::Create => "creates it",
            Mine::Update => "changes it",
            Mine::RemoveOrRename => "removes or renames it",
            Mine::Read => "read it",
        };
        write!(
            f,
            "conflict: transaction {} {theirs} '{}' first, and this one {mine}; nothing was written, run the transaction again",
            self.winner, self.place
        )
    }
}

impl std::error::Error for Conflict {}
