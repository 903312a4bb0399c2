//! [`Merge`]: the readings of pages become rows, one for each time.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float64Array, RecordBatch, TimestampSecondArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::error::ArrowError;

use super::model::{Names, ReadingsPage};
use super::skips::Skips;

/// The column of the time, which every row has.
pub(super) const TIME: &str = "timestamp";
/// The rows of one batch.
const BATCH_ROWS: usize = 8_192;

/// Which times are believed, in seconds since 1970, both included.
#[derive(Debug, Clone, Copy)]
pub(super) struct Believed {
    pub(super) from: i64,
    /// The end of what was asked for. What is beyond is left out without a word: it is asked for later.
    pub(super) to: Option<i64>,
    /// Beyond it a clock is wrong.
    pub(super) latest: i64,
}

/// Collects the readings of one answer's pages, by column.
#[derive(Debug)]
pub(super) struct Merge {
    believed: Believed,
    columns: BTreeMap<String, Vec<(i64, f64)>>,
    skips: Skips,
    held: usize,
}

impl Merge {
    pub(super) fn new(believed: Believed) -> Self {
        Self { believed, columns: BTreeMap::new(), skips: Skips::default(), held: 0 }
    }

    /// How many readings are held.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Takes a page in.
    pub(super) fn add(&mut self, page: ReadingsPage, names: &Names) {
        for parameter in page.parameters {
            let count = parameter.readings.len() as u64;
            let name =
                |names: &BTreeMap<String, String>, id: &str| names.get(id).filter(|name| !name.is_empty()).cloned();
            let Some(parameter_name) = name(&names.parameters, &parameter.parameter_id) else {
                self.skips.parameter(&parameter.parameter_id, count);
                continue;
            };
            let Some(unit_name) = name(&names.units, &parameter.unit_id) else {
                self.skips.unit(&parameter.unit_id, count);
                continue;
            };
            let readings: Vec<_> = parameter
                .readings
                .iter()
                .filter_map(|reading| self.believed.reading(reading.timestamp, reading.value, &mut self.skips))
                .collect();
            if !readings.is_empty() {
                self.held += readings.len();
                self.columns.entry(format!("{parameter_name}.{unit_name}")).or_default().extend(readings);
            }
        }
    }

    /// The first time there is, and the one up to which every column that has been seen has been read, if its readings come in their
    /// order: where an answer that is too long to be held is best cut.
    pub(super) fn span(&self) -> Option<(i64, i64)> {
        let times = |readings: &Vec<(i64, f64)>| {
            let times = readings.iter().map(|(time, _)| *time);
            Some((times.clone().min()?, times.max()?))
        };
        self.columns.values().filter_map(times).reduce(|(first, cut), (begin, end)| (first.min(begin), cut.min(end)))
    }

    /// The rows, in the order of their times, and what was left out.
    pub(super) fn finish(mut self) -> (Rows, Skips) {
        let mut columns = Vec::with_capacity(self.columns.len());
        let mut fields = vec![Field::new(TIME, DataType::Timestamp(TimeUnit::Second, Some("+00:00".into())), false)];
        for (name, mut readings) in self.columns {
            // Stable: of two readings of one time, the one that came first counts.
            readings.sort_by_key(|(time, _)| *time);
            let before = readings.len();
            readings.dedup_by_key(|(time, _)| *time);
            self.skips.duplicates((before - readings.len()) as u64);
            fields.push(Field::new(name, DataType::Float64, true));
            columns.push(Column { readings, next: 0 });
        }
        (Rows { schema: Arc::new(Schema::new(fields)), columns }, self.skips)
    }
}

impl Believed {
    fn reading(self, time: Option<i64>, value: Option<f64>, skips: &mut Skips) -> Option<(i64, f64)> {
        let Some(time) = time else {
            skips.no_time();
            return None;
        };
        if self.to.is_some_and(|to| time > to && time <= self.latest) {
            return None;
        }
        let Some(value) = value else {
            skips.no_number();
            return None;
        };
        if time < self.from {
            skips.before(time);
            return None;
        }
        if time > self.latest {
            skips.future(time);
            return None;
        }
        Some((time, value))
    }
}

/// Rows, made a batch at a time.
#[derive(Debug)]
pub(super) struct Rows {
    schema: SchemaRef,
    columns: Vec<Column>,
}

/// The readings of one column, each time once, and how many of them have become rows.
#[derive(Debug)]
struct Column {
    readings: Vec<(i64, f64)>,
    next: usize,
}

