//! [`OrderOnDemand`]: scans promise an order only to who asks for it.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, replace_children_if_necessary};

use super::grouping::by_size;
use super::object_store::SCHEME;

/// Takes the order from scans of a pond where nothing above needs it. To be the first rule of all.
///
/// DataFusion keeps an order that it knows through repartitioning as soon as an aggregate could stream, and merges the
/// partitions by it. Versions of a series follow each other in time, so that this merge reads one partition while the
/// others wait: grouping 20 million rows by hour takes twice as long with the order as without.
#[derive(Debug)]
pub struct OrderOnDemand;

impl PhysicalOptimizerRule for OrderOnDemand {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        visit(plan, Order::Unused, config.execution.target_partitions)
    }

    fn name(&self) -> &'static str {
        "pond_order_on_demand"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Whether the order of a node's rows means anything to those above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Used,
    Unused,
}

fn visit(plan: Arc<dyn ExecutionPlan>, order: Order, target: usize) -> Result<Arc<dyn ExecutionPlan>> {
    if order == Order::Unused
        && let Some(without) = without_order(&plan, target)
    {
        return Ok(without);
    }
    let plan = by_first(plan);
    let sorts = plan.is::<SortExec>() || plan.is::<SortPreservingMergeExec>();
    // The rows of an aggregate are new ones, and few: sorting them again is cheap.
    let passes = order == Order::Used && !plan.is::<AggregateExec>();
    let (required, kept) = (plan.required_input_ordering(), plan.maintains_input_order());
    let mut new = Vec::new();
    for (at, child) in plan.children().into_iter().enumerate() {
        let is_required = match plan.downcast_ref::<AggregateExec>() {
            // It asks for the order that its input happens to have; it needs one where a function does.
            Some(aggregate) => aggregate.aggr_expr().iter().any(|function| !function.order_bys().is_empty()),
            None => required.get(at).is_some_and(Option::is_some),
        };
        let is_kept = kept.get(at).copied().is_some_and(|kept| kept);
        let below = if sorts || is_required || (passes && is_kept) { Order::Used } else { Order::Unused };
        new.push(visit(Arc::clone(child), below, target)?);
    }
    replace_children_if_necessary(plan, new)
}

/// A sort by the first of the columns that a projection below it has twice. DataFusion moves the projection below the union of the
/// formats of a glob, forgets there that they are the same, and refuses its own plan.
fn by_first(plan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    let Some(sort) = plan.downcast_ref::<SortExec>() else { return plan };
    let Some(projection) = sort.input().downcast_ref::<ProjectionExec>() else { return plan };
    let columns = projection.expr();
    let first = |by: &PhysicalSortExpr| {
        let at = by.expr.downcast_ref::<Column>()?.index();
        // Not of just any expression: two of random() are different.
        let own = columns.get(at)?.expr.downcast_ref::<Column>()?;
        let first = columns.iter().position(|column| column.expr.downcast_ref::<Column>() == Some(own))?;
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(&columns[first].alias, first));
        (first < at).then(|| PhysicalSortExpr::new(column, by.options))
    };
    if sort.expr().iter().all(|by| first(by).is_none()) {
        return plan;
    }
    let order = LexOrdering::new(sort.expr().iter().map(|by| first(by).unwrap_or_else(|| by.clone())));
    let Some(order) = order else { return plan };
    let sorted = SortExec::new(order, Arc::clone(sort.input())).with_fetch(sort.fetch());
    Arc::new(sorted.with_preserve_partitioning(sort.preserve_partitioning()))
}

/// The scan without its order, and without the groups that are more than partitions only for its sake; `None` for what is no scan of a
/// pond, or has none.
fn without_order(plan: &Arc<dyn ExecutionPlan>, target: usize) -> Option<Arc<dyn ExecutionPlan>> {
    let scan = plan.downcast_ref::<DataSourceExec>()?.data_source().downcast_ref::<FileScanConfig>()?;
    if scan.output_ordering.is_empty() || !scan.object_store_url.as_str().starts_with(SCHEME) {
        return None;
    }
    let mut config = FileScanConfigBuilder::from(scan.clone()).with_output_ordering(Vec::new());
    if scan.file_groups.len() > target {
        config = config.with_file_groups(dealt(&scan.file_groups, target));
    }
    Some(DataSourceExec::from_data_source(config.build()))
}

/// The files of `groups` in about `target` groups of equal size.
fn dealt(groups: &[FileGroup], target: usize) -> Vec<FileGroup> {
    let files: Vec<&PartitionedFile> = groups.iter().flat_map(|group| group.iter()).collect();
    let sizes: Vec<u64> = files.iter().map(|file| file.effective_size()).collect();
    let groups = by_size(&sizes, target).into_iter();
    groups.map(|group| FileGroup::new(group.into_iter().map(|at| files[at].clone()).collect())).collect()
}
