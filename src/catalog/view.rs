//! Views: a text kept in the pond, planned against each statement's snapshot.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, Result as DataFusionResult, TableReference};
use datafusion::config::Dialect;
use datafusion::datasource::{ViewTable, source_as_provider};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::parser::Statement as SqlStatement;
use datafusion::sql::sqlparser::ast::Statement;
use parking_lot::Mutex;
use tinyfs::{Node, PondPath};

use crate::catalog::captures::{CaptureSource, FamilyFrame, bind, suppliers};
use crate::catalog::family::{Member, Supplier, Template};
use crate::catalog::frame::{Frame, in_view, within};
use crate::catalog::from_first::spell_out_from_first;
use crate::catalog::now::DeepStack;
use crate::catalog::own_name::{POND, is_function_of};
use crate::catalog::parameters::parameter_of;
use crate::catalog::plan_size::{Sum, check_size};
use crate::catalog::scope::Scope;
use crate::catalog::unplannable::{UnplannableView, broken_view};
use crate::catalog::view_definition::{ViewDefinition, ViewInput, changes};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::FileTableProvider;

/// The plan of a view, or that of a family before it is bound to members.
#[derive(Debug)]
pub(crate) struct ViewPlan {
    pub(crate) plan: LogicalPlan,
    /// Where the captures of a family come into the plan; none in a plain view.
    pub(crate) sources: Vec<CaptureSource>,
    /// What it reads.
    pub(crate) inputs: Vec<ViewInput>,
}

/// What planning a view gave, for all who ask while the pond and the session stay as they are.
pub(crate) type Planned = Result<Arc<ViewPlan>, Arc<Error>>;

/// The view at `path` as a table whose plan DataFusion inlines; of a member of a family, that of its rows.
///
/// A view that cannot be planned is a table all the same, with the schema it was made with, and reading it gives the
/// reason: `information_schema` asks for every table, and one broken view must not hide the others.
pub(crate) async fn view_provider(
    scope: &Arc<Scope>,
    path: &PondPath,
    node: &Arc<Node>,
) -> Result<Arc<dyn TableProvider>> {
    let text = text_of(node, path)?;
    let reason = match planned(scope, path, node).await? {
        Ok(planned) => match bound(&planned, node) {
            Ok(plan) => return Ok(Arc::new(ViewTable::new(plan, Some(text.to_string())))),
            Err(error) => Arc::new(error),
        },
        Err(reason) => reason,
    };
    let schema = ViewDefinition::from_attributes(&node.attributes, path)?.schema;
    Ok(Arc::new(UnplannableView { text: Arc::clone(text), schema, reason }))
}

/// The plan of the view at `path`; of a member of a family, that of its rows.
///
/// # Errors
/// What planning its text says.
pub(crate) async fn derived_plan(scope: &Arc<Scope>, path: &PondPath, node: &Arc<Node>) -> Result<LogicalPlan> {
    let planned = planned(scope, path, node).await?.map_err(|error| Error::shared(&error))?;
    bound(&planned, node)
}

fn bound(planned: &ViewPlan, node: &Node) -> Result<LogicalPlan> {
    match Member::of(node)? {
        Some(member) => bind(&planned.plan, &planned.sources, &member.texts),
        None => Ok(planned.plan.clone()),
    }
}

/// What planning the view at `path` gives; for a member of a family, the family. Each is planned once for a statement, and
/// for later ones while the pond, the settings and the functions stay as they are.
///
/// # Errors
/// For a view that reads itself, if it is read by a view: nothing further may be planned then.
pub(crate) async fn planned(scope: &Arc<Scope>, path: &PondPath, node: &Arc<Node>) -> Result<Planned> {
    let text = text_of(node, path)?;
    let (id, path) = match Member::of(node)? {
        Some(member) => (member.family, member.path),
        None => (node.id, path.clone()),
    };
    let key = (id, node.txn);
    let statement = scope.statement();
    if let Some(known) = statement.as_ref().and_then(|statement| statement.plans().lock().get(&key).cloned()) {
        return Ok(known);
    }
    let snapshot = scope.snapshot().await?.txn();
    let shared = statement.as_ref().is_none_or(|statement| statement.may_share_plans());
    let circumstances = if shared { Some(scope.circumstances()?) } else { None };
    let cached = circumstances.as_ref().and_then(|circumstances| scope.views.get(snapshot, circumstances, key));
    let planned = match cached {
        Some(plan) => Ok(plan),
        None => {
            let definition = ViewDefinition::from_attributes(&node.attributes, &path)?;
            // Boxed, and on a stack of its own: planning a view may plan the views it reads.
            match DeepStack::new(plan_view(scope, &path, text, &definition)).await {
                Ok(plan) => {
                    let plan = Arc::new(plan);
                    if let Some(circumstances) = &circumstances
                        && reads_only_the_pond(&plan.plan)?
                    {
                        scope.views.put(snapshot, circumstances, key, &plan);
                    }
                    Ok(plan)
                }
                // Of a cycle the outermost view tells; the ones inside must not be planned further.
                Err(error) if error.kind() == ErrorKind::Limit && in_view() => return Err(error),
                Err(error) => Err(Arc::new(error)),
            }
        }
    };
    if let Some(statement) = statement {
        let _ = statement.plans().lock().insert(key, planned.clone());
    }
    Ok(planned)
}