impl Column {
    fn time(&self) -> Option<i64> {
        self.readings.get(self.next).map(|(time, _)| *time)
    }
}

impl Rows {
    /// `timestamp`, and a column for each parameter and unit, by name.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The first time and the last; `None` if there are no rows.
    pub(super) fn times(&self) -> Option<(i64, i64)> {
        let first = self.columns.iter().filter_map(Column::time).min()?;
        let last = self.columns.iter().filter_map(|column| column.readings.last()).map(|(time, _)| *time).max()?;
        Some((first, last))
    }

    /// How many rows are to come.
    pub(super) fn row_count(&self) -> u64 {
        let mut nexts: Vec<usize> = self.columns.iter().map(|column| column.next).collect();
        let mut count = 0;
        loop {
            let time = |(column, next): (&Column, &usize)| column.readings.get(*next).map(|(time, _)| *time);
            let Some(least) = self.columns.iter().zip(&nexts).filter_map(time).min() else { return count };
            for (column, next) in self.columns.iter().zip(&mut nexts) {
                *next += usize::from(column.readings.get(*next).is_some_and(|(time, _)| *time == least));
            }
            count += 1;
        }
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut times = Vec::new();
        let mut values: Vec<Vec<Option<f64>>> = vec![Vec::new(); self.columns.len()];
        while times.len() < BATCH_ROWS {
            let Some(time) = self.columns.iter().filter_map(Column::time).min() else { break };
            for (column, values) in self.columns.iter_mut().zip(&mut values) {
                let reading = column.readings.get(column.next).filter(|(at, _)| *at == time);
                values.push(reading.map(|(_, value)| *value));
                column.next += usize::from(reading.is_some());
            }
            times.push(time);
        }
        if times.is_empty() {
            return None;
        }
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(TimestampSecondArray::from(times).with_timezone("+00:00"))];
        arrays.extend(values.into_iter().map(|values| Arc::new(Float64Array::from(values)) as ArrayRef));
        Some(RecordBatch::try_new(Arc::clone(&self.schema), arrays))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::util::pretty::pretty_format_batches;

    use super::*;
    use crate::factory::hydrovu::model::{ParameterReadings, Reading};

    const ALL: Believed = Believed { from: 100, to: None, latest: 1_000_000 };

