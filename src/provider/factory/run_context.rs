//! [`RunContext`]: what a running factory sees of the pond, and writes to it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::common::stats::Precision;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::functions_aggregate::min_max::max;
use datafusion::prelude::{SessionContext, col};
use futures::StreamExt;
use tinyfs::{
    Attributes, Bytestream, CommitInfo, CommitOutcome, Definition, FactoryContext, NewEntry, Outside, PersistenceLayer,
    PondPath, Secret, Snapshot, Transaction, TransactionOptions, WriteMode,
};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};
use crate::provider::format::Wanted;
use crate::provider::inspect::describe_stored;
use crate::provider::schema_merge::{Origin, SchemaMerge};
use crate::provider::{
    AttributeCache, FileTable, FileTableProvider, FileVersion, PondObjectStore, SortColumn, TableAttributes,
    TableScanSpec, WriteOptions, write_part,
};

/// Takes lines that tell how far a run is.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(&str) + Send + Sync>);

impl Progress {
    /// Calls `show` with each line.
    pub fn new(show: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(show))
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new(|_| {})
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}

/// How a dynamic entry is run.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// The arguments of the factory, by name, as texts.
    pub arguments: BTreeMap<String, String>,
    /// Tell what would be done, and write nothing.
    pub dry_run: bool,
    /// Takes lines that tell how far it is.
    pub progress: Progress,
}

/// What a running factory sees of the pond, and writes to it. Cheap to clone: parts of a run may have one each.
#[derive(Debug, Clone)]
pub struct RunContext {
    pub(crate) entry: FactoryContext,
    pub(crate) options: RunOptions,
    pub(crate) store: Arc<dyn PersistenceLayer>,
    pub(crate) objects: Arc<PondObjectStore>,
    pub(crate) attributes: Arc<AttributeCache>,
    pub(crate) session: Arc<SessionState>,
    pub(crate) author: String,
    pub(crate) cancelled: CancellationToken,
}

/// What a run adds to a table.
#[derive(Debug, Clone)]
pub struct TableWrite {
    /// Where the table is. It is made, with the directories above it, where it is not there.
    pub path: PondPath,
    /// Whether the rows are added or replace what is there.
    pub mode: WriteMode,
    /// The order that the rows come in, which is taken on trust; and the order that a new table declares.
    pub order: Vec<SortColumn>,
}

/// What a run wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The number of the version; `None` where there were no rows to add.
    pub version: Option<u64>,
    /// How many rows.
    pub rows: u64,
    /// How many bytes they take.
    pub bytes: u64,
}

impl RunContext {
    /// Where the entry is.
    pub fn path(&self) -> &PondPath {
        &self.entry.path
    }

    /// How the entry was defined.
    pub fn definition(&self) -> &Definition {
        &self.entry.definition
    }

    /// The entry, as the other half of its factory is asked about it. It has the options, and the secrets.
    pub fn entry(&self) -> &FactoryContext {
        &self.entry
    }

