//! [`LazyStore`]: a pond that its first write makes.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use tinyfs::{
    Appended, Commit, Error, ErrorKind, LogEntry, Part, PartWriter, PersistenceLayer, Place, Result, State, Txn,
};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::location::Location;
use crate::options::StoreOptions;
use crate::store::{DeltaStore, check_may_create};
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
    made: OnceCell<Arc<DeltaStore>>,
}

impl LazyStore {
    /// Opens the pond at `location` or, where there is none, an empty one that its first write makes.
    ///
    /// # Errors
    /// As [`DeltaStore::open`], but for [`NotFound`](ErrorKind::NotFound); [`Corrupt`](ErrorKind::Corrupt) when a pond's files are there
    /// without its log; [`ReadOnly`](ErrorKind::ReadOnly) when there is no pond and the options say that none is to be made.
    pub async fn open(location: &Location, options: StoreOptions) -> Result<Arc<dyn PersistenceLayer>> {
        match DeltaStore::open(location, options.clone()).await {
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
            Ok(store) => return Ok(store),
        }
        check_may_create(location, &options)?;
        match Table::connect(location, &options, false) {
            Ok(table) => table.check_vacant(location).await?,
            // Not even the directory is there.
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        let empty = Arc::new(State::empty(options.clock.now()));
        let location = location.clone();
        let inner = Inner { location, options, pond_id: Uuid::new_v4(), empty, made: OnceCell::new() };
        Ok(Arc::new(Self(Arc::new(inner))))
    }
}

impl Inner {
    async fn make(&self) -> Result<&Arc<DeltaStore>> {
        let make = async || match DeltaStore::create_as(self.pond_id, &self.location, self.options.clone()).await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                DeltaStore::open(&self.location, self.options.clone()).await
            }
            created => created,
        };
        self.made.get_or_try_init(make).await
    }

    /// The pond, if this handle or somebody else has made it.
    async fn find(&self) -> Result<Option<&Arc<DeltaStore>>> {
        let found = self.made.get_or_try_init(|| DeltaStore::open(&self.location, self.options.clone())).await;
        match found {
            Ok(store) => Ok(Some(store)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
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
            Place::Log(_) | Place::Content => self.0.make().await?.read_part(part, range).await,
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
