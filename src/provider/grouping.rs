//! How the parts of a scan are dealt to partitions: by their order where they have one, else by size.

use std::cmp::Reverse;
use std::sync::Arc;

use datafusion::arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::stats::Precision;
use datafusion::common::{Result, ScalarValue, Statistics};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};

use super::attributes::SortColumn;
use super::scan_part::{ScanColumns, ScanPart, keeps_order};

/// A merge holds one open part for each group. Beyond this many for each partition, sorting is the better plan for parts of any size:
/// each may hold a row group in memory.
const MAX_GROUPS_PER_PARTITION: usize = 8;
/// More groups are merged while the largest part of each is open in no more bytes than these together.
const MERGED_BYTES: u64 = 64 << 20;
/// The most groups of small parts. Each is a task, and may be an open file; and every part is compared with every group.
const MAX_GROUPS: usize = 128;

/// Parts by partition, as places in the scan's list, and the order that each partition's rows come in.
#[derive(Debug)]
pub(crate) struct Grouping {
    pub(crate) groups: Vec<Vec<usize>>,
    pub(crate) order: Option<LexOrdering>,
}

/// Deals `parts` to about `target` partitions. `statistics` are those of the parts, in the scan's columns.
pub(crate) fn group(
    columns: &ScanColumns,
    parts: &[ScanPart],
    statistics: &[Arc<Statistics>],
    target: usize,
) -> Result<Grouping> {
    let target = target.max(1);
    if let Some(grouping) = by_order(columns, parts, statistics, target)? {
        return Ok(grouping);
    }
    Ok(Grouping { groups: by_size(&sizes(parts), target), order: None })
}

fn sizes(parts: &[ScanPart]) -> Vec<u64> {
    parts.iter().map(|part| part.origin.size()).collect()
}

/// Runs of neighbours of about equal size: neighbours are often alike, and `EXPLAIN` stays readable.
pub(super) fn by_size(sizes: &[u64], target: usize) -> Vec<Vec<usize>> {
    // A small part costs an open all the same.
    const OPEN_BYTES: u64 = 64 << 10;
    let target = target.max(1);
    let share = sizes.iter().map(|size| size + OPEN_BYTES).sum::<u64>() / target as u64;
    let mut groups: Vec<Vec<usize>> = Vec::with_capacity(target);
    let mut filled = 0;
    for (at, size) in sizes.iter().enumerate() {
        let (open, cost) = (groups.len(), size + OPEN_BYTES);
        match groups.last_mut() {
            Some(last) if open == target || filled + cost / 2 <= share => {
                last.push(at);
                filled += cost;
            }
            _ => {
                groups.push(vec![at]);
                filled = cost;
            }
        }
    }
    groups
}

/// How many groups of parts of these sizes may be merged by `target` partitions.
fn most_groups(mut sizes: Vec<u64>, target: usize) -> usize {
    // At worst the largest ones are in different groups.
    sizes.sort_unstable_by_key(|size| Reverse(*size));
    let mut open = 0_u64;
    let small = sizes.iter().take(MAX_GROUPS).take_while(|size| {
        open = open.saturating_add(**size);
        open <= MERGED_BYTES
    });
    small.count().max(target * MAX_GROUPS_PER_PARTITION)
}

/// `None` when the parts have no order in common, or one that would need too many groups.
fn by_order(
    columns: &ScanColumns,
    parts: &[ScanPart],
    statistics: &[Arc<Statistics>],
    target: usize,
) -> Result<Option<Grouping>> {
    let mut order = common_order(columns, parts);
    let Some(_) = order.first() else { return Ok(None) };
    let max_groups = most_groups(sizes(parts), target);
    // Parts can follow each other in a partition only by columns whose bounds are known and that hold no NULL: in a part
    // NULLs come last, so the next part's values would come after them.
    let known = order.iter().take_while(|(at, _)| statistics.iter().all(|part| is_bounded(part, *at))).count();
    let groups = if known == 0 || parts.len() == 1 {
        if parts.len() > max_groups {
            return Ok(None);
        }
        (0..parts.len()).map(|at| vec![at]).collect()
    } else {
        order.truncate(known);
        match chains(&order, parts, statistics, target, max_groups)? {
            Some(groups) => groups,
            None => return Ok(None),
        }
    };
    let order = LexOrdering::new(
        order
            .iter()
            .map(|(at, column)| PhysicalSortExpr::new(Arc::new(Column::new(&column.column, *at)), column.options())),
    );
    Ok(Some(Grouping { groups, order }))
}

