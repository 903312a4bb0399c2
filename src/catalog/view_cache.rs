//! [`ViewCache`]: planned views, for later statements while the pond stays as it is.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tinyfs::{NodeId, Txn};

use crate::catalog::view::ViewPlan;

/// Planned views of one snapshot, by node and its last change.
#[derive(Debug, Default)]
pub(crate) struct ViewCache(Mutex<CachedPlans>);

#[derive(Debug, Default)]
struct CachedPlans {
    snapshot: Txn,
    plans: HashMap<(NodeId, Txn), Arc<ViewPlan>>,
    /// How many views have been planned, for tests.
    #[cfg(test)]
    planned: usize,
}

impl ViewCache {
    pub(crate) fn get(&self, snapshot: Txn, key: (NodeId, Txn)) -> Option<Arc<ViewPlan>> {
        let cached = self.0.lock();
        if cached.snapshot == snapshot { cached.plans.get(&key).map(Arc::clone) } else { None }
    }

    pub(crate) fn put(&self, snapshot: Txn, key: (NodeId, Txn), plan: &Arc<ViewPlan>) {
        let mut cached = self.0.lock();
        if cached.snapshot != snapshot {
            cached.plans.clear();
            cached.snapshot = snapshot;
        }
        let _ = cached.plans.insert(key, Arc::clone(plan));
    }

    /// One more was planned.
    #[cfg(test)]
    pub(crate) fn count(&self) {
        self.0.lock().planned += 1;
    }

    /// How many views have been planned so far.
    #[cfg(test)]
    pub(crate) fn planned(&self) -> usize {
        self.0.lock().planned
    }
}
