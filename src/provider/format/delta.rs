//! Delta tables: a directory of Parquet files whose log says which of them count.
//!
//! Only the log is read by the Delta library. The files are scanned as any Parquet files are; those of which the log tells enough are looked at
//! when they are read.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use chrono::{DateTime, FixedOffset, Utc};
use datafusion::arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoArrow;
use deltalake_core::{DeltaTableBuilder, DeltaTableError};
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use url::Url;

use super::delta_stats;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::PartAttributes;
use crate::provider::schema_text::{stored_type, without_metadata};

/// What a table may ask of its readers: the Delta library reads the log by it, and the files are as they would be without it, or are refused one by
/// one. Mapped columns are refused where they are.
const FEATURES: [&str; 7] = [
    "columnMapping",
    "deletionVectors",
    "timestampNtz",
    "typeWidening",
    "typeWidening-preview",
    "v2Checkpoint",
    "vacuumProtocolCheck",
];

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
/// [`Unsupported`](ErrorKind::Unsupported) for deletion vectors, column mapping, other features, and files elsewhere; [`Corrupt`](ErrorKind::Corrupt) for a
/// log that is damaged, [`Io`](ErrorKind::Io) for one that the store does not give.
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
    let unreadable = |error| unreadable(version, error);
    let builder = DeltaTableBuilder::from_url(url.clone()).map_err(unreadable)?;
    let mut builder = builder.with_storage_backend(Arc::clone(&store), url);
    if let Some(version) = version {
        builder = builder.with_version(version);
    }
    let table = match builder.load().await {
        Ok(table) => table,
        Err(error) => return Err(without_version(store.as_ref(), root, version, unreadable(error)).await),
    };
    let log = table.log_store();
    let snapshot = table.snapshot().map_err(unreadable)?.snapshot();
    let features = snapshot.protocol().reader_features().unwrap_or_default();
    if let Some(feature) = features.iter().map(ToString::to_string).find(|name| !FEATURES.contains(&name.as_str())) {
        let message = format!("it has the Delta feature '{feature}', which is not read");
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
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
    // Not `arrow_schema` of the snapshot, which panics at a type that Arrow does not have.
    let declared: Schema = snapshot.schema().as_ref().try_into_arrow().map_err(|error| {
        Error::new(ErrorKind::Unsupported, "it has a column of a type that is not read").with_source(error)
    })?;
    let declared = without_metadata(&Arc::new(declared));
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
    let time = parse_as_of(as_of)?;
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

/// Reads a time that a Delta table is wanted of.
///
/// # Errors
/// [`Plan`](ErrorKind::Plan).
pub(crate) fn parse_as_of(as_of: &str) -> Result<DateTime<FixedOffset>> {
    DateTime::parse_from_rfc3339(as_of).map_err(|error| {
        let message =
            format!("as_of: '{as_of}' is no time such as 2026-01-31T12:00:00Z; a Delta table's 'version' is a number");
        Error::new(ErrorKind::Plan, message).with_source(error)
    })
}

/// The version that an entry of the log makes, by its name.
fn commit(entry: &Path) -> Option<u64> {
    number(entry.filename()?.strip_suffix(".json")?)
}

/// The version that an entry of the log, or a part of one, is a checkpoint of.
fn checkpoint(entry: &Path) -> Option<u64> {
    let (digits, rest) = entry.filename()?.split_once('.')?;
    if rest.starts_with("checkpoint.") { number(digits) } else { None }
}

/// `None` for what is no number of a log.
fn number(digits: &str) -> Option<u64> {
    if digits.len() == 20 { digits.parse().ok() } else { None }
}

/// `error` of the log of the table in `root`, or that it has no such `version`, which is no damage.
async fn without_version(store: &dyn ObjectStore, root: &Path, version: Option<u64>, error: Error) -> Error {
    let Some(version) = version.filter(|_| error.kind() == ErrorKind::Corrupt) else { return error };
    match versions(store, root).await {
        Ok(Some(there)) if !there.contains(&version) => {
            let (first, last) = (there.start(), there.end());
            let message = format!("its Delta log has no version {version}: it has {first} to {last}");
            Error::new(ErrorKind::NotFound, message)
        }
        Ok(_) => error,
        Err(failed) => failed,
    }
}

/// The versions that a log tells of: from its first commit or else its first checkpoint on; `None` where it has neither, and is damaged.
async fn versions(store: &dyn ObjectStore, root: &Path) -> Result<Option<RangeInclusive<u64>>> {
    let log = store.list_with_delimiter(Some(&root.clone().join("_delta_log"))).await?;
    let entries = || log.objects.iter().map(|entry| &entry.location);
    let first = match entries().filter_map(commit).min() {
        Some(0) => Some(0),
        _ => entries().filter_map(checkpoint).min(),
    };
    let last = entries().filter_map(|entry| commit(entry).or_else(|| checkpoint(entry))).max();
    Ok(first.zip(last).map(|(first, last)| first..=last))
}

/// The value of a column that is the same in all of a file; an empty text is NULL.
fn value(field: &Field, text: Option<String>) -> Result<ScalarValue> {
    let text = ScalarValue::Utf8(text.filter(|text| !text.is_empty()));
    text.cast_to(field.data_type()).map_err(|error| {
        let message = format!("its column '{}' is {}, and {text} in its log", field.name(), field.data_type());
        Error::new(ErrorKind::Corrupt, message).with_source(error)
    })
}

/// What the Delta library says of the log, or of one `version` of it.
fn unreadable(version: Option<u64>, error: DeltaTableError) -> Error {
    let kind = match &error {
        // That the log names what is gone is damage.
        DeltaTableError::ObjectStore { source: object_store::Error::NotFound { .. } } => ErrorKind::Corrupt,
        DeltaTableError::ObjectStore { .. } | DeltaTableError::Io { .. } => ErrorKind::Io,
        DeltaTableError::UnsupportedColumnMapping { .. } => ErrorKind::Unsupported,
        DeltaTableError::KernelError(inner) => kind_of(&inner.to_string()),
        _ => ErrorKind::Corrupt,
    };
    let message = match version {
        Some(version) => format!("version {version} of its Delta log is not readable"),
        None => "its Delta log is not readable".to_owned(),
    };
    Error::new(kind, message).with_source(FirstLine(error))
}

/// An error of the Delta library, whose other lines may be a backtrace.
#[derive(Debug)]
struct FirstLine(DeltaTableError);

impl fmt::Display for FirstLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_string().lines().next().unwrap_or_default())
    }
}

