//! Columns that have one value for all rows become constants in the expressions above them.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, JoinType, ScalarValue};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Distinct, DistinctOn, Expr, LogicalPlan, lit};

use crate::catalog::captures::CaptureSource;
use crate::error::Result;

type Constants = HashMap<Column, ScalarValue>;

/// The plan with the texts of captures that come from lists in place of the columns that hold them: some functions take
/// constants only, such as `date_bin` its interval.
pub(crate) fn fold_lists(plan: &LogicalPlan, lists: &[CaptureSource], texts: &[Arc<str>]) -> Result<LogicalPlan> {
    Ok(fold(plan, lists, texts)?.0)
}

fn fold(plan: &LogicalPlan, lists: &[CaptureSource], texts: &[Arc<str>]) -> Result<(LogicalPlan, Constants)> {
    if let Some(source) = CaptureSource::of(lists, unfiltered(plan)) {
        let mut constants = Constants::new();
        for (capture, name) in &source.columns {
            let Some(text) = texts.get(*capture) else { continue };
            let (qualifier, field) = plan.schema().qualified_field_with_unqualified_name(name)?;
            let value = ScalarValue::Utf8View(Some(text.to_string())).cast_to(field.data_type())?;
            let _ = constants.insert(Column::new(qualifier.cloned(), field.name().clone()), value);
        }
        return Ok((plan.clone(), constants));
    }
    let mut inputs = Vec::new();
    let mut constants = Vec::new();
    for input in plan.inputs() {
        let (input, found) = fold(input, lists, texts)?;
        inputs.push(input);
        constants.push(found);
    }
    let mut known = Constants::new();
    match plan {
        // The side that may be filled with NULL has no constants.
        LogicalPlan::Join(join) => {
            let keeps = sides_kept(join.join_type);
            constants.into_iter().zip(keeps).filter(|(_, keeps)| *keeps).for_each(|(found, _)| known.extend(found));
            return Ok((plan.with_new_exprs(plan.expressions(), inputs)?, known));
        }
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Limit(_) => constants.into_iter().for_each(|found| known.extend(found)),
        _ if inputs.is_empty() => return Ok((plan.clone(), known)),
        _ => return Ok((plan.with_new_exprs(plan.expressions(), inputs)?, known)),
    }
    let names = NamePreserver::new(plan);
    let named = |expression: Expr| -> Result<Expr> {
        let name = names.save(&expression);
        Ok(name.restore(substitute(expression, &known)?))
    };
    let above = above(plan, &known);
    if let LogicalPlan::Distinct(Distinct::On(distinct)) = plan
        && let Some(input) = inputs.pop()
    {
        // `with_new_exprs` takes none with an order. What tells the rows apart stays what the order says first.
        let select = distinct.select_expr.iter().cloned().map(named).collect::<Result<Vec<_>>>()?;
        let (on, order) = (distinct.on_expr.clone(), distinct.sort_expr.clone());
        let folded = Distinct::On(DistinctOn::try_new(on, select, order, Arc::new(input))?);
        return Ok((LogicalPlan::Distinct(folded), above));
    }
    let expressions = plan.expressions().into_iter().map(named).collect::<Result<Vec<_>>>()?;
    Ok((plan.with_new_exprs(expressions, inputs)?, above))
}

/// Which sides of a join have their columns in its rows as they are, never filled with NULL.
pub(crate) fn sides_kept(join_type: JoinType) -> [bool; 2] {
    match join_type {
        JoinType::Inner => [true, true],
        JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => [true, false],
        JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => [false, true],
        JoinType::Full => [false, false],
    }
}

/// What is below the filters that bind a list to a member: they need its column as it is.
fn unfiltered(plan: &LogicalPlan) -> &LogicalPlan {
    match plan {
        LogicalPlan::Filter(filter) => unfiltered(&filter.input),
        other => other,
    }
}

/// A column alone stays what it is, and may be NULL as far as the schema says.
fn substitute(expression: Expr, known: &Constants) -> Result<Expr> {
    if known.is_empty() || as_column(&expression).is_some() {
        return Ok(expression);
    }
    let substituted = expression.transform_down(|inner| {
        Ok(match &inner {
            Expr::Column(column) => match known.get(column) {
                Some(value) => Transformed::yes(lit(value.clone())),
                None => Transformed::no(inner),
            },
            // Each of its parts has a name above, and is what `grouping()` looks for.
            Expr::GroupingSet(_) => Transformed::new(inner, false, TreeNodeRecursion::Jump),
            Expr::AggregateFunction(call) if call.func.name() == "grouping" => {
                Transformed::new(inner, false, TreeNodeRecursion::Jump)
            }
            _ => Transformed::no(inner),
        })
    })?;
    Ok(substituted.data)
}

/// What is constant in the output of `plan`.
fn above(plan: &LogicalPlan, known: &Constants) -> Constants {
    let columns = plan.schema().columns();
    match plan {
        LogicalPlan::Projection(projection) => passed_on(&projection.expr, &columns, known),
        LogicalPlan::Aggregate(aggregate) => passed_on(&aggregate.group_expr, &columns, known),
        LogicalPlan::Distinct(Distinct::On(distinct)) => passed_on(&distinct.select_expr, &columns, known),
        LogicalPlan::SubqueryAlias(alias) => {
            let below: Vec<Expr> = alias.input.schema().columns().into_iter().map(Expr::Column).collect();
            passed_on(&below, &columns, known)
        }
        _ => known.clone(),
    }
}

fn passed_on(expressions: &[Expr], columns: &[Column], known: &Constants) -> Constants {
    let value =
        |(expression, column): (&Expr, &Column)| Some((column.clone(), known.get(as_column(expression)?)?.clone()));
    expressions.iter().zip(columns).filter_map(value).collect()
}

/// The column that an expression is, under whatever name.
pub(crate) fn as_column(expression: &Expr) -> Option<&Column> {
    match expression {
        Expr::Column(column) => Some(column),
        Expr::Alias(alias) => as_column(&alias.expr),
        _ => None,
    }
}