/// The longest order, by places in the scan's columns, that all parts are in.
fn common_order(columns: &ScanColumns, parts: &[ScanPart]) -> Vec<(usize, SortColumn)> {
    let Some(first) = parts.first() else { return Vec::new() };
    let shared = parts.iter().fold(first.attributes.order.len(), |shared, part| {
        let order = &part.attributes.order;
        // Mostly one and the same order: compare before anything is looked up.
        first.attributes.order.iter().zip(order).take(shared).take_while(|(a, b)| a == b).count()
    });
    let mut common = Vec::with_capacity(shared);
    for column in &first.attributes.order[..shared] {
        let Ok(at) = columns.file.index_of(&column.column) else { break };
        let to = columns.file.field(at).data_type();
        let kept = parts.iter().all(|part| {
            let schema = &part.attributes.schema;
            Arc::ptr_eq(schema, &columns.file)
                || schema.field_with_name(&column.column).is_ok_and(|field| keeps_order(field.data_type(), to))
        });
        if !kept {
            break;
        }
        common.push((at, column.clone()));
    }
    common
}

fn is_bounded(part: &Statistics, at: usize) -> bool {
    let column = &part.column_statistics[at];
    column.null_count == Precision::Exact(0)
        && column.min_value.get_value().is_some()
        && column.max_value.get_value().is_some()
}

/// Chains of parts of which each begins where the one before has ended, or later. `None` when it takes more than `max_groups`.
///
/// `split_groups_by_statistics_with_target_partitions` of DataFusion does the same, but compares every part with every chain
/// however many there are, and parts that touch go to different chains.
fn chains(
    order: &[(usize, SortColumn)],
    parts: &[ScanPart],
    statistics: &[Arc<Statistics>],
    target: usize,
    max_groups: usize,
) -> Result<Option<Vec<Vec<usize>>>> {
    let (Some(lows), Some(highs)) = (bounds(order, statistics, false)?, bounds(order, statistics, true)?) else {
        return Ok(None);
    };
    let mut by_low: Vec<usize> = (0..parts.len()).collect();
    by_low.sort_by(|a, b| lows.row(*a).cmp(&lows.row(*b)).then_with(|| highs.row(*a).cmp(&highs.row(*b))));
    let mut chains: Vec<(Vec<usize>, u64)> = Vec::new();
    for at in by_low {
        let fits = |chain: &Vec<usize>| chain.last().is_some_and(|last| highs.row(*last) <= lows.row(at));
        let lightest = (0..chains.len()).filter(|chain| fits(&chains[*chain].0)).min_by_key(|chain| chains[*chain].1);
        let size = parts[at].origin.size();
        match lightest {
            // Not while there are partitions without a chain: work for every core.
            Some(lightest) if chains.len() >= target => {
                chains[lightest].0.push(at);
                chains[lightest].1 += size;
            }
            _ if chains.len() < max_groups => chains.push((vec![at], size)),
            _ => return Ok(None),
        }
    }
    Ok(Some(chains.into_iter().map(|(chain, _)| chain).collect()))
}

/// Where each part begins in the order, or with `end` where it ends; comparable as rows.
fn bounds(order: &[(usize, SortColumn)], statistics: &[Arc<Statistics>], end: bool) -> Result<Option<Rows>> {
    let mut arrays = Vec::with_capacity(order.len());
    let mut fields = Vec::with_capacity(order.len());
    for (at, column) in order {
        let values: Option<Vec<ScalarValue>> = statistics
            .iter()
            .map(|part| {
                let statistics = &part.column_statistics[*at];
                let bound = if column.descending == end { &statistics.min_value } else { &statistics.max_value };
                bound.get_value().cloned()
            })
            .collect();
        let Some(values) = values else { return Ok(None) };
        let array = ScalarValue::iter_to_array(values)?;
        fields.push(SortField::new_with_options(array.data_type().clone(), column.options()));
        arrays.push(array);
    }
    Ok(Some(RowConverter::new(fields)?.convert_columns(&arrays)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_parts_are_merged_in_more_groups_than_large_ones() {
        assert_eq!(most_groups(vec![64 << 20; 100], 2), 16);
        assert_eq!(most_groups(vec![1 << 20; 100], 2), 64);
        assert_eq!(most_groups(vec![1 << 10; 1000], 2), 128);
        assert_eq!(most_groups(vec![1 << 10; 1000], 32), 256);
        // One large part takes the place of many.
        assert_eq!(most_groups([vec![1 << 10; 100], vec![65 << 20]].concat(), 2), 16);
    }
}
