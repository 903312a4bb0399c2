//! From parts to a plan: DataFusion's own scans over the parts that can hold rows of the answer, one for each format.

use std::sync::Arc;

use datafusion::catalog::Session;
use datafusion::common::stats::Precision;
use datafusion::common::{Result, Statistics};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{FileRange, PartitionedFile};
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;

use super::format::PartFormat;
use super::grouping::{Grouping, group};
use super::merged_source::MergedSource;
use super::object_store::PondObjectStore;
use super::parquet_pages::with_checked_pages;
use super::parquet_source::NamedParquetSource;
use super::pruning::{is_decidable, keep_passing, prune};
use super::scan_part::{PartOrigin, ScanColumns, ScanPart, count_files, merged_statistics};
use crate::error::Result as PondResult;

/// What a query asks of a table.
#[derive(Debug)]
pub(crate) struct ScanRequest<'a> {
    pub(crate) projection: Option<&'a Vec<usize>>,
    pub(crate) filters: &'a [Expr],
    pub(crate) limit: Option<usize>,
}

/// Where the parts of a scan are read from.
#[derive(Debug, Clone)]
pub(crate) enum PartStore {
    /// A pond.
    Pond(Arc<PondObjectStore>),
    /// A store that the session has under this URL.
    Host(ObjectStoreUrl),
}

impl PartStore {
    /// The URL that plans name it by. A pond's store is registered under it from here on: anyone may have put another store of
    /// this pond in its place, with other leases.
    pub(crate) fn register(&self, session: &dyn Session) -> Result<ObjectStoreUrl> {
        match self {
            Self::Host(url) => Ok(url.clone()),
            Self::Pond(store) => {
                let url = store.url()?;
                let _ = session.runtime_env().register_object_store(url.as_ref(), Arc::clone(store) as _);
                Ok(url)
            }
        }
    }
}

/// Plans the scan. Opens no part.
pub(crate) async fn plan_scan(
    session: &dyn Session,
    store: &PartStore,
    columns: &ScanColumns,
    mut parts: Vec<ScanPart>,
    request: ScanRequest<'_>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let ScanRequest { projection, filters, limit } = request;
    let others = count_files(&parts).saturating_sub(1);
    parts.iter_mut().for_each(|part| part.others = others);
    let (decidable, others): (Vec<&Expr>, Vec<&Expr>) =
        filters.iter().partition(|filter| is_decidable(filter, columns));
    keep_passing(session, columns, &mut parts, &decidable)?;
    prune(session, columns, &mut parts, &others)?;
    // A limit comes only where no filter is left to the plan above.
    let limit = limit.filter(|_| others.is_empty());
    if let Some(limit) = limit {
        keep_enough(&mut parts, limit);
    }
    let is_count = others.is_empty() && projection.is_some_and(Vec::is_empty);
    let known = if is_count { Known::Rows } else { Known::Columns };
    let mut plans = Vec::new();
    for (format, parts) in by_format(parts) {
        plans.push(scan_format(session, store, columns, &format, &parts, known, projection, limit).await?);
    }
    match plans.len() {
        0 => {
            let schema = match projection {
                Some(projection) => Arc::new(columns.table.project(projection)?),
                None => Arc::clone(&columns.table),
            };
            Ok(Arc::new(EmptyExec::new(schema)))
        }
        1 => Ok(plans.remove(0)),
        _ => UnionExec::try_new(plans),
    }
}

/// The parts of each format with the same options, in the order that formats first come in.
fn by_format(parts: Vec<ScanPart>) -> Vec<(PartFormat, Vec<ScanPart>)> {
    let mut groups: Vec<(PartFormat, Vec<ScanPart>)> = Vec::new();
    for part in parts {
        match groups.iter_mut().find(|(format, _)| *format == part.attributes.format) {
            Some((_, group)) => group.push(part),
            None => groups.push((part.attributes.format.clone(), vec![part])),
        }
    }
    groups
}

/// What of the parts a plan needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// How many rows they have.
    Rows,
    /// The bounds of their columns too.
    Columns,
}

