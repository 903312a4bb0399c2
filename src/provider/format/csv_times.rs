//! Times in CSV: all of a column have a zone, or none has. Arrow's reader knows no difference, and shows both on the clock of UTC.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::checked::{Check, Text};
use super::csv_dialect::{At, Dialect};
use crate::error::{Error, ErrorKind, Result};

/// The columns, with UTC as the zone of those whose times all have one. A column of which some have one is text.
pub(super) fn with_zones(inferred: &Schema, dialect: Dialect, sample: &[u8]) -> Result<Schema> {
    if !has_times(inferred) {
        return Ok(inferred.clone());
    }
    let mut seen = vec![(false, false); inferred.fields().len()];
    let mut note = |field: usize, zone: bool| -> Result<()> {
        if let Some((with, without)) = seen.get_mut(field) {
            *with |= zone;
            *without |= !zone;
        }
        Ok(())
    };
    let mut scan = TimeScan::new(dialect, dialect.header);
    scan.look(sample, &mut note)?;
    scan.end_value(&mut note)?;
    let fields = inferred.fields().iter().zip(seen).map(|(field, seen)| {
        let data_type = match (field.data_type(), seen) {
            (DataType::Timestamp(unit, None), (true, false)) => DataType::Timestamp(*unit, Some(Arc::from("UTC"))),
            (DataType::Timestamp(..), (true, true)) => DataType::Utf8,
            (other, _) => other.clone(),
        };
        Field::new(field.name(), data_type, true)
    });
    Ok(Schema::new(fields.collect::<Vec<_>>()))
}

fn has_times(schema: &Schema) -> bool {
    schema.fields().iter().any(|field| matches!(field.data_type(), DataType::Timestamp(..)))
}

/// Finds times behind the sample that have a zone where those of the sample have none, or the other way round.
#[derive(Debug)]
pub(super) struct TimeCheck {
    scan: TimeScan,
    schema: SchemaRef,
    /// Whether the times of a field have a zone, for those of which it matters.
    zones: Vec<Option<bool>>,
    /// What messages call the text.
    label: Arc<str>,
    /// Whether what comes first, up to the end of its line, belongs to another range.
    skip_line: bool,
}

impl TimeCheck {
    /// A check of a text, or of a range of it, for the columns that are read of it; `None` where these have no times.
    pub(super) fn of(dialect: Dialect, text: &Text<'_>) -> Option<Self> {
        let mut zones = vec![None; text.schema.fields().len()];
        for at in text.wanted {
            if let DataType::Timestamp(_, zone) = text.schema.field(*at).data_type() {
                zones[*at] = Some(zone.is_some());
            }
        }
        if zones.iter().all(Option::is_none) {
            return None;
        }
        let is_behind = text.range.as_ref().is_some_and(|range| range.start > 0);
        Some(Self {
            scan: TimeScan::new(dialect, dialect.header && !is_behind),
            schema: Arc::clone(text.schema),
            zones,
            label: text.label.into(),
            skip_line: is_behind,
        })
    }
}

impl Check for TimeCheck {
    fn look(&mut self, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;
        if self.skip_line {
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { return Ok(()) };
            self.skip_line = false;
            rest = &rest[end + 1..];
        }
        let (schema, zones, label) = (&self.schema, &self.zones, &self.label);
        let mut compare = |field: usize, zone: bool| match zones.get(field) {
            Some(Some(own)) if *own != zone => Err(mixed(schema.field(field).name(), zone, label)),
            _ => Ok(()),
        };
        self.scan.look(rest, &mut compare)
    }
}

fn mixed(column: &str, zone: bool, label: &str) -> Error {
    let (odd, others) = if zone { ("with a zone", "have none") } else { ("without a zone", "have one") };
    let message = format!(
        "column '{column}' has a time {odd}, and those that its type was taken from {others}: it is text with a larger \
         schema_infer_max_rec, as in pond('{}', schema_infer_max_rec => 1000000)",
        label.replace('\'', "''")
    );
    Error::new(ErrorKind::Unsupported, message)
}

/// Finds the values that are times, field by field.
#[derive(Debug)]
struct TimeScan {
    dialect: Dialect,
    at: At,
    field: usize,
    value: Value,
    in_header: bool,
}

impl TimeScan {
    fn new(dialect: Dialect, in_header: bool) -> Self {
        Self { dialect, at: At::RecordStart, field: 0, value: Value::default(), in_header }
    }

    /// Looks at the next bytes. `found` gets the field of each time that ends in them, and whether it has a zone.
    fn look(&mut self, bytes: &[u8], found: &mut impl FnMut(usize, bool) -> Result<()>) -> Result<()> {
        for byte in bytes.iter().copied() {
            let before = self.at;
            self.at = self.dialect.behind(before, byte);
            match self.at {
                At::RecordStart if before == At::Comment => {}
                At::RecordStart => {
                    self.end_value(found)?;
                    self.field = 0;
                    self.in_header = false;
                }
                At::FieldStart => {
                    self.end_value(found)?;
                    self.field += 1;
                }
                At::Plain | At::Quoted if !before.is_start() || byte != self.dialect.quote => self.value.push(byte),
                _ => {}
            }
        }
        Ok(())
    }

