//! [`Weaver`]: makes of the plan of one member one of many, in which the captures are part of every grouping.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::arrow::datatypes::FieldRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{
    Column, DFSchema, DataFusionError, JoinConstraint, JoinType, NullEquality, ScalarValue, TableReference,
};
use datafusion::functions::expr_fn::coalesce;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, ExprFunctionExt, FetchType, Filter, Join, Limit, LogicalPlan, LogicalPlanBuilder,
    Projection, SkipType, SortExpr, Union, Window, lit,
};

use crate::catalog::captures::CaptureSource;
use crate::catalog::together::Members;
use crate::error::{Error, Result};

/// Why a plan cannot be woven.
pub(super) enum Stop {
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
pub(super) struct Woven {
    pub(super) plan: LogicalPlan,
    /// The captures, and the names of their columns. Where there is none, the rows are the same for every member.
    pub(super) carried: BTreeMap<usize, String>,
}

pub(super) struct Weaver<'a> {
    sources: &'a [CaptureSource],
    members: &'a Members,
    names: usize,
}

pub(super) type Weave<T> = std::result::Result<T, Stop>;

impl<'a> Weaver<'a> {
    pub(super) fn new(sources: &'a [CaptureSource], members: &'a Members) -> Self {
        Self { sources, members, names: 0 }
    }

