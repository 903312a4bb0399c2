//! [`PondSession`].

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{Array, UInt64Array};
use datafusion::common::TableReference;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::cache::cache_manager::CacheManagerConfig;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::logical_expr::{DdlStatement, LogicalPlan};
use datafusion::physical_plan::execute_stream;
use datafusion::physical_plan::memory::MemoryStream;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as SqlStatement;
use datafusion::sql::sqlparser::ast::{Ident, ObjectName, ObjectNamePart, Statement};
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use tinyfs::{CommitInfo, PondPath, Snapshot, Transaction, TransactionOptions};

use crate::builder::with_order_on_demand;
use crate::catalog::{
    DeepStack, Keep, OpenPond, PondCatalog, PondName, Recording, Scope, Statement as Running, broken_view,
    called_functions, check_size, deep_as, snapshot_as_of,
};
use crate::error::{Error, ErrorKind, Result};
use crate::pond::{Pond, catalog_url};
use crate::provider::{KeptFields, Progress};
use crate::session::names::Names;
use crate::session::parser::{PondStatement, parse};
use crate::session::prepared::Prepared;
use crate::session::setting::Setting;
use crate::session::transaction::{Access, OpenTransaction, commit, message};
use crate::session::{SessionOptions, StatementResult, TransactionStatus, copy, limits, literals, setting, show};
use crate::udtf;

/// The name under which a session's pond is registered.
const CATALOG: &str = "pond";
/// What part of a memory limit the footers of Parquet files may take that are kept for the next statement.
const FOOTERS_SHARE: usize = 16;
/// Sorted runs are merged through buffers of this size; DataFusion's default of 1 GiB a partition fails queries under a
/// memory limit instead of slowing them.
const SORT_BUFFER: usize = 32 * 1024 * 1024;

/// SQL on a pond: each statement sees one snapshot, and is a transaction unless it stands between `BEGIN` and `COMMIT`.
///
/// A failed statement leaves nothing behind, and an open transaction as it was before it.
pub struct PondSession {
    pub(super) pond: Pond,
    scope: Arc<Scope>,
    context: SessionContext,
    pub(super) options: SessionOptions,
    pub(super) transaction: Option<OpenTransaction>,
    /// What `PREPARE` was given, by name. DataFusion keeps the plan, and with it the pond of that time.
    pub(super) prepared: HashMap<String, SqlStatement>,
    pub(super) warnings: Mutex<Vec<String>>,
    /// Takes lines that tell how far a run is.
    pub(super) progress: Progress,
}

impl PondSession {
    pub(crate) fn try_new(pond: &Pond, mut options: SessionOptions) -> Result<Self> {
        options.read_only |= options.as_of.is_some();
        let mut config = SessionConfig::new()
            .with_default_catalog_and_schema(CATALOG, "/")
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(true);
        let settings = config.options_mut();
        settings.sql_parser.collect_spans = true;
        settings.execution.sort_pushdown_buffer_capacity = SORT_BUFFER;
        if let Some(partitions) = options.target_partitions {
            config = config.with_target_partitions(partitions);
        }
        // A list of a host directory's files that is kept for ever would hide new ones.
        let mut cache = CacheManagerConfig::default().with_list_files_cache_limit(0);
        if let Some(bytes) = options.memory_limit {
            // Footers are kept beside what is limited.
            let kept = (bytes / FOOTERS_SHARE).min(cache.metadata_cache_limit);
            cache = cache.with_metadata_cache_limit(kept);
        }
        let mut runtime = RuntimeEnvBuilder::new().with_cache_manager(cache);
        if let Some(bytes) = options.memory_limit {
            let consumers = std::num::NonZeroUsize::MIN.saturating_add(4);
            runtime = runtime.with_memory_pool(Arc::new(TrackConsumersPool::new(FairSpillPool::new(bytes), consumers)));
        }
        let builder =
            SessionStateBuilder::new_with_default_features().with_config(config).with_runtime_env(runtime.build_arc()?);
        let context = SessionContext::new_with_state(with_order_on_demand(builder).build());
        context.add_analyzer_rule(Arc::new(KeptFields));
        let scope = Arc::new(Scope::new(pond.lazy(), CATALOG, options.host_files));
        scope.attach(context.state_weak_ref());
        let _ = context.register_catalog(CATALOG, Arc::new(PondCatalog::new(Arc::clone(&scope))));
        context.register_relation_planner(udtf::planner(Arc::clone(&scope)))?;
        for function in udtf::functions(&scope) {
            context.register_udtf(function.name(), Arc::clone(function.function()));
        }
        Ok(Self {
            pond: pond.clone(),
            scope,
            context,
            options,
            transaction: None,
            prepared: HashMap::new(),
            warnings: Mutex::default(),
            progress: Progress::default(),
        })
    }

