//! [`together`]: the rows of many members of a family in one plan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Projection, Union, lit};

use crate::catalog::captures::{CaptureSource, bind};
use crate::catalog::family::Texts;
use crate::catalog::weave::{Stop, Weave, Weaver, Woven, column_named, columns, hidden_name};
use crate::error::{Error, ErrorKind, Result};

/// How many members may be read together, each with a plan of its own; and how many combinations of texts from lists.
pub(crate) const MAX_SEPARATE_MEMBERS: usize = 1_000;

/// The rows of several members in one plan: the columns of the family, then one for each capture.
#[derive(Debug)]
pub(crate) struct Together {
    pub(crate) plan: LogicalPlan,
    /// The columns that hold the captures, in the captures' order.
    pub(crate) captures: Vec<Column>,
}

/// Which members a [`Together`] is of.
#[derive(Debug)]
pub(crate) struct Members {
    pub(crate) texts: Vec<Texts>,
    /// Whether these are all that the sources have, so that they need no filter.
    pub(crate) complete: bool,
}

/// Plans `members` of a family as one: what the query says for one member is done for each by its captures. Where that
/// is not possible, as with a subquery in an expression, each member has a plan of its own.
///
/// Texts from a list of `VALUES` are constants, each with a plan of its own: functions such as `date_bin` demand it.
///
/// # Errors
/// [`ErrorKind::Limit`] for more than [`MAX_SEPARATE_MEMBERS`] of these, or of those.
pub(crate) fn together(plan: &LogicalPlan, sources: &[CaptureSource], members: &Members) -> Result<Together> {
    let listed: BTreeSet<usize> = sources
        .iter()
        .filter(|source| source.is_list)
        .flat_map(|source| source.columns.iter().map(|(capture, _)| *capture))
        .collect();
    let mut groups: BTreeMap<Vec<&Arc<str>>, Vec<Texts>> = BTreeMap::new();
    for texts in &members.texts {
        let constants = listed.iter().filter_map(|capture| texts.get(*capture)).collect();
        groups.entry(constants).or_default().push(texts.clone());
    }
    if !listed.is_empty() && groups.len() > MAX_SEPARATE_MEMBERS {
        let message = format!(
            "the VALUES in the query make {} combinations, each of which needs a plan of its own; {MAX_SEPARATE_MEMBERS} can be read together, with a glob that matches fewer",
            groups.len()
        );
        return Err(Error::new(ErrorKind::Limit, message));
    }
    let woven = if listed.is_empty() {
        woven(plan, sources, members, &BTreeSet::new())
    } else {
        let plans = groups.into_values().map(|texts| {
            let complete = members.complete;
            woven(plan, sources, &Members { texts, complete }, &listed)
        });
        plans.collect::<Weave<Vec<_>>>().and_then(|plans| Ok(united(plans)?))
    };
    match woven {
        Ok(plan) => Together::new(plan, members),
        Err(Stop::Failed(error)) => Err(error),
        Err(Stop::Separate(_)) if members.texts.len() <= MAX_SEPARATE_MEMBERS => separately(plan, sources, members),
        Err(Stop::Separate(why)) => {
            let message = format!(
                "the query has {why}, so that each of its {} members needs a plan of its own; {MAX_SEPARATE_MEMBERS} can be read together",
                members.texts.len()
            );
            Err(Error::new(ErrorKind::Limit, message))
        }
    }
}

impl Together {
    /// `plan` has the captures behind its own columns, under names that [`with_captures`] gave.
    fn new(plan: LogicalPlan, members: &Members) -> Result<Self> {
        let count = members.texts.first().map_or(0, Vec::len);
        let captures = (0..count).map(|at| column_named(&plan, &hidden_name(at, 0))).collect::<Result<_>>()?;
        Ok(Self { plan, captures })
    }
}

/// One plan for members that agree in the captures of `constant`.
fn woven(
    plan: &LogicalPlan,
    sources: &[CaptureSource],
    members: &Members,
    constant: &BTreeSet<usize>,
) -> Weave<LogicalPlan> {
    let Some(first) = members.texts.first() else { return Err(Stop::Separate("no members")) };
    let (lists, sources): (Vec<CaptureSource>, Vec<CaptureSource>) =
        sources.iter().cloned().partition(|source| source.is_list && !constant.is_empty());
    let plan = bind(plan, &lists, first)?;
    let own = plan.schema().fields().len();
    let wanted: BTreeSet<usize> = (0..first.len()).filter(|capture| !constant.contains(capture)).collect();
    let mut weaver = Weaver::new(&sources, members);
    let woven = weaver.weave(&plan)?;
    let woven = weaver.carry(woven, &wanted)?;
    // Sources of different captures may meet in a combination that is no member.
    let is_exact = members.complete && sources.iter().all(|source| source.columns.len() == first.len());
    let woven = if first.len() == 1 || wanted.is_empty() || is_exact { woven } else { weaver.only_members(woven)? };
    Ok(with_captures(woven, own, first)?)
}

