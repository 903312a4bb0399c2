//! Aggregates, windows and limits of many members: the captures are group keys and partition keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::{Column, JoinType, ScalarValue};
use datafusion::functions::expr_fn::coalesce;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::{
    Aggregate, Expr, ExprFunctionExt, FetchType, Limit, LogicalPlan, LogicalPlanBuilder, SkipType, SortExpr, Window,
    lit,
};

use crate::catalog::captures::CaptureSource;
use crate::catalog::weave::{Stop, Weave, Weaver, Woven, column_named, columns, hidden, project, unaliased};

impl Weaver<'_> {
    pub(super) fn aggregate(&mut self, aggregate: &Aggregate) -> Weave<Woven> {
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

    pub(super) fn window(&mut self, window: &Window) -> Weave<Woven> {
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

    pub(super) fn limit(&mut self, limit: &Limit) -> Weave<Woven> {
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
}
