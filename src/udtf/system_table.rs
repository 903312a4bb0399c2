//! [`SystemTable`]: rows that are made from a snapshot.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result as DfResult, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::stream::{BoxStream, StreamExt};
use tinyfs::{Entry, EntryKind, LinkEnds, NodeId, PondPath, Snapshot};

use crate::catalog::{OpenPond, Scope, broken_table, entry_provider, now, on_behalf};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::is_host_name;
use crate::udtf::arguments::Arguments;
use crate::udtf::matches::{entries, listing_glob, no_match};

/// What the rows are made from.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) scope: Arc<Scope>,
    pub(crate) pond: OpenPond,
    pub(crate) snapshot: Snapshot,
    /// What the glob matches; empty for functions without one.
    pub(crate) matches: Arc<Vec<Entry>>,
    /// The columns that views have now; empty unless the function is about columns.
    pub(crate) view_schemas: Arc<HashMap<NodeId, SchemaRef>>,
}

/// Whether a function takes a glob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GlobArgument {
    /// It does not.
    None,
    /// It may; without one it is the current directory.
    Optional,
    /// It must.
    Required,
}

/// What the rows are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Entries: symbolic links are listed as such.
    Entries,
    /// What entries hold: links are followed.
    Contents,
    /// As contents; what a view's columns are is found by planning it.
    Columns,
}

/// Rows, made while they are read.
pub(crate) type Batches = BoxStream<'static, Result<RecordBatch>>;

/// How rows are made.
#[derive(Clone, Copy)]
pub(crate) enum Rows {
    /// With all columns.
    Whole(fn(Source) -> Batches),
    /// With those of these places in the schema.
    Columns(fn(Source, Arc<[usize]>) -> Batches),
}

/// A table function that shows the filesystem.
#[derive(Clone, Copy)]
pub(crate) struct SystemTable {
    pub(crate) glob: GlobArgument,
    pub(crate) subject: Subject,
    pub(crate) schema: fn() -> SchemaRef,
    pub(crate) rows: Rows,
}

impl SystemTable {
    /// The plan of a call. The entries are those of the snapshot at planning; the rows are made when the plan runs.
    pub(crate) fn plan(
        &self,
        scope: &Arc<Scope>,
        directory: &PondPath,
        mut arguments: Arguments,
    ) -> Result<LogicalPlan> {
        let tree = scope.tree_now()?;
        let text = if self.glob == GlobArgument::None { None } else { arguments.text()? };
        if text.is_none() && self.glob == GlobArgument::Required {
            return Err(arguments.error("a path or glob in quotes is missing"));
        }
        let families = self.subject == Subject::Entries && arguments.named_flag("families")? == Some(true);
        let mut name = format!("{}()", arguments.function());
        let mut found = Arc::default();
        let mut is_named = false;
        if self.glob != GlobArgument::None {
            let glob = listing_glob(&tree, directory, text.as_deref())?;
            name = format!("{}('{glob}'{})", arguments.function(), if families { ", families => true" } else { "" });
            is_named = glob.as_path().is_some();
            found = match self.subject {
                Subject::Entries => entries(scope, &tree, &glob, LinkEnds::Keep)?,
                Subject::Contents | Subject::Columns => entries(scope, &tree, &glob, LinkEnds::Follow)?,
            };
            if families {
                let mut entries = found.to_vec();
                entries.extend(tree.families_at(&glob)?);
                entries.sort_by(|one, other| one.path.cmp(&other.path));
                found = Arc::new(entries);
            }
            // An empty directory has an empty listing; a glob that was spelt out and matches nothing is a mistake.
            let base = tree.lookup(&glob.base());
            let is_directory = base.is_ok_and(|base| base.kind().holds_entries());
            let whole_directory = is_directory && glob.to_string().ends_with("/*");
            if found.is_empty() && !whole_directory {
                let host = text.as_deref().filter(|text| is_host_name(text));
                return Err(host.map_or_else(|| no_match(&tree, &glob), |host| not_of_the_host(&arguments, host)));
            }
        }
        arguments.finish()?;
        let mut view_schemas = HashMap::new();
        if self.subject == Subject::Columns {
            for entry in found.iter().filter(|entry| matches!(entry.node.kind(), EntryKind::View | EntryKind::Dynamic))
            {
                let view = now(|| on_behalf(entry_provider(scope, tree.stored(), &entry.path, &entry.node)))?;
                // One that cannot be planned must not hide the others of a listing.
                if is_named && let Some(reason) = broken_table(&view) {
                    return Err(Error::shared(reason));
                }
                let _ = view_schemas.insert(entry.node.id, view.schema());
            }
        }
        let (matches, view_schemas) = (found, Arc::new(view_schemas));
        let snapshot = tree.stored().clone();
        let source = Source { scope: Arc::clone(scope), pond: scope.open_now()?, snapshot, matches, view_schemas };
        let table = SystemProvider { schema: (self.schema)(), source, rows: self.rows };
        Ok(LogicalPlanBuilder::scan(TableReference::bare(name), provider_as_source(Arc::new(table)), None)?.build()?)
    }
}

/// The error for what reads as a host file, and as a path of the pond leads nowhere.
fn not_of_the_host(arguments: &Arguments, text: &str) -> Error {
    let function = arguments.function();
    let message = format!(
        "'{text}' is a host file, and {function}() is about files of the pond; DESCRIBE SELECT * FROM '{text}' shows its columns"
    );
    Error::new(ErrorKind::WrongKind, message)
}

impl fmt::Debug for SystemTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemTable").field("schema", &(self.schema)()).finish_non_exhaustive()
    }
}

/// The rows of a call as a table.
struct SystemProvider {
    schema: SchemaRef,
    source: Source,
    rows: Rows,
}

impl fmt::Debug for SystemProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemProvider").field("matches", &self.source.matches.len()).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for SystemProvider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let columns: Arc<[usize]> =
            projection.map_or_else(|| (0..self.schema.fields().len()).collect(), |columns| columns.as_slice().into());
        let schema = Arc::new(self.schema.project(&columns)?);
        let (source, rows) = (self.source.clone(), self.rows);
        let partition = SystemPartition { schema: Arc::clone(&schema), source, columns, rows };
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![Arc::new(partition)], None, [], false, limit)?))
    }
}

struct SystemPartition {
    schema: SchemaRef,
    source: Source,
    columns: Arc<[usize]>,
    rows: Rows,
}

impl fmt::Debug for SystemPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemPartition").field("matches", &self.source.matches.len()).finish_non_exhaustive()
    }
}

impl PartitionStream for SystemPartition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (source, columns) = (self.source.clone(), Arc::clone(&self.columns));
        let batches = match self.rows {
            Rows::Columns(rows) => rows(source, columns),
            Rows::Whole(rows) => {
                rows(source).map(move |batch| Ok(batch?.project(&columns).map_err(DataFusionError::from)?)).boxed()
            }
        };
        let batches = batches.map(|batch| batch.map_err(DataFusionError::from));
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}
