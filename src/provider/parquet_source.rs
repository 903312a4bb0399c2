//! [`NamedParquetSource`]: DataFusion's Parquet source, whose errors name the file.
//!
//! Everything is left to it. Its decoder panics on some values that a damaged page holds; that becomes an error here too.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Fields;
use datafusion::arrow::error::ArrowError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result as DfResult};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileOpener, FileScanConfig, FileSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::{
    EquivalenceProperties, LexOrdering, PhysicalExpr, PhysicalSortExpr, conjunction, split_conjunction,
};
use datafusion::physical_plan::filter_pushdown::FilterPushdownPropagation;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, SortOrderPushdownResult};
use datafusion_datasource::morsel::{Morsel, MorselPlan, MorselPlanner, Morselizer};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::{ObjectStore, ObjectStoreExt};

use super::merged_source::{panicked, unreadable};
use super::scan_part::{PartOrigin, ScanPart};
use super::schema_text::stored_type;
use super::unchanged_store::UnchangedStore;
use crate::error::Error;

/// Wraps a `ParquetSource`. Files have a [`ScanPart`] among their extensions.
#[derive(Clone)]
pub(crate) struct NamedParquetSource(Arc<dyn FileSource>);

impl NamedParquetSource {
    /// `source`, with names in its errors.
    pub(crate) fn wrap(source: Arc<dyn FileSource>) -> Arc<dyn FileSource> {
        Arc::new(Self(source))
    }
}

