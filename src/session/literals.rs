//! Rows that are written out, as in `INSERT … VALUES`: planned without what is only for rows that come from somewhere.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::Optimizer;
use datafusion::physical_plan::ExecutionPlan;

use crate::error::Result;

/// The rule that computes what is constant; some functions are nothing else.
const EVALUATES: &str = "simplify_expressions";

/// DataFusion's own rules that move, prune or join what tables give.
static NEEDLESS: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let rules = Optimizer::new().rules;
    rules.iter().map(|rule| rule.name().to_owned()).filter(|name| name != EVALUATES).collect()
});

/// Whether a plan inserts rows that are written out, or is the `EXPLAIN` of one that would: it evaluates expressions, and nothing else.
/// `DISTINCT`, `UNION` and such are made of others by the rules.
pub(super) fn are_inserted_by(plan: &LogicalPlan) -> Result<bool> {
    let insert = match plan {
        LogicalPlan::Explain(explain) => explain.plan.as_ref(),
        plan => plan,
    };
    let mut plain = matches!(insert, LogicalPlan::Dml(_));
    let _ = insert.apply_with_subqueries(|node| {
        plain &= matches!(
            node,
            LogicalPlan::Dml(_) | LogicalPlan::Projection(_) | LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_)
        );
        Ok(if plain { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(plain)
}

/// The physical plan of [such](are_inserted_by) a plan, in the settings of `state`, which change for it.
///
/// A commit takes a few milliseconds, of which planning in full would be one.
pub(super) async fn physical(state: &mut SessionState, plan: LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
    // There is nothing to push down, to order otherwise or to split, whatever the session says of that.
    let options = state.config_mut().options_mut();
    options.optimizer.max_passes = 1;
    options.execution.target_partitions = 1;
    let optimized = match plan {
        LogicalPlan::Explain(mut explain) => {
            explain.plan = Arc::new(optimize(state, Arc::unwrap_or_clone(explain.plan))?);
            explain.logical_optimization_succeeded = true;
            LogicalPlan::Explain(explain)
        }
        insert => optimize(state, insert)?,
    };
    Ok(state.query_planner().create_physical_plan(&optimized, state).await?)
}

fn optimize(state: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan> {
    let analyzed = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
    // Those of an application stay.
    let rules = state.optimizer().rules.iter().filter(|rule| !NEEDLESS.contains(rule.name()));
    let optimizer = Optimizer::with_rules(rules.map(Arc::clone).collect());
    Ok(optimizer.optimize(analyzed, state, |_, _| {})?)
}
