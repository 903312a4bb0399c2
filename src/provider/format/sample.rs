//! The first bytes of a file of text, in bounded memory.

use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;

use super::SourceFile;
use super::unpack::unpacked;
use crate::error::{Error, ErrorKind, Result};

/// How many bytes are looked at for the columns of a file.
pub(super) const SAMPLE_BYTES: usize = 16 << 20;
/// How many records are, unless the options say otherwise. DataFusion's default of 1,000 takes a column for numbers whose first `NA`
/// comes later, and fails there.
pub(super) const SAMPLE_RECORDS: usize = 100_000;
/// The most columns of a file.
pub(super) const MAX_COLUMNS: usize = 100_000;

/// The beginning of a file.
pub(super) struct Sample {
    pub(super) bytes: Vec<u8>,
    /// Whether it is all of the file.
    pub(super) whole: bool,
}

/// The beginning of a file, unpacked.
pub(super) async fn sample(file: &SourceFile<'_>, compression: FileCompressionType) -> Result<Sample> {
    let got = file.store.get(&file.meta.location).await?;
    let mut stream = unpacked(got.into_stream(), compression);
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.try_next().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() >= SAMPLE_BYTES {
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
