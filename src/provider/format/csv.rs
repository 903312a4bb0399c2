//! CSV and TSV: text in records and fields, matched by position, with names in its first line.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::config::CsvOptions;
use datafusion::datasource::physical_plan::{CsvSource, FileSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, case, cast, lit};
use datafusion::physical_expr::projection::{ProjectionExpr, ProjectionExprs};
use regex::Regex;

use super::checked::{Check, LineLengths, MAX_RECORD, Text, all};
use super::csv_dialect::{CutCheck, Dialect, Place, QuoteCheck, without_end};
use super::csv_times::{TimeCheck, with_zones};
use super::options::{COMPRESSION, INFERRED_RECORDS};
use super::sample::{Extent, SAMPLE_BYTES, SAMPLE_RECORDS, check_column_count, sample};
use super::{Description, FormatReader, ReaderOptions, Seen, SourceFile};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::schema_text::stored_type;

pub(super) const NULL_REGEX: &str = "null_regex";
const NEWLINES: &str = "newlines_in_values";

/// Reads fields that are separated by `delimiter`, unless the options have another.
pub(super) struct Csv {
    pub(super) delimiter: u8,
}

#[async_trait]
impl FormatReader for Csv {
    fn known_options(&self) -> &'static [&'static str] {
        &[
            "delimiter",
            "header",
            "quote",
            "escape",
            "comment",
            "terminator",
            NULL_REGEX,
            "truncated_rows",
            NEWLINES,
            COMPRESSION,
            INFERRED_RECORDS,
        ]
    }

    fn check_options(&self, options: &ReaderOptions) -> Result<()> {
        let _ = self.dialect(options)?;
        let _ = null_regex(options)?;
        let _ = options.flag(NEWLINES)?;
        let _ = options.compression()?;
        let _ = options.number(INFERRED_RECORDS)?;
        Ok(())
    }

    async fn describe(&self, file: &SourceFile<'_>, options: &ReaderOptions) -> Result<Description> {
        let dialect = self.dialect(options)?;
        let Extent { bytes, records } = Extent::of(file, options)?;
        let mut sample = sample(file, bytes, options.compression()?).await?;
        let found = dialect.walk(&sample.bytes);
        if sample.whole
            && let Some(line) = found.open_quote
        {
            return Err(without_end(Place::Line(line)));
        }
        if !sample.whole {
            let end = found.last_record.ok_or_else(|| {
                Error::new(ErrorKind::Limit, "its first record is longer than any memory is planned for")
            })?;
            sample.bytes.truncate(end);
        }
        let (inferred, read) = dialect
            .layout(null_regex(options)?.as_ref())?
            .infer_schema(sample.bytes.as_slice(), Some(records))
            .map_err(|error| Error::new(ErrorKind::Corrupt, "its records are not of one shape").with_source(error))?;
        check_column_count(inferred.fields().len())?;
        let inferred = with_zones(&inferred, dialect, &sample.bytes)?;
        let complete = sample.whole && read < records;
        let schema = Arc::new(Schema::new(named_once(&inferred, complete)));
        let mut description = Description::of_schema(schema, options);
        // A file that has such a value cannot be cut at any end of line.
        if found.newline_in_value && options.get(NEWLINES).is_none() {
            description.options = description.options.with(NEWLINES, "true");
        }
        // Nor can one that has it although it was said that there is none.
        let is_cut_wrong = found.newline_in_value && self.can_split(&description.options);
        if sample.whole && sample.bytes.len() <= MAX_RECORD && !is_cut_wrong {
            description.seen = Seen::Whole;
        }
        Ok(description)
    }

    fn source(&self, schema: &SchemaRef, options: &ReaderOptions) -> DfResult<Arc<dyn FileSource>> {
        let csv = self.csv_options(options)?;
        let Some(null) = null_regex(options)? else {
            let columns = TableSchema::from(Arc::clone(schema));
            return Ok(Arc::new(CsvSource::new(columns).with_csv_options(csv)));
        };
        // DataFusion knows the expression where it infers types, but not where it reads: what is to be NULL is read as text.
        let text = |field: &Arc<Field>| Field::new(field.name(), DataType::Utf8, true);
        let texts = Arc::new(Schema::new(schema.fields().iter().map(text).collect::<Vec<_>>()));
        let mut columns = Vec::with_capacity(schema.fields().len());
        for (at, field) in schema.fields().iter().enumerate() {
            // Text cannot be cast to it, and the column has no other value.
            if *field.data_type() == DataType::Null {
                columns.push(ProjectionExpr::new(lit(ScalarValue::Null), field.name()));
                continue;
            }
            let value: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), at));
            let is_null = BinaryExpr::new(Arc::clone(&value), Operator::RegexMatch, lit(null.as_str()));
            let kept = case(None, vec![(Arc::new(is_null), lit(ScalarValue::Utf8(None)))], Some(value))?;
            columns.push(ProjectionExpr::new(cast(kept, &texts, field.data_type().clone())?, field.name()));
        }
        let source = CsvSource::new(TableSchema::from(texts)).with_csv_options(csv);
        match source.try_pushdown_projection(&ProjectionExprs::new(columns))? {
            Some(source) => Ok(source),
            None => datafusion::common::internal_err!("a CSV source takes no projection"),
        }
    }

    fn check(&self, text: &Text<'_>) -> Result<Option<Box<dyn Check>>> {
        let dialect = self.dialect(text.options)?;
        let mut checks: Vec<Box<dyn Check>> = Vec::new();
        if text.may_be_long()? && ends_with_lines(text.options) {
            checks.push(Box::new(LineLengths::default()));
        }
        let is_packed = text.options.compression()?.is_compressed();
        // Of a file so small all was looked at for its columns.
        let is_seen = text.size < SAMPLE_BYTES as u64 && !is_packed;
        // Where it was said that there is nothing to find, a file is cut whatever was found.
        let is_told = text.options.flag(NEWLINES)? == Some(false);
        match text.range.clone() {
            Some(range) if !is_seen || is_told => checks.push(Box::new(CutCheck::new(dialect, range, text.size))),
            None if !is_seen => checks.push(Box::new(QuoteCheck::new(dialect))),
            _ => {}
        }
        // Nothing is behind the sample of a file so small.
        let records = text.options.number(INFERRED_RECORDS)?.unwrap_or(SAMPLE_RECORDS);
        let most = SAMPLE_BYTES.min(records.saturating_mul(2)) as u64;
        if let Some(check) = TimeCheck::of(dialect, text).filter(|_| is_packed || text.size >= most) {
            checks.push(Box::new(check));
        }
        Ok(all(checks))
    }

    fn can_split(&self, options: &ReaderOptions) -> bool {
        let unpacked = options.compression().is_ok_and(|compression| !compression.is_compressed());
        // Ranges are cut at line feeds. Where a comment has a quote, nothing tells which of them are within values.
        let comments = options.get("comment").is_some_and(|comment| !comment.is_empty());
        unpacked
            && !comments
            && ends_with_lines(options)
            && options.flag(NEWLINES).is_ok_and(|newlines| newlines != Some(true))
    }

    fn cuts_at_lines(&self) -> bool {
        true
    }
}

