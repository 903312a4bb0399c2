//! What a pond keeps with the versions of a structured file, [`PartAttributes`], and with the file itself, [`TableAttributes`].

use std::sync::{Arc, OnceLock};

use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Statistics};
use serde::{Deserialize, Serialize};
use tinyfs::Attributes;

use super::format::{PartFormat, ReaderOptions, Seen, format_named};
use super::{schema_text, stats_text};
use crate::error::{Error, ErrorKind, Result};

/// The `format` of a part that is a Parquet file.
pub const PARQUET: &str = "parquet";

const FORMAT: &str = "format";
const READER: &str = "reader";
const SCHEMA: &str = "schema";
const ROWS: &str = "rows";
const ORDER: &str = "order";
const STATS: &str = "stats";
const CHECKED: &str = "checked";

/// Which checks a text has passed that is marked as checked. Whoever adds one writes another number, and texts that were stored before are
/// checked when they are read.
const CHECKS: &str = "1";

/// One column of an order, as in `ORDER BY`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SortColumn {
    /// The column's name.
    pub column: String,
    /// `DESC`.
    pub descending: bool,
    /// `NULLS FIRST`.
    pub nulls_first: bool,
}

impl SortColumn {
    /// `column ASC NULLS LAST`, which is what a plain `ORDER BY column` means.
    pub fn ascending(column: impl Into<String>) -> Self {
        Self { column: column.into(), descending: false, nulls_first: false }
    }

    pub(crate) fn options(&self) -> SortOptions {
        SortOptions { descending: self.descending, nulls_first: self.nulls_first }
    }
}

/// What is known of the bytes of one version of a structured file: everything that planning needs.
#[derive(Debug, Clone)]
pub struct PartAttributes {
    /// The columns, without metadata.
    pub schema: SchemaRef,
    /// What the bytes are, and how they are read.
    pub(crate) format: PartFormat,
    /// The order of the rows; empty when it is not known.
    pub order: Vec<SortColumn>,
    rows: Precision<usize>,
    /// Empty until somebody asks: a statement about ten thousand files often wants nothing but their columns.
    statistics: OnceLock<Arc<Statistics>>,
    /// What they are read from, where they were not given.
    statistics_text: Option<Arc<str>>,
    /// Whether all that is known is what somebody else told.
    unopened: bool,
    seen: Seen,
}

impl PartialEq for PartAttributes {
    fn eq(&self, other: &Self) -> bool {
        let same = self.schema == other.schema
            && self.format == other.format
            && self.order == other.order
            && self.seen == other.seen
            && self.rows == other.rows;
        same && matches!((self.statistics(), other.statistics()), (Ok(own), Ok(others)) if own == others)
    }
}

impl PartAttributes {
    /// Attributes of a Parquet part without column statistics.
    ///
    /// # Errors
    /// [`Limit`](ErrorKind::Limit) when the row count does not fit this machine's integers.
    pub fn new(schema: SchemaRef, rows: u64) -> Result<Self> {
        Self::of_format(PartFormat::default(), schema, Some(rows))
    }

