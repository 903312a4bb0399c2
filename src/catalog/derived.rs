//! [`DerivedPlanner`]: files of a pond as plans, for those who want their bytes.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::common::{Column, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, SortExpr};
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use parking_lot::Mutex;
use tinyfs::{EntryKind, PondPath, Snapshot, Transaction, TransactionOptions};

use crate::catalog::lookup::{factory_context, table};
use crate::catalog::now::DeepStack;
use crate::catalog::open_pond::OpenPond;
use crate::catalog::scope::Scope;
use crate::catalog::statement::{Recording, Statement};
use crate::catalog::view::sources_of;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{ByteStream, DerivedFile, DerivedFiles, DynamicEntry, FactoryChild, Inputs, with_changes};

/// Plans the files of a pond in a session, each in a snapshot of its own, apart from the statement that the session may be running.
pub(crate) struct DerivedPlanner {
    scope: Arc<Scope>,
    pond: OpenPond,
    _session: Keep,
}

/// Whose the session is that files are planned in.
pub(crate) enum Keep {
    /// Somebody else's: it ends when they let go.
    Theirs,
    /// The planner's own.
    Own(#[expect(dead_code, reason = "held, for the scope holds it weakly")] SessionContext),
}

impl DerivedPlanner {
    /// Plans in the session that `scope` belongs to.
    pub(crate) fn new(scope: Arc<Scope>, pond: OpenPond, session: Keep) -> Self {
        Self { scope, pond, _session: session }
    }

    async fn plan_in(&self, statement: &Arc<Statement>, path: &PondPath) -> Result<DerivedFile> {
        let mut state = self.scope.session_state()?;
        let _ = state
            .runtime_env()
            .register_object_store(self.pond.objects.url()?.as_ref(), Arc::clone(&self.pond.objects) as _);
        let provider = table(&self.scope, &PondPath::root(), path.as_str())
            .await?
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("'{path}' is no table")).with_path(path))?;
        let name = TableReference::bare(path.as_str());
        let mut plan = LogicalPlanBuilder::scan(name, provider_as_source(provider), None)?;
        let snapshot = statement.snapshot();
        let file = match snapshot.lookup(path) {
            Ok(entry) => Some(entry).filter(|entry| entry.kind() == EntryKind::File),
            // What is shown there, it does not hold.
            Err(error) if matches!(error.kind(), tinyfs::ErrorKind::NotFound | tinyfs::ErrorKind::NotADirectory) => {
                None
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(entry) = file {
            let declared = self.pond.attributes.table(&entry.path, &entry.node)?;
            let sort = declared
                .iter()
                .flat_map(|declared| &declared.order)
                .map(|by| SortExpr::new(Expr::Column(Column::from_name(&by.column)), !by.descending, by.nulls_first));
            let sort: Vec<_> = sort.collect();
            if !sort.is_empty() {
                plan = plan.sort(sort)?;
            }
            // Part after part, so that the rows come in the order in which they were written.
            state.config_mut().options_mut().execution.target_partitions = 1;
        }
        let plan = plan.build()?;
        let sources = sources_of(&plan, statement.findings().named(), &self.pond)?;
        let changes = statement.findings().changes();
        // What is constant is computed here.
        let planned = state.create_physical_plan(&plan).await;
        let planned = planned.map_err(|error| with_changes(Error::from(error), &changes))?;
        let statement = Arc::clone(statement);
        let unchanged = move |newer: &Snapshot| Ok(statement.transaction().lock().reads_hold_in(newer)?);
        let inputs = Inputs::new(unchanged, sources);
        let context = Arc::new(TaskContext::from(&state));
        Ok(DerivedFile { path: path.clone(), plan: planned, context, inputs, changes })
    }
}

#[async_trait]
impl DerivedFiles for DerivedPlanner {
    async fn plan(&self, snapshot: &Snapshot, path: &PondPath) -> Result<DerivedFile> {
        let options = TransactionOptions { read_only: true, ..TransactionOptions::default() };
        let transaction = Arc::new(Mutex::new(Transaction::begin(snapshot.clone(), options)));
        // It notes what is read: that is what the file is made from.
        let statement = Statement::new(&self.scope, self.pond.clone(), transaction, Recording::On, None);
        let statement = Arc::new(statement);
        let work = DeepStack::new(self.plan_in(&statement, path));
        self.scope.pinned(Arc::clone(&statement), work).await
    }

    async fn open(&self, snapshot: &Snapshot, path: &PondPath) -> Result<Option<ByteStream>> {
        let entry = self.scope.tree_of(snapshot.clone()).lookup(path)?;
        let (Some(child), Some(DynamicEntry::Made(definition))) =
            (FactoryChild::of(&entry.node)?, DynamicEntry::of(&entry.node, path)?)
        else {
            return Ok(None);
        };
        let context = factory_context(&self.scope, &PondPath::parse(&child.entry)?, definition)?;
        let factory = self.scope.factories().of_entry(&context.definition.factory, &context.path)?;
        let Some(bytes) = factory.open(&context, &child.name).await? else { return Ok(None) };
        let path = path.clone();
        Ok(Some(bytes.map(move |piece| piece.map_err(|error| error.with_path(&path).into())).boxed()))
    }

    fn shown(&self, snapshot: &Snapshot) -> Result<Snapshot> {
        self.scope.tree_of(snapshot.clone()).around(&PondPath::root())
    }
}

impl fmt::Debug for DerivedPlanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DerivedPlanner").field("scope", &self.scope).finish_non_exhaustive()
    }
}
