//! Compressed files: one stream from the first byte to the last, which is what every program unpacks.

use std::io;
use std::sync::Arc;

use async_compression::tokio::write::{BzEncoder, GzipEncoder, XzEncoder, ZstdEncoder};
use bytes::Bytes;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use futures::stream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{ByteStream, blocking, hold};
use crate::error::{Error, ErrorKind};

// What an encoder of the usual level holds: its window, and the tables to find in it what came before.
const GZIP_BYTES: usize = 256 << 10;
const BZIP2_BYTES: usize = 5 << 20;
const XZ_BYTES: usize = 94 << 20;
const ZSTD_BYTES: usize = 4 << 20;

/// `bytes`, compressed as they are read.
pub(super) fn packed(bytes: ByteStream, compression: FileCompressionType, pool: &Arc<dyn MemoryPool>) -> ByteStream {
    match compression {
        FileCompressionType::GZIP => {
            pack(bytes, GzipEncoder::new(Vec::new()), GzipEncoder::get_mut, Memory::of("gzip", GZIP_BYTES, pool))
        }
        FileCompressionType::BZIP2 => {
            pack(bytes, BzEncoder::new(Vec::new()), BzEncoder::get_mut, Memory::of("bzip2", BZIP2_BYTES, pool))
        }
        FileCompressionType::XZ => {
            pack(bytes, XzEncoder::new(Vec::new()), XzEncoder::get_mut, Memory::of("xz", XZ_BYTES, pool))
        }
        FileCompressionType::ZSTD => {
            pack(bytes, ZstdEncoder::new(Vec::new()), ZstdEncoder::get_mut, Memory::of("zstd", ZSTD_BYTES, pool))
        }
        _ => bytes,
    }
}

/// What an encoder holds, and where it is counted.
struct Memory {
    bytes: usize,
    held: MemoryReservation,
}

impl Memory {
    fn of(name: &str, bytes: usize, pool: &Arc<dyn MemoryPool>) -> Self {
        Self { bytes, held: MemoryConsumer::new(format!("{name} compression")).register(pool) }
    }
}

/// `written` is where an encoder puts what it is done with. That can be taken away at any time.
fn pack<E>(bytes: ByteStream, encoder: E, written: fn(&mut E) -> &mut Vec<u8>, memory: Memory) -> ByteStream
where
    E: AsyncWrite + Send + Unpin + 'static,
{
    let pieces = stream::try_unfold(Some((encoder, bytes, memory)), move |state| async move {
        let Some((mut encoder, mut bytes, memory)) = state else { return Ok::<_, Error>(None) };
        let chunk = bytes.try_next().await?;
        let more = chunk.is_some();
        // What comes out is not known to be shorter than what goes in.
        hold(&memory.held, memory.bytes + 2 * chunk.as_ref().map_or(0, Bytes::len))?;
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
        Ok(Some((piece, more.then_some((encoder, bytes, memory)))))
    });
    // An encoder holds back what is too little to be compressed yet.
    pieces.try_filter(|piece| std::future::ready(!piece.is_empty())).boxed()
}

fn failed(error: io::Error) -> Error {
    Error::new(ErrorKind::Io, "the bytes cannot be compressed").with_source(error)
}
