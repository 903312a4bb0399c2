//! [`StoreOptions`]: how a store behaves.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use tinyfs::{Clock, SystemClock};

/// On which thread a commit waits for a disk of this machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CommitThread {
    /// On one of the runtime's threads that may block. Always right.
    #[default]
    Blocking,
    /// On the one that commits, which tells its runtime so ([`tokio::task::block_in_place`]): to wake another thread and be woken by it
    /// may take a tenth of a commit. On a current-thread runtime as [`Blocking`](Self::Blocking). Not for a
    /// [`LocalSet`](tokio::task::LocalSet) on a multi-thread runtime: there tokio panics.
    Current,
}

/// How a [`DeltaStore`](crate::DeltaStore) behaves. `StoreOptions::default()` is right for most.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Refuse every write with [`ReadOnly`](tinyfs::ErrorKind::ReadOnly), and never create a pond.
    pub read_only: bool,
    /// Tells when a pond is created.
    pub clock: Arc<dyn Clock>,
    /// Parts of at most this many bytes are kept in the log's rows; larger ones become files of their own.
    pub inline_limit: u64,
    /// A checkpoint and a compaction of the log are started in the background every so many commits. `0`: never.
    pub checkpoint_interval: u64,
    /// How many bytes of inline parts are kept in memory for reading.
    pub cache_bytes: usize,
    /// How long the store may lie idle before it suspects that another program has cleaned up the end of the log
    /// that it knows, and checks.
    pub idle_limit: Duration,
    /// On which thread a commit waits.
    pub commit_thread: CommitThread,
    /// Keys and values for the cloud's client, such as `aws_region`; see [`object_store::parse_url_opts`].
    pub storage_options: HashMap<String, String>,
    /// The store that holds the location's root, instead of the one that the URL asks for. It must put
    /// conditionally ([`PutMode::Create`](object_store::PutMode::Create)), and be durable by itself.
    pub object_store: Option<Arc<dyn ObjectStore>>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            read_only: false,
            clock: Arc::new(SystemClock),
            inline_limit: 64 * 1024,
            checkpoint_interval: 64,
            cache_bytes: 64 * 1024 * 1024,
            idle_limit: Duration::from_secs(60),
            commit_thread: CommitThread::default(),
            storage_options: HashMap::new(),
            object_store: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As documented: users count files and commits by them.
    #[test]
    fn what_is_kept_in_the_rows_and_how_often_the_log_is_upkept() {
        let StoreOptions { read_only, inline_limit, checkpoint_interval, .. } = StoreOptions::default();
        assert_eq!((read_only, inline_limit, checkpoint_interval), (false, 65_536, 64));
    }
}
