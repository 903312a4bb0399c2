//! Which parts a scan can leave out, from what is known of them.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt64Array};
use datafusion::arrow::datatypes::{Field, FieldRef, Schema};
use datafusion::catalog::Session;
use datafusion::common::cast::as_boolean_array;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{Column, ColumnStatistics, DFSchema, Result, ScalarValue};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;

use super::scan_part::{ScanColumns, ScanPart};

/// Whether `filter` is about virtual columns alone, so that it can be decided for a part as a whole.
///
/// A constant is as well: DataFusion goes on simplifying a filter that a scan has taken on, such as `site <> NULL`, and then nobody but
/// the scan applies what is left of it.
pub(crate) fn is_decidable(filter: &Expr, columns: &ScanColumns) -> bool {
    if matches!(filter, Expr::Literal(ScalarValue::Boolean(_), _)) {
        return true;
    }
    let used = filter.column_refs();
    !used.is_empty()
        && !filter.is_volatile()
        && used.iter().all(|column| columns.virtual_column(&column.name).is_some())
}

/// Keeps the parts whose virtual columns pass every one of the decidable filters.
///
/// One filter after the other, so that one that fails on some value (`CAST(site AS INT) > 3`) sees only what the ones before it left.
pub(crate) fn keep_passing(
    session: &dyn Session,
    columns: &ScanColumns,
    parts: &mut Vec<ScanPart>,
    filters: &[&Expr],
) -> Result<()> {
    for filter in filters {
        if parts.is_empty() {
            return Ok(());
        }
        let used = filter.column_refs();
        let used: Vec<_> = columns.virtuals.iter().filter(|c| used.iter().any(|u| u.name == *c.field.name())).collect();
        let schema =
            Arc::new(Schema::new(used.iter().map(|column| Arc::clone(&column.field)).collect::<Vec<FieldRef>>()));
        let arrays = used
            .iter()
            .map(|column| ScalarValue::iter_to_array(parts.iter().map(|part| column.value(part))))
            .collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(parts.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), arrays, &options)?;
        let expression = session.create_physical_expr(unqualified((*filter).clone())?, &DFSchema::try_from(schema)?)?;
        let passed = expression.evaluate(&batch)?.into_array(parts.len())?;
        let passed = as_boolean_array(&passed)?;
        let mut rows = passed.iter();
        parts.retain(|_| rows.next().flatten() == Some(true));
    }
    Ok(())
}

/// Leaves out parts that by their statistics hold no row that passes all `filters`.
pub(crate) fn prune(
    session: &dyn Session,
    columns: &ScanColumns,
    parts: &mut Vec<ScanPart>,
    filters: &[&Expr],
) -> Result<()> {
    let filters = filters.iter().map(|filter| unqualified((*filter).clone())).collect::<Result<Vec<_>>>()?;
    let (Some(filter), false) = (conjunction(filters), parts.is_empty()) else { return Ok(()) };
    for part in parts.iter() {
        let _ = part.own_statistics()?;
    }
    let expression = session.create_physical_expr(filter, &DFSchema::try_from(Arc::clone(&columns.table))?)?;
    // A filter that statistics cannot decide prunes nothing; the plan above the scan still applies it, and reports what is wrong with it.
    let kept = PruningPredicateBuilder::new()
        .with_file_schema(Arc::clone(&columns.table))
        .try_build(expression)
        .and_then(|predicate| predicate.prune(&PartStatistics { columns, parts }));
    match kept {
        Ok(kept) => {
            let mut kept = kept.into_iter();
            parts.retain(|_| kept.next() != Some(false));
        }
        Err(error) => tracing::debug!(%error, "no pruning by statistics"),
    }
    Ok(())
}

/// Filters reach a provider without qualifiers, except from callers that build plans by hand.
fn unqualified(filter: Expr) -> Result<Expr> {
    use datafusion::common::tree_node::{Transformed, TreeNode};
    filter
        .transform(|expr| {
            Ok(match expr {
                Expr::Column(column) if column.relation.is_some() => {
                    Transformed::yes(Expr::Column(Column::new_unqualified(column.name)))
                }
                other => Transformed::no(other),
            })
        })
        .map(|transformed| transformed.data)
}

/// The statistics of parts, looked up only for the columns that a predicate names.
///
/// Not DataFusion's `PrunableStatistics`, which needs all columns of all parts and drops inexact bounds: ours are true bounds, only perhaps not attained.
struct PartStatistics<'a> {
    columns: &'a ScanColumns,
    parts: &'a [ScanPart],
}

impl PartStatistics<'_> {
    fn each(&self, name: &str) -> Option<(&Field, Vec<ColumnStatistics>)> {
        if let Some(column) = self.columns.virtual_column(name) {
            return Some((&column.field, self.parts.iter().map(|part| part.virtual_column(column)).collect()));
        }
        let field = self.columns.file.field_with_name(name).ok()?;
        // They were read before, and are readable.
        Some((field, self.parts.iter().map(|part| part.file_column(field).ok()).collect::<Option<_>>()?))
    }

    fn bounds(&self, name: &str, bound: impl Fn(ColumnStatistics) -> Precision<ScalarValue>) -> Option<ArrayRef> {
        let (field, each) = self.each(name)?;
        let unknown = ScalarValue::try_from(field.data_type()).ok()?;
        let values = each.into_iter().map(|column| match bound(column) {
            Precision::Exact(value) | Precision::Inexact(value) => value,
            Precision::Absent => unknown.clone(),
        });
        ScalarValue::iter_to_array(values).ok().filter(|array| array.null_count() < array.len())
    }
}

impl PruningStatistics for PartStatistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(&column.name, |column| column.min_value)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(&column.name, |column| column.max_value)
    }

    fn num_containers(&self) -> usize {
        self.parts.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let (_, each) = self.each(&column.name)?;
        let counts = each.into_iter().map(|column| match column.null_count {
            Precision::Exact(nulls) => u64::try_from(nulls).ok(),
            _ => None,
        });
        Some(Arc::new(counts.collect::<UInt64Array>()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.parts.iter().map(|part| part.attributes.rows()).collect::<UInt64Array>()))
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
