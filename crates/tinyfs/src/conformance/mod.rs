//! What every store must do, as code: call [`run_all`] from the tests of a [`PersistenceLayer`].
//!
//! Each case is a function that makes ponds through a [`StoreFactory`] and panics, saying which promise is broken, when
//! the store does not keep the contract of [`PersistenceLayer`]. Cases need a Tokio runtime, with several threads to find races.
//! [`run_model`] compares a pond with a plain map under a sequence of [`Step`]s; tests choose the sequence.
#![expect(clippy::expect_used, clippy::panic, reason = "this is test code, for the tests of other crates")]

mod conflicts;
mod model;
mod parts;
mod pond;
mod stores;
mod transactions;

use std::sync::Arc;

use async_trait::async_trait;

use crate::persistence::PersistenceLayer;

pub use conflicts::{
    a_compaction_stands_for_what_it_was_made_of, every_cell_of_the_conflict_table, reading_alone_never_conflicts,
};
pub use model::{Step, run_model};
pub use parts::{
    a_dropped_writer_leaves_nothing, equal_bytes_may_be_written_twice, parts_of_all_sizes, versions_are_read_in_pieces,
};
pub use stores::{
    commits_are_numbered_without_gaps, old_states_stay_readable, one_commit_for_each_number, other_handles_are_seen,
    reopening_gives_equal_states, starts_empty,
};
pub use transactions::{
    a_counter_loses_no_update, a_dynamic_directory_holds_entries, a_read_only_transaction_refuses_changes,
    an_empty_transaction_commits_nothing, concurrent_appenders_all_succeed, reads_its_own_writes,
    rollback_leaves_nothing, the_log_tells_who_and_when,
};

/// Makes the stores that the cases run on.
#[async_trait]
pub trait StoreFactory: Send + Sync {
    /// A store with an empty pond of its own.
    async fn create(&self) -> Arc<dyn PersistenceLayer>;

    /// A second handle on the same pond, as another process would open it. A store that one process only can hold
    /// returns the same handle.
    async fn reopen(&self, store: &Arc<dyn PersistenceLayer>) -> Arc<dyn PersistenceLayer>;

    /// How many files below the pond hold bytes of parts that were never finished, for stores with a medium to look at.
    async fn unfinished_parts(&self, store: &Arc<dyn PersistenceLayer>) -> usize {
        let _ = store;
        0
    }
}

/// Runs every case, one after the other, and [`run_model`] on a few fixed sequences.
///
/// # Panics
/// When the store breaks its contract; the message says how.
pub async fn run_all(factory: &dyn StoreFactory) {
    Box::pin(starts_empty(factory)).await;
    Box::pin(commits_are_numbered_without_gaps(factory)).await;
    Box::pin(one_commit_for_each_number(factory)).await;
    Box::pin(other_handles_are_seen(factory)).await;
    Box::pin(reopening_gives_equal_states(factory)).await;
    Box::pin(old_states_stay_readable(factory)).await;
    Box::pin(parts_of_all_sizes(factory)).await;
    Box::pin(versions_are_read_in_pieces(factory)).await;
    Box::pin(equal_bytes_may_be_written_twice(factory)).await;
    Box::pin(a_dropped_writer_leaves_nothing(factory)).await;
    Box::pin(every_cell_of_the_conflict_table(factory)).await;
    Box::pin(a_compaction_stands_for_what_it_was_made_of(factory)).await;
    Box::pin(reading_alone_never_conflicts(factory)).await;
    Box::pin(reads_its_own_writes(factory)).await;
    Box::pin(rollback_leaves_nothing(factory)).await;
    Box::pin(an_empty_transaction_commits_nothing(factory)).await;
    Box::pin(a_read_only_transaction_refuses_changes(factory)).await;
    Box::pin(the_log_tells_who_and_when(factory)).await;
    Box::pin(concurrent_appenders_all_succeed(factory)).await;
    Box::pin(a_counter_loses_no_update(factory)).await;
    Box::pin(a_dynamic_directory_holds_entries(factory)).await;
    for seed in 0..4 {
        Box::pin(run_model(factory, &Step::sequence(seed, 60))).await;
    }
}
