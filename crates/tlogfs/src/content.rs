//! [`Content`]: the parts above the inline limit, each an object named by its hash.

use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use blake3::Hash;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, WriteMultipart};
use tinyfs::{Part, PartWriter, Place, Result};
use uuid::Uuid;

use crate::error::{corrupt, io, lost, unreadable, unwritable};
use crate::fsync::{Staged, create_dirs};
use crate::options::StoreOptions;
use crate::outboard::{BlockHasher, Outboard, OutboardCache, widen};
use crate::parts::LANES;

/// How many bytes go to the disk, or into one request, at a time.
const CHUNK: usize = 8 * 1024 * 1024;
const DISK_CHUNK: usize = 256 * 1024;

/// Ranges that take longer to check are checked on a thread that may block.
const LONG: usize = 1024 * 1024;

/// The hashes of the blocks of smaller parts are not kept on disk: to read the part takes no longer.
const OUTBOARD_LIMIT: u64 = 1024 * 1024;

/// A file that changed less than this ago may change again without a new time of change.
#[cfg(unix)]
const GRAIN_SECONDS: i64 = 2;

/// Keeps large parts.
#[derive(Debug)]
pub(crate) struct Content {
    objects: Arc<dyn ObjectStore>,
    directory: Option<PathBuf>,
    inline_limit: u64,
    read_only: bool,
    outboards: OutboardCache,
    /// Held while the hashes of a part's blocks are looked up, so that this is done once.
    lanes: [tokio::sync::Mutex<()>; LANES],
}

/// Where the part with this hash is.
fn path(hash: &Hash) -> Path {
    let hex = hash.to_hex();
    Path::from_iter(["_content", &hex[..2], &hex])
}

/// Where the hashes of its blocks are.
fn outboard_path(hash: &Hash) -> Path {
    let hex = hash.to_hex();
    Path::from_iter(["_hashes", &hex[..2], &hex])
}

impl Content {
    pub(crate) fn new(objects: Arc<dyn ObjectStore>, directory: Option<PathBuf>, options: &StoreOptions) -> Self {
        Self {
            objects,
            directory,
            inline_limit: options.inline_limit,
            read_only: options.read_only,
            outboards: OutboardCache::default(),
            lanes: Default::default(),
        }
    }

    /// Whether a part of this size goes into the log's rows.
    pub(crate) fn is_inline(&self, size: u64) -> bool {
        size <= self.inline_limit
    }

    /// Starts a part of a size that is not known yet.
    pub(crate) fn writer(self: &Arc<Self>) -> ContentPart {
        ContentPart { content: Arc::clone(self), head: BytesMut::new(), sink: None }
    }

    /// Keeps a part that is in memory, and is above the limit.
    pub(crate) async fn put(&self, bytes: Bytes) -> Result<()> {
        let mut sink = self.sink().await?;
        sink.write(bytes).await?;
        let finished = sink.finish().await?;
        self.keep_outboard(&finished).await;
        Ok(())
    }

    /// Bytes of a part, checked against its hash: of a range, the blocks that it touches.
    pub(crate) async fn read(&self, part: &Part, range: Range<u64>) -> Result<Bytes> {
        if range.is_empty() && part.size > 0 {
            return Ok(Bytes::new());
        }
        let wide = widen(&range, part.size);
        let whole = wide == (0..part.size);
        let outboard = if whole { self.outboards.get(&part.hash) } else { Some(self.outboard(part).await?) };
        let Some(outboard) = outboard else { return tinyfs::slice(&self.read_whole(part).await?, range) };
        let Block { bytes, tag, .. } = self.read_part(part, wide.clone()).await?;
        let start = range.start - wide.start;
        if !outboard.has_checked(wide.start, bytes.len(), tag.as_deref()) {
            let verify = {
                let bytes = bytes.clone();
                move || outboard.holds(wide.start, &bytes, tag.as_deref())
            };
            let intact =
                if bytes.len() > LONG { tokio::task::spawn_blocking(verify).await.map_err(lost)? } else { verify() };
            if !intact {
                return Err(damaged(part));
            }
        }
        tinyfs::slice(&bytes, start..start + (range.end - range.start))
    }