impl Csv {
    fn dialect(&self, options: &ReaderOptions) -> Result<Dialect> {
        Ok(Dialect {
            delimiter: options.character("delimiter")?.unwrap_or(self.delimiter),
            quote: options.character("quote")?.unwrap_or(b'"'),
            escape: options.character_if_any("escape")?,
            comment: options.character_if_any("comment")?,
            terminator: options.character_if_any("terminator")?,
            header: options.flag("header")?.unwrap_or(true),
            truncated_rows: options.flag("truncated_rows")?.unwrap_or(false),
        })
    }

    fn csv_options(&self, options: &ReaderOptions) -> Result<CsvOptions> {
        let dialect = self.dialect(options)?;
        Ok(CsvOptions {
            has_header: Some(dialect.header),
            delimiter: dialect.delimiter,
            quote: dialect.quote,
            escape: dialect.escape,
            comment: dialect.comment,
            terminator: dialect.terminator,
            truncated_rows: Some(dialect.truncated_rows),
            newlines_in_values: options.flag(NEWLINES)?,
            ..CsvOptions::default()
        })
    }
}

fn ends_with_lines(options: &ReaderOptions) -> bool {
    options.get("terminator").is_none_or(|end| matches!(end, "" | "\n" | "\\n"))
}

/// What a text is NULL by, besides being empty.
fn null_regex(options: &ReaderOptions) -> Result<Option<Regex>> {
    let Some(text) = options.get(NULL_REGEX).filter(|text| !text.is_empty()) else { return Ok(None) };
    let regex =
        Regex::new(text).map_err(|error| options.wrong(NULL_REGEX, "a regular expression").with_source(error))?;
    Ok(Some(regex))
}

/// The columns, each name once: a column without a name, or with one that was there before, gets its number with it.
///
/// A column without a value in the part that was looked at is NULL if that was all of the file, and may be anything otherwise.
fn named_once(inferred: &Schema, complete: bool) -> Vec<Field> {
    let mut taken: HashSet<String> = inferred.fields().iter().map(|field| field.name().clone()).collect();
    let mut seen = HashSet::new();
    let fields = inferred.fields().iter().zip(1..).map(|(field, number)| {
        let mut name = if field.name().is_empty() { format!("column_{number}") } else { field.name().clone() };
        if (field.name().is_empty() && taken.contains(&name)) || !seen.insert(name.clone()) {
            let base = name;
            name = (number..)
                .map(|number: usize| format!("{base}_{number}"))
                .find(|name| !taken.contains(name))
                .unwrap_or(base);
        }
        let _ = taken.insert(name.clone());
        let _ = seen.insert(name.clone());
        let data_type = match field.data_type() {
            DataType::Null if !complete => DataType::Utf8View,
            other => stored_type(other),
        };
        Field::new(name, data_type, true)
    });
    fields.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_unique() {
        let of = |names: &[&str]| {
            let fields: Vec<_> = names.iter().map(|name| Field::new(*name, DataType::Int64, true)).collect();
            let named = named_once(&Schema::new(fields), true);
            named.into_iter().map(|field| field.name().clone()).collect::<Vec<_>>()
        };
        assert_eq!(of(&["a", "a", "b"]), ["a", "a_2", "b"]);
        assert_eq!(of(&["", "x", ""]), ["column_1", "x", "column_3"]);
        assert_eq!(of(&["a", "a", "a_2"]), ["a", "a_3", "a_2"]);
        assert_eq!(of(&["", "column_1"]), ["column_1_1", "column_1"]);
    }

    #[test]
    fn a_column_without_values_is_text_where_more_may_come() {
        let schema = Schema::new(vec![Field::new("a", DataType::Null, true)]);
        assert_eq!(named_once(&schema, true)[0].data_type(), &DataType::Null);
        assert_eq!(named_once(&schema, false)[0].data_type(), &DataType::Utf8View);
    }

    #[test]
    fn what_cannot_be_cut_is_not() {
        let can =
            |name: &str, value: &str| Csv { delimiter: b',' }.can_split(&ReaderOptions::default().with(name, value));
        assert!(can("header", "false"));
        assert!(!can("compression", "gzip"));
        assert!(!can("newlines_in_values", "true"));
        assert!(!can("terminator", ";"));
        assert!(!can("comment", "#") && can("comment", ""));
    }
}
