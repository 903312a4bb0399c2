//! [`PersistenceLayer`]: what a store must do, and what a reader may rely on.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

use crate::error::Result;
use crate::log::{Commit, LogEntry};
use crate::node::{Part, Txn};
use crate::state::State;

/// Makes commits durable and keeps the bytes of parts.
///
/// # Contract
///
/// - **Order.** Commits are numbered from 1 without gaps; transaction 0 is the empty pond. Applying commits 1 to n in
///   order to [`State::empty`] gives the state of transaction n, and every process sees the same states.
/// - **Atomicity.** A commit is seen whole or not at all, by other processes and after a crash. Of two commits for one
///   number exactly one succeeds; the other gets [`Appended::Stale`] and changes nothing.
/// - **Durability.** Once [`commit`](Self::commit) has returned [`Appended::Committed`], the commit and every part it names
///   survive a crash of the process and of the machine, as far as the medium below can promise it.
/// - **Unknown outcome.** If [`commit`](Self::commit) fails, the commit has not happened, unless the store says otherwise in the
///   error; it never happens later.
/// - **Immutability.** The bytes of a part never change. A state once handed out stays readable, parts included,
///   whatever is committed afterwards.
/// - **Honesty.** Bytes that differ from what was written (by hash) are an error of kind
///   [`Corrupt`](crate::ErrorKind::Corrupt), never data. "Not found" from the medium below is corruption too where the log
///   says that something must be there.
/// - **No locks.** Readers block nobody and are blocked by nobody.
///
/// Every store must pass the suites in `tinyfs::conformance` (feature `conformance`).
#[async_trait]
pub trait PersistenceLayer: Debug + Send + Sync + 'static {
    /// Tells this pond from every other one, for good.
    fn pond_id(&self) -> Uuid;

    /// The newest state this process has seen. Does no I/O.
    fn latest(&self) -> Arc<State>;

    /// The newest state there is: looks for commits of other processes first.
    async fn refresh(&self) -> Result<Arc<State>>;

    /// The state just after transaction `txn`.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) for a transaction of the future, or one that is no longer kept.
    async fn state_at(&self, txn: Txn) -> Result<Arc<State>>;

    /// The history, oldest first, up to and including `txn`.
    async fn log(&self, txn: Txn) -> Result<Vec<LogEntry>>;

    /// Starts a part. What is written is invisible until a commit names the part, and goes away if none does.
    async fn create_part(&self) -> Result<Box<dyn PartWriter>>;

    /// Bytes `range` of a part, read without the rest of it where the part is large.
    ///
    /// What is returned has been checked against the hash. A range that reaches past the end is an error.
    async fn read_part(&self, part: &Part, range: Range<u64>) -> Result<Bytes>;

    /// Appends `commit`, which was made for `base` (`commit.txn == base.txn().next()`).
    ///
    /// The store writes the parts that are still in memory, then the rows, then makes the commit visible in one step.
    async fn commit(&self, base: &Arc<State>, commit: Commit) -> Result<Appended>;

    /// Waits until the store's work in the background (checkpoints, compaction) has ended. A program calls it before it exits.
    async fn settle(&self) -> Result<()>;
}

/// Receives the bytes of one part. Dropping it unfinished discards them.
#[async_trait]
pub trait PartWriter: Debug + Send {
    /// Adds bytes.
    async fn write(&mut self, bytes: Bytes) -> Result<()>;

    /// Ends the part. It is readable at once through [`PersistenceLayer::read_part`], and durable once a commit names it.
    async fn finish(self: Box<Self>) -> Result<Part>;
}

/// What became of a commit that a store was given.
#[derive(Debug)]
pub enum Appended {
    /// It is durable; this is the state after it.
    Committed(Arc<State>),
    /// Another one has its number; this is the newest state.
    Stale(Arc<State>),
}