    /// Attributes of a part of any format, of which perhaps not even the number of rows is known.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(crate) fn of_format(format: PartFormat, schema: SchemaRef, rows: Option<u64>) -> Result<Self> {
        let rows = rows.map(usize::try_from).transpose();
        let rows =
            rows.map_err(|error| Error::new(ErrorKind::Limit, "too many rows for this machine").with_source(error))?;
        let rows = rows.map_or(Precision::Absent, Precision::Exact);
        let statistics = OnceLock::new();
        Ok(Self {
            schema,
            format,
            order: Vec::new(),
            rows,
            statistics,
            statistics_text: None,
            unopened: false,
            seen: Seen::Sample,
        })
    }

    /// How many rows there are, where that is known.
    pub fn rows(&self) -> Option<u64> {
        self.rows.get_value().and_then(|rows| u64::try_from(*rows).ok())
    }

    /// The same as a statistic.
    pub(crate) fn row_count(&self) -> Precision<usize> {
        self.rows
    }

    /// Per column of the schema: smallest and largest value, and how many are NULL; and how many rows there are. As far as known.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt), naming the column, when what was kept of them cannot be read.
    pub fn statistics(&self) -> Result<&Arc<Statistics>> {
        if let Some(known) = self.statistics.get() {
            return Ok(known);
        }
        let column_statistics = match &self.statistics_text {
            Some(text) => stats_text::decode(&self.schema, text)?,
            None => vec![ColumnStatistics::new_unknown(); self.schema.fields().len()],
        };
        Ok(self.statistics.get_or_init(|| Arc::new(self.of_columns(column_statistics))))
    }

    /// Whether anybody has asked for what is known of the columns.
    #[cfg(test)]
    pub(crate) fn has_read_statistics(&self) -> bool {
        self.statistics.get().is_some()
    }

    fn of_columns(&self, column_statistics: Vec<ColumnStatistics>) -> Statistics {
        Statistics { num_rows: self.rows, total_byte_size: Precision::Absent, column_statistics }
    }

    /// Sets the order of the rows.
    #[must_use]
    pub fn with_order(mut self, order: Vec<SortColumn>) -> Self {
        self.order = order;
        self
    }

    /// Sets the statistics of the columns, one for each of the schema.
    #[must_use]
    pub fn with_columns(mut self, columns: Vec<ColumnStatistics>) -> Self {
        self.statistics = OnceLock::from(Arc::new(self.of_columns(columns)));
        self
    }

    /// Says that nobody has looked at the file: it may lack columns or have them in other types, and is to be looked at before it is read.
    #[must_use]
    pub(crate) fn unopened(mut self) -> Self {
        self.unopened = true;
        self
    }

    /// Whether nobody has looked at the file.
    pub(crate) fn is_unopened(&self) -> bool {
        self.unopened
    }

    /// Says how much of the file was looked at.
    #[must_use]
    pub(crate) fn with_seen(mut self, seen: Seen) -> Self {
        self.seen = seen;
        self
    }

    /// How much of the file was looked at.
    pub(crate) fn seen(&self) -> Seen {
        self.seen
    }

    /// Whether these attributes are those of a structured file's version; a version without is bytes.
    pub fn is_table(attributes: &Attributes) -> bool {
        attributes.get(FORMAT).is_some()
    }

    /// Whether attributes are those of a Parquet file, and tell how many rows there are.
    pub(crate) fn is_counted_parquet(attributes: &Attributes) -> bool {
        Self::format_of(attributes) == Some(PARQUET) && attributes.get(ROWS).is_some()
    }

    /// The format that attributes name, whether this program knows it or not.
    pub(crate) fn format_of(attributes: &Attributes) -> Option<&str> {
        attributes.get(FORMAT).map(|format| &**format)
    }

    /// How many rows attributes tell of, where they do.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) for a text that is no number.
    pub(crate) fn rows_of(attributes: &Attributes) -> Result<Option<u64>> {
        attributes.get(ROWS).map(|text| read_rows(text)).transpose()
    }

    /// Writes them down.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) for a schema that cannot be kept.
    pub fn to_attributes(&self) -> Result<Attributes> {
        let mut pairs = vec![
            (FORMAT, self.format.name().to_owned()),
            (SCHEMA, schema_text::encode(&self.schema)?),
            (STATS, stats_text::encode(&self.schema, &self.statistics()?.column_statistics)?),
        ];
        if let Some(rows) = self.rows() {
            pairs.push((ROWS, rows.to_string()));
        }
        if !self.format.options.is_empty() {
            pairs.push((READER, self.format.options.to_text()?));
        }
        if !self.order.is_empty() {
            pairs.push((ORDER, encode_order(&self.order)?));
        }
        if self.seen == Seen::Whole {
            pairs.push((CHECKED, CHECKS.to_owned()));
        }
        Ok(pairs.into_iter().collect())
    }

    /// Reads what [`to_attributes`](Self::to_attributes) wrote.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt), naming the attribute; [`Unsupported`](ErrorKind::Unsupported) for a format this program does not know.
    pub fn parse(attributes: &Attributes) -> Result<Self> {
        Self::parse_with(attributes, |text| schema_text::decode(text))
    }

    pub(crate) fn parse_with(
        attributes: &Attributes,
        schema: impl FnOnce(&Arc<str>) -> Result<SchemaRef>,
    ) -> Result<Self> {
        let format = need(attributes, FORMAT)?;
        let format = format_named(format).ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, format!("this program does not read parts of format '{format}'"))
        })?;
        let options = attributes.get(READER).map(|text| ReaderOptions::from_text(text)).transpose()?;
        let format = PartFormat { format, options: options.unwrap_or_default() };
        let schema = schema(need(attributes, SCHEMA)?)?;
        // Of a Parquet file it is always known.
        let rows = match attributes.get(ROWS) {
            None if !format.format.is_parquet() => None,
            _ => Some(need(attributes, ROWS)?),
        };
        let rows = rows.map(|rows| read_rows(rows)).transpose()?;
        let order = attributes.get(ORDER).map(|text| decode_order(text, &schema)).transpose()?;
        let mut parsed = Self::of_format(format, schema, rows)?.with_order(order.unwrap_or_default());
        parsed.statistics_text = attributes.get(STATS).map(Arc::clone);
        if attributes.get(CHECKED).is_some_and(|checks| &**checks == CHECKS) {
            parsed.seen = Seen::Whole;
        }
        Ok(parsed)
    }
}