    fn names() -> Names {
        let map =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(id, name)| ((*id).to_owned(), (*name).to_owned())).collect();
        Names {
            parameters: map(&[("1", "Temperature"), ("20", "DO"), ("21", "")]),
            units: map(&[("1", "C"), ("117", "mg/L")]),
        }
    }

    /// Ids of parameter and unit, and readings.
    type Given<'a> = (&'a str, &'a str, &'a [(i64, f64)]);
    /// A time, and a value for each column.
    type Row = (i64, Vec<Option<f64>>);

    fn page(parameters: &[Given<'_>]) -> ReadingsPage {
        let reading = |(time, value): &(i64, f64)| Reading { timestamp: Some(*time), value: Some(*value) };
        let parameters = parameters.iter().map(|(parameter_id, unit_id, readings)| ParameterReadings {
            parameter_id: (*parameter_id).to_owned(),
            unit_id: (*unit_id).to_owned(),
            readings: readings.iter().map(reading).collect(),
        });
        ReadingsPage { location_id: None, parameters: parameters.collect() }
    }

    fn merged(believed: Believed, pages: &[ReadingsPage]) -> (Vec<Row>, Skips) {
        let mut merge = Merge::new(believed);
        for page in pages {
            let parameters = page.parameters.iter().map(|parameter| ParameterReadings {
                parameter_id: parameter.parameter_id.clone(),
                unit_id: parameter.unit_id.clone(),
                readings: parameter.readings.clone(),
            });
            merge.add(ReadingsPage { location_id: None, parameters: parameters.collect() }, &names());
        }
        let (rows, skips) = merge.finish();
        let count = rows.row_count();
        let mut found = Vec::new();
        for batch in rows {
            let batch = batch.unwrap();
            let times = batch.column(0).as_any().downcast_ref::<TimestampSecondArray>().unwrap();
            for row in 0..batch.num_rows() {
                let value = |column: &ArrayRef| {
                    column.as_any().downcast_ref::<Float64Array>().unwrap().iter().nth(row).unwrap()
                };
                found.push((times.value(row), batch.columns()[1..].iter().map(value).collect()));
            }
        }
        assert_eq!(found.len() as u64, count);
        (found, skips)
    }

    #[test]
    fn pages_that_cut_unevenly_lose_nothing() {
        let pages = [
            page(&[("1", "1", &[(100, 1.0), (200, 2.0), (300, 3.0)]), ("20", "117", &[(100, 8.0)])]),
            page(&[("20", "117", &[(200, 9.0), (250, 9.5)])]),
            page(&[("20", "117", &[(300, 7.0)]), ("1", "1", &[(400, 4.0)])]),
        ];
        let (rows, skips) = merged(ALL, &pages);
        // By name: DO before Temperature.
        let expected = [
            (100, vec![Some(8.0), Some(1.0)]),
            (200, vec![Some(9.0), Some(2.0)]),
            (250, vec![Some(9.5), None]),
            (300, vec![Some(7.0), Some(3.0)]),
            (400, vec![None, Some(4.0)]),
        ];
        assert_eq!(rows, expected);
        assert_eq!(skips.total(), 0);
    }

    #[test]
    fn what_is_not_believed_is_counted() {
        let pages = [
            page(&[
                ("1", "1", &[(300, 3.0), (7, 1.0), (200, 2.0), (300, 5.0), (2_000_000, 1.0)]),
                ("99", "1", &[(300, 1.0), (400, 1.0)]),
                ("1", "99", &[(300, 1.0)]),
                ("21", "1", &[(300, 1.0)]),
            ]),
            page(&[("1", "1", &[(200, 2.0)])]),
        ];
        let (rows, skips) = merged(ALL, &pages);
        assert_eq!(rows, [(200, vec![Some(2.0)]), (300, vec![Some(3.0)])]);
        assert_eq!(
            skips.to_string(),
            "8 readings skipped: 1 before the start (1970-01-01T00:00:07Z), 1 in the future (1970-01-24T03:33:20Z), \
             3 of an unknown parameter (99), 1 of an unknown unit (99), 2 at a time that has one"
        );
        let mut merge = Merge::new(ALL);
        let odd = [Reading { timestamp: None, value: Some(1.0) }, Reading { timestamp: Some(200), value: None }];
        let parameter = ParameterReadings { parameter_id: "1".into(), unit_id: "1".into(), readings: odd.to_vec() };
        merge.add(ReadingsPage { location_id: None, parameters: vec![parameter] }, &names());
        let (mut rows, skips) = merge.finish();
        assert!(rows.next().is_none() && rows.times().is_none());
        assert_eq!(skips.to_string(), "2 readings skipped: 1 without a time, 1 without a number");
    }

    #[test]
    fn a_window_leaves_what_is_beyond_to_the_next() {
        let pages = [page(&[
            ("1", "1", &[(100, 1.0), (200, 2.0), (201, 3.0), (2_000_000, 9.0)]),
            ("20", "117", &[(150, 1.0)]),
        ])];
        let (rows, skips) = merged(Believed { to: Some(200), ..ALL }, &pages);
        assert_eq!(rows.iter().map(|(time, _)| *time).collect::<Vec<_>>(), [100, 150, 200]);
        assert_eq!(skips.total(), 1);
    }

    #[test]
    fn a_cut_is_where_the_slowest_column_is() {
        let mut merge = Merge::new(ALL);
        assert_eq!(merge.span(), None);
        merge.add(page(&[("1", "1", &[(100, 1.0), (300, 2.0)]), ("20", "117", &[(150, 1.0)])]), &names());
        assert_eq!(merge.span(), Some((100, 150)));
        assert_eq!(merge.held(), 3);
    }

    #[test]
    fn batches_are_bounded_and_the_time_is_not_null() {
        let readings: Vec<_> = (100..20_100).map(|time| (time, 1.0)).collect();
        let mut merge = Merge::new(ALL);
        merge.add(page(&[("1", "1", &readings)]), &names());
        let (rows, _) = merge.finish();
        assert_eq!((rows.row_count(), rows.times()), (20_000, Some((100, 20_099))));
        assert!(!rows.schema().field(0).is_nullable());
        let batches = rows.collect::<Result<Vec<_>, _>>().unwrap();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [8_192, 8_192, 3_616]);
        let text = pretty_format_batches(&[batches[0].slice(0, 1)]).unwrap().to_string();
        assert!(text.contains("| 1970-01-01T00:01:40Z | 1.0"), "{text}");
    }
}
