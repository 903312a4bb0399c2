//! A look at a Parquet file before anything trusts it.
//!
//! The decoder panics on some malformed files (`PAR1PAR1`, a footer longer than the file), so bytes that this program
//! did not write pass here first.

use std::cmp::Ordering;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::parquet::arrow::parquet_to_arrow_schema;
use datafusion::parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt};

use super::format::check_column_count;
use super::parquet_depth::check_depth;
use crate::error::{Error, ErrorKind, Result};

const MAGIC: &[u8; 4] = b"PAR1";
/// Of a file whose footer is encrypted.
const ENCRYPTED: &[u8; 4] = b"PARE";
/// The magic at the start, the footer's length, and the magic at the end.
const MIN_SIZE: u64 = 12;
/// How many bytes of the end [`check_parquet`] needs.
pub const PARQUET_TAIL: u64 = 8;
/// More rows than a file can have: as many times the width of any value still are a number of bytes.
const MAX_ROWS: i64 = 1 << 56;

/// Checks the frame of a Parquet file of `size` bytes, of which `head` are the first and `tail` the last; where its footer is.
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt), saying what is wrong.
pub fn check_parquet(size: u64, head: &[u8], tail: &[u8]) -> Result<Range<u64>> {
    check_size(size)?;
    if !head.starts_with(MAGIC) && !head.starts_with(ENCRYPTED) {
        return Err(no_parquet("it does not start with PAR1"));
    }
    let Some([a, b, c, d, magic @ ..]) = tail.last_chunk::<8>() else {
        return Err(no_parquet("its end is missing"));
    };
    if magic == ENCRYPTED {
        return Err(Error::new(ErrorKind::Unsupported, "the Parquet file is encrypted"));
    }
    if magic != MAGIC || !head.starts_with(MAGIC) {
        return Err(no_parquet("it does not end with PAR1: was it cut short?"));
    }
    let footer = u64::from(u32::from_le_bytes([*a, *b, *c, *d]));
    if footer == 0 || footer + MIN_SIZE > size {
        return Err(no_parquet(&format!("its footer claims {footer} bytes of {size}")));
    }
    let end = size - PARQUET_TAIL;
    Ok(end - footer..end)
}

fn check_size(size: u64) -> Result<()> {
    if size < MIN_SIZE { Err(no_parquet(&format!("{size} bytes are too few"))) } else { Ok(()) }
}

fn no_parquet(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("not a Parquet file: {what}"))
}

/// Reads the footer of a Parquet file in an object store, once, after the first 4 and the last 8 bytes of the file.
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt), saying what is wrong; [`Limit`](ErrorKind::Limit) for columns that nest too deeply; [`Io`](ErrorKind::Io) when
/// it cannot be read.
pub async fn read_parquet_footer(store: &dyn ObjectStore, meta: &ObjectMeta) -> Result<ParquetMetaData> {
    check_size(meta.size)?;
    let head = store.get_range(&meta.location, 0..4).await?;
    let tail = GetOptions::new().with_range(Some(GetRange::Suffix(PARQUET_TAIL)));
    let tail = store.get_opts(&meta.location, tail).await?.bytes().await?;
    let footer = check_parquet(meta.size, &head, &tail)?;
    decode_footer(&store.get_range(&meta.location, footer).await?)
}

/// Decodes a footer whose columns do not nest too deeply for that.
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt), [`Limit`](ErrorKind::Limit).
pub(crate) fn decode_footer(footer: &[u8]) -> Result<ParquetMetaData> {
    check_depth(footer)?;
    ParquetMetaDataReader::decode_metadata(footer)
        .map_err(|error| Error::new(ErrorKind::Corrupt, "the Parquet footer is not readable").with_source(error))
}

/// Checks what a footer says of its file, which has `size` bytes: the decoder takes places, lengths and counts as they are.
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt), saying what is wrong; [`Limit`](ErrorKind::Limit) for more columns than any memory is planned for.
pub fn check_metadata(metadata: &ParquetMetaData, size: u64) -> Result<()> {
    let broken = |what: String| Error::new(ErrorKind::Corrupt, format!("the Parquet footer is wrong: {what}"));
    // First of all: whatever follows costs something for each column.
    check_column_count(metadata.file_metadata().schema_descr().num_columns())?;
    let (mut rows, mut bytes) = (0, 0);
    for (number, group) in metadata.row_groups().iter().enumerate() {
        rows = plus(rows, group.num_rows())
            .filter(|rows| *rows <= MAX_ROWS)
            .ok_or_else(|| broken(format!("row group {number} has {} rows", group.num_rows())))?;
        for column in group.columns() {
            let of_column = |what: String| {
                broken(format!("{what}, in column '{}' of row group {number}", column.column_path().string()))
            };
            check_column(column, size).map_err(of_column)?;
            check_count(column, group.num_rows()).map_err(of_column)?;
            bytes = plus(bytes, column.uncompressed_size())
                .ok_or_else(|| of_column(format!("{} bytes of values", column.uncompressed_size())))?;
        }
    }
    let claimed = metadata.file_metadata().num_rows();
    if claimed != rows {
        return Err(broken(format!("{claimed} rows in the file, {rows} in its row groups")));
    }
    // The decoder of the Arrow schema that a footer may hold panics at whatever it does not expect, in too many places to look
    // for each beforehand. An error is no matter here: who decodes next tells of it.
    let decoded = catch_unwind(AssertUnwindSafe(|| {
        let file = metadata.file_metadata();
        if let Ok(schema) = parquet_to_arrow_schema(file.schema_descr(), file.key_value_metadata()) {
            drop(DFParquetMetadata::statistics_from_parquet_metadata(metadata, &Arc::new(schema)));
        }
    }));
    decoded.map_err(|_| broken("its schema or statistics cannot be decoded".to_owned()))
}

