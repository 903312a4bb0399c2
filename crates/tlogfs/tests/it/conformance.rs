//! The contract of every store, on a disk and on an object store, upkept all the time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use object_store::memory::InMemory;
use tempfile::TempDir;
use tinyfs::PersistenceLayer;
use tinyfs::conformance::{StoreFactory, run_all};
use tlogfs::{DeltaStore, LazyStore, Location, StoreOptions};
use uuid::Uuid;

/// Where a pond is, so that it can be opened again.
struct Place {
    location: Location,
    options: StoreOptions,
    dir: Option<TempDir>,
}

/// What keeps a pond.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directory,
    /// A directory that the first write makes.
    Lazy,
    Objects,
}

struct Ponds {
    kind: Kind,
    places: Mutex<HashMap<Uuid, Place>>,
}

impl Ponds {
    fn new(kind: Kind) -> Self {
        Self { kind, places: Mutex::default() }
    }
}

#[async_trait]
impl StoreFactory for Ponds {
    async fn create(&self) -> Arc<dyn PersistenceLayer> {
        let mut options = StoreOptions { inline_limit: 1000, checkpoint_interval: 4, ..StoreOptions::default() };
        let (location, dir) = if self.kind != Kind::Objects {
            let dir = tempfile::tempdir().unwrap();
            (Location::from_path(dir.path()).unwrap(), Some(dir))
        } else {
            options.object_store = Some(Arc::new(InMemory::new()));
            (Location::parse("s3://bucket/pond").unwrap(), None)
        };
        let store: Arc<dyn PersistenceLayer> = match self.kind {
            Kind::Lazy => LazyStore::open(&location, options.clone()).await.unwrap(),
            Kind::Directory | Kind::Objects => DeltaStore::create(&location, options.clone()).await.unwrap(),
        };
        let _ = self.places.lock().unwrap().insert(store.pond_id(), Place { location, options, dir });
        store
    }

    async fn reopen(&self, store: &Arc<dyn PersistenceLayer>) -> Arc<dyn PersistenceLayer> {
        let (location, options) = {
            let places = self.places.lock().unwrap();
            let place = &places[&store.pond_id()];
            (place.location.clone(), place.options.clone())
        };
        match DeltaStore::open(&location, options).await {
            // Nobody has written yet.
            Err(error) if self.kind == Kind::Lazy && error.is_not_found() => Arc::clone(store),
            opened => opened.unwrap(),
        }
    }

    async fn unfinished_parts(&self, store: &Arc<dyn PersistenceLayer>) -> usize {
        let places = self.places.lock().unwrap();
        let Some(dir) = &places[&store.pond_id()].dir else { return 0 };
        let Ok(entries) = std::fs::read_dir(dir.path().join("_content")) else { return 0 };
        entries.filter(|entry| entry.as_ref().unwrap().file_type().unwrap().is_file()).count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_keeps_the_contract() {
    Box::pin(run_all(&Ponds::new(Kind::Directory))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_the_first_write_makes_keeps_the_contract() {
    Box::pin(run_all(&Ponds::new(Kind::Lazy))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_store_keeps_the_contract() {
    Box::pin(run_all(&Ponds::new(Kind::Objects))).await;
}
