//! What the tests of several layers share.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use tinyfs::{Appended, Commit, LogEntry, MemoryStore, Part, PartWriter, PersistenceLayer, State, Txn};
use uuid::Uuid;

/// A Parquet file without rows, whose one column is in as many groups as there are `levels`, besides the root.
pub(crate) fn deep_parquet(levels: usize) -> Vec<u8> {
    let mut elements = levels + 2;
    let mut footer = b"\x15\x02\x19\xfc".to_vec();
    while elements > 0x7f {
        footer.push((elements & 0x7f) as u8 | 0x80);
        elements >>= 7;
    }
    footer.push(elements as u8);
    footer.extend_from_slice(b"\x48\x01r\x15\x02\x00");
    footer.extend(b"\x35\x02\x18\x01g\x15\x02\x00".repeat(levels));
    footer.extend_from_slice(b"\x15\x02\x25\x02\x18\x01x\x00\x16\x00\x19\x0c\x00");
    let length = (footer.len() as u32).to_le_bytes();
    [&b"PAR1"[..], &footer, &length, b"PAR1"].concat()
}

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
