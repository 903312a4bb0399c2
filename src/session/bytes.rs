//! The bytes of files, in and out.

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use tinyfs::{Attributes, EntryKind, NewEntry, Part, PondPath, WriteMode};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::error::{Error, ErrorKind, Result};
use crate::pond::OpenPond;
use crate::provider::{describe_bytes, describe_parquet};
use crate::session::PondSession;

/// How much is read at once.
const CHUNK: usize = 1024 * 1024;
/// What a Parquet file begins with.
const PARQUET_MAGIC: &[u8] = b"PAR1";

impl PondSession {
    /// Stores all bytes of `reader` as the content of the file at `path`, in one version that replaces what was there.
    /// Bytes that are a Parquet file are a table from then on; all others are a data file. Returns their number.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] from the reader; [`ErrorKind::Corrupt`] for bytes that claim to be Parquet, or are stored under a name
    /// that ends in `.parquet`, and are not; [`ErrorKind::WrongKind`] where `path` is something else than a file.
    pub async fn put(&mut self, mut reader: impl AsyncRead + Send + Unpin, path: &str) -> Result<u64> {
        let path = self.names()?.directory.join(path)?;
        let (pond, transaction) = self.begin_change().await?;
        let mut writer = pond.store.create_part().await?;
        let mut head: Vec<u8> = Vec::new();
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            let read = (&mut reader).take(CHUNK as u64).read_to_end(&mut chunk).await;
            if read.map_err(|error| {
                Error::new(ErrorKind::Io, format!("the bytes for '{path}' cannot be read")).with_source(error)
            })? == 0
            {
                break;
            }
            if head.len() < PARQUET_MAGIC.len() {
                head.extend(chunk.iter().take(PARQUET_MAGIC.len()));
            }
            writer.write(Bytes::from(chunk)).await?;
        }
        let part = writer.finish().await?;
        let size = part.size;
        let is_parquet = head.starts_with(PARQUET_MAGIC) || path.as_str().ends_with(".parquet");
        let attributes = if is_parquet {
            describe(&pond, &part, &path).await?
        } else {
            describe_bytes(&self.context().state(), &pond.objects, &path, &part).await?
        };
        {
            let mut transaction = transaction.lock();
            if let Err(error) = transaction.snapshot().lookup(&path) {
                if !error.is_not_found() {
                    return Err(error.into());
                }
                transaction.create(&path, NewEntry::File, Attributes::default())?;
            }
            let _ = transaction.write(&path, WriteMode::Replace, part, attributes)?;
        }
        self.end_change(transaction, &format!("put {path}")).await?;
        Ok(size)
    }

    /// The bytes of the file at `path`, a few megabytes at a time.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::WrongKind`] for what is no file; [`ErrorKind::Unsupported`] for a file whose content is
    /// spread over several versions, and for a view. In the stream: [`ErrorKind::Corrupt`] at its end, if the bytes are not those written.
    pub async fn read(&mut self, path: &str) -> Result<BoxStream<'static, Result<Bytes>>> {
        let path = self.names()?.directory.join(path)?;
        let snapshot = self.snapshot().await?;
        let node = snapshot.lookup(&path)?.node;
        let content = match (node.kind(), node.versions()) {
            (EntryKind::File, Some(versions)) => versions.content(),
            (EntryKind::View, _) => {
                let message = format!(
                    "'{path}' is a view; its bytes are not available yet, COPY (FROM '{path}') TO './file.parquet' writes them"
                );
                return Err(Error::new(ErrorKind::Unsupported, message).with_path(&path));
            }
            (kind, _) => {
                return Err(Error::new(ErrorKind::WrongKind, format!("'{path}' is a {}, not a file", kind.as_str()))
                    .with_path(&path));
            }
        };
        match content.as_slice() {
            [version] => {
                let path = path.clone();
                Ok(snapshot
                    .stream(version)
                    .map(move |bytes| bytes.map_err(|error| error.with_path(&path).into()))
                    .boxed())
            }
            versions => {
                let message = format!(
                    "'{path}' has its content in {} versions; COPY '{path}' TO './file.parquet' writes them as one file",
                    versions.len()
                );
                Err(Error::new(ErrorKind::Unsupported, message).with_path(&path))
            }
        }
    }
}

async fn describe(pond: &OpenPond, part: &Part, path: &PondPath) -> Result<Attributes> {
    let described = describe_parquet(&pond.store, part).await.and_then(|attributes| attributes.to_attributes());
    described.map_err(|error| {
        Error::new(error.kind(), format!("the bytes for '{path}' cannot be a table")).with_source(error)
    })
}