    /// Runs one statement. Rows are computed while they are read; everything else has happened when this returns.
    ///
    /// # Errors
    /// Each [`ErrorKind`]; nothing is left behind.
    pub async fn execute(&mut self, sql: &str) -> Result<StatementResult> {
        limits::check(sql)?;
        self.run(sql).await
    }

    /// What the statements since the last call did that their author may not have meant, such as a view over files that do
    /// not exist yet. Each is one line.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock())
    }

    /// Tells how far `CALL pond_run` is to `progress`, from now on.
    pub fn set_progress(&mut self, progress: Progress) {
        self.progress = progress;
    }

    /// How many views have been planned.
    #[cfg(test)]
    pub(super) fn planned_views(&self) -> usize {
        self.scope.views.planned()
    }

    /// Whether the session is between `BEGIN` and `COMMIT`.
    pub fn transaction_status(&self) -> TransactionStatus {
        if self.transaction.is_some() { TransactionStatus::Active } else { TransactionStatus::None }
    }

    /// The DataFusion session below, for its functions and settings. Statements that are run through it directly see
    /// the newest state and commit one by one.
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// The pond that this is a session of.
    pub fn pond(&self) -> &Pond {
        &self.pond
    }

    /// The directory that relative names start from.
    pub fn current_directory(&self) -> String {
        self.context.state_ref().read().config_options().catalog.default_schema.clone()
    }

    /// Changes the current directory to `path`, absolute or relative to it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::WrongKind`].
    pub async fn set_current_directory(&mut self, path: &str) -> Result<()> {
        let path = self.names()?.directory.join(path)?;
        // The root is there in every pond, so that going there opens none.
        if !path.is_root() {
            let _ = self.scope.tree_of(self.snapshot().await?).list(&path)?;
        }
        let state = self.context.state_ref();
        state.write().config_mut().options_mut().catalog.default_schema = path.to_string();
        Ok(())
    }

    /// What the next statement would see: the open transaction's work, else the newest state.
    ///
    /// # Errors
    /// What opening and reading the log says.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        Ok(self.current().await?.1)
    }

    /// As [`snapshot`](Self::snapshot), with the pond that it is one of.
    pub(super) async fn current(&self) -> Result<(OpenPond, Snapshot)> {
        if let Some(open) = &self.transaction {
            return Ok((open.pond.clone(), open.transaction.lock().snapshot()));
        }
        let pond = self.pond.opened().await?.clone();
        let snapshot = self.visible(&pond).await?;
        Ok((pond, snapshot))
    }

    pub(super) fn scope(&self) -> &Arc<Scope> {
        &self.scope
    }

    /// The state that a new transaction starts from.
    async fn visible(&self, pond: &OpenPond) -> Result<Snapshot> {
        let newest = Snapshot::newest(Arc::clone(&pond.store)).await?;
        match &self.options.as_of {
            Some(as_of) => snapshot_as_of(&newest, as_of).await,
            None => Ok(newest),
        }
    }

    pub(super) async fn start(&self, pond: &OpenPond, access: Access) -> Result<Arc<Mutex<Transaction>>> {
        let options = TransactionOptions { read_only: access == Access::ReadOnly, ..TransactionOptions::default() };
        Ok(Arc::new(Mutex::new(Transaction::begin(self.visible(pond).await?, options))))
    }

    /// The transaction for a change that is no statement: the open one, else one of its own.
    pub(super) async fn begin_change(&self) -> Result<(OpenPond, Arc<Mutex<Transaction>>)> {
        self.check_writable()?;
        match &self.transaction {
            Some(open) => Ok((open.pond.clone(), Arc::clone(&open.transaction))),
            None => {
                let pond = self.pond.opened().await?.clone();
                let transaction = self.start(&pond, Access::ReadWrite).await?;
                Ok((pond, transaction))
            }
        }
    }

    /// Ends what [`begin_change`](Self::begin_change) began: commits it, unless it stands between `BEGIN` and `COMMIT`.
    pub(super) async fn end_change(&mut self, transaction: Arc<Mutex<Transaction>>, what: &str) -> Result<()> {
        match &mut self.transaction {
            Some(open) => {
                open.statements.push(message(what));
                Ok(())
            }
            None => commit(transaction, self.info(what)).await,
        }
    }

    pub(super) fn check_writable(&self) -> Result<()> {
        let read_only = self.transaction.as_ref().is_some_and(|open| open.access == Access::ReadOnly);
        if !self.options.read_only && !read_only {
            return Ok(());
        }
        let what = if self.options.read_only { "session" } else { "transaction" };
        Err(Error::new(ErrorKind::ReadOnly, format!("the {what} is read-only")))
    }

    async fn run(&mut self, sql: &str) -> Result<StatementResult> {
        // Not `state()`, here and below: it copies the session with all its functions.
        let options = self.context.state_ref().read().config_options().sql_parser.clone();
        match deep_as(sql, || parse(sql, &options))? {
            PondStatement::Begin(access) => self.begin(access).await,
            PondStatement::Commit => self.commit().await,
            PondStatement::Rollback => self.rollback(),
            PondStatement::Use(name) => {
                let path = self.names()?.directory(&name)?;
                self.set_current_directory(path.as_str()).await?;
                Ok(StatementResult::Done)
            }
            PondStatement::Read(statement) => DeepStack::new(self.query(*statement)).await,
            PondStatement::ShowCreate(name) => {
                let path = self.names()?.path(&name)?;
                show::create_statement(&self.scope.tree_of(self.snapshot().await?), &path)
            }
            PondStatement::Run { path, arguments } => self.call_run(&path, arguments).await,
            statement => {
                let result = self.write(&statement, sql).await;
                // It nests as deeply as it was written.
                deep_as(sql, || drop(statement));
                result
            }
        }
    }

    async fn begin(&mut self, access: Access) -> Result<StatementResult> {
        if self.transaction.is_some() {
            return Err(Error::new(ErrorKind::Usage, "a transaction is open already; COMMIT or ROLLBACK it first"));
        }
        let access = if self.options.read_only { Access::ReadOnly } else { access };
        let pond = self.pond.opened().await?.clone();
        let transaction = self.start(&pond, access).await?;
        self.transaction = Some(OpenTransaction { pond, transaction, access, statements: Vec::new() });
        Ok(StatementResult::Done)
    }

    async fn commit(&mut self) -> Result<StatementResult> {
        let open = self.transaction.take().ok_or_else(|| Error::new(ErrorKind::Usage, "COMMIT without BEGIN"))?;
        let info = self.info(&open.statements.join("; "));
        commit(open.transaction, info).await?;
        Ok(StatementResult::Done)
    }

    fn rollback(&mut self) -> Result<StatementResult> {
        match self.transaction.take() {
            Some(_) => Ok(StatementResult::Done),
            None => Err(Error::new(ErrorKind::Usage, "ROLLBACK without BEGIN")),
        }
    }

    async fn query(&mut self, mut statement: SqlStatement) -> Result<StatementResult> {
        copy::prepare(&mut statement, &self.names()?, self.options.host_files)?;
        self.qualify_show_columns(&mut statement)?;
        if let Some(change) = Setting::read(&statement) {
            match change {
                Setting::Directory(path) => {
                    self.set_current_directory(&path).await?;
                    return Ok(StatementResult::Done);
                }
                Setting::Other(name) => setting::check(&name, &self.options)?,
            }
        }
        let (pond, transaction, recording) = match &self.transaction {
            Some(open) => {
                let recording = if open.access == Access::ReadOnly { Recording::Off } else { Recording::On };
                (open.pond.clone(), Arc::clone(&open.transaction), recording)
            }
            None if !self.touches_pond(&statement)? => {
                let plan = self.plan(statement).await?;
                return self.run_plan(plan).await;
            }
            None => {
                let pond = self.pond.opened().await?.clone();
                let transaction = self.start(&pond, Access::ReadOnly).await?;
                (pond, transaction, Recording::Off)
            }
        };
        self.register_objects(&pond)?;
        let scope = Arc::clone(&self.scope);
        let running =
            Running::new(&self.scope, pond, transaction, recording, explain_target(&statement, &self.names()?));
        self.check_names(&statement, &running)?;
        let _bound = scope.bind(Arc::new(running));
        match Prepared::of(&statement) {
            Some(prepared) => self.run_prepared(prepared, statement).await,
            None => self.plan_and_run(statement).await,
        }
    }

    pub(super) async fn plan_and_run(&self, statement: SqlStatement) -> Result<StatementResult> {
        let plan = self.plan(statement).await?;
        let lists_catalog = reads_information_schema(&plan)?;
        match self.run_plan(plan).await? {
            // DataFusion walks the catalog while the rows are read, which must be this statement's.
            StatementResult::Rows(rows) if lists_catalog => {
                let schema = rows.schema();
                let batches: Vec<_> = rows.try_collect().await?;
                Ok(StatementResult::Rows(Box::pin(MemoryStream::try_new(batches, schema, None)?)))
            }
            result => Ok(result),
        }
    }

    /// The plan of a statement, before anything of it is optimised.
    ///
    /// # Errors
    /// What planning says, and why a view cannot be planned that it reads.
    pub(super) async fn plan(&self, statement: SqlStatement) -> Result<LogicalPlan> {
        plan(&self.scope, &self.context.state(), statement).await
    }

    /// Runs what no change of the pond is: DataFusion's own settings, and queries, whose rows come while they are read.
    async fn run_plan(&self, plan: LogicalPlan) -> Result<StatementResult> {
        let plan = match self.bind_parameters(plan)? {
            LogicalPlan::Copy(copied) => return copy::run(self, copied).await.map(StatementResult::Count),
            plan => plan,
        };
        copy::refuse_analyze(&plan)?;
        let shows_rows = !matches!(&plan, LogicalPlan::Ddl(_) | LogicalPlan::Statement(_)) || is_execute(&plan);
        if let LogicalPlan::Ddl(ddl) = &plan
            && !matches!(ddl, DdlStatement::CreateFunction(_) | DdlStatement::DropFunction(_))
        {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("a pond has nothing that {} would make or drop", ddl.name()),
            ));
        }
        let frame = self.context.execute_logical_plan(plan).await?;
        if !shows_rows {
            return Ok(StatementResult::Done);
        }
        Ok(StatementResult::Rows(self.stream(frame.logical_plan()).await?))
    }

    /// Plans and runs a write; how many rows it wrote.
    pub(super) async fn insert(&self, statement: SqlStatement) -> Result<u64> {
        let state = self.context.state();
        let plan = self.bind_parameters(plan(&self.scope, &state, statement).await?)?;
        count(self.start_plan(state, plan).await?).await
    }

    /// Plans and starts a query.
    pub(crate) async fn stream(&self, plan: &LogicalPlan) -> Result<SendableRecordBatchStream> {
        self.start_plan(self.context.state(), plan.clone()).await
    }

    /// Starts a plan of the statement that runs.
    async fn start_plan(&self, state: SessionState, plan: LogicalPlan) -> Result<SendableRecordBatchStream> {
        let rows = start(state, plan).await.map_err(|error| self.explained(error))?;
        Ok(self.explained_rows(rows))
    }

    pub(super) fn names(&self) -> Result<Names> {
        let lower_case = self.context.state_ref().read().config_options().sql_parser.enable_ident_normalization;
        let directory = PondPath::parse(&self.current_directory())?;
        Ok(Names { catalog: CATALOG.to_owned(), directory, lower_case })
    }

    pub(super) fn info(&self, sql: &str) -> CommitInfo {
        CommitInfo { author: self.options.author.clone(), message: message(sql) }
    }

    pub(super) fn register_objects(&self, pond: &OpenPond) -> Result<()> {
        let _ = self.context.register_object_store(pond.objects.url()?.as_ref(), Arc::clone(&pond.objects) as _);
        if let Some(url) = catalog_url(CATALOG)
            && self.pond.is_open()
            && self.context.runtime_env().object_store_registry.get_store(&url).is_err()
        {
            let _ = self.context.register_object_store(&url, self.objects(pond, Keep::Theirs));
        }
        Ok(())
    }

    /// `SHOW COLUMNS` compares the name with those in `information_schema`, where a path is a schema and a name in it.
    fn qualify_show_columns(&self, statement: &mut SqlStatement) -> Result<()> {
        let SqlStatement::Statement(statement) = statement else { return Ok(()) };
        let Statement::ShowColumns { show_options, .. } = statement.as_mut() else { return Ok(()) };
        let Some(name) = show_options.show_in.as_mut().and_then(|show_in| show_in.parent_name.as_mut()) else {
            return Ok(());
        };
        let path = self.names()?.path(name)?;
        if let (Some(parent), Some(last)) = (path.parent(), path.name()) {
            let part = |text: &str| ObjectNamePart::Identifier(Ident::with_quote('"', text));
            *name = ObjectName(vec![part(CATALOG), part(parent.as_str()), part(last)]);
        }
        Ok(())
    }

    /// Refuses a name without `/` that names nothing, where DataFusion would not say what is near.
    pub(super) fn check_names(&self, statement: &SqlStatement, running: &Running) -> Result<()> {
        let directory = self.names()?.directory;
        let state = self.context.state_ref();
        let state = state.read();
        let called = called_functions(statement);
        for reference in state.resolve_table_references(statement)? {
            let TableReference::Bare { table } = &reference else { continue };
            // Of a function that is unknown, DataFusion says so.
            let is_function = called.contains(&table.to_lowercase());
            if let PondName::Path(path) = PondName::parse(&directory, table)?
                && !is_function
            {
                let _ = running.tree().lookup(&path).inspect_err(|_| running.record_read(&path))?;
            }
        }
        Ok(())
    }

    /// Whether a statement needs the pond at all: `SELECT 1` and `FROM './x.csv'` do not, and must not open one.
    fn touches_pond(&self, statement: &SqlStatement) -> Result<bool> {
        let inner = match statement {
            SqlStatement::Explain(explain) => explain.statement.as_ref(),
            other => other,
        };
        let is_query = match inner {
            SqlStatement::Statement(inner) => matches!(inner.as_ref(), Statement::Query(_) | Statement::Set(_)),
            SqlStatement::CopyTo(_) | SqlStatement::Reset(_) => true,
            _ => false,
        };
        if !is_query {
            return Ok(true);
        }
        let directory = self.names()?.directory;
        let state = self.context.state_ref();
        let state = state.read();
        let called = called_functions(statement);
        for reference in state.resolve_table_references(statement)? {
            let name = reference.table();
            let is_function = called.contains(&name.to_lowercase());
            let is_ours = name.to_lowercase().starts_with(CATALOG);
            let is_host = matches!(PondName::parse(&directory, name), Ok(PondName::Host(_)));
            if !is_host && (!is_function || is_ours) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl fmt::Debug for PondSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PondSession")
            .field("pond", &self.pond)
            .field("directory", &self.current_directory())
            .field("transaction", &self.transaction_status())
            .finish_non_exhaustive()
    }
}

