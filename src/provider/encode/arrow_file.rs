//! Arrow IPC files.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::MetadataVersion;
use datafusion::arrow::ipc::writer::{FileWriter, IpcWriteOptions};
use datafusion::common::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use futures::TryStreamExt;
use futures::stream::{self, StreamExt};

use super::inner_types::{with_inner, with_types};
use super::parquet_file::size;
use super::text::cut;
use super::{ByteStream, hold};
use crate::error::{Error, ErrorKind, Result};

pub(super) fn encode(rows: SendableRecordBatchStream, held: MemoryReservation) -> Result<ByteStream> {
    let schema = without_dictionaries(&rows.schema());
    // Eight bytes after the magic are what the format says, and what readers that look for the schema there count on.
    let options = IpcWriteOptions::try_new(8, false, MetadataVersion::V5).map_err(failed)?;
    let writer = FileWriter::try_new_with_options(Vec::new(), &schema, options)
        .map_err(|error| Error::new(ErrorKind::Unsupported, "Arrow IPC has no such columns").with_source(error))?;
    let rows = cut(rows).boxed();
    let bytes = stream::try_unfold(Some((writer, rows, schema, held)), |state| async move {
        let Some((mut writer, mut rows, schema, held)) = state else { return Ok(None) };
        // What was given last time is its reader's.
        let _ = held.free();
        let batch = rows.try_next().await?;
        let more = batch.is_some();
        match batch {
            Some(batch) => {
                // The rows, copied where others share their buffers, and their bytes.
                hold(&held, 2 * size(&batch))?;
                writer.write(&conform(&batch, &schema).map_err(failed)?).map_err(failed)?;
            }
            None => writer.finish().map_err(failed)?,
        }
        // The writer counts offsets itself, so its buffer can be emptied at any time.
        let bytes = Bytes::from(std::mem::take(writer.get_mut()));
        held.resize(bytes.len());
        Ok(Some((bytes, more.then_some((writer, rows, schema, held)))))
    });
    Ok(bytes.boxed())
}

fn failed(error: ArrowError) -> Error {
    Error::from_datafusion(DataFusionError::from(error))
}

/// `schema` without dictionaries, wherever they are: a file has one for all batches, and those of a query change.
pub(crate) fn without_dictionaries(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(with_types(schema.fields(), plain)))
}

fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => plain(values),
        other => with_inner(other, plain),
    }
}

/// `batch` with the columns of `schema`, which is its own [`without_dictionaries`].
///
/// # Errors
/// What a dictionary says that has not the values it names.
pub(crate) fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let column = |(column, field): (&ArrayRef, &Arc<Field>)| -> Result<ArrayRef, ArrowError> {
        let column =
            if column.data_type() == field.data_type() { Arc::clone(column) } else { cast(column, field.data_type())? };
        // The buffers behind views may be shared by many batches, and each would be written with all of them.
        Ok(match column.data_type() {
            DataType::Utf8View => Arc::new(column.as_string_view().gc()),
            DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
            _ => column,
        })
    };
    let columns = batch.columns().iter().zip(schema.fields()).map(column).collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}
