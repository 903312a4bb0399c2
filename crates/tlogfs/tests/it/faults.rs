//! A storage whose writes fail, before or after they took effect.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use tinyfs::{Appended, EntryKind, ErrorKind, NodeId, PersistenceLayer, Txn};
use tlogfs::{DeltaStore, Location, StoreOptions};

use crate::support::{commit_of, committed, create, memory, told, write};

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

/// What others do to a storage while somebody opens it: from the first look at a checkpoint on, it is as it will be.
#[derive(Debug)]
struct Moving {
    now: Mutex<Arc<InMemory>>,
    next: Arc<InMemory>,
}

impl Moving {
    fn now(&self) -> Arc<InMemory> {
        Arc::clone(&self.now.lock().unwrap())
    }
}

impl fmt::Display for Moving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Moving")
    }
}

#[async_trait]
impl ObjectStore for Moving {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.now().put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, to: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.now().put_multipart_opts(to, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if location.as_ref().ends_with(".checkpoint.parquet") {
            *self.now.lock().unwrap() = Arc::clone(&self.next);
        }
        self.now().get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.now().delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.now().list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.now().list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.now().copy_opts(from, to, options).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_others_remove_while_it_is_opened_is_no_damage() {
    let live = Arc::new(InMemory::new());
    let objects: Arc<dyn ObjectStore> = Arc::<InMemory>::clone(&live);
    let options = StoreOptions { object_store: Some(objects), checkpoint_interval: 4, ..StoreOptions::default() };
    let location = Location::parse("s3://bucket/pond").unwrap();
    let store = DeltaStore::create(&location, options.clone()).await.unwrap();
    let node = NodeId::unique();
    let mut state = committed(&store, &store.latest(), vec![create(node, "f", EntryKind::File, None)]).await;
    let mut before = None;
    for version in 1..12 {
        state = committed(&store, &state, vec![write(node, "f", version, memory(version.to_string()))]).await;
        store.settle().await.unwrap();
        if state.txn() == Txn(4) {
            before = Some(Arc::new(live.fork()));
        }
    }
    let listing: Vec<ObjectMeta> = live.list(None).try_collect().await.unwrap();
    let mut names: Vec<&str> = listing.iter().filter_map(|meta| meta.location.filename()).collect();
    names.retain(|name| name.ends_with(".checkpoint.parquet"));
    assert_eq!(names, ["00000000000000000008.checkpoint.parquet", "00000000000000000012.checkpoint.parquet"]);

    let moving = Arc::new(Moving { now: Mutex::new(before.unwrap()), next: live });
    let objects: Arc<dyn ObjectStore> = Arc::<Moving>::clone(&moving);
    let opened = DeltaStore::open(&location, StoreOptions { object_store: Some(objects), ..options }).await.unwrap();
    assert!(Arc::ptr_eq(&moving.now(), &moving.next), "the old checkpoint was looked at");
    assert_eq!(opened.latest().txn(), Txn(12));
    assert_eq!(told(&opened.latest()), told(&state));
}
