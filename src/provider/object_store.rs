//! [`PondObjectStore`]: the file half of a pond, as an [`ObjectStore`] under `pond://`.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use dashmap::DashMap;
use datafusion::execution::object_store::ObjectStoreUrl;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    OBJECT_STORE_COALESCE_DEFAULT, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result, coalesce_ranges,
};
use tinyfs::{Body, Entry, ErrorKind, Part, PersistenceLayer, PondPath, Snapshot, Version};

use super::object_path::{PartName, candidates, object_path};

/// What the URLs of ponds begin with.
pub(super) const SCHEME: &str = "pond://";

/// How much of a part is read at once when all of it is asked for.
const CHUNK_BYTES: u64 = 8 << 20;

/// Serves the parts of a pond as objects. Read-only: content is written by statements and `COPY`, as part of a transaction.
///
/// Two kinds of names:
/// - `<path>@<version>-<hash>` is one part. A plan holds a [`PartLease`] for each part it reads, so that it reads what it was
///   planned on, committed or not; without a lease the newest state is asked.
/// - `<path>` is the current content of a file that is one part.
#[derive(Debug)]
pub struct PondObjectStore {
    store: Arc<dyn PersistenceLayer>,
    leases: Arc<Leases>,
}

type Leases = DashMap<Path, Weak<PartLease>>;

/// Keeps a part readable through the object store it was taken from, for as long as the lease lives.
#[derive(Debug)]
pub struct PartLease {
    location: Path,
    object: Object,
    leases: Weak<Leases>,
}

impl PartLease {
    /// The part as an object: location, size, time.
    pub fn meta(&self) -> ObjectMeta {
        self.object.meta(&self.location)
    }
}

impl Drop for PartLease {
    fn drop(&mut self) {
        if let Some(leases) = self.leases.upgrade() {
            // The name may have been leased anew since the last holder let go.
            let _ = leases.remove_if(&self.location, |_, lease| lease.strong_count() == 0);
        }
    }
}

/// The bytes behind an object's name, and what errors about them name.
#[derive(Debug, Clone)]
struct Object {
    path: PondPath,
    version: u64,
    part: Part,
    modified: DateTime<Utc>,
}

impl Object {
    fn new(path: &PondPath, version: &Version) -> Self {
        Self { path: path.clone(), version: version.number, part: version.part.clone(), modified: version.modified }
    }

    fn meta(&self, location: &Path) -> ObjectMeta {
        ObjectMeta {
            location: location.clone(),
            last_modified: self.modified,
            size: self.part.size,
            e_tag: Some(self.part.hash.to_hex().to_string()),
            version: None,
        }
    }

    async fn read(&self, store: &dyn PersistenceLayer, range: Range<u64>) -> Result<Bytes> {
        store
            .read_part(&self.part, range)
            .await
            .map_err(|error| generic(error.with_path(&self.path).with_version(self.version)))
    }
}

impl PondObjectStore {
    /// Serves the parts of `store`.
    pub fn new(store: Arc<dyn PersistenceLayer>) -> Self {
        Self { store, leases: Arc::default() }
    }

    /// The store below.
    pub fn persistence(&self) -> &Arc<dyn PersistenceLayer> {
        &self.store
    }

    /// The URL to register it under: `pond://<pond id>`, which no other pond has.
    ///
    /// # Errors
    /// None in practice: an id is a valid host name.
    pub fn url(&self) -> datafusion::common::Result<ObjectStoreUrl> {
        ObjectStoreUrl::parse(format!("{SCHEME}{}", self.store.pond_id()))
    }

    /// Makes a version of the file at `path` readable under its object path until the lease is dropped.
    pub fn lease(&self, path: &PondPath, version: &Version) -> Arc<PartLease> {
        let location = object_path(path, version);
        let mut entry = self.leases.entry(location.clone()).or_default();
        if let Some(lease) = entry.upgrade() {
            return lease;
        }
        let leases = Arc::downgrade(&self.leases);
        let lease = Arc::new(PartLease { location, object: Object::new(path, version), leases });
        *entry = Arc::downgrade(&lease);
        lease
    }

    fn find(&self, location: &Path) -> Result<Object> {
        let lease = self.leases.get(location).and_then(|lease| lease.upgrade());
        if let Some(lease) = lease {
            return Ok(lease.object.clone());
        }
        let snapshot = Snapshot::latest(Arc::clone(&self.store));
        if let Some(name) = PartName::parse(location)
            && let Some(object) = find_part(&snapshot, &name)?
        {
            return Ok(object);
        }
        for path in candidates(location) {
            if let Some(entry) = lookup(&snapshot, &path)? {
                return current_content(&entry);
            }
        }
        Err(not_found(location, "no file has this path"))
    }