fn text_of<'a>(node: &'a Node, path: &PondPath) -> Result<&'a Arc<str>> {
    node.text().ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("the view '{path}' has no text")).with_path(path))
}

/// Plans the text of the view at `path`.
///
/// # Errors
/// [`ErrorKind::Limit`] for a view that reads itself, with the chain, or one nested deeper than [`MAX_VIEW_DEPTH`]; else what
/// planning says, with the view named, and what has changed of its inputs since it was made.
pub(crate) async fn plan_view(
    scope: &Arc<Scope>,
    path: &PondPath,
    text: &str,
    definition: &ViewDefinition,
) -> Result<ViewPlan> {
    #[cfg(test)]
    {
        scope.views.count();
    }
    let family = match (&definition.suppliers, Template::parse(path)?) {
        (Some(_), Some(template)) => Some(Arc::new(FamilyFrame::new(path, template.captures()))),
        _ => None,
    };
    let inputs = Arc::<Mutex<Vec<ViewInput>>>::default();
    let known: Arc<[ViewInput]> = definition.inputs.as_slice().into();
    let frame = Frame {
        scope: Arc::clone(scope),
        path: path.clone(),
        family: family.clone(),
        inputs: Arc::clone(&inputs),
        known,
    };
    let planned = within(frame, plan_query(scope, text, definition, family.as_deref(), &inputs)).await?;
    let inputs = inputs.lock().clone();
    match planned {
        Ok(plan) => {
            let sources = family.map_or_else(Vec::new, |family| family.sources());
            Ok(ViewPlan { plan, sources, inputs })
        }
        Err(error) if error.kind() == ErrorKind::Limit => Err(error),
        Err(error) => {
            let mut message = format!("the view '{path}' cannot be read");
            if error.kind() != ErrorKind::NotFound {
                changes(&definition.inputs, &inputs).into_iter().for_each(|change| {
                    message.push_str(": ");
                    message.push_str(&change);
                });
            }
            Err(Error::new(error.kind(), message).with_path(path).with_source(error))
        }
    }
}

async fn plan_query(
    scope: &Arc<Scope>,
    text: &str,
    definition: &ViewDefinition,
    family: Option<&FamilyFrame>,
    inputs: &Mutex<Vec<ViewInput>>,
) -> Result<LogicalPlan> {
    let state = scope.session_in(&definition.directory)?;
    let mut statement = parse_query(&state, text)?;
    if let (Some(family), Some(suppliers)) = (family, &definition.suppliers) {
        family.mark_values(&mut statement, suppliers)?;
    }
    check_names(scope, &state, &statement, &definition.directory).await?;
    let plan = state.statement_to_plan(statement).await?;
    if let Some(error) = broken_view(&plan)? {
        return Err(error);
    }
    check_size(&plan)?;
    let plan = name_scans_apart(plan, scope, &definition.directory)?;
    let plan = rename_columns(plan, &definition.columns)?;
    if !changes(&definition.inputs, &inputs.lock()).is_empty() {
        // DataFusion finds some errors only when the whole statement is analysed, and could not name the view then.
        let _ = state.analyzer().execute_and_check(plan.clone(), state.config_options(), |_, _| {})?;
    }
    Ok(plan)
}

/// The query of a view.
///
/// # Errors
/// [`ErrorKind::Syntax`] for what is no query, [`ErrorKind::Unsupported`] for one with parameters.
pub(crate) fn parse_query(state: &SessionState, text: &str) -> Result<SqlStatement> {
    let mut statement = state.sql_to_statement(text, &Dialect::Generic)?;
    spell_out_from_first(&mut statement);
    let parameter = match &statement {
        SqlStatement::Statement(inner) => match inner.as_ref() {
            Statement::Query(query) => parameter_of(query),
            _ => return Err(Error::new(ErrorKind::Syntax, "a view is a query")),
        },
        _ => return Err(Error::new(ErrorKind::Syntax, "a view is a query")),
    };
    match parameter {
        None => Ok(statement),
        Some(name) => {
            let message = format!("its text has the parameter {name}, for which a view keeps no value; make it anew");
            Err(Error::new(ErrorKind::Unsupported, message))
        }
    }
}

