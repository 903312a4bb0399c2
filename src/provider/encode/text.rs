//! CSV, TSV, NDJSON and JSON: pieces of the rows are written apart from each other, and put one after the other.

use bytes::Bytes;
use datafusion::arrow::array::{RecordBatch, new_empty_array};
use datafusion::arrow::csv;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::WriterBuilder;
use datafusion::arrow::json::writer::{EncoderOptions, JsonArray, JsonFormat, LineDelimited, make_encoder};
use datafusion::common::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use futures::TryStreamExt;
use futures::stream::{self, Stream, StreamExt};

use super::parquet_file::size;
use super::{ByteStream, PIECE_BYTES, blocking, hold};
use crate::error::{Error, ErrorKind, Result};

type Write = fn(&RecordBatch) -> Result<Vec<u8>, ArrowError>;

pub(super) fn csv(rows: SendableRecordBatchStream, workers: usize, held: MemoryReservation) -> Result<ByteStream> {
    let header = header(&rows, b',', "CSV has no nested columns")?;
    Ok(one(header).chain(by_batch(rows, workers, held, |batch| separated(batch, false, b','))).boxed())
}

pub(super) fn tsv(rows: SendableRecordBatchStream, workers: usize, held: MemoryReservation) -> Result<ByteStream> {
    let header = header(&rows, b'\t', "TSV has no nested columns")?;
    Ok(one(header).chain(by_batch(rows, workers, held, |batch| separated(batch, false, b'\t'))).boxed())
}

fn header(rows: &SendableRecordBatchStream, delimiter: u8, refusal: &str) -> Result<Vec<u8>> {
    separated(&RecordBatch::new_empty(rows.schema()), true, delimiter)
        .map_err(|error| Error::new(ErrorKind::Unsupported, refusal).with_source(error))
}

/// Refuses columns that JSON has no place for, such as maps whose keys are no text.
///
/// # Errors
/// [`Unsupported`](ErrorKind::Unsupported), naming the column.
pub(crate) fn check_json(schema: &Schema) -> Result<()> {
    let options = EncoderOptions::default();
    for field in schema.fields() {
        // A writer that is given no rows looks at no column.
        let array = new_empty_array(field.data_type());
        make_encoder(field, &array, &options).map(drop).map_err(|error| {
            let message = format!("column '{}' has type {}, which JSON cannot hold", field.name(), field.data_type());
            Error::new(ErrorKind::Unsupported, message).with_source(error)
        })?;
    }
    Ok(())
}

pub(super) fn ndjson(rows: SendableRecordBatchStream, workers: usize, held: MemoryReservation) -> Result<ByteStream> {
    check_json(&rows.schema())?;
    Ok(by_batch(rows, workers, held, json_text::<LineDelimited>).boxed())
}

pub(super) fn json(rows: SendableRecordBatchStream, workers: usize, held: MemoryReservation) -> Result<ByteStream> {
    check_json(&rows.schema())?;
    let elements = by_batch(rows, workers, held, |batch| {
        let mut array = json_text::<JsonArray>(batch)?;
        // Its `[` becomes the comma to what is before, and its `]` goes.
        if let Some(first) = array.first_mut() {
            *first = b',';
        }
        let _ = array.pop();
        Ok(array)
    });
    let elements = elements.enumerate().map(|(at, bytes)| bytes.map(|bytes| bytes.slice(usize::from(at == 0)..)));
    Ok(one(b"[".to_vec()).chain(elements).chain(one(b"]\n".to_vec())).boxed())
}

/// The text of all rows in pieces, in their order, some being written at the same time.
fn by_batch(
    rows: SendableRecordBatchStream,
    workers: usize,
    held: MemoryReservation,
    write: Write,
) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    cut(rows)
        .map(move |batch| {
            let held = held.new_empty();
            async move {
                let batch = batch?;
                // The rows and their text, which is not known to be longer.
                hold(&held, 2 * size(&batch))?;
                blocking(move || {
                    let text = Bytes::from(write(&batch).map_err(DataFusionError::from)?);
                    held.resize(text.len());
                    Ok((text, held))
                })
                .await
            }
        })
        .buffered(workers)
        // What is handed on is its reader's.
        .map_ok(|(text, _held)| text)
}

/// The rows in batches of so many bytes that none becomes a large piece, however wide rows are. No batch is without rows.
pub(super) fn cut(rows: SendableRecordBatchStream) -> impl Stream<Item = Result<RecordBatch>> + Send + 'static {
    let cut = |batch: RecordBatch| {
        let (rows, pieces) = (batch.num_rows(), size(&batch).div_ceil(PIECE_BYTES).max(1));
        let step = rows.div_ceil(pieces).max(1);
        let starts = (0..rows).step_by(step);
        stream::iter(starts.map(move |at| Ok::<_, Error>(batch.slice(at, step.min(rows - at)))))
    };
    rows.map_err(Error::from).map_ok(cut).try_flatten()
}

fn one(bytes: Vec<u8>) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    stream::iter([Ok(Bytes::from(bytes))])
}

fn separated(batch: &RecordBatch, header: bool, delimiter: u8) -> Result<Vec<u8>, ArrowError> {
    let mut writer = csv::WriterBuilder::new().with_header(header).with_delimiter(delimiter).build(Vec::new());
    writer.write(batch)?;
    Ok(writer.into_inner())
}

/// NULL is kept as `null`, so that every column shows in every object.
fn json_text<F: JsonFormat>(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, F>(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    Ok(writer.into_inner())
}