    /// Files at or below `prefix` that are one part, by path.
    fn files(&self, prefix: Option<&Path>) -> Result<Vec<ObjectMeta>> {
        let snapshot = Snapshot::latest(Arc::clone(&self.store));
        let paths = prefix.map_or_else(|| vec![PondPath::root()], candidates);
        let mut found = Vec::new();
        // Under the name that was asked for, also where it leads elsewhere; links below it are not followed.
        let mut open = Vec::new();
        for path in paths {
            if let Some(entry) = lookup(&snapshot, &path)? {
                open.push(Entry { path, node: entry.node });
                break;
            }
        }
        while let Some(entry) = open.pop() {
            match &entry.node.body {
                Body::Directory(entries) => {
                    for (name, id) in entries {
                        let path = entry.path.child(name).map_err(generic)?;
                        let node = snapshot.state().node(*id).ok_or_else(|| {
                            generic(tinyfs::Error::new(ErrorKind::Corrupt, "an entry leads nowhere").with_path(&path))
                        })?;
                        open.push(Entry { path, node: Arc::clone(node) });
                    }
                }
                Body::File(versions) => {
                    if let [only] = versions.content().as_slice() {
                        found.push(Object::new(&entry.path, only).meta(&Path::from(entry.path.as_str())));
                    }
                }
                Body::Symlink(_) | Body::View(_) | Body::Dynamic(_) => {}
            }
        }
        found.sort_by(|a, b| a.location.cmp(&b.location));
        Ok(found)
    }
}

impl fmt::Display for PondObjectStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pond {}", self.store.pond_id())
    }
}

#[async_trait]
impl ObjectStore for PondObjectStore {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let object = self.find(location)?;
        let meta = object.meta(location);
        options.check_preconditions(&meta)?;
        let range = match &options.range {
            Some(range) => range.as_range(meta.size).map_err(generic)?,
            None => 0..meta.size,
        };
        let payload = if options.head {
            stream::empty().boxed()
        } else if range.end - range.start <= CHUNK_BYTES {
            stream::iter([Ok(object.read(self.store.as_ref(), range.clone()).await?)]).boxed()
        } else {
            chunks(Arc::clone(&self.store), object, range.clone())
        };
        Ok(GetResult {
            payload: GetResultPayload::Stream(payload),
            meta,
            range,
            attributes: object_store::Attributes::default(),
        })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let object = self.find(location)?;
        coalesce_ranges(ranges, |range| object.read(self.store.as_ref(), range), OBJECT_STORE_COALESCE_DEFAULT).await
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.files(prefix) {
            Ok(files) => stream::iter(files.into_iter().map(Ok)).boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let depth = prefix.map_or(0, |prefix| prefix.parts().count());
        let mut result = ListResult { common_prefixes: Vec::new(), objects: Vec::new() };
        for file in self.list(prefix).try_collect::<Vec<_>>().await? {
            if file.location.parts().count() <= depth + 1 {
                result.objects.push(file);
                continue;
            }
            let directory = file.location.parts().take(depth + 1).collect::<Path>();
            if result.common_prefixes.last() != Some(&directory) {
                result.common_prefixes.push(directory);
            }
        }
        Ok(result)
    }

    async fn put_opts(&self, location: &Path, _payload: PutPayload, _options: PutOptions) -> Result<PutResult> {
        Err(read_only(location))
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(read_only(location))
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        locations.map(|location| Err(read_only(&location?))).boxed()
    }

    async fn copy_opts(&self, _from: &Path, to: &Path, _options: CopyOptions) -> Result<()> {
        Err(read_only(to))
    }
}

/// Reads `range` piece by piece, each when it is asked for.
fn chunks(store: Arc<dyn PersistenceLayer>, object: Object, range: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
    stream::try_unfold((store, object, range), |(store, object, range)| async move {
        if range.is_empty() {
            return Ok(None);
        }
        let end = range.end.min(range.start + CHUNK_BYTES);
        let bytes = object.read(store.as_ref(), range.start..end).await?;
        Ok(Some((bytes, (store, object, end..range.end))))
    })
    .boxed()
}

fn find_part(snapshot: &Snapshot, name: &PartName) -> Result<Option<Object>> {
    let path = PondPath::parse(&format!("/{}", name.path)).map_err(generic)?;
    let Some(entry) = lookup(snapshot, &path)? else { return Ok(None) };
    let Some(versions) = entry.node.versions() else { return Ok(None) };
    let merged = versions.compactions().iter().filter(|run| run.last == name.version).flat_map(|run| &run.parts);
    Ok(versions
        .get(name.version)
        .into_iter()
        .chain(merged)
        .find(|version| version.part.hash.to_hex().starts_with(&name.hash))
        .map(|version| Object::new(&path, version)))
}

fn current_content(entry: &Entry) -> Result<Object> {
    let path = &entry.path;
    let unsupported = |why: String| Err(Error::NotSupported { source: why.into() });
    let Some(versions) = entry.node.versions() else {
        return unsupported(format!("'{path}' is a {}: only a file has bytes here", entry.node.kind().as_str()));
    };
    match versions.content().as_slice() {
        [only] => Ok(Object::new(path, only)),
        [] => Err(not_found(&Path::from(path.as_str()), "nothing was written to it yet")),
        many => unsupported(format!(
            "'{path}' is {} parts and cannot be read as one object: query it as a table, or COPY it to a file",
            many.len()
        )),
    }
}

/// What `path` leads to, through symbolic links; `None` when nothing is there.
fn lookup(snapshot: &Snapshot, path: &PondPath) -> Result<Option<Entry>> {
    match snapshot.lookup(path) {
        Ok(entry) => Ok(Some(entry)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(generic(error)),
    }
}

fn generic(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Generic { store: "pond", source: Box::new(error) }
}

fn not_found(location: &Path, why: &'static str) -> Error {
    Error::NotFound { path: location.to_string(), source: why.into() }
}

fn read_only(location: &Path) -> Error {
    let why = format!(
        "a pond's object store is read-only: write '/{location}' with INSERT, CREATE TABLE AS or COPY in a session, so that it is part of a transaction"
    );
    Error::NotSupported { source: why.into() }
}
