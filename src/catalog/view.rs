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
use tinyfs::{Node, NodeId, PondPath};

use crate::catalog::calls::called_functions;
use crate::catalog::captures::{CaptureSource, FamilyFrame, bind, suppliers};
use crate::catalog::chosen::Chosen;
use crate::catalog::family::{Member, Supplier, Template, Texts};
use crate::catalog::frame::{Endless, Frame, in_view, note_finding, reads_itself, within};
use crate::catalog::from_first::spell_out_from_first;
use crate::catalog::lookup::PondName;
use crate::catalog::now::DeepStack;
use crate::catalog::open_pond::OpenPond;
use crate::catalog::own_name::POND;
use crate::catalog::parameters::parameter_of;
use crate::catalog::plan_size::{Sum, check_size};
use crate::catalog::scope::Scope;
use crate::catalog::unplannable::UnplannableView;
use crate::catalog::view_definition::{ViewDefinition, ViewInput, changes, present};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{FileTableProvider, Sources};

/// The plan of a view, or that of a family before it is bound to members.
#[derive(Debug)]
pub(crate) struct ViewPlan {
    pub(crate) plan: LogicalPlan,
    /// Where the captures of a family come into the plan; none in a plain view.
    pub(crate) sources: Vec<CaptureSource>,
    /// What it reads.
    pub(crate) inputs: Vec<ViewInput>,
    /// Whether it names something outside of the pond, which no scan need tell: a view there may have none.
    named: Sources,
    /// Which columns of these have another type than when it was made, in words; those of views that it reads included.
    changes: Vec<Arc<str>>,
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
    let reason = match planned_for(scope, path, node, None).await? {
        Ok(planned) => match bound(&planned, path, node) {
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
    let planned = planned_for(scope, path, node, None).await?.map_err(|error| Error::shared(&error))?;
    bound(&planned, path, node)
}

fn bound(planned: &ViewPlan, path: &PondPath, node: &Node) -> Result<LogicalPlan> {
    match Member::of(node)? {
        Some(member) => {
            member.check(path)?;
            bind(&planned.plan, &planned.sources, &member.texts)
        }
        None => Ok(planned.plan.clone()),
    }
}

/// What [planning](planned_whole) the view at `path` gives, for one that names it: who does is to know what has changed of its inputs.
/// `texts` are those of the members that are read; `None`: of the one that `node` is.
///
/// # Errors
/// For a view that reads itself or is too large, if it is read by a view: nothing further may be planned then.
pub(crate) async fn planned_for(
    scope: &Arc<Scope>,
    path: &PondPath,
    node: &Arc<Node>,
    texts: Option<Vec<Texts>>,
) -> Result<Planned> {
    let planned = planned_over(scope, path, node, texts).await?;
    if let Ok(plan) = &planned {
        note_finding(scope, |findings| {
            findings.note_changes(&plan.changes);
            if plan.named == Sources::Others {
                findings.note_others();
            }
        });
    }
    Ok(planned)
}

/// What planning the view at `path` gives; for a member of a family, the family. Each is planned once for a statement, and
/// for later ones while the pond, the settings and the functions stay as they are.
///
/// # Errors
/// For a view that reads itself or is too large, if it is read by a view: nothing further may be planned then.
async fn planned_whole(scope: &Arc<Scope>, path: &PondPath, node: &Arc<Node>) -> Result<Planned> {
    match Member::of(node)? {
        Some(member) => plan_once(scope, &member.path, node, member.family, None).await,
        None => plan_once(scope, path, node, node.id, None).await,
    }
}

/// As [`planned_whole`], for those who read the members with these `texts` only, or the one that `node` is: where the family
/// cannot be planned, for the files of other members or as there are too many, it is planned over the files of these.
///
/// # Errors
/// As [`planned_whole`].
async fn planned_over(
    scope: &Arc<Scope>,
    path: &PondPath,
    node: &Arc<Node>,
    texts: Option<Vec<Texts>>,
) -> Result<Planned> {
    let whole = planned_whole(scope, path, node).await;
    let (may_be_in_part, is_large) = match &whole {
        Ok(Ok(_)) => (false, false),
        // A cycle does not depend on what the files are.
        Ok(Err(reason)) => (!reason.has_cause::<Endless>(), is_too_large(reason)),
        Err(error) => (is_too_large(error), true),
    };
    let Some(member) = Member::of(node)?.filter(|_| may_be_in_part) else { return whole };
    let texts = texts.unwrap_or_else(|| vec![member.texts]);
    if is_large && texts.len() >= scope.tree().await?.membership(&member.path, member.family)?.all {
        return whole;
    }
    let chosen = Chosen::new(member.family, texts);
    match plan_once(scope, &member.path, node, chosen.id(), Some(chosen)).await? {
        // It fails without the others too; or it needs a column that only files of others have.
        Err(error) if matches!(error.kind(), ErrorKind::Plan | ErrorKind::NotFound) => whole,
        some => Ok(some),
    }
}

/// Whether a plan has too many operators, or too many members in it: a part of it may have fewer.
fn is_too_large(error: &Error) -> bool {
    error.kind() == ErrorKind::Limit && !error.has_cause::<Endless>()
}

/// What is known of a view, for whoever asks: one that is too large ends the planning of those that read it.
fn told(planned: Planned) -> Result<Planned> {
    match planned {
        Err(reason) if in_view() && is_too_large(&reason) => Err(Error::shared(&reason)),
        planned => Ok(planned),
    }
}

/// Plans the view at `path`, or the `chosen` members of a family, unless that has been done under this `id`.
async fn plan_once(
    scope: &Arc<Scope>,
    path: &PondPath,
    node: &Arc<Node>,
    id: NodeId,
    chosen: Option<Chosen>,
) -> Result<Planned> {
    let text = text_of(node, path)?;
    let key = (id, node.txn);
    let statement = scope.statement();
    if let Some(known) = statement.as_ref().and_then(|statement| statement.plans().lock().get(&key).cloned()) {
        return told(known);
    }
    let snapshot = scope.snapshot().await?.txn();
    let shared = statement.as_ref().is_none_or(|statement| statement.may_share_plans());
    let circumstances = if shared { Some(scope.circumstances()?) } else { None };
    let cached = circumstances.as_ref().and_then(|circumstances| scope.views.get(snapshot, circumstances, key));
    let planned = match cached {
        Some(plan) => Ok(plan),
        None => {
            let definition = ViewDefinition::from_attributes(&node.attributes, path)?;
            // Boxed, and on a stack of its own: planning a view may plan the views it reads.
            match DeepStack::new(plan_members(scope, path, text, &definition, chosen)).await {
                Ok(plan) => {
                    let plan = Arc::new(plan);
                    if let Some(circumstances) = &circumstances
                        && sources_of(&plan.plan, plan.named, &scope.open().await?)? == Sources::Pond
                    {
                        scope.views.put(snapshot, circumstances, key, &plan);
                    }
                    Ok(plan)
                }
                // Of a cycle the outermost view tells; the ones inside must not be planned further.
                Err(error) if error.has_cause::<Endless>() && in_view() => return Err(error),
                Err(error) => Err(Arc::new(error)),
            }
        }
    };
    if let Some(statement) = statement {
        let _ = statement.plans().lock().insert(key, planned.clone());
    }
    told(planned)
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
    plan_members(scope, path, text, definition, None).await
}

/// As [`plan_view`]; of a family, the `chosen` members alone.
async fn plan_members(
    scope: &Arc<Scope>,
    path: &PondPath,
    text: &str,
    definition: &ViewDefinition,
    chosen: Option<Chosen>,
) -> Result<ViewPlan> {
    #[cfg(test)]
    {
        scope.views.count();
    }
    let family = match (&definition.suppliers, Template::parse(path)?) {
        (Some(_), Some(template)) => Some(Arc::new(FamilyFrame::new(path, template.captures(), chosen))),
        _ => None,
    };
    let known: Arc<[ViewInput]> = definition.inputs.as_slice().into();
    let frame = Frame {
        scope: Arc::clone(scope),
        path: path.clone(),
        family: family.clone(),
        inputs: Arc::default(),
        known,
        findings: Arc::default(),
    };
    let is_being_made = scope.statement().is_some_and(|statement| statement.target() == Some(path));
    let is_early = definition.is_early() && !is_being_made;
    let planned = within(frame.clone(), plan_query(scope, text, definition, &frame, is_early)).await?;
    let inputs = frame.inputs.lock().clone();
    match planned {
        Ok(plan) => {
            let sources = family.map_or_else(Vec::new, |family| family.sources());
            let own = changes(&definition.inputs, &inputs);
            let types: Vec<String> =
                own.into_iter().filter(|change| change.is_of_type).map(|change| change.text).collect();
            if !types.is_empty() {
                let change = format!("an input of the view '{path}' has changed: {}", types.join(", "));
                frame.findings.note_changes(&[Arc::from(change)]);
            }
            Ok(ViewPlan { plan, sources, inputs, named: frame.findings.named(), changes: frame.findings.changes() })
        }
        Err(error) if error.kind() == ErrorKind::Limit => Err(error),
        Err(error) => {
            let error = match &family {
                Some(family) => error.without(&family.mark_of_scans()),
                None => error,
            };
            let mut message = format!("the view '{path}' cannot be read");
            if !error.is_missing() {
                let present = if is_early { present(&inputs) } else { None };
                let changes = changes(&definition.inputs, &inputs).into_iter().map(|change| change.text);
                changes.chain(present).for_each(|change| {
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
    frame: &Frame,
    is_early: bool,
) -> Result<LogicalPlan> {
    let state = scope.session_in(&definition.directory)?;
    let mut statement = parse_query(&state, text)?;
    if let (Some(family), Some(suppliers)) = (&frame.family, &definition.suppliers) {
        family.mark_values(&mut statement, suppliers)?;
    }
    let references = state.resolve_table_references(&statement)?;
    check_names(scope, &statement, &references, &definition.directory).await?;
    let mut catalogs = references.iter().filter_map(TableReference::catalog);
    if catalogs.any(|catalog| catalog != scope.name && catalog != POND) {
        frame.findings.note_others();
    }
    let planned = frame.findings.judge(state.statement_to_plan(statement).await.map_err(Error::from));
    let plan = match planned {
        Err(error) if error.kind() == ErrorKind::Plan => {
            return Err(missing_table(scope, &state, &references).await?.unwrap_or(error));
        }
        planned => planned?,
    };
    check_size(&plan)?;
    let plan = name_scans_apart(plan, scope, &definition.directory)?;
    let plan = rename_columns(plan, &definition.columns)?;
    let plan = match &frame.family {
        Some(family) => unmark_columns(plan, &family.mark_of_scans())?,
        None => plan,
    };
    let is_partial = frame.family.as_ref().is_some_and(|family| family.is_partial());
    if is_early || is_partial || !changes(&definition.inputs, &frame.inputs.lock()).is_empty() {
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
    statement: &SqlStatement,
    references: &[TableReference],
    directory: &PondPath,
) -> Result<()> {
    let called = called_functions(statement);
    for reference in references {
        let TableReference::Bare { table } = reference else { continue };
        // Of a function that is unknown, DataFusion says so.
        if called.contains(&table.to_lowercase()) || table.contains('/') {
            continue;
        }
        let path = directory.join(table)?;
        if let Some(statement) = scope.statement() {
            statement.record_read(&path);
        }
        match scope.tree().await?.lookup(&path) {
            Err(error) if error.is_not_found() => return Err(reads_itself(scope, &path).unwrap_or(error)),
            found => drop(found?),
        }
    }
    Ok(())
}

/// The error for the first of those names with a schema that name no table: DataFusion's own does not tell that nothing else is wrong.
async fn missing_table(
    scope: &Arc<Scope>,
    state: &SessionState,
    references: &[TableReference],
) -> Result<Option<Error>> {
    let defaults = &state.config_options().catalog;
    for reference in references.iter().filter(|reference| reference.schema().is_some()) {
        let name = reference.clone().resolve(&defaults.default_catalog, &defaults.default_schema);
        if &*name.schema == "information_schema" {
            continue;
        }
        if *name.catalog == *scope.name {
            let PondName::Path(path) = PondName::parse(&PondPath::root().join(&name.schema)?, &name.table)? else {
                continue;
            };
            match scope.tree().await?.lookup(&path) {
                Err(error) if error.is_not_found() => {
                    if let Some(statement) = scope.statement() {
                        statement.record_read(&path);
                    }
                    return Ok(Some(reads_itself(scope, &path).unwrap_or(error)));
                }
                // Whatever else is wrong is told already.
                _ => continue,
            }
        }
        let catalog = state.catalog_list().catalog(&name.catalog);
        let found = match catalog.and_then(|catalog| catalog.schema(&name.schema)) {
            Some(schema) => schema.table(&name.table).await?.is_some(),
            None => false,
        };
        if !found {
            return Ok(Some(Error::new(ErrorKind::NotFound, format!("there is no table '{reference}'"))));
        }
    }
    Ok(None)
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

/// Takes the mark of the scans of a family out of the names of columns that were given none: it tells which members are planned, and what
/// the family is called now.
fn unmark_columns(plan: LogicalPlan, mark: &str) -> Result<LogicalPlan> {
    let columns = plan.schema().columns();
    if !columns.iter().any(|column| column.name.contains(mark)) {
        return Ok(plan);
    }
    let unmarked = columns.into_iter().map(|column| {
        let name = column.name.replace(mark, "");
        let is_marked = name != column.name;
        let column = Expr::Column(column);
        if is_marked { column.alias(name) } else { column }
    });
    Ok(LogicalPlanBuilder::from(plan).project(unmarked)?.build()?)
}

/// Whether a plan reads nothing that can change while `pond` does not, and its texts have [`named`](ViewPlan::named) nothing of the kind:
/// host files do, tables of the application, and files of another pond.
pub(super) fn sources_of(plan: &LogicalPlan, named: Sources, pond: &OpenPond) -> Result<Sources> {
    let mut others = Sum::new(|node| {
        let LogicalPlan::TableScan(scan) = node else { return Ok(0) };
        let table = source_as_provider(&scan.source)?;
        let is_ours = table.downcast_ref::<FileTableProvider>().is_some_and(|files| files.reads_only(&pond.objects));
        Ok(usize::from(!is_ours))
    });
    Ok(if named == Sources::Others || others.over(plan)? > 0 { Sources::Others } else { Sources::Pond })
}
