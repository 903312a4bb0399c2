//! [`ScanPart`]: one part in a scan, and its statistics in the scan's columns.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use object_store::ObjectMeta;
use tinyfs::{PondPath, Version};

use super::attributes::PartAttributes;
use super::virtual_columns::VirtualColumn;
use crate::error::Result;

/// The texts that a path matched: one for each capture column, `None` where a capture took no part.
pub(crate) type Captured = Arc<[Option<Arc<str>>]>;

/// One part that a scan may read.
#[derive(Debug, Clone)]
pub(crate) struct ScanPart {
    pub(crate) origin: PartOrigin,
    pub(crate) attributes: Arc<PartAttributes>,
    pub(crate) captures: Captured,
    /// The values of the columns that are the same in all of the part, beside captures; empty in a pond.
    pub(crate) values: Arc<[ScalarValue]>,
    /// How many other files the table has, for messages. The scan counts them.
    pub(crate) others: usize,
}

/// How many files `parts`, of which those of one file come one after the other, are of.
pub(crate) fn count_files(parts: &[ScanPart]) -> usize {
    let is_same = |one: &ScanPart, other: &ScanPart| match (&one.origin, &other.origin) {
        (PartOrigin::Pond { path: one, .. }, PartOrigin::Pond { path: other, .. }) => one == other,
        _ => false,
    };
    parts.chunk_by(is_same).count()
}

/// Where the bytes of a part are.
#[derive(Debug, Clone)]
pub(crate) enum PartOrigin {
    /// A version of a file in the pond.
    Pond { path: PondPath, version: Arc<Version> },
    /// A file of the host, or a URL; messages call it by its label.
    Host { meta: ObjectMeta, label: Arc<str> },
}

impl PartOrigin {
    /// How many bytes there are.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Pond { version, .. } => version.part.size,
            Self::Host { meta, .. } => meta.size,
        }
    }
}

/// The columns of a scan: those of the files, then the virtual ones.
#[derive(Debug)]
pub(crate) struct ScanColumns {
    pub(crate) file: SchemaRef,
    pub(crate) virtuals: Vec<VirtualColumn>,
    pub(crate) table: SchemaRef,
}

impl ScanColumns {
    /// The virtual column of this name.
    pub(crate) fn virtual_column(&self, name: &str) -> Option<&VirtualColumn> {
        self.virtuals.iter().find(|column| column.field.name() == name)
    }
}

impl ScanPart {
    /// The version, of a part in a pond.
    pub(crate) fn version(&self) -> Option<&Version> {
        match &self.origin {
            PartOrigin::Pond { version, .. } => Some(version),
            PartOrigin::Host { .. } => None,
        }
    }

    /// How many rows there are, where that is known.
    pub(crate) fn rows(&self) -> Precision<usize> {
        self.attributes.row_count()
    }

    /// What is known of the part's own columns.
    ///
    /// # Errors
    /// When what was kept of them cannot be read.
    pub(crate) fn own_statistics(&self) -> Result<&Arc<Statistics>> {
        self.attributes.statistics().map_err(|error| match &self.origin {
            PartOrigin::Pond { path, version } => error.with_path(path).with_version(version.number),
            PartOrigin::Host { .. } => error,
        })
    }

    /// What is known of a column of the merged schema in this part. A column that the part lacks is all NULL.
    ///
    /// # Errors
    /// As [`own_statistics`](Self::own_statistics).
    pub(crate) fn file_column(&self, field: &Field) -> Result<ColumnStatistics> {
        let schema = &self.attributes.schema;
        let Ok(at) = schema.index_of(field.name()) else {
            return Ok(ColumnStatistics { null_count: self.rows(), ..ColumnStatistics::new_unknown() });
        };
        let column = &self.own_statistics()?.column_statistics[at];
        if schema.field(at).data_type() == field.data_type() {
            return Ok(column.clone());
        }
        Ok(widened(column, schema.field(at).data_type(), field.data_type()))
    }

    /// What is known of a virtual column in this part: everything.
    pub(crate) fn virtual_column(&self, column: &VirtualColumn) -> ColumnStatistics {
        let value = column.value(self);
        // `PartitionedFile::with_statistics` would claim that a NULL capture has no NULL.
        if value.is_null() {
            return ColumnStatistics { null_count: self.rows(), ..ColumnStatistics::new_unknown() };
        }
        // A part that may be empty has perhaps no row with the value.
        if self.rows().is_exact() != Some(true) {
            return ColumnStatistics {
                null_count: Precision::Exact(0),
                min_value: Precision::Inexact(value.clone()),
                max_value: Precision::Inexact(value),
                ..ColumnStatistics::new_unknown()
            };
        }
        ColumnStatistics {
            null_count: Precision::Exact(0),
            min_value: Precision::Exact(value.clone()),
            max_value: Precision::Exact(value),
            distinct_count: Precision::Exact(1),
            ..ColumnStatistics::new_unknown()
        }
    }

    /// What is known of all columns of the scan in this part.
    ///
    /// # Errors
    /// As [`own_statistics`](Self::own_statistics).
    pub(crate) fn statistics(&self, columns: &ScanColumns) -> Result<Arc<Statistics>> {
        let own = self.own_statistics()?;
        let same = Arc::ptr_eq(&self.attributes.schema, &columns.file);
        if same && columns.virtuals.is_empty() {
            return Ok(Arc::clone(own));
        }
        let mut all = Vec::with_capacity(columns.table.fields().len());
        if same {
            all.extend_from_slice(&own.column_statistics);
        } else {
            for field in columns.file.fields() {
                all.push(self.file_column(field)?);
            }
        }
        all.extend(columns.virtuals.iter().map(|column| self.virtual_column(column)));
        Ok(Arc::new(Statistics { num_rows: self.rows(), total_byte_size: Precision::Absent, column_statistics: all }))
    }

