//! A Parquet footer without bounds that would lie.
//!
//! Parquet leaves NaN out of a column's bounds, but `x > 100` is true of NaN: a reader that skips row groups and pages by such
//! bounds loses rows. A part that holds NaN gets its footer written anew, without the bounds of those columns; of a file that somebody
//! else wrote nobody knows, and its footer is read without them.

use std::io::{self, Write};

use datafusion::parquet::errors::Result;
use datafusion::parquet::file::metadata::{ParquetMetaData, ParquetMetaDataWriter, RowGroupMetaData};
use datafusion::parquet::file::page_index::column_index::ColumnIndexMetaData;
use datafusion::parquet::file::writer::TrackedWrite;

/// `metadata` without the bounds of the columns that `hidden` names, and without any of pages.
pub(crate) fn without_bounds(metadata: ParquetMetaData, hidden: impl Fn(&str) -> bool) -> Result<ParquetMetaData> {
    let mut builder = metadata.into_builder().set_column_index(None);
    let groups = builder.take_row_groups();
    let groups = groups.into_iter().map(|group| group_without_bounds(group, &hidden)).collect::<Result<_>>()?;
    Ok(builder.set_row_groups(groups).build())
}

fn group_without_bounds(group: RowGroupMetaData, hidden: &impl Fn(&str) -> bool) -> Result<RowGroupMetaData> {
    let columns = group.columns().iter().map(|column| {
        let name = column.column_path().parts().first().is_some_and(|name| hidden(name));
        let builder = column.clone().into_builder().set_column_index_offset(None).set_column_index_length(None);
        if name { builder.clear_statistics().build() } else { builder.build() }
    });
    let columns = columns.collect::<Result<_>>()?;
    group.into_builder().set_column_metadata(columns).build()
}

/// `metadata` for one who reads, without the bounds of the leaves that are `hidden`, by their place, and of their pages; and without
/// their bloom filters, to which 0 and -0 are two values, as they are not to a query.
pub(crate) fn hide_bounds(metadata: ParquetMetaData, hidden: &[bool]) -> Result<ParquetMetaData> {
    let is_hidden = |at: usize| hidden.get(at) == Some(&true);
    let mut builder = metadata.into_builder();
    let pages = builder.take_column_index().map(|groups| {
        let shown = |(at, pages)| if is_hidden(at) { ColumnIndexMetaData::NONE } else { pages };
        groups.into_iter().map(|columns| columns.into_iter().enumerate().map(shown).collect()).collect()
    });
    let mut groups = Vec::new();
    for group in builder.take_row_groups() {
        let mut group = group.into_builder();
        let columns = group.take_columns().into_iter().enumerate().map(|(at, column)| {
            if !is_hidden(at) {
                return Ok(column);
            }
            let builder = column.into_builder().clear_statistics();
            let builder = builder.set_column_index_offset(None).set_column_index_length(None);
            builder.set_bloom_filter_offset(None).set_bloom_filter_length(None).build()
        });
        let columns = columns.collect::<Result<_>>()?;
        groups.push(group.set_column_metadata(columns).build()?);
    }
    Ok(builder.set_column_index(pages).set_row_groups(groups).build())
}

/// The bytes of a footer that begins at `offset` of its file.
pub(crate) fn footer_bytes(metadata: &ParquetMetaData, offset: usize) -> Result<Vec<u8>> {
    let zeros = vec![0; offset.min(64 << 10)];
    let mut tail = Tail { skip: offset, bytes: Vec::new() };
    // The writer counts what goes through it, and that count is where the footer says that its indexes are.
    let mut tracked = TrackedWrite::new(&mut tail);
    let mut left = offset;
    while left > 0 {
        let piece = left.min(zeros.len());
        tracked.write_all(&zeros[..piece])?;
        left -= piece;
    }
    ParquetMetaDataWriter::new_with_tracked(tracked, metadata).finish()?;
    Ok(tail.bytes)
}

/// Keeps what is written after the first `skip` bytes.
struct Tail {
    skip: usize,
    bytes: Vec<u8>,
}

impl Write for Tail {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        self.bytes.extend_from_slice(&bytes[skipped..]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
    use datafusion::parquet::arrow::ArrowWriter;
    use datafusion::parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader};
    use datafusion::parquet::file::properties::WriterProperties;

    use super::*;

    #[test]
    fn bounds_are_hidden_of_one_column_and_its_pages() {
        let batch = RecordBatch::try_from_iter([
            ("n", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef),
            ("x", Arc::new(Float64Array::from(vec![1.0, f64::NAN])) as ArrayRef),
        ])
        .unwrap();
        let properties = WriterProperties::builder().set_bloom_filter_enabled(true).build();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        let file = Bytes::from(writer.into_inner().unwrap());
        for policy in [PageIndexPolicy::Skip, PageIndexPolicy::Required] {
            let mut reader = ParquetMetaDataReader::new().with_page_index_policy(policy);
            reader.try_parse(&file).unwrap();
            let hidden = hide_bounds(reader.finish().unwrap(), &[false, true]).unwrap();
            let bounded = |at: usize| {
                let column = hidden.row_group(0).column(at);
                let index = column.column_index_offset().is_some();
                (column.statistics().is_some(), index, column.bloom_filter_offset().is_some())
            };
            assert_eq!((bounded(0), bounded(1)), ((true, true, true), (false, false, false)));
            if let Some(pages) = hidden.column_index() {
                assert!(matches!(pages[0][0], ColumnIndexMetaData::INT64(_)));
                assert!(matches!(pages[0][1], ColumnIndexMetaData::NONE));
            }
            assert_eq!(hidden.column_index().is_some(), policy == PageIndexPolicy::Required);
        }
    }
}
