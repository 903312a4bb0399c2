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
    CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload,
    OBJECT_STORE_COALESCE_DEFAULT, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result, coalesce_ranges,
};
use tinyfs::{Body, Entry, ErrorKind, Part, PersistenceLayer, PondPath, Snapshot, Version};

use super::derived::{Content, DerivedFiles};
use super::listed_for;
use super::object_path::{PartName, candidates, object_path};
use super::spill::{Spill, Spills, Unmade, Wanted};

/// What the URLs of ponds begin with.
pub(super) const SCHEME: &str = "pond://";

/// How much of a part is read at once when all of it is asked for.
const CHUNK_BYTES: u64 = 8 << 20;

/// Serves the parts of a pond as objects. Read-only: content is written by statements and `COPY`, as part of a transaction.
///
/// Two kinds of names:
/// - `<path>@<version>-<hash>` is one part. A plan holds a [`PartLease`] for each part it reads, so that it reads what it was
///   planned on, committed or not; without a lease the newest state is asked.
/// - `<path>` is the current content of a file. A file that is one part is read as it is stored. A table of several parts and a
///   view are written down in the encoding that the name asks for ([`FileEncoding`](super::FileEncoding)), where the store
///   knows [`DerivedFiles`].
///
/// What is written down goes to a temporary file first, because all that a store gives comes with its size. It is kept while what it is
/// made from stays as it is, so that a reader who asks for the size and then for ranges reads one content; and it goes with the store,
/// or when many others were asked for since. A view of host files or of tables of the application is written anew for each reader that
/// begins, with `head`, `list` or a whole `get`.
///
/// Nothing holds the content while a reader goes from range to range: what it is made from may change in between, or, of files that
/// nobody tells of, another reader may begin. Each content has an `e_tag` of its own, that of a stored part being its hash. Ranges that are
/// asked for with the `if_match` that `head` gave are of that one content, or a `Precondition` error; without it they may be of two, unless
/// one call of `get_ranges` asks for them. There are no other versions of an object: to ask for one with `GetOptions::version` is an error.
///
/// So the first byte of a derived file comes after its last row, also with a `get` of the whole, for what that gives has a size and a range, and
/// callers trust both. To have the first bytes before the last are known, use [`Pond::read`](crate::Pond::read), which tells no size.
///
/// A listing shows what can be read as an object. A file that cannot be, for its name (`.avro`) or its columns have no encoding, as it is a data
/// file in several parts, or as it is a view that cannot be planned, say because what it reads is gone, is left out with a warning in the log, and
/// an error that says why for who asks for it by its path. Links, and entries that stand for files elsewhere, are not listed either: they are read
/// by their paths. A view whose query fails while it runs makes its listing fail. `pond('pond:///…/*.csv')` lists the files alone that it is for.
///
/// What is written down is computed on the caller's tokio runtime. Cheap to clone; clones are one store.
#[derive(Debug, Clone)]
pub struct PondObjectStore {
    store: Arc<dyn PersistenceLayer>,
    leases: Arc<Leases>,
    derived: Option<Arc<Derived>>,
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

/// The bytes that a location names.
#[derive(Debug, Clone)]
enum Found {
    /// They are stored.
    Part(Object),
    /// They were made.
    Made(Arc<Spill>),
}

impl Found {
    fn meta(&self, location: &Path) -> ObjectMeta {
        match self {
            Self::Part(object) => object.meta(location),
            Self::Made(spill) => ObjectMeta {
                location: location.clone(),
                last_modified: spill.made(),
                size: spill.size(),
                e_tag: Some(spill.tag()),
                version: None,
            },
        }
    }