    /// The option `name` of the entry, where it was given.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.entry.option(name)
    }

    /// As [`FactoryContext::secret`].
    ///
    /// # Errors
    /// As there.
    pub fn secret(&self, name: &str) -> Result<Option<Secret>> {
        Ok(self.entry.secret(name)?)
    }

    /// The argument `name` of this run, where it was given.
    pub fn argument(&self, name: &str) -> Option<&str> {
        self.options.arguments.get(name).map(String::as_str)
    }

    /// Whether nothing must be written.
    pub fn is_dry_run(&self) -> bool {
        self.options.dry_run
    }

    /// What is outside of the pond.
    pub fn outside(&self) -> &Arc<dyn Outside> {
        &self.entry.outside
    }

    /// DataFusion's session, for functions, object stores and plans.
    pub fn session(&self) -> &SessionState {
        &self.session
    }

    /// Tells how far the run is: one line, which replaces the one before.
    pub fn progress(&self, line: &str) {
        (self.options.progress.0)(line);
    }

    /// Fires when the run is dropped. A task that was spawned must end then; the run's own future is gone already.
    pub fn cancelled(&self) -> &CancellationToken {
        &self.cancelled
    }

    /// The pond as it is now.
    ///
    /// # Errors
    /// What the store says.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot::newest(Arc::clone(&self.store)).await?)
    }

    /// The table at `path` in `snapshot`; `None` where nothing is.
    ///
    /// # Errors
    /// [`WrongKind`](ErrorKind::WrongKind) where something else is there.
    pub fn table(&self, snapshot: &Snapshot, path: &PondPath) -> Result<Option<FileTable>> {
        match snapshot.lookup(path) {
            Ok(entry) => FileTable::try_new(entry.path, &entry.node, FileVersion::Latest, &self.attributes).map(Some),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The greatest value of a column of the table at `path` in `snapshot`; `None` without table, column or rows. Of what was written by
    /// statements and runs it is known without reading.
    ///
    /// # Errors
    /// As [`table`](Self::table); what reading says, where the table must be read.
    pub async fn max(&self, snapshot: &Snapshot, path: &PondPath, column: &str) -> Result<Option<ScalarValue>> {
        let Some(table) = self.table(snapshot, path)? else { return Ok(None) };
        if table.schema().index_of(column).is_err() {
            return Ok(None);
        }
        if let Some(known) = known_max(&table, column)? {
            return Ok(known);
        }
        let spec = TableScanSpec { files: vec![(table, Vec::new())], ..TableScanSpec::default() };
        let provider = Arc::new(FileTableProvider::try_new(spec, &self.objects)?);
        let state = SessionState::clone(&self.session);
        let _ = state.runtime_env().register_object_store(self.objects.url()?.as_ref(), Arc::clone(&self.objects) as _);
        let column = datafusion::common::Column::from_name(column);
        let rows =
            SessionContext::new_with_state(state).read_table(provider)?.aggregate(vec![], vec![max(col(column))])?;
        let batches = rows.collect().await?;
        let value = batches
            .iter()
            .find(|batch| batch.num_rows() > 0)
            .map(|batch| ScalarValue::try_from_array(batch.column(0), 0));
        Ok(value.transpose()?.filter(|value| !value.is_null()))
    }

    /// Writes rows as a version of a table, in a transaction of its own over `base`: schema, row count, statistics and order are
    /// recorded. Columns are matched by name; one that is new widens the table, one that is missing is NULL in these rows. A column that is not
    /// nullable in the rows refuses NULL.
    ///
    /// `base` is the snapshot that the rows were computed from. If the entry or the table has changed since, nothing is written.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict); [`TypeConflict`](ErrorKind::TypeConflict) for a column that has another type in the table;
    /// [`Usage`](ErrorKind::Usage) in a dry run; what the rows fail with, and what the store says.
    pub async fn write(&self, base: &Snapshot, write: TableWrite, rows: SendableRecordBatchStream) -> Result<Written> {
        self.check_writes()?;
        let TableWrite { path, mode, order } = write;
        let schema = rows.schema();
        let existing = self.table(base, &path)?;
        if let (Some(existing), WriteMode::Append) = (&existing, mode) {
            let mut merge = SchemaMerge::default();
            merge.add(existing.schema(), || Origin { name: path.to_string(), version: None })?;
            merge.add(&schema, || Origin { name: format!("the new rows of {path}"), version: None })?;
        }
        let options = WriteOptions { schema: Some(Arc::clone(&schema)), order: order.clone() };
        let written = write_part(rows, &self.store, options).await?;
        let (rows, bytes) = (written.rows, written.part.size);
        if rows == 0 && mode == WriteMode::Append {
            return Ok(Written { version: None, rows, bytes: 0 });
        }
        let mut transaction = self.begin(base, &path);
        if existing.is_none() {
            create(&mut transaction, &path, Some(&schema), order)?;
        }
        let version = transaction.write(&path, mode, written.part, written.attributes)?;
        self.commit(transaction, &format!("{} {rows} rows to {path}", mode.as_str())).await?;
        Ok(Written { version: Some(version), rows, bytes })
    }

    /// Stores bytes as a version that replaces the content of the file at `path`, in a transaction of its own over `base`. Bytes of a
    /// format that is known are a table from then on. `extra` is kept with the version.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub(crate) async fn put(
        &self,
        base: &Snapshot,
        path: &PondPath,
        mut bytes: Bytestream,
        how: PutOptions,
    ) -> Result<Put> {
        self.check_writes()?;
        let mut writer = self.store.create_part().await?;
        while let Some(piece) = bytes.next().await {
            writer.write(piece?).await?;
        }
        let part = writer.finish().await?;
        if how.unless == Some((part.size, part.hash)) {
            return Ok(Put::Unchanged);
        }
        let attributes = describe_stored(self.session.as_ref(), &self.objects, path, &part, &how.wanted).await?;
        let attributes = attributes
            .iter()
            .chain(how.extra.iter())
            .map(|(name, text)| (Arc::clone(name), Arc::clone(text)))
            .collect();
        let size = part.size;
        let mut transaction = self.begin(base, path);
        if base.find(path)?.is_none() {
            create(&mut transaction, path, None, Vec::new())?;
        }
        let version = transaction.write(path, WriteMode::Replace, part, attributes)?;
        self.commit(transaction, &format!("copy {path}")).await?;
        Ok(Put::Stored(Written { version: Some(version), rows: 0, bytes: size }))
    }

    fn check_writes(&self) -> Result<()> {
        match self.options.dry_run {
            false => Ok(()),
            true => Err(Error::new(ErrorKind::Usage, "a dry run writes nothing").with_path(self.path())),
        }
    }

    fn begin(&self, base: &Snapshot, path: &PondPath) -> Transaction {
        let mut transaction = Transaction::begin(base.clone(), TransactionOptions::default());
        // Both must be as they were: the entry that is run, and what the new rows continue.
        transaction.record_read(self.path());
        transaction.record_read(path);
        transaction
    }

    async fn commit(&self, transaction: Transaction, what: &str) -> Result<()> {
        let message = format!("CALL pond_run('{}'): {what}", self.path());
        let info = CommitInfo { author: self.author.clone(), message };
        match transaction.commit(info).await? {
            CommitOutcome::Committed(_) | CommitOutcome::Unchanged(_) => Ok(()),
            CommitOutcome::Conflicted(conflict) => Err(conflict.into()),
        }
    }
}

