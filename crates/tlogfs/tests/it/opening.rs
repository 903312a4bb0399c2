//! What opening a pond reads.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use tinyfs::{EntryKind, NodeId, Operation, PersistenceLayer};
use tlogfs::{DeltaStore, Location, StoreOptions};

use crate::support::{committed, create, memory, told, whole, write};

/// Counts what is read and written of the log's rows.
#[derive(Debug, Default)]
struct Counting {
    inner: InMemory,
    read: AtomicU64,
    written: AtomicU64,
}

impl Counting {
    fn count(counter: &AtomicU64, location: &Path, bytes: u64) {
        if location.as_ref().contains("/log/") {
            let _ = counter.fetch_add(bytes, Ordering::SeqCst);
        }
    }
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counting")
    }
}

#[async_trait]
impl ObjectStore for Counting {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        Self::count(&self.written, location, payload.content_length() as u64);
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, to: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(to, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let head = options.head;
        let found = self.inner.get_opts(location, options).await?;
        if !head {
            Self::count(&self.read, location, found.range.end - found.range.start);
        }
        Ok(found)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        Self::count(&self.read, location, ranges.iter().map(|range| range.end - range.start).sum());
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

/// 20 KiB that do not compress.
fn noise(seed: u64) -> Bytes {
    let mut hasher = blake3::Hasher::new();
    let _ = hasher.update(&seed.to_le_bytes());
    let mut bytes = vec![0; 20 * 1024];
    hasher.finalize_xof().fill(&mut bytes);
    bytes.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_of_parts_are_not_read() {
    // All in one transaction; one each, merged; the same with some that are not merged yet.
    for (commits, interval, share) in [(1, 0, 10), (200, 8, 10), (203, 8, 10)] {
        let counting = Arc::new(Counting::default());
        let objects: Arc<dyn ObjectStore> = Arc::<Counting>::clone(&counting);
        let options =
            StoreOptions { object_store: Some(objects), checkpoint_interval: interval, ..StoreOptions::default() };
        let location = Location::parse("s3://bucket/pond").unwrap();
        let store = DeltaStore::create(&location, options.clone()).await.unwrap();
        let node = NodeId::unique();
        let mut versions: Vec<Operation> = (1..=200).map(|at| write(node, "f", at, memory(noise(at)))).collect();
        versions.insert(0, create(node, "f", EntryKind::File, None));
        let mut state = store.latest();
        let size = versions.len().div_ceil(commits);
        for chunk in versions.chunks(size) {
            state = committed(&store, &state, chunk.to_vec()).await;
            store.settle().await.unwrap();
        }
        let (written, before) = (counting.written.load(Ordering::SeqCst), counting.read.load(Ordering::SeqCst));
        assert!(written > 200 * 20 * 1024);
        let again = DeltaStore::open(&location, options).await.unwrap();
        assert_eq!(told(&again.latest()), told(&state));
        assert_eq!(again.log(state.txn()).await.unwrap().len() as u64, state.txn().0);
        let read = counting.read.load(Ordering::SeqCst) - before;
        assert!(read * share < written, "{commits} commits: {read} of {written} bytes");
        let part = again.latest().node(node).unwrap().versions().unwrap().get(77).unwrap().part.clone();
        assert_eq!(whole(&again, &part).await.unwrap(), noise(77));
    }
}
