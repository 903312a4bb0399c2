//! Delta tables: a directory of Parquet files whose log says which of them count.
//!
//! Only the log is read by the Delta library. The files are scanned as any Parquet files are; those of which the log tells enough are looked at
//! when they are read.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use deltalake_core::{DeltaTableBuilder, DeltaTableError};
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use url::Url;

use super::delta_stats;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::PartAttributes;
use crate::provider::schema_text::{stored_type, without_metadata};

/// What a version of a table consists of.
#[derive(Debug)]
pub(crate) struct DeltaFiles {
    /// The columns that are in the files.
    pub(crate) schema: SchemaRef,
    /// The columns that have one value for a file.
    pub(crate) partitions: Vec<FieldRef>,
    /// The files, by their places.
    pub(crate) files: Vec<DeltaFile>,
}

/// A file of a table.
#[derive(Debug)]
pub(crate) struct DeltaFile {
    /// Where it is.
    pub(crate) location: Path,
    /// Its values of the columns that have one value for a file.
    pub(crate) values: Arc<[ScalarValue]>,
    /// What the log tells of it, where it has as many bytes as there.
    pub(crate) known: Option<(u64, PartAttributes)>,
}

/// Which version of a table is wanted.
#[derive(Debug, Clone)]
pub(crate) enum DeltaVersion {
    /// The newest.
    Newest,
    /// The one of this number.
    Number(u64),
    /// The newest that there was at a time, as RFC 3339 writes it.
    AsOf(String),
}

/// Whether there is a Delta table in the directory `root`.
///
/// # Errors
/// [`Io`](ErrorKind::Io).
pub(crate) async fn is_delta(store: &dyn ObjectStore, root: &Path) -> Result<bool> {
    let log = store.list_with_delimiter(Some(&root.clone().join("_delta_log"))).await?;
    Ok(!log.objects.is_empty())
}