impl FileSource for NamedParquetSource {
    fn create_file_opener(
        &self,
        store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> DfResult<Arc<dyn FileOpener>> {
        self.0.create_file_opener(store, config, partition)
    }

    fn create_morselizer(
        &self,
        store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> DfResult<Box<dyn Morselizer>> {
        let inner = self.0.create_morselizer(Arc::clone(&store), config, partition)?;
        let all = self.0.table_schema().file_schema().fields();
        let columns: Fields = match self.0.projection() {
            Some(read) => read.column_indices().into_iter().filter_map(|at| all.get(at)).map(Arc::clone).collect(),
            None => all.clone(),
        };
        Ok(Box::new(NamedMorselizer { inner, store, columns }))
    }

    fn table_schema(&self) -> &TableSchema {
        self.0.table_schema()
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        Self::wrap(self.0.with_batch_size(batch_size))
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.0.filter().map(|filter| without_equal_terms(&filter))
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.0.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.0.metrics()
    }

    fn file_type(&self) -> &str {
        self.0.file_type()
    }

    fn fmt_extra(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_extra(format, f)
    }

    fn supports_repartitioning(&self) -> bool {
        self.0.supports_repartitioning()
    }

    fn repartitioned(
        &self,
        target_partitions: usize,
        min_size: usize,
        order: Option<LexOrdering>,
        config: &FileScanConfig,
    ) -> DfResult<Option<FileScanConfig>> {
        self.0.repartitioned(target_partitions, min_size, order, config)
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> DfResult<FilterPushdownPropagation<Arc<dyn FileSource>>> {
        let pushed = self.0.try_pushdown_filters(filters, config)?;
        Ok(FilterPushdownPropagation { filters: pushed.filters, updated_node: pushed.updated_node.map(Self::wrap) })
    }

    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
        properties: &EquivalenceProperties,
    ) -> DfResult<SortOrderPushdownResult<Arc<dyn FileSource>>> {
        Ok(match self.0.try_pushdown_sort(order, properties)? {
            SortOrderPushdownResult::Exact { inner } => SortOrderPushdownResult::Exact { inner: Self::wrap(inner) },
            SortOrderPushdownResult::Inexact { inner } => SortOrderPushdownResult::Inexact { inner: Self::wrap(inner) },
            SortOrderPushdownResult::Unsupported => SortOrderPushdownResult::Unsupported,
        })
    }

    fn reorder_files(&self, files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
        self.0.reorder_files(files)
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> DfResult<Option<Arc<dyn FileSource>>> {
        Ok(self.0.try_pushdown_projection(projection)?.map(Self::wrap))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        self.0.apply_expressions(f)
    }
}

#[derive(Debug)]
struct NamedMorselizer {
    inner: Box<dyn Morselizer>,
    store: Arc<dyn ObjectStore>,
    /// Those that are read, as the table has them.
    columns: Fields,
}

impl Morselizer for NamedMorselizer {
    fn plan_file(&self, file: PartitionedFile) -> DfResult<Box<dyn MorselPlanner>> {
        let Some(part) = file.extensions.get_arc::<ScanPart>() else { return self.inner.plan_file(file) };
        let planned = guard(&part, || self.inner.plan_file(file.clone()))?;
        let planner = NamedPlanner::wrap(planned, &part, &self.columns);
        if part.version().is_some() {
            return Ok(planner);
        }
        Ok(Box::new(UncheckedPlanner { planner, store: Arc::clone(&self.store), part, file }))
    }
}

/// Of a file of the host: looks whether it is still the one that was planned. What is read of it is looked at then too, but an
/// error in its footer would not tell.
#[derive(Debug)]
struct UncheckedPlanner {
    planner: Box<dyn MorselPlanner>,
    store: Arc<dyn ObjectStore>,
    part: Arc<ScanPart>,
    file: PartitionedFile,
}

impl MorselPlanner for UncheckedPlanner {
    fn plan(self: Box<Self>) -> DfResult<Option<MorselPlan>> {
        let Self { planner, store, part, file } = *self;
        Ok(Some(MorselPlan::new().with_pending_planner(async move {
            let now = UnchangedStore::over(&store, &part).head(&file.object_meta.location).await;
            let _ = now.map_err(|error| unreadable(&part, DataFusionError::ObjectStore(Box::new(error))))?;
            Ok(planner)
        })))
    }
}

#[derive(Debug)]
struct NamedPlanner {
    inner: Box<dyn MorselPlanner>,
    part: Arc<ScanPart>,
    columns: Fields,
}

impl NamedPlanner {
    fn wrap(inner: Box<dyn MorselPlanner>, part: &Arc<ScanPart>, columns: &Fields) -> Box<dyn MorselPlanner> {
        Box::new(Self { inner, part: Arc::clone(part), columns: columns.clone() })
    }
}

impl MorselPlanner for NamedPlanner {
    fn plan(self: Box<Self>) -> DfResult<Option<MorselPlan>> {
        let Self { inner, part, columns } = *self;
        let Some(mut planned) = guard(&part, || inner.plan())? else { return Ok(None) };
        let morsels = planned.take_morsels().into_iter().map(|inner| {
            let morsel: Box<dyn Morsel> =
                Box::new(NamedMorsel { inner, part: Arc::clone(&part), columns: columns.clone() });
            morsel
        });
        let planners = planned.take_ready_planners().into_iter().map(|inner| Self::wrap(inner, &part, &columns));
        let mut named = MorselPlan::new().with_morsels(morsels.collect()).with_planners(planners.collect());
        if let Some(pending) = planned.take_pending_planner() {
            named.set_pending_planner(async move {
                let planner = AssertUnwindSafe(pending).catch_unwind().await.unwrap_or_else(|_| Err(panicked()));
                planner.map(|inner| Self::wrap(inner, &part, &columns)).map_err(|error| unreadable(&part, error))
            });
        }
        Ok(Some(named))
    }
}

#[derive(Debug)]
struct NamedMorsel {
    inner: Box<dyn Morsel>,
    part: Arc<ScanPart>,
    columns: Fields,
}

impl Morsel for NamedMorsel {
    fn into_stream(self: Box<Self>) -> BoxStream<'static, DfResult<RecordBatch>> {
        let Self { inner, part, columns } = *self;
        AssertUnwindSafe(inner.into_stream())
            .catch_unwind()
            .map(move |batch| {
                batch.unwrap_or_else(|_| Err(panicked())).map_err(|error| match of_expression(&error) {
                    true => perhaps_of_cast(&part, &columns, error),
                    false => unreadable(&part, error),
                })
            })
            .boxed()
    }
}

/// `filter` without `=` between two terms that are no columns. DataFusion reads what is equal from it, as from its own filters,
/// where it leaves these out: a constant that equals a term would become that term in every expression of the plan,
/// so that what is sorted is not what was to be sorted.
fn without_equal_terms(filter: &Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
    let of_terms = |part: &Arc<dyn PhysicalExpr>| {
        part.downcast_ref::<BinaryExpr>().is_some_and(|binary| {
            let sides = [binary.left(), binary.right()];
            *binary.op() == Operator::Eq && sides.iter().all(|side| side.downcast_ref::<Column>().is_none())
        })
    };
    let parts = split_conjunction(filter);
    match parts.iter().any(|part| of_terms(part)) {
        true => conjunction(parts.into_iter().filter(|part| !of_terms(part)).cloned()),
        false => Arc::clone(filter),
    }
}

/// Whether an expression of the query failed, which the scan evaluates on the rows that it has read: nothing is wrong
/// with the file then. What fails to decode is an error of Parquet, in whatever it is wrapped.
fn of_expression(error: &DataFusionError) -> bool {
    match error.find_root() {
        DataFusionError::ArrowError(error, _) => !matches!(
            error.as_ref(),
            ArrowError::ParquetError(_) | ArrowError::IoError(..) | ArrowError::ExternalError(_)
        ),
        DataFusionError::Execution(_) | DataFusionError::NotImplemented(_) | DataFusionError::Plan(_) => true,
        _ => false,
    }
}

/// An [error of an expression](of_expression): where the table has other types than the file, which says so, it may be the cast between them.
fn perhaps_of_cast(part: &ScanPart, columns: &Fields, error: DataFusionError) -> DataFusionError {
    let cast = columns.iter().filter_map(|column| {
        let (name, to) = (column.name(), column.data_type());
        let from = part.attributes.schema.field_with_name(name).ok()?.data_type();
        (stored_type(from) != stored_type(to)).then(|| format!("column '{name}' is {from} and read as {to}"))
    });
    let cast: Vec<String> = cast.collect();
    if cast.is_empty() {
        return error;
    }
    let inner = Error::from_datafusion(error);
    if inner.path().is_some() {
        return DataFusionError::from(inner);
    }
    let (kind, cast) = (inner.kind(), cast.join(", "));
    let error = match &part.origin {
        PartOrigin::Pond { path, version } => {
            let message = format!("in '{path}' version {}, where {cast}", version.number);
            Error::new(kind, message).with_path(path).with_version(version.number)
        }
        PartOrigin::Host { label, .. } => Error::new(kind, format!("in '{label}', where {cast}")),
    };
    DataFusionError::from(error.with_source(inner))
}

fn guard<T>(part: &ScanPart, run: impl FnOnce() -> DfResult<T>) -> DfResult<T> {
    let result = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err(panicked()));
    result.map_err(|error| unreadable(part, error))
}
