//! Committing: parts, then rows, then the entry, each durable before the next.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use tinyfs::{Appended, Commit, Error, ErrorKind, Part, Place, Result, State, Txn};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::entry::{self, Merge};
use crate::error::lost;
use crate::files::LogFile;
use crate::options::CommitThread;
use crate::rows::{Encoded, encode};
use crate::store::Inner;
use crate::table::Put;

/// Commits with more operations than this are encoded on a thread that may block.
const SMALL: usize = 256;

/// The rows of one commit hold at most so many bytes of parts; a part is read with its whole log file.
const INLINE_BYTES: u64 = 32 * 1024 * 1024;

/// The rows of a commit, the state after it, and the parts that are in the rows.
struct Prepared {
    txn: Txn,
    at: DateTime<Utc>,
    row_count: u64,
    rows: Encoded,
    next: State,
    inline: Vec<(Part, Bytes)>,
}

/// A commit that is ready to be written.
struct Ready {
    txn: Txn,
    rows: Bytes,
    file: LogFile,
    entry: Bytes,
    merge: Option<Merge>,
    next: State,
    inline: Vec<(Part, Bytes)>,
}

/// How writing ended, on the thread that wrote.
enum Written {
    Committed(Arc<State>),
    /// Not as it should, and this finds out what is the case.
    Otherwise(JoinHandle<Result<Appended>>),
}

impl Inner {
    pub(crate) async fn commit(self: &Arc<Self>, base: &Arc<State>, commit: Commit) -> Result<Appended> {
        let commit = self.bring_parts(commit).await?;
        let advancing = Arc::clone(&self.advancing).lock_owned().await;
        if self.is_cut_off().await? {
            let _ = self.reload().await?;
        }
        if base.txn() != self.latest().txn() || commit.txn != base.txn().next() {
            let newest = self.catch_up().await?;
            if base.txn() != newest.txn() || commit.txn != newest.txn().next() {
                return Ok(Appended::Stale(newest));
            }
        }
        let commit = self.keep_parts(commit).await?;
        let prepared = self.prepared(commit).await?;
        let ready = self.ready(prepared, self.take_merge().await);
        // From here on it goes to its end even if the caller goes away: half a commit could take effect with nobody here to see it, and
        // the merge that was taken would be lost, with its file.
        let (inner, runtime) = (Arc::clone(self), Handle::current());
        let Some(directory) = self.table.directory.clone() else {
            let work = async move {
                let _advancing = advancing;
                let put =
                    inner.table.commit(inner.pond_id, (&ready.file.path, &ready.rows), ready.txn, &ready.entry).await;
                inner.conclude(ready, put.unwrap_or_else(Put::Failed)).await
            };
            return runtime.spawn(work).await.map_err(lost)?;
        };
        // On a disk, by one thread, which waits for nobody.
        let work = move || {
            let rows = (&ready.file.path, &*ready.rows);
            match inner.table.commit_here(&directory, inner.pond_id, rows, ready.txn, &ready.entry) {
                Ok(()) => inner.take_effect(ready).map(Written::Committed),
                Err(failure) => Ok(Written::Otherwise(runtime.spawn(async move {
                    let _advancing = advancing;
                    let put = inner.table.judge(&directory, ready.txn, &ready.entry, failure).await;
                    inner.conclude(ready, put).await
                }))),
            }
        };
        let in_place = self.options.commit_thread == CommitThread::Current
            && Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread;
        let written = match in_place {
            true => tokio::task::block_in_place(work),
            false => tokio::task::spawn_blocking(work).await.map_err(lost)?,
        };
        match written? {
            Written::Committed(state) => Ok(Appended::Committed(state)),
            Written::Otherwise(task) => task.await.map_err(lost)?,
        }
    }

    /// Encodes a commit: a large one on a thread that may block.
    async fn prepared(&self, commit: Commit) -> Result<Prepared> {
        let small = commit.operations.len() <= SMALL;
        let latest = self.latest();
        let work = move || prepare(&latest, commit);
        if small { work() } else { tokio::task::spawn_blocking(work).await.map_err(lost)? }
    }

    /// Encodes the entry of a commit, which puts `merge` in place too.
    fn ready(&self, prepared: Prepared, merge: Option<Merge>) -> Ready {
        let Prepared { txn, at, row_count, rows, next, inline } = prepared;
        let file = LogFile::new(&rows, row_count, txn, txn);
        let entry = entry::commit(self.pond_id, &file, merge.as_ref(), at, Uuid::new_v4());
        Ready { txn, rows: rows.bytes, file, entry, merge, next, inline }
    }

    /// What follows from what became of the entry.
    async fn conclude(self: &Arc<Self>, ready: Ready, put: Put) -> Result<Appended> {
        let txn = ready.txn;
        match put {
            Put::Done => Ok(Appended::Committed(self.take_effect(ready)?)),
            Put::Volatile(error) => {
                let _ = self.take_effect(ready)?;
                let message =
                    format!("transaction {txn} is committed and visible, but the storage failed to make it durable");
                Err(Error::new(ErrorKind::Io, message).with_source(error))
            }
            Put::Taken => {
                self.restore_merge(ready.merge).await;
                self.table.discard(&ready.file.path).await;
                Ok(Appended::Stale(self.catch_up().await?))
            }
            Put::Failed(error) => {
                self.restore_merge(ready.merge).await;
                self.table.discard(&ready.file.path).await;
                Err(error)
            }
            Put::Orphaned => {
                self.table.discard(&ready.file.path).await;
                Err(self.replaced())
            }
            // The rows must stay, because the entry may be there or come.
            Put::Unknown(error) => {
                let message = format!("whether transaction {txn} was committed is unknown; look before trying again");
                Err(Error::new(ErrorKind::Io, message).with_source(error))
            }
        }
    }

    /// Makes a commit whose entry is there the newest state.
    fn take_effect(self: &Arc<Self>, ready: Ready) -> Result<Arc<State>> {
        let next = Arc::new(ready.next);
        let (removed, merged) = match ready.merge {
            None => (Vec::new(), Vec::new()),
            Some(merge) => {
                (merge.inputs.iter().map(|file| file.path.clone()).collect::<Vec<Path>>(), vec![merge.output])
            }
        };
        self.advance(Arc::clone(&next), Arc::new(ready.file), &removed, merged)?;
        self.touch();
        for (part, bytes) in ready.inline {
            self.cache.insert(ready.txn, part.hash, bytes);
        }
        self.maintain_after(ready.txn);
        Ok(next)
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
    let (txn, at, row_count) = (commit.txn, commit.committed_at, commit.operations.len() as u64 + 1);
    let rows = encode(&commit)?;
    let inline = place_in_log(&mut commit);
    let next = base.apply(&commit)?;
    Ok(Prepared { txn, at, row_count, rows, next, inline })
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
