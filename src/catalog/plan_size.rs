//! How large plans are with the views in them written out.
//!
//! DataFusion puts the plan of a view wherever the view is named. In memory the two places share what is below them, but
//! whoever walks the plan meets it twice: 30 views that each read the one below twice would be 2^30 scans.

use std::collections::HashMap;

use datafusion::common::Result as DataFusionResult;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;

use crate::catalog::frame::views_in_planning;
use crate::error::{Error, ErrorKind, Result};

/// How many operators the plan of a statement or view may have, with the views that it reads written out.
const MAX_PLAN_OPERATORS: usize = 50_000;
/// How many views an error names.
const MAX_NAMED: usize = 8;

/// A sum over the operators of a plan, those in subqueries included. What is shared is looked at once, and counts wherever it stands.
pub(crate) struct Sum<F> {
    of_one: F,
    /// By address, so that one sum is of one plan, which must live as long.
    known: HashMap<*const LogicalPlan, usize>,
}

impl<F: FnMut(&LogicalPlan) -> DataFusionResult<usize>> Sum<F> {
    /// Adds up what `of_one` says of each operator.
    pub(crate) fn new(of_one: F) -> Self {
        Self { of_one, known: HashMap::new() }
    }

    /// The sum over `plan`, which is the one plan or a part of it.
    pub(crate) fn over(&mut self, plan: &LogicalPlan) -> DataFusionResult<usize> {
        let mut sum = (self.of_one)(plan)?;
        for input in plan.inputs() {
            sum = sum.saturating_add(self.over_input(input)?);
        }
        // DataFusion makes the node of a subquery for this call; what is below it stays where it is.
        let _ = plan.apply_subqueries(|subquery| {
            sum = sum.saturating_add(self.over(subquery)?);
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(sum)
    }

    fn over_input(&mut self, input: &LogicalPlan) -> DataFusionResult<usize> {
        let place = std::ptr::from_ref(input);
        if let Some(known) = self.known.get(&place) {
            return Ok(*known);
        }
        let sum = self.over(input)?;
        let _ = self.known.insert(place, sum);
        Ok(sum)
    }

    /// What was found of an input.
    fn found(&self, input: &LogicalPlan) -> usize {
        self.known.get(&std::ptr::from_ref(input)).copied().unwrap_or_default()
    }
}

/// Refuses the plan of a statement, or of the view that is being planned, that would take long to plan.
///
/// # Errors
/// [`ErrorKind::Limit`], with the number of operators and the views that have most of them.
pub(crate) fn check_size(plan: &LogicalPlan) -> Result<()> {
    let mut sum = Sum::new(|_| Ok(1));
    let operators = sum.over(plan)?;
    if operators <= MAX_PLAN_OPERATORS {
        return Ok(());
    }
    let planning = views_in_planning();
    let what = planning.last().map_or_else(|| "the statement".to_owned(), |path| format!("the view '{path}'"));
    let mut names: Vec<String> = planning.iter().map(ToString::to_string).collect();
    name_largest(&sum, plan, &mut names)?;
    let mut chain: Vec<String> = names.iter().take(MAX_NAMED).map(|name| format!("'{name}'")).collect();
    if names.len() > MAX_NAMED {
        chain.push("…".to_owned());
    }
    let chain = if chain.is_empty() { String::new() } else { format!(" ({})", chain.join(" → ")) };
    let message = format!(
        "{what} has {operators} operators in its plan, with the views that it reads written out wherever they are named{chain}, and {MAX_PLAN_OPERATORS} is the limit; store the rows of one of them with CREATE TABLE … AS SELECT, and read that"
    );
    let error = Error::new(ErrorKind::Limit, message);
    Err(match planning.last() {
        Some(path) => error.with_path(path),
        None => error,
    })
}

/// Adds the names of the views on the way down to where most of the operators are.
fn name_largest<F: FnMut(&LogicalPlan) -> DataFusionResult<usize>>(
    sum: &Sum<F>,
    place: &LogicalPlan,
    names: &mut Vec<String>,
) -> DataFusionResult<()> {
    let mut subqueries = Vec::new();
    let _ = place.apply_subqueries(|subquery| {
        subqueries.push(subquery.clone());
        Ok(TreeNodeRecursion::Continue)
    })?;
    // What is below the node of a subquery stays where it is, as in the sum.
    let below = place.inputs().into_iter().chain(subqueries.iter().flat_map(LogicalPlan::inputs));
    let Some(largest) = below.max_by_key(|input| sum.found(input)) else { return Ok(()) };
    if let LogicalPlan::SubqueryAlias(alias) = largest
        && alias.alias.table().starts_with('/')
    {
        names.push(alias.alias.table().to_owned());
    }
    name_largest(sum, largest, names)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::common::TableReference;
    use datafusion::logical_expr::{LogicalPlanBuilder, exists, not_exists};

    use super::*;

    /// One row, and `levels` unions of the level below with itself.
    fn doubled(levels: usize) -> LogicalPlan {
        let mut plan = LogicalPlanBuilder::empty(true).build().unwrap();
        for _ in 0..levels {
            plan = LogicalPlanBuilder::from(plan.clone()).union(plan).unwrap().build().unwrap();
        }
        plan
    }

    #[test]
    fn what_is_shared_counts_each_time_and_is_looked_at_once() {
        let mut looks = 0;
        let operators = Sum::new(|_| {
            looks += 1;
            Ok(1)
        })
        .over(&doubled(20))
        .unwrap();
        assert_eq!(operators, (1 << 21) - 1);
        assert!(looks <= 41, "{looks}");
    }

    #[test]
    fn sums_do_not_overflow() {
        assert_eq!(Sum::new(|_| Ok(1)).over(&doubled(80)).unwrap(), usize::MAX);
    }

    #[test]
    fn views_in_subqueries_are_named_too() {
        let named = |plan: LogicalPlan, name: &str| {
            LogicalPlanBuilder::from(plan).alias(TableReference::bare(name)).unwrap().build().unwrap()
        };
        let large = Arc::new(named(named(doubled(16), "/inner"), "/outer"));
        for condition in [exists(Arc::clone(&large)), not_exists(large)] {
            let small = LogicalPlanBuilder::from(named(doubled(3), "/small"));
            let error = check_size(&small.filter(condition).unwrap().build().unwrap()).unwrap_err();
            // 131,071 and two aliases in the subquery, and its node; 15 and an alias beside it, and the filter.
            assert!(error.to_string().starts_with("the statement has 131091 operators in its plan"), "{error}");
            assert!(error.to_string().contains("('/outer' → '/inner')"), "{error}");
        }
    }

    #[test]
    fn plans_have_a_limit() {
        assert!(check_size(&doubled(10)).is_ok());
        let error = check_size(&doubled(16)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert!(error.to_string().starts_with("the statement has 131071 operators in its plan"), "{error}");
    }
}
