//! Times of whole seconds, for which Parquet has no type.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::arrow::error::ArrowError;
use datafusion::common::Result as DataFusionResult;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

use super::super::sink::nullable;
use super::inner_types::{with_inner, with_types};

/// `rows` with milliseconds in place of seconds, wherever they are: the writer makes plain whole numbers of seconds, and readers other
/// than Arrow's for Rust show those.
pub(crate) fn in_milliseconds(rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let given = rows.schema();
    if !has_seconds(&given) {
        return rows;
    }
    // What says that it is never NULL may be.
    let schema = nullable(&Arc::new(Schema::new(with_types(given.fields(), type_in_milliseconds))));
    let written = Arc::clone(&schema);
    // A time that is too far away is an error, and not NULL.
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let rows = rows.map(move |batch| -> DataFusionResult<RecordBatch> {
        let batch = batch?;
        let columns = batch.columns().iter().zip(written.fields()).map(|(column, field)| {
            if column.data_type() == field.data_type() {
                Ok(Arc::clone(column))
            } else {
                cast_with_options(column, field.data_type(), &options)
            }
        });
        let columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
        Ok(RecordBatch::try_new(Arc::clone(&written), columns)?)
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}

/// Whether a column has whole seconds somewhere in it.
pub(crate) fn has_seconds(schema: &Schema) -> bool {
    with_types(schema.fields(), type_in_milliseconds) != *schema.fields()
}

fn type_in_milliseconds(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Timestamp(TimeUnit::Second, zone) => DataType::Timestamp(TimeUnit::Millisecond, zone.clone()),
        DataType::Time32(TimeUnit::Second) => DataType::Time32(TimeUnit::Millisecond),
        other => with_inner(other, type_in_milliseconds),
    }
}
