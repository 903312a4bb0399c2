//! [`DeltaStore`]: the persistence layer.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use tinyfs::{Appended, Commit, Error, ErrorKind, LogEntry, Part, PartWriter, PersistenceLayer, Result, State, Txn};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::cache::PartCache;
use crate::content::Content;
use crate::entry::{Merge, creation};
use crate::files::{LogFile, LogFiles};
use crate::location::Location;
use crate::options::StoreOptions;
use crate::parts::LANES;
use crate::table::{Put, Table};

/// How many states of the past are kept at hand; fewer if they hold more nodes than this, which are a few hundred MB.
const PAST_STATES: usize = 8;
const PAST_NODES: usize = 250_000;

/// What part of the cache there is once more for small parts that are beside the log: each is read a few times in a row.
const SMALL_SHARE: usize = 16;

/// A pond on a Delta table. See the [crate] for what is where.
///
/// Cheap to share, and safe to use from many tasks; any number of handles, in any number of processes, may be open on
/// one pond.
pub struct DeltaStore(Arc<Inner>);

/// What a handle holds. Its methods are in the file of their concern.
pub(crate) struct Inner {
    pub(crate) location: Location,
    pub(crate) options: StoreOptions,
    pub(crate) table: Table,
    pub(crate) content: Arc<Content>,
    pub(crate) pond_id: Uuid,
    pub(crate) live: RwLock<Live>,
    /// Held by whoever moves `live` on, so that this process asks the storage once, not once a task.
    pub(crate) advancing: Arc<tokio::sync::Mutex<()>>,
    /// When the storage last said what the newest transaction is.
    pub(crate) looked: Mutex<Instant>,
    pub(crate) cache: Arc<PartCache>,
    /// Small parts that are beside the log.
    pub(crate) small: PartCache,
    /// Waits for the next commit.
    pub(crate) merge: Mutex<Option<Merge>>,
    /// After a merge that failed: the transaction before which none is tried again.
    pub(crate) no_merge_before: AtomicU64,
    pub(crate) background: Mutex<Option<JoinHandle<()>>>,
    created: DateTime<Utc>,
    past: Mutex<VecDeque<Arc<State>>>,
    /// Held while a log file is read for its parts.
    pub(crate) lanes: [tokio::sync::Mutex<()>; LANES],
}

/// The newest transaction that this handle knows.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) state: Arc<State>,
    pub(crate) files: LogFiles,
}

impl DeltaStore {
    /// Makes a new, empty pond. Of several processes that do so at once, one succeeds.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) when a pond or another Delta table is there,
    /// [`Corrupt`](ErrorKind::Corrupt) when a pond's files are there without its log,
    /// [`ReadOnly`](ErrorKind::ReadOnly) when the options say so, [`Io`](ErrorKind::Io) when the storage fails.
    pub async fn create(location: &Location, options: StoreOptions) -> Result<Arc<Self>> {
        let created = options.clock.now();
        Self::create_as(Uuid::new_v4(), created, location, options).await
    }

    pub(crate) async fn create_as(
        pond_id: Uuid,
        created: DateTime<Utc>,
        location: &Location,
        options: StoreOptions,
    ) -> Result<Arc<Self>> {
        check_may_create(location, &options)?;
        let table = Table::connect(location, &options, true)?;
        let taken = || Error::new(ErrorKind::AlreadyExists, format!("there is a pond or Delta table at '{location}'"));
        // Before the log is looked for: of a pond that somebody makes now, the log comes first.
        let vacant = table.check_vacant(location).await;
        if table.holds("_delta_log").await? {
            return Err(taken());
        }
        vacant?;
        match table.put_entry(Txn(0), creation(pond_id, created)?).await {
            Put::Done => Self::opened(location, options, table).await,
            Put::Taken | Put::Orphaned => Err(taken()),
            Put::Volatile(error) | Put::Failed(error) | Put::Unknown(error) => Err(error),
        }
    }

    /// Opens a pond as it is now.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is none, [`Unsupported`](ErrorKind::Unsupported) when a newer program
    /// made it or it is another Delta table, [`Corrupt`](ErrorKind::Corrupt) when its log is damaged: the error names
    /// the file and the transaction.
    pub async fn open(location: &Location, options: StoreOptions) -> Result<Arc<Self>> {
        let table = Table::connect(location, &options, false)?;
        Self::opened(location, options, table).await
    }

    async fn opened(location: &Location, options: StoreOptions, table: Table) -> Result<Arc<Self>> {
        let loaded = table.load(location).await?;
        let content = Content::new(Arc::clone(&table.objects), table.directory.clone(), &options);
        let empty = State::empty(loaded.created);
        let inner = Inner {
            location: location.clone(),
            table,
            content: Arc::new(content),
            pond_id: loaded.pond_id,
            live: RwLock::new(Live { state: Arc::new(empty.clone()), files: LogFiles::default() }),
            advancing: Arc::default(),
            looked: Mutex::new(Instant::now()),
            cache: Arc::new(PartCache::new(options.cache_bytes)),
            small: PartCache::new(options.cache_bytes / SMALL_SHARE),
            merge: Mutex::default(),
            no_merge_before: AtomicU64::default(),
            background: Mutex::default(),
            created: loaded.created,
            past: Mutex::default(),
            lanes: Default::default(),
            options,
        };
        let state = inner.replay(empty, loaded.newest, loaded.files.between(Txn(0), loaded.newest)).await?;
        inner.set_live(Live { state: Arc::new(state), files: loaded.files });
        // What others commit meanwhile may be missing in the listing that the table was opened with.
        let _ = inner.catch_up().await?;
        Ok(Arc::new(Self(Arc::new(inner))))
    }
}

