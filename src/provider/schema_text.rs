//! Arrow schemas as text.
//!
//! A JSON list of columns, `[{"name":"ts","type":"Timestamp(µs, \"UTC\")","nullable":false}]`. A type is spelled as Arrow
//! displays and parses it: short, readable in any Delta reader, and free of Arrow's own serde formats, which may change.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalUnit, Schema, SchemaRef, UnionFields};
use datafusion::arrow::error::ArrowError;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Column<'a> {
    #[serde(borrow)]
    name: std::borrow::Cow<'a, str>,
    #[serde(rename = "type", borrow)]
    data_type: std::borrow::Cow<'a, str>,
    nullable: bool,
}

/// Writes `schema`, without its metadata.
///
/// # Errors
/// [`Unsupported`](ErrorKind::Unsupported) for a type whose text does not read back as the same type, and for two columns of one name.
pub(crate) fn encode(schema: &Schema) -> Result<String> {
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (at, field) in schema.fields().iter().enumerate() {
        if schema.fields()[..at].iter().any(|other| other.name() == field.name()) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("column '{}' is there twice: name each column once, with AS", field.name()),
            ));
        }
        let text = field.data_type().to_string();
        if text.parse::<DataType>().ok().as_ref() != Some(field.data_type()) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("column '{}' has type {text}, which a pond cannot keep", field.name()),
            ));
        }
        columns.push(Column { name: field.name().into(), data_type: text.into(), nullable: field.is_nullable() });
    }
    serde_json::to_string(&columns)
        .map_err(|error| Error::new(ErrorKind::Unsupported, "the schema cannot be written").with_source(error))
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt), naming what is wrong.
pub(crate) fn decode(text: &str) -> Result<SchemaRef> {
    let columns: Vec<Column<'_>> = serde_json::from_str(text)
        .map_err(|error| Error::new(ErrorKind::Corrupt, "the schema is not readable").with_source(error))?;
    let fields = columns
        .iter()
        .map(|column| {
            let data_type: DataType = column.data_type.parse().map_err(|error: ArrowError| {
                Error::new(ErrorKind::Corrupt, format!("the type of column '{}' is not readable", column.name))
                    .with_source(error)
            })?;
            Ok(Field::new(column.name.as_ref(), data_type, column.nullable))
        })
        .collect::<Result<Fields>>()?;
    Ok(Arc::new(Schema::new(fields)))
}

/// `schema` without metadata, at any depth: what a pond keeps of it.
pub(crate) fn without_metadata(schema: &SchemaRef) -> SchemaRef {
    if schema.metadata().is_empty() && schema.fields().iter().all(is_plain) {
        return Arc::clone(schema);
    }
    Arc::new(Schema::new(schema.fields().iter().map(plain).collect::<Fields>()))
}

/// `data_type` as it is stored: strings and bytes as views, which DataFusion reads fastest; run-end encoded columns as their values
/// and dictionaries of dictionaries as the inner ones, for Parquet has neither.
pub(crate) fn stored_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::RunEndEncoded(_, values) => stored_type(values.data_type()),
        DataType::Dictionary(_, values) if matches!(values.as_ref(), DataType::Dictionary(..)) => stored_type(values),
        other => other.clone(),
    }
}

/// Refuses columns that cannot be written to Parquet, as they are stored.
///
/// # Errors
/// [`Unsupported`](ErrorKind::Unsupported), naming the column.
pub(crate) fn check_storable(schema: &Schema) -> Result<()> {
    match schema.fields().iter().find(|field| !is_storable(&stored_type(field.data_type()))) {
        Some(field) => {
            let (name, data_type) = (field.name(), field.data_type());
            let message = format!(
                "column '{name}' has type {data_type}, which Parquet cannot hold; CAST(\"{name}\" AS VARCHAR) keeps it as text"
            );
            Err(Error::new(ErrorKind::Unsupported, message))
        }
        None => Ok(()),
    }
}

fn is_storable(data_type: &DataType) -> bool {
    match data_type {
        DataType::Interval(IntervalUnit::MonthDayNano) | DataType::RunEndEncoded(..) | DataType::Union(..) => false,
        DataType::List(inner)
        | DataType::LargeList(inner)
        | DataType::ListView(inner)
        | DataType::LargeListView(inner)
        | DataType::FixedSizeList(inner, _)
        | DataType::Map(inner, _) => is_storable(inner.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| is_storable(field.data_type())),
        DataType::Dictionary(_, values) => is_storable(values),
        _ => true,
    }
}

fn is_plain(field: &FieldRef) -> bool {
    field.metadata().is_empty() && !field.data_type().is_nested()
}