fn check_column(column: &ColumnChunkMetaData, size: u64) -> Result<(), String> {
    // What `byte_range` reads, which panics below zero.
    let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
    let length = column.compressed_size();
    let values = column.num_values();
    // Some writers put a chunk without a byte at 0.
    let first = if length == 0 { 0 } else { MAGIC.len() as i64 };
    let end = plus(start, length).and_then(|end| u64::try_from(end).ok());
    if start < first || end.is_none_or(|end| end > size) {
        return Err(format!("{length} bytes at {start} of {size}"));
    }
    if values < 0 {
        return Err(format!("{values} values"));
    }
    match column.statistics().and_then(|statistics| statistics.null_count_opt()) {
        Some(nulls) if i64::try_from(nulls).is_ok_and(|nulls| nulls <= values) => Ok(()),
        Some(nulls) => Err(format!("{nulls} nulls among {values} values")),
        None => Ok(()),
    }
}

/// Counts of rows are answered from footers: a column tells them once more. Of one that repeats, a row has one value or more.
fn check_count(column: &ColumnChunkMetaData, rows: i64) -> Result<(), String> {
    let values = column.num_values();
    let repeats = column.column_descr().max_rep_level() > 0;
    match (repeats, values.cmp(&rows)) {
        (_, Ordering::Equal) | (true, Ordering::Greater) => Ok(()),
        _ => Err(format!("{values} values in {rows} rows")),
    }
}

/// The sum, where `count` is a count and the sum a number.
fn plus(sum: i64, count: i64) -> Option<i64> {
    if count < 0 { None } else { sum.checked_add(count) }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use datafusion::arrow::array::{ArrayRef, Int64Array, ListArray, RecordBatch};
    use datafusion::arrow::datatypes::Int64Type;
    use datafusion::parquet::arrow::ArrowWriter;
    use datafusion::parquet::file::metadata::FileMetaData;

    use super::*;

    fn check(bytes: &[u8]) -> Result<Range<u64>> {
        check_parquet(bytes.len() as u64, bytes, bytes)
    }

    #[test]
    fn malformed_frames_are_refused() {
        for (bytes, says) in [
            (b"".as_slice(), "0 bytes are too few"),
            (b"PAR1PAR1", "8 bytes are too few"),
            (b"PAR1\x00\x00\x00\x00PAR1", "its footer claims 0 bytes of 12"),
            (b"PAR1x\x02\x00\x00\x00PAR1", "its footer claims 2 bytes of 13"),
            (b"PAR1x\xff\xff\xff\xffPAR1", "its footer claims 4294967295 bytes of 13"),
            (b"PAR1xxxxxxxxxxx", "does not end with PAR1"),
            (b"id,name\n1,one\n2,two\n", "does not start with PAR1"),
        ] {
            let error = check(bytes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.to_string().contains(says), "{error}");
        }
        for encrypted in [b"PARExx\x01\x00\x00\x00PARE".as_slice(), b"PAR1x\x01\x00\x00\x00PARE"] {
            let error = check(encrypted).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert_eq!(error.to_string(), "the Parquet file is encrypted");
        }
        assert_eq!(check(b"PARExx\x01\x00\x00\x00PAR1").unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn smallest_frame_passes() {
        assert_eq!(check(b"PAR1x\x01\x00\x00\x00PAR1").unwrap(), 4..5);
    }

    /// The footer of a file of three rows, whose row group and file claim to have `rows`.
    fn footer_of(column: ArrayRef, rows: i64) -> (ParquetMetaData, u64) {
        let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        let file = Bytes::from(writer.into_inner().unwrap());
        let metadata = ParquetMetaDataReader::new().parse_and_finish(&file).unwrap();
        let claims = metadata.file_metadata();
        let claims = FileMetaData::new(claims.version(), rows, None, None, claims.schema_descr_ptr(), None);
        let group = metadata.row_group(0).clone().into_builder().set_num_rows(rows).build().unwrap();
        (ParquetMetaData::new(claims, vec![group]), file.len() as u64)
    }

    #[test]
    fn row_counts_that_columns_do_not_have_are_refused() {
        let flat = || Arc::new(Int64Array::from(vec![Some(1), None, Some(3)])) as ArrayRef;
        let lists = || {
            let rows = vec![Some(vec![Some(1), Some(2)]), None, Some(Vec::new())];
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(rows)) as ArrayRef
        };
        for (column, rows) in [(flat(), 3), (lists(), 3)] {
            let (metadata, size) = footer_of(column, rows);
            check_metadata(&metadata, size).unwrap();
        }
        for (column, rows, says) in [
            (flat(), 2, "3 values in 2 rows, in column 'n' of row group 0"),
            (flat(), 4, "3 values in 4 rows, in column 'n' of row group 0"),
            (lists(), 5, "4 values in 5 rows, in column 'n.list.item' of row group 0"),
        ] {
            let (metadata, size) = footer_of(column, rows);
            let error = check_metadata(&metadata, size).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert_eq!(error.to_string(), format!("the Parquet footer is wrong: {says}"));
        }
        let (metadata, size) = footer_of(flat(), 3);
        let claims = metadata.file_metadata();
        let claims = FileMetaData::new(claims.version(), 4, None, None, claims.schema_descr_ptr(), None);
        let metadata = ParquetMetaData::new(claims, metadata.row_groups().to_vec());
        let error = check_metadata(&metadata, size).unwrap_err();
        assert_eq!(error.to_string(), "the Parquet footer is wrong: 4 rows in the file, 3 in its row groups");
    }
}
