//! [`FileEncoding`]: what a file's name asks its bytes to be.

use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use tinyfs::PondPath;

use super::packed::packed;
use super::{ByteStream, Encoding, encode};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::format::{PartFormat, by_name, without_extension};

/// How the rows of a file become its bytes: written down, and compressed where they are text and the name says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileEncoding {
    /// How rows are written down.
    pub encoding: Encoding,
    /// What is done to that.
    pub compression: FileCompressionType,
}

impl From<Encoding> for FileEncoding {
    /// Not compressed, but for what the encoding does within itself.
    fn from(encoding: Encoding) -> Self {
        Self { encoding, compression: FileCompressionType::UNCOMPRESSED }
    }
}

impl FileEncoding {
    /// What a path's name asks for; Parquet where it names no format.
    ///
    /// # Errors
    /// As [`by_name`](Self::by_name).
    pub fn of(path: &PondPath) -> Result<Self> {
        let named = path.name().map_or(Ok(None), Self::by_name).map_err(|error| error.with_path(path))?;
        Ok(named.unwrap_or_else(|| Self::from(Encoding::Parquet)))
    }

    /// What a file's name asks for; `None` where it names no format.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) for the name of a format that is read, and not written.
    pub fn by_name(name: &str) -> Result<Option<Self>> {
        let (inner, compression) = without_extension(name);
        match Encoding::by_extension(&inner) {
            Some(encoding) if encoding.is_text() || !compression.is_compressed() => {
                Ok(Some(Self { encoding, compression }))
            }
            // What follows the last dot may be anything, a year or a version.
            None if !compression.is_compressed() && by_name(&inner).is_none() => Ok(None),
            _ => {
                let message = format!(
                    "no file is written in the format that the name '{name}' asks for: use .parquet, .arrow, .csv, .tsv, .json or .ndjson, \
                     the last four also with .gz, .bz2, .xz or .zst behind"
                );
                Err(Error::new(ErrorKind::Unsupported, message))
            }
        }
    }

    /// Whether bytes that are read so are in this encoding, as far as readers tell them apart: one object a line is as much JSON as one array.
    ///
    /// # Errors
    /// [`Usage`](ErrorKind::Usage) for a compression that is not known.
    pub(crate) fn is_of(self, format: &PartFormat) -> Result<bool> {
        Ok(format.name() == self.encoding.format() && format.options.compression()? == self.compression)
    }

    /// The bytes of a file that holds `rows`, as [`encode`] gives them, compressed.
    ///
    /// # Errors
    /// As [`encode`].
    pub fn encode(self, rows: SendableRecordBatchStream, context: &TaskContext) -> Result<ByteStream> {
        Ok(packed(encode(rows, self.encoding, context)?, self.compression, context.memory_pool()))
    }
}
