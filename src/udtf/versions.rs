//! `pond_versions(glob)`: the history of files.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringBuilder, TimestampMicrosecondBuilder, UInt64Builder};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::{DataFusionError, ScalarValue};
use futures::stream::{self, StreamExt};

use crate::error::{Error, Result};
use crate::provider::PartAttributes;
use crate::udtf::SystemTable;
use crate::udtf::ls::timestamp;
use crate::udtf::system_table::{Batches, GlobArgument, Rows, Source, Subject};

pub(super) const TABLE: SystemTable =
    SystemTable { glob: GlobArgument::Required, subject: Subject::Contents, schema, rows: Rows::Whole(rows) };

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("path", DataType::Utf8, false),
        Field::new("version", DataType::UInt64, false),
        Field::new("mode", DataType::Utf8, false),
        Field::new("rows", DataType::UInt64, true),
        Field::new("bytes", DataType::UInt64, false),
        Field::new("blake3", DataType::Utf8, true),
        Field::new("min_time", timestamp(), true),
        Field::new("max_time", timestamp(), true),
        Field::new("txn", DataType::UInt64, false),
        Field::new("modified", timestamp(), false),
    ]))
}

fn rows(source: Source) -> Batches {
    stream::once(async move { list(&source) }).boxed()
}

fn list(source: &Source) -> Result<RecordBatch> {
    let (mut path, mut mode, mut blake3) = (StringBuilder::new(), StringBuilder::new(), StringBuilder::new());
    let (mut number, mut rows, mut bytes, mut txn) =
        (UInt64Builder::new(), UInt64Builder::new(), UInt64Builder::new(), UInt64Builder::new());
    let new_time = || TimestampMicrosecondBuilder::new().with_data_type(timestamp());
    let (mut min_time, mut max_time, mut modified) = (new_time(), new_time(), new_time());
    for entry in source.matches.iter() {
        let Some(history) = entry.node.versions() else { continue };
        for version in history.iter() {
            path.append_value(entry.path.as_str());
            number.append_value(version.number);
            mode.append_value(version.mode.as_str());
            bytes.append_value(version.part.size);
            blake3.append_value(version.part.hash.to_hex());
            txn.append_value(version.txn.0);
            modified.append_value(version.modified.timestamp_micros());
            if PartAttributes::is_table(&version.attributes) {
                let part = source.pond.attributes.part(&entry.path, entry.node.id, version)?;
                let named = |error: Error| error.with_path(&entry.path).with_version(version.number);
                let (first, last) = event_time(&part).map_err(named)?;
                rows.append_option(part.rows());
                min_time.append_option(first);
                max_time.append_option(last);
            } else {
                rows.append_null();
                min_time.append_null();
                max_time.append_null();
            }
        }
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(path.finish()),
        Arc::new(number.finish()),
        Arc::new(mode.finish()),
        Arc::new(rows.finish()),
        Arc::new(bytes.finish()),
        Arc::new(blake3.finish()),
        Arc::new(min_time.finish()),
        Arc::new(max_time.finish()),
        Arc::new(txn.finish()),
        Arc::new(modified.finish()),
    ];
    Ok(RecordBatch::try_new(schema(), columns).map_err(DataFusionError::from)?)
}

/// The range of the event time, in microseconds: the bounds of the leading sort column if that is a timestamp, else of
/// the first timestamp column.
fn event_time(part: &PartAttributes) -> Result<(Option<i64>, Option<i64>)> {
    let schema = &part.schema;
    let is_time = |index: &usize| matches!(schema.field(*index).data_type(), DataType::Timestamp(_, _));
    let sorted = part.order.first().and_then(|column| schema.index_of(&column.column).ok()).filter(is_time);
    let Some(index) = sorted.or_else(|| (0..schema.fields().len()).find(is_time)) else { return Ok((None, None)) };
    let bounds = &part.statistics()?.column_statistics[index];
    Ok((microseconds(bounds.min_value.get_value())?, microseconds(bounds.max_value.get_value())?))
}

fn microseconds(value: Option<&ScalarValue>) -> Result<Option<i64>> {
    let Some(value) = value else { return Ok(None) };
    match value.cast_to(&DataType::Timestamp(TimeUnit::Microsecond, None))? {
        ScalarValue::TimestampMicrosecond(time, _) => Ok(time),
        _ => Ok(None),
    }
}