async fn plan(scope: &Scope, state: &SessionState, statement: SqlStatement) -> Result<LogicalPlan> {
    let planned = state.statement_to_plan(statement).await.map_err(Error::from);
    let plan = match scope.statement() {
        Some(running) => running.findings().judge(planned)?,
        None => planned?,
    };
    // Of another pond in the same session, which knows of no statement.
    if let Some(error) = broken_view(&plan)? {
        return Err(error);
    }
    check_size(&plan)?;
    Ok(plan)
}

async fn start(mut state: SessionState, plan: LogicalPlan) -> Result<SendableRecordBatchStream> {
    let physical = if literals::are_inserted_by(&plan)? {
        literals::physical(&mut state, plan).await?
    } else {
        state.create_physical_plan(&plan).await?
    };
    Ok(execute_stream(physical, Arc::new(TaskContext::from(&state)))?)
}

/// The sum of the counts that a plan of DataFusion's DML returns: one row for each sink.
pub(super) async fn count(mut stream: SendableRecordBatchStream) -> Result<u64> {
    let mut total = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        let counts = batch.columns().first().and_then(|column| column.as_any().downcast_ref::<UInt64Array>());
        let counts = counts.ok_or_else(|| Error::new(ErrorKind::Execution, "the statement returned no row count"))?;
        total += counts.iter().flatten().sum::<u64>();
    }
    Ok(total)
}

/// Whether a plan lists the catalog.
fn reads_information_schema(plan: &LogicalPlan) -> Result<bool> {
    let mut reads = false;
    let _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            reads |= scan.table_name.schema() == Some("information_schema");
        }
        Ok(if reads { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(reads)
}

/// `EXPLAIN INSERT INTO '/t'` plans a write; it must find where it would go.
fn explain_target(statement: &SqlStatement, names: &Names) -> Option<PondPath> {
    let SqlStatement::Explain(explain) = statement else { return None };
    let SqlStatement::Statement(inner) = explain.statement.as_ref() else { return None };
    match inner.as_ref() {
        Statement::Insert(insert) => match &insert.table {
            datafusion::sql::sqlparser::ast::TableObject::TableName(name) => names.path(name).ok(),
            _ => None,
        },
        _ => None,
    }
}

fn is_execute(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Statement(datafusion::logical_expr::Statement::Execute(_)))
}
