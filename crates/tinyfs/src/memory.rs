//! [`MemoryStore`]: a pond that lives as long as its process.

use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use uuid::Uuid;

use crate::clock::{Clock, SystemClock};
use crate::error::{Error, ErrorKind, Result};
use crate::log::{Commit, LogEntry};
use crate::node::{Part, Place, Txn};
use crate::persistence::{Appended, PartWriter, PersistenceLayer};
use crate::snapshot::Snapshot;
use crate::state::State;

/// Keeps everything in memory. Ends with its process; for tests, scratch work and `memory:`.
#[derive(Debug)]
pub struct MemoryStore {
    pond_id: Uuid,
    /// Where a [fork](MemoryStore::fork) came from: its history, and the bytes that were there before.
    origin: Option<Snapshot>,
    history: RwLock<History>,
}

/// States share structure, so keeping all of them costs what the transactions changed.
#[derive(Debug)]
struct History {
    /// The state this store began with, and one more for each commit.
    states: Vec<Arc<State>>,
    log: Vec<LogEntry>,
}

impl MemoryStore {
    /// An empty pond.
    pub fn new() -> Self {
        Self::with_clock(&SystemClock)
    }

    /// An empty pond, created when `clock` says.
    pub fn with_clock(clock: &dyn Clock) -> Self {
        Self::starting_with(Arc::new(State::empty(clock.now())), None)
    }

    /// A pond that begins as `origin` and goes its own way from there. Bytes are read from where they are; nothing is
    /// copied, and nothing ever reaches the store that `origin` came from.
    pub fn fork(origin: Snapshot) -> Self {
        Self::starting_with(Arc::clone(origin.state()), Some(origin))
    }

    fn starting_with(state: Arc<State>, origin: Option<Snapshot>) -> Self {
        let history = History { states: vec![state], log: Vec::new() };
        Self { pond_id: Uuid::new_v4(), origin, history: RwLock::new(history) }
    }

    fn read<T>(&self, read: impl FnOnce(&History) -> T) -> T {
        read(&self.history.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl PersistenceLayer for MemoryStore {
    fn pond_id(&self) -> Uuid {
        self.pond_id
    }

    fn latest(&self) -> Arc<State> {
        self.read(|history| Arc::clone(&history.states[history.states.len() - 1]))
    }

    async fn refresh(&self) -> Result<Arc<State>> {
        Ok(self.latest())
    }

    async fn state_at(&self, txn: Txn) -> Result<Arc<State>> {
        if let Some(origin) = &self.origin
            && txn < origin.txn()
        {
            return origin.store().state_at(txn).await;
        }
        let first = self.origin.as_ref().map_or(Txn(0), Snapshot::txn);
        let index = usize::try_from(txn.0 - first.0).ok();
        self.read(|history| index.and_then(|index| history.states.get(index)).map(Arc::clone)).ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format!("transaction {txn} is in the future: the newest is {}", self.latest().txn()),
            )
        })
    }

    async fn log(&self, txn: Txn) -> Result<Vec<LogEntry>> {
        let mut log = match &self.origin {
            Some(origin) => origin.store().log(txn.min(origin.txn())).await?,
            None => Vec::new(),
        };
        self.read(|history| log.extend(history.log.iter().take_while(|entry| entry.txn <= txn).cloned()));
        Ok(log)
    }

    async fn create_part(&self) -> Result<Box<dyn PartWriter>> {
        Ok(Box::<MemoryPart>::default())
    }

    async fn read_part(&self, part: &Part, range: Range<u64>) -> Result<Bytes> {
        match (&part.place, &self.origin) {
            (Place::Memory(bytes), _) => slice(bytes, range),
            (_, Some(origin)) => origin.read(part, range).await,
            (place, None) => {
                Err(Error::new(ErrorKind::Corrupt, format!("the memory store keeps nothing at {place:?}")))
            }
        }
    }

    async fn commit(&self, _base: &Arc<State>, commit: Commit) -> Result<Appended> {
        let mut history = self.history.write().unwrap_or_else(PoisonError::into_inner);
        let newest = Arc::clone(&history.states[history.states.len() - 1]);
        if commit.txn != newest.txn().next() {
            return Ok(Appended::Stale(newest));
        }
        let next = Arc::new(newest.apply(&commit)?);
        history.log.push(LogEntry {
            txn: commit.txn,
            committed_at: commit.committed_at,
            info: commit.info,
            operations: commit.operations.len() as u64,
        });
        history.states.push(Arc::clone(&next));
        Ok(Appended::Committed(next))
    }

    async fn settle(&self) -> Result<()> {
        Ok(())
    }
}

#[derive(Debug, Default)]
struct MemoryPart(BytesMut);

#[async_trait]
impl PartWriter for MemoryPart {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.0.extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Part> {
        let bytes = self.0.freeze();
        Ok(Part { hash: blake3::hash(&bytes), size: bytes.len() as u64, place: Place::Memory(bytes) })
    }
}

/// The bytes of `range`, without a copy.
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt) when the range reaches past the end.
pub fn slice(bytes: &Bytes, range: Range<u64>) -> Result<Bytes> {
    let size = bytes.len() as u64;
    match (usize::try_from(range.start), usize::try_from(range.end)) {
        (Ok(start), Ok(end)) if start <= end && range.end <= size => Ok(bytes.slice(start..end)),
        _ => Err(Error::new(
            ErrorKind::Corrupt,
            format!("bytes {}..{} were asked of a part of {size} bytes", range.start, range.end),
        )),
    }
}
