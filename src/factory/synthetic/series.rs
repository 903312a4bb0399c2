//! [`Series`]: which rows there are, and what is in them.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float64Array, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use tinyfs::{Definition, InvalidOption, parse_duration, parse_time};

use super::wave::{Column, Place, mix};

/// The column of the times.
pub(super) const TIMESTAMP: &str = "timestamp";

/// A series as its options define it. Every row is computed by its number alone.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    /// The time of the first row, in microseconds since 1970.
    start: i64,
    interval: i64,
    rows: u64,
    seed: u64,
    columns: Arc<[Column]>,
}

impl Series {
    /// Reads the options.
    ///
    /// # Errors
    /// [`InvalidOption`] for what their types do not rule out.
    pub(super) fn try_new(definition: &Definition) -> Result<Self, InvalidOption> {
        let option = |name: &str| definition.options.get(name).map_or("", String::as_str);
        let time = |name: &str| {
            let found = parse_time(option(name)).map(|time| time.timestamp_micros());
            found.ok_or_else(|| InvalidOption::of(name, format!("the option '{name}' is no time")))
        };
        let (start, end) = (time("start")?, time("end")?);
        if end < start {
            let message = format!("the option 'end', {}, is before 'start', {}", option("end"), option("start"));
            return Err(InvalidOption::of("end", message));
        }
        let interval = parse_duration(option("interval")).and_then(|length| i64::try_from(length.as_micros()).ok());
        let interval = interval.filter(|interval| *interval > 0).ok_or_else(|| {
            let message = format!("the option 'interval' is a duration above 0, not '{}'", option("interval"));
            InvalidOption::of("interval", message)
        })?;
        let seed = match definition.options.get("seed") {
            Some(text) => text.parse().map_err(|_| InvalidOption::of("seed", "the option 'seed' is a whole number"))?,
            None => 0,
        };
        let columns = columns(option("columns")).map_err(|message| InvalidOption::of("columns", message))?;
        let rows = (i128::from(end) - i128::from(start)) / i128::from(interval) + 1;
        let rows = u64::try_from(rows).map_err(|_| InvalidOption::of("interval", "there are too many rows"))?;
        Ok(Self { start, interval, rows, seed, columns: columns.into() })
    }

    /// The columns: the time, and the numbers.
    pub(super) fn schema(&self) -> SchemaRef {
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let numbers = self.columns.iter().map(|column| Field::new(&column.name, DataType::Float64, false));
        let fields: Vec<Field> = [Field::new(TIMESTAMP, time, false)].into_iter().chain(numbers).collect();
        Arc::new(Schema::new(fields))
    }

    /// The numbers of all rows.
    pub(super) fn rows(&self) -> Range<u64> {
        0..self.rows
    }

    /// The number of the first row at `time` or after it.
    pub(super) fn first_at(&self, time: i64) -> u64 {
        let passed = i128::from(time) - i128::from(self.start);
        let interval = i128::from(self.interval);
        let number = passed.div_euclid(interval) + i128::from(passed.rem_euclid(interval) > 0);
        u64::try_from(number.clamp(0, i128::from(self.rows))).unwrap_or(self.rows)
    }

