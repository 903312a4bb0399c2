//! Views: a text kept in the pond, planned against each statement's snapshot.

use std::sync::Arc;

use async_trait::async_trait;
use dashmap::DashMap;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, TableReference};
use datafusion::config::Dialect;
use datafusion::datasource::{ViewTable, source_as_provider};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::parser::Statement as SqlStatement;
use tinyfs::{Attributes, Node, NodeId, PondPath, Snapshot, Txn};

use crate::catalog::from_first::spell_out_from_first;
use crate::catalog::now::DeepStack;
use crate::catalog::scope::Scope;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{FileTableProvider, TableAttributes};

/// How deep views may refer to views.
pub(crate) const MAX_VIEW_DEPTH: usize = 64;
/// The cache of planned views starts anew when it holds this many.
const MAX_CACHED_VIEWS: usize = 10_000;

const DIRECTORY: &str = "directory";
const COLUMNS: &str = "columns";

tokio::task_local! {
    /// The views that are being planned, outermost first.
    static PLANNING: Vec<PondPath>;
}

/// What a pond keeps of a view beside its text.
#[derive(Debug, Clone)]
pub(crate) struct ViewDefinition {
    /// The directory that was current when it was made; its text's relative names start there.
    pub(crate) directory: PondPath,
    /// New names of its columns, where `CREATE VIEW v (a, b)` gave some; else none.
    pub(crate) columns: Vec<String>,
    /// The schema it had when it was made. What it has now is found by planning.
    pub(crate) schema: SchemaRef,
}

impl ViewDefinition {
    /// As a node keeps it.
    pub(crate) fn to_attributes(&self) -> Result<Attributes> {
        let mut attributes = TableAttributes { schema: Arc::clone(&self.schema), order: Vec::new() }
            .to_attributes()?
            .with(DIRECTORY, self.directory.as_str());
        if !self.columns.is_empty() {
            let names = serde_json::to_string(&self.columns).map_err(|error| {
                Error::new(ErrorKind::Execution, "the view's column names cannot be kept").with_source(error)
            })?;
            attributes = attributes.with(COLUMNS, names);
        }
        Ok(attributes)
    }

    /// Reads what a node keeps.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] for attributes that [`to_attributes`](Self::to_attributes) never made.
    pub(crate) fn from_attributes(attributes: &Attributes, path: &PondPath) -> Result<Self> {
        let corrupt = |what: &str| {
            Error::new(ErrorKind::Corrupt, format!("the view '{path}' is damaged: {what}")).with_path(path)
        };
        let directory = attributes.get(DIRECTORY).ok_or_else(|| corrupt("its directory is missing"))?;
        let columns = match attributes.get(COLUMNS) {
            Some(text) => serde_json::from_str(text).map_err(|error| corrupt("its column names").with_source(error))?,
            None => Vec::new(),
        };
        let table = TableAttributes::parse(attributes)?.ok_or_else(|| corrupt("its schema is missing"))?;
        Ok(Self { directory: PondPath::parse(directory)?, columns, schema: table.schema })
    }
}

/// Planned views by node, its last change, and the snapshot they were planned for.
#[derive(Debug, Default)]
pub(crate) struct ViewCache(DashMap<(NodeId, Txn, Txn), Arc<LogicalPlan>>);

impl ViewCache {
    fn put(&self, key: (NodeId, Txn, Txn), plan: Arc<LogicalPlan>) {
        if self.0.len() >= MAX_CACHED_VIEWS {
            self.0.clear();
        }
        let _ = self.0.insert(key, plan);
    }
}

/// Whether a view is being planned: names are then looked up on its behalf.
pub(crate) fn in_view() -> bool {
    PLANNING.try_with(|chain| !chain.is_empty()).unwrap_or(false)
}

/// The view at `path` as a table whose plan DataFusion inlines.
///
/// A view that cannot be planned is a table all the same, with the schema it was made with, and reading it gives the
/// reason: `information_schema` asks for every table, and one broken view must not hide the others.
pub(crate) async fn view_provider(
    scope: &Arc<Scope>,
    snapshot: &Snapshot,
    path: &PondPath,
    node: &Arc<Node>,
) -> Result<Arc<dyn TableProvider>> {
    let text = node
        .text()
        .ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("the view '{path}' has no text")).with_path(path))?;
    let definition = ViewDefinition::from_attributes(&node.attributes, path)?;
    let key = (node.id, node.txn, snapshot.txn());
    let shared = scope.statement().is_some_and(|statement| statement.may_share_plans());
    if shared && let Some(plan) = scope.views.0.get(&key) {
        return Ok(Arc::new(ViewTable::new(LogicalPlan::clone(&plan), Some(text.to_string()))));
    }
    // Boxed, and on a stack of its own: planning a view may plan the views it reads.
    match DeepStack::new(plan_view(scope, path, text, &definition)).await {
        Ok(plan) => {
            if shared && reads_only_the_pond(&plan)? {
                scope.views.put(key, Arc::new(plan.clone()));
            }
            Ok(Arc::new(ViewTable::new(plan, Some(text.to_string()))))
        }
        // Of a cycle the outermost view tells; the ones inside must not be planned further.
        Err(error) if error.kind() == ErrorKind::Limit && in_view() => Err(error),
        Err(error) => {
            Ok(Arc::new(UnplannableView { text: Arc::clone(text), schema: definition.schema, reason: Arc::new(error) }))
        }
    }
}