    pub(super) fn weave(&mut self, plan: &LogicalPlan) -> Weave<Woven> {
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

    fn aggregate(&mut self, aggregate: &Aggregate) -> Weave<Woven> {
        if aggregate.group_expr.iter().any(|group| matches!(group, Expr::GroupingSet(_))) {
            return Err(Stop::Separate("GROUPING SETS, ROLLUP or CUBE"));
        }
        let input = self.weave(&aggregate.input)?;
        let captures = hidden(&input)?;
        let groups = aggregate.group_expr.iter().cloned().chain(captures.iter().cloned().map(Expr::Column)).collect();
        let grouped = Aggregate::try_new(Arc::new(input.plan), groups, aggregate.aggr_expr.clone())?;
        let grouped = LogicalPlan::Aggregate(grouped);
        if !aggregate.group_expr.is_empty() {
            let own = aggregate.schema.columns().into_iter().chain(captures).map(Expr::Column);
            let plan = LogicalPlanBuilder::from(grouped).project(own)?.build()?;
            return Ok(Woven { plan, carried: input.carried });
        }
        self.grand_total(aggregate, grouped, &input.carried)
    }

    /// An aggregate without GROUP BY has a row also for a member without rows.
    fn grand_total(
        &mut self,
        aggregate: &Aggregate,
        grouped: LogicalPlan,
        carried: &BTreeMap<usize, String>,
    ) -> Weave<Woven> {
        let members = self.members_of(&carried.keys().copied().collect())?;
        let joined = self.join_members(members.plan, grouped, &members.carried, carried, JoinType::Left)?;
        let mut output = Vec::new();
        for ((expression, column), field) in
            aggregate.aggr_expr.iter().zip(aggregate.schema.columns()).zip(aggregate.schema.fields())
        {
            let Expr::AggregateFunction(AggregateFunction { func, .. }) = unaliased(expression) else {
                return Err(Stop::Separate("an aggregate of an unknown kind"));
            };
            let empty = func.default_value(field.data_type())?;
            let value = Expr::Column(column.clone());
            // What is not NULL without rows, such as a count, never is.
            output.push(if empty.is_null() {
                value
            } else {
                coalesce(vec![value, lit(empty)]).alias_qualified(column.relation, column.name)
            });
        }
        for name in members.carried.values() {
            output.push(Expr::Column(column_named(&joined, name)?));
        }
        let plan = LogicalPlanBuilder::from(joined).project(output)?.build()?;
        Ok(Woven { plan, carried: members.carried })
    }

    fn window(&mut self, window: &Window) -> Weave<Woven> {
        let input = self.weave(&window.input)?;
        let captures = hidden(&input)?;
        let own = columns(&window.input);
        let mut expressions = Vec::new();
        let mut renamed = Vec::new();
        for expression in &window.window_expr {
            let Expr::WindowFunction(function) = unaliased(expression) else {
                return Err(Stop::Separate("a window of an unknown kind"));
            };
            let mut function = WindowFunction::clone(function);
            function.params.partition_by.extend(captures.iter().cloned().map(Expr::Column));
            let changed = Expr::WindowFunction(Box::new(function));
            // The plan above knows it by its old name.
            renamed.push(
                Expr::Column(Column::from_name(changed.schema_name().to_string()))
                    .alias(expression.schema_name().to_string()),
            );
            expressions.push(changed);
        }
        let windowed = LogicalPlan::Window(Window::try_new(expressions, Arc::new(input.plan))?);
        let output = own.into_iter().chain(renamed).chain(captures.into_iter().map(Expr::Column));
        Ok(Woven { plan: LogicalPlanBuilder::from(windowed).project(output)?.build()?, carried: input.carried })
    }

    fn limit(&mut self, limit: &Limit) -> Weave<Woven> {
        let (SkipType::Literal(skip), FetchType::Literal(fetch)) = (limit.get_skip_type()?, limit.get_fetch_type()?)
        else {
            return Err(Stop::Separate("a LIMIT that is computed"));
        };
        self.rows_between(skip, fetch, &limit.input)
    }

    /// `LIMIT fetch OFFSET skip` of each member, by counting its rows.
    fn rows_between(&mut self, skip: usize, fetch: Option<usize>, input: &LogicalPlan) -> Weave<Woven> {
        self.check_subqueries(input)?;
        // What changes neither the number of rows nor their order can be done after it.
        match input {
            _ if CaptureSource::of(self.sources, input).is_some() => {}
            LogicalPlan::Projection(projection) => {
                let below = self.rows_between(skip, fetch, &projection.input)?;
                return project(projection.expr.clone(), input.schema(), below);
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let below = self.rows_between(skip, fetch, &alias.input)?;
                let plan = LogicalPlanBuilder::from(below.plan).alias(alias.alias.clone())?.build()?;
                return Ok(Woven { plan, carried: below.carried });
            }
            _ => {}
        }
        let (order, input): (Vec<SortExpr>, &LogicalPlan) = match input {
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => (sort.expr.clone(), &sort.input),
            other => (Vec::new(), other),
        };
        let original = columns(input);
        let woven = self.weave(input)?;
        if woven.carried.is_empty() {
            let sorted = LogicalPlanBuilder::from(woven.plan);
            let sorted = if order.is_empty() { sorted } else { sorted.sort(order)? };
            return Ok(Woven { plan: sorted.limit(skip, fetch)?.build()?, carried: woven.carried });
        }
        let captures = hidden(&woven)?;
        let number = row_number().partition_by(captures.iter().cloned().map(Expr::Column).collect());
        let number = if order.is_empty() { number.build()? } else { number.order_by(order).build()? };
        let counted = Column::from_name(number.schema_name().to_string());
        let windowed = LogicalPlan::Window(Window::try_new(vec![number], Arc::new(woven.plan))?);
        let at = |rows: usize| lit(ScalarValue::UInt64(Some(rows as u64)));
        let mut kept = LogicalPlanBuilder::from(windowed);
        if skip > 0 {
            kept = kept.filter(Expr::Column(counted.clone()).gt(at(skip)))?;
        }
        if let Some(fetch) = fetch {
            kept = kept.filter(Expr::Column(counted).lt_eq(at(skip.saturating_add(fetch))))?;
        }
        let output = original.into_iter().chain(captures.into_iter().map(Expr::Column));
        Ok(Woven { plan: kept.project(output)?.build()?, carried: woven.carried })
    }

    fn join(&mut self, join: &Join) -> Weave<Woven> {
        let mut left = self.weave(&join.left)?;
        let mut right = self.weave(&join.right)?;
        let captures = |side: &Woven| side.carried.keys().copied().collect::<BTreeSet<usize>>();
        let both: BTreeSet<usize> = captures(&left).union(&captures(&right)).copied().collect();
        // The side whose rows must come out for every member, matched or not, needs the captures of the other.
        match join.join_type {
            JoinType::Inner => {}
            JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti => left = self.carry(left, &both)?,
            JoinType::Right | JoinType::RightSemi | JoinType::RightAnti => right = self.carry(right, &both)?,
            JoinType::Full => {
                left = self.carry(left, &both)?;
                right = self.carry(right, &both)?;
            }
            JoinType::LeftMark | JoinType::RightMark => return Err(Stop::Separate("a join that marks rows")),
        }
        let mut on = join.on.clone();
        for (capture, name) in &left.carried {
            if let Some(other) = right.carried.get(capture) {
                let pair = (column_named(&left.plan, name)?, column_named(&right.plan, other)?);
                on.push((Expr::Column(pair.0), Expr::Column(pair.1)));
            }
        }
        let joined = LogicalPlan::Join(Join::try_new(
            Arc::new(left.plan),
            Arc::new(right.plan),
            on,
            join.filter.clone(),
            join.join_type,
            JoinConstraint::On,
            join.null_equality,
            join.null_aware,
        )?);
        let mut output: Vec<Expr> = join.schema.columns().into_iter().map(Expr::Column).collect();
        let mut carried = BTreeMap::new();
        let sides: &[&BTreeMap<usize, String>] = match join.join_type {
            JoinType::LeftSemi | JoinType::LeftAnti => &[&left.carried],
            JoinType::RightSemi | JoinType::RightAnti | JoinType::Right => &[&right.carried, &left.carried],
            _ => &[&left.carried, &right.carried],
        };
        let keeps_one = matches!(
            join.join_type,
            JoinType::LeftSemi | JoinType::LeftAnti | JoinType::RightSemi | JoinType::RightAnti
        );
        for capture in both {
            let names: Vec<&String> =
                sides.iter().take(if keeps_one { 1 } else { 2 }).filter_map(|side| side.get(&capture)).collect();
            let found = names.iter().map(|name| Ok(Expr::Column(column_named(&joined, name)?)));
            let mut found = found.collect::<Result<Vec<_>>>()?;
            let name = self.name(capture);
            let value = match (join.join_type, found.len()) {
                (JoinType::Full, 2) => coalesce(found),
                (_, 1..) => found.swap_remove(0),
                _ => continue,
            };
            output.push(value.alias(&name));
            let _ = carried.insert(capture, name);
        }
        Ok(Woven { plan: LogicalPlanBuilder::from(joined).project(output)?.build()?, carried })
    }

    fn union(&mut self, union: &Union) -> Weave<Woven> {
        let inputs = union.inputs.iter().map(|input| self.weave(input)).collect::<Weave<Vec<_>>>()?;
        let all: BTreeSet<usize> = inputs.iter().flat_map(|input| input.carried.keys().copied()).collect();
        let mut plans = Vec::with_capacity(inputs.len());
        let mut first = None;
        for input in inputs {
            let input = self.carry(input, &all)?;
            if first.is_none() {
                first = Some((hidden_fields(&input)?, input.carried.clone()));
            }
            plans.push(Arc::new(input.plan));
        }
        let Some((fields, carried)) = first else { return Err(Stop::Separate("an empty UNION")) };
        // The types are those that it had, which are not always those of its inputs.
        let own = union.schema.iter().enumerate().map(|(at, (qualifier, field))| {
            let nullable = plans.iter().any(|plan: &Arc<LogicalPlan>| plan.schema().field(at).is_nullable());
            (qualifier.cloned(), Arc::new(field.as_ref().clone().with_nullable(nullable)))
        });
        let all = own.chain(fields.into_iter().map(|(_, field)| (None, field))).collect();
        let schema = Arc::new(DFSchema::new_with_metadata(all, union.schema.metadata().clone())?);
        Ok(Woven { plan: LogicalPlan::Union(Union { inputs: plans, schema }), carried })
    }

    /// The same rows with all of `wanted`: once for each member that they may belong to.
    pub(super) fn carry(&mut self, woven: Woven, wanted: &BTreeSet<usize>) -> Weave<Woven> {
        if wanted.iter().all(|capture| woven.carried.contains_key(capture)) {
            return Ok(woven);
        }
        let original = woven.plan.schema().fields().len() - woven.carried.len();
        let own: Vec<Expr> = columns(&woven.plan).into_iter().take(original).collect();
        let all: BTreeSet<usize> = wanted.iter().chain(woven.carried.keys()).copied().collect();
        let members = self.members_of(&all)?;
        let joined = self.join_members(woven.plan, members.plan, &woven.carried, &members.carried, JoinType::Inner)?;
        let mut output = own;
        for name in members.carried.values() {
            output.push(Expr::Column(column_named(&joined, name)?));
        }
        Ok(Woven { plan: LogicalPlanBuilder::from(joined).project(output)?.build()?, carried: members.carried })
    }

    pub(super) fn only_members(&mut self, woven: Woven) -> Result<Woven> {
        let members = self.members_of(&woven.carried.keys().copied().collect())?;
        let plan = self.join_members(woven.plan, members.plan, &woven.carried, &members.carried, JoinType::LeftSemi)?;
        Ok(Woven { plan, carried: woven.carried })
    }

    /// The members' texts of these captures, each combination once.
    fn members_of(&mut self, captures: &BTreeSet<usize>) -> Result<Woven> {
        let texts: BTreeSet<Vec<&Arc<str>>> = self
            .members
            .texts
            .iter()
            .map(|texts| captures.iter().filter_map(|capture| texts.get(*capture)).collect())
            .collect();
        let text = |text: &Arc<str>| lit(ScalarValue::Utf8View(Some(text.to_string())));
        let rows = texts.into_iter().map(|texts| texts.into_iter().map(text).collect()).collect();
        let values = LogicalPlanBuilder::values(rows)?.build()?;
        let mut carried = BTreeMap::new();
        let mut output = Vec::new();
        for (capture, column) in captures.iter().zip(columns(&values)) {
            let name = self.name(*capture);
            output.push(column.alias(&name));
            let _ = carried.insert(*capture, name);
        }
        Ok(Woven { plan: LogicalPlanBuilder::from(values).project(output)?.build()?, carried })
    }

    /// Joins two plans on the captures that both carry.
    fn join_members(
        &self,
        left: LogicalPlan,
        right: LogicalPlan,
        left_names: &BTreeMap<usize, String>,
        right_names: &BTreeMap<usize, String>,
        join_type: JoinType,
    ) -> Result<LogicalPlan> {
        let mut on = Vec::new();
        for (capture, name) in left_names {
            if let Some(other) = right_names.get(capture) {
                let pair = (column_named(&left, name)?, column_named(&right, other)?);
                on.push((Expr::Column(pair.0), Expr::Column(pair.1)));
            }
        }
        let (left, right) = (Arc::new(left), Arc::new(right));
        let (constraint, nulls) = (JoinConstraint::On, NullEquality::NullEqualsNothing);
        Ok(LogicalPlan::Join(Join::try_new(left, right, on, None, join_type, constraint, nulls, false)?))
    }

    fn reads_source(&self, plan: &LogicalPlan) -> Result<bool> {
        let mut reads = false;
        let _ = plan.apply_with_subqueries(|node| {
            reads |= CaptureSource::of(self.sources, node).is_some();
            Ok(if reads { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        Ok(reads)
    }

    /// Refuses a subquery in an expression that is not the same for every member.
    fn check_subqueries(&self, plan: &LogicalPlan) -> Weave<()> {
        let mut reads = false;
        let _ = plan.apply_subqueries(|subquery| {
            reads |= self.reads_source(subquery)?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        if reads { Err(Stop::Separate("a subquery in an expression")) } else { Ok(()) }
    }

    /// A column name that nothing else in the plan has.
    fn name(&mut self, capture: usize) -> String {
        self.names += 1;
        hidden_name(capture, self.names)
    }
}

/// Braces cannot stand in the name of a column by accident.
pub(super) fn hidden_name(capture: usize, number: usize) -> String {
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

pub(super) fn columns(plan: &LogicalPlan) -> Vec<Expr> {
    plan.schema().columns().into_iter().map(Expr::Column).collect()
}

pub(super) fn column_named(plan: &LogicalPlan, name: &str) -> Result<Column> {
    let (qualifier, field) = plan.schema().qualified_field_with_unqualified_name(name)?;
    Ok(Column::new(qualifier.cloned(), field.name().clone()))
}

fn unaliased(expression: &Expr) -> &Expr {
    match expression {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}
