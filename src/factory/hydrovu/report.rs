//! The rows that `CALL pond_run` returns: one for each device.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampSecondArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::common::DataFusionError;

use super::device::Ending;
use super::run::DeviceResult;
use crate::error::Result;

/// The rows of a run; of a dry one, what it would have done.
pub(super) fn report(results: &[DeviceResult], dry_run: bool) -> Result<RecordBatch> {
    let number = |number: fn(&DeviceResult) -> u64| -> ArrayRef {
        Arc::new(results.iter().map(|result| i64::try_from(number(result)).ok()).collect::<Int64Array>())
    };
    let time = |time: fn((i64, i64)) -> i64| -> ArrayRef {
        let times = results.iter().map(|result| result.outcome.times.map(time));
        Arc::new(times.collect::<TimestampSecondArray>().with_timezone("+00:00"))
    };
    let time_type = DataType::Timestamp(TimeUnit::Second, Some("+00:00".into()));
    let columns: Vec<(&str, DataType, ArrayRef)> = vec![
        ("device", DataType::Utf8, Arc::new(StringArray::from_iter_values(results.iter().map(|result| &result.id)))),
        (
            "name",
            DataType::Utf8,
            Arc::new(results.iter().map(|result| result.name.as_deref()).collect::<StringArray>()),
        ),
        ("rows", DataType::Int64, number(|result| result.outcome.rows)),
        ("from_time", time_type.clone(), time(|(from, _)| from)),
        ("to_time", time_type, time(|(_, to)| to)),
        ("pages", DataType::Int64, number(|result| result.outcome.pages)),
        (
            "status",
            DataType::Utf8,
            Arc::new(StringArray::from_iter_values(results.iter().map(|result| status(result, dry_run)))),
        ),
        ("error", DataType::Utf8, Arc::new(results.iter().map(error).collect::<StringArray>())),
        ("skipped", DataType::Int64, number(|result| result.outcome.skips.total())),
    ];
    let fields: Vec<Field> =
        columns.iter().map(|(name, data_type, _)| Field::new(*name, data_type.clone(), true)).collect();
    let arrays = columns.into_iter().map(|(_, _, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(|error| DataFusionError::from(error).into())
}

fn status(result: &DeviceResult, dry_run: bool) -> &'static str {
    match &result.outcome.ending {
        Ending::Failed(_) => "failed",
        Ending::Limited => "more",
        Ending::Complete if dry_run => "dry run",
        Ending::Complete => "ok",
    }
}

/// Why it failed, and what was skipped, in words; `None` when there is nothing to say.
fn error(result: &DeviceResult) -> Option<String> {
    let skips = result.outcome.skips.to_string();
    match (result.failure(), skips.is_empty()) {
        (None, true) => None,
        (None, false) => Some(skips),
        (Some(error), true) => Some(error.to_string()),
        (Some(error), false) => Some(format!("{error}; {skips}")),
    }
}
