//! A Parquet footer without bounds that would lie.
//!
//! Parquet leaves NaN out of a column's bounds, but `x > 100` is true of NaN: a reader that skips row groups and pages by such
//! bounds loses rows. A part that holds NaN gets its footer written anew, without the bounds of those columns.

use std::io::{self, Write};

use datafusion::parquet::errors::Result;
use datafusion::parquet::file::metadata::{ParquetMetaData, ParquetMetaDataWriter, RowGroupMetaData};
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