    /// One column of some rows; 0 is the time.
    pub(super) fn column(&self, index: usize, rows: Range<u64>) -> Option<ArrayRef> {
        // Within the range of times, by the way rows are counted.
        let passed = |row: u64| i64::try_from(row).unwrap_or(i64::MAX).saturating_mul(self.interval);
        if index == 0 {
            let times = rows.map(|row| self.start.saturating_add(passed(row)));
            return Some(Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC")));
        }
        let column = self.columns.get(index - 1)?;
        let seed = mix(self.seed, index as u64);
        let values = rows.map(|row| column.value(Place { micros: passed(row), row, seed }));
        Some(Arc::new(Float64Array::from_iter_values(values)))
    }
}

fn columns(text: &str) -> Result<Vec<Column>, String> {
    let columns: Vec<Column> =
        serde_json::from_str(text).map_err(|error| format!("the option 'columns' is not right: {error}"))?;
    if columns.is_empty() {
        return Err("the option 'columns' has no column".to_owned());
    }
    let mut names = HashSet::from([TIMESTAMP]);
    for column in &columns {
        if column.name.is_empty() {
            return Err("the option 'columns' has a column without a name".to_owned());
        }
        if !names.insert(&column.name) {
            return Err(format!("the option 'columns' has two columns named '{}'", column.name));
        }
        if column.components.is_empty() {
            return Err(format!("the column '{}' has no components", column.name));
        }
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Array, AsArray};
    use datafusion::arrow::datatypes::TimestampMicrosecondType;

    use super::*;

    fn series(options: &[(&str, &str)]) -> Result<Series, InvalidOption> {
        let mut all = std::collections::BTreeMap::from(
            [
                ("start", "2024-01-01T00:00:00Z"),
                ("end", "2024-01-01T01:00:00Z"),
                ("interval", "15m"),
                ("columns", r#"[{"name": "x", "components": [{"type": "noise", "amplitude": 1}]}]"#),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        all.extend(options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Series::try_new(&Definition {
            factory: "synthetic".to_owned(),
            shape: tinyfs::Shape::Table,
            location: None,
            options: all,
        })
    }

    #[test]
    fn both_ends_are_rows() {
        for (options, rows) in [
            (&[][..], 5),
            (&[("end", "2024-01-01T00:59:59Z")], 4),
            (&[("end", "2024-01-01T00:00:00Z")], 1),
            (&[("interval", "2h")], 1),
        ] {
            assert_eq!(series(options).unwrap().rows(), 0..rows);
        }
    }

    #[test]
    fn a_range_of_rows_is_what_it_is_in_the_whole() {
        let series = series(&[("end", "2025-01-01T00:00:00Z")]).unwrap();
        for column in [0, 1] {
            let whole = series.column(column, series.rows()).unwrap();
            let part = series.column(column, 1_000..1_100).unwrap();
            assert_eq!(&part, &whole.slice(1_000, 100));
        }
        assert!(series.column(2, 0..1).is_none());
        let times = series.column(0, 3..5).unwrap();
        let times = times.as_primitive::<TimestampMicrosecondType>();
        assert_eq!(times.value(1) - times.value(0), 900_000_000);
        assert_eq!(times.len(), 2);
    }

    #[test]
    fn times_to_rows() {
        let series = series(&[]).unwrap();
        let start = series.start;
        for (passed, row) in [(-1, 0), (0, 0), (1, 1), (900_000_000, 1), (900_000_001, 2), (3_600_000_001, 5)] {
            assert_eq!(series.first_at(start + passed), row, "{passed}");
        }
        assert_eq!((series.first_at(i64::MIN), series.first_at(i64::MAX)), (0, 5));
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (name, value, says) in [
            (
                "end",
                "2023-01-01T00:00:00Z",
                "the option 'end', 2023-01-01T00:00:00Z, is before 'start', 2024-01-01T00:00:00Z",
            ),
            ("interval", "0s", "the option 'interval' is a duration above 0, not '0s'"),
            ("columns", "[]", "the option 'columns' has no column"),
            (
                "columns",
                r#"[{"name": "timestamp", "components": []}]"#,
                "the option 'columns' has two columns named 'timestamp'",
            ),
            ("columns", r#"[{"name": "a", "components": []}]"#, "the column 'a' has no components"),
            ("columns", r#"[{"name": "a"}]"#, "the option 'columns' is not right: missing field `components`"),
        ] {
            let error = series(&[(name, value)]).unwrap_err();
            assert!(error.message.starts_with(says), "{error}");
            assert_eq!(error.field, tinyfs::Field::Option(name.to_owned()));
        }
    }
}
