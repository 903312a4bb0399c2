//! [`ViewCache`]: planned views, for later statements while the pond and the session's settings stay as they are.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::config::ConfigOptions;
use datafusion::execution::session_state::SessionState;
use parking_lot::Mutex;
use tinyfs::{NodeId, Txn};

use crate::catalog::view::ViewPlan;

/// The setting that differs between two directories; views have their own.
const DIRECTORY: &str = "datafusion.catalog.default_schema";

/// What the plan of a view depends on beside the pond: settings such as the time zone, and functions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Circumstances {
    settings: Option<Arc<ConfigOptions>>,
    functions: usize,
}

impl Circumstances {
    /// Those of a session as it is now.
    pub(crate) fn of(state: &SessionState) -> Self {
        // A plan keeps the functions that it calls, so that none of another meaning can be in their place.
        let scalar = state.scalar_functions().values().map(|function| Arc::as_ptr(function).addr());
        let aggregate = state.aggregate_functions().values().map(|function| Arc::as_ptr(function).addr());
        let window = state.window_functions().values().map(|function| Arc::as_ptr(function).addr());
        let higher_order = state.higher_order_functions().values().map(|function| Arc::as_ptr(function).addr());
        let functions = scalar.chain(aggregate).chain(window).chain(higher_order);
        Self {
            settings: Some(Arc::clone(state.config_options())),
            functions: functions.fold(0, |all, place| all.wrapping_add(scattered(place))),
        }
    }

    fn are(&self, others: &Self) -> bool {
        let settings = match (&self.settings, &others.settings) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other) || values(one) == values(other),
            (one, other) => one.is_none() && other.is_none(),
        };
        settings && self.functions == others.functions
    }
}

/// Spreads addresses, which are near each other, so that sums of different ones differ.
fn scattered(place: usize) -> usize {
    (place ^ (place >> 15)).wrapping_mul(0x9E37_79B1)
}

fn values(settings: &ConfigOptions) -> Vec<(String, Option<String>)> {
    let entries = settings.entries().into_iter().filter(|entry| entry.key != DIRECTORY);
    entries.map(|entry| (entry.key, entry.value)).collect()
}

/// Planned views of one snapshot, by node and its last change.
#[derive(Debug, Default)]
pub(crate) struct ViewCache(Mutex<CachedPlans>);

#[derive(Debug, Default)]
struct CachedPlans {
    snapshot: Txn,
    circumstances: Circumstances,
    plans: HashMap<(NodeId, Txn), Arc<ViewPlan>>,
    /// How many views have been planned, for tests.
    #[cfg(test)]
    planned: usize,
}

impl ViewCache {
    pub(crate) fn get(
        &self,
        snapshot: Txn,
        circumstances: &Circumstances,
        key: (NodeId, Txn),
    ) -> Option<Arc<ViewPlan>> {
        let mut cached = self.0.lock();
        if cached.snapshot != snapshot || !cached.circumstances.are(circumstances) {
            return None;
        }
        // The same settings are the same object most often, which is told at once.
        cached.circumstances.clone_from(circumstances);
        cached.plans.get(&key).map(Arc::clone)
    }

    pub(crate) fn put(&self, snapshot: Txn, circumstances: &Circumstances, key: (NodeId, Txn), plan: &Arc<ViewPlan>) {
        let mut cached = self.0.lock();
        if cached.snapshot != snapshot || !cached.circumstances.are(circumstances) {
            cached.plans.clear();
            cached.snapshot = snapshot;
        }
        cached.circumstances.clone_from(circumstances);
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
