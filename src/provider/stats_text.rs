//! Column statistics as text.
//!
//! A JSON object by column: `{"ts":{"min":1,"max":9,"nulls":0}}`. The schema gives the type of `min` and `max`:
//! integers, dates and timestamps are numbers (of the type's unit), booleans are booleans, the rest are strings;
//! floats too, because their text must read back bit by bit. A bound that is only a bound is marked `"inexact":true`.

use std::collections::BTreeMap;

use datafusion::arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};

/// The longest text kept as a bound, in bytes.
pub(crate) const MAX_BOUND_BYTES: usize = 64;

#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Column {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nulls: Option<usize>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    inexact: bool,
}

/// Writes the statistics of the columns of `schema`.
///
/// # Errors
/// [`Unsupported`](ErrorKind::Unsupported) when JSON refuses, which it has no cause to.
pub(crate) fn encode(schema: &Schema, columns: &[ColumnStatistics]) -> Result<String> {
    let mut all = BTreeMap::new();
    for (field, statistics) in schema.fields().iter().zip(columns) {
        let mut column = Column { nulls: statistics.null_count.get_value().copied(), ..Column::default() };
        if let (Some(min), Some(max)) = (statistics.min_value.get_value(), statistics.max_value.get_value())
            && let (Some(low), Some(high)) = (to_json(min), to_json(max))
        {
            column.min = Some(low);
            column.max = Some(high);
            column.inexact = !(matches!(statistics.min_value, Precision::Exact(_))
                && matches!(statistics.max_value, Precision::Exact(_)));
        }
        let _ = all.insert(field.name().as_str(), column);
    }
    serde_json::to_string(&all)
        .map_err(|error| Error::new(ErrorKind::Unsupported, "the statistics cannot be written").with_source(error))
}

/// Reads what [`encode`] wrote. A column that is not in the text has no statistics.
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt), naming the column.
pub(crate) fn decode(schema: &Schema, text: &str) -> Result<Vec<ColumnStatistics>> {
    let mut all: BTreeMap<String, Column> = serde_json::from_str(text)
        .map_err(|error| Error::new(ErrorKind::Corrupt, "the statistics are not readable").with_source(error))?;
    let columns = schema
        .fields()
        .iter()
        .map(|field| {
            let mut statistics = ColumnStatistics::new_unknown();
            let Some(column) = all.remove(field.name()) else { return Ok(statistics) };
            let read = |value: Value| {
                from_json(field.data_type(), &value).ok_or_else(|| {
                    Error::new(
                        ErrorKind::Corrupt,
                        format!("the bound {value} of column '{}' is no {}", field.name(), field.data_type()),
                    )
                })
            };
            let precision = if column.inexact { Precision::Inexact } else { Precision::Exact };
            match (column.min, column.max) {
                (Some(min), Some(max)) => {
                    statistics.min_value = precision(read(min)?);
                    statistics.max_value = precision(read(max)?);
                }
                (None, None) => {}
                _ => {
                    return Err(Error::new(
                        ErrorKind::Corrupt,
                        format!("column '{}' has one bound without the other", field.name()),
                    ));
                }
            }
            if let Some(nulls) = column.nulls {
                statistics.null_count = Precision::Exact(nulls);
            }
            Ok(statistics)
        })
        .collect::<Result<_>>()?;
    match all.into_keys().next() {
        Some(column) => Err(Error::new(
            ErrorKind::Corrupt,
            format!("there are statistics of a column '{column}' that is not in the schema"),
        )),
        None => Ok(columns),
    }
}

/// Whether bounds of this type are kept.
pub(crate) fn keeps_bounds(data_type: &DataType) -> bool {
    data_type.is_integer()
        || matches!(
            data_type,
            DataType::Float32
                | DataType::Float64
                | DataType::Boolean
                | DataType::Date32
                | DataType::Date64
                | DataType::Timestamp(_, _)
                | DataType::Decimal128(_, _)
                | DataType::Utf8
                | DataType::LargeUtf8
                | DataType::Utf8View
        )
}

