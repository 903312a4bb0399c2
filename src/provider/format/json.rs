//! JSON: a value a line, or one array of values; an object each.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::reader::infer_json_schema_from_iterator;
use datafusion::common::Result as DfResult;
use datafusion::datasource::physical_plan::{FileSource, JsonSource};
use datafusion::datasource::table_schema::TableSchema;
use object_store::{ObjectMeta, ObjectStore};
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::checked::{Check, MAX_RECORD, Text};
use super::json_check::JsonCheck;
use super::json_escapes::SpelledStore;
use super::options::{COMPRESSION, INFERRED_RECORDS};
use super::sample::{Extent, MAX_COLUMNS, SAMPLE_BYTES, SAMPLE_RECORDS, Sample, check_column_count, sample};
use super::{Description, FormatReader, ReaderOptions, Seen, SourceFile};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::read_only::ReadOnly;
use crate::provider::schema_text::stored_type;

const NEWLINE_DELIMITED: &str = "newline_delimited";
const IGNORE_UNKNOWN: &str = "ignore_unknown_keys";

pub(super) struct Json;

#[async_trait]
impl FormatReader for Json {
    fn known_options(&self) -> &'static [&'static str] {
        &[NEWLINE_DELIMITED, IGNORE_UNKNOWN, COMPRESSION, INFERRED_RECORDS]
    }

    fn check_options(&self, options: &ReaderOptions) -> Result<()> {
        let _ = options.flag(NEWLINE_DELIMITED)?;
        let _ = options.flag(IGNORE_UNKNOWN)?;
        let _ = options.compression()?;
        let _ = options.number(INFERRED_RECORDS)?;
        Ok(())
    }

    async fn describe(&self, file: &SourceFile<'_>, options: &ReaderOptions) -> Result<Description> {
        let extent = Extent::of(file, options)?;
        let sample = sample(file, extent.bytes, options.compression()?).await?;
        let first = sample.bytes.iter().find(|byte| !byte.is_ascii_whitespace());
        let lines = options.flag(NEWLINE_DELIMITED)?.unwrap_or_else(|| first != Some(&b'['));
        let records = extent.records;
        let mut values = Values::new(&sample, !lines);
        let mut read = 0;
        let inferred = infer_json_schema_from_iterator(values.by_ref().take(records).inspect(|_| read += 1));
        let inferred = inferred.map_err(|error| match values.too_wide {
            true => Error::new(ErrorKind::Limit, format!("it has more than {MAX_COLUMNS} columns")),
            false => Error::new(ErrorKind::Corrupt, "it is not JSON that makes a table").with_source(error),
        })?;
        if read == 0 && !sample.whole {
            return Err(Error::new(ErrorKind::Limit, "its first record is longer than any memory is planned for"));
        }
        check_column_count(inferred.fields().len())?;
        let complete = sample.whole && read < records;
        let fields = inferred.fields().iter().map(|field| {
            let data_type = match field.data_type() {
                DataType::Null if !complete => DataType::Utf8View,
                other => stored_type(other),
            };
            Field::new(field.name(), data_type, true)
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let mut description = Description::of_schema(schema, options);
        if !lines {
            description.options = description.options.with(NEWLINE_DELIMITED, "false");
        }
        if complete && sample.bytes.len() <= MAX_RECORD {
            description.seen = Seen::Whole;
        }
        Ok(description)
    }

    fn source(&self, schema: &SchemaRef, options: &ReaderOptions) -> DfResult<Arc<dyn FileSource>> {
        let lines = options.flag(NEWLINE_DELIMITED)?.unwrap_or(true);
        let columns = TableSchema::from(Arc::clone(schema));
        Ok(Arc::new(JsonSource::new(columns).with_newline_delimited(lines)))
    }

    fn check(&self, text: &Text<'_>) -> Result<Option<Box<dyn Check>>> {
        let lines = text.options.flag(NEWLINE_DELIMITED)? != Some(false);
        let records = text.options.number(INFERRED_RECORDS)?.unwrap_or(SAMPLE_RECORDS);
        // Nothing is behind the sample of a file so small: a record has three bytes with what is behind it.
        let most = SAMPLE_BYTES.min(records.saturating_mul(3)) as u64;
        let is_seen = text.size < most && !text.options.compression()?.is_compressed();
        let known = !is_seen && text.options.flag(IGNORE_UNKNOWN)? != Some(true);
        if !known && !text.may_be_long()? {
            return Ok(None);
        }
        let check = JsonCheck::new(lines, known.then(|| text.schema.fields()));
        let begun = text.range.as_ref().is_some_and(|range| range.start > 0);
        Ok(Some(Box::new(if begun { check.behind_a_line() } else { check })))
    }

    fn spelled(
        &self,
        store: &Arc<dyn ObjectStore>,
        meta: &ObjectMeta,
        range: Option<Range<u64>>,
    ) -> Option<Arc<dyn ObjectStore>> {
        Some(Arc::new(ReadOnly(SpelledStore { store: Arc::clone(store), meta: meta.clone(), range })))
    }

    fn can_split(&self, options: &ReaderOptions) -> bool {
        let unpacked = options.compression().is_ok_and(|compression| !compression.is_compressed());
        unpacked && options.flag(NEWLINE_DELIMITED).is_ok_and(|lines| lines != Some(false))
    }

    fn cuts_at_lines(&self) -> bool {
        true
    }
}

/// The values of a sample, one after the other. The last one may be cut off where the sample is.
struct Values<'a> {
    sample: &'a Sample,
    at: usize,
    /// Whether the values are those of one array.
    in_array: bool,
    begun: bool,
    ended: bool,
    /// Whether it ended at an object with more members than a table may have columns.
    too_wide: bool,
}