/// Reads the log of the table at `url`, which is the directory `root` of `store`.
///
/// # Errors
/// [`NotFound`](ErrorKind::NotFound) for a version or time that there is not; [`Plan`](ErrorKind::Plan) for what is no time;
/// [`Unsupported`](ErrorKind::Unsupported) for deletion vectors, column mapping and files elsewhere; [`Corrupt`](ErrorKind::Corrupt) for a log that cannot be read.
pub(crate) async fn read_log(
    store: Arc<dyn ObjectStore>,
    url: &Url,
    root: &Path,
    wanted: DeltaVersion,
) -> Result<DeltaFiles> {
    let version = match &wanted {
        DeltaVersion::Newest => None,
        DeltaVersion::Number(version) => Some(*version),
        DeltaVersion::AsOf(time) => Some(version_as_of(store.as_ref(), root, time).await?),
    };
    let mut url = url.clone();
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    let mut builder = DeltaTableBuilder::from_url(url.clone()).map_err(unreadable)?.with_storage_backend(store, url);
    if let Some(version) = version {
        builder = builder.with_version(version);
    }
    let table = builder.load().await.map_err(|error| match (version, unreadable(error)) {
        (Some(version), error) => {
            let message = format!("its Delta log has no version {version} that can be read");
            Error::new(ErrorKind::NotFound, message).with_source(error)
        }
        (None, error) => error,
    })?;
    let log = table.log_store();
    let snapshot = table.snapshot().map_err(unreadable)?.snapshot();
    let metadata = snapshot.metadata();
    if metadata.configuration().get("delta.columnMapping.mode").is_some_and(|mode| mode != "none") {
        return Err(Error::new(ErrorKind::Unsupported, "its columns are mapped to other names, which is not read"));
    }
    let own_times = metadata.configuration().get("delta.enableInCommitTimestamps").is_some_and(|own| own == "true");
    if own_times && matches!(wanted, DeltaVersion::AsOf(_)) {
        let message =
            "its Delta log has times of its own, which 'as_of' does not read: 'version' names one of its versions";
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    let declared = without_metadata(&snapshot.arrow_schema());
    let nullable = |field: &FieldRef| Arc::new(Field::new(field.name(), stored_type(field.data_type()), true));
    let (mut own, mut partitions): (Vec<FieldRef>, Vec<FieldRef>) = (Vec::new(), Vec::new());
    for field in declared.fields() {
        let kind = if metadata.partition_columns().contains(field.name()) { &mut partitions } else { &mut own };
        kind.push(nullable(field));
    }
    let schema = Arc::new(Schema::new(own));
    let mut files = Vec::new();
    let mut views = snapshot.file_views(log.as_ref(), None);
    while let Some(file) = views.try_next().await.map_err(unreadable)? {
        let name = file.path();
        if file.deletion_vector_descriptor().is_some() {
            let message = format!("'{name}' of it has a deletion vector, which is not read");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        if name.contains("://") || name.starts_with('/') {
            return Err(Error::new(ErrorKind::Unsupported, format!("'{name}' of it is elsewhere")));
        }
        let texts = file.partition_values_map();
        let values = partitions.iter().map(|field| value(field, texts.get(field.name()).cloned().flatten()));
        let location = root.parts().chain(file.object_store_path().parts()).collect::<Path>();
        let values = values.collect::<Result<Vec<_>>>()?.into();
        let told = file.stats().map(|text| delta_stats::known(&schema, &text)).transpose()?.flatten();
        let known = u64::try_from(file.size()).ok().zip(told);
        files.push(DeltaFile { location, values, known });
    }
    files.sort_by(|a, b| a.location.cmp(&b.location));
    Ok(DeltaFiles { schema, partitions, files })
}

/// The newest version that there was at a time, by when the entries of the log were last modified.
///
/// `load_with_datetime` of the Delta library takes the first version for any time before it.
async fn version_as_of(store: &dyn ObjectStore, root: &Path, as_of: &str) -> Result<u64> {
    let time = DateTime::parse_from_rfc3339(as_of).map_err(|error| {
        let message =
            format!("as_of: '{as_of}' is no time such as 2026-01-31T12:00:00Z; a Delta table's 'version' is a number");
        Error::new(ErrorKind::Plan, message).with_source(error)
    })?;
    if time > Utc::now() {
        return Err(Error::new(ErrorKind::NotFound, format!("as_of: {} is in the future", time.to_rfc3339())));
    }
    let log = store.list_with_delimiter(Some(&root.clone().join("_delta_log"))).await?;
    let commits = log.objects.iter().filter_map(|entry| Some((commit(&entry.location)?, entry.last_modified)));
    let mut commits: Vec<(u64, DateTime<Utc>)> = commits.collect();
    commits.sort_unstable();
    // One that looks older than one before it is as old as that.
    let there = commits.iter().take_while(|(_, modified)| *modified <= time).last();
    match (there, commits.first()) {
        (Some((version, _)), _) => Ok(*version),
        (None, Some((version, modified))) => {
            let message = format!(
                "as_of: {} is before version {version} of {}, the first in its Delta log",
                time.to_rfc3339(),
                modified.to_rfc3339()
            );
            Err(Error::new(ErrorKind::NotFound, message))
        }
        (None, None) => Err(Error::new(ErrorKind::NotFound, "as_of: its Delta log has no entry that tells a time")),
    }
}

/// The version that an entry of the log makes, by its name.
fn commit(entry: &Path) -> Option<u64> {
    let digits = entry.filename()?.strip_suffix(".json")?;
    if digits.len() == 20 { digits.parse().ok() } else { None }
}

/// The value of a column that is the same in all of a file; an empty text is NULL.
fn value(field: &Field, text: Option<String>) -> Result<ScalarValue> {
    let text = ScalarValue::Utf8(text.filter(|text| !text.is_empty()));
    text.cast_to(field.data_type()).map_err(|error| {
        let message = format!("its column '{}' is {}, and {text} in its log", field.name(), field.data_type());
        Error::new(ErrorKind::Corrupt, message).with_source(error)
    })
}

fn unreadable(error: DeltaTableError) -> Error {
    let kind = match &error {
        DeltaTableError::ObjectStore { .. } | DeltaTableError::Io { .. } => ErrorKind::Io,
        _ => ErrorKind::Corrupt,
    };
    Error::new(kind, "its Delta log is not readable").with_source(error)
}
