//! [`FileTableProvider`]: one table over the parts of a file, a series or a glob.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result as DfResult, ScalarValue, not_impl_err, plan_err};
use datafusion::datasource::sink::DataSinkExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use tinyfs::{PondPath, WriteMode};

use super::attributes::SortColumn;
use super::file_table::FileTable;
use super::object_store::PondObjectStore;
use super::pruning::is_decidable;
use super::scan::{PartStore, ScanRequest, plan_scan};
use super::scan_part::{Captured, PartOrigin, ScanColumns, ScanPart};
use super::schema_merge::{Origin, SchemaMerge};
use super::schema_text::stored_type;
use super::sink::{PartSink, TableWriter, nullable, physical_order, required_order};
use super::struct_fields::same_fields;
use super::virtual_columns::{Meta, VirtualColumn};
use crate::error::{Error, ErrorKind, Result};

/// What a [`FileTableProvider`] is made of.
#[derive(Debug, Default)]
pub struct TableScanSpec {
    /// The files, in the order of their rows where nothing else orders them, each with the texts its path matched: one for each capture column, `None` where a capture took no part.
    pub files: Vec<(FileTable, Vec<Option<Arc<str>>>)>,
    /// The captures' names. They become text columns after those of the files; `_1`, `_2`, … come last of all.
    pub capture_columns: Vec<Arc<str>>,
    /// Whether `_path`, `_name`, `_version`, `_txn` and `_modified` are columns too.
    pub meta: bool,
    /// Who refuses NULL in a NOT NULL column.
    pub not_null: NotNull,
    /// Takes what `INSERT` writes, where the table is one file that can be written.
    pub writer: Option<Arc<dyn TableWriter>>,
}

/// Who refuses NULL in a NOT NULL column of a table that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NotNull {
    /// The schema says NOT NULL, and DataFusion refuses what breaks it, without saying of which column.
    #[default]
    Shown,
    /// The schema says that all columns are nullable, and the sink refuses, naming the column.
    LeftToSink,
}

/// One table over the parts of one file, a series or all files of a glob, as they were when it was made.
///
/// A scan is a native `DataSourceExec` for each format, over the parts that statistics and filters on captures leave; planning it opens no part.
#[derive(Debug)]
pub struct FileTableProvider {
    columns: ScanColumns,
    files: Files,
    store: PartStore,
    writer: Option<Target>,
}

/// What a table is over.
#[derive(Debug)]
enum Files {
    Pond(Vec<(FileTable, Captured)>),
    Host(Vec<ScanPart>),
}

/// Files outside of a pond, as one table.
#[derive(Debug)]
pub(crate) struct HostScanSpec {
    /// The files.
    pub(crate) parts: Vec<ScanPart>,
    /// Their columns, merged.
    pub(crate) schema: SchemaRef,
    /// As those of a [`TableScanSpec`].
    pub(crate) capture_columns: Vec<Arc<str>>,
    /// The columns of the values that parts have.
    pub(crate) value_columns: Vec<FieldRef>,
    /// Whether `_path`, `_name` and `_modified` are columns too.
    pub(crate) meta: bool,
    /// Where the files are.
    pub(crate) store: ObjectStoreUrl,
}

/// Where `INSERT` goes.
#[derive(Debug)]
struct Target {
    writer: Arc<dyn TableWriter>,
    /// The columns as the table declares them.
    schema: SchemaRef,
    /// The declared order of the table; empty without.
    order: Vec<SortColumn>,
}

impl FileTableProvider {
    /// A table over the files of `scan`, whose parts are in `store`.
    ///
    /// # Errors
    /// [`TypeConflict`](ErrorKind::TypeConflict) when columns of one name do not go together; [`Plan`](ErrorKind::Plan) when a capture or
    /// metadata column has the name of a column of the files.
    pub fn try_new(scan: TableScanSpec, store: &Arc<PondObjectStore>) -> Result<Self> {
        let TableScanSpec { files, capture_columns, meta, not_null, writer } = scan;
        let mut merge = SchemaMerge::default();
        for (file, _) in &files {
            merge.add(file.schema(), || Origin { name: file.path().to_string(), version: None })?;
        }
        let declared = merge.schema();
        let file_schema = match not_null {
            NotNull::Shown => Arc::clone(&declared),
            NotNull::LeftToSink => nullable(&declared),
        };
        let meta = if meta { Meta::Pond } else { Meta::None };
        let columns = scan_columns(file_schema, &capture_columns, &[], meta)?;
        let writer = match writer {
            Some(_) if files.len() != 1 || !columns.virtuals.is_empty() => {
                return Err(Error::new(ErrorKind::ReadOnly, "only a single file can be written, not a glob"));
            }
            writer => writer.map(|writer| Target {
                writer,
                schema: declared,
                order: files.iter().flat_map(|(file, _)| file.order()).cloned().collect(),
            }),
        };
        let files = files.into_iter().map(|(file, captures)| (file, captures.into())).collect();
        Ok(Self { columns, files: Files::Pond(files), store: PartStore::Pond(Arc::clone(store)), writer })
    }

