//! Parquet files: row groups are cut by size, encoded beside each other, and written in their order.
//!
//! DataFusion's own sink encodes columns beside each other, of one row group of a million rows: text of a kilobyte each makes that a
//! gigabyte. Groups that are cut by their bytes have a bound.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory, compute_leaves};
use datafusion::parquet::basic::Compression;
use datafusion::parquet::errors::{ParquetError, Result as ParquetResult};
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::parquet::file::writer::SerializedFileWriter;
use futures::TryStreamExt;
use futures::stream::{self, StreamExt};

use super::super::sink::nullable;
use super::{ByteStream, blocking};
use crate::error::{Error, ErrorKind, Result};

/// The most rows of a row group.
const GROUP_ROWS: usize = 1 << 19;
/// How many bytes of rows make a row group. A few groups are in memory at once, as rows and encoded.
const GROUP_BYTES: usize = 16 << 20;
/// A group of less is not cut short where memory is: a file has at most 32,767 groups.
const LEAST_GROUP_BYTES: usize = 1 << 20;

pub(super) fn encode(
    rows: SendableRecordBatchStream,
    workers: usize,
    pool: &Arc<dyn MemoryPool>,
) -> Result<ByteStream> {
    // A query's result declares nothing: what it says is never NULL may be.
    let schema = nullable(&rows.schema());
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let (file, factory) = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties))
        .and_then(ArrowWriter::into_serialized_writer)
        .map_err(|error| Error::new(ErrorKind::Unsupported, "Parquet has no such columns").with_source(error))?;
    let cutter =
        Cutter { rows, waiting: VecDeque::new(), reservation: MemoryConsumer::new("Parquet bytes").register(pool) };
    let (factory, schema) = (Arc::new(factory), schema);
    let groups = stream::try_unfold(cutter, |mut cutter| async move {
        let group = cutter.next().await?;
        Ok::<_, Error>(group.map(|group| (group, cutter)))
    });
    let groups = groups
        .enumerate()
        .map(move |(at, group)| {
            let (factory, schema) = (Arc::clone(&factory), Arc::clone(&schema));
            async move {
                let group = group?;
                blocking(move || group.encode(&factory, &schema, at).map_err(failed)).await
            }
        })
        .buffered(workers)
        .boxed();
    let bytes = stream::try_unfold(Some((file, groups)), |state| async move {
        let Some((mut file, mut groups)) = state else { return Ok(None) };
        let group = groups.try_next().await?;
        let more = group.is_some();
        match group {
            Some(group) => group.write(&mut file).map_err(failed)?,
            None => file.finish().map(drop).map_err(failed)?,
        }
        let bytes = Bytes::from(std::mem::take(file.inner_mut()));
        Ok(Some((bytes, more.then_some((file, groups)))))
    });
    Ok(bytes.boxed())
}

fn failed(error: ParquetError) -> Error {
    Error::from_datafusion(error.into())
}

/// Cuts rows into groups.
struct Cutter {
    rows: SendableRecordBatchStream,
    /// What was read and is for the next group.
    waiting: VecDeque<RecordBatch>,
    reservation: MemoryReservation,
}

impl Cutter {
    async fn next(&mut self) -> Result<Option<Group>> {
        let mut group = Group { batches: Vec::new(), rows: 0, bytes: 0, held: self.reservation.new_empty() };
        while group.rows < GROUP_ROWS && group.bytes < GROUP_BYTES {
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
    fn encode(
        self,
        factory: &ArrowRowGroupWriterFactory,
        schema: &SchemaRef,
        at: usize,
    ) -> ParquetResult<EncodedGroup> {
        let mut writers = factory.create_column_writers(at)?;
        for batch in self.batches {
            let mut leaves = writers.iter_mut();
            for (field, column) in schema.fields().iter().zip(batch.columns()) {
                for leaf in compute_leaves(field, column)? {
                    let writer = leaves.next().ok_or_else(|| ParquetError::General("a column too many".into()))?;
                    writer.write(&leaf)?;
                }
            }
        }
        let columns = writers.into_iter().map(|writer| writer.close()).collect::<ParquetResult<_>>()?;
        Ok(EncodedGroup { columns, _held: self.held })
    }
}

/// A row group as it is written.
struct EncodedGroup {
    columns: Vec<ArrowColumnChunk>,
    _held: MemoryReservation,
}

impl EncodedGroup {
    fn write(self, file: &mut SerializedFileWriter<Vec<u8>>) -> ParquetResult<()> {
        let mut group = file.next_row_group()?;
        for column in self.columns {
            column.append_to_row_group(&mut group)?;
        }
        let _ = group.close()?;
        Ok(file.flush()?)
    }
}

/// How many bytes the rows of a batch take. What its arrays hold in memory may be more, and shared with other batches.
fn size(batch: &RecordBatch) -> usize {
    let column = |column: &ArrayRef| match column.data_type() {
        DataType::Utf8View => 16 * column.len() + column.as_string_view().total_buffer_bytes_used(),
        DataType::BinaryView => 16 * column.len() + column.as_binary_view().total_buffer_bytes_used(),
        _ => column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size()),
    };
    batch.columns().iter().map(column).sum()
}
