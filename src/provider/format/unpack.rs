//! Compressed files, unpacked as they are read.
//!
//! Not by DataFusion, which reads the first member of a bzip2, xz or zstd file and takes it for all of it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_compression::tokio::bufread::{BzDecoder, GzipDecoder, XzDecoder, ZstdDecoder};
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error, GetOptions, GetResult, GetResultPayload, ObjectStore, Result};
use tokio::io::{AsyncBufRead, AsyncRead};
use tokio_util::io::{ReaderStream, StreamReader};

use crate::error::ErrorKind;
use crate::provider::read_only::Reading;

/// How much is unpacked at once.
const CHUNK: usize = 64 << 10;

/// Gives the objects of another store unpacked, each as a whole.
#[derive(Debug)]
pub(crate) struct UnpackedStore {
    pub(crate) packed: Arc<dyn ObjectStore>,
    pub(crate) compression: FileCompressionType,
}

/// `stream`, unpacked.
pub(super) fn unpacked(
    stream: BoxStream<'_, Result<Bytes>>,
    compression: FileCompressionType,
) -> BoxStream<'_, Result<Bytes>> {
    if !compression.is_compressed() {
        return stream;
    }
    let packed = StreamReader::new(stream.map_err(std::io::Error::other));
    let bytes = ReaderStream::with_capacity(decoder(packed, compression), CHUNK);
    bytes.map_err(move |error| unpack_error(error, compression)).boxed()
}

fn decoder<'a>(
    packed: impl AsyncBufRead + Send + Unpin + 'a,
    compression: FileCompressionType,
) -> Box<dyn AsyncRead + Send + Unpin + 'a> {
    match compression {
        FileCompressionType::GZIP => {
            let mut decoder = GzipDecoder::new(packed);
            decoder.multiple_members(true);
            Box::new(decoder)
        }
        FileCompressionType::BZIP2 => {
            let mut decoder = BzDecoder::new(packed);
            decoder.multiple_members(true);
            Box::new(decoder)
        }
        FileCompressionType::XZ => {
            let mut decoder = XzDecoder::new(packed);
            decoder.multiple_members(true);
            Box::new(decoder)
        }
        FileCompressionType::ZSTD => {
            let mut decoder = ZstdDecoder::new(packed);
            decoder.multiple_members(true);
            Box::new(decoder)
        }
        _ => Box::new(packed),
    }
}

/// What is wrong: with the bytes, or with the store that they come from.
fn unpack_error(error: std::io::Error, compression: FileCompressionType) -> Error {
    match error.downcast::<Error>() {
        Ok(below) => below,
        Err(error) => {
            let message = format!("its {} data is broken or cut short", super::compression::name(compression));
            broken(crate::error::Error::new(ErrorKind::Corrupt, message).with_source(error))
        }
    }
}

fn broken(error: crate::error::Error) -> Error {
    Error::Generic { store: "unpacked", source: Box::new(error) }
}

impl fmt::Display for UnpackedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, unpacked", self.packed)
    }
}

#[async_trait]
impl Reading for UnpackedStore {
    fn below(&self) -> &Arc<dyn ObjectStore> {
        &self.packed
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if options.range.is_some() {
            return Err(whole_only());
        }
        let got = self.packed.get_opts(location, options).await?;
        let (meta, range, attributes) = (got.meta.clone(), got.range.clone(), got.attributes.clone());
        let stream = unpacked(got.into_stream(), self.compression);
        Ok(GetResult { payload: GetResultPayload::Stream(stream), meta, range, attributes })
    }

    async fn get_ranges(&self, _: &Path, _: &[Range<u64>]) -> Result<Vec<Bytes>> {
        Err(whole_only())
    }
}

fn whole_only() -> Error {
    Error::NotSupported { source: "a compressed file is read as a whole".into() }
}
