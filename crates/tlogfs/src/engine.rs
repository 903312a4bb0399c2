//! [`SmallBatches`]: Delta's log store, with an engine that fits a log of many small files.

use std::num::NonZero;
use std::sync::Arc;

use async_trait::async_trait;
use buoyant_kernel::Engine;
use buoyant_kernel_engine::DefaultEngineBuilder;
use buoyant_kernel_engine::executor::tokio::{TokioBackgroundExecutor, TokioMultiThreadExecutor};
use bytes::Bytes;
use deltalake_core::kernel::transaction::TransactionError;
use deltalake_core::logstore::{CommitOrBytes, LogStore, LogStoreConfig};
use deltalake_core::{DeltaResult, ObjectStore};
use tokio::runtime::{Handle, RuntimeFlavor};
use uuid::Uuid;

/// Actions that are decoded at once. For each file that it reads, the engine makes room for a whole batch, of 1,000 by
/// default and some megabytes, and an entry of the log has a handful: making room took most of the time of opening a pond.
const BATCH: NonZero<usize> = NonZero::<usize>::MIN.saturating_add(63);

/// A log store that differs from the one inside by its engine.
#[derive(Debug)]
pub(crate) struct SmallBatches(pub(crate) Arc<dyn LogStore>);

#[async_trait]
impl LogStore for SmallBatches {
    fn name(&self) -> String {
        self.0.name()
    }

    async fn read_commit_entry(&self, version: u64) -> DeltaResult<Option<Bytes>> {
        self.0.read_commit_entry(version).await
    }

    async fn write_commit_entry(
        &self,
        version: u64,
        commit_or_bytes: CommitOrBytes,
        operation_id: Uuid,
    ) -> Result<(), TransactionError> {
        self.0.write_commit_entry(version, commit_or_bytes, operation_id).await
    }

    async fn abort_commit_entry(
        &self,
        version: u64,
        commit_or_bytes: CommitOrBytes,
        operation_id: Uuid,
    ) -> Result<(), TransactionError> {
        self.0.abort_commit_entry(version, commit_or_bytes, operation_id).await
    }

    async fn get_latest_version(&self, start_version: u64) -> DeltaResult<u64> {
        self.0.get_latest_version(start_version).await
    }

    fn object_store(&self, operation_id: Option<Uuid>) -> Arc<dyn ObjectStore> {
        self.0.object_store(operation_id)
    }

    fn root_object_store(&self, operation_id: Option<Uuid>) -> Arc<dyn ObjectStore> {
        self.0.root_object_store(operation_id)
    }

    fn engine(&self, operation_id: Option<Uuid>) -> Arc<dyn Engine> {
        let builder = DefaultEngineBuilder::new(self.root_object_store(operation_id)).with_batch_size(BATCH);
        let handle = Handle::current();
        // As delta-rs chooses: the engine blocks, which the only thread of a runtime must not.
        if handle.runtime_flavor() == RuntimeFlavor::MultiThread {
            Arc::new(builder.with_task_executor(Arc::new(TokioMultiThreadExecutor::new(handle))).build())
        } else {
            Arc::new(builder.with_task_executor(Arc::new(TokioBackgroundExecutor::new())).build())
        }
    }

    fn config(&self) -> &LogStoreConfig {
        self.0.config()
    }
}
