//! Compressed files: one stream from the first byte to the last, which is what every program unpacks.

use std::io;

use async_compression::tokio::write::{BzEncoder, GzipEncoder, XzEncoder, ZstdEncoder};
use bytes::Bytes;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use futures::stream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{ByteStream, blocking};
use crate::error::{Error, ErrorKind};

/// `bytes`, compressed as they are read.
pub(super) fn packed(bytes: ByteStream, compression: FileCompressionType) -> ByteStream {
    match compression {
        FileCompressionType::GZIP => pack(bytes, GzipEncoder::new(Vec::new()), GzipEncoder::get_mut),
        FileCompressionType::BZIP2 => pack(bytes, BzEncoder::new(Vec::new()), BzEncoder::get_mut),
        FileCompressionType::XZ => pack(bytes, XzEncoder::new(Vec::new()), XzEncoder::get_mut),
        FileCompressionType::ZSTD => pack(bytes, ZstdEncoder::new(Vec::new()), ZstdEncoder::get_mut),
        _ => bytes,
    }
}

/// `written` is where an encoder puts what it is done with. That can be taken away at any time.
fn pack<E>(bytes: ByteStream, encoder: E, written: fn(&mut E) -> &mut Vec<u8>) -> ByteStream
where
    E: AsyncWrite + Send + Unpin + 'static,
{
    let pieces = stream::try_unfold(Some((encoder, bytes)), move |state| async move {
        let Some((mut encoder, mut bytes)) = state else { return Ok::<_, Error>(None) };
        let chunk = bytes.try_next().await?;
        let more = chunk.is_some();
        let (encoder, piece) = blocking(move || {
            // What is written to memory never has to be waited for.
            let done = match &chunk {
                Some(chunk) => encoder.write_all(chunk).now_or_never(),
                None => encoder.shutdown().now_or_never(),
            };
            done.unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into())).map_err(failed)?;
            let piece = std::mem::take(written(&mut encoder));
            Ok((encoder, Bytes::from(piece)))
        })
        .await?;
        Ok(Some((piece, more.then_some((encoder, bytes)))))
    });
    // An encoder holds back what is too little to be compressed yet.
    pieces.try_filter(|piece| std::future::ready(!piece.is_empty())).boxed()
}

fn failed(error: io::Error) -> Error {
    Error::new(ErrorKind::Io, "the bytes cannot be compressed").with_source(error)
}
