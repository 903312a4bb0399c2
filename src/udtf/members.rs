//! The members of a family that a glob of `pond()` matches.

use std::sync::Arc;

use datafusion::common::{Column, JoinType, ScalarValue, TableReference};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};
use tinyfs::{EntryKind, Glob, GlobMatch};

use crate::catalog::{Member, Members, Scope, Together, Tree, held_capture, now, on_behalf, planned_for, together};
use crate::error::{Error, ErrorKind, Result};
use crate::udtf::data::{Request, check_names, check_no_history, extra_columns};
use crate::udtf::matches::no_match;

/// The alias of the table that tells what belongs to each member of a family.
const MEMBERS: &str = "{members}";

/// The rows of members of a family, planned as one, with the glob's captures as columns.
pub(super) fn plan(
    scope: &Arc<Scope>,
    tree: &Tree,
    glob: &Glob,
    found: &[(GlobMatch, Member)],
    request: &Request,
) -> Result<LogicalPlan> {
    let Some((first, member)) = found.first() else { return Err(no_match(tree, glob)) };
    check_no_history(&member.path, EntryKind::View, request)?;
    for (entry, member) in found {
        member.check(&entry.path)?;
    }
    let membership = tree.membership(&member.path, member.family)?;
    // Who reads all that there are is told of those that are not.
    let reads_all = glob.as_path().is_none() && found.len() >= membership.shown;
    if let Some(lost) = membership.lost.as_ref().filter(|_| reads_all) {
        return Err(Error::shared(lost));
    }
    let texts: Vec<_> = found.iter().map(|(_, member)| member.texts.clone()).collect();
    let planned = now(|| on_behalf(planned_for(scope, &first.path, &first.node, Some(texts.clone()))))?
        .map_err(|error| Error::shared(&error))?;
    let complete = texts.len() == membership.all;
    let read = together(&planned.plan, &planned.sources, &Members { texts, complete });
    let Together { mut plan, captures: hidden } = read.map_err(|error| match error.kind() {
        ErrorKind::Limit => {
            let message = format!("the members of '{}' cannot be read as one", member.path);
            Error::new(ErrorKind::Limit, message).with_path(&member.path).with_source(error)
        }
        _ => error,
    })?;
    let own = plan.schema().columns().into_iter().take(planned.plan.schema().fields().len()).collect::<Vec<_>>();
    // Most often a capture of the glob is one of the family; what is not depends on the member as a whole.
    let rows: Vec<Vec<(String, Option<Arc<str>>)>> =
        found.iter().map(|(entry, _)| extra_columns(glob, entry, request)).collect();
    let names: Vec<String> = rows.first().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    // Its own columns, with the capture that they hold.
    let held: Vec<(&Column, Option<usize>)> = own
        .iter()
        .zip(planned.plan.schema().columns())
        .map(|(column, known)| (column, held_capture(&planned.plan, &planned.sources, &known)))
        .collect();
    let mut extra: Vec<(String, Expr)> = Vec::new();
    let mut others: Vec<usize> = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let is_capture = |capture: &usize| {
            found.iter().zip(&rows).all(|((_, member), row)| row[at].1.as_ref() == member.texts.get(*capture))
        };
        // The column is there already, as `SELECT *` has it from the glob of the query.
        if held.iter().any(|(column, capture)| column.name == *name && capture.as_ref().is_some_and(is_capture)) {
            continue;
        }
        match (0..hidden.len()).find(is_capture) {
            Some(capture) => extra.push((name.clone(), Expr::Column(hidden[capture].clone()))),
            None => {
                others.push(at);
                let column = format!("column{}", hidden.len() + others.len());
                extra.push((name.clone(), Expr::Column(Column::new(Some(MEMBERS), column))));
            }
        }
    }
    if !others.is_empty() {
        let text = |text: Option<&Arc<str>>| lit(ScalarValue::Utf8View(text.map(ToString::to_string)));
        let table = found.iter().zip(&rows).map(|((_, member), row)| {
            let others = others.iter().map(|at| text(row[*at].1.as_ref()));
            member.texts.iter().map(|capture| text(Some(capture))).chain(others).collect()
        });
        let table = LogicalPlanBuilder::values(table.collect())?.alias(MEMBERS)?.build()?;
        let column = |number: usize| Column::new(Some(MEMBERS), format!("column{number}"));
        let on = (hidden.clone(), (1..=hidden.len()).map(column).collect::<Vec<_>>());
        plan = LogicalPlanBuilder::from(plan).join(table, JoinType::Inner, on, None)?.build()?;
    }
    check_names(&own, extra.iter().map(|(name, _)| name), &member.path)?;
    let extra = extra.into_iter().map(|(name, value)| value.alias(name));
    let columns = own.into_iter().map(Expr::Column).chain(extra);
    let name = TableReference::bare(request.name.as_str());
    Ok(LogicalPlanBuilder::from(plan).project(columns)?.alias(name)?.build()?)
}
