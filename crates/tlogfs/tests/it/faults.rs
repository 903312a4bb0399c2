//! A storage whose writes fail, before or after they took effect.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use tinyfs::{Appended, EntryKind, ErrorKind, NodeId, PersistenceLayer, Txn};
use tlogfs::{DeltaStore, Location, StoreOptions};

use crate::support::{commit_of, create, memory, told, write};

/// Fails the next puts of names that end so.
#[derive(Debug, Default)]
struct Flaky {
    inner: InMemory,
    /// How many puts of entries fail without effect.
    before: AtomicU32,
    /// How many puts of entries take effect and fail all the same.
    after: AtomicU32,
    /// How many puts of rows fail.
    rows: AtomicU32,
}

fn due(counter: &AtomicU32) -> bool {
    counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

fn failure() -> Error {
    Error::Generic { store: "flaky", source: "the line went dead".into() }
}

impl fmt::Display for Flaky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flaky")
    }
}

#[async_trait]
impl ObjectStore for Flaky {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let entry = location.as_ref().ends_with(".json");
        if entry && due(&self.before) || location.as_ref().contains("/log/") && due(&self.rows) {
            return Err(failure());
        }
        let put = self.inner.put_opts(location, payload, opts).await;
        if entry && due(&self.after) { Err(failure()) } else { put }
    }

    async fn put_multipart_opts(&self, to: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(to, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

#[tokio::test]
async fn a_write_that_fails_is_settled() {
    let flaky = Arc::new(Flaky::default());
    let objects: Arc<dyn ObjectStore> = Arc::<Flaky>::clone(&flaky);
    let options = StoreOptions { object_store: Some(objects), ..StoreOptions::default() };
    let location = Location::parse("s3://bucket/pond").unwrap();
    let store = DeltaStore::create(&location, options.clone()).await.unwrap();
    let node = NodeId::unique();
    let file = commit_of(&store.latest(), vec![create(node, "f", EntryKind::File, None)]);

    flaky.rows.store(1, Ordering::SeqCst);
    let failed = store.commit(&store.latest(), file.clone()).await.unwrap_err();
    assert_eq!((failed.kind(), store.refresh().await.unwrap().txn()), (ErrorKind::Io, Txn(0)));

    // The entry took effect, and the answer was lost.
    flaky.after.store(1, Ordering::SeqCst);
    let Appended::Committed(state) = store.commit(&store.latest(), file).await.unwrap() else { panic!("stale") };
    assert_eq!(state.txn(), Txn(1));

    // It took no effect at first.
    flaky.before.store(2, Ordering::SeqCst);
    let version = commit_of(&state, vec![write(node, "f", 1, memory("one"))]);
    let Appended::Committed(state) = store.commit(&state, version).await.unwrap() else { panic!("stale") };
    assert_eq!(state.txn(), Txn(2));

    // It never does: the error says that nobody can know, and the log goes on.
    flaky.before.store(3, Ordering::SeqCst);
    let version = commit_of(&state, vec![write(node, "f", 2, memory("two"))]);
    let unknown = store.commit(&state, version.clone()).await.unwrap_err();
    assert!(unknown.to_string().contains("unknown"), "{unknown}");
    let Appended::Committed(state) = store.commit(&state, version).await.unwrap() else { panic!("stale") };

    // The answer was lost, and another commit is found in its place: it is the own one.
    let again = DeltaStore::open(&location, options).await.unwrap();
    assert_eq!(told(&again.latest()), told(&state));
    assert_eq!(again.log(Txn(9)).await.unwrap().len(), 3);
}
