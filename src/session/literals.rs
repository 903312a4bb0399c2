//! Rows that are written out, as in `INSERT … VALUES`: planned without what is only for rows that come from somewhere.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::Optimizer;
use datafusion::physical_plan::execute_stream;

use crate::error::Result;

/// The rule that computes what is constant; some functions are nothing else.
const EVALUATES: &str = "simplify_expressions";

/// DataFusion's own rules that move, prune or join what tables give.
static NEEDLESS: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let rules = Optimizer::new().rules;
    rules.iter().map(|rule| rule.name().to_owned()).filter(|name| name != EVALUATES).collect()
});

/// Plans and starts an `INSERT` of rows that are written out, in the settings of `state`, which change for it.
///
/// A commit takes a few milliseconds, of which planning in full would be one.
pub(super) async fn start(state: &mut SessionState, plan: LogicalPlan) -> Result<SendableRecordBatchStream> {
    // There is nothing to push down, to order otherwise or to split, whatever the session says of that.
    let options = state.config_mut().options_mut();
    options.optimizer.max_passes = 1;
    options.execution.target_partitions = 1;
    let optimized = if is_plain(&plan)? {
        let analyzed = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
        // Those of an application stay.
        let rules = state.optimizer().rules.iter().filter(|rule| !NEEDLESS.contains(rule.name()));
        let optimizer = Optimizer::with_rules(rules.map(Arc::clone).collect());
        optimizer.optimize(analyzed, state, |_, _| {})?
    } else {
        state.optimize(&plan)?
    };
    let physical = state.query_planner().create_physical_plan(&optimized, state).await?;
    Ok(execute_stream(physical, Arc::new(TaskContext::from(&*state)))?)
}

/// Whether a plan only evaluates expressions: `DISTINCT`, `UNION` and such are made of others by the rules.
fn is_plain(plan: &LogicalPlan) -> Result<bool> {
    let mut plain = true;
    let _ = plan.apply_with_subqueries(|node| {
        plain &= matches!(
            node,
            LogicalPlan::Dml(_) | LogicalPlan::Projection(_) | LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_)
        );
        Ok(if plain { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(plain)
}