/// Refuses a name without `/` that names nothing, where DataFusion would not say what is near.
async fn check_names(
    scope: &Arc<Scope>,
    state: &SessionState,
    statement: &SqlStatement,
    directory: &PondPath,
) -> Result<()> {
    for reference in state.resolve_table_references(statement)? {
        let TableReference::Bare { table } = &reference else { continue };
        let is_function = state.table_functions().contains_key(&table.to_lowercase());
        // The functions of the pond are registered under its name in this session, and may have another in a view.
        let is_own = scope.name != POND && is_function_of(POND, table);
        if is_function || is_own || table.contains('/') {
            continue;
        }
        let path = directory.join(table)?;
        if let Some(statement) = scope.statement() {
            statement.record_read(&path);
        }
        let _ = scope.tree().await?.lookup(&path)?;
    }
    Ok(())
}

/// Where the captures of a family come from, for a view at `path` that is one.
///
/// # Errors
/// [`ErrorKind::Syntax`] for a path or text that is none; what [`suppliers`] says.
pub(crate) fn family_suppliers(
    scope: &Arc<Scope>,
    path: &PondPath,
    text: &str,
    directory: &PondPath,
) -> Result<Option<Vec<Supplier>>> {
    let Some(template) = Template::parse(path)? else { return Ok(None) };
    let statement = parse_query(&scope.session_state()?, text)?;
    suppliers(&statement, &scope.name, directory, template.captures()).map(Some)
}

/// Gives each scan of a file the file's absolute path as its name, and what it was called as its alias.
///
/// DataFusion compares scans by name alone. `FROM 'a'` in two views of two directories are two files, and without
/// this the optimiser may take one for the other. So are `FROM '/a'` in views of two ponds.
fn name_scans_apart(plan: LogicalPlan, scope: &Scope, directory: &PondPath) -> Result<LogicalPlan> {
    // What is rebuilt is shared no more, so only what leads to such a scan is: the plans of views have none.
    let whole = plan.clone();
    let mut unclear = Sum::new(|node| Ok(usize::from(unclear_path(node, scope, directory)?.is_some())));
    if unclear.over(&whole)? == 0 {
        return Ok(plan);
    }
    let renamed = plan.transform_down_with_subqueries(|node| {
        let (LogicalPlan::TableScan(scan), Some(path)) = (&node, unclear_path(&node, scope, directory)?) else {
            let next = if unclear.over(&node)? == 0 { TreeNodeRecursion::Jump } else { TreeNodeRecursion::Continue };
            return Ok(Transformed::new(node, false, next));
        };
        let name = if scope.name == POND {
            TableReference::bare(path.as_str())
        } else {
            TableReference::full(scope.name.as_str(), "/", path.as_str())
        };
        let scanned = LogicalPlanBuilder::scan(name, Arc::clone(&scan.source), scan.projection.clone())?;
        let scanned = scanned.alias(scan.table_name.clone())?.build()?;
        Ok(Transformed::new(scanned, true, TreeNodeRecursion::Jump))
    })?;
    Ok(renamed.data)
}

/// The path of a scan of a file, where its name does not tell which file that is: an absolute path does in the pond that is
/// called [`POND`], and a call of `pond()` does.
fn unclear_path(node: &LogicalPlan, scope: &Scope, directory: &PondPath) -> DataFusionResult<Option<PondPath>> {
    let LogicalPlan::TableScan(scan) = node else { return Ok(None) };
    let is_pond = scope.name == POND;
    let path = match &scan.table_name {
        TableReference::Bare { table } if table.ends_with(')') || (is_pond && table.starts_with('/')) => {
            return Ok(None);
        }
        TableReference::Bare { table } => directory.join(table),
        TableReference::Full { catalog, schema, table } if !is_pond && &**catalog == POND => {
            PondPath::root().join(schema).and_then(|schema| schema.join(table))
        }
        _ => return Ok(None),
    };
    let is_file = source_as_provider(&scan.source)?.is::<FileTableProvider>();
    if is_file { Ok(Some(path.map_err(Error::from)?)) } else { Ok(None) }
}

fn rename_columns(plan: LogicalPlan, names: &[String]) -> Result<LogicalPlan> {
    if names.is_empty() {
        return Ok(plan);
    }
    let columns = plan.schema().columns();
    if columns.len() != names.len() {
        let message = format!("the view names {} columns, and its query has {}", names.len(), columns.len());
        return Err(Error::new(ErrorKind::Plan, message));
    }
    let aliases = columns.into_iter().zip(names).map(|(column, name): (Column, _)| Expr::Column(column).alias(name));
    Ok(LogicalPlanBuilder::from(plan).project(aliases)?.build()?)
}

/// Whether a plan reads nothing that can change while the pond does not: host files do, and tables of the application.
pub(super) fn reads_only_the_pond(plan: &LogicalPlan) -> Result<bool> {
    let mut others = Sum::new(|node| {
        let LogicalPlan::TableScan(scan) = node else { return Ok(0) };
        let table = source_as_provider(&scan.source)?;
        let is_ours = table.downcast_ref::<FileTableProvider>().is_some_and(FileTableProvider::reads_only_the_pond);
        Ok(usize::from(!is_ours))
    });
    Ok(others.over(plan)? == 0)
}
