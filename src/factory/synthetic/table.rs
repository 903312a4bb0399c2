//! [`SyntheticTable`]: a series as a table, computed while it is read.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result as DfResult, ScalarValue};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::{StreamExt, stream};

use super::series::{Series, TIMESTAMP};

/// A series as a table. A scan is DataFusion's own plan over a stream, of the columns that are asked for, and of no row that a comparison of
/// the time rules out.
#[derive(Debug)]
pub(super) struct SyntheticTable {
    series: Series,
    schema: SchemaRef,
}

impl SyntheticTable {
    pub(super) fn new(series: Series) -> Self {
        let schema = series.schema();
        Self { series, schema }
    }

    /// The rows that comparisons of the time leave. What else a filter says is for the plan above.
    fn rows(&self, filters: &[Expr]) -> Range<u64> {
        let Range { mut start, mut end } = self.series.rows();
        for (operator, time) in filters.iter().filter_map(|filter| self.bound(filter)) {
            let after = |time: i64| time.checked_add(1).map_or(end, |time| self.series.first_at(time));
            match operator {
                Operator::GtEq => start = start.max(self.series.first_at(time)),
                Operator::Gt => start = start.max(after(time)),
                Operator::Lt => end = end.min(self.series.first_at(time)),
                Operator::LtEq => end = end.min(after(time)),
                Operator::Eq => (start, end) = (start.max(self.series.first_at(time)), end.min(after(time))),
                _ => {}
            }
        }
        start.min(end)..end
    }

    /// A filter that compares the time with a constant.
    fn bound(&self, filter: &Expr) -> Option<(Operator, i64)> {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else { return None };
        let (column, operator, value) = match (left.as_ref(), right.as_ref()) {
            (Expr::Column(column), Expr::Literal(value, _)) => (column, *op, value),
            (Expr::Literal(value, _), Expr::Column(column)) => (column, op.swap()?, value),
            _ => return None,
        };
        // Of another type, the constant might be rounded.
        let is_time = column.name == TIMESTAMP && value.data_type() == *self.schema.field(0).data_type();
        match value {
            ScalarValue::TimestampMicrosecond(Some(time), _) if is_time => Some((operator, *time)),
            _ => None,
        }
    }
}

#[async_trait]
impl TableProvider for SyntheticTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        let kind = |filter: &&Expr| match self.bound(filter) {
            Some(_) => TableProviderFilterPushDown::Inexact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(kind).collect())
    }

    async fn scan(
        &self,
        _session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let columns = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let schema = Arc::new(self.schema.project(&columns)?);
        let rows = self.rows(filters);
        let order = columns.iter().position(|column| *column == 0).and_then(|at| {
            let time = PhysicalSortExpr::new(Arc::new(Column::new(TIMESTAMP, at)), SortOptions::new(false, false));
            LexOrdering::new([time])
        });
        let part = SyntheticRows { series: self.series.clone(), schema: Arc::clone(&schema), columns, rows };
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![Arc::new(part)], None, order, false, limit)?))
    }
}

/// Some rows and columns of a series.
#[derive(Debug, Clone)]
struct SyntheticRows {
    series: Series,
    schema: SchemaRef,
    columns: Vec<usize>,
    rows: Range<u64>,
}

impl SyntheticRows {
    fn batch(&self, rows: Range<u64>) -> DfResult<RecordBatch> {
        let count = usize::try_from(rows.end - rows.start).map_err(|error| DataFusionError::External(error.into()))?;
        let columns = self.columns.iter().map(|column| {
            let made = self.series.column(*column, rows.clone());
            made.ok_or_else(|| DataFusionError::Internal(format!("there is no column {column}")))
        });
        let columns = columns.collect::<DfResult<Vec<ArrayRef>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

impl PartitionStream for SyntheticRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (this, size) = (self.clone(), context.session_config().batch_size().max(1) as u64);
        let batches =
            stream::iter((self.rows.start..self.rows.end).step_by(usize::try_from(size).unwrap_or(usize::MAX)))
                .map(move |first| this.batch(first..first.saturating_add(size).min(this.rows.end)));
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::AsArray;
    use datafusion::arrow::datatypes::{Int64Type, TimestampMicrosecondType};
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::prelude::{SessionConfig, SessionContext};
    use tinyfs::{Definition, Shape};

    use super::*;

    const ROWS_OF_A_BATCH: usize = 1_000;
    /// 2000-01-01, in microseconds.
    const START: i64 = 946_684_800_000_000;

    /// A session with a mebibyte of memory, and a table `s` with a row each millisecond from 2000 on.
    fn context(end: &str) -> SessionContext {
        let options = [
            ("start", "2000-01-01T00:00:00Z"),
            ("end", end),
            ("interval", "1ms"),
            ("columns", r#"[{"name": "x", "components": [{"type": "noise", "amplitude": 1}]}]"#),
        ];
        let series = Series::try_new(&Definition {
            factory: "synthetic".to_owned(),
            shape: Shape::Table,
            location: None,
            options: options.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        });
        let runtime = RuntimeEnvBuilder::new().with_memory_limit(1 << 20, 1.0).build_arc().unwrap();
        let config = SessionConfig::new().with_batch_size(ROWS_OF_A_BATCH).with_target_partitions(1);
        let context = SessionContext::new_with_config_rt(config, runtime);
        let _ = context.register_table("s", Arc::new(SyntheticTable::new(series.unwrap()))).unwrap();
        context
    }

    fn first_time(batch: &RecordBatch) -> i64 {
        batch.column(0).as_primitive::<TimestampMicrosecondType>().value(0)
    }

    /// As many rows as no memory has: each batch is made when it is asked for.
    #[tokio::test]
    async fn what_is_not_asked_for_is_not_made() {
        let context = context("2031-09-09T01:46:40Z");
        let mut rows = context.sql("SELECT * FROM s").await.unwrap().execute_stream().await.unwrap();
        for number in 0..3 {
            let batch = rows.next().await.unwrap().unwrap();
            assert_eq!(batch.num_rows(), ROWS_OF_A_BATCH);
            assert_eq!(first_time(&batch), START + number * 1_000_000);
        }
        drop(rows);
        // In order as it comes, so that nothing is sorted.
        for (sql, count, first) in [
            ("SELECT * FROM s LIMIT 10", 10, START),
            ("SELECT * FROM s ORDER BY timestamp LIMIT 10", 10, START),
            ("SELECT * FROM s LIMIT 10 OFFSET 2500", 10, START + 2_500_000),
            ("SELECT * FROM s WHERE timestamp >= '2031-09-09T01:46:39.5Z'", 501, 1_946_684_799_500_000),
        ] {
            let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
            assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), count, "{sql}");
            assert_eq!(batches.iter().find(|batch| batch.num_rows() > 0).map(first_time), Some(first), "{sql}");
        }
        assert_eq!(context.runtime_env().memory_pool.reserved(), 0);
    }

    /// Eight hundred megabytes of rows go through one.
    #[tokio::test]
    async fn rows_are_counted_without_being_kept() {
        let context = context("2000-01-01T13:53:19.999Z");
        let counted = context.sql("SELECT count(*) FROM s").await.unwrap().collect().await.unwrap();
        assert_eq!(counted[0].column(0).as_primitive::<Int64Type>().value(0), 50_000_000);
        assert_eq!(context.runtime_env().memory_pool.reserved(), 0);
    }
}
