//! [`Statement`]: what a session's running statement sees, and where its changes go.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::execution::session_state::SessionState;
use parking_lot::Mutex;
use tinyfs::{Glob, NodeId, PondPath, Snapshot, Transaction, Txn};

use crate::catalog::findings::Findings;
use crate::catalog::open_pond::OpenPond;
use crate::catalog::scope::Scope;
use crate::catalog::tree::Tree;
use crate::catalog::view::Planned;

/// The views that a statement has planned, by node and its last change.
pub(crate) type StatementPlans = Mutex<HashMap<(NodeId, Txn), Planned>>;

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
    tree: Tree,
    transaction: Arc<Mutex<Transaction>>,
    recording: Recording,
    /// The path that the statement writes to. Naming it there reads nothing, and it may be missing.
    target: Option<PondPath>,
    plans: StatementPlans,
    findings: Findings,
    /// What the texts of the directory that came last were planned with: to copy a session takes as long as to plan a small view.
    session: Mutex<Option<(PondPath, Arc<SessionState>)>>,
}

impl Statement {
    /// A statement of `transaction`, whose own changes so far it sees.
    pub(crate) fn new(
        scope: &Scope,
        pond: OpenPond,
        transaction: Arc<Mutex<Transaction>>,
        recording: Recording,
        target: Option<PondPath>,
    ) -> Self {
        let tree = pond.trees.tree(transaction.lock().snapshot(), scope.lister());
        Self {
            pond,
            tree,
            transaction,
            recording,
            target,
            plans: StatementPlans::default(),
            findings: Findings::default(),
            session: Mutex::default(),
        }
    }

    pub(crate) fn pond(&self) -> &OpenPond {
        &self.pond
    }

    /// What is stored.
    pub(crate) fn snapshot(&self) -> &Snapshot {
        self.tree.stored()
    }

    /// What names are looked up in.
    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    pub(crate) fn plans(&self) -> &StatementPlans {
        &self.plans
    }

    /// What is found of the views that it names itself; what is found of those below is with the views.
    pub(crate) fn findings(&self) -> &Findings {
        &self.findings
    }

    /// The session that texts in `directory` are planned with, if it was [kept](Self::keep_session).
    pub(crate) fn session_of(&self, directory: &PondPath) -> Option<Arc<SessionState>> {
        let session = self.session.lock();
        session.as_ref().filter(|(of, _)| of == directory).map(|(_, session)| Arc::clone(session))
    }

    pub(crate) fn keep_session(&self, directory: &PondPath, session: &Arc<SessionState>) {
        *self.session.lock() = Some((directory.clone(), Arc::clone(session)));
    }

    pub(crate) fn transaction(&self) -> &Arc<Mutex<Transaction>> {
        &self.transaction
    }

    pub(crate) fn target(&self) -> Option<&PondPath> {
        self.target.as_ref()
    }

    /// Whether plans that were made for another statement may be used: those would skip recording what they read,
    /// and a transaction with changes of its own sees what no other statement does. What factories show may be new each time.
    pub(crate) fn may_share_plans(&self) -> bool {
        !self.tree.shows_listed() && self.recording == Recording::Off && self.transaction.lock().is_empty()
    }

    pub(crate) fn record_read(&self, path: &PondPath) {
        if self.recording == Recording::On {
            self.transaction.lock().record_read(path);
            self.record_families(path);
        }
    }

    pub(crate) fn record_glob(&self, glob: &Glob) {
        if self.recording == Recording::On {
            self.transaction.lock().record_glob(glob);
            self.record_families(&glob.base());
        }
    }

    /// What is there may be a member of a family: whether it is depends on the family, and on what its globs match.
    fn record_families(&self, path: &PondPath) {
        let mut transaction = self.transaction.lock();
        for family in self.tree.families_around(path) {
            transaction.record_read(&family.path);
            family.globs().for_each(|glob| transaction.record_glob(glob));
        }
    }
}
