//! [`MergedSource`]: one of DataFusion's sources over files of different columns.
//!
//! DataFusion matches columns by name for Parquet alone; its sources of other formats would take a file's second column for the
//! table's second one. Here each file is read by its own columns, which are matched by name and cast. An error names the file, and
//! a panic of a decoder becomes one.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result as DfResult, internal_datafusion_err};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    FileGroupPartitioner, FileOpenFuture, FileOpener, FileScanConfig, FileSource,
};
use datafusion::datasource::projection::{ProjectionOpener, SplitProjection};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::{LexOrdering, PhysicalExpr};
use datafusion::physical_expr_adapter::BatchAdapterFactory;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, apply_expression_roots};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use super::format::{CheckedStore, PartFormat, Piece, Seen, Text, UnpackedStore};
use super::held_store::HeldStore;
use super::inspect::failure_beside;
use super::read_only::ReadOnly;
use super::scan_part::{PartOrigin, ScanPart};
use super::unchanged_store::{Changed, UnchangedStore};
use crate::error::{Error, ErrorKind, Result};

/// From how many columns on they are found by a map.
const MANY_COLUMNS: usize = 32;

/// Reads files of one format and the same options, each a [`ScanPart`] kept among the extensions of its `PartitionedFile`.
#[derive(Debug, Clone)]
pub(crate) struct MergedSource {
    format: PartFormat,
    columns: TableSchema,
    projection: SplitProjection,
    batch_size: Option<usize>,
    memory: Arc<dyn MemoryPool>,
    metrics: ExecutionPlanMetricsSet,
}