    /// How many rows there are, as the statistics of a scan that asks for no column.
    pub(crate) fn count(&self, columns: &ScanColumns) -> Arc<Statistics> {
        Arc::new(Statistics { num_rows: self.rows(), ..Statistics::new_unknown(&columns.table) })
    }
}

/// Whether values of `from` keep their order when they are cast to `to`, and different ones stay different.
pub(crate) fn keeps_order(from: &DataType, to: &DataType) -> bool {
    from == to
        || (from.is_integer() && to.is_integer())
        || (is_text(from) && is_text(to))
        || matches!((from, to), (DataType::Timestamp(_, a), DataType::Timestamp(_, b)) if a == b)
}

/// Statistics of a column as they are after a cast. A bound stays one where the cast cannot turn smaller into larger; numbers as text do.
fn widened(column: &ColumnStatistics, from: &DataType, to: &DataType) -> ColumnStatistics {
    let monotone = keeps_order(from, to) || (from.is_numeric() && to.is_numeric());
    if !monotone {
        return ColumnStatistics { null_count: column.null_count.to_inexact(), ..ColumnStatistics::new_unknown() };
    }
    let cast = |bound: &Precision<ScalarValue>| match bound {
        Precision::Exact(value) => value.cast_to(to).map_or(Precision::Absent, Precision::Exact),
        Precision::Inexact(value) => value.cast_to(to).map_or(Precision::Absent, Precision::Inexact),
        Precision::Absent => Precision::Absent,
    };
    ColumnStatistics {
        null_count: column.null_count,
        min_value: cast(&column.min_value),
        max_value: cast(&column.max_value),
        ..ColumnStatistics::new_unknown()
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// What is known of all `parts` together, for the columns that `wanted` names; the others stay unknown, because nobody will ask.
///
/// DataFusion's own merge loses a column's bounds when one file has no value of it, as after a column was added.
pub(crate) fn merged_statistics(parts: &[Arc<Statistics>], width: usize, wanted: &[usize]) -> Statistics {
    let rows: Option<usize> = parts.iter().map(|part| part.num_rows.get_value().copied()).sum();
    let mut merged = Statistics {
        num_rows: rows.map_or(Precision::Absent, Precision::Exact),
        total_byte_size: Precision::Absent,
        column_statistics: vec![ColumnStatistics::new_unknown(); width],
    };
    for at in wanted {
        merged.column_statistics[*at] = merged_column(parts, *at);
    }
    merged
}

fn merged_column(parts: &[Arc<Statistics>], at: usize) -> ColumnStatistics {
    let mut merged = ColumnStatistics { null_count: Precision::Exact(0), ..ColumnStatistics::new_unknown() };
    let mut first = true;
    for part in parts {
        let column = &part.column_statistics[at];
        merged.null_count = merged.null_count.add(&column.null_count);
        let all_null = matches!((column.null_count, part.num_rows), (Precision::Exact(nulls), Precision::Exact(rows)) if nulls == rows);
        if all_null {
            continue;
        }
        if first {
            merged.min_value = column.min_value.clone();
            merged.max_value = column.max_value.clone();
            first = false;
        } else {
            merged.min_value = merged.min_value.min(&column.min_value);
            merged.max_value = merged.max_value.max(&column.max_value);
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(rows: usize, nulls: usize, bounds: Option<(i64, i64)>) -> Arc<Statistics> {
        let mut column = ColumnStatistics { null_count: Precision::Exact(nulls), ..ColumnStatistics::new_unknown() };
        if let Some((min, max)) = bounds {
            column.min_value = Precision::Exact(ScalarValue::Int64(Some(min)));
            column.max_value = Precision::Exact(ScalarValue::Int64(Some(max)));
        }
        Arc::new(Statistics {
            num_rows: Precision::Exact(rows),
            total_byte_size: Precision::Absent,
            column_statistics: vec![column],
        })
    }

    #[test]
    fn part_without_a_value_does_not_hide_the_bounds_of_others() {
        let merged =
            merged_statistics(&[part(3, 3, None), part(5, 1, Some((2, 9))), part(1, 0, Some((-4, -4)))], 1, &[0]);
        assert_eq!(merged.num_rows, Precision::Exact(9));
        let column = &merged.column_statistics[0];
        assert_eq!(column.null_count, Precision::Exact(4));
        assert_eq!(column.min_value, Precision::Exact(ScalarValue::Int64(Some(-4))));
        assert_eq!(column.max_value, Precision::Exact(ScalarValue::Int64(Some(9))));
    }

    #[test]
    fn part_with_unknown_bounds_hides_those_of_others() {
        let merged = merged_statistics(&[part(5, 1, Some((2, 9))), part(3, 1, None)], 1, &[0]);
        assert_eq!(merged.column_statistics[0].min_value, Precision::Absent);
        assert_eq!(merged.column_statistics[0].max_value, Precision::Absent);
    }

    #[test]
    fn numbers_as_text_have_no_bounds() {
        let column = part(2, 0, Some((9, 10))).column_statistics[0].clone();
        assert_eq!(widened(&column, &DataType::Int64, &DataType::Utf8View).min_value, Precision::Absent);
        let float = widened(&column, &DataType::Int64, &DataType::Float64);
        assert_eq!(float.max_value, Precision::Exact(ScalarValue::Float64(Some(10.0))));
    }
}
