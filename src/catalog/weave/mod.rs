//! [`Weaver`]: makes of the plan of one member one of many, in which the captures are part of every grouping.

mod grouping;
mod joining;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::arrow::datatypes::FieldRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, DFSchema, DataFusionError, ScalarValue, TableReference};
use datafusion::logical_expr::{Distinct, Expr, Filter, LogicalPlan, LogicalPlanBuilder, Projection, lit};

use crate::catalog::captures::CaptureSource;
use crate::catalog::together::Members;
use crate::error::{Error, Result};

/// Why a plan cannot be woven.
pub(crate) enum Stop {
    /// It has this, which can only be done for one member at a time.
    Separate(&'static str),
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<DataFusionError> for Stop {
    fn from(error: DataFusionError) -> Self {
        Self::Failed(error.into())
    }
}

/// A plan whose columns are those of the plan it was made from, and behind them those that hold captures.
pub(crate) struct Woven {
    pub(crate) plan: LogicalPlan,
    /// The captures, and the names of their columns. Where there is none, the rows are the same for every member.
    pub(crate) carried: BTreeMap<usize, String>,
}

pub(crate) struct Weaver<'a> {
    sources: &'a [CaptureSource],
    members: &'a Members,
    names: usize,
}

pub(crate) type Weave<T> = std::result::Result<T, Stop>;

impl<'a> Weaver<'a> {
    pub(crate) fn new(sources: &'a [CaptureSource], members: &'a Members) -> Self {
        Self { sources, members, names: 0 }
    }

    pub(crate) fn weave(&mut self, plan: &LogicalPlan) -> Weave<Woven> {
        if !self.reads_source(plan)? {
            return Ok(Woven { plan: plan.clone(), carried: BTreeMap::new() });
        }
        if let Some(source) = CaptureSource::of(self.sources, plan) {
            return self.source(plan, source);
        }
        self.check_subqueries(plan)?;
        match plan {
            LogicalPlan::Filter(filter) => {
                let input = self.weave(&filter.input)?;
                let plan = LogicalPlan::Filter(Filter::try_new(filter.predicate.clone(), Arc::new(input.plan))?);
                Ok(Woven { plan, carried: input.carried })
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let input = self.weave(&alias.input)?;
                let plan = LogicalPlanBuilder::from(input.plan).alias(alias.alias.clone())?.build()?;
                Ok(Woven { plan, carried: input.carried })
            }
            LogicalPlan::Projection(projection) => {
                let input = self.weave(&projection.input)?;
                project(projection.expr.clone(), plan.schema(), input)
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Window(window) => self.window(window),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let input = self.weave(input)?;
                Ok(Woven { plan: LogicalPlanBuilder::from(input.plan).distinct()?.build()?, carried: input.carried })
            }
            // The rows of a table have no order.
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.weave(&sort.input),
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Distinct(Distinct::On(_)) => Err(Stop::Separate("DISTINCT ON")),
            LogicalPlan::Unnest(_) => Err(Stop::Separate("an UNNEST")),
            LogicalPlan::RecursiveQuery(_) => Err(Stop::Separate("WITH RECURSIVE")),
            _ => Err(Stop::Separate("a part that is done for the whole")),
        }
    }

    fn source(&mut self, plan: &LogicalPlan, source: &CaptureSource) -> Weave<Woven> {
        let mut carried = BTreeMap::new();
        let mut texts = BTreeMap::new();
        let mut input = LogicalPlanBuilder::from(plan.clone());
        for (capture, column) in &source.columns {
            let text = CaptureSource::text(plan, column)?;
            if !self.members.complete {
                let wanted: BTreeSet<&Arc<str>> =
                    self.members.texts.iter().filter_map(|texts| texts.get(*capture)).collect();
                let wanted = wanted.into_iter().map(|text| lit(ScalarValue::Utf8View(Some(text.to_string()))));
                input = input.filter(text.clone().in_list(wanted.collect(), false))?;
            }
            let name = self.name(*capture);
            let _ = texts.insert(*capture, text.alias(&name));
            let _ = carried.insert(*capture, name);
        }
        let columns = columns(plan).into_iter().chain(texts.into_values());
        Ok(Woven { plan: input.project(columns)?.build()?, carried })
    }

    pub(super) fn reads_source(&self, plan: &LogicalPlan) -> Result<bool> {
        let mut reads = false;
        let _ = plan.apply_with_subqueries(|node| {
            reads |= CaptureSource::of(self.sources, node).is_some();
            Ok(if reads { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        Ok(reads)
    }

    /// Refuses a subquery in an expression that is not the same for every member.
    pub(super) fn check_subqueries(&self, plan: &LogicalPlan) -> Weave<()> {
        let mut reads = false;
        let _ = plan.apply_subqueries(|subquery| {
            reads |= self.reads_source(subquery)?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        if reads { Err(Stop::Separate("a subquery in an expression")) } else { Ok(()) }
    }

    /// A column name that nothing else in the plan has.
    pub(super) fn name(&mut self, capture: usize) -> String {
        self.names += 1;
        hidden_name(capture, self.names)
    }
}

/// Braces cannot stand in the name of a column by accident.
pub(crate) fn hidden_name(capture: usize, number: usize) -> String {
    format!("{{capture {capture}}}#{number}")
}

/// A projection with the captures behind. Its own columns keep the types they had: of a column that a union by name made
/// up, the expression alone does not tell.
fn project(mut expressions: Vec<Expr>, schema: &DFSchema, input: Woven) -> Weave<Woven> {
    expressions.extend(hidden(&input)?.into_iter().map(Expr::Column));
    let carried = input.carried;
    let plain = Projection::try_new(expressions, Arc::new(input.plan))?;
    let differs =
        schema.fields().iter().zip(plain.schema.fields()).any(|(old, new)| old.data_type() != new.data_type());
    if !differs {
        return Ok(Woven { plan: LogicalPlan::Projection(plain), carried });
    }
    let fields = plain.schema.iter().enumerate().map(|(at, (qualifier, field))| {
        let known = schema.fields().get(at).filter(|known| known.data_type() != field.data_type());
        (qualifier.cloned(), Arc::clone(known.unwrap_or(field)))
    });
    let typed = Arc::new(DFSchema::new_with_metadata(fields.collect(), schema.metadata().clone())?);
    let plan = Projection::try_new_with_schema(plain.expr, plain.input, typed)?;
    Ok(Woven { plan: LogicalPlan::Projection(plan), carried })
}

type QualifiedField = (Option<TableReference>, FieldRef);

fn hidden_fields(woven: &Woven) -> Result<Vec<QualifiedField>> {
    let schema = woven.plan.schema();
    let field = |name: &String| {
        let (qualifier, field) = schema.qualified_field_with_unqualified_name(name)?;
        Ok((qualifier.cloned(), Arc::clone(field)))
    };
    woven.carried.values().map(field).collect()
}

fn hidden(woven: &Woven) -> Result<Vec<Column>> {
    woven.carried.values().map(|name| column_named(&woven.plan, name)).collect()
}

pub(crate) fn columns(plan: &LogicalPlan) -> Vec<Expr> {
    plan.schema().columns().into_iter().map(Expr::Column).collect()
}

pub(crate) fn column_named(plan: &LogicalPlan, name: &str) -> Result<Column> {
    let (qualifier, field) = plan.schema().qualified_field_with_unqualified_name(name)?;
    Ok(Column::new(qualifier.cloned(), field.name().clone()))
}

fn unaliased(expression: &Expr) -> &Expr {
    match expression {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}