impl<'a> Values<'a> {
    fn new(sample: &'a Sample, in_array: bool) -> Self {
        Self { sample, at: 0, in_array, begun: false, ended: false, too_wide: false }
    }

    fn skip(&mut self) -> Option<u8> {
        let rest = &self.sample.bytes[self.at..];
        let blank = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.at += blank;
        rest.get(blank).copied()
    }

    /// Moves to the next value; `false` where there is none.
    fn advance(&mut self) -> std::result::Result<bool, String> {
        let next = self.skip();
        if !self.in_array {
            return Ok(next.is_some());
        }
        let first = !self.begun;
        match (next, first) {
            (Some(b'['), true) => self.begun = true,
            (Some(b','), false) => {}
            (Some(b']'), false) => return self.end(),
            (None, false) if !self.sample.whole => return Ok(false),
            (None, _) => return Err("the array does not end".to_owned()),
            (Some(other), _) => return Err(format!("'{}' at byte {}", char::from(other).escape_default(), self.at)),
        }
        self.at += 1;
        match self.skip() {
            Some(b']') if first => self.end(),
            None if self.sample.whole => Err("the array does not end".to_owned()),
            next => Ok(next.is_some()),
        }
    }

    /// Nothing may follow the array.
    fn end(&mut self) -> std::result::Result<bool, String> {
        self.at += 1;
        match self.skip() {
            Some(_) => Err(format!("something follows the array, at byte {}", self.at)),
            None => Ok(false),
        }
    }
}

impl Iterator for Values<'_> {
    type Item = std::result::Result<Value, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.advance() {
            Ok(true) => {}
            Ok(false) => {
                self.ended = true;
                return None;
            }
            Err(what) => {
                self.ended = true;
                return Some(Err(ArrowError::JsonError(what)));
            }
        }
        let mut values = serde_json::Deserializer::from_slice(&self.sample.bytes[self.at..]).into_iter::<Narrow>();
        let value = values.next();
        self.at += values.byte_offset();
        // Of JSON as such everything else that is wrong is one of syntax.
        self.too_wide = matches!(&value, Some(Err(error)) if error.is_data());
        match value {
            Some(Ok(Narrow(value))) => Some(Ok(value)),
            Some(Err(error)) => {
                self.ended = true;
                let cut = error.is_eof() && !self.sample.whole;
                (!cut).then(|| Err(ArrowError::JsonError(format!("{error}, behind byte {}", self.at))))
            }
            None => None,
        }
    }
}

/// A value whose objects have no more members than a table may have columns: others are not read to their end, for they may be of any
/// size.
struct Narrow(Value);

impl<'de> Deserialize<'de> for Narrow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(NarrowVisitor).map(Self)
    }
}

struct NarrowVisitor;

impl<'de> Visitor<'de> for NarrowVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> std::result::Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> std::result::Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> std::result::Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Narrow(value)) = elements.next_element()? {
            array.push(value);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> std::result::Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Narrow(value))) = members.next_entry::<String, Narrow>()? {
            let _ = object.insert(name, value);
            if object.len() > MAX_COLUMNS {
                return Err(A::Error::custom("too many members"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str, in_array: bool, whole: bool) -> std::result::Result<Vec<String>, String> {
        let sample = Sample { bytes: text.as_bytes().to_vec(), whole };
        let values = Values::new(&sample, in_array);
        values.map(|value| value.map(|value| value.to_string()).map_err(|error| error.to_string())).collect()
    }

    #[test]
    fn values_of_lines_and_arrays() {
        assert_eq!(values("{\"a\":1}\n\n{ \"a\": 2 }", false, true).unwrap(), ["{\"a\":1}", "{\"a\":2}"]);
        assert_eq!(values(" [ {\"a\":1} , {}\n] \n", true, true).unwrap(), ["{\"a\":1}", "{}"]);
        assert!(values("[]", true, true).unwrap().is_empty());
        assert!(values("", false, true).unwrap().is_empty());
    }

    #[test]
    fn an_object_with_more_members_than_columns_is_not_read_to_its_end() {
        let object = |members: usize| {
            let members = (0..members).map(|at| format!("\"{at}\":1")).collect::<Vec<_>>();
            format!("{{{}}}", members.join(","))
        };
        assert_eq!(values(&object(MAX_COLUMNS), false, true).unwrap().len(), 1);
        for text in [object(MAX_COLUMNS + 1), format!("{{\"a\":[1,{}]}}", object(MAX_COLUMNS + 1))] {
            let sample = Sample { bytes: text.into_bytes(), whole: true };
            let mut values = Values::new(&sample, false);
            assert!(matches!(values.next(), Some(Err(_))));
            assert!(values.too_wide && values.next().is_none());
        }
    }

    #[test]
    fn values_are_what_serde_makes_of_them() {
        let text = r#"{"a":[null,true,-1,18446744073709551615,1e300,0.5,"\u00e9\n"],"b":{"c":{},"c":[]},"":""}"#;
        let expected: Value = serde_json::from_str(text).unwrap();
        assert_eq!(values(text, false, true).unwrap(), [expected.to_string()]);
        assert!(values("{\"a\":1e999}", false, true).is_err());
    }

    #[test]
    fn what_is_cut_off_is_an_error_only_at_the_end_of_a_file() {
        for (text, in_array) in [("{}\n{\"a\":", false), ("[{},{\"a\"", true), ("[{}", true), ("[{},", true)] {
            assert_eq!(values(text, in_array, false).unwrap(), ["{}"], "{text}");
            assert!(values(text, in_array, true).is_err(), "{text}");
        }
        for text in ["[{}{}]", "[{}]x", "[,]", "{}", ""] {
            assert!(values(text, true, true).is_err(), "{text}");
        }
        assert!(values(&"[".repeat(100_000), false, true).is_err());
    }
}
