//! Checkpoints of the Delta log, and merges of its many small files, beside the commits.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use tinyfs::{Result, Txn};

use crate::entry::Merge;
use crate::error::lost;
use crate::files::LogFile;
use crate::rows::merge;
use crate::store::Inner;

/// A commit waits for a merge when this many times the usual number of files are left to merge. Programs that commit
/// once and exit would otherwise never see a merge through.
const PATIENCE: u64 = 4;

impl Inner {
    /// Starts the work that is due after transaction `txn`, unless some is still going on.
    pub(crate) fn maintain_after(self: &Arc<Self>, txn: Txn) {
        let interval = self.options.checkpoint_interval;
        if interval == 0 || !txn.0.is_multiple_of(interval) {
            return;
        }
        let mut background = self.background.lock().unwrap_or_else(PoisonError::into_inner);
        if background.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let inner = Arc::clone(self);
        *background = Some(tokio::spawn(async move {
            if let Err(error) = inner.table.checkpoint(txn).await {
                tracing::warn!(%error, txn = txn.0, "no checkpoint");
            }
            inner.prepare_merge().await;
        }));
    }

    /// Waits for the work in the background.
    pub(crate) async fn settle(&self) {
        let task = self.background.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::warn!(%error, "work in the background ended early");
        }
    }

    /// The merge that the commit which is about to be written shall carry. The caller holds `advancing`.
    pub(crate) async fn take_merge(&self) -> Option<Merge> {
        let interval = self.options.checkpoint_interval;
        if interval == 0 {
            return None;
        }
        let waiting = || self.merge.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut merge = waiting();
        let behind = self.read_live(|live| live.files.unmerged(interval));
        if merge.is_none() && behind as u64 >= interval.saturating_mul(PATIENCE) {
            self.settle().await;
            merge = waiting();
            if merge.is_none() {
                self.prepare_merge().await;
                merge = waiting();
            }
        }
        let merge = merge?;
        if self.read_live(|live| live.files.contain(&merge.inputs)) {
            return Some(merge);
        }
        // Another process was faster.
        self.table.discard(&merge.output.path).await;
        None
    }

    /// Keeps a merge for the next commit after all.
    pub(crate) async fn restore_merge(&self, merge: Option<Merge>) {
        let Some(merge) = merge else { return };
        let other = self.merge.lock().unwrap_or_else(PoisonError::into_inner).replace(merge);
        // One that was prepared meanwhile has the same inputs.
        if let Some(other) = other {
            self.table.discard(&other.output.path).await;
        }
    }

    /// Writes a merged file, if a merge is due, for the next commit to put in place.
    async fn prepare_merge(&self) {
        if self.merge.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return;
        }
        let now = self.latest().txn().0;
        if now < self.no_merge_before.load(Ordering::Relaxed) {
            return;
        }
        match self.merge_files().await {
            Ok(merge) => self.restore_merge(merge).await,
            Err(error) => {
                // Files that cannot be merged must not cost every commit an attempt.
                let later = now.saturating_add(self.options.checkpoint_interval);
                self.no_merge_before.store(later, Ordering::Relaxed);
                tracing::warn!(%error, "the log's files were not merged");
            }
        }
    }

    async fn merge_files(&self) -> Result<Option<Merge>> {
        let interval = self.options.checkpoint_interval;
        let Some(inputs) = self.read_live(|live| live.files.mergeable(interval)) else { return Ok(None) };
        let [first, .., last] = &inputs[..] else { return Ok(None) };
        let (first, last) = (first.first, last.last);
        let rows = inputs.iter().map(|file| file.rows).sum();
        let files = self.table.fetch_all(&inputs).await?;
        let merged = tokio::task::spawn_blocking(move || merge(files)).await.map_err(lost)??;
        let output = Arc::new(LogFile::new(&merged, rows, first, last));
        self.table.write(&output.path, merged.bytes).await?;
        Ok(Some(Merge { inputs, output }))
    }
}
