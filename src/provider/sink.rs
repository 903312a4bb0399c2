//! What writes: a stream of batches becomes one Parquet part, and the part a version.

use std::fmt::{self, Debug};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::Result as DfResult;
use datafusion::datasource::sink::DataSink;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexRequirement, PhysicalSortRequirement};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties};
use tinyfs::{Attributes, Part, PersistenceLayer, WriteMode};

use super::attributes::SortColumn;
use super::part_writer::{WriteOptions, write_part};
use super::schema_text::{stored_type, without_metadata};
use crate::error::Result;

/// Adds versions to one file, as part of a statement's transaction.
#[async_trait]
pub trait TableWriter: Debug + Send + Sync {
    /// Where parts are kept.
    fn store(&self) -> &Arc<dyn PersistenceLayer>;

    /// Adds a version to the statement's transaction.
    async fn write(&self, mode: WriteMode, part: Part, attributes: Attributes) -> Result<()>;
}

/// Writes the rows of an `INSERT` as one version.
#[derive(Debug)]
pub struct PartSink {
    written: SchemaRef,
    /// The same, but all nullable: DataFusion's own check of NOT NULL does not name the column.
    accepted: SchemaRef,
    mode: WriteMode,
    order: Vec<SortColumn>,
    writer: Arc<dyn TableWriter>,
}

impl PartSink {
    /// A sink for rows of `schema`, matched by position, that arrive in `order` where it is not empty. A column that is not nullable refuses NULL.
    pub fn new(schema: SchemaRef, mode: WriteMode, order: Vec<SortColumn>, writer: Arc<dyn TableWriter>) -> Self {
        let accepted = nullable(&schema);
        Self { written: schema, accepted, mode, order, writer }
    }
}

impl DisplayAs for PartSink {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartSink(mode={})", self.mode.as_str())
    }
}

#[async_trait]
impl DataSink for PartSink {
    fn schema(&self) -> &SchemaRef {
        &self.accepted
    }

    async fn write_all(&self, data: SendableRecordBatchStream, _context: &Arc<TaskContext>) -> DfResult<u64> {
        let options = WriteOptions { schema: Some(Arc::clone(&self.written)), order: self.order.clone() };
        let written = write_part(data, self.writer.store(), options).await?;
        // No rows to add is no version; no rows to replace by is one.
        if written.rows > 0 || self.mode == WriteMode::Replace {
            self.writer.write(self.mode, written.part, written.attributes).await?;
        }
        Ok(written.rows)
    }
}

/// The order that a plan's rows come in, as far as it is one of plain columns.
pub fn physical_order(plan: &Arc<dyn ExecutionPlan>) -> Vec<SortColumn> {
    let Some(order) = plan.output_ordering() else { return Vec::new() };
    order
        .iter()
        .map_while(|sort| {
            let column = sort.expr.downcast_ref::<Column>()?;
            Some(SortColumn {
                column: column.name().to_owned(),
                descending: sort.options.descending,
                nulls_first: sort.options.nulls_first,
            })
        })
        .collect()
}

/// `order`, by columns of `table`, as a demand on a plan whose columns are those of `table` by position; `None` for no order.
pub(crate) fn required_order(order: &[SortColumn], table: &Schema, input: &Schema) -> Option<LexRequirement> {
    LexRequirement::new(order.iter().map_while(|column| {
        let at = table.index_of(&column.column).ok()?;
        let expr = Arc::new(Column::new(input.fields().get(at)?.name(), at));
        Some(PhysicalSortRequirement::new(expr, Some(column.options())))
    }))
}

/// `schema` as it is stored: text and bytes as views, no metadata.
pub(crate) fn stored_schema(schema: &SchemaRef) -> SchemaRef {
    let plain = without_metadata(schema);
    if plain.fields().iter().all(|field| stored_type(field.data_type()) == *field.data_type()) {
        return plain;
    }
    let stored = |field: &Arc<Field>| Field::new(field.name(), stored_type(field.data_type()), field.is_nullable());
    Arc::new(Schema::new(plain.fields().iter().map(stored).collect::<Vec<_>>()))
}

/// `schema` with every column nullable.
pub(crate) fn nullable(schema: &SchemaRef) -> SchemaRef {
    Arc::new(Schema::new(
        schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>(),
    ))
}