    /// All bytes of a small part, checked against its hash. From a disk of this machine they are read at once: to wake another
    /// thread for a few kilobytes takes longer, and a glob may have ten thousand such parts.
    pub(crate) async fn read_small(&self, part: &Part) -> Result<Bytes> {
        let Some(directory) = &self.directory else { return self.read(part, 0..part.size).await };
        let file = directory.join(path(&part.hash).as_ref());
        match Block::read(&file, 0..part.size) {
            Ok(block) if block.size == part.size && blake3::hash(&block.bytes) == part.hash => Ok(block.bytes),
            Ok(_) => Err(damaged(part)),
            // What is wrong is told as of any other part.
            Err(_) => self.read(part, 0..part.size).await,
        }
    }

    /// Reads a range of a file.
    async fn read_block(&self, path: &Path, range: Range<u64>) -> object_store::Result<Block> {
        if let Some(directory) = &self.directory {
            // One visit to another thread, where the store below makes two.
            let file = directory.join(path.as_ref());
            let read = tokio::task::spawn_blocking(move || Block::read(&file, range)).await?;
            return read.map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => {
                    object_store::Error::NotFound { path: path.to_string(), source: error.into() }
                }
                _ => object_store::Error::Generic { store: "local", source: error.into() },
            });
        }
        let options = GetOptions::new().with_range(Some(range));
        let got = self.objects.get_opts(path, options).await?;
        let (size, tag) = (got.meta.size, got.meta.e_tag.clone());
        Ok(Block { bytes: got.bytes().await?, size, tag })
    }

    /// A range of a part's file, which has the part's size.
    async fn read_part(&self, part: &Part, range: Range<u64>) -> Result<Block> {
        let path = path(&part.hash);
        let what = format!("the part {}", part.hash);
        let length = range.end - range.start;
        let block = self.read_block(&path, range).await.map_err(|error| unreadable(&path, &what, error))?;
        if block.size != part.size || block.bytes.len() as u64 != length {
            let size = block.size;
            return Err(corrupt(format!("{what} is damaged: {path} has {size} bytes instead of {}", part.size)));
        }
        Ok(block)
    }

    /// All of a part whose blocks have no hashes at hand. Where it has several, they are for the next reader.
    async fn read_whole(&self, part: &Part) -> Result<Bytes> {
        // No range can be asked of an empty object.
        if part.size == 0 {
            return if blake3::hash(&[]) == part.hash { Ok(Bytes::new()) } else { Err(damaged(part)) };
        }
        let Block { bytes, tag, .. } = self.read_part(part, 0..part.size).await?;
        let verify = {
            let bytes = bytes.clone();
            move || {
                let mut hasher = BlockHasher::default();
                hasher.update(&bytes);
                hasher.finish()
            }
        };
        let (hash, outboard) =
            if bytes.len() > LONG { tokio::task::spawn_blocking(verify).await.map_err(lost)? } else { verify() };
        if hash != part.hash {
            return Err(damaged(part));
        }
        if let Some(outboard) = outboard {
            outboard.remember(tag.as_deref());
            self.outboards.insert(hash, outboard);
        }
        Ok(bytes)
    }

    /// The hashes of a part's blocks: at hand, kept beside it, or else made from the whole of it.
    async fn outboard(&self, part: &Part) -> Result<Outboard> {
        if let Some(outboard) = self.outboards.get(&part.hash) {
            return Ok(outboard);
        }
        let _looking = self.lanes[usize::from(part.hash.as_bytes()[0]) % LANES].lock().await;
        if let Some(outboard) = self.outboards.get(&part.hash) {
            return Ok(outboard);
        }
        let outboard = match self.kept_outboard(part).await {
            Some(outboard) => outboard,
            None => self.make_outboard(part).await?,
        };
        self.outboards.insert(part.hash, outboard.clone());
        Ok(outboard)
    }

    /// What is kept is worth having only if it is right; the part itself is the authority.
    async fn kept_outboard(&self, part: &Part) -> Option<Outboard> {
        if part.size <= OUTBOARD_LIMIT {
            return None;
        }
        let path = outboard_path(&part.hash);
        let read = async { self.objects.get(&path).await?.bytes().await };
        let outboard = match read.await {
            Ok(bytes) => Outboard::parse(&bytes, &part.hash, part.size),
            Err(error) => {
                tracing::debug!(%path, %error, "the hashes of a part's blocks are not kept");
                return None;
            }
        };
        if outboard.is_none() {
            tracing::warn!(%path, "the hashes of a part's blocks are damaged, and are made anew");
        }
        outboard
    }

    async fn make_outboard(&self, part: &Part) -> Result<Outboard> {
        let path = path(&part.hash);
        let failed = |error| unreadable(&path, &format!("the part {}", part.hash), error);
        let mut stream = self.objects.get(&path).await.map_err(failed)?.into_stream();
        let mut hasher = BlockHasher::default();
        while let Some(bytes) = stream.try_next().await.map_err(failed)? {
            hasher.update(&bytes);
        }
        let finished = Finished::new(hasher);
        let Some(outboard) = finished.outboard.clone() else { return Err(damaged(part)) };
        if finished.hash != part.hash || finished.size != part.size {
            return Err(damaged(part));
        }
        if !self.read_only {
            self.keep_outboard(&finished).await;
        }
        Ok(outboard)
    }

    /// Keeps the hashes of a part's blocks. Neither that this succeeds nor that it is durable matters: they can be made
    /// from the part at any time.
    async fn keep_outboard(&self, finished: &Finished) {
        let Some(outboard) = &finished.outboard else { return };
        self.outboards.insert(finished.hash, outboard.clone());
        if finished.size <= OUTBOARD_LIMIT {
            return;
        }
        let path = outboard_path(&finished.hash);
        let bytes = outboard.to_bytes();
        let kept = match &self.directory {
            None => self.objects.put(&path, bytes.into()).await.map(drop).map_err(|error| unwritable(&path, error)),
            Some(directory) => {
                let target = directory.join(path.as_ref());
                tokio::task::spawn_blocking(move || replace_unsynced(&target, &bytes))
                    .await
                    .map_err(lost)
                    .and_then(|written| written.map_err(|error| io(format!("cannot write {path}"), error)))
            }
        };
        if let Err(error) = kept {
            tracing::warn!(hash = %finished.hash, %error, "the hashes of a part's blocks are not kept");
        }
    }

    async fn sink(&self) -> Result<Sink> {
        let Some(directory) = &self.directory else {
            let hasher = BlockHasher::default();
            let target = Target { objects: Arc::clone(&self.objects), hasher, pending: BytesMut::new() };
            return Ok(Sink::Remote { target, upload: None });
        };
        let content = directory.join("_content");
        let (staging, log) = (content.join("_tmp"), directory.join("_delta_log"));
        // A pond that was removed must not come back as a directory of parts.
        let stage = move || std::fs::metadata(log).and_then(|_| Staged::beside(&staging));
        let staged = tokio::task::spawn_blocking(stage)
            .await
            .map_err(lost)?
            .map_err(|error| io("cannot write a part", error))?;
        let writing = Some(Writing { staged, hasher: BlockHasher::default() });
        Ok(Sink::Local { content, writing, pending: Vec::new(), pending_bytes: 0 })
    }
}

