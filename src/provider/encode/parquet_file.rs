//! Parquet files: row groups are cut by size, their columns encoded beside each other, and the groups written in their order.
//!
//! DataFusion's own sink does so with row groups of a million rows: text of a kilobyte each makes that a gigabyte. Groups that are
//! cut by their bytes have a bound.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, new_empty_array};
use datafusion::arrow::datatypes::{DataType, FieldRef, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use datafusion::parquet::errors::{ParquetError, Result as ParquetResult};
use datafusion::parquet::file::writer::SerializedFileWriter;
use futures::TryStreamExt;
use futures::stream::{self, StreamExt};

use super::super::schema_text::check_storable;
use super::super::sink::nullable;
use super::parquet_columns::properties;
use super::parquet_times::in_milliseconds;
use super::{ByteStream, PIECE_BYTES, blocking};
use crate::error::{Error, ErrorKind, Result};

/// The most rows of a row group.
const GROUP_ROWS: usize = 1 << 19;
/// How many bytes of rows make a row group: as many rows of a few numbers as other writers put into one. A few groups are in memory at once,
/// as rows and encoded, and the allocator keeps as much again for the next.
const GROUP_BYTES: usize = 4 << 20;
/// After so many groups they are twice as large, because a file has at most 32,767: these make some hundred gigabytes of rows.
const GROUPS_OF_A_SIZE: usize = 8192;
/// How many groups are encoded at the same time: when one has only its slowest column left, the next has begun.
const GROUPS: usize = 2;
/// A group of less is not cut short where memory is: a file has at most 32,767 groups.
const LEAST_GROUP_BYTES: usize = 1 << 20;

pub(super) fn encode(
    rows: SendableRecordBatchStream,
    workers: usize,
    reservation: MemoryReservation,
) -> Result<ByteStream> {
    let rows = in_milliseconds(rows);
    // A query's result declares nothing: what it says is never NULL may be.
    let schema = nullable(&rows.schema());
    // Before anything runs: what cannot be a file is told at once. The writer takes some columns that it then has no bytes for.
    check_storable(&schema)?;
    let _ = writer(&schema, None)?;
    let cutter = Cutter { rows, waiting: VecDeque::new(), cut: 0, reservation };
    let bytes = stream::once(begin(cutter, schema, workers)).try_flatten();
    Ok(bytes.boxed())
}

/// The bytes of the file, once its first rows are there: they tell how the columns are best written down.
async fn begin(mut cutter: Cutter, schema: SchemaRef, workers: usize) -> Result<ByteStream> {
    let first = cutter.next().await?;
    let (file, factory) = writer(&schema, first.as_ref())?;
    let factory = Arc::new(factory);
    let rest = stream::try_unfold(cutter, |mut cutter| async move {
        let group = cutter.next().await?;
        Ok::<_, Error>(group.map(|group| (group, cutter)))
    });
    let groups = stream::iter(first.map(Ok)).chain(rest);
    let groups = groups.enumerate().map(move |(at, group)| {
        let (factory, schema) = (Arc::clone(&factory), Arc::clone(&schema));
        async move { group?.encode(&factory, &schema, at, workers).await }
    });
    let groups = groups.buffered(GROUPS).boxed();
    let bytes = stream::try_unfold(Some((file, groups)), |state| async move {
        let Some((mut file, mut groups)) = state else { return Ok(None) };
        let group = groups.try_next().await?;
        let more = group.is_some();
        match group {
            Some(group) => group.write(&mut file).map_err(failed)?,
            None => file.finish().map(drop).map_err(failed)?,
        }
        let pieces = file.inner_mut().take().into_iter().map(Ok);
        Ok::<_, Error>(Some((stream::iter(pieces), more.then_some((file, groups)))))
    });
    Ok(bytes.try_flatten().boxed())
}

fn writer(
    schema: &SchemaRef,
    first: Option<&Group>,
) -> Result<(SerializedFileWriter<Pieces>, ArrowRowGroupWriterFactory)> {
    properties(schema, first.map(|first| first.batches.as_slice()).unwrap_or_default())
        .and_then(|properties| ArrowWriter::try_new(Pieces::default(), Arc::clone(schema), Some(properties)))
        .and_then(ArrowWriter::into_serialized_writer)
        .map_err(|error| Error::new(ErrorKind::Unsupported, "Parquet has no such columns").with_source(error))
}

fn failed(error: ParquetError) -> Error {
    Error::from_datafusion(error.into())
}

/// Cuts rows into groups.
struct Cutter {
    rows: SendableRecordBatchStream,
    /// What was read and is for the next group.
    waiting: VecDeque<RecordBatch>,
    /// How many groups there were.
    cut: usize,
    reservation: MemoryReservation,
}

impl Cutter {
    async fn next(&mut self) -> Result<Option<Group>> {
        let mut group = Group { batches: Vec::new(), rows: 0, bytes: 0, held: self.reservation.new_empty() };
        let most = GROUP_BYTES << (self.cut / GROUPS_OF_A_SIZE);
        self.cut += 1;
        while group.rows < GROUP_ROWS && group.bytes < most {
            let Some(mut batch) = self.read().await? else { break };
            let room = GROUP_ROWS - group.rows;
            if batch.num_rows() > room {
                self.waiting.push_front(batch.slice(room, batch.num_rows() - room));
                batch = batch.slice(0, room);
            }
            let bytes = size(&batch);
            if group.held.try_grow(bytes).is_err() {
                if group.bytes >= LEAST_GROUP_BYTES {
                    self.waiting.push_front(batch);
                    break;
                }
                // The rows are here already; too small a group would not give them back sooner.
                group.held.grow(bytes);
            }
            group.rows += batch.num_rows();
            group.bytes += bytes;
            group.batches.push(batch);
        }
        Ok((group.rows > 0).then_some(group))
    }

    async fn read(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(batch) = self.waiting.pop_front() {
            return Ok(Some(batch));
        }
        Ok(self.rows.try_next().await?)
    }
}

/// The rows of a row group.
struct Group {
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
    held: MemoryReservation,
}

impl Group {
    /// The row group with its columns encoded beside each other, so many at a time.
    async fn encode(
        self,
        factory: &ArrowRowGroupWriterFactory,
        schema: &SchemaRef,
        at: usize,
        workers: usize,
    ) -> Result<EncodedGroup> {
        let mut writers = factory.create_column_writers(at).map_err(failed)?.into_iter();
        let mut columns = Vec::with_capacity(schema.fields().len());
        for (at, field) in schema.fields().iter().enumerate() {
            let arrays: Vec<ArrayRef> = self.batches.iter().map(|batch| Arc::clone(batch.column(at))).collect();
            let leaves = compute_leaves(field, &new_empty_array(field.data_type())).map_err(failed)?.len();
            columns.push(Column { field: Arc::clone(field), arrays, writers: writers.by_ref().take(leaves).collect() });
        }
        drop(self.batches);
        let encoded = stream::iter(columns).map(|column| blocking(move || column.encode().map_err(failed)));
        let encoded: Vec<Vec<ArrowColumnChunk>> = encoded.buffered(workers).try_collect().await?;
        Ok(EncodedGroup { columns: encoded.into_iter().flatten().collect(), _held: self.held })
    }
}

/// A column of a row group that is to be encoded.
struct Column {
    field: FieldRef,
    arrays: Vec<ArrayRef>,
    /// One for each of its leaves.
    writers: Vec<ArrowColumnWriter>,
}

impl Column {
    fn encode(self) -> ParquetResult<Vec<ArrowColumnChunk>> {
        let Self { field, arrays, mut writers } = self;
        for array in arrays {
            for (leaf, writer) in compute_leaves(&field, &array)?.iter().zip(&mut writers) {
                writer.write(leaf)?;
            }
        }
        writers.into_iter().map(ArrowColumnWriter::close).collect()
    }
}

/// A row group as it is written.
struct EncodedGroup {
    columns: Vec<ArrowColumnChunk>,
    _held: MemoryReservation,
}

impl EncodedGroup {
    fn write(self, file: &mut SerializedFileWriter<Pieces>) -> ParquetResult<()> {
        let mut group = file.next_row_group()?;
        for column in self.columns {
            column.append_to_row_group(&mut group)?;
        }
        let _ = group.close()?;
        Ok(file.flush()?)
    }
}

/// Takes what a file's writer gives, in pieces of bounded size: one buffer that grows is copied again and again.
#[derive(Default)]
struct Pieces {
    done: Vec<Bytes>,
    open: Vec<u8>,
}

impl Pieces {
    /// What was written since the last time.
    fn take(&mut self) -> Vec<Bytes> {
        self.close();
        std::mem::take(&mut self.done)
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.done.push(std::mem::take(&mut self.open).into());
        }
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.open.capacity() - self.open.len() < bytes.len() {
            self.close();
            self.open = Vec::with_capacity(bytes.len().max(PIECE_BYTES));
        }
        self.open.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How many bytes the rows of a batch take. What its arrays hold in memory may be more, and shared with other batches.
pub(super) fn size(batch: &RecordBatch) -> usize {
    let column = |column: &ArrayRef| match column.data_type() {
        DataType::Utf8View => 16 * column.len() + column.as_string_view().total_buffer_bytes_used(),
        DataType::BinaryView => 16 * column.len() + column.as_binary_view().total_buffer_bytes_used(),
        _ => column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size()),
    };
    batch.columns().iter().map(column).sum()
}
