//! Delta tables: a directory of Parquet files whose log says which of them count.
//!
//! Only the log is read by the Delta library. The files are scanned as any Parquet files are.

use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use deltalake_core::{DeltaTableBuilder, DeltaTableError};
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use url::Url;

use crate::error::{Error, ErrorKind, Result};
use crate::provider::schema_text::{stored_type, without_metadata};

/// What a version of a table consists of.
#[derive(Debug)]
pub(crate) struct DeltaFiles {
    /// The columns that are in the files.
    pub(crate) schema: SchemaRef,
    /// The columns that have one value for a file.
    pub(crate) partitions: Vec<FieldRef>,
    /// Where each file is, and its values of those.
    pub(crate) files: Vec<(Path, Arc<[ScalarValue]>)>,
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
/// [`NotFound`](ErrorKind::NotFound) for a version that there is not; [`Unsupported`](ErrorKind::Unsupported) for deletion vectors, column
/// mapping and files elsewhere; [`Corrupt`](ErrorKind::Corrupt) for a log that cannot be read.
pub(crate) async fn read_log(
    store: Arc<dyn ObjectStore>,
    url: &Url,
    root: &Path,
    version: Option<u64>,
) -> Result<DeltaFiles> {
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
    let declared = without_metadata(&snapshot.arrow_schema());
    let nullable = |field: &FieldRef| Arc::new(Field::new(field.name(), stored_type(field.data_type()), true));
    let (mut own, mut partitions): (Vec<FieldRef>, Vec<FieldRef>) = (Vec::new(), Vec::new());
    for field in declared.fields() {
        let kind = if metadata.partition_columns().contains(field.name()) { &mut partitions } else { &mut own };
        kind.push(nullable(field));
    }
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
        files.push((location, values.collect::<Result<Vec<_>>>()?.into()));
    }
    files.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(DeltaFiles { schema: Arc::new(Schema::new(own)), partitions, files })
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
