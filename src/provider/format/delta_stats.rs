//! What the log of a Delta table tells of a file, so that a file need not be opened to be left out or counted.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::Result;
use crate::provider::PartAttributes;

/// What times are cut to in a log, in microseconds.
const TIME_UNIT: i64 = 1000;

/// The statistics of a file, as its entry of the log has them.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct FileStats {
    num_records: Option<u64>,
    min_values: Option<Map<String, Value>>,
    max_values: Option<Map<String, Value>>,
    null_count: Option<Map<String, Value>>,
    /// `false` where rows were deleted after they were counted.
    tight_bounds: Option<bool>,
}

/// What is known of a file of a table with these columns by the `text` of its log; `None` where that does not even tell how many rows it has.
/// The file itself may lack columns, or have them in narrower types.
///
/// # Errors
/// [`Limit`](crate::ErrorKind::Limit) for more rows than this machine counts.
pub(super) fn known(schema: &SchemaRef, text: &str) -> Result<Option<PartAttributes>> {
    let stats: FileStats = match serde_json::from_str(text) {
        Ok(stats) => stats,
        Err(error) => {
            tracing::debug!(%error, "statistics of a Delta log that are not readable");
            return Ok(None);
        }
    };
    let (Some(rows), Some(true) | None) = (stats.num_records, stats.tight_bounds) else { return Ok(None) };
    let of = |values: &Option<Map<String, Value>>, name: &str| values.as_ref()?.get(name).cloned();
    let columns = schema.fields().iter().map(|field| {
        let mut column = ColumnStatistics::new_unknown();
        let (name, data_type) = (field.name(), field.data_type());
        if let Some(nulls) = of(&stats.null_count, name).and_then(|nulls| nulls.as_u64()).filter(|nulls| *nulls <= rows)
        {
            column.null_count = usize::try_from(nulls).map_or(Precision::Absent, Precision::Exact);
        }
        if let Some(min) = of(&stats.min_values, name) {
            column.min_value = bound(data_type, &min, 0);
        }
        if let Some(max) = of(&stats.max_values, name) {
            column.max_value = bound(data_type, &max, TIME_UNIT);
        }
        column
    });
    let columns = columns.collect();
    Ok(Some(PartAttributes::new(Arc::clone(schema), rows)?.with_columns(columns).unopened()))
}

/// A bound of a column; inexact where a log may cut it. Of numbers with a fraction there is none: what writers do with NaN and with digits differs.
fn bound(data_type: &DataType, value: &Value, cut: i64) -> Precision<ScalarValue> {
    let cast = |value: ScalarValue| value.cast_to(data_type).ok();
    let text = |value: &Value| cast(ScalarValue::Utf8(Some(value.as_str()?.to_owned())));
    let exact = match data_type {
        DataType::Boolean => value.as_bool().map(|value| ScalarValue::Boolean(Some(value))),
        DataType::Date32 => text(value),
        data_type if data_type.is_integer() => value.as_i64().and_then(|value| cast(ScalarValue::Int64(Some(value)))),
        _ => None,
    };
    if let Some(exact) = exact {
        return Precision::Exact(exact);
    }
    let inexact = match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => text(value),
        DataType::Timestamp(_, _) => match text(value) {
            Some(ScalarValue::TimestampMicrosecond(Some(time), zone)) => {
                time.checked_add(cut).map(|time| ScalarValue::TimestampMicrosecond(Some(time), zone))
            }
            _ => None,
        },
        _ => None,
    };
    inexact.map_or(Precision::Absent, Precision::Inexact)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{Field, Schema, TimeUnit};

    use super::*;

    fn schema() -> SchemaRef {
        let zone = Some("UTC".into());
        let columns = [
            ("n", DataType::Int32),
            ("d", DataType::Date32),
            ("t", DataType::Timestamp(TimeUnit::Microsecond, zone)),
            ("s", DataType::Utf8View),
            ("x", DataType::Float64),
        ];
        Arc::new(Schema::new(columns.map(|(name, data_type)| Field::new(name, data_type, true)).to_vec()))
    }

    #[test]
    fn counts_and_bounds_are_read() {
        let text = r#"{"numRecords":3,"minValues":{"n":-1,"d":"2024-01-01","t":"1970-01-01T00:00:00.001Z","s":"a","x":1.5},
            "maxValues":{"n":9,"d":"2024-01-02","t":"1970-01-01T00:00:00.002Z","s":"b","x":2.5},"nullCount":{"n":0,"d":1,"s":4}}"#;
        let known = known(&schema(), text).unwrap().unwrap();
        assert_eq!((known.rows(), known.is_unopened()), (Some(3), true));
        let columns = &known.statistics().unwrap().column_statistics;
        let bounds = |at: usize| (columns[at].min_value.clone(), columns[at].max_value.clone());
        let int = |value| Precision::Exact(ScalarValue::Int32(Some(value)));
        assert_eq!(bounds(0), (int(-1), int(9)));
        let date = |value| Precision::Exact(ScalarValue::Date32(Some(value)));
        assert_eq!(bounds(1), (date(19723), date(19724)));
        let time = |value| Precision::Inexact(ScalarValue::TimestampMicrosecond(Some(value), Some("UTC".into())));
        assert_eq!(bounds(2), (time(1000), time(3000)));
        let text = |value: &str| Precision::Inexact(ScalarValue::Utf8View(Some(value.to_owned())));
        assert_eq!(bounds(3), (text("a"), text("b")));
        assert_eq!(bounds(4), (Precision::Absent, Precision::Absent));
        let nulls: Vec<_> = columns.iter().map(|column| column.null_count).collect();
        let absent = Precision::Absent;
        assert_eq!(nulls, [Precision::Exact(0), Precision::Exact(1), absent, absent, absent]);
    }

    #[test]
    fn what_tells_no_count_is_not_believed() {
        for text in
            ["", "{}", r#"{"minValues":{"n":1}}"#, r#"{"numRecords":-1}"#, r#"{"numRecords":1,"tightBounds":false}"#]
        {
            assert!(known(&schema(), text).unwrap().is_none(), "{text}");
        }
        let known = known(&schema(), r#"{"numRecords":1,"minValues":{"n":"x","d":1},"maxValues":{"n":3000000000}}"#);
        let known = known.unwrap().unwrap();
        for column in &known.statistics().unwrap().column_statistics {
            assert_eq!(column, &ColumnStatistics::new_unknown());
        }
    }
}