fn plain(field: &FieldRef) -> FieldRef {
    if is_plain(field) {
        return Arc::clone(field);
    }
    let all = |fields: &Fields| fields.iter().map(plain).collect::<Fields>();
    let data_type = match field.data_type() {
        DataType::List(inner) => DataType::List(plain(inner)),
        DataType::LargeList(inner) => DataType::LargeList(plain(inner)),
        DataType::ListView(inner) => DataType::ListView(plain(inner)),
        DataType::LargeListView(inner) => DataType::LargeListView(plain(inner)),
        DataType::FixedSizeList(inner, size) => DataType::FixedSizeList(plain(inner), *size),
        DataType::Struct(fields) => DataType::Struct(all(fields)),
        DataType::Map(entries, sorted) => DataType::Map(plain(entries), *sorted),
        DataType::RunEndEncoded(ends, values) => DataType::RunEndEncoded(plain(ends), plain(values)),
        DataType::Union(fields, mode) => {
            DataType::Union(fields.iter().map(|(id, field)| (id, plain(field))).collect::<UnionFields>(), *mode)
        }
        other => other.clone(),
    };
    Arc::new(Field::new(field.name(), data_type, field.is_nullable()))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::TimeUnit;

    use super::*;

    #[test]
    fn what_parquet_lacks_is_stored_plainly_or_refused() {
        let runs = |values| {
            let ends = Arc::new(Field::new("run_ends", DataType::Int32, false));
            DataType::RunEndEncoded(ends, Arc::new(Field::new("values", values, true)))
        };
        let dictionary = |keys, values| DataType::Dictionary(Box::new(keys), Box::new(values));
        let inner = dictionary(DataType::UInt8, DataType::Utf8);
        assert_eq!(stored_type(&runs(DataType::Utf8)), DataType::Utf8View);
        assert_eq!(stored_type(&dictionary(DataType::Int32, inner.clone())), inner);
        let interval = DataType::Interval(IntervalUnit::MonthDayNano);
        let field = |data_type| Field::new("i", data_type, true);
        let pair = Fields::from(vec![field(DataType::Int8), field(interval.clone())]);
        for data_type in [interval.clone(), runs(interval.clone()), DataType::Struct(pair)] {
            let error = check_storable(&Schema::new(vec![field(data_type)])).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("column 'i' has type "), "{error}");
        }
        for data_type in [DataType::Interval(IntervalUnit::DayTime), runs(DataType::Int8), inner] {
            check_storable(&Schema::new(vec![field(data_type)])).unwrap();
        }
    }

    #[test]
    fn every_common_type_reads_back() {
        let item = |data_type| Arc::new(Field::new("item", data_type, true));
        let types = [
            DataType::Boolean,
            DataType::Int8,
            DataType::UInt64,
            DataType::Float16,
            DataType::Float64,
            DataType::Utf8View,
            DataType::BinaryView,
            DataType::FixedSizeBinary(16),
            DataType::Date32,
            DataType::Time64(TimeUnit::Nanosecond),
            DataType::Timestamp(TimeUnit::Microsecond, None),
            DataType::Timestamp(TimeUnit::Nanosecond, Some("Europe/Berlin".into())),
            DataType::Timestamp(TimeUnit::Second, Some("+00:00".into())),
            DataType::Interval(IntervalUnit::MonthDayNano),
            DataType::Duration(TimeUnit::Millisecond),
            DataType::Decimal128(38, -3),
            DataType::Decimal256(76, 10),
            DataType::Dictionary(Box::new(DataType::UInt16), Box::new(DataType::Utf8)),
            DataType::List(item(DataType::Float32)),
            DataType::FixedSizeList(item(DataType::Float32), 3),
            DataType::Struct(Fields::from(vec![
                Field::new("a b", DataType::Int8, false),
                Field::new("c", DataType::Utf8View, true),
            ])),
            DataType::Null,
        ];
        let schema = Schema::new(
            types
                .into_iter()
                .enumerate()
                .map(|(at, data_type)| Field::new(format!("c\"{at}"), data_type, at % 2 == 0))
                .collect::<Fields>(),
        );
        let text = encode(&schema).unwrap();
        assert_eq!(*decode(&text).unwrap(), schema);
    }

    #[test]
    fn text_is_readable() {
        let schema = Schema::new(vec![Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, None), false)]);
        assert_eq!(encode(&schema).unwrap(), r#"[{"name":"ts","type":"Timestamp(µs)","nullable":false}]"#);
    }

    #[test]
    fn malformed_text_is_an_error_that_names_what() {
        for (text, says) in [
            ("{}", "the schema is not readable"),
            (r#"[{"name":"a","type":"Int32"}]"#, "missing field `nullable`"),
            (r#"[{"name":"a","type":"Int99","nullable":true}]"#, "the type of column 'a' is not readable"),
        ] {
            let error = decode(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn metadata_goes_at_any_depth() {
        let meta = [("k".to_owned(), "v".to_owned())];
        let inner = Field::new("item", DataType::Int32, true).with_metadata(meta.clone().into());
        let schema = Arc::new(Schema::new_with_metadata(
            vec![Field::new("a", DataType::List(Arc::new(inner)), true).with_metadata(meta.clone().into())],
            meta.into(),
        ));
        let plain = Schema::new(vec![Field::new("a", DataType::new_list(DataType::Int32, true), true)]);
        assert_eq!(*without_metadata(&schema), plain);
    }
}
