//! From a location to a store: the only place that knows which stores there are.

use std::collections::HashMap;
use std::sync::Arc;

use tinyfs::{MemoryStore, PersistenceLayer};
pub use tlogfs::CommitThread;
use tlogfs::{LazyStore, StoreOptions};

use crate::error::{Error, ErrorKind, Result};

/// How a pond is opened.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// Write nothing, and create nothing.
    pub read_only: bool,
    /// Open at the first use instead of at once, so that a program that never touches the pond never reads it.
    pub lazy: bool,
    /// On which thread a commit to a directory of this machine waits for the disk.
    pub commit_thread: CommitThread,
    /// Settings of the object store, such as `aws_region`.
    pub storage_options: HashMap<String, String>,
}

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
        if let Some(feature) = missing_feature(text) {
            let message = format!("'{text}' cannot be opened: this program was built without the feature '{feature}'");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        Ok(Self::Delta(location))
    }

    /// Opens the pond there. If there is none, the first write makes it, unless the options say read-only.
    pub(crate) async fn open(&self, options: &OpenOptions) -> Result<Arc<dyn PersistenceLayer>> {
        let Self::Delta(location) = self else { return Ok(Arc::new(MemoryStore::new())) };
        let store_options = StoreOptions {
            read_only: options.read_only,
            commit_thread: options.commit_thread,
            storage_options: options.storage_options.clone(),
            ..StoreOptions::default()
        };
        match LazyStore::open(location, store_options).await {
            // Of another kind, because it is no path in a pond that is not found. Its cause says the same once more.
            Err(error) if error.is_not_found() => {
                Err(Error::new(ErrorKind::Io, format!("there is no pond at '{location}' to read")))
            }
            opened => Ok(opened?),
        }
    }
}

/// The feature that a location needs and the build lacks. Other crates may have compiled in the same client, but whether
/// a program reaches into a cloud is for whoever builds it to say.
fn missing_feature(location: &str) -> Option<&'static str> {
    let (scheme, _) = location.split_once("://")?;
    let (feature, built) = match scheme {
        "s3" | "s3a" => ("s3", cfg!(feature = "s3")),
        "az" | "adl" | "azure" | "abfs" | "abfss" => ("azure", cfg!(feature = "azure")),
        "gs" => ("gcs", cfg!(feature = "gcs")),
        _ => return None,
    };
    (!built).then_some(feature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clouds_are_features() {
        let built = [("s3://b/p", cfg!(feature = "s3")), ("gs://b/p", cfg!(feature = "gcs")), ("file:///p", true)];
        for (location, built) in built {
            assert_eq!(Location::parse(location).is_ok(), built, "{location}");
        }
        if !cfg!(feature = "azure") {
            let error = Location::parse("abfss://c@a.dfs.core.windows.net/p").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("feature 'azure'"), "{error}");
        }
    }
}
