//! Committing: parts, then rows, then the entry, each durable before the next.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use tinyfs::{Appended, Commit, Error, ErrorKind, Part, Place, Result, State, Txn};
use tokio::runtime::Handle;
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use crate::entry;
use crate::error::lost;
use crate::files::LogFile;
use crate::rows::{Encoded, encode};
use crate::store::Inner;
use crate::table::Put;

/// The rows of one commit hold at most so many bytes of parts; a part is read with its whole log file.
const INLINE_BYTES: u64 = 32 * 1024 * 1024;

/// A commit that is ready to be written.
struct Prepared {
    rows: Encoded,
    next: State,
    inline: Vec<(Part, Bytes)>,
}

impl Inner {
    /// Commits. Once it has begun to write, it goes on to its end, even if the caller goes away: half a commit could take effect
    /// with nobody here to see it.
    pub(crate) async fn commit(self: &Arc<Self>, base: &Arc<State>, commit: Commit) -> Result<Appended> {
        let commit = self.bring_parts(commit).await?;
        let advancing = Arc::clone(&self.advancing).lock_owned().await;
        let (inner, base, runtime) = (Arc::clone(self), Arc::clone(base), Handle::current());
        // On one thread that may block, and not on one that then wakes another for each file.
        let work = move || runtime.block_on(inner.write(advancing, &base, commit));
        tokio::task::spawn_blocking(work).await.map_err(lost)?
    }

    /// Writes a commit, on a thread that may block.
    async fn write(
        self: &Arc<Self>,
        _advancing: OwnedMutexGuard<()>,
        base: &Arc<State>,
        commit: Commit,
    ) -> Result<Appended> {
        if self.is_cut_off().await? {
            let _ = self.reload().await?;
        }
        if base.txn() != self.latest().txn() || commit.txn != base.txn().next() {
            let newest = self.catch_up().await?;
            if base.txn() != newest.txn() || commit.txn != newest.txn().next() {
                return Ok(Appended::Stale(newest));
            }
        }
        let (txn, at) = (commit.txn, commit.committed_at);
        let row_count = commit.operations.len() as u64 + 1;
        let commit = self.keep_parts(commit).await?;
        let prepared = prepare(&self.latest(), commit)?;
        let file = LogFile::new(&prepared.rows, row_count, txn, txn);
        let merge = self.take_merge().await;
        let entry = entry::commit(self.pond_id, &file, merge.as_ref(), at, Uuid::new_v4());
        let put = match self.table.commit(self.pond_id, (&file.path, prepared.rows.bytes), txn, entry).await {
            Ok(put) => put,
            Err(error) => Put::Failed(error),
        };
        let lasting = match put {
            Put::Done => Ok(()),
            Put::Volatile(error) => Err(Error::new(
                ErrorKind::Io,
                format!("transaction {txn} is committed and visible, but the storage failed to make it durable"),
            )
            .with_source(error)),
            Put::Taken => {
                self.restore_merge(merge).await;
                self.table.discard(&file.path).await;
                let newest = self.catch_up().await?;
                return Ok(Appended::Stale(newest));
            }
            Put::Failed(error) => {
                self.restore_merge(merge).await;
                self.table.discard(&file.path).await;
                return Err(error);
            }
            Put::Orphaned => {
                self.table.discard(&file.path).await;
                return Err(self.replaced());
            }
            // The rows must stay, because the entry may be there or come.
            Put::Unknown(error) => {
                let message = format!("whether transaction {txn} was committed is unknown; look before trying again");
                return Err(Error::new(ErrorKind::Io, message).with_source(error));
            }
        };
        let next = Arc::new(prepared.next);
        let (removed, merged) = match merge {
            None => (Vec::new(), Vec::new()),
            Some(merge) => {
                (merge.inputs.iter().map(|file| file.path.clone()).collect::<Vec<Path>>(), vec![merge.output])
            }
        };
        self.advance(Arc::clone(&next), Arc::new(file), &removed, merged)?;
        self.touch();
        for (part, bytes) in prepared.inline {
            self.cache.insert(txn, part.hash, bytes);
        }
        self.maintain_after(txn);
        lasting.map(|()| Appended::Committed(next))
    }

    /// Brings parts of older rows into memory: a row holds its own bytes, so they are copied.
    ///
    /// Before `advancing` is held, because to read a part may need it.
    async fn bring_parts(&self, mut commit: Commit) -> Result<Commit> {
        for operation in &mut commit.operations {
            if let Some(part) = operation.action.part_mut()
                && let Place::Log(_) = part.place
            {
                part.place = Place::Memory(self.read_part(part, 0..part.size).await?);
            }
        }
        Ok(commit)
    }

    /// Sees to it that every part is either in memory, to go into its row, or kept under its hash.
    async fn keep_parts(&self, mut commit: Commit) -> Result<Commit> {
        let (mut inline, mut large) = (0, Vec::new());
        for operation in &mut commit.operations {
            let Some(part) = operation.action.part_mut() else { continue };
            let Place::Memory(bytes) = &part.place else { continue };
            if bytes.len() as u64 != part.size {
                let message = format!("the part {} has {} bytes, not {}", part.hash, bytes.len(), part.size);
                return Err(Error::new(ErrorKind::Corrupt, message));
            }
            if self.content.is_inline(part.size) && inline + part.size <= INLINE_BYTES {
                inline += part.size;
            } else {
                large.push(bytes.clone());
                part.place = Place::Content;
            }
        }
        let kept = large.into_iter().map(|bytes| self.content.put(bytes));
        futures::stream::iter(kept).buffer_unordered(8).try_collect::<()>().await?;
        Ok(commit)
    }
}

fn prepare(base: &State, mut commit: Commit) -> Result<Prepared> {
    let rows = encode(&commit)?;
    let inline = place_in_log(&mut commit);
    let next = base.apply(&commit)?;
    Ok(Prepared { rows, next, inline })
}

/// Replaces bytes in memory by the row that holds them: a state must not keep them.
fn place_in_log(commit: &mut Commit) -> Vec<(Part, Bytes)> {
    let txn: Txn = commit.txn;
    let mut inline = Vec::new();
    for operation in &mut commit.operations {
        if let Some(part) = operation.action.part_mut()
            && let Place::Memory(bytes) = std::mem::replace(&mut part.place, Place::Content)
        {
            part.place = Place::Log(txn);
            inline.push((part.clone(), bytes));
        }
    }
    inline
}
