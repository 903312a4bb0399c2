//! [`PondPlanner`]: plans the table functions where they stand in a `FROM`.

use std::sync::Arc;

use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::sql::sqlparser::ast::{FunctionArg, FunctionArgExpr, ObjectName, TableFactor};
use tinyfs::PondPath;

use crate::catalog::{POND, Scope, in_view_of};
use crate::error::{Error, ErrorKind, Result};
use crate::udtf::arguments::Arguments;
use crate::udtf::{JOIN, SYSTEM_TABLES, data, join, suffixes};

/// Plans `pond(…)` and its kin.
///
/// Not a `TableFunctionImpl`, because DataFusion refuses named arguments there, looks the name up case-sensitively, and
/// names every scan `pond()`: it compares scans by name, so that of two calls one would be taken for the other.
#[derive(Debug)]
struct PondPlanner {
    scope: Arc<Scope>,
}

/// The planner to register beside the catalog.
pub(crate) fn planner(scope: Arc<Scope>) -> Arc<dyn RelationPlanner> {
    Arc::new(PondPlanner { scope })
}

impl RelationPlanner for PondPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> DataFusionResult<RelationPlanning> {
        let TableFactor::Table { name, args: Some(args), alias, .. } = &relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let Some(suffix) = suffix(&self.scope, name) else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let alias = alias.clone();
        let function = format!("{}{suffix}", self.scope.name);
        let arguments = read_arguments(&function, &args.args, context)?;
        let directory = current_directory(&self.scope, context)?;
        let plan = if suffix.is_empty() {
            data::plan(&self.scope, &directory, arguments)?
        } else if suffix == JOIN {
            join::plan(&self.scope, &directory, arguments)?
        } else {
            let table = SYSTEM_TABLES.iter().find(|(known, _)| *known == suffix).map(|(_, table)| table);
            let table =
                table.ok_or_else(|| Error::new(ErrorKind::Plan, format!("there is no table function '{function}'")))?;
            table.plan(&self.scope, &directory, arguments)?
        };
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

/// What follows the catalog's name in the function's name, if it is one of ours; case does not matter. In the text of a view
/// the name [`POND`] is that of the view's own pond, and of no other.
fn suffix(scope: &Scope, name: &ObjectName) -> Option<&'static str> {
    let [part] = name.0.as_slice() else { return None };
    let name = part.as_ident()?.value.to_lowercase();
    let of = |catalog: &str| {
        let suffix = name.strip_prefix(catalog)?;
        suffixes().find(|known| *known == suffix)
    };
    let registered = scope.name.to_lowercase();
    match (in_view_of(scope), of(POND)) {
        (Some(true), Some(suffix)) => Some(suffix),
        (Some(false), Some(_)) => None,
        _ => of(&registered),
    }
}

fn read_arguments(function: &str, args: &[FunctionArg], context: &mut dyn RelationPlannerContext) -> Result<Arguments> {
    let mut arguments = Arguments::new(function);
    for arg in args {
        let (name, value) = match arg {
            FunctionArg::Unnamed(value) => (None, value),
            FunctionArg::Named { name, arg, .. } => (Some(name.value.to_lowercase()), arg),
            FunctionArg::ExprNamed { .. } => {
                return Err(Error::new(
                    ErrorKind::Plan,
                    format!("{function}: the name of an argument is not a name: {arg}"),
                ));
            }
        };
        let FunctionArgExpr::Expr(value) = value else {
            return Err(Error::new(ErrorKind::Plan, format!("{function}: '{value}' is not a value")));
        };
        let value = context.sql_to_expr(value.clone(), &DFSchema::empty())?;
        arguments.push(name, value)?;
    }
    Ok(arguments)
}

/// The directory that relative globs start from: the session's default schema where that is in this pond.
fn current_directory(scope: &Scope, context: &dyn RelationPlannerContext) -> Result<PondPath> {
    let catalog = &context.context_provider().options().catalog;
    if catalog.default_catalog == scope.name && catalog.default_schema.starts_with('/') {
        Ok(PondPath::parse(&catalog.default_schema)?)
    } else {
        Ok(PondPath::root())
    }
}