    async fn read(&self, store: &dyn PersistenceLayer, range: Range<u64>) -> Result<Bytes> {
        match self {
            Self::Part(object) => object.read(store, range).await,
            Self::Made(spill) => spill.read(range).await.map_err(lifted),
        }
    }
}

/// A file in a listing.
#[derive(Debug)]
enum Listed {
    Part(Object),
    Derived(Arc<Derived>, PondPath),
}

/// Derived files, and their bytes as far as they were made.
#[derive(Debug)]
struct Derived {
    files: Arc<dyn DerivedFiles>,
    spills: Spills,
}

impl PondObjectStore {
    /// Serves the parts of `store`, and of files what is stored as one part.
    pub fn new(store: Arc<dyn PersistenceLayer>) -> Self {
        Self { store, leases: Arc::default(), derived: None }
    }

    /// The same parts, and with them the bytes of what `files` can plan.
    #[must_use]
    pub fn with_derived(&self, files: Arc<dyn DerivedFiles>) -> Self {
        let derived = Derived { files, spills: Spills::default() };
        Self { derived: Some(Arc::new(derived)), ..self.clone() }
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

    async fn find(&self, location: &Path, wanted: Wanted) -> Result<Found> {
        let lease = self.leases.get(location).and_then(|lease| lease.upgrade());
        if let Some(lease) = lease {
            return Ok(Found::Part(lease.object.clone()));
        }
        if let Some(name) = PartName::parse(location)
            && let Some(object) = find_part(&Snapshot::latest(Arc::clone(&self.store)), &name)?
        {
            return Ok(Found::Part(object));
        }
        let snapshot = self.newest().await?;
        let mut missing = None;
        for path in candidates(location) {
            match self.content(&snapshot, &path, wanted).await {
                // It says what is near, or what a file that is there lacks.
                Err(error @ Error::NotFound { .. }) => {
                    let _ = missing.get_or_insert(error);
                }
                found => return found,
            }
        }
        Err(missing.unwrap_or_else(|| not_found(location, "no file has this path".into())))
    }

    /// What a path names now: other programs read by it, and want what others have committed.
    async fn newest(&self) -> Result<Snapshot> {
        Snapshot::newest(Arc::clone(&self.store)).await.map_err(generic)
    }

    /// What there is to list in `snapshot`.
    fn shown(&self, snapshot: &Snapshot) -> Result<Snapshot> {
        match &self.derived {
            Some(derived) => derived.files.shown(snapshot).map_err(lifted),
            None => Ok(snapshot.clone()),
        }
    }

    async fn content(&self, snapshot: &Snapshot, path: &PondPath, wanted: Wanted) -> Result<Found> {
        let entry = lookup(snapshot, path)?;
        if let Some(entry) = &entry
            && let Content::Stored(version) = Content::of(path, &entry.node).map_err(lifted)?
        {
            return Ok(Found::Part(Object::new(&entry.path, &version)));
        }
        match (&self.derived, entry) {
            (Some(derived), _) => {
                let spill = derived.spills.get(derived.files.as_ref(), snapshot, path, wanted).await;
                Ok(Found::Made(spill.map_err(|unmade| lifted(unmade.into()))?))
            }
            (None, Some(_)) => Err(stored_only(path)),
            (None, None) => Err(not_found(&Path::from(path.as_str()), "no file has this path".into())),
        }
    }

    /// Files at or below `prefix`, no deeper than so many names below it.
    fn files(&self, snapshot: &Snapshot, prefix: Option<&Path>, depth: usize) -> Result<Listing> {
        let paths = prefix.map_or_else(|| vec![PondPath::root()], candidates);
        let snapshot = &self.shown(snapshot)?;
        let mut listing = Listing::default();
        // Under the name that was asked for, also where it leads elsewhere; links below it are not followed.
        let mut open = Vec::new();
        for path in paths {
            if let Some(entry) = lookup(snapshot, &path)? {
                open.push((Entry { path, node: entry.node }, 0));
                break;
            }
        }
        while let Some((entry, below)) = open.pop() {
            let location = || Path::from(entry.path.as_str());
            match &entry.node.body {
                Body::Directory(entries) | Body::DynamicDirectory { entries, .. } if below >= depth => {
                    if !entries.is_empty() {
                        listing.directories.push(location());
                    }
                }
                Body::Directory(entries) | Body::DynamicDirectory { entries, .. } => {
                    for (name, id) in entries {
                        let path = entry.path.child(name).map_err(generic)?;
                        let node = snapshot.state().node(*id).ok_or_else(|| {
                            generic(tinyfs::Error::new(ErrorKind::Corrupt, "an entry leads nowhere").with_path(&path))
                        })?;
                        open.push((Entry { path, node: Arc::clone(node) }, below + 1));
                    }
                }
                Body::File(_) | Body::View(_) => match Content::of(&entry.path, &entry.node) {
                    Ok(Content::Stored(version)) => {
                        listing.files.push((location(), Listed::Part(Object::new(&entry.path, &version))));
                    }
                    Ok(Content::Derived) => match &self.derived {
                        Some(derived) => {
                            listing.files.push((location(), Listed::Derived(Arc::clone(derived), entry.path)));
                        }
                        None => leave_out(&entry.path, &stored_only(&entry.path)),
                    },
                    Err(error) => leave_out(&entry.path, &error),
                },
                // What they lead to or stand for is elsewhere.
                Body::Symlink(_) | Body::Dynamic(_) => {}
            }
        }
        listing.files.sort_by(|(a, _), (b, _)| a.cmp(b));
        listing.directories.sort();
        Ok(listing)
    }

    /// What a listing says of a file; `None` for one that turns out to be no object.
    ///
    /// # Errors
    /// That of a file whose query fails while it runs: only that would tell its size, and a file without one would be one that has no rows.
    async fn meta(snapshot: &Snapshot, location: &Path, listed: Listed) -> Result<Option<ObjectMeta>> {
        match listed {
            Listed::Part(object) => Ok(Some(object.meta(location))),
            Listed::Derived(derived, path) => {
                match derived.spills.get(derived.files.as_ref(), snapshot, &path, Wanted::Newest).await {
                    Ok(spill) => Ok(Some(Found::Made(spill).meta(location))),
                    Err(Unmade::Never(error)) => {
                        leave_out(&path, &error);
                        Ok(None)
                    }
                    Err(Unmade::Failed(error)) => Err(lifted(error)),
                }
            }
        }
    }
}

/// What a listing shows.
#[derive(Debug, Default)]
struct Listing {
    files: Vec<(Path, Listed)>,
    /// Directories that are not looked into.
    directories: Vec<Path>,
}

impl fmt::Display for PondObjectStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pond {}", self.store.pond_id())
    }
}

