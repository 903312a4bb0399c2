//! [`HeldStore`]: a store whose reader holds what it asks for, in memory that is taken from the session's limit.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::execution::memory_pool::MemoryReservation;
use object_store::path::Path;
use object_store::{Error as StoreError, GetOptions, GetResult, GetResultPayload, ObjectStore, Result};

use super::read_only::Reading;
use crate::error::Error;

/// So many bytes of ranges every reader has, of whatever format, without being asked for them.
const FREE: u64 = 16 << 20;

/// Gives what another store does, once there is memory for it.
#[derive(Debug)]
pub(crate) struct HeldStore {
    pub(crate) store: Arc<dyn ObjectStore>,
    /// Grows with what is read, until whoever reads gives it back.
    pub(crate) held: Arc<MemoryReservation>,
}

impl HeldStore {
    fn take(&self, bytes: u64) -> Result<()> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.held.try_grow(bytes).map_err(|error| {
            let source = Box::new(Error::from_datafusion(error));
            StoreError::Generic { store: "held", source }
        })
    }
}

impl fmt::Display for HeldStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, held", self.store)
    }
}

#[async_trait]
impl Reading for HeldStore {
    fn below(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let is_whole = options.range.is_none() && !options.head;
        let got = self.store.get_opts(location, options).await?;
        // A file of the host is read piece by piece.
        if is_whole && matches!(got.payload, GetResultPayload::Stream(_)) {
            self.take(got.meta.size)?;
        }
        Ok(got)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let all: u64 = ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum();
        self.take(all.saturating_sub(FREE))?;
        self.store.get_ranges(location, ranges).await
    }
}