/// The plan with all captures behind its own columns: those that it carries, and the texts of the others.
fn with_captures(woven: Woven, own: usize, texts: &Texts) -> Result<LogicalPlan> {
    let Woven { plan, carried } = woven;
    let mut output: Vec<Expr> = columns(&plan).into_iter().take(own).collect();
    let (mut names, mut constants) = (Vec::new(), Vec::new());
    for (capture, text) in texts.iter().enumerate() {
        match carried.get(&capture) {
            Some(name) => names.push(name.clone()),
            None => {
                names.push(hidden_name(capture, 0));
                constants.push((hidden_name(capture, 0), Some(Arc::clone(text))));
            }
        }
    }
    let plan = with_texts(plan, &constants)?;
    for (capture, name) in names.iter().enumerate() {
        output.push(Expr::Column(column_named(&plan, name)?).alias(hidden_name(capture, 0)));
    }
    Ok(LogicalPlanBuilder::from(plan).project(output)?.build()?)
}

/// The plan with a column for each of `texts`, which has that text in every row.
pub(crate) fn with_texts(plan: LogicalPlan, texts: &[(String, Option<Arc<str>>)]) -> Result<LogicalPlan> {
    if texts.is_empty() {
        return Ok(plan);
    }
    let value = |text: &Option<Arc<str>>| lit(ScalarValue::Utf8View(text.as_ref().map(ToString::to_string)));
    let mut output = columns(&plan);
    if !has_grand_total(&plan)? {
        output.extend(texts.iter().map(|(name, text)| value(text).alias(name)));
        return Ok(LogicalPlanBuilder::from(plan).project(output)?.build()?);
    }
    // A filter on a constant is decided while it is planned, and DataFusion moves what is left of it, `false`, below an
    // aggregate: one without groups has a row then that should not be. A table of one row keeps the filter to itself.
    let row = LogicalPlanBuilder::values(vec![texts.iter().map(|(_, text)| value(text)).collect()])?.build()?;
    let named = columns(&row).into_iter().zip(texts).map(|(column, (name, _))| column.alias(name));
    let row = LogicalPlanBuilder::from(row).project(named.collect::<Vec<_>>())?.build()?;
    output.extend(columns(&row));
    Ok(LogicalPlanBuilder::from(plan).cross_join(row)?.project(output)?.build()?)
}

/// Whether a plan has an aggregate that has a row for no input.
fn has_grand_total(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    let _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Aggregate(aggregate) = node {
            let groups = aggregate.group_expr.as_slice();
            found |= groups.is_empty() || matches!(groups, [Expr::GroupingSet(_)]);
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// A plan for each member.
fn separately(plan: &LogicalPlan, sources: &[CaptureSource], members: &Members) -> Result<Together> {
    let mut plans = Vec::with_capacity(members.texts.len());
    for texts in &members.texts {
        let bound = bind(plan, sources, texts)?;
        let own = bound.schema().fields().len();
        plans.push(with_captures(Woven { plan: bound, carried: BTreeMap::new() }, own, texts)?);
    }
    Together::new(united(plans)?, members)
}

/// The rows of all, under the columns of the first.
fn united(plans: Vec<LogicalPlan>) -> Result<LogicalPlan> {
    let mut plans: Vec<Arc<LogicalPlan>> = plans.into_iter().map(Arc::new).collect();
    if plans.len() == 1
        && let Some(only) = plans.pop()
    {
        return Ok(Arc::unwrap_or_clone(only));
    }
    // A union drops qualifiers, which columns above it have.
    let Some(first) = plans.first().map(Arc::clone) else {
        return Err(Error::new(ErrorKind::Plan, "there are no members to read"));
    };
    let union = LogicalPlan::Union(Union::try_new_with_loose_types(plans)?);
    let names = union.schema().columns().into_iter().zip(first.schema().columns());
    let output = names.map(|(column, name)| Expr::Column(column).alias_qualified(name.relation, name.name)).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(output, Arc::new(union))?))
}
