//! [`Statement`]: what a session's running statement sees, and where its changes go.

use std::sync::Arc;

use parking_lot::Mutex;
use tinyfs::{Glob, PondPath, Snapshot, Transaction};

use crate::pond::OpenPond;

/// Whether what a statement reads must still be as it was when its transaction commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recording {
    /// It must: the transaction writes, or may yet.
    On,
    /// The transaction is this one query, which writes nothing.
    Off,
}

/// One statement of a session: one snapshot for all its look-ups, and the transaction that takes its changes.
#[derive(Debug)]
pub(crate) struct Statement {
    pond: OpenPond,
    snapshot: Snapshot,
    transaction: Arc<Mutex<Transaction>>,
    recording: Recording,
    /// The path that the statement writes to. Naming it there reads nothing, and it may be missing.
    target: Option<PondPath>,
}

impl Statement {
    /// A statement of `transaction`, whose own changes so far it sees.
    pub(crate) fn new(
        pond: OpenPond,
        transaction: Arc<Mutex<Transaction>>,
        recording: Recording,
        target: Option<PondPath>,
    ) -> Self {
        let snapshot = transaction.lock().snapshot();
        Self { pond, snapshot, transaction, recording, target }
    }

    pub(crate) fn pond(&self) -> &OpenPond {
        &self.pond
    }

    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    pub(crate) fn transaction(&self) -> &Arc<Mutex<Transaction>> {
        &self.transaction
    }

    pub(crate) fn target(&self) -> Option<&PondPath> {
        self.target.as_ref()
    }

    /// Whether plans that were made for another statement may be used: those would skip recording what they read,
    /// and a transaction with changes of its own sees what no other statement does.
    pub(crate) fn may_share_plans(&self) -> bool {
        self.recording == Recording::Off && self.transaction.lock().is_empty()
    }

    pub(crate) fn record_read(&self, path: &PondPath) {
        if self.recording == Recording::On {
            self.transaction.lock().record_read(path);
        }
    }

    pub(crate) fn record_glob(&self, glob: &Glob) {
        if self.recording == Recording::On {
            self.transaction.lock().record_glob(glob);
        }
    }
}