impl MergedSource {
    /// A source of rows with `columns`. What decoders hold of a whole file is taken from `memory`.
    pub(crate) fn new(format: PartFormat, columns: TableSchema, memory: Arc<dyn MemoryPool>) -> Self {
        let projection = SplitProjection::unprojected(&columns);
        Self { format, columns, projection, batch_size: None, memory, metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl FileSource for MergedSource {
    fn create_file_opener(
        &self,
        store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> DfResult<Arc<dyn FileOpener>> {
        let columns = Arc::new(self.columns.file_schema().project(&self.projection.file_indices)?);
        let opener = PartOpener { source: self.clone(), store, config: config.clone(), partition, columns };
        ProjectionOpener::try_new(self.projection.clone(), Arc::new(opener), self.columns.file_schema())
    }

    fn table_schema(&self) -> &TableSchema {
        &self.columns
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        Arc::new(Self { batch_size: Some(batch_size), ..self.clone() })
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        Some(&self.projection.source)
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> DfResult<Option<Arc<dyn FileSource>>> {
        let projection = self.projection.source.try_merge(projection)?;
        let projection = SplitProjection::new(self.columns.file_schema(), &projection);
        Ok(Some(Arc::new(Self { projection, ..self.clone() })))
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        &self.metrics
    }

    fn file_type(&self) -> &str {
        self.format.name()
    }

    fn fmt_extra(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.format.options.iter().try_for_each(|(name, value)| write!(f, ", {name}={}", value.escape_debug()))
    }

    fn supports_repartitioning(&self) -> bool {
        self.format.format.reader.can_split(&self.format.options)
    }

    fn repartitioned(
        &self,
        target_partitions: usize,
        repartition_file_min_size: usize,
        output_ordering: Option<LexOrdering>,
        config: &FileScanConfig,
    ) -> DfResult<Option<FileScanConfig>> {
        if !self.supports_repartitioning() || (config.limit.is_some() && self.may_cut_within_values(config)) {
            return Ok(None);
        }
        let groups = FileGroupPartitioner::new()
            .with_target_partitions(target_partitions)
            .with_repartition_file_min_size(repartition_file_min_size)
            .with_preserve_order_within_groups(output_ordering.is_some())
            .repartition_file_groups(&config.file_groups);
        Ok(groups.map(|file_groups| {
            let mut config = config.clone();
            config.file_groups = file_groups;
            config
        }))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        apply_expression_roots(self.projection.source.iter(), f)
    }
}

impl MergedSource {
    /// Whether a range of a file may begin within a value. The range in front of it finds that where it ends, but a plan with a limit
    /// may have given the middle of the value for rows by then, and has enough of them.
    fn may_cut_within_values(&self, config: &FileScanConfig) -> bool {
        let is_seen = |file: &PartitionedFile| {
            let part = file.extensions.get_arc::<ScanPart>();
            part.is_some_and(|part| part.attributes.seen() == Seen::Whole)
        };
        let mut files = config.file_groups.iter().flat_map(|group| group.iter());
        self.format.format.reader.cuts_at_lines() && !files.all(is_seen)
    }
}

/// Opens each file by its own columns, and gives those of the table.
struct PartOpener {
    source: MergedSource,
    store: Arc<dyn ObjectStore>,
    config: FileScanConfig,
    partition: usize,
    /// The columns of the table that are wanted.
    columns: SchemaRef,
}

impl FileOpener for PartOpener {
    fn open(&self, file: PartitionedFile) -> DfResult<FileOpenFuture> {
        let part = file.extensions.get_arc::<ScanPart>();
        let part = part.ok_or_else(|| internal_datafusion_err!("'{}' was not planned", file.object_meta.location))?;
        let holds = self.source.format.format.reader.holds_bytes(&self.source.format.options);
        let consumer = || MemoryConsumer::new(format!("{} file", self.source.format.name()));
        let held = holds.then(|| Arc::new(consumer().register(&self.source.memory)));
        let opened = catch_unwind(AssertUnwindSafe(|| self.open_part(file, &part, held.as_ref())));
        let opened = opened.unwrap_or_else(|_| Err(panicked())).map_err(|error| unreadable(&part, error))?;
        let columns = Arc::clone(&self.columns);
        Ok(async move {
            let opened = AssertUnwindSafe(opened).catch_unwind().await;
            let rows = opened.unwrap_or_else(|_| Err(panicked())).map_err(|error| unreadable(&part, error))?;
            Ok(conformed(rows, &part, columns)
                .inspect(move |_| {
                    let _ = &held;
                })
                .boxed())
        }
        .boxed())
    }
}

impl PartOpener {
    /// Opens a part. What its source holds in memory is taken from `held`.
    fn open_part(
        &self,
        mut file: PartitionedFile,
        part: &ScanPart,
        held: Option<&Arc<MemoryReservation>>,
    ) -> DfResult<FileOpenFuture> {
        let own = &part.attributes.schema;
        let wanted = places(&self.columns, own);
        let source = self.source.format.format.reader.source(own, &self.source.format.options)?;
        let source = source
            .try_pushdown_projection(&ProjectionExprs::from_indices(&wanted, own))?
            .ok_or_else(|| internal_datafusion_err!("{} takes no projection", source.file_type()))?;
        let batch_size = self.source.batch_size.ok_or_else(|| internal_datafusion_err!("there is no batch size"))?;
        let reader = self.source.format.format.reader;
        let store = UnchangedStore::over(&self.store, part);
        let store = match held {
            None => store,
            Some(held) => Arc::new(ReadOnly(HeldStore { store, held: Arc::clone(held) })),
        };
        if let Some(pieces) = reader.pieces(Arc::clone(&store), file.object_meta.clone()) {
            return Ok(read_pieces(pieces, source, self.config.clone(), file.object_meta));
        }
        let source = source.with_batch_size(batch_size);
        let options = &self.source.format.options;
        let compression = options.compression()?;
        let store = match compression.is_compressed() {
            false => store,
            true => Arc::new(ReadOnly(UnpackedStore { packed: store, compression })),
        };
        let place = |at: i64| {
            u64::try_from(at).map_err(|error| {
                internal_datafusion_err!("'{}' has no byte {at} for a range: {error}", file.object_meta.location)
            })
        };
        let range = match &file.range {
            None => None,
            Some(range) => Some(place(range.start)?..place(range.end)?),
        };
        let label = match &part.origin {
            PartOrigin::Pond { path, .. } => path.as_str(),
            PartOrigin::Host { label, .. } => &**label,
        };
        let size = file.object_meta.size;
        let text = Text { schema: own, wanted: &wanted, options, label, size, range: range.clone() };
        let store = match (&part.origin, part.attributes.seen()) {
            // What is in a pond never changes.
            (PartOrigin::Pond { .. }, Seen::Whole) => store,
            _ => CheckedStore::over(store, self.source.format.format, &text)?,
        };
        let store = match reader.spelled(&store, &file.object_meta, range) {
            None => store,
            Some(spelled) => {
                file.range = None;
                spelled
            }
        };
        // Of the configuration a source reads how files are compressed, which they are not any more.
        source.create_file_opener(store, &self.config, self.partition)?.open(file)
    }
}

/// Where those of `columns` are in `own` that it has.
fn places(columns: &Schema, own: &Schema) -> Vec<usize> {
    let names = columns.fields().iter().map(|field| field.name());
    if names.len() < MANY_COLUMNS {
        return names.filter_map(|name| own.index_of(name).ok()).collect();
    }
    // A look at each column for each one takes long. Of two with one name the first counts.
    let places: HashMap<&String, usize> =
        own.fields().iter().enumerate().rev().map(|(at, field)| (field.name(), at)).collect();
    names.filter_map(|name| places.get(name).copied()).collect()
}

/// Reads a file piece by piece, each one a batch.
fn read_pieces(
    pieces: BoxStream<'static, Result<Piece>>,
    source: Arc<dyn FileSource>,
    config: FileScanConfig,
    meta: ObjectMeta,
) -> FileOpenFuture {
    let batches = pieces.map_err(DataFusionError::from).and_then(move |piece| {
        let (source, config, mut meta) = (source.with_batch_size(piece.rows), config.clone(), meta.clone());
        async move {
            meta.size = piece.bytes.len() as u64;
            let store = Arc::new(InMemory::new());
            let _ = store.put(&meta.location, piece.bytes.into()).await?;
            let opener = source.create_file_opener(store, &config, 0)?;
            let mut batches = opener.open(PartitionedFile::new_from_meta(meta))?.await?;
            let wrong = |what: &str| {
                let message = format!("a block has {what} than the {} rows that it claims", piece.rows);
                DataFusionError::from(Error::new(ErrorKind::Corrupt, message))
            };
            let batch = batches.next().await.transpose()?;
            let batch = batch.filter(|batch| batch.num_rows() == piece.rows).ok_or_else(|| wrong("fewer"))?;
            // A second batch, or what cannot be decoded as one.
            match batches.next().await {
                None => Ok(batch),
                Some(_) => Err(wrong("more")),
            }
        }
    });
    async move { Ok(batches.boxed()) }.boxed()
}

/// Rows of `part` with the columns that are wanted of it.
fn conformed(
    rows: BoxStream<'static, DfResult<RecordBatch>>,
    part: &Arc<ScanPart>,
    columns: SchemaRef,
) -> BoxStream<'static, DfResult<RecordBatch>> {
    let factory = BatchAdapterFactory::new(Arc::clone(&columns));
    // All batches of a file have the same columns, but they are not known before the first.
    let mut adapter = None;
    let conform = move |batch: RecordBatch| {
        if batch.schema_ref().fields() == columns.fields() {
            return Ok(batch);
        }
        if adapter.is_none() {
            adapter = Some(factory.make_adapter(batch.schema_ref())?);
        }
        match &adapter {
            Some(adapter) => adapter.adapt_batch(&batch),
            None => Ok(batch),
        }
    };
    let mut conform = conform;
    let part = Arc::clone(part);
    AssertUnwindSafe(rows)
        .catch_unwind()
        .map(move |batch| {
            let batch = batch.unwrap_or_else(|_| Err(panicked()));
            batch.and_then(&mut conform).map_err(|error| unreadable(&part, error))
        })
        .boxed()
}

/// The error in place of a panic.
pub(crate) fn panicked() -> DataFusionError {
    DataFusionError::from(Error::new(ErrorKind::Corrupt, "its decoder gave up on it"))
}

/// The error of a part that cannot be read: it names the part, and says of the other files that nobody knows. One of the store below
/// names it itself.
pub(crate) fn unreadable(part: &ScanPart, error: DataFusionError) -> DataFusionError {
    if let Some(changed) = Changed::behind(&error) {
        return DataFusionError::from(Error::new(ErrorKind::Io, changed.to_string()));
    }
    let inner = Error::from_datafusion(error);
    if inner.path().is_some() {
        return DataFusionError::from(failure_beside(inner, part.others));
    }
    let kind = match inner.kind() {
        ErrorKind::Io | ErrorKind::Limit | ErrorKind::NotFound | ErrorKind::Unsupported | ErrorKind::Cancelled => {
            inner.kind()
        }
        _ => ErrorKind::Corrupt,
    };
    let format = part.attributes.format.name();
    let error = match &part.origin {
        PartOrigin::Pond { path, version } => {
            let message = format!("cannot read '{path}' version {} as {format}", version.number);
            Error::new(kind, message).with_path(path).with_version(version.number)
        }
        PartOrigin::Host { label, .. } => Error::new(kind, format!("cannot read '{label}' as {format}")),
    };
    DataFusionError::from(failure_beside(error.with_source(inner), part.others))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{DataType, Field};

    use super::*;

    #[test]
    fn columns_are_found_however_many_there_are() {
        let schema = |names: &mut dyn Iterator<Item = usize>| {
            Schema::new(names.map(|name| Field::new(format!("c{name}"), DataType::Int64, true)).collect::<Vec<_>>())
        };
        let own = schema(&mut (0..100_000));
        assert_eq!(places(&schema(&mut [7, 200_000, 3].into_iter()), &own), [7, 3]);
        assert_eq!(places(&schema(&mut (0..100_001).rev()), &own), (0..100_000).rev().collect::<Vec<_>>());
        let twice = schema(&mut [5, 1, 5].into_iter());
        assert_eq!(places(&schema(&mut [5].into_iter()), &twice), [0]);
        assert_eq!(places(&schema(&mut (0..MANY_COLUMNS)), &twice), [1, 0]);
    }
}