/// What `CREATE TABLE` declared, kept with the node: the schema that a file has before its first version, and the order its versions are sorted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableAttributes {
    /// The declared columns; a column that is not nullable refuses NULL.
    pub schema: SchemaRef,
    /// `ORDER BY` of the declaration; empty without one.
    pub order: Vec<SortColumn>,
}

impl TableAttributes {
    /// Writes them down, the schema as it is stored: text and bytes as views.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) for a schema that cannot be kept; [`Plan`](ErrorKind::Plan) for an order by a column that is not there.
    pub fn to_attributes(&self) -> Result<Attributes> {
        check_order(&self.order, &self.schema, ErrorKind::Plan)?;
        let schema = super::sink::stored_schema(&self.schema);
        let mut pairs = vec![(SCHEMA, schema_text::encode(&schema)?)];
        if !self.order.is_empty() {
            pairs.push((ORDER, encode_order(&self.order)?));
        }
        Ok(pairs.into_iter().collect())
    }

    /// Reads the attributes of a node; `None` when nothing was declared.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt), naming the attribute.
    pub fn parse(attributes: &Attributes) -> Result<Option<Self>> {
        Self::parse_with(attributes, |text| schema_text::decode(text))
    }

    pub(crate) fn parse_with(
        attributes: &Attributes,
        schema: impl FnOnce(&Arc<str>) -> Result<SchemaRef>,
    ) -> Result<Option<Self>> {
        let Some(text) = attributes.get(SCHEMA) else { return Ok(None) };
        let schema = schema(text)?;
        let order = attributes.get(ORDER).map(|text| decode_order(text, &schema)).transpose()?;
        Ok(Some(Self { schema, order: order.unwrap_or_default() }))
    }
}

fn need<'a>(attributes: &'a Attributes, name: &str) -> Result<&'a Arc<str>> {
    attributes.get(name).ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("the attribute '{name}' is missing")))
}

fn read_rows(text: &str) -> Result<u64> {
    text.parse().map_err(|error: std::num::ParseIntError| {
        Error::new(ErrorKind::Corrupt, format!("'{text}' is no row count")).with_source(error)
    })
}

