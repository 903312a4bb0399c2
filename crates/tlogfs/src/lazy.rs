//! [`LazyStore`]: a pond that its first write makes.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use chrono::SubsecRound;
use tinyfs::{
    Appended, Commit, Error, ErrorKind, LogEntry, Part, PartWriter, PersistenceLayer, Place, Result, State, Txn,
};
use uuid::Uuid;

use crate::error::{corrupt, lost};
use crate::location::Location;
use crate::options::StoreOptions;
use crate::store::DeltaStore;
use crate::table::Table;

/// An empty pond of which nothing is on disk yet: a program that fails, or only reads, leaves none behind.
///
/// The first commit makes it, or the first part that is too large for the log's rows. If somebody else makes one in the same
/// place meanwhile, this is that one from then on.
#[derive(Debug)]
pub struct LazyStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    location: Location,
    options: StoreOptions,
    /// Of the pond that this handle makes. Of one that others made it is another name, which only this process uses.
    pond_id: Uuid,
    empty: Arc<State>,
    made: OnceLock<Arc<DeltaStore>>,
}

impl LazyStore {
    /// Opens the pond at `location` or, where there is none, an empty one that its first write makes.
    ///
    /// # Errors
    /// As [`DeltaStore::open`], with [`NotFound`](ErrorKind::NotFound) only where the options say that none is to be made;
    /// [`Corrupt`](ErrorKind::Corrupt) when a pond's files are there without its log; [`Io`](ErrorKind::Io) when something else
    /// is there: a file, or a directory of other files.
    pub async fn open(location: &Location, options: StoreOptions) -> Result<Arc<dyn PersistenceLayer>> {
        match DeltaStore::open(location, options.clone()).await {
            Err(error) if error.is_not_found() && !options.read_only => {}
            Err(error) => return Err(error),
            Ok(store) => return Ok(store),
        }
        let vacant = match Table::connect(location, &options, false) {
            Ok(table) => table.check_vacant(location).await,
            // Not even the directory is there.
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => return Err(error),
        };
        if let Err(gone) = vacant {
            // Or somebody has made it since.
            return match DeltaStore::open(location, options).await {
                Err(error) if error.is_not_found() => Err(gone),
                Err(error) => Err(error),
                Ok(store) => Ok(store),
            };
        }
        // A log keeps milliseconds of this.
        let empty = Arc::new(State::empty(options.clock.now().trunc_subsecs(3)));
        let location = location.clone();
        let inner = Inner { location, options, pond_id: Uuid::new_v4(), empty, made: OnceLock::new() };
        // Told now, and not only to the first write: a mistyped location must not look like an empty pond.
        inner.check_alone().await?;
        Ok(Arc::new(Self(Arc::new(inner))))
    }
}