/// A range of a file, with the file's size and what tells that it is still the same.
struct Block {
    bytes: Bytes,
    size: u64,
    tag: Option<String>,
}

impl Block {
    /// The bytes of `range`, as far as the file has them.
    fn read(file: &std::path::Path, range: Range<u64>) -> std::io::Result<Self> {
        let mut file = std::fs::File::open(file)?;
        let metadata = file.metadata()?;
        let length = range.end - range.start;
        let _ = file.seek(SeekFrom::Start(range.start))?;
        let there = length.min(metadata.len());
        let mut bytes = Vec::with_capacity(usize::try_from(there).map_err(std::io::Error::other)?);
        let _ = file.take(length).read_to_end(&mut bytes)?;
        Ok(Self { bytes: bytes.into(), size: metadata.len(), tag: tag(&metadata) })
    }
}

/// The file itself, its size, and when it and what is told of it were changed: who sets the one time back changes the other.
///
/// None for a file that has only just changed: times have a grain, and what comes within it would not be seen.
#[cfg(unix)]
fn tag(metadata: &std::fs::Metadata) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let age = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?.as_secs().cast_signed()
        - metadata.ctime();
    if age < GRAIN_SECONDS {
        return None;
    }
    let (inode, size) = (metadata.ino(), metadata.len());
    let (mtime, mtime_nsec) = (metadata.mtime(), metadata.mtime_nsec());
    let (ctime, ctime_nsec) = (metadata.ctime(), metadata.ctime_nsec());
    Some(format!("{inode:x}-{mtime:x}.{mtime_nsec:x}-{ctime:x}.{ctime_nsec:x}-{size:x}"))
}

