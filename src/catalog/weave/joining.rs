//! Joins and unions of many members: the captures are join keys.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::common::{DFSchema, JoinConstraint, JoinType, NullEquality, ScalarValue};
use datafusion::functions::expr_fn::coalesce;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, LogicalPlanBuilder, Union, lit};

use crate::catalog::weave::{Stop, Weave, Weaver, Woven, column_named, columns, hidden_fields};
use crate::error::Result;

impl Weaver<'_> {
    pub(super) fn join(&mut self, join: &Join) -> Weave<Woven> {
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

    pub(super) fn union(&mut self, union: &Union) -> Weave<Woven> {
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
    pub(crate) fn carry(&mut self, woven: Woven, wanted: &BTreeSet<usize>) -> Weave<Woven> {
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

    pub(crate) fn only_members(&mut self, woven: Woven) -> Result<Woven> {
        let members = self.members_of(&woven.carried.keys().copied().collect())?;
        let plan = self.join_members(woven.plan, members.plan, &woven.carried, &members.carried, JoinType::LeftSemi)?;
        Ok(Woven { plan, carried: woven.carried })
    }

    /// The members' texts of these captures, each combination once.
    pub(super) fn members_of(&mut self, captures: &BTreeSet<usize>) -> Result<Woven> {
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
    pub(super) fn join_members(
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
}
