//! What the tests of several layers share.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use tinyfs::{Appended, Commit, LogEntry, MemoryStore, Part, PartWriter, PersistenceLayer, State, Txn};
use uuid::Uuid;

/// A memory store that counts reads.
#[derive(Debug, Default)]
pub(crate) struct CountingStore {
    inner: MemoryStore,
    pub(crate) reads: AtomicUsize,
}

#[async_trait]
impl PersistenceLayer for CountingStore {
    fn pond_id(&self) -> Uuid {
        self.inner.pond_id()
    }

    fn latest(&self) -> Arc<State> {
        self.inner.latest()
    }

    async fn refresh(&self) -> tinyfs::Result<Arc<State>> {
        self.inner.refresh().await
    }

    async fn state_at(&self, txn: Txn) -> tinyfs::Result<Arc<State>> {
        self.inner.state_at(txn).await
    }

    async fn log(&self, txn: Txn) -> tinyfs::Result<Vec<LogEntry>> {
        self.inner.log(txn).await
    }

    async fn create_part(&self) -> tinyfs::Result<Box<dyn PartWriter>> {
        self.inner.create_part().await
    }

    async fn read_part(&self, part: &Part, range: Range<u64>) -> tinyfs::Result<Bytes> {
        let _ = self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.read_part(part, range).await
    }

    async fn commit(&self, base: &Arc<State>, commit: Commit) -> tinyfs::Result<Appended> {
        self.inner.commit(base, commit).await
    }

    async fn settle(&self) -> tinyfs::Result<()> {
        self.inner.settle().await
    }
}
