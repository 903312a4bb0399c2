//! Columns of a family that hold the text of one of its captures.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan};

use crate::catalog::captures::CaptureSource;
use crate::catalog::fold::{as_column, sides_kept};

/// The capture whose text a column of a family's plan holds in the rows of every member: where it is the column of a glob or list
/// that supplies the capture, handed up as it is.
pub(crate) fn held_capture(plan: &LogicalPlan, sources: &[CaptureSource], column: &Column) -> Option<usize> {
    let field = plan.schema().field(plan.schema().maybe_index_of_column(column)?);
    let is_text = matches!(field.data_type(), DataType::Utf8View | DataType::Utf8 | DataType::LargeUtf8);
    // A number is written in more than one way.
    if is_text { handed_up(plan, sources, column) } else { None }
}

fn handed_up(plan: &LogicalPlan, sources: &[CaptureSource], column: &Column) -> Option<usize> {
    if let Some(source) = CaptureSource::of(sources, plan) {
        return source.columns.iter().find(|(_, name)| *name == column.name).map(|(capture, _)| *capture);
    }
    let of_expression = |expressions: &[Expr], input: &LogicalPlan| {
        let place = plan.schema().maybe_index_of_column(column)?;
        handed_up(input, sources, as_column(expressions.get(place)?)?)
    };
    let of_input = |input: &LogicalPlan| {
        let place = plan.schema().maybe_index_of_column(column)?;
        handed_up(input, sources, input.schema().columns().get(place)?)
    };
    match plan {
        LogicalPlan::Projection(projection) => of_expression(&projection.expr, &projection.input),
        LogicalPlan::Aggregate(aggregate) => of_expression(&aggregate.group_expr, &aggregate.input),
        LogicalPlan::SubqueryAlias(alias) => of_input(&alias.input),
        LogicalPlan::Filter(filter) => of_input(&filter.input),
        LogicalPlan::Sort(sort) => of_input(&sort.input),
        LogicalPlan::Limit(limit) => of_input(&limit.input),
        // Its own columns are behind those of the input.
        LogicalPlan::Window(window) => of_input(&window.input),
        LogicalPlan::Distinct(Distinct::All(input)) => of_input(input),
        LogicalPlan::Join(join) => {
            let sides = [&join.left, &join.right].into_iter().zip(sides_kept(join.join_type));
            let mut having = sides.filter(|(side, _)| side.schema().maybe_index_of_column(column).is_some());
            match (having.next(), having.next()) {
                (Some((side, true)), None) => handed_up(side, sources, column),
                _ => None,
            }
        }
        LogicalPlan::Union(union) => {
            let mut inputs = union.inputs.iter().map(|input| of_input(input));
            let first = inputs.next()??;
            inputs.all(|held| held == Some(first)).then_some(first)
        }
        _ => None,
    }
}
