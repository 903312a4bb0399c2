//! Delta tables of the host: one by its name, or all whose directories a glob matches.

use std::sync::Arc;

use datafusion::arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::listing::ListingTableUrl;
use futures::{StreamExt, stream};
use object_store::{ObjectStore, ObjectStoreExt};

use super::format::{DeltaFile, DeltaVersion, Wanted, is_delta, read_log, wanted_format};
use super::host::{
    HostFile, HostGlob, HostRequest, LOOKED_AT_ONCE, Place, capture_columns, captured, captures, describe, file_url,
    label, labels, matching_level, no_match,
};
use super::inspect::failure_among;
use super::scan_part::{Captured, PartOrigin, ScanPart};
use super::schema_merge::{Origin, SchemaMerge};
use super::table_provider::{FileTableProvider, HostScanSpec};
use crate::error::{Error, ErrorKind, Result};

/// Whether `name` is a directory with a Delta log.
pub(super) async fn is_delta_table(
    store: &dyn ObjectStore,
    place: &Place,
    name: &str,
    request: &HostRequest,
) -> Result<bool> {
    let unread = |error: Error| Error::new(error.kind(), format!("cannot read '{name}'")).with_source(error);
    if place.glob.is_some() {
        return Ok(false);
    }
    let root = place.file.prefix();
    let may_be = request.may_be_delta();
    let is_file = !place.file.is_collection() && may_be && store.head(root).await.is_ok();
    if may_be && !is_file && is_delta(store, root).await.map_err(unread)? {
        return Ok(true);
    }
    match request.is_delta() {
        true => Err(Error::new(ErrorKind::Io, format!("there is no Delta table '{name}': it has no '_delta_log'"))),
        false => Ok(false),
    }
}

/// The Delta table in the directory that `place` names.
pub(super) async fn delta_table(
    session: &dyn Session,
    store: &Arc<dyn ObjectStore>,
    place: &Place,
    name: &str,
    request: &HostRequest,
) -> Result<Arc<dyn TableProvider>> {
    let table = Box::pin(open(session, store, &place.file, name, Arc::new([]), request)).await?;
    let spec = HostScanSpec {
        parts: table.parts,
        schema: table.schema,
        capture_columns: Vec::new(),
        value_columns: table.partitions,
        meta: request.meta,
        store: place.file.object_store(),
    };
    Ok(Arc::new(FileTableProvider::over_host(spec)?))
}

/// The Delta tables whose directories `glob` matches, as one: their columns go together by name.
pub(super) async fn delta_tables(
    session: &dyn Session,
    store: &Arc<dyn ObjectStore>,
    place: &Place,
    glob: &HostGlob,
    name: &str,
    request: &HostRequest,
) -> Result<Arc<dyn TableProvider>> {
    let unread = |error: Error| Error::new(error.kind(), format!("cannot read '{name}'")).with_source(error);
    // Those below a `**` may be of any depth.
    let listed = glob.listing.get_glob().as_ref().is_some_and(|glob| !glob.as_str().contains("**"));
    let mut directories = match listed {
        true => matching_level(store.as_ref(), &glob.listing, name).await?.1,
        false => Vec::new(),
    };
    directories.sort();
    let (mut merge, mut parts) = (SchemaMerge::default(), Vec::new());
    let mut partitions: Option<(String, Vec<FieldRef>)> = None;
    for directory in directories {
        let Some(texts) = captures(glob, &directory)? else { continue };
        if !is_delta(store.as_ref(), &directory).await.map_err(unread)? {
            continue;
        }
        let own_name = label(&place.file, &directory)?;
        let url = file_url(&place.file, &directory)?;
        let table = Box::pin(open(session, store, &url, &own_name, captured(texts, request), request)).await?;
        merge.add(&table.schema, || Origin { name: own_name.clone(), version: None })?;
        parts.extend(table.parts);
        match &partitions {
            None => partitions = Some((own_name, table.partitions)),
            Some((_, first)) if *first == table.partitions => {}
            Some((first, _)) => {
                let message = format!(
                    "the Delta tables '{first}' and '{own_name}' are not partitioned by the same columns: unite them with UNION ALL"
                );
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        }
    }
    let (_, value_columns) = partitions.ok_or_else(|| no_match(name))?;
    let spec = HostScanSpec {
        parts,
        schema: merge.schema(),
        capture_columns: capture_columns(&glob.captures, request),
        value_columns,
        meta: request.meta,
        store: place.file.object_store(),
    };
    Ok(Arc::new(FileTableProvider::over_host(spec)?))
}

/// A table of which the log was read.
struct DeltaTable {
    /// Its files that have rows.
    parts: Vec<ScanPart>,
    /// The columns that are in them.
    schema: SchemaRef,
    /// The columns that it is partitioned by, which come last.
    partitions: Vec<FieldRef>,
}

/// The table in `directory`, which messages call `name`. A file of which its log does not tell enough is looked at as any Parquet file is.
async fn open(
    session: &dyn Session,
    store: &Arc<dyn ObjectStore>,
    directory: &ListingTableUrl,
    name: &str,
    captures: Captured,
    request: &HostRequest,
) -> Result<DeltaTable> {
    let _ = request.wanted()?;
    let unread = |error: Error| Error::new(error.kind(), format!("cannot read '{name}'")).with_source(error);
    let wanted = match (request.version, &request.as_of) {
        (Some(_), Some(_)) => {
            let message =
                format!("'version' and 'as_of' are two states of the Delta table '{name}': one of them is enough");
            return Err(Error::new(ErrorKind::Usage, message));
        }
        (Some(version), None) => DeltaVersion::Number(version),
        (None, Some(time)) => DeltaVersion::AsOf(time.clone()),
        (None, None) => DeltaVersion::Newest,
    };
    let log = read_log(Arc::clone(store), directory.get_url(), directory.prefix(), wanted);
    let log = log.await.map_err(unread)?;
    let parquet = Wanted { format: Some(wanted_format("parquet")?), ..Wanted::default() };
    let look = |DeltaFile { location, values, known }: DeltaFile| {
        let (parquet, captures) = (&parquet, Arc::clone(&captures));
        async move {
            let label = label(directory, &location)?;
            let meta = store.head(&location).await.map_err(|error| {
                let kind = match &error {
                    object_store::Error::NotFound { .. } => ErrorKind::Corrupt,
                    _ => ErrorKind::Io,
                };
                let message = format!("'{label}', which its log names, cannot be read");
                unread(Error::new(kind, message).with_source(error))
            })?;
            let file = HostFile::named(meta, &label);
            let attributes = match known {
                Some((size, known)) if size == file.meta.size => known,
                _ => describe(session, store, &file, parquet).await?,
            };
            let origin = PartOrigin::Host { meta: file.meta, label: file.label };
            Ok(ScanPart { origin, attributes: Arc::new(attributes), captures, values, others: 0 })
        }
    };
    let looked: Vec<Result<ScanPart>> = stream::iter(log.files).map(look).buffered(LOOKED_AT_ONCE).collect().await;
    let (mut parts, mut failures) = (Vec::with_capacity(looked.len()), Vec::new());
    for part in looked {
        match part {
            Ok(part) => parts.push(part),
            Err(error) => failures.push(error),
        }
    }
    if let Some(failure) = failure_among(failures, labels(&parts)) {
        return Err(failure);
    }
    parts.retain(|part| part.attributes.rows() != Some(0));
    Ok(DeltaTable { parts, schema: log.schema, partitions: log.partitions })
}
