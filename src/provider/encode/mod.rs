//! [`encode`]: rows become the bytes of a file, while they are read.
//!
//! A stream of bytes is pulled, and pulls the rows: nothing runs ahead of its reader by more than what is being encoded, and
//! dropping it drops the query. Encoding itself happens on threads for blocking work, in pieces that come out in order. What is held
//! meanwhile is counted in the memory pool of the query.

mod arrow_file;
mod file_encoding;
mod inner_types;
mod packed;
mod parquet_columns;
mod parquet_file;
mod parquet_times;
mod text;

use bytes::Bytes;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::stream::BoxStream;

use crate::error::{Error, ErrorKind, Result};

pub(crate) use arrow_file::{conform, without_dictionaries};
pub use file_encoding::FileEncoding;
pub(crate) use parquet_times::{has_seconds, in_milliseconds};
pub(crate) use text::check_json;

/// The most pieces that are encoded at the same time. Each is held in memory.
const MAX_WORKERS: usize = 4;

/// How much of the file is handed on at once, and how many bytes of rows become a piece of text or a batch of Arrow.
const PIECE_BYTES: usize = 1 << 20;
/// What a piece may hold where the limit on memory is reached: its rows are here already, and giving up would not give them back sooner.
const LEAST_BYTES: usize = 4 * PIECE_BYTES;

/// The bytes of a file, piece by piece. Dropping it ends the work behind it.
pub type ByteStream = BoxStream<'static, Result<Bytes>>;

/// How rows are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// A Parquet file.
    Parquet,
    /// Comma-separated values under a line of column names.
    Csv,
    /// The same with tabs instead of commas.
    Tsv,
    /// One JSON object a line.
    Ndjson,
    /// One JSON array of objects.
    Json,
    /// An Arrow IPC file.
    Arrow,
}

impl Encoding {
    /// The encoding that the extension of a file's name stands for.
    pub fn by_extension(name: &str) -> Option<Self> {
        let (_, extension) = name.rsplit_once('.')?;
        match extension.to_ascii_lowercase().as_str() {
            "parquet" | "parq" => Some(Self::Parquet),
            "csv" => Some(Self::Csv),
            "tsv" | "tab" => Some(Self::Tsv),
            "ndjson" | "jsonl" => Some(Self::Ndjson),
            "json" => Some(Self::Json),
            "arrow" | "feather" | "ipc" => Some(Self::Arrow),
            _ => None,
        }
    }

    /// Whether its bytes are text, which can be compressed as a whole.
    pub fn is_text(self) -> bool {
        match self {
            Self::Csv | Self::Tsv | Self::Ndjson | Self::Json => true,
            Self::Parquet | Self::Arrow => false,
        }
    }

    /// What readers call it.
    pub(crate) fn format(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Ndjson | Self::Json => "json",
            Self::Arrow => "arrow",
        }
    }

    /// Its name, as in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Parquet => "Parquet",
            Self::Csv => "CSV",
            Self::Tsv => "TSV",
            Self::Ndjson => "NDJSON",
            Self::Json => "JSON",
            Self::Arrow => "Arrow IPC",
        }
    }
}

/// The bytes of a file that holds `rows`. No rows make a valid file too.
///
/// # Errors
/// [`Unsupported`](ErrorKind::Unsupported) for columns that the encoding has no place for. In the stream: what the rows fail with,
/// and [`Limit`](ErrorKind::Limit) for rows so large that the pool has no room for a few of them.
pub fn encode(rows: SendableRecordBatchStream, encoding: Encoding, context: &TaskContext) -> Result<ByteStream> {
    // Two at least, so that a piece is encoded while the rows of the next are read.
    let workers = context.session_config().target_partitions().clamp(2, MAX_WORKERS);
    let held = MemoryConsumer::new(format!("{} bytes", encoding.as_str())).register(context.memory_pool());
    match encoding {
        Encoding::Parquet => parquet_file::encode(rows, workers, held),
        Encoding::Csv => text::csv(rows, workers, held),
        Encoding::Tsv => text::tsv(rows, workers, held),
        Encoding::Ndjson => text::ndjson(rows, workers, held),
        Encoding::Json => text::json(rows, workers, held),
        Encoding::Arrow => arrow_file::encode(rows, held),
    }
}

/// Counts what a piece holds, `bytes` in all.
///
/// # Errors
/// [`Limit`](ErrorKind::Limit) for more than there is and than any piece may hold.
fn hold(held: &MemoryReservation, bytes: usize) -> Result<()> {
    let Err(error) = held.try_resize(bytes) else { return Ok(()) };
    if bytes > LEAST_BYTES {
        return Err(Error::from_datafusion(error));
    }
    held.resize(bytes);
    Ok(())
}

/// Does `work` where it may take its time.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        Error::new(ErrorKind::Execution, "the work on a file's bytes was cut off").with_source(error)
    })?
}

#[cfg(test)]
mod tests;