#[async_trait]
impl ObjectStore for PondObjectStore {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if let Some(version) = &options.version {
            let why = format!(
                "'/{location}' has no version '{version}' here: what a file was is read with version => n, and that bytes are still the same is asked for with if_match"
            );
            return Err(Error::NotSupported { source: why.into() });
        }
        // Who names what it wants the bytes of has seen them.
        let has_begun = options.range.is_some() || options.if_match.as_deref().is_some_and(|tag| tag != "*");
        let found = self.find(location, if has_begun { Wanted::Begun } else { Wanted::Newest }).await?;
        let meta = found.meta(location);
        options.check_preconditions(&meta)?;
        let range = match &options.range {
            Some(range) => range.as_range(meta.size).map_err(generic)?,
            None => 0..meta.size,
        };
        let payload = if options.head {
            stream::empty().boxed()
        } else if range.end - range.start <= CHUNK_BYTES {
            stream::iter([Ok(found.read(self.store.as_ref(), range.clone()).await?)]).boxed()
        } else {
            chunks(Arc::clone(&self.store), found, range.clone())
        };
        Ok(GetResult {
            payload: GetResultPayload::Stream(payload),
            meta,
            range,
            attributes: object_store::Attributes::default(),
        })
    }

    /// All ranges of a call are of one content, which is held until the last is read.
    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let found = self.find(location, Wanted::Begun).await?;
        let size = found.meta(location).size;
        // Before some are read as one: what is cut from that is not looked at again.
        let ranges = ranges.iter().map(|range| within(range, size)).collect::<Result<Vec<_>>>()?;
        coalesce_ranges(&ranges, |range| found.read(self.store.as_ref(), range), OBJECT_STORE_COALESCE_DEFAULT).await
    }

    /// The size of a derived file is that of its bytes, which are made when the listing comes to it. What no bytes can be made of is left
    /// out, with a warning.
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix, wanted) = (self.clone(), prefix.cloned(), listed_for::take());
        let listed = async move {
            let snapshot = store.newest().await?;
            let mut files = store.files(&snapshot, prefix.as_ref(), usize::MAX)?.files;
            files.retain(|(location, _)| wanted.as_ref().is_none_or(|wanted| wanted(location)));
            let metas = stream::iter(files).then(move |(location, listed)| {
                let snapshot = snapshot.clone();
                async move { Self::meta(&snapshot, &location, listed).await }
            });
            Ok::<_, Error>(metas.try_filter_map(|meta| std::future::ready(Ok(meta))))
        };
        stream::once(listed).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let wanted = listed_for::take();
        let snapshot = self.newest().await?;
        let mut listing = self.files(&snapshot, prefix, 1)?;
        listing.files.retain(|(location, _)| wanted.as_ref().is_none_or(|wanted| wanted(location)));
        let mut objects = Vec::with_capacity(listing.files.len());
        for (location, listed) in listing.files {
            objects.extend(Self::meta(&snapshot, &location, listed).await?);
        }
        Ok(ListResult { common_prefixes: listing.directories, objects })
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
fn chunks(store: Arc<dyn PersistenceLayer>, found: Found, range: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
    stream::try_unfold((store, found, range), |(store, found, range)| async move {
        if range.is_empty() {
            return Ok(None);
        }
        let end = range.end.min(range.start + CHUNK_BYTES);
        let bytes = found.read(store.as_ref(), range.start..end).await?;
        Ok(Some((bytes, (store, found, end..range.end))))
    })
    .boxed()
}

