//! [`Findings`]: what is found of the views that a statement, or another view, names while it is planned.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::logical_expr::LogicalPlan;
use parking_lot::Mutex;

use crate::error::{Error, ErrorKind, Result};
use crate::provider::Sources;

/// What is found of the views that something names while it is planned.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    broken: Mutex<Option<Arc<Error>>>,
    changes: Mutex<Vec<Arc<str>>>,
    names_others: AtomicBool,
}

impl Findings {
    /// Notes why a view that is named cannot be planned. The first is told of.
    pub(crate) fn note_broken(&self, reason: &Arc<Error>) {
        let _ = self.broken.lock().get_or_insert_with(|| Arc::clone(reason));
    }

    /// Notes which inputs of a view that is named have columns of other types than when it was made. It can be planned with them; whether
    /// its values can be computed shows when they are.
    pub(crate) fn note_changes(&self, changes: &[Arc<str>]) {
        let mut known = self.changes.lock();
        for change in changes {
            if !known.contains(change) {
                known.push(Arc::clone(change));
            }
        }
    }

    /// What [was noted](Self::note_changes).
    pub(crate) fn changes(&self) -> Vec<Arc<str>> {
        self.changes.lock().clone()
    }

    /// Notes that something outside of the pond is named, such as a view of another one: of a view, its plan does not tell.
    pub(crate) fn note_others(&self) {
        self.names_others.store(true, Ordering::Relaxed);
    }

    /// Whether [that was noted](Self::note_others).
    pub(crate) fn named(&self) -> Sources {
        if self.names_others.load(Ordering::Relaxed) { Sources::Others } else { Sources::Pond }
    }

    /// What planning gave, unless it names a view that cannot be planned. The reason of that is the answer then: such a view may show
    /// columns that are gone, or none at all, and what DataFusion says of those leads nowhere.
    ///
    /// # Errors
    /// The reason; what planning said.
    pub(crate) fn judge(&self, planned: Result<LogicalPlan>) -> Result<LogicalPlan> {
        let broken = self.broken.lock().take();
        match (planned, broken) {
            // A name that leads nowhere, and a view that reads itself, are told of as they are.
            (Err(error), _) if error.is_missing() || error.kind() == ErrorKind::Limit => Err(error),
            (_, Some(reason)) => Err(Error::shared(&reason)),
            (planned, None) => planned,
        }
    }
}