    fn end_value(&mut self, found: &mut impl FnMut(usize, bool) -> Result<()>) -> Result<()> {
        match std::mem::take(&mut self.value).zone() {
            Some(zone) if !self.in_header => found(self.field, zone),
            _ => Ok(()),
        }
    }
}

/// A value as far as it was read.
#[derive(Debug, Clone, Copy, Default)]
struct Value {
    length: usize,
    begins_with_digit: bool,
    in_fraction: bool,
    has_zone: bool,
}

impl Value {
    fn push(&mut self, byte: u8) {
        /// How long a date is, and a time without a fraction.
        const SECONDS: usize = "2024-06-01 12:00:00".len();
        self.length += 1;
        if self.length == 1 {
            self.begins_with_digit = byte.is_ascii_digit();
        } else if self.length == SECONDS + 1 && byte == b'.' {
            self.in_fraction = true;
        } else if self.length > SECONDS {
            let is_of_time = byte == b' ' || (self.in_fraction && byte.is_ascii_digit());
            self.has_zone |= !is_of_time;
        }
    }

    /// Whether it has a zone; `None` for what is no time, and no date.
    fn zone(self) -> Option<bool> {
        (self.begins_with_digit && self.length >= "2024-06-01".len()).then_some(self.has_zone)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::TimeUnit;

    use super::*;
    use crate::provider::format::ReaderOptions;

    const DIALECT: Dialect = Dialect {
        delimiter: b',',
        quote: b'"',
        escape: None,
        comment: Some(b'#'),
        terminator: None,
        header: true,
        truncated_rows: false,
    };

    fn schema(zone: Option<&str>) -> SchemaRef {
        let time = DataType::Timestamp(TimeUnit::Second, zone.map(Arc::from));
        Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true), Field::new("t", time, true)]))
    }

    #[test]
    fn a_zone_is_one_of_all_times_of_a_column() {
        let of = |text: &str| {
            let found = with_zones(&schema(None), DIALECT, text.as_bytes()).unwrap();
            found.field(1).data_type().clone()
        };
        let (none, utc) = (schema(None).field(1).data_type().clone(), schema(Some("UTC")).field(1).data_type().clone());
        assert_eq!(of("n,t\n1,2024-06-01 12:00:00\n2,\"2024-06-01T12:00:00.25\"\n3,\n"), none);
        assert_eq!(of("n,t\n1,2024-06-01 12:00:00Z\r\n2,\"2024-06-01T12:00:00.25+02:00\"\n3,\n"), utc);
        assert_eq!(of("n,2024-06-01-names\n# 2024,2024-06-01 12:00:00\n1,2024-06-01T12:00:00-05:00"), utc);
        assert_eq!(of("n,t\n1,2024-06-01 12:00:00\n2,2024-06-01T12:00:00+02:00\n"), DataType::Utf8);
        let dialect = Dialect { terminator: Some(b';'), ..DIALECT };
        let text = b"n,t;# 2024;2025\n1,2024-06-01T12:00:00Z;";
        assert_eq!(with_zones(&schema(None), dialect, text).unwrap().field(1).data_type(), &utc);
        assert_eq!(of("n,t\n1,2024-06-01\n2,2024-06-01T12:00:00Z"), DataType::Utf8);
    }

    #[test]
    fn a_time_of_the_other_kind_is_found_behind_the_sample() {
        let of = |zone: Option<&str>, start: u64, wanted: &[usize]| {
            let (schema, options) = (schema(zone), ReaderOptions::default());
            let text = Text {
                schema: &schema,
                wanted,
                options: &options,
                label: "/it's.csv",
                size: 1000,
                range: (start > 0).then_some(start..1000),
            };
            TimeCheck::of(DIALECT, &text)
        };
        let look = |zone: Option<&str>, start: u64, text: &str| {
            let mut check = of(zone, start, &[0, 1]).unwrap();
            let found = text.as_bytes().chunks(5).try_for_each(|bytes| check.look(bytes));
            found.err().map(|error| error.to_string())
        };
        let (local, zoned) = ("1,2024-06-01 12:00:00\n", "1,\"2024-06-01 12:00:00+02:00\"\n");
        assert_eq!(look(None, 0, &format!("n,t\n{local}{local}")), None);
        assert_eq!(look(Some("UTC"), 0, &format!("n,t\n{zoned}{zoned}")), None);
        let says = "column 't' has a time with a zone, and those that its type was taken from have none: it is text with a \
                    larger schema_infer_max_rec, as in pond('/it''s.csv', schema_infer_max_rec => 1000000)";
        assert_eq!(look(None, 0, &format!("n,t\n{local}{zoned}")).as_deref(), Some(says));
        assert_eq!(look(None, 9, &format!("{zoned}{local}")), None);
        let says = "column 't' has a time without a zone, and those that its type was taken from have one: it is text with a \
                    larger schema_infer_max_rec, as in pond('/it''s.csv', schema_infer_max_rec => 1000000)";
        assert_eq!(look(Some("UTC"), 9, &format!("{local}{zoned}{local}")).as_deref(), Some(says));
        // Of no other columns than those that are read.
        assert!(of(None, 0, &[0]).is_none() && of(None, 9, &[]).is_none());
    }
}
