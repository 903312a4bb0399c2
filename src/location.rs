//! From a location to a store: the only place that knows which stores there are.

use std::sync::Arc;

use tinyfs::{MemoryStore, PersistenceLayer};
use tlogfs::{DeltaStore, StoreOptions};

use crate::error::{Error, ErrorKind, Result};
use crate::pond::OpenOptions;

/// Where a pond is.
#[derive(Debug, Clone)]
pub enum Location {
    /// In this process, for as long as it lives: `memory:`.
    Memory,
    /// In a directory of this machine, or in an object store.
    Delta(tlogfs::Location),
}

impl Location {
    /// Reads `memory:`, a URL, or a path of the host.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for an empty text or a malformed URL.
    pub fn parse(text: &str) -> Result<Self> {
        if text == "memory:" {
            return Ok(Self::Memory);
        }
        let location = tlogfs::Location::parse(text).map_err(|error| {
            let message = format!("'{text}' is no place for a pond; give a directory, a URL or 'memory:'");
            Error::new(ErrorKind::Usage, message).with_source(error)
        })?;
        Ok(Self::Delta(location))
    }

    /// Whether a pond is there already, as far as can be told without opening it: always for an object store.
    pub(crate) fn exists(&self) -> bool {
        match self {
            Self::Memory => true,
            // What is there and is no directory must be opened, to say so.
            Self::Delta(location) => location
                .directory()
                .is_none_or(|directory| directory.join("_delta_log").exists() || directory.is_file()),
        }
    }

    /// Opens the pond there. If there is none it is created, unless the options say read-only.
    pub(crate) async fn open(&self, options: &OpenOptions) -> Result<Arc<dyn PersistenceLayer>> {
        let Self::Delta(location) = self else { return Ok(Arc::new(MemoryStore::new())) };
        let store_options = StoreOptions {
            read_only: options.read_only,
            storage_options: options.storage_options.clone(),
            ..StoreOptions::default()
        };
        let store = if options.read_only {
            DeltaStore::open(location, store_options).await?
        } else {
            DeltaStore::open_or_create(location, store_options).await?
        };
        Ok(store)
    }
}