fn check_may_create(location: &Location, options: &StoreOptions) -> Result<()> {
    if options.read_only {
        let message = format!("there is no pond at '{location}', and none is made in read-only mode");
        return Err(Error::new(ErrorKind::ReadOnly, message));
    }
    Ok(())
}

#[async_trait]
impl PersistenceLayer for DeltaStore {
    fn pond_id(&self) -> Uuid {
        self.0.pond_id
    }

    fn latest(&self) -> Arc<State> {
        self.0.latest()
    }

    async fn refresh(&self) -> Result<Arc<State>> {
        self.0.refresh().await
    }

    async fn state_at(&self, txn: Txn) -> Result<Arc<State>> {
        self.0.state_at(txn).await
    }

    async fn log(&self, txn: Txn) -> Result<Vec<LogEntry>> {
        self.0.log(txn).await
    }

    async fn create_part(&self) -> Result<Box<dyn PartWriter>> {
        self.0.check_writable()?;
        Ok(Box::new(self.0.content.writer()))
    }

    async fn read_part(&self, part: &Part, range: Range<u64>) -> Result<Bytes> {
        self.0.read_part(part, range).await
    }

    async fn commit(&self, base: &Arc<State>, commit: Commit) -> Result<Appended> {
        self.0.check_writable()?;
        self.0.commit(base, commit).await
    }

    async fn settle(&self) -> Result<()> {
        self.0.settle().await;
        Ok(())
    }
}

impl Inner {
    pub(crate) fn latest(&self) -> Arc<State> {
        self.read_live(|live| Arc::clone(&live.state))
    }

    pub(crate) fn read_live<T>(&self, read: impl FnOnce(&Live) -> T) -> T {
        read(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_live(&self, live: Live) {
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = live;
    }

    pub(crate) fn check_writable(&self) -> Result<()> {
        if self.options.read_only {
            return Err(Error::new(ErrorKind::ReadOnly, format!("the pond at '{}' is open read-only", self.location)));
        }
        Ok(())
    }

    async fn state_at(&self, txn: Txn) -> Result<Arc<State>> {
        if txn > self.latest().txn() {
            let newest = self.refresh().await?.txn();
            if txn > newest {
                let message = format!("transaction {txn} is in the future: the newest is {newest}");
                return Err(Error::new(ErrorKind::NotFound, message));
            }
        }
        let latest = self.latest();
        if latest.txn() == txn {
            return Ok(latest);
        }
        let base = {
            let past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
            past.iter().filter(|state| state.txn() <= txn).max_by_key(|state| state.txn()).map(Arc::clone)
        };
        let base = base.unwrap_or_else(|| Arc::new(State::empty(self.created)));
        if base.txn() == txn {
            return Ok(base);
        }
        let mut files = self.read_live(|live| live.files.between(base.txn(), txn));
        let mut replayed = self.replay(State::clone(&base), txn, files.clone()).await;
        if replayed.is_err() && self.have_moved(&files).await {
            files = self.read_live(|live| live.files.between(base.txn(), txn));
            replayed = self.replay(State::clone(&base), txn, files).await;
        }
        let state = Arc::new(replayed?);
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        past.push_back(Arc::clone(&state));
        let nodes = |past: &VecDeque<Arc<State>>| past.iter().map(|state| state.len()).sum::<usize>();
        while past.len() > PAST_STATES || past.len() > 1 && nodes(&past) > PAST_NODES {
            let _ = past.pop_front();
        }
        Ok(state)
    }

    async fn log(&self, txn: Txn) -> Result<Vec<LogEntry>> {
        if txn > self.latest().txn() {
            let _ = self.refresh().await?;
        }
        let files = self.read_live(|live| live.files.between(Txn(0), txn));
        match self.read_history(&files, txn).await {
            Err(_) if self.have_moved(&files).await => {
                let files = self.read_live(|live| live.files.between(Txn(0), txn));
                self.read_history(&files, txn).await
            }
            read => read,
        }
    }

    /// Whether files are out of the log since they were looked up: another process has merged them, and a vacuum may
    /// have deleted them.
    pub(crate) async fn have_moved(&self, files: &[Arc<LogFile>]) -> bool {
        if let Err(error) = self.refresh().await {
            // The caller has an error already, which tells more.
            tracing::debug!(%error, "it is not known whether the log's files were merged");
        }
        !self.read_live(|live| live.files.contain(files))
    }
}

impl fmt::Debug for DeltaStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeltaStore")
            .field("location", &self.0.location)
            .field("pond_id", &self.0.pond_id)
            .field("latest", &self.0.latest())
            .finish_non_exhaustive()
    }
}