/// Without inodes a file cannot be told from another that takes its place, and is checked each time.
#[cfg(not(unix))]
fn tag(_metadata: &std::fs::Metadata) -> Option<String> {
    None
}

/// A part that is being written: in memory up to the inline limit, then outside.
#[derive(Debug)]
pub(crate) struct ContentPart {
    content: Arc<Content>,
    head: BytesMut,
    sink: Option<Sink>,
}

#[async_trait]
impl PartWriter for ContentPart {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        if let Some(sink) = &mut self.sink {
            return sink.write(bytes).await;
        }
        if self.content.is_inline((self.head.len() + bytes.len()) as u64) {
            self.head.extend_from_slice(&bytes);
            return Ok(());
        }
        let sink = self.sink.insert(self.content.sink().await?);
        sink.write(std::mem::take(&mut self.head).freeze()).await?;
        sink.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<Part> {
        let Some(sink) = self.sink else {
            let bytes = self.head.freeze();
            return Ok(Part { hash: blake3::hash(&bytes), size: bytes.len() as u64, place: Place::Memory(bytes) });
        };
        let finished = sink.finish().await?;
        self.content.keep_outboard(&finished).await;
        Ok(Part { hash: finished.hash, size: finished.size, place: Place::Content })
    }
}

/// Receives the bytes of one large part. Dropping it discards them.
#[derive(Debug)]
enum Sink {
    /// `writing` is absent while a chunk is on its way to the disk, and after a failure.
    Local {
        content: PathBuf,
        writing: Option<Writing>,
        pending: Vec<Bytes>,
        pending_bytes: usize,
    },
    Remote {
        target: Target,
        upload: Option<Upload>,
    },
}

#[derive(Debug)]
struct Writing {
    staged: Staged,
    hasher: BlockHasher,
}

/// A part that has its final name.
#[derive(Debug)]
struct Finished {
    hash: Hash,
    size: u64,
    outboard: Option<Outboard>,
}

impl Finished {
    fn new(hasher: BlockHasher) -> Self {
        let size = hasher.size();
        let (hash, outboard) = hasher.finish();
        Self { hash, size, outboard }
    }
}

impl Writing {
    fn absorb(&mut self, chunks: &[Bytes]) -> std::io::Result<()> {
        for bytes in chunks {
            self.hasher.update(bytes);
            self.staged.file.write_all(bytes)?;
        }
        Ok(())
    }