fn encode_order(order: &[SortColumn]) -> Result<String> {
    serde_json::to_string(order)
        .map_err(|error| Error::new(ErrorKind::Unsupported, "the order cannot be written").with_source(error))
}

fn decode_order(text: &str, schema: &SchemaRef) -> Result<Vec<SortColumn>> {
    let order: Vec<SortColumn> = serde_json::from_str(text)
        .map_err(|error| Error::new(ErrorKind::Corrupt, "the order is not readable").with_source(error))?;
    check_order(&order, schema, ErrorKind::Corrupt)?;
    Ok(order)
}

fn check_order(order: &[SortColumn], schema: &SchemaRef, kind: ErrorKind) -> Result<()> {
    match order.iter().find(|column| schema.column_with_name(&column.column).is_none()) {
        Some(column) => {
            Err(Error::new(kind, format!("the order names a column '{}' that is not there", column.column)))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::common::ScalarValue;

    use super::*;

    fn attributes() -> PartAttributes {
        let schema = Arc::new(Schema::new(vec![
            Field::new("a", DataType::Int64, false),
            Field::new("b", DataType::Utf8View, true),
        ]));
        let mut a = ColumnStatistics::new_unknown();
        a.null_count = Precision::Exact(0);
        a.min_value = Precision::Exact(ScalarValue::Int64(Some(1)));
        a.max_value = Precision::Exact(ScalarValue::Int64(Some(9)));
        PartAttributes::new(schema, 10)
            .unwrap()
            .with_order(vec![SortColumn::ascending("a")])
            .with_columns(vec![a, ColumnStatistics::new_unknown()])
    }

    #[test]
    fn part_attributes_read_back() {
        let part = attributes();
        let text = part.to_attributes().unwrap();
        assert!(PartAttributes::is_table(&text));
        let parsed = PartAttributes::parse(&text).unwrap();
        assert!(!parsed.has_read_statistics());
        assert_eq!(parsed, part);
        assert!(parsed.has_read_statistics());
    }

    #[test]
    fn a_text_that_was_looked_at_is_so_again_where_there_are_new_checks() {
        let whole = attributes().with_seen(Seen::Whole).to_attributes().unwrap();
        assert_eq!(PartAttributes::parse(&whole).unwrap().seen(), Seen::Whole);
        for other in [attributes().to_attributes().unwrap(), whole.with(CHECKED, "0")] {
            assert_eq!(PartAttributes::parse(&other).unwrap().seen(), Seen::Sample);
        }
    }

    #[test]
    fn table_attributes_read_back() {
        let table = TableAttributes { schema: attributes().schema, order: vec![SortColumn::ascending("b")] };
        let text = table.to_attributes().unwrap();
        assert!(!PartAttributes::is_table(&text));
        assert_eq!(TableAttributes::parse(&text).unwrap(), Some(table));
        assert_eq!(TableAttributes::parse(&Attributes::default()).unwrap(), None);
    }

    #[test]
    fn malformed_attributes_name_what_is_wrong() {
        let good = attributes().to_attributes().unwrap();
        for (name, text, says) in [
            ("format", "orc", "format 'orc'"),
            ("rows", "-1", "'-1' is no row count"),
            ("rows", "", "'' is no row count"),
            ("order", r#"[{"column":"z","descending":false,"nulls_first":false}]"#, "column 'z'"),
            ("order", "a", "the order is not readable"),
            ("stats", "[]", "the statistics are not readable"),
            ("schema", "", "the schema is not readable"),
        ] {
            let parsed = PartAttributes::parse(&good.with(name, text));
            let error = parsed.and_then(|part| part.statistics().map(drop)).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
        let error = PartAttributes::parse(&Attributes::from_iter([("format", "parquet")])).unwrap_err();
        assert_eq!(error.to_string(), "the attribute 'schema' is missing");
    }
}
