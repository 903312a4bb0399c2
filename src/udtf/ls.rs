//! `pond_ls([glob] [, families => true])`: the entries of a pond.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, RecordBatch, RecordBatchOptions, StringArray, TimestampMicrosecondArray, UInt64Array,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::DataFusionError;
use futures::stream::{self, StreamExt};
use tinyfs::{Entry, EntryKind, Versions};

use crate::catalog::is_family;
use crate::error::Result;
use crate::provider::{FactoryChild, FileTable};
use crate::udtf::SystemTable;
use crate::udtf::system_table::{Batches, GlobArgument, Rows, Source, Subject};

pub(super) const TABLE: SystemTable =
    SystemTable { glob: GlobArgument::Optional, subject: Subject::Entries, schema, rows: Rows::Columns(rows) };

/// The type of all times in the listings.
pub(super) fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("path", DataType::Utf8, false),
        Field::new("name", DataType::Utf8, false),
        Field::new("kind", DataType::Utf8, false),
        Field::new("format", DataType::Utf8, true),
        Field::new("versions", DataType::UInt64, true),
        Field::new("rows", DataType::UInt64, true),
        Field::new("bytes", DataType::UInt64, true),
        Field::new("modified", timestamp(), false),
        Field::new("txn", DataType::UInt64, false),
    ]))
}

/// How many entries make a batch.
const BATCH_ROWS: usize = 8192;

fn rows(source: Source, columns: Arc<[usize]>) -> Batches {
    let starts = (0..source.matches.len()).step_by(BATCH_ROWS);
    stream::iter(starts.map(move |start| {
        let end = source.matches.len().min(start + BATCH_ROWS);
        list(&source.matches[start..end], &columns)
    }))
    .boxed()
}

fn list(entries: &[Entry], columns: &[usize]) -> Result<RecordBatch> {
    let schema = schema();
    let arrays = columns.iter().map(|at| column(schema.field(*at).name(), entries)).collect::<Result<Vec<_>>>()?;
    let schema = Arc::new(schema.project(columns).map_err(DataFusionError::from)?);
    let options = RecordBatchOptions::new().with_row_count(Some(entries.len()));
    Ok(RecordBatch::try_new_with_options(schema, arrays, &options).map_err(DataFusionError::from)?)
}

/// The values of one column. What only attributes tell is looked up for no other.
fn column(name: &str, entries: &[Entry]) -> Result<ArrayRef> {
    let kind = |entry: &Entry| match entry.kind() {
        EntryKind::DynamicDirectory => EntryKind::Dynamic.as_str(),
        EntryKind::View if is_family(&entry.node) => "family",
        kind => kind.as_str(),
    };
    Ok(match name {
        "path" => Arc::new(StringArray::from_iter_values(entries.iter().map(|entry| entry.path.as_str()))),
        "name" => Arc::new(StringArray::from_iter_values(entries.iter().map(|entry| entry.path.name().unwrap_or("/")))),
        "kind" => Arc::new(StringArray::from_iter_values(entries.iter().map(kind))),
        "format" => Arc::new(entries.iter().map(|entry| FileTable::format_of(&entry.node)).collect::<StringArray>()),
        "versions" => numbers(entries, |history| history.len() as u64),
        "rows" => {
            let rows = |entry: &Entry| FileTable::rows_of(&entry.path, &entry.node);
            Arc::new(entries.iter().map(rows).collect::<Result<UInt64Array>>()?)
        }
        "bytes" => {
            let bytes = |entry: &Entry| match entry.node.versions() {
                Some(history) => Ok(Some(history.content().iter().map(|version| version.part.size).sum())),
                None => Ok(FactoryChild::of(&entry.node)?.and_then(|child| child.size)),
            };
            Arc::new(entries.iter().map(bytes).collect::<Result<UInt64Array>>()?)
        }
        "modified" => {
            let times = entries.iter().map(|entry| entry.node.modified.timestamp_micros());
            Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_data_type(timestamp()))
        }
        _ => Arc::new(UInt64Array::from_iter_values(entries.iter().map(|entry| entry.node.txn.0))),
    })
}

/// A number for each file.
fn numbers(entries: &[Entry], number: impl Fn(&Versions) -> u64) -> ArrayRef {
    Arc::new(entries.iter().map(|entry| entry.node.versions().map(&number)).collect::<UInt64Array>())
}