fn to_json(value: &ScalarValue) -> Option<Value> {
    match value {
        ScalarValue::Int8(value) => value.map(Value::from),
        ScalarValue::Int16(value) => value.map(Value::from),
        ScalarValue::Int32(value) | ScalarValue::Date32(value) => value.map(Value::from),
        ScalarValue::Int64(value)
        | ScalarValue::Date64(value)
        | ScalarValue::TimestampSecond(value, _)
        | ScalarValue::TimestampMillisecond(value, _)
        | ScalarValue::TimestampMicrosecond(value, _)
        | ScalarValue::TimestampNanosecond(value, _) => value.map(Value::from),
        ScalarValue::UInt8(value) => value.map(Value::from),
        ScalarValue::UInt16(value) => value.map(Value::from),
        ScalarValue::UInt32(value) => value.map(Value::from),
        ScalarValue::UInt64(value) => value.map(Value::from),
        ScalarValue::Boolean(value) => value.map(Value::from),
        ScalarValue::Float32(value) => value.map(|value| Value::from(value.to_string())),
        ScalarValue::Float64(value) => value.map(|value| Value::from(value.to_string())),
        ScalarValue::Decimal128(value, _, _) => value.map(|value| Value::from(value.to_string())),
        ScalarValue::Utf8(value) | ScalarValue::LargeUtf8(value) | ScalarValue::Utf8View(value) => {
            value.as_ref().filter(|text| text.len() <= MAX_BOUND_BYTES).map(|text| Value::from(text.as_str()))
        }
        _ => None,
    }
}

