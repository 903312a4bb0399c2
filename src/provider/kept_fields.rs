//! [`KeptFields`]: an `INSERT` does not lose what is in a struct.

use datafusion::common::config::ConfigOptions;
use datafusion::common::{DataFusionError, ExprSchema, Result};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::{DmlStatement, Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;
use tinyfs::PondPath;

use super::struct_fields::lost_field;
use super::table_provider::FileTableProvider;
use crate::error::{Error, ErrorKind};

/// Refuses to insert a struct with a field that the table's column does not have.
///
/// DataFusion casts what is inserted to the types of the table, structs by the names of their fields, and drops what has no place there.
#[derive(Debug)]
pub struct KeptFields;

impl AnalyzerRule for KeptFields {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        if let LogicalPlan::Dml(insert) = &plan {
            check(insert)?;
        }
        Ok(plan)
    }

    fn name(&self) -> &'static str {
        "pond_kept_fields"
    }
}

fn check(insert: &DmlStatement) -> Result<()> {
    // An application's own source is no table of a pond.
    let Ok(provider) = source_as_provider(&insert.target) else { return Ok(()) };
    let path = provider.downcast_ref::<FileTableProvider>().and_then(FileTableProvider::written_path);
    // The casts to the table's types are a projection of the plan.
    let (Some(path), LogicalPlan::Projection(casts)) = (path, insert.input.as_ref()) else { return Ok(()) };
    let table = insert.target.schema();
    for (expr, column) in casts.expr.iter().zip(table.fields()) {
        if !column.data_type().is_nested() {
            continue;
        }
        match (bare(expr), casts.input.as_ref()) {
            (Expr::Cast(cast), input) => check_cast(cast, input.schema(), path, column.name())?,
            // Rows that are written out are cast one by one.
            (Expr::Column(given), LogicalPlan::Values(values)) => {
                let Some(at) = values.schema.maybe_index_of_column(given) else { continue };
                for expr in values.values.iter().filter_map(|row| row.get(at)) {
                    if let Expr::Cast(cast) = bare(expr) {
                        check_cast(cast, &values.schema, path, column.name())?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => bare(&alias.expr),
        other => other,
    }
}

fn check_cast(cast: &Cast, input: &dyn ExprSchema, path: &PondPath, column: &str) -> Result<()> {
    let (given, kept) = (cast.expr.get_type(input)?, cast.field.data_type());
    let Some(lost) = lost_field(&given, kept) else { return Ok(()) };
    let message = format!("column '{column}' of '{path}' is {kept} and has no field '{lost}': the query gives {given}");
    Err(DataFusionError::from(Error::new(ErrorKind::TypeConflict, message).with_path(path)))
}
