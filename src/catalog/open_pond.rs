//! [`OpenPond`]: what an open pond consists of, and [`LazyPond`], which opens one when it is needed.

use std::sync::Arc;

use tinyfs::{PersistenceLayer, Snapshot};
use tokio::sync::OnceCell;

use crate::catalog::tree::TreeCache;
use crate::error::Result;
use crate::location::{Location, OpenOptions};
use crate::provider::{AttributeCache, Factories, PondObjectStore};

/// What an open pond consists of.
#[derive(Debug, Clone)]
pub(crate) struct OpenPond {
    pub(crate) store: Arc<dyn PersistenceLayer>,
    pub(crate) objects: Arc<PondObjectStore>,
    pub(crate) attributes: Arc<AttributeCache>,
    pub(crate) trees: Arc<TreeCache>,
}

impl OpenPond {
    fn new(store: Arc<dyn PersistenceLayer>) -> Self {
        let objects = Arc::new(PondObjectStore::new(Arc::clone(&store)));
        Self { store, objects, attributes: Arc::new(AttributeCache::default()), trees: Arc::default() }
    }
}

/// A pond that is opened once, by whoever needs it first.
#[derive(Debug)]
pub(crate) struct LazyPond {
    location: Location,
    options: OpenOptions,
    factories: Arc<Factories>,
    opened: OnceCell<OpenPond>,
}

impl LazyPond {
    pub(crate) fn new(location: Location, options: OpenOptions, factories: Arc<Factories>) -> Self {
        Self { location, options, factories, opened: OnceCell::new() }
    }

    /// One that is open already.
    pub(crate) fn of_store(store: Arc<dyn PersistenceLayer>, factories: Arc<Factories>) -> Self {
        let opened = OnceCell::new_with(Some(OpenPond::new(store)));
        Self { location: Location::Memory, options: OpenOptions::default(), factories, opened }
    }

    pub(crate) fn location(&self) -> &Location {
        &self.location
    }

    pub(crate) fn factories(&self) -> &Arc<Factories> {
        &self.factories
    }

    pub(crate) fn is_open(&self) -> bool {
        self.opened.initialized()
    }

    pub(crate) async fn opened(&self) -> Result<&OpenPond> {
        self.opened.get_or_try_init(|| async { Ok(OpenPond::new(self.location.open(&self.options).await?)) }).await
    }

    /// The pond as it is now, looking for other processes' commits first.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot::newest(Arc::clone(&self.opened().await?.store)).await?)
    }

    /// Waits for work in the background, where there can be any.
    pub(crate) async fn settle(&self) -> Result<()> {
        if let Some(opened) = self.opened.get() {
            opened.store.settle().await?;
        }
        Ok(())
    }
}