/// One node for all parts of a format.
#[expect(clippy::too_many_arguments, reason = "the request, taken apart")]
async fn scan_format(
    session: &dyn Session,
    store: &PartStore,
    columns: &ScanColumns,
    format: &PartFormat,
    parts: &[ScanPart],
    known: Known,
    projection: Option<&Vec<usize>>,
    limit: Option<usize>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let statistics = match known {
        Known::Columns => parts.iter().map(|part| part.statistics(columns)).collect::<PondResult<Vec<_>>>()?,
        Known::Rows => parts.iter().map(|part| part.count(columns)).collect(),
    };
    let Grouping { groups, order } = group(columns, parts, &statistics, session.config().target_partitions())?;
    let every: Vec<usize> = (0..columns.table.fields().len()).collect();
    let wanted = projection.map_or(every.as_slice(), Vec::as_slice);
    let mut total = merged_statistics(&statistics, columns.table.fields().len(), wanted);
    if limit.is_some_and(|limit| total.num_rows.get_value().is_none_or(|rows| *rows > limit)) {
        // The rows above the limit are not read, and which ones they are is not known.
        total = total.to_inexact();
        total.num_rows = limit.map_or(Precision::Absent, Precision::Inexact);
    }
    let partition_columns = columns.virtuals.iter().map(|column| Arc::clone(&column.field)).collect::<Vec<_>>();
    let schema = TableSchema::builder(Arc::clone(&columns.file)).with_table_partition_cols(partition_columns).build();
    let source: Arc<dyn FileSource> = if format.format.is_parquet() {
        Arc::new(ParquetSource::new(schema))
    } else {
        let memory = Arc::clone(&session.runtime_env().memory_pool);
        Arc::new(MergedSource::new(format.clone(), schema, memory))
    };
    let files = |group: Vec<usize>| group.into_iter().flat_map(|at| files(store, columns, &parts[at], &statistics[at]));
    let url = store.register(session)?;
    let config = FileScanConfigBuilder::new(url.clone(), source)
        .with_file_groups(groups.into_iter().map(|group| FileGroup::new(files(group).collect())).collect())
        .with_statistics(total)
        .with_projection_indices(projection.cloned())?
        .with_limit(limit)
        .with_output_ordering(order.into_iter().collect());
    if format.format.is_parquet() {
        let mut options = session.table_options().parquet.clone();
        // Whatever the settings say: columns were described so.
        options.global.coerce_int96 = Some("us".to_owned());
        options.global.coerce_int96_tz = None;
        let parquet = ParquetFormat::default().with_options(options);
        let plan = parquet.create_physical_plan(session, config.build()).await?;
        return with_names(plan, session, &url);
    }
    Ok(DataSourceExec::from_data_source(config.build()))
}

/// A Parquet scan that checks what pages claim, and whose errors name files.
fn with_names(
    plan: Arc<dyn ExecutionPlan>,
    session: &dyn Session,
    url: &ObjectStoreUrl,
) -> Result<Arc<dyn ExecutionPlan>> {
    let scan =
        plan.downcast_ref::<DataSourceExec>().and_then(|exec| exec.data_source().downcast_ref::<FileScanConfig>());
    let Some(scan) = scan else { return Ok(plan) };
    let source: Arc<dyn FileSource> = match scan.file_source().downcast_ref::<ParquetSource>() {
        Some(source) => Arc::new(with_checked_pages(source, session, url)?),
        None => Arc::clone(scan.file_source()),
    };
    let source = NamedParquetSource::wrap(source);
    Ok(DataSourceExec::from_data_source(FileScanConfigBuilder::from(scan.clone()).with_source(source).build()))
}

/// Keeps the first parts that have `limit` rows together.
fn keep_enough(parts: &mut Vec<ScanPart>, limit: usize) {
    let mut rows = 0_usize;
    parts.retain(|part| {
        let keep = rows < limit;
        // A part of unknown length may be empty.
        rows = part.rows().get_value().map_or(rows, |own| rows.saturating_add(*own));
        keep
    });
}

/// What a plan reads of a part: it as a whole, or ranges where a reader holds all that it is asked for.
fn files(
    store: &PartStore,
    columns: &ScanColumns,
    part: &ScanPart,
    statistics: &Arc<Statistics>,
) -> Vec<PartitionedFile> {
    let mut file = match (&part.origin, store) {
        (PartOrigin::Pond { path, version }, PartStore::Pond(store)) => {
            let lease = store.lease(path, version);
            let mut file = PartitionedFile::new_from_meta(lease.meta());
            file.extensions.insert(lease);
            file
        }
        (PartOrigin::Host { meta, .. }, _) => PartitionedFile::new_from_meta(meta.clone()),
        // Not made anywhere: a pond's part is read from its pond.
        (PartOrigin::Pond { .. }, PartStore::Host(_)) => return Vec::new(),
    };
    // Not `with_statistics`, which would add those of the virtual columns once more.
    file.statistics = Some(Arc::clone(statistics));
    file.partition_values = columns.virtuals.iter().map(|column| column.value(part)).collect();
    file.extensions.insert(part.clone());
    let format = &part.attributes.format;
    if format.format.is_parquet() {
        // Saves parsing the schema of each file. Not for nested columns, whose inner fields carry metadata in the file that a pond does not keep.
        // Nor for a file that nobody has looked at: it may have others.
        let is_flat = !part.attributes.schema.fields().iter().any(|field| field.data_type().is_nested());
        if is_flat && !part.attributes.is_unopened() {
            file.arrow_schema = Some(Arc::clone(&part.attributes.schema));
        }
        return vec![file];
    }
    let (size, step) = (part.origin.size(), format.format.reader.range_bytes(&format.options));
    let Some(step) = step.filter(|step| size > *step && matches!(part.origin, PartOrigin::Pond { .. })) else {
        return vec![file];
    };
    file.statistics = None;
    let ranges = (0..size).step_by(usize::try_from(step).unwrap_or(usize::MAX)).map(|start| {
        let end = size.min(start + step);
        Some(FileRange { start: i64::try_from(start).ok()?, end: i64::try_from(end).ok()? })
    });
    ranges.map(|range| PartitionedFile { range, ..file.clone() }).collect()
}
