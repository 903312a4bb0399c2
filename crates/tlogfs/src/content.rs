//! [`Content`]: the parts above the inline limit, each an object named by its hash.

use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use blake3::{Hash, Hasher};
use bytes::{Bytes, BytesMut};
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, WriteMultipart};
use tinyfs::{Part, PartWriter, Place, Result};
use uuid::Uuid;

use crate::error::{corrupt, io, lost, unreadable, unwritable};
use crate::fsync::{Staged, create_dirs};

/// How many bytes go to the disk, or into one request, at a time.
const CHUNK: usize = 8 * 1024 * 1024;
const DISK_CHUNK: usize = 256 * 1024;

/// Keeps large parts.
#[derive(Debug)]
pub(crate) struct Content {
    objects: Arc<dyn ObjectStore>,
    directory: Option<PathBuf>,
    inline_limit: u64,
}

/// Where the part with this hash is.
fn path(hash: &Hash) -> Path {
    let hex = hash.to_hex();
    Path::from_iter(["_content", &hex[..2], &hex])
}

impl Content {
    pub(crate) fn new(objects: Arc<dyn ObjectStore>, directory: Option<PathBuf>, inline_limit: u64) -> Self {
        Self { objects, directory, inline_limit }
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
        let _ = sink.finish().await?;
        Ok(())
    }

    /// Bytes of a part. The whole of it is checked against its hash, a range against its size.
    pub(crate) async fn read(&self, part: &Part, range: Range<u64>) -> Result<Bytes> {
        let path = path(&part.hash);
        let what = format!("the part {}", part.hash);
        if range == (0..part.size) {
            let read = async { self.objects.get(&path).await?.bytes().await };
            let bytes = read.await.map_err(|error| unreadable(&path, &what, error))?;
            if bytes.len() as u64 != part.size || blake3::hash(&bytes) != part.hash {
                return Err(corrupt(format!("{what} is damaged: the bytes of {path} are not those that were written")));
            }
            return Ok(bytes);
        }
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let length = range.end - range.start;
        let options = GetOptions::new().with_range(Some(range));
        let got = self.objects.get_opts(&path, options).await.map_err(|error| unreadable(&path, &what, error))?;
        let size = got.meta.size;
        let bytes = got.bytes().await.map_err(|error| unreadable(&path, &what, error))?;
        if size != part.size || bytes.len() as u64 != length {
            return Err(corrupt(format!("{what} is damaged: {path} has {size} bytes instead of {}", part.size)));
        }
        Ok(bytes)
    }

    async fn sink(&self) -> Result<Sink> {
        let Some(directory) = &self.directory else {
            let target = Target { objects: Arc::clone(&self.objects), hasher: Hasher::new(), pending: BytesMut::new() };
            return Ok(Sink::Remote { target, upload: None });
        };
        let content = directory.join("_content");
        let staging = content.join("_tmp");
        let staged = tokio::task::spawn_blocking(move || Staged::beside(&staging))
            .await
            .map_err(lost)?
            .map_err(|error| io("cannot write a part", error))?;
        let writing = Some(Writing { staged, hasher: Hasher::new(), size: 0 });
        Ok(Sink::Local { content, writing, pending: Vec::new(), pending_bytes: 0 })
    }
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
        let (hash, size) = sink.finish().await?;
        Ok(Part { hash, size, place: Place::Content })
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
    hasher: Hasher,
    size: u64,
}

impl Writing {
    fn absorb(&mut self, chunks: &[Bytes]) -> std::io::Result<()> {
        for bytes in chunks {
            let _ = self.hasher.update(bytes);
            self.staged.file.write_all(bytes)?;
            self.size += bytes.len() as u64;
        }
        Ok(())
    }

    /// Gives the file its final name, durably.
    ///
    /// A file of that name is the same part, and is replaced all the same: it may be damaged, not yet durable, or old
    /// enough for a vacuum that runs now.
    fn name(self, content: &std::path::Path) -> std::io::Result<(Hash, u64)> {
        let hash = self.hasher.finalize();
        let hex = hash.to_hex();
        let directory = content.join(&hex[..2]);
        create_dirs(&directory)?;
        self.staged.replace(&directory.join(hex.as_str()))?;
        Ok((hash, self.size))
    }
}

#[derive(Debug)]
struct Target {
    objects: Arc<dyn ObjectStore>,
    hasher: Hasher,
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
                let _ = target.hasher.update(&bytes);
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

    async fn finish(self) -> Result<(Hash, u64)> {
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
                let (hash, size) = (target.hasher.finalize(), target.hasher.count());
                let name = path(&hash);
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
                Ok((hash, size))
            }
        }
    }
}

fn failed_before() -> tinyfs::Error {
    io("cannot write a part", "an earlier write of it failed")
}
