//! The first bytes of a file of text, in bounded memory.

use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;

use super::options::INFERRED_RECORDS;
use super::unpack::unpacked;
use super::{ReaderOptions, SourceFile};
use crate::error::{Error, ErrorKind, Result};

/// How many bytes are looked at for the columns of a file.
pub(super) const SAMPLE_BYTES: usize = 16 << 20;
/// How many records are, unless the options say otherwise. DataFusion's default of 1,000 takes a column for numbers whose first `NA`
/// comes later, and fails there.
pub(super) const SAMPLE_RECORDS: usize = 100_000;
/// How many bytes are looked at of a file that is small enough for all of it to tell, and where the options ask for more records.
const LARGE_SAMPLE_BYTES: usize = 64 << 20;
const WANTED_SAMPLE_BYTES: usize = 256 << 20;
/// The most columns of a file.
pub(super) const MAX_COLUMNS: usize = 100_000;

/// How much of a file is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) bytes: usize,
    pub(super) records: usize,
}

impl Extent {
    /// What the options say, and the file's size.
    pub(super) fn of(file: &SourceFile<'_>, options: &ReaderOptions) -> Result<Self> {
        Ok(match (options.number(INFERRED_RECORDS)?, file.whole) {
            (Some(records), _) if records > SAMPLE_RECORDS => Self { bytes: WANTED_SAMPLE_BYTES, records },
            (Some(records), _) => Self { bytes: SAMPLE_BYTES, records },
            (None, true) => Self { bytes: LARGE_SAMPLE_BYTES, records: usize::MAX },
            (None, false) => Self { bytes: SAMPLE_BYTES, records: SAMPLE_RECORDS },
        })
    }
}

/// The beginning of a file.
pub(super) struct Sample {
    pub(super) bytes: Vec<u8>,
    /// Whether it is all of the file.
    pub(super) whole: bool,
}

/// The beginning of a file, unpacked: all of it, or `most` bytes.
pub(super) async fn sample(file: &SourceFile<'_>, most: usize, compression: FileCompressionType) -> Result<Sample> {
    let got = file.store.get(&file.meta.location).await?;
    let mut stream = unpacked(got.into_stream(), compression);
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.try_next().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() >= most {
            // A store may hand out all that it has at once.
            bytes.truncate(most);
            return Ok(Sample { bytes, whole: false });
        }
    }
    Ok(Sample { bytes, whole: true })
}

/// Refuses a file with more columns than any memory is planned for.
pub(crate) fn check_column_count(columns: usize) -> Result<()> {
    match columns > MAX_COLUMNS {
        true => Err(Error::new(ErrorKind::Limit, format!("it has {columns} columns, more than {MAX_COLUMNS}"))),
        false => Ok(()),
    }
}