    /// Gives the file its final name, durably.
    ///
    /// A file of that name is the same part, and is replaced all the same: it may be damaged, not yet durable, or old
    /// enough for a vacuum that runs now.
    fn name(self, content: &std::path::Path) -> std::io::Result<Finished> {
        let finished = Finished::new(self.hasher);
        let hex = finished.hash.to_hex();
        let directory = content.join(&hex[..2]);
        create_dirs(&directory)?;
        self.staged.replace(&directory.join(hex.as_str()))?;
        Ok(finished)
    }
}

#[derive(Debug)]
struct Target {
    objects: Arc<dyn ObjectStore>,
    hasher: BlockHasher,
    pending: BytesMut,
}

/// A multipart upload to a temporary name; the final one is known only at the end.
#[derive(Debug)]
struct Upload {
    path: Path,
    writer: Option<WriteMultipart>,
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            drop(runtime.spawn(async move {
                if let Err(error) = writer.abort().await {
                    tracing::warn!(%error, "an unfinished upload stays");
                }
            }));
        }
    }
}

impl Sink {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        match self {
            Self::Local { writing, pending, pending_bytes, .. } => {
                *pending_bytes += bytes.len();
                pending.push(bytes);
                if *pending_bytes < DISK_CHUNK {
                    return Ok(());
                }
                *pending_bytes = 0;
                let chunks = std::mem::take(pending);
                let mut state = writing.take().ok_or_else(failed_before)?;
                let written = tokio::task::spawn_blocking(move || state.absorb(&chunks).map(|()| state));
                *writing = Some(written.await.map_err(lost)?.map_err(|error| io("cannot write a part", error))?);
                Ok(())
            }
            Self::Remote { target, upload } => {
                target.hasher.update(&bytes);
                let Some(Upload { path, writer }) = upload else {
                    target.pending.extend_from_slice(&bytes);
                    if target.pending.len() > CHUNK {
                        let path = Path::from_iter(["_content", "_tmp", &Uuid::new_v4().simple().to_string()]);
                        let started =
                            target.objects.put_multipart(&path).await.map_err(|error| unwritable(&path, error))?;
                        let mut writer = WriteMultipart::new_with_chunk_size(started, CHUNK);
                        writer.put(std::mem::take(&mut target.pending).freeze());
                        *upload = Some(Upload { path, writer: Some(writer) });
                    }
                    return Ok(());
                };
                let writer = writer.as_mut().ok_or_else(failed_before)?;
                writer.wait_for_capacity(4).await.map_err(|error| unwritable(path, error))?;
                writer.put(bytes);
                Ok(())
            }
        }
    }

    async fn finish(self) -> Result<Finished> {
        match self {
            Self::Local { content, writing, pending, .. } => {
                let mut state = writing.ok_or_else(failed_before)?;
                tokio::task::spawn_blocking(move || {
                    state.absorb(&pending)?;
                    state.name(&content)
                })
                .await
                .map_err(lost)?
                .map_err(|error| io("cannot write a part", error))
            }
            Self::Remote { target, upload } => {
                let finished = Finished::new(target.hasher);
                let name = path(&finished.hash);
                let failed = |error| unwritable(&name, error);
                match upload {
                    None => {
                        let _ = target.objects.put(&name, target.pending.freeze().into()).await.map_err(failed)?;
                    }
                    Some(mut upload) => {
                        let writer = upload.writer.take().ok_or_else(failed_before)?;
                        let _ = writer.finish().await.map_err(failed)?;
                        target.objects.rename(&upload.path, &name).await.map_err(failed)?;
                    }
                }
                Ok(finished)
            }
        }
    }
}

fn failed_before() -> tinyfs::Error {
    io("cannot write a part", "an earlier write of it failed")
}

fn damaged(part: &Part) -> tinyfs::Error {
    let path = path(&part.hash);
    corrupt(format!("the part {} is damaged: the bytes of {path} are not those that were written", part.hash))
}

/// Gives a file these bytes. After a crash it may have others.
fn replace_unsynced(target: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut staged = Staged::beside(target)?;
    staged.file.write_all(bytes)?;
    staged.replace_unsynced(target)
}
