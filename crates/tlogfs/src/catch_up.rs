//! Learning what others have committed.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use tinyfs::{Error, ErrorKind, LogEntry, Result, State, Txn};

use crate::entry::{is_of, parse};
use crate::error::lost;
use crate::fetch::damaged;
use crate::files::LogFile;
use crate::replay::{Replay, history};
use crate::rows::{HISTORY, REPLAY, decode};
use crate::store::{Inner, Live};

/// How many log files are read at once: many small ones of a store that is far away, but of large ones no more than the next while
/// one is decoded, for they are held in memory.
const READ_AHEAD: usize = 8;
const READ_AHEAD_OF_LARGE: usize = 2;
/// What a replay reads of a large one, in bytes.
const LARGE: u64 = 4 * 1024 * 1024;

impl Inner {
    /// The newest state there is. Costs one look at the log when there is nothing new.
    pub(crate) async fn refresh(&self) -> Result<Arc<State>> {
        let latest = self.latest();
        let next = latest.txn().next();
        if !self.has_been_idle() && (self.table.has_no_entry(next) || self.table.entry(next).await?.is_none()) {
            self.touch();
            return Ok(latest);
        }
        let _advancing = self.advancing.lock().await;
        self.catch_up().await
    }

    /// Reads and applies the entries that follow. The caller holds `advancing`.
    pub(crate) async fn catch_up(&self) -> Result<Arc<State>> {
        if self.is_cut_off().await? {
            let _ = self.reload().await?;
        }
        loop {
            let state = self.latest();
            let txn = state.txn().next();
            let Some(bytes) = self.table.entry(txn).await? else {
                self.touch();
                return Ok(state);
            };
            if !is_of(self.pond_id, &bytes) {
                return Err(self.replaced());
            }
            let entry = parse(txn, &bytes)?;
            if entry.redefined {
                let _ = self.reload().await?;
                continue;
            }
            match self.replay(State::clone(&state), txn, vec![Arc::clone(&entry.rows)]).await {
                Ok(next) => self.advance(Arc::new(next), entry.rows, &entry.removed, entry.merged)?,
                // Its rows may have been merged, and their file deleted: a later entry says where they are now.
                Err(error) => match self.reload().await {
                    Ok(reloaded) if reloaded.txn() >= txn => {}
                    Ok(_) => return Err(error),
                    Err(reload) => {
                        tracing::debug!(%reload, "opening the table anew does not help");
                        return Err(error);
                    }
                },
            }
        }
    }

    /// Whether the end of the log that this handle knows has been cleaned up. The entries that followed may then be
    /// gone too, and a missing one no longer means that nothing is newer. That takes days, so it is checked after a rest
    /// only.
    pub(crate) async fn is_cut_off(&self) -> Result<bool> {
        if !self.has_been_idle() {
            return Ok(false);
        }
        Ok(!self.table.has_entry(self.latest().txn()).await?)
    }

    fn has_been_idle(&self) -> bool {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner).elapsed() >= self.options.idle_limit
    }

    /// Notes that the storage has just said what is newest.
    pub(crate) fn touch(&self) {
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Opens the table anew, and goes on from the state that is known.
    pub(crate) async fn reload(&self) -> Result<Arc<State>> {
        let loaded = self.table.load(&self.location).await?;
        let state = self.latest();
        if loaded.pond_id != self.pond_id || loaded.newest < state.txn() {
            return Err(self.replaced());
        }
        let files = loaded.files.between(state.txn(), loaded.newest);
        let state = Arc::new(self.replay(State::clone(&state), loaded.newest, files).await?);
        self.set_live(Live { state: Arc::clone(&state), files: loaded.files });
        self.touch();
        Ok(state)
    }

    /// What is there now is not the pond that was opened.
    pub(crate) fn replaced(&self) -> Error {
        let message =
            format!("the pond at '{}' was removed or replaced while it was open; open it again", self.location);
        Error::new(ErrorKind::Io, message)
    }

    /// Makes `next` the newest state.
    pub(crate) fn advance(
        &self,
        next: Arc<State>,
        rows: Arc<LogFile>,
        removed: &[Path],
        merged: Vec<Arc<LogFile>>,
    ) -> Result<()> {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        if removed.is_empty() && merged.is_empty() {
            live.files.push(rows);
        } else {
            let mut files = live.files.clone();
            files.push(rows);
            files.replace(removed, merged, next.txn())?;
            live.files = files;
        }
        live.state = next;
        Ok(())
    }

    /// The state after transaction `until`, from an earlier one and the log files between.
    pub(crate) async fn replay(&self, state: State, until: Txn, files: Vec<Arc<LogFile>>) -> Result<State> {
        let mut replay = Replay::new(state, until);
        let has_large = files.iter().any(|file| file.size.saturating_sub(file.holes.bytes()) > LARGE);
        let ahead = if has_large { READ_AHEAD_OF_LARGE } else { READ_AHEAD };
        let mut fetched = futures::stream::iter(files)
            .map(|file| async move { Ok::<_, Error>((self.table.fetch_rest(&file).await?, file)) })
            .buffered(ahead)
            .boxed();
        while let Some((rest, file)) = fetched.try_next().await? {
            let absorb = move || match decode(rest, Some(REPLAY)).and_then(|batches| replay.absorb(batches)) {
                Ok(()) => Ok(replay),
                Err(error) => Err(damaged(&file, error)),
            };
            replay = tokio::task::spawn_blocking(absorb).await.map_err(lost)??;
        }
        replay.finish()
    }

    /// The history that these files tell, up to `until`.
    pub(crate) async fn read_history(&self, files: &[Arc<LogFile>], until: Txn) -> Result<Vec<LogEntry>> {
        let parts: Vec<Vec<LogEntry>> = futures::stream::iter(files.to_vec())
            .map(|file| async move {
                let rest = self.table.fetch_rest(&file).await?;
                let read = move || decode(rest, Some(HISTORY)).and_then(|batches| history(batches, until));
                tokio::task::spawn_blocking(read).await.map_err(lost)?.map_err(|error| damaged(&file, error))
            })
            .buffered(READ_AHEAD)
            .boxed()
            .try_collect()
            .await?;
        Ok(parts.concat())
    }
}
