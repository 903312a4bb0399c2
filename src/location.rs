//! From a location to a store: the only place that knows which stores there are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tinyfs::{MemoryStore, PersistenceLayer};
use tlogfs::{DeltaStore, StoreOptions};

use crate::error::{Error, ErrorKind, Result};
use crate::pond::OpenOptions;

/// Where a pond is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// In this process, for as long as it lives: `memory:`.
    Memory,
    /// In a directory of this machine.
    Directory(PathBuf),
    /// In an object store.
    Url(url::Url),
}

impl Location {
    /// Reads `memory:`, a URL, or a path of the host.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for an empty text or a malformed URL.
    pub fn parse(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(Error::new(ErrorKind::Usage, "the location of the pond is empty; give a directory, a URL or 'memory:'"));
        }
        if text == "memory:" {
            return Ok(Self::Memory);
        }
        if !text.contains("://") {
            return Ok(Self::Directory(PathBuf::from(text)));
        }
        let url = url::Url::parse(text)
            .map_err(|error| Error::new(ErrorKind::Usage, format!("'{text}' is not a URL")).with_source(error))?;
        match url.to_file_path() {
            Ok(path) if url.scheme() == "file" => Ok(Self::Directory(path)),
            _ => Ok(Self::Url(url)),
        }
    }

    /// Whether a pond is there already, as far as can be told without opening it: always for an object store.
    pub(crate) fn exists(&self) -> bool {
        match self {
            Self::Memory => true,
            Self::Directory(path) => path.join("_delta_log").exists(),
            Self::Url(_) => true,
        }
    }

    /// Opens the pond there. If there is none it is created, unless the options say read-only.
    pub(crate) async fn open(&self, options: &OpenOptions) -> Result<Arc<dyn PersistenceLayer>> {
        let store_options = StoreOptions {
            read_only: options.read_only,
            storage_options: options.storage_options.clone(),
            ..StoreOptions::default()
        };
        let store = match self {
            Self::Memory => return Ok(Arc::new(MemoryStore::new())),
            Self::Directory(path) => open_delta(&absolute(path)?, store_options).await?,
            Self::Url(url) => open_delta(url, store_options).await?,
        };
        Ok(store)
    }
}
