//! From parts to a plan: DataFusion's own Parquet scan over the parts that can hold rows of the answer.

use std::sync::Arc;

use datafusion::catalog::Session;
use datafusion::common::stats::Precision;
use datafusion::common::{Result, Statistics};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;

use super::grouping::{Grouping, group};
use super::object_store::PondObjectStore;
use super::pruning::{is_decidable, keep_passing, prune};
use super::scan_part::{ScanColumns, ScanPart, merged_statistics};

/// What a query asks of a table.
#[derive(Debug)]
pub(crate) struct ScanRequest<'a> {
    pub(crate) projection: Option<&'a Vec<usize>>,
    pub(crate) filters: &'a [Expr],
    pub(crate) limit: Option<usize>,
}

/// Plans the scan. Opens no part.
pub(crate) async fn plan_scan(
    session: &dyn Session,
    store: &Arc<PondObjectStore>,
    columns: &ScanColumns,
    mut parts: Vec<ScanPart>,
    request: ScanRequest<'_>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let ScanRequest { projection, filters, limit } = request;
    let (decidable, others): (Vec<&Expr>, Vec<&Expr>) =
        filters.iter().partition(|filter| is_decidable(filter, columns));
    keep_passing(session, columns, &mut parts, &decidable)?;
    prune(session, columns, &mut parts, &others)?;
    // A limit comes only where no filter is left to the plan above.
    let limit = limit.filter(|_| others.is_empty());
    if let Some(limit) = limit {
        keep_enough(&mut parts, limit);
    }
    if parts.is_empty() {
        let schema = match projection {
            Some(projection) => Arc::new(columns.table.project(projection)?),
            None => Arc::clone(&columns.table),
        };
        return Ok(Arc::new(EmptyExec::new(schema)));
    }

    let statistics: Vec<Arc<Statistics>> = parts.iter().map(|part| part.statistics(columns)).collect();
    let Grouping { groups, order } = group(columns, &parts, &statistics, session.config().target_partitions())?;
    let every: Vec<usize> = (0..columns.table.fields().len()).collect();
    let wanted = projection.map_or(every.as_slice(), Vec::as_slice);
    let mut total = merged_statistics(&statistics, columns.table.fields().len(), wanted);
    if limit.is_some_and(|limit| total.num_rows.get_value().is_some_and(|rows| *rows > limit)) {
        // The rows above the limit are not read, and which ones they are is not known.
        total = total.to_inexact();
        total.num_rows = limit.map_or(Precision::Absent, Precision::Inexact);
    }

    let files = groups
        .into_iter()
        .map(|group| {
            FileGroup::new(group.into_iter().map(|at| file(store, columns, &parts[at], &statistics[at])).collect())
        })
        .collect();
    let partition_columns = columns.virtuals.iter().map(|column| Arc::clone(&column.field)).collect::<Vec<_>>();
    let schema = TableSchema::builder(Arc::clone(&columns.file)).with_table_partition_cols(partition_columns).build();
    let url = store.url()?;
    // The plan takes the store from here. Anyone may have put another store of this pond in its place, with other leases.
    let _ = session.runtime_env().register_object_store(url.as_ref(), Arc::clone(store) as _);
    let config = FileScanConfigBuilder::new(url, Arc::new(ParquetSource::new(schema)))
        .with_file_groups(files)
        .with_statistics(total)
        .with_projection_indices(projection.cloned())?
        .with_limit(limit)
        .with_output_ordering(order.into_iter().collect())
        .build();
    let format = ParquetFormat::default().with_options(session.table_options().parquet.clone());
    format.create_physical_plan(session, config).await
}

/// Keeps the first parts that have `limit` rows together.
fn keep_enough(parts: &mut Vec<ScanPart>, limit: usize) {
    let mut rows = 0_usize;
    parts.retain(|part| {
        let keep = rows < limit;
        rows = rows.saturating_add(part.rows());
        keep
    });
}

fn file(
    store: &Arc<PondObjectStore>,
    columns: &ScanColumns,
    part: &ScanPart,
    statistics: &Arc<Statistics>,
) -> PartitionedFile {
    let lease = store.lease(&part.path, &part.version);
    let mut file = PartitionedFile::new_from_meta(lease.meta());
    // Not `with_statistics`, which would add those of the virtual columns once more.
    file.statistics = Some(Arc::clone(statistics));
    file.partition_values = columns.virtuals.iter().map(|column| column.value(part)).collect();
    file.extensions.insert(lease);
    // Saves parsing the schema of each file. Not for nested columns, whose inner fields carry metadata in the file that a pond does not keep.
    if !part.attributes.schema.fields().iter().any(|field| field.data_type().is_nested()) {
        file.arrow_schema = Some(Arc::clone(&part.attributes.schema));
    }
    file
}