fn from_json(data_type: &DataType, value: &Value) -> Option<ScalarValue> {
    fn signed<T: TryFrom<i64>>(value: &Value) -> Option<T> {
        value.as_i64().and_then(|value| T::try_from(value).ok())
    }
    fn unsigned<T: TryFrom<u64>>(value: &Value) -> Option<T> {
        value.as_u64().and_then(|value| T::try_from(value).ok())
    }
    fn parsed<T: std::str::FromStr>(value: &Value) -> Option<T> {
        value.as_str().and_then(|text| text.parse().ok())
    }
    let text = || value.as_str().map(str::to_owned);
    let scalar = match data_type {
        DataType::Int8 => ScalarValue::Int8(Some(signed(value)?)),
        DataType::Int16 => ScalarValue::Int16(Some(signed(value)?)),
        DataType::Int32 => ScalarValue::Int32(Some(signed(value)?)),
        DataType::Int64 => ScalarValue::Int64(Some(signed(value)?)),
        DataType::UInt8 => ScalarValue::UInt8(Some(unsigned(value)?)),
        DataType::UInt16 => ScalarValue::UInt16(Some(unsigned(value)?)),
        DataType::UInt32 => ScalarValue::UInt32(Some(unsigned(value)?)),
        DataType::UInt64 => ScalarValue::UInt64(Some(unsigned(value)?)),
        DataType::Date32 => ScalarValue::Date32(Some(signed(value)?)),
        DataType::Date64 => ScalarValue::Date64(Some(signed(value)?)),
        DataType::Timestamp(unit, zone) => {
            let (value, zone) = (Some(signed(value)?), zone.clone());
            match unit {
                TimeUnit::Second => ScalarValue::TimestampSecond(value, zone),
                TimeUnit::Millisecond => ScalarValue::TimestampMillisecond(value, zone),
                TimeUnit::Microsecond => ScalarValue::TimestampMicrosecond(value, zone),
                TimeUnit::Nanosecond => ScalarValue::TimestampNanosecond(value, zone),
            }
        }
        DataType::Boolean => ScalarValue::Boolean(Some(value.as_bool()?)),
        DataType::Float32 => ScalarValue::Float32(Some(parsed(value)?)),
        DataType::Float64 => ScalarValue::Float64(Some(parsed(value)?)),
        DataType::Decimal128(precision, scale) => ScalarValue::Decimal128(Some(parsed(value)?), *precision, *scale),
        DataType::Utf8 => ScalarValue::Utf8(Some(text()?)),
        DataType::LargeUtf8 => ScalarValue::LargeUtf8(Some(text()?)),
        DataType::Utf8View => ScalarValue::Utf8View(Some(text()?)),
        _ => return None,
    };
    Some(scalar)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::Field;

    use super::*;

    fn bounds(min: ScalarValue, max: ScalarValue) -> ColumnStatistics {
        let mut column = ColumnStatistics::new_unknown();
        column.null_count = Precision::Exact(2);
        column.min_value = Precision::Exact(min);
        column.max_value = Precision::Exact(max);
        column
    }

    #[test]
    fn bounds_of_every_kept_type_read_back() {
        let columns = [
            bounds(ScalarValue::Int8(Some(-8)), ScalarValue::Int8(Some(7))),
            bounds(ScalarValue::Int64(Some(i64::MIN)), ScalarValue::Int64(Some(i64::MAX))),
            bounds(ScalarValue::UInt64(Some(0)), ScalarValue::UInt64(Some(u64::MAX))),
            bounds(ScalarValue::Float64(Some(0.1 + 0.2)), ScalarValue::Float64(Some(f64::INFINITY))),
            bounds(ScalarValue::Float32(Some(f32::MIN_POSITIVE)), ScalarValue::Float32(Some(1e30))),
            bounds(ScalarValue::Boolean(Some(false)), ScalarValue::Boolean(Some(true))),
            bounds(ScalarValue::Date32(Some(-1)), ScalarValue::Date32(Some(19000))),
            bounds(
                ScalarValue::TimestampMicrosecond(Some(-5), Some("UTC".into())),
                ScalarValue::TimestampMicrosecond(Some(1_700_000_000_000_000), Some("UTC".into())),
            ),
            bounds(ScalarValue::Decimal128(Some(i128::MIN / 7), 38, 4), ScalarValue::Decimal128(Some(12345), 38, 4)),
            bounds(ScalarValue::Utf8View(Some("a\"\\ü".into())), ScalarValue::Utf8View(Some("z".into()))),
        ];
        let schema = Schema::new(
            columns
                .iter()
                .enumerate()
                .map(|(at, column)| Field::new(at.to_string(), column.min_value.get_value().unwrap().data_type(), true))
                .collect::<Vec<_>>(),
        );
        let text = encode(&schema, &columns).unwrap();
        assert_eq!(decode(&schema, &text).unwrap(), columns);
    }

    #[test]
    fn long_text_is_dropped_and_inexact_is_kept() {
        let mut zero = bounds(ScalarValue::Float64(Some(-0.0)), ScalarValue::Float64(Some(0.0)));
        zero.min_value = zero.min_value.to_inexact();
        zero.max_value = zero.max_value.to_inexact();
        let long = bounds(ScalarValue::Utf8View(Some("a".into())), ScalarValue::Utf8View(Some("x".repeat(65))));
        let schema =
            Schema::new(vec![Field::new("z", DataType::Float64, true), Field::new("s", DataType::Utf8View, true)]);
        let text = encode(&schema, &[zero.clone(), long]).unwrap();
        assert_eq!(text, r#"{"s":{"nulls":2},"z":{"min":"-0","max":"0","nulls":2,"inexact":true}}"#);
        let read = decode(&schema, &text).unwrap();
        assert_eq!(read[0], zero);
        assert_eq!(read[1].min_value, Precision::Absent);
        assert_eq!(read[1].null_count, Precision::Exact(2));
    }

    #[test]
    fn malformed_text_is_an_error_that_names_the_column() {
        let schema = Schema::new(vec![Field::new("a", DataType::Int8, true)]);
        for (text, says) in [
            (r#"{"a":{"min":300,"max":1}}"#, "the bound 300 of column 'a' is no Int8"),
            (r#"{"a":{"min":3}}"#, "column 'a' has one bound"),
            (r#"{"b":{"nulls":3}}"#, "a column 'b' that is not in the schema"),
            (r#"{"a":{"nulls":-1}}"#, "the statistics are not readable"),
        ] {
            let error = decode(&schema, text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