impl std::error::Error for FirstLine {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// The kind of an error of the Delta kernel, whose type is not exported: its text is all there is.
fn kind_of(kernel: &str) -> ErrorKind {
    let failed = ["Error interacting with object store", "Io error: ", "(os error "];
    // The second is of a table whose newest versions a catalog keeps.
    if ["Unsupported: ", "Max catalog version "].iter().any(|text| kernel.starts_with(text)) {
        ErrorKind::Unsupported
    } else if failed.iter().any(|text| kernel.contains(text)) {
        ErrorKind::Io
    } else {
        ErrorKind::Corrupt
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use async_trait::async_trait;
    use bytes::Bytes;
    use object_store::local::LocalFileSystem;
    use object_store::{GetOptions, GetResult};

    use super::*;
    use crate::provider::read_only::{ReadOnly, Reading};

    /// The first entry of a log, of a table with a column and without a file.
    const FIRST: &str = r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}
{"metaData":{"id":"5fba94ed-9794-4965-ba6e-6ee3c0d22af9","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[{\"name\":\"n\",\"type\":\"long\",\"nullable\":true,\"metadata\":{}}]}","partitionColumns":[],"configuration":{},"createdTime":1700000000000}}
"#;

    /// Does not give the second entry of a log.
    #[derive(Debug)]
    struct Failing(Arc<dyn ObjectStore>);

    impl Failing {
        fn check(location: &Path) -> object_store::Result<()> {
            match location.filename() {
                Some("00000000000000000001.json") => {
                    Err(object_store::Error::Generic { store: "failing", source: "the line is dead".into() })
                }
                _ => Ok(()),
            }
        }
    }

    impl fmt::Display for Failing {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{}, failing", self.0)
        }
    }

    #[async_trait]
    impl Reading for Failing {
        fn below(&self) -> &Arc<dyn ObjectStore> {
            &self.0
        }

        async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
            Self::check(location)?;
            self.0.get_opts(location, options).await
        }

        async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
            Self::check(location)?;
            self.0.get_ranges(location, ranges).await
        }
    }

    #[tokio::test]
    async fn a_version_that_is_not_read_is_missing_or_damaged_or_out_of_reach() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let log = root.join("_delta_log");
        std::fs::create_dir(&log).unwrap();
        let entry = |version: u64| log.join(format!("{version:020}.json"));
        std::fs::write(entry(0), FIRST).unwrap();
        std::fs::write(entry(1), "{\"commitInfo\":{\"timestamp\":1700000000000}}\n").unwrap();
        let url = Url::from_directory_path(&root).unwrap();
        let place = Path::from_absolute_path(&root).unwrap();
        let local: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new());
        let failing: Arc<dyn ObjectStore> = Arc::new(ReadOnly(Failing(Arc::clone(&local))));
        let read = async |store: &Arc<dyn ObjectStore>, wanted: DeltaVersion| {
            let read = read_log(Arc::clone(store), &url, &place, wanted).await;
            read.map(|files| files.files.len()).map_err(|error| (error.kind(), error.to_string()))
        };
        for wanted in [DeltaVersion::Newest, DeltaVersion::Number(0), DeltaVersion::Number(1)] {
            assert_eq!(read(&local, wanted).await, Ok(0));
        }
        let missing = "its Delta log has no version 2: it has 0 to 1".to_owned();
        assert_eq!(read(&local, DeltaVersion::Number(2)).await, Err((ErrorKind::NotFound, missing)));
        let (kind, says) = read(&failing, DeltaVersion::Number(1)).await.unwrap_err();
        assert_eq!(kind, ErrorKind::Io, "{says}");
        assert!(says.starts_with("version 1 of its Delta log is not readable: "), "{says}");
        assert!(says.contains("the line is dead"), "{says}");
        assert_eq!(read(&failing, DeltaVersion::Newest).await.unwrap_err().0, ErrorKind::Io);
        std::fs::write(entry(1), "{\n").unwrap();
        let (kind, says) = read(&local, DeltaVersion::Number(1)).await.unwrap_err();
        assert_eq!(kind, ErrorKind::Corrupt, "{says}");
        assert!(says.starts_with("version 1 of its Delta log is not readable: "), "{says}");
        assert_eq!(read(&local, DeltaVersion::Number(0)).await, Ok(0));
        // The log ends before it now, and a gap in it is damage.
        std::fs::remove_file(entry(1)).unwrap();
        assert_eq!(read(&local, DeltaVersion::Number(1)).await.unwrap_err().0, ErrorKind::NotFound);
        std::fs::write(entry(2), "{\"commitInfo\":{\"timestamp\":1700000000000}}\n").unwrap();
        assert_eq!(read(&local, DeltaVersion::Number(1)).await.unwrap_err().0, ErrorKind::Corrupt);
    }
}