/// Plans the text of the view at `path`.
///
/// # Errors
/// [`ErrorKind::Limit`] for a view that reads itself, with the chain, or one nested deeper than [`MAX_VIEW_DEPTH`]; else what
/// planning says, with the view named.
pub(crate) async fn plan_view(
    scope: &Arc<Scope>,
    path: &PondPath,
    text: &str,
    definition: &ViewDefinition,
) -> Result<LogicalPlan> {
    let mut chain = PLANNING.try_with(Clone::clone).unwrap_or_default();
    if let Some(start) = chain.iter().position(|above| above == path) {
        let names: Vec<String> = chain[start..].iter().chain([path]).map(|path| format!("'{path}'")).collect();
        let message = format!("the view '{path}' reads itself: {}", names.join(" → "));
        return Err(Error::new(ErrorKind::Limit, message).with_path(path));
    }
    if chain.len() >= MAX_VIEW_DEPTH {
        let message = format!("the view '{path}' is nested more than {MAX_VIEW_DEPTH} views deep");
        return Err(Error::new(ErrorKind::Limit, message).with_path(path));
    }
    chain.push(path.clone());
    let planned = PLANNING.scope(chain, plan_query(scope, text, definition)).await;
    planned.map_err(|error| match error.kind() {
        ErrorKind::Limit => error,
        kind => Error::new(kind, format!("the view '{path}' cannot be read")).with_path(path).with_source(error),
    })
}

async fn plan_query(scope: &Arc<Scope>, text: &str, definition: &ViewDefinition) -> Result<LogicalPlan> {
    let mut state = scope.session_state()?;
    let catalog = &mut state.config_mut().options_mut().catalog;
    catalog.default_catalog.clone_from(&scope.name);
    catalog.default_schema = definition.directory.as_str().to_owned();
    let mut statement = state.sql_to_statement(text, &Dialect::Generic)?;
    spell_out_from_first(&mut statement);
    if !matches!(&statement, SqlStatement::Statement(statement) if matches!(**statement, datafusion::sql::sqlparser::ast::Statement::Query(_)))
    {
        return Err(Error::new(ErrorKind::Syntax, "a view is a query"));
    }
    let plan = state.statement_to_plan(statement).await?;
    let plan = name_scans_apart(plan, &definition.directory)?;
    rename_columns(plan, &definition.columns)
}

/// Gives each scan of a file the file's absolute path as its name, and what it was called as its alias.
///
/// DataFusion compares scans by name alone. `FROM 'a'` in two views of two directories are two files, and without
/// this the optimiser may take one for the other.
fn name_scans_apart(plan: LogicalPlan, directory: &PondPath) -> Result<LogicalPlan> {
    let renamed = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::TableScan(scan) = &node else { return Ok(Transformed::no(node)) };
        let TableReference::Bare { table } = &scan.table_name else { return Ok(Transformed::no(node)) };
        let is_file = source_as_provider(&scan.source)?.is::<FileTableProvider>();
        // An absolute path, and a call of `pond()`, tells which files it means.
        if !is_file || table.starts_with('/') || table.ends_with(')') {
            return Ok(Transformed::no(node));
        }
        let path = directory.join(table).map_err(Error::from)?;
        let name = TableReference::bare(path.as_str());
        let scanned = LogicalPlanBuilder::scan(name, Arc::clone(&scan.source), scan.projection.clone())?;
        Ok(Transformed::yes(scanned.alias(scan.table_name.clone())?.build()?))
    })?;
    Ok(renamed.data)
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
    let mut only = true;
    let _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let table = source_as_provider(&scan.source)?;
            only = table.downcast_ref::<FileTableProvider>().is_some_and(FileTableProvider::reads_only_the_pond);
        }
        Ok(if only { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(only)
}

/// A view that cannot be planned now: it shows the schema it once had, and says why when it is read.
#[derive(Debug)]
struct UnplannableView {
    text: Arc<str>,
    schema: SchemaRef,
    reason: Arc<Error>,
}

#[async_trait]
impl TableProvider for UnplannableView {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn get_table_definition(&self) -> Option<&str> {
        Some(&self.text)
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        _projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> datafusion::common::Result<Arc<dyn ExecutionPlan>> {
        Err(Error::shared(&self.reason).into())
    }
}
