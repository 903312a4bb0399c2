//! CSV, TSV, NDJSON and JSON: batches are written apart from each other, and put one after the other.

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::csv;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::WriterBuilder;
use datafusion::arrow::json::writer::{JsonArray, JsonFormat, LineDelimited};
use datafusion::common::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use futures::stream::{self, Stream, StreamExt};

use super::{ByteStream, blocking};
use crate::error::{Error, ErrorKind, Result};

type Write = fn(&RecordBatch) -> Result<Vec<u8>, ArrowError>;

pub(super) fn csv(rows: SendableRecordBatchStream, workers: usize) -> Result<ByteStream> {
    let header = header(&rows, b',', "CSV has no nested columns")?;
    Ok(one(header).chain(by_batch(rows, workers, |batch| separated(batch, false, b','))).boxed())
}

pub(super) fn tsv(rows: SendableRecordBatchStream, workers: usize) -> Result<ByteStream> {
    let header = header(&rows, b'\t', "TSV has no nested columns")?;
    Ok(one(header).chain(by_batch(rows, workers, |batch| separated(batch, false, b'\t'))).boxed())
}

fn header(rows: &SendableRecordBatchStream, delimiter: u8, refusal: &str) -> Result<Vec<u8>> {
    separated(&RecordBatch::new_empty(rows.schema()), true, delimiter)
        .map_err(|error| Error::new(ErrorKind::Unsupported, refusal).with_source(error))
}

pub(super) fn ndjson(rows: SendableRecordBatchStream, workers: usize) -> ByteStream {
    by_batch(rows, workers, json_text::<LineDelimited>).boxed()
}

pub(super) fn json(rows: SendableRecordBatchStream, workers: usize) -> ByteStream {
    let elements = by_batch(rows, workers, |batch| {
        let mut array = json_text::<JsonArray>(batch)?;
        // Its `[` becomes the comma to what is before, and its `]` goes.
        if let Some(first) = array.first_mut() {
            *first = b',';
        }
        let _ = array.pop();
        Ok(array)
    });
    let elements = elements.enumerate().map(|(at, bytes)| bytes.map(|bytes| bytes.slice(usize::from(at == 0)..)));
    one(b"[".to_vec()).chain(elements).chain(one(b"]\n".to_vec())).boxed()
}

/// The text of each batch that has rows, in their order, some being written at the same time.
fn by_batch(
    rows: SendableRecordBatchStream,
    workers: usize,
    write: Write,
) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    rows.filter(|batch| std::future::ready(batch.as_ref().map_or(true, |batch| batch.num_rows() > 0)))
        .map(move |batch| async move {
            let batch = batch?;
            blocking(move || Ok(Bytes::from(write(&batch).map_err(DataFusionError::from)?))).await
        })
        .buffered(workers)
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
