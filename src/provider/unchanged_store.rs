//! [`UnchangedStore`]: a file of the host as it was when a statement was planned, or an error.
//!
//! Whoever looks at a file and then reads it reads what came in between. So what the store tells of a file with its bytes is compared, and
//! where it tells nothing, what it tells after.

use std::error::Error as StdError;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, GetOptions, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt, Result};

use super::read_only::{ReadOnly, Reading};
use super::scan_part::{PartOrigin, ScanPart};

/// Gives one file of another store, while it is the one that was planned.
#[derive(Debug)]
pub(crate) struct UnchangedStore {
    store: Arc<dyn ObjectStore>,
    planned: ObjectMeta,
    label: Arc<str>,
}

impl UnchangedStore {
    /// What `part` is read from: `store` itself for a part of a pond, which never changes.
    pub(crate) fn over(store: &Arc<dyn ObjectStore>, part: &ScanPart) -> Arc<dyn ObjectStore> {
        match &part.origin {
            PartOrigin::Pond { .. } => Arc::clone(store),
            PartOrigin::Host { meta, label } => {
                let (planned, label) = (meta.clone(), Arc::clone(label));
                Arc::new(ReadOnly(Self { store: Arc::clone(store), planned, label }))
            }
        }
    }

    fn check(&self, now: &ObjectMeta) -> Result<()> {
        let planned = &self.planned;
        if (now.size, now.last_modified, &now.e_tag) == (planned.size, planned.last_modified, &planned.e_tag) {
            return Ok(());
        }
        let changed = Changed { label: Arc::clone(&self.label) };
        Err(Error::Generic { store: "unchanged", source: Box::new(changed) })
    }
}

/// The error for a file that is not the one that was planned any more.
#[derive(Debug)]
pub(crate) struct Changed {
    label: Arc<str>,
}

impl Changed {
    /// The one that is the reason for `error`, if one is.
    pub(crate) fn behind<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(at) = next {
            if let Some(changed) = at.downcast_ref::<Self>() {
                return Some(changed);
            }
            next = at.source();
        }
        None
    }
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' has changed since the statement began: run it again", self.label)
    }
}

impl StdError for Changed {}

impl fmt::Display for UnchangedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, unchanged", self.store)
    }
}

#[async_trait]
impl Reading for UnchangedStore {
    fn below(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let got = self.store.get_opts(location, options).await?;
        self.check(&got.meta)?;
        Ok(got)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let bytes = self.store.get_ranges(location, ranges).await?;
        self.check(&self.store.head(location).await?)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::Schema;
    use object_store::memory::InMemory;

    use super::*;
    use crate::provider::PartAttributes;

    #[tokio::test]
    async fn a_file_that_changes_between_two_reads_is_refused() {
        let (file, inner) = (Path::from("f"), Arc::new(InMemory::new()));
        let _ = inner.put(&file, "one".into()).await.unwrap();
        let origin = PartOrigin::Host { meta: inner.head(&file).await.unwrap(), label: "./f".into() };
        let attributes = PartAttributes::new(Arc::new(Schema::empty()), 0).unwrap();
        let attributes = Arc::new(attributes);
        let part = ScanPart { origin, attributes, captures: Arc::new([]), values: Arc::new([]), others: 0 };
        let inner: Arc<dyn ObjectStore> = inner;
        let store = UnchangedStore::over(&inner, &part);
        assert_eq!(store.get_range(&file, 0..3).await.unwrap(), "one");
        assert_eq!(store.get_ranges(&file, &[0..1, 2..3]).await.unwrap(), ["o", "e"]);
        let _ = inner.put(&file, "two".into()).await.unwrap();
        let errors = [
            store.get_range(&file, 0..3).await.unwrap_err(),
            store.get_ranges(&file, &[0..1, 2..3]).await.unwrap_err(),
            store.head(&file).await.unwrap_err(),
        ];
        for error in errors {
            let changed = Changed::behind(&error).unwrap();
            assert_eq!(changed.to_string(), "'./f' has changed since the statement began: run it again");
        }
        assert!(store.put(&file, "three".into()).await.is_err());
    }
}
