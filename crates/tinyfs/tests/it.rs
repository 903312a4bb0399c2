//! The suites that every store must pass, on the store that ships here; a store of another crate does the same.

use std::sync::Arc;

use async_trait::async_trait;
use proptest::prelude::*;
use tinyfs::conformance::{self, Step, StoreFactory};
use tinyfs::{MemoryStore, PersistenceLayer};

/// A memory store lives in one process: its second handle is the first.
struct Memory;

#[async_trait]
impl StoreFactory for Memory {
    async fn create(&self) -> Arc<dyn PersistenceLayer> {
        Arc::new(MemoryStore::new())
    }

    async fn reopen(&self, store: &Arc<dyn PersistenceLayer>) -> Arc<dyn PersistenceLayer> {
        Arc::clone(store)
    }
}

macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $case() {
                conformance::$case(&Memory).await;
            }
        )*
    };
}

cases!(
    starts_empty,
    commits_are_numbered_without_gaps,
    one_commit_for_each_number,
    other_handles_are_seen,
    reopening_gives_equal_states,
    old_states_stay_readable,
    parts_of_all_sizes,
    equal_bytes_may_be_written_twice,
    a_dropped_writer_leaves_nothing,
    every_cell_of_the_conflict_table,
    reading_alone_never_conflicts,
    reads_its_own_writes,
    rollback_leaves_nothing,
    an_empty_transaction_commits_nothing,
    a_read_only_transaction_refuses_changes,
    the_log_tells_who_and_when,
    concurrent_appenders_all_succeed,
    a_counter_loses_no_update,
);

/// The whole suite needs no threads of its own.
#[tokio::test]
async fn run_all_on_one_thread() {
    conformance::run_all(&Memory).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_pond_behaves_as_a_map(choices in prop::collection::vec(any::<u64>(), 1..50)) {
        let steps: Vec<Step> = choices.into_iter().map(Step::pick).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(conformance::run_model(&Memory, &steps));
    }
}