impl Inner {
    async fn make(&self) -> Result<Arc<DeltaStore>> {
        if let Some(store) = self.made.get() {
            return Ok(Arc::clone(store));
        }
        self.check_alone().await?;
        let (created, options) = (self.empty.committed_at(), self.options.clone());
        match DeltaStore::create_as(self.pond_id, created, &self.location, options).await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Ok(self.keep(DeltaStore::open(&self.location, self.options.clone()).await?))
            }
            created => Ok(self.keep(created?)),
        }
    }

    /// The pond, if this handle or somebody else has made it.
    async fn find(&self) -> Result<Option<Arc<DeltaStore>>> {
        if let Some(store) = self.made.get() {
            return Ok(Some(Arc::clone(store)));
        }
        match DeltaStore::open(&self.location, self.options.clone()).await {
            Ok(store) => Ok(Some(self.keep(store))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps the first of several handles that were opened at once. Nobody waits for another here: a look-up may hold the only
    /// thread of a runtime.
    fn keep(&self, store: Arc<DeltaStore>) -> Arc<DeltaStore> {
        Arc::clone(self.made.get_or_init(|| store))
    }

    /// A pond must not be made among somebody's files, which may have come since this was opened.
    async fn check_alone(&self) -> Result<()> {
        let directory = self.location.directory().filter(|_| self.options.object_store.is_none());
        let Some(directory) = directory.map(Path::to_path_buf) else { return Ok(()) };
        tokio::task::spawn_blocking(move || check_alone(&directory)).await.map_err(lost)?
    }
}

fn check_alone(directory: &Path) -> Result<()> {
    let refused =
        |why: &str| Error::new(ErrorKind::Io, format!("no pond can be made at '{}': {why}", directory.display()));
    let occupied = match std::fs::read_dir(directory) {
        Ok(mut names) => names.next().is_some(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            return Err(refused("a file is in its place"));
        }
        Err(error) => return Err(refused("the directory cannot be read").with_source(error)),
    };
    // What is there may be a pond that somebody is making.
    if occupied && !directory.join("_delta_log").exists() {
        return Err(refused("the directory holds other files"));
    }
    Ok(())
}

#[async_trait]
impl PersistenceLayer for LazyStore {
    fn pond_id(&self) -> Uuid {
        self.0.pond_id
    }

    fn latest(&self) -> Arc<State> {
        self.0.made.get().map_or_else(|| Arc::clone(&self.0.empty), |store| store.latest())
    }

    async fn refresh(&self) -> Result<Arc<State>> {
        match self.0.find().await? {
            Some(store) => store.refresh().await,
            None => Ok(Arc::clone(&self.0.empty)),
        }
    }

    async fn state_at(&self, txn: Txn) -> Result<Arc<State>> {
        match self.0.find().await? {
            Some(store) => store.state_at(txn).await,
            None if txn == self.0.empty.txn() => Ok(Arc::clone(&self.0.empty)),
            None => {
                let message = format!("transaction {txn} is in the future: the newest is {}", self.0.empty.txn());
                Err(Error::new(ErrorKind::NotFound, message))
            }
        }
    }

    async fn log(&self, txn: Txn) -> Result<Vec<LogEntry>> {
        match self.0.find().await? {
            Some(store) => store.log(txn).await,
            None => Ok(Vec::new()),
        }
    }

    async fn create_part(&self) -> Result<Box<dyn PartWriter>> {
        match self.0.made.get() {
            Some(store) => store.create_part().await,
            None => Ok(Box::new(LazyPart { inner: Arc::clone(&self.0), head: BytesMut::new(), rest: None })),
        }
    }

    async fn read_part(&self, part: &Part, range: Range<u64>) -> Result<Bytes> {
        match &part.place {
            Place::Memory(bytes) => tinyfs::slice(bytes, range),
            Place::Log(_) | Place::Content => match self.0.find().await? {
                Some(store) => store.read_part(part, range).await,
                None => Err(corrupt(format!("the part {} is of no pond", part.hash))),
            },
        }
    }

    async fn commit(&self, base: &Arc<State>, commit: Commit) -> Result<Appended> {
        self.0.make().await?.commit(base, commit).await
    }

    async fn settle(&self) -> Result<()> {
        match self.0.made.get() {
            Some(store) => store.settle().await,
            None => Ok(()),
        }
    }
}

/// A part that is held in memory until it is too large for the log's rows.
#[derive(Debug)]
struct LazyPart {
    inner: Arc<Inner>,
    head: BytesMut,
    rest: Option<Box<dyn PartWriter>>,
}

#[async_trait]
impl PartWriter for LazyPart {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        if let Some(rest) = &mut self.rest {
            return rest.write(bytes).await;
        }
        self.head.extend_from_slice(&bytes);
        if self.head.len() as u64 > self.inner.options.inline_limit {
            let rest = self.rest.insert(self.inner.make().await?.create_part().await?);
            rest.write(std::mem::take(&mut self.head).freeze()).await?;
        }
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Part> {
        if let Some(rest) = self.rest {
            return rest.finish().await;
        }
        let bytes = self.head.freeze();
        Ok(Part { hash: blake3::hash(&bytes), size: bytes.len() as u64, place: Place::Memory(bytes) })
    }
}