    /// A table over files outside of a pond.
    ///
    /// # Errors
    /// As [`try_new`](Self::try_new).
    pub(crate) fn over_host(scan: HostScanSpec) -> Result<Self> {
        let HostScanSpec { parts, schema, capture_columns, value_columns, meta, store } = scan;
        let meta = if meta { Meta::Host } else { Meta::None };
        let columns = scan_columns(schema, &capture_columns, &value_columns, meta)?;
        Ok(Self { columns, files: Files::Host(parts), store: PartStore::Host(store), writer: None })
    }

    /// The parts that have rows; one without adds its columns, and nothing to a scan.
    fn parts(&self) -> Vec<ScanPart> {
        let files = match &self.files {
            Files::Pond(files) => files,
            Files::Host(parts) => return parts.clone(),
        };
        let mut parts = Vec::with_capacity(files.iter().map(|(file, _)| file.parts().len()).sum());
        let none: Arc<[ScalarValue]> = Arc::new([]);
        for (file, captures) in files {
            parts.extend(file.parts().iter().filter(|part| part.attributes.rows() != Some(0)).map(|part| ScanPart {
                origin: PartOrigin::Pond { path: file.path().clone(), version: Arc::clone(&part.version) },
                attributes: Arc::clone(&part.attributes),
                captures: Arc::clone(captures),
                values: Arc::clone(&none),
                others: 0,
            }));
        }
        parts
    }

    /// Whether all that it reads is in the pond with these objects, so that it is the same as long as that pond is.
    pub fn reads_only(&self, pond: &Arc<PondObjectStore>) -> bool {
        matches!(&self.store, PartStore::Pond(store) if Arc::ptr_eq(store, pond))
    }

    /// The file that `INSERT` writes to, where it may.
    pub(crate) fn written_path(&self) -> Option<&PondPath> {
        match (&self.writer, &self.files) {
            (Some(_), Files::Pond(files)) => files.first().map(|(file, _)| file.path()),
            _ => None,
        }
    }

    /// The columns of the files alone, without captures and metadata.
    pub fn file_schema(&self) -> &SchemaRef {
        &self.columns.file
    }
}

fn scan_columns(file: SchemaRef, captures: &[Arc<str>], values: &[FieldRef], meta: Meta) -> Result<ScanColumns> {
    let virtuals = VirtualColumn::all(&file, captures, values, meta)?;
    let table = if virtuals.is_empty() {
        Arc::clone(&file)
    } else {
        let added = virtuals.iter().map(|column| Arc::clone(&column.field));
        Arc::new(Schema::new(file.fields().iter().map(Arc::clone).chain(added).collect::<Vec<_>>()))
    };
    Ok(ScanColumns { file, virtuals, table })
}

#[async_trait]
impl TableProvider for FileTableProvider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.columns.table)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        Ok(filters
            .iter()
            .map(|filter| match is_decidable(filter, &self.columns) {
                true => TableProviderFilterPushDown::Exact,
                false => TableProviderFilterPushDown::Inexact,
            })
            .collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        plan_scan(session, &self.store, &self.columns, self.parts(), ScanRequest { projection, filters, limit }).await
    }

    async fn insert_into(
        &self,
        _session: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        op: InsertOp,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let Some(target) = &self.writer else {
            let why = match &self.store {
                PartStore::Pond(_) => "this table cannot be written",
                PartStore::Host(_) => "host files are read-only: COPY writes one",
            };
            return Err(DataFusionError::from(Error::new(ErrorKind::ReadOnly, why)));
        };
        let mode = match op {
            InsertOp::Append => WriteMode::Append,
            InsertOp::Overwrite => WriteMode::Replace,
            InsertOp::Replace => return not_impl_err!("REPLACE INTO: use INSERT OVERWRITE, which replaces all rows"),
        };
        check_insertable(&self.columns.file, &input.schema())?;
        let order = if target.order.is_empty() {
            // The names are those of the query; the rows are written under those of the table.
            physical_order(&input)
                .into_iter()
                .filter_map(|column| {
                    let at = input.schema().index_of(&column.column).ok()?;
                    Some(SortColumn { column: self.columns.file.field(at).name().clone(), ..column })
                })
                .collect()
        } else {
            target.order.clone()
        };
        let requirement = required_order(&order, &self.columns.file, &input.schema());
        let sink = PartSink::new(Arc::clone(&target.schema), mode, order, Arc::clone(&target.writer));
        Ok(Arc::new(DataSinkExec::new(input, Arc::new(sink), requirement)))
    }
}

/// Whether rows of `input` can be written as rows of `table`, column by column; the sink converts between ways to store text.
fn check_insertable(table: &Schema, input: &Schema) -> DfResult<()> {
    let (table, input) = (table.fields(), input.fields());
    if table.len() != input.len() {
        return plan_err!("the table has {} columns, the query gives {}", table.len(), input.len());
    }
    let differs = |(to, from): &(&FieldRef, &FieldRef)| {
        let (to, from) = (stored_type(to.data_type()), stored_type(from.data_type()));
        // Which is blind to the names in a struct.
        !to.equals_datatype(&from) || !same_fields(&to, &from)
    };
    match table.iter().zip(input).find(differs) {
        Some((to, from)) => {
            plan_err!("column '{}' is {}, the query gives {}", to.name(), to.data_type(), from.data_type())
        }
        None => Ok(()),
    }
}
