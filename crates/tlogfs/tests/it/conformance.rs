//! The contract of every store, on a disk and on an object store, upkept all the time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use object_store::memory::InMemory;
use tempfile::TempDir;
use tinyfs::PersistenceLayer;
use tinyfs::conformance::{StoreFactory, run_all};
use tlogfs::{DeltaStore, Location, StoreOptions};
use uuid::Uuid;

/// Where a pond is, so that it can be opened again.
struct Place {
    location: Location,
    options: StoreOptions,
    dir: Option<TempDir>,
}

struct Ponds {
    local: bool,
    places: Mutex<HashMap<Uuid, Place>>,
}

impl Ponds {
    fn new(local: bool) -> Self {
        Self { local, places: Mutex::default() }
    }
}

#[async_trait]
impl StoreFactory for Ponds {
    async fn create(&self) -> Arc<dyn PersistenceLayer> {
        let mut options = StoreOptions { inline_limit: 1000, checkpoint_interval: 4, ..StoreOptions::default() };
        let (location, dir) = if self.local {
            let dir = tempfile::tempdir().unwrap();
            (Location::from_path(dir.path()).unwrap(), Some(dir))
        } else {
            options.object_store = Some(Arc::new(InMemory::new()));
            (Location::parse("s3://bucket/pond").unwrap(), None)
        };
        let store = DeltaStore::create(&location, options.clone()).await.unwrap();
        let _ = self.places.lock().unwrap().insert(store.pond_id(), Place { location, options, dir });
        store
    }

    async fn reopen(&self, store: &Arc<dyn PersistenceLayer>) -> Arc<dyn PersistenceLayer> {
        let (location, options) = {
            let places = self.places.lock().unwrap();
            let place = &places[&store.pond_id()];
            (place.location.clone(), place.options.clone())
        };
        DeltaStore::open(&location, options).await.unwrap()
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
    Box::pin(run_all(&Ponds::new(true))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_store_keeps_the_contract() {
    Box::pin(run_all(&Ponds::new(false))).await;
}