/// How bytes are stored by [`RunContext::put`].
#[derive(Debug, Clone, Default)]
pub(crate) struct PutOptions {
    /// How they are read as a table.
    pub(crate) wanted: Wanted,
    /// What is kept with the version.
    pub(crate) extra: Attributes,
    /// Do nothing if they have this size and hash.
    pub(crate) unless: Option<(u64, tinyfs::Hash)>,
}

/// What [`RunContext::put`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    Stored(Written),
    Unchanged,
}

fn create(
    transaction: &mut Transaction,
    path: &PondPath,
    schema: Option<&SchemaRef>,
    order: Vec<SortColumn>,
) -> Result<()> {
    let attributes = match schema {
        Some(schema) => TableAttributes { schema: Arc::clone(schema), order }.to_attributes()?,
        None => Attributes::default(),
    };
    Ok(transaction.create(path, NewEntry::File, attributes)?)
}

/// The greatest value of a column, where the statistics of all parts tell it: the outer `None` where they do not.
fn known_max(table: &FileTable, column: &str) -> Result<Option<Option<ScalarValue>>> {
    let mut greatest: Option<ScalarValue> = None;
    for part in table.parts() {
        let Ok(at) = part.attributes.schema.index_of(column) else { continue };
        if part.attributes.rows() == Some(0) {
            continue;
        }
        let Some(statistics) = part.attributes.statistics()?.column_statistics.get(at) else { return Ok(None) };
        let Precision::Exact(value) = &statistics.max_value else { return Ok(None) };
        if value.is_null() {
            continue;
        }
        let wide = table.schema().field_with_name(column).map_err(datafusion::common::DataFusionError::from)?;
        let value = value.cast_to(wide.data_type())?;
        greatest = match greatest {
            Some(known) if known.partial_cmp(&value).is_none_or(|order| order.is_ge()) => Some(known),
            _ => Some(value),
        };
    }
    Ok(Some(greatest))
}