/// As much of `range` as there is, as with one range alone.
///
/// # Errors
/// [`Error::Generic`] for one that begins at the end or beyond, or ends before it begins.
fn within(range: &Range<u64>, size: u64) -> Result<Range<u64>> {
    // Nothing is everywhere.
    if range.start == range.end {
        return Ok(0..0);
    }
    GetRange::Bounded(range.clone()).as_range(size).map_err(generic)
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

fn not_found(location: &Path, why: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::NotFound { path: location.to_string(), source: why }
}

/// An error of this crate as one of a store.
fn lifted(error: crate::error::Error) -> Error {
    match (error.kind(), error.path()) {
        (crate::error::ErrorKind::NotFound, Some(path)) => not_found(&Path::from(path.as_str()), Box::new(error)),
        (crate::error::ErrorKind::WrongKind | crate::error::ErrorKind::Unsupported, _) => {
            Error::NotSupported { source: Box::new(error) }
        }
        _ => generic(error),
    }
}

fn stored_only(path: &PondPath) -> Error {
    Error::NotSupported {
        source: format!("'{path}' is not stored as one part, and this store gives stored parts only").into(),
    }
}

/// Tells of a file that a listing does not show. Who asks for it by its path gets the error.
fn leave_out(path: &PondPath, why: &dyn fmt::Display) {
    tracing::warn!(%path, %why, "a file that cannot be read as one object is left out of a listing");
}

fn read_only(location: &Path) -> Error {
    let why = format!(
        "a pond's object store is read-only: write '/{location}' with INSERT, CREATE TABLE AS or COPY in a session, so that it is part of a transaction"
    );
    Error::NotSupported { source: why.into() }
}
