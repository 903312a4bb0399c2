//! CSV and TSV: text in records and fields, matched by position, with names in its first line.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::csv::reader::Format as Layout;
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

use super::options::{COMPRESSION, INFERRED_RECORDS};
use super::sample::{SAMPLE_RECORDS, check_column_count, sample};
use super::{Description, FormatReader, ReaderOptions, SourceFile};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::schema_text::stored_type;

pub(super) const NULL_REGEX: &str = "null_regex";
const NEWLINES: &str = "newlines_in_values";

/// Reads fields that are separated by `delimiter`, unless the options have another.
pub(super) struct Csv {
    pub(super) delimiter: u8,
}

/// How the text is laid out, from the options.
struct Dialect {
    delimiter: u8,
    quote: u8,
    escape: Option<u8>,
    comment: Option<u8>,
    terminator: Option<u8>,
    header: bool,
    truncated_rows: bool,
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
        let mut sample = sample(file, options.compression()?).await?;
        let found = dialect.walk(&sample.bytes);
        if sample.whole && found.open_quote {
            let message = "a value in quotes has no end: was it cut short? The option 'quote' says what quotes are";
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        if !sample.whole {
            let end = found.last_record.ok_or_else(|| {
                Error::new(ErrorKind::Limit, "its first record is longer than any memory is planned for")
            })?;
            sample.bytes.truncate(end);
        }
        let records = options.number(INFERRED_RECORDS)?.unwrap_or(SAMPLE_RECORDS);
        let (inferred, read) = dialect
            .layout(null_regex(options)?)
            .infer_schema(sample.bytes.as_slice(), Some(records))
            .map_err(|error| Error::new(ErrorKind::Corrupt, "its records are not of one shape").with_source(error))?;
        check_column_count(inferred.fields().len())?;
        let complete = sample.whole && read < records;
        let schema = Arc::new(Schema::new(named_once(&inferred, complete)));
        let mut description = Description::of_schema(schema, options);
        // A file that has such a value cannot be cut at any end of line.
        if found.newline_in_value && options.get(NEWLINES).is_none() {
            description.options = description.options.with(NEWLINES, "true");
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

    fn has_lines(&self, options: &ReaderOptions) -> bool {
        ends_with_lines(options)
    }

    fn can_split(&self, options: &ReaderOptions) -> bool {
        let unpacked = options.compression().is_ok_and(|compression| !compression.is_compressed());
        // Ranges are cut at line feeds.
        unpacked && ends_with_lines(options) && options.flag(NEWLINES).is_ok_and(|newlines| newlines != Some(true))
    }
}

impl Csv {
    fn dialect(&self, options: &ReaderOptions) -> Result<Dialect> {
        Ok(Dialect {
            delimiter: options.character("delimiter")?.unwrap_or(self.delimiter),
            quote: options.character("quote")?.unwrap_or(b'"'),
            escape: options.character("escape")?,
            comment: options.character("comment")?,
            terminator: options.character("terminator")?,
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

/// What a walk over text finds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Walk {
    /// Where the last record that is whole ends.
    last_record: Option<usize>,
    newline_in_value: bool,
    /// Whether the text ends within quotes.
    open_quote: bool,
}

impl Dialect {
    fn layout(&self, null: Option<Regex>) -> Layout {
        let mut layout = Layout::default()
            .with_header(self.header)
            .with_delimiter(self.delimiter)
            .with_quote(self.quote)
            .with_truncated_rows(self.truncated_rows);
        if let Some(escape) = self.escape {
            layout = layout.with_escape(escape);
        }
        if let Some(comment) = self.comment {
            layout = layout.with_comment(comment);
        }
        if let Some(terminator) = self.terminator {
            layout = layout.with_terminator(terminator);
        }
        // What is empty is NULL all the same.
        if let Some(null) = null.and_then(|null| Regex::new(&format!("^$|{}", null.as_str())).ok()) {
            layout = layout.with_null_regex(null);
        }
        layout
    }

    /// Finds the ends of records: a quote counts at the start of a field, and until the next one that is not doubled.
    fn walk(&self, bytes: &[u8]) -> Walk {
        #[derive(Clone, Copy)]
        enum At {
            FieldStart,
            Plain,
            Quoted,
            /// Behind a quote within quotes: the end of the value, or half of a doubled one.
            QuoteInQuoted,
        }
        let ends_record = |byte: u8| match self.terminator {
            Some(terminator) => byte == terminator,
            None => byte == b'\n',
        };
        let mut found = Walk::default();
        let mut at = At::FieldStart;
        let mut escaped = false;
        for (index, byte) in bytes.iter().copied().enumerate() {
            if escaped {
                escaped = false;
                continue;
            }
            at = match at {
                At::Quoted if self.escape == Some(byte) => {
                    escaped = true;
                    At::Quoted
                }
                At::Quoted if byte == self.quote => At::QuoteInQuoted,
                At::Quoted => {
                    found.newline_in_value |= matches!(byte, b'\n' | b'\r');
                    At::Quoted
                }
                At::QuoteInQuoted if byte == self.quote => At::Quoted,
                At::FieldStart if byte == self.quote => At::Quoted,
                _ if ends_record(byte) => {
                    found.last_record = Some(index + 1);
                    At::FieldStart
                }
                _ if byte == self.delimiter => At::FieldStart,
                // A carriage return alone ends a record too, but what is cut there would have an empty record in between.
                At::FieldStart if byte == b'\r' => At::FieldStart,
                _ => At::Plain,
            };
        }
        // What stands in comments is not told apart here.
        found.open_quote = self.comment.is_none() && matches!(at, At::Quoted);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialect(pairs: &[(&str, &str)]) -> Dialect {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Csv { delimiter: b',' }.dialect(&ReaderOptions::from_pairs(pairs).unwrap()).unwrap()
    }

    #[test]
    fn records_end_outside_of_quotes() {
        let walk = |text: &str, options: &[(&str, &str)]| {
            let found = dialect(options).walk(text.as_bytes());
            (found.last_record, found.newline_in_value)
        };
        assert_eq!(walk("a,b\n1,2\n3,", &[]), (Some(8), false));
        assert_eq!(walk("a\n\"x\ny\"\n", &[]), (Some(8), true));
        assert_eq!(walk("a\n\"x \"\" \ny", &[]), (Some(2), true));
        assert_eq!(walk("a\n5\" pipe\nb\n", &[]), (Some(12), false));
        assert_eq!(walk("a\n\"x\\\"\ny\"\nz", &[("escape", "\\")]), (Some(10), true));
        assert_eq!(walk("no end", &[]), (None, false));
        let open = |text: &str| dialect(&[]).walk(text.as_bytes()).open_quote;
        assert!(open("a\n\"x\ny") && open("a\n\"") && open("a\n\"x\"\""));
        assert!(!open("a\n\"x\"") && !open("a\n\"x\"\"\"\n") && !open("a\n5\""));
    }

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
    }
}
