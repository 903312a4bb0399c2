//! [`write_part`]: a stream of batches becomes one Parquet part, in bounded memory, with its attributes.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::parquet::arrow::AsyncArrowWriter;
use datafusion::parquet::arrow::async_writer::AsyncFileWriter;
use datafusion::parquet::basic::Compression;
use datafusion::parquet::errors::{ParquetError, Result as ParquetResult};
use datafusion::parquet::file::properties::WriterProperties;
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt};
use tinyfs::{Attributes, Part, PersistenceLayer};

use super::attributes::{PartAttributes, SortColumn};
use super::footer::{footer_bytes, without_bounds};
use super::part_observer::PartObserver;
use super::sink::{nullable, stored_schema};
use crate::error::{Error, ErrorKind, Result};

/// The most rows of a row group: DataFusion's own number.
const ROW_GROUP_ROWS: usize = 1 << 20;
/// The most bytes of a row group, which the writer holds in memory.
const ROW_GROUP_BYTES: usize = 128 << 20;
/// Fewer rows than this are written without dictionaries and compression, whose tables take longer to set up than so few values to
/// write.
const FEW_ROWS: usize = 64;

/// How [`write_part`] writes.
#[derive(Debug, Clone, Default)]
pub struct WriteOptions {
    /// The columns to write, matched by position; one that is not nullable refuses NULL. `None`: those of the stream, all nullable,
    /// because a query's result declares nothing.
    pub schema: Option<SchemaRef>,
    /// The order that the rows come in, as [`physical_order`](super::physical_order) tells; it is taken on trust. Empty: not known.
    pub order: Vec<SortColumn>,
}

/// What [`write_part`] wrote.
#[derive(Debug)]
pub struct WrittenPart {
    /// The bytes.
    pub part: Part,
    /// What is known of them.
    pub attributes: Attributes,
    /// How many rows there are.
    pub rows: u64,
}

/// Writes all rows of `stream` as one part. Nothing sees the part until a commit names it.
///
/// # Errors
/// What the stream fails with; [`Execution`](ErrorKind::Execution) for a NULL in a column that refuses it; [`Unsupported`](ErrorKind::Unsupported)
/// for a column type that cannot be kept.
pub async fn write_part(
    stream: SendableRecordBatchStream,
    store: &Arc<dyn PersistenceLayer>,
    options: WriteOptions,
) -> Result<WrittenPart> {
    let schema = stored_schema(&options.schema.unwrap_or_else(|| nullable(&stream.schema())));
    let _ = super::schema_text::encode(&schema)?;
    super::schema_text::check_storable(&schema)?;
    let order = renamed(options.order, &stream.schema(), &schema);
    // It has ended when there is one batch, and is not to be asked again.
    let mut stream = stream.fuse();
    let (first, mut next) = (stream.try_next().await?, None);
    if first.is_some() {
        next = stream.try_next().await?;
    }
    let is_small = next.is_none() && first.as_ref().is_none_or(|rows| rows.num_rows() < FEW_ROWS);
    let properties = WriterProperties::builder()
        // Decodes about three times as fast as zstd, for files that are a quarter larger.
        .set_compression(if is_small { Compression::UNCOMPRESSED } else { Compression::SNAPPY })
        .set_dictionary_enabled(!is_small)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .build();
    let held = Held::default();
    let file = PartFile { writer: store.create_part().await?, handed: 0, held: held.clone() };
    let mut writer = AsyncArrowWriter::try_new(file, Arc::clone(&schema), Some(properties)).map_err(parquet_error)?;
    let mut observer = PartObserver::new(&schema, order);
    let begun = futures::stream::iter([first, next].into_iter().flatten().map(Ok));
    let mut rows = begun.chain(stream);
    while let Some(batch) = rows.try_next().await? {
        let batch = conform(&batch, &schema)?;
        observer.observe(&batch)?;
        writer.write(&batch).await.map_err(parquet_error)?;
    }
    writer.flush().await.map_err(parquet_error)?;
    // Where the footer begins. Rows before it may still be on their way: the writer buffers.
    let rows_end = writer.bytes_written();
    held.hold();
    let mut metadata = writer.finish().await.map_err(parquet_error)?;
    let PartFile { mut writer, handed, .. } = writer.into_inner();
    let mut tail = held.take();
    if observer.saw_nan() {
        metadata = without_bounds(metadata, |column| observer.saw_nan_in(column)).map_err(parquet_error)?;
        tail.truncate(rows_end.saturating_sub(handed));
        tail.extend_from_slice(&footer_bytes(&metadata, rows_end).map_err(parquet_error)?);
    }
    writer.write(tail.freeze()).await?;
    let part = writer.finish().await?;
    let rows = observer.rows();
    let attributes: PartAttributes = observer.finish(&metadata)?;
    Ok(WrittenPart { part, rows, attributes: attributes.to_attributes()? })
}

/// An order by the stream's column names, by those that are written. An order by names that are written already stays.
fn renamed(order: Vec<SortColumn>, from: &SchemaRef, to: &SchemaRef) -> Vec<SortColumn> {
    order
        .into_iter()
        .map_while(|column| {
            if to.index_of(&column.column).is_ok() {
                return Some(column);
            }
            let at = from.index_of(&column.column).ok()?;
            Some(SortColumn { column: to.fields().get(at)?.name().clone(), ..column })
        })
        .collect()
}

/// `batch` with the names and types of `schema`.
fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let arrow = |error| Error::from_datafusion(datafusion::common::DataFusionError::from(error));
    if batch.num_columns() != schema.fields().len() {
        return Err(Error::new(
            ErrorKind::Plan,
            format!("{} columns were given for {}", batch.num_columns(), schema.fields().len()),
        ));
    }
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (column, field) in batch.columns().iter().zip(schema.fields()) {
        if !field.is_nullable() && column.logical_null_count() > 0 {
            return Err(Error::new(
                ErrorKind::Execution,
                format!("column '{}' is NOT NULL and was given NULL", field.name()),
            ));
        }
        columns.push(match column.data_type() == field.data_type() {
            true => Arc::clone(column),
            false => cast(column, field.data_type()).map_err(arrow)?,
        });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(arrow)
}

fn parquet_error(error: ParquetError) -> Error {
    Error::from_datafusion(error.into())
}

/// Hands what the Parquet writer makes to the store, and keeps the end back.
struct PartFile {
    writer: Box<dyn tinyfs::PartWriter>,
    /// How many bytes the store was given.
    handed: usize,
    held: Held,
}

/// What the Parquet writer writes when it finishes. Shared, because it does not lend its file.
#[derive(Debug, Clone, Default)]
struct Held(Arc<Mutex<Option<BytesMut>>>);

impl Held {
    fn hold(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(BytesMut::new());
    }

    /// Whether `bytes` were kept.
    fn keeps(&self, bytes: &Bytes) -> bool {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.as_mut().map(|held| held.extend_from_slice(bytes)).is_some()
    }

    fn take(&self) -> BytesMut {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }
}

impl AsyncFileWriter for PartFile {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, ParquetResult<()>> {
        Box::pin(async move {
            if self.held.keeps(&bytes) {
                return Ok(());
            }
            self.handed += bytes.len();
            self.writer.write(bytes).await.map_err(|error| ParquetError::External(Box::new(error)))
        })
    }

    fn complete(&mut self) -> BoxFuture<'_, ParquetResult<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
