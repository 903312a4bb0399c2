//! [`PartObserver`]: what is to be known of a part, gathered while it is written.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Float16Type, Float32Type, Float64Type, SchemaRef};
use datafusion::arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, DataFusionError, ScalarValue};
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::parquet::file::metadata::ParquetMetaData;

use super::attributes::{PartAttributes, SortColumn};
use super::format::PartFormat;
use super::stats_text::keeps_bounds;
use crate::error::{Error, Result};

/// Sees every batch of a part, then its footer.
#[derive(Debug)]
pub(crate) struct PartObserver {
    schema: SchemaRef,
    rows: u64,
    nulls: Vec<usize>,
    /// By column: whether a NaN went by. The bounds that Parquet keeps leave NaN out, but filters do not.
    nan: Vec<bool>,
    order: Order,
}

#[derive(Debug)]
enum Order {
    /// The plan says so.
    Known(Vec<SortColumn>),
    /// Nobody says so, but the rows have come in order of this time column so far. Readings mostly do, and then scans need no sort.
    Seen(TimeOrder),
    Unknown,
}

impl PartObserver {
    pub(crate) fn new(schema: &SchemaRef, order: Vec<SortColumn>) -> Self {
        let columns = schema.fields().len();
        let order = match order.is_empty() {
            false => Order::Known(order),
            true => TimeOrder::of(schema).map_or(Order::Unknown, Order::Seen),
        };
        Self { schema: Arc::clone(schema), rows: 0, nulls: vec![0; columns], nan: vec![false; columns], order }
    }

    pub(crate) fn observe(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        for (at, column) in batch.columns().iter().enumerate() {
            self.nulls[at] += column.logical_null_count();
            self.nan[at] = self.nan[at] || holds_nan(column);
        }
        if let Order::Seen(order) = &mut self.order
            && !order.continues(batch)?
        {
            self.order = Order::Unknown;
        }
        Ok(())
    }

    /// How many rows went by.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// How many NULLs went by in the column at this place.
    pub(crate) fn nulls(&self, at: usize) -> usize {
        self.nulls[at]
    }

    /// Whether a NaN went by.
    pub(crate) fn saw_nan(&self) -> bool {
        self.nan.contains(&true)
    }

    /// Whether a NaN went by in this column.
    pub(crate) fn saw_nan_in(&self, column: &str) -> bool {
        self.schema.index_of(column).is_ok_and(|at| self.nan[at])
    }

    pub(crate) fn finish(self, metadata: &ParquetMetaData) -> Result<PartAttributes> {
        let written = DFParquetMetadata::statistics_from_parquet_metadata(metadata, &self.schema)?;
        let columns = written.column_statistics.into_iter().enumerate().map(|(at, column)| {
            let nan = self.nan[at];
            kept_bounds(self.schema.field(at).data_type(), &column, nan)
                .with_null_count(Precision::Exact(self.nulls[at]))
        });
        let columns = columns.collect();
        self.finish_with(PartFormat::default(), columns)
    }

    /// What was seen, with what is known of the columns otherwise.
    pub(crate) fn finish_with(self, format: PartFormat, columns: Vec<ColumnStatistics>) -> Result<PartAttributes> {
        let order = match self.order {
            Order::Known(order) => order,
            Order::Seen(order) if self.rows > 0 => vec![SortColumn::ascending(order.column)],
            Order::Seen(_) | Order::Unknown => Vec::new(),
        };
        let attributes = PartAttributes::of_format(format, self.schema, Some(self.rows))?;
        Ok(attributes.with_order(order).with_columns(columns))
    }
}

/// What is kept of the bounds that a Parquet footer gives.
pub(crate) fn kept_bounds(data_type: &DataType, column: &ColumnStatistics, nan: bool) -> ColumnStatistics {
    let mut kept = ColumnStatistics::new_unknown();
    let (Precision::Exact(min), Precision::Exact(max)) = (&column.min_value, &column.max_value) else {
        // Inexact in a footer is a text that was cut off.
        return kept;
    };
    if nan || !keeps_bounds(data_type) || min.is_null() || max.is_null() {
        return kept;
    }
    // A footer does not tell 0 from -0.
    let exact = !is_zero(min) && !is_zero(max);
    let precision = |value: &ScalarValue| match exact {
        true => Precision::Exact(value.clone()),
        false => Precision::Inexact(value.clone()),
    };
    kept.min_value = precision(&signed_zero(min, true));
    kept.max_value = precision(&signed_zero(max, false));
    kept
}

fn is_zero(value: &ScalarValue) -> bool {
    match value {
        ScalarValue::Float32(Some(value)) => *value == 0.0,
        ScalarValue::Float64(Some(value)) => *value == 0.0,
        _ => false,
    }
}

/// The zero that is a bound of both zeros.
fn signed_zero(value: &ScalarValue, negative: bool) -> ScalarValue {
    match value {
        ScalarValue::Float32(Some(zero)) if *zero == 0.0 => {
            ScalarValue::Float32(Some(if negative { -0.0 } else { 0.0 }))
        }
        ScalarValue::Float64(Some(zero)) if *zero == 0.0 => {
            ScalarValue::Float64(Some(if negative { -0.0 } else { 0.0 }))
        }
        other => other.clone(),
    }
}

fn holds_nan(column: &ArrayRef) -> bool {
    match column.data_type() {
        DataType::Float16 => column.as_primitive::<Float16Type>().values().iter().any(|value| value.is_nan()),
        DataType::Float32 => column.as_primitive::<Float32Type>().values().iter().any(|value| value.is_nan()),
        DataType::Float64 => column.as_primitive::<Float64Type>().values().iter().any(|value| value.is_nan()),
        _ => false,
    }
}

/// Whether rows come in ascending order of the first timestamp column.
#[derive(Debug)]
struct TimeOrder {
    at: usize,
    column: String,
    converter: RowConverter,
    last: Option<OwnedRow>,
}

impl TimeOrder {
    fn of(schema: &SchemaRef) -> Option<Self> {
        let at = schema.fields().iter().position(|field| matches!(field.data_type(), DataType::Timestamp(_, _)))?;
        let field = schema.field(at);
        let converter = RowConverter::new(vec![SortField::new(field.data_type().clone())]).ok()?;
        Some(Self { at, column: field.name().clone(), converter, last: None })
    }

    fn continues(&mut self, batch: &RecordBatch) -> Result<bool> {
        let column = batch.column(self.at);
        if column.null_count() > 0 {
            return Ok(false);
        }
        let rows = self
            .converter
            .convert_columns(&[Arc::clone(column)])
            .map_err(|error| Error::from_datafusion(DataFusionError::from(error)))?;
        let Some(last) = rows.num_rows().checked_sub(1) else { return Ok(true) };
        let follows = self.last.as_ref().is_none_or(|before| before.row() <= rows.row(0));
        let sorted = (0..last).all(|at| rows.row(at) <= rows.row(at + 1));
        self.last = Some(rows.row(last).owned());
        Ok(follows && sorted)
    }
}
