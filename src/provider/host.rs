//! Host files and URLs as tables: read-only, by extension, globs allowed.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result as DfResult, TableReference};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, TableProviderFilterPushDown, TableType};
use datafusion::parquet::file::metadata::PageIndexPolicy;
use datafusion::physical_plan::ExecutionPlan;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use url::Url;

use super::parquet_gate::{check_metadata, check_parquet_object};
use super::schema_merge::{Origin, SchemaMerge};
use crate::error::{Error, ErrorKind, Result};

/// How many records of a CSV file are looked at for the types of its columns. DataFusion's default of 1,000 takes a
/// column for numbers whose first `NA` comes later, and fails there.
const INFERRED_RECORDS: usize = 100_000;

/// Whether `name` is that of a host file or URL rather than a pond path: it begins with `./`, `../`, `~/` or a scheme and `://`.
pub fn is_host_name(name: &str) -> bool {
    let scheme = |scheme: &str| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    };
    name.starts_with("./")
        || name.starts_with("../")
        || name.starts_with("~/")
        || name.split_once("://").is_some_and(|(before, _)| scheme(before))
}

/// The files that `name` names as one read-only table. The format is that of the extension: CSV, TSV, NDJSON (`.ndjson`, `.jsonl`, `.json`)
/// or Parquet, compressed or not. Files of a glob are merged by column name; a file whose own name is that of the glob comes before them.
///
/// # Errors
/// [`Io`](ErrorKind::Io) for a missing file and for a glob without a match, [`NotFound`](ErrorKind::NotFound) for a store that is not registered, naming it;
/// [`Unsupported`](ErrorKind::Unsupported) for another format; [`TypeConflict`](ErrorKind::TypeConflict);
/// [`Corrupt`](ErrorKind::Corrupt) for a file that is not of its format.
pub async fn host_table(session: &dyn Session, name: &str) -> Result<Arc<dyn TableProvider>> {
    let place = Place::parse(name)?;
    let store = session.runtime_env().object_store(&place.file).map_err(|error| {
        Error::new(ErrorKind::NotFound, format!("no store is set up for '{name}'")).with_source(error)
    })?;
    let files = find(store.as_ref(), &place, name).await?;
    let format = Format::of(&files, name)?;
    let reader = format.reader(session);
    let mut tables = groups(session, &store, &files, &format, &reader).await?.into_iter().map(|group| {
        // The files were found by name already; their extension selects nothing any more.
        let options = ListingOptions::new(Arc::clone(&reader)).with_file_extension("");
        let schema = group.merge.schema();
        let config =
            ListingTableConfig::new_with_multi_paths(group.files).with_listing_options(options).with_schema(schema);
        let files = ListingTable::try_new(config).map_err(Error::from)?;
        Ok::<_, Error>(Arc::new(HostTable { name: name.to_owned(), files }))
    });
    let first = tables.next().ok_or_else(|| no_match(name))??;
    if tables.len() == 0 {
        return Ok(first);
    }
    let scan = |table: Arc<HostTable>, number: usize| {
        LogicalPlanBuilder::scan(TableReference::bare(format!("{name}#{number}")), provider_as_source(table), None)
    };
    let mut union = scan(first, 0)?;
    for (table, number) in tables.zip(1..) {
        union = union.union_by_name(scan(table?, number)?.build()?)?;
    }
    Ok(Arc::new(ViewTable::new(union.build()?, None)))
}

/// The error for a glob that no file matches.
fn no_match(name: &str) -> Error {
    Error::new(ErrorKind::Io, format!("no file matches '{name}'"))
}

/// `name` with the home directory in place of a `~` at its start.
pub(crate) fn expand_home(name: &str) -> Result<String> {
    let Some(rest) = name.strip_prefix("~/") else { return Ok(name.to_owned()) };
    let home = std::env::var("HOME")
        .map_err(|error| Error::new(ErrorKind::Usage, "'~' needs HOME to be set").with_source(error))?;
    Ok(format!("{}/{rest}", home.trim_end_matches('/')))
}

/// Whether a host name, with its `~` replaced, is a URL rather than a path of the host.
pub(crate) fn is_url(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic())
}

/// What a name may stand for.
struct Place {
    /// The file of exactly this name.
    file: ListingTableUrl,
    /// A directory and the glob below it, where the name has a wildcard.
    glob: Option<ListingTableUrl>,
}

impl Place {
    fn parse(name: &str) -> Result<Self> {
        let bad = |error: DataFusionError| {
            Error::new(ErrorKind::Syntax, format!("'{name}' names no file")).with_source(error)
        };
        let refused = |why: &str| Err(Error::new(ErrorKind::Syntax, format!("'{name}' names no file: {why}")));
        let text = expand_home(name)?;
        let authority = if is_url(&text) { text.find("://").map_or(0, |at| at + 3) } else { 0 };
        let wildcard = text[authority..].find(['*', '?', '[']).map(|at| at + authority);
        let file = if is_url(&text) {
            let url =
                Url::parse(&text.replace('?', "%3F")).map_err(|error| bad(DataFusionError::External(error.into())))?;
            if url.fragment().is_some() {
                return refused("a '#' in a URL is written '%23'");
            }
            ListingTableUrl::try_new(url, None).map_err(bad)?
        } else if wildcard.is_some() {
            ListingTableUrl::try_new(local_url(&text, name)?, None).map_err(bad)?
        } else {
            ListingTableUrl::parse(&text).map_err(bad)?
        };
        let Some(wildcard) = wildcard else { return Ok(Self { file, glob: None }) };
        let base = text[..wildcard].rfind('/').map_or(wildcard, |slash| slash + 1);
        if text[base..].split('/').any(|component| matches!(component, "." | "..")) {
            return refused("'.' and '..' cannot come after a wildcard");
        }
        let glob = ListingTableUrl::parse(&text[..base]).and_then(|url| url.with_glob(&text[base..])).map_err(bad)?;
        Ok(Self { file, glob: Some(glob) })
    }
}

/// The URL of a path of the host, every character of it taken as it is.
fn local_url(path: &str, name: &str) -> Result<Url> {
    let bad = || Error::new(ErrorKind::Syntax, format!("'{name}' names no file"));
    let absolute = std::path::absolute(path).map_err(|error| bad().with_source(error))?;
    let url = Url::from_file_path(absolute).map_err(|()| bad())?;
    // Parsed again, which resolves `..`.
    Url::parse(url.as_str()).map_err(|error| bad().with_source(error))
}

/// One of the files that a name stands for.
struct HostFile {
    meta: ObjectMeta,
    url: ListingTableUrl,
    /// What messages call it: the name that was typed, or for one of a glob its absolute path or URL.
    label: String,
}

impl HostFile {
    fn named(place: &Place, meta: ObjectMeta, name: &str) -> Result<Self> {
        Ok(Self { url: file_url(&place.file, &meta.location)?, meta, label: name.to_owned() })
    }

    fn of_glob(place: &Place, meta: ObjectMeta) -> Result<Self> {
        let url = file_url(&place.file, &meta.location)?;
        let label = if url.scheme() == "file" { format!("/{}", meta.location) } else { url.as_str().to_owned() };
        Ok(Self { meta, url, label })
    }
}

/// The URL of the file at `location` in the store of `place`.
fn file_url(place: &ListingTableUrl, location: &Path) -> Result<ListingTableUrl> {
    let unnamed = || Error::new(ErrorKind::Unsupported, format!("no URL can name the file '{location}'"));
    let mut url: Url = place.get_url().clone();
    // Segment by segment, for a `%` and a `\` in a file's name stand for themselves.
    let _ = url.path_segments_mut().map_err(|()| unnamed())?.clear().extend(location.parts());
    let url = ListingTableUrl::try_new(url, None).map_err(|error| unnamed().with_source(error))?;
    if url.prefix() == location { Ok(url) } else { Err(unnamed()) }
}

/// The files there, by path. Asks the store anew each time: DataFusion's listing cache would hide files that came later.
async fn find(store: &dyn ObjectStore, place: &Place, name: &str) -> Result<Vec<HostFile>> {
    if place.glob.is_none() && place.file.is_collection() {
        return Err(Error::new(
            ErrorKind::WrongKind,
            format!("'{name}' is a directory: name files in it, as '{}/*.csv'", name.trim_end_matches('/')),
        ));
    }
    match (store.head(place.file.prefix()).await, &place.glob) {
        (Ok(meta), _) => Ok(vec![HostFile::named(place, meta, name)?]),
        (Err(object_store::Error::NotFound { .. }), None) => {
            Err(Error::new(ErrorKind::Io, format!("there is no file '{name}'")))
        }
        (Err(object_store::Error::NotFound { .. }), Some(glob)) => {
            let mut files = matching(store, glob, name).await?;
            if files.is_empty() {
                return Err(no_match(name));
            }
            files.sort_by(|a, b| a.location.cmp(&b.location));
            files.into_iter().map(|meta| HostFile::of_glob(place, meta)).collect()
        }
        (Err(error), _) => Err(unreadable(name, error)),
    }
}

fn unreadable(name: &str, error: object_store::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot read '{name}'")).with_source(error)
}

/// The files below the directory of `source` that its glob matches.
async fn matching(store: &dyn ObjectStore, source: &ListingTableUrl, name: &str) -> Result<Vec<ObjectMeta>> {
    let Some(glob) = source.get_glob() else { return Ok(Vec::new()) };
    if glob.as_str().contains("**") {
        let matches = |file: &ObjectMeta| {
            let below = source.strip_prefix(&file.location).map(|parts| parts.collect::<Vec<_>>().join("/"));
            std::future::ready(below.is_some_and(|below| glob.matches(&below)))
        };
        let files = store.list(Some(source.prefix())).try_filter(matches).try_collect().await;
        return files.map_err(|error| unreadable(name, error));
    }
    // Level by level: a store's own listing is of the whole tree, which may be a disk.
    let components: Vec<&str> = glob.as_str().split('/').filter(|component| !component.is_empty()).collect();
    let (mut directories, mut files) = (vec![source.prefix().clone()], Vec::new());
    for component in components {
        let pattern = source.clone().with_glob(component).map_err(|error| {
            Error::new(ErrorKind::Syntax, format!("'{component}' in '{name}' is no glob")).with_source(error)
        })?;
        let matches = |path: &Path| {
            let glob = pattern.get_glob().as_ref();
            path.filename().is_some_and(|last| glob.is_some_and(|glob| glob.matches(last)))
        };
        let mut below = Vec::new();
        files.clear();
        for directory in &directories {
            let listed = store.list_with_delimiter(Some(directory)).await.map_err(|error| unreadable(name, error))?;
            below.extend(listed.common_prefixes.into_iter().filter(matches));
            files.extend(listed.objects.into_iter().filter(|file| matches(&file.location)));
        }
        directories = below;
    }
    Ok(files)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Csv,
    Tsv,
    Json,
    Parquet,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Format {
    kind: Kind,
    compression: FileCompressionType,
}

impl Format {
    /// The format that all `files` have by their extensions.
    fn of(files: &[HostFile], name: &str) -> Result<Self> {
        let mut all: Option<Self> = None;
        for file in files {
            let format = Self::by_extension(file.meta.location.filename().unwrap_or_default()).ok_or_else(|| {
                let formats = ".csv, .tsv, .json, .ndjson, .jsonl and .parquet, also with .gz, .bz2, .xz or .zst";
                Error::new(
                    ErrorKind::Unsupported,
                    format!("'{}' has no known extension: they are {formats}", file.label),
                )
            })?;
            match &all {
                Some(first) if *first != format => {
                    return Err(Error::new(
                        ErrorKind::Unsupported,
                        format!("'{name}' matches files of different formats"),
                    ));
                }
                _ => all = Some(format),
            }
        }
        all.ok_or_else(|| no_match(name))
    }

    fn by_extension(file: &str) -> Option<Self> {
        let file = file.to_ascii_lowercase();
        let (stem, extension) = file.rsplit_once('.')?;
        let compression = match extension {
            "gz" => FileCompressionType::GZIP,
            "bz2" => FileCompressionType::BZIP2,
            "xz" => FileCompressionType::XZ,
            "zst" => FileCompressionType::ZSTD,
            _ => FileCompressionType::UNCOMPRESSED,
        };
        let extension = if compression.is_compressed() { stem.rsplit_once('.')?.1 } else { extension };
        let kind = match extension {
            "csv" => Kind::Csv,
            "tsv" => Kind::Tsv,
            "json" | "ndjson" | "jsonl" => Kind::Json,
            "parquet" if !compression.is_compressed() => Kind::Parquet,
            _ => return None,
        };
        Some(Self { kind, compression })
    }

    fn reader(&self, session: &dyn Session) -> Arc<dyn FileFormat> {
        let options = session.table_options();
        let csv = || {
            let mut options = options.csv.clone();
            options.schema_infer_max_rec = options.schema_infer_max_rec.or(Some(INFERRED_RECORDS));
            let format = CsvFormat::default().with_options(options);
            format.with_file_compression_type(self.compression).with_has_header(true)
        };
        match self.kind {
            Kind::Csv => Arc::new(csv()),
            Kind::Tsv => Arc::new(csv().with_delimiter(b'\t')),
            Kind::Json => Arc::new(
                JsonFormat::default().with_options(options.json.clone()).with_file_compression_type(self.compression),
            ),
            Kind::Parquet => Arc::new(ParquetFormat::default().with_options(options.parquet.clone())),
        }
    }
}

/// Files that one scan can read.
struct Group {
    /// Their columns' names, in order.
    names: Vec<String>,
    files: Vec<ListingTableUrl>,
    merge: SchemaMerge,
}

/// The files by what one scan can read: DataFusion reads CSV by position, and would silently put values under the wrong
/// names where the columns of two files differ. All other formats it reads by name.
async fn groups(
    session: &dyn Session,
    store: &Arc<dyn ObjectStore>,
    files: &[HostFile],
    format: &Format,
    reader: &Arc<dyn FileFormat>,
) -> Result<Vec<Group>> {
    let by_position = matches!(format.kind, Kind::Csv | Kind::Tsv);
    let mut groups: Vec<Group> = Vec::new();
    // Over all groups, only to find the two files of a conflict.
    let mut all = SchemaMerge::default();
    for file in files {
        if format.kind == Kind::Parquet {
            check_footer(session, store.as_ref(), file).await?;
        }
        let schema = reader.infer_schema(session, store, std::slice::from_ref(&file.meta)).await;
        let schema = schema.map_err(|error| no_columns(file, error))?;
        let origin = || Origin { name: file.label.clone(), version: None };
        all.add(&schema, origin)?;
        let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let found = groups.iter().position(|group| !by_position || group.names == names);
        let at = found.unwrap_or_else(|| {
            groups.push(Group { names, files: Vec::new(), merge: SchemaMerge::default() });
            groups.len() - 1
        });
        groups[at].merge.add(&schema, origin)?;
        groups[at].files.push(file.url.clone());
    }
    Ok(groups)
}

fn no_columns(file: &HostFile, error: DataFusionError) -> Error {
    let error = Error::from_datafusion(error);
    Error::new(error.kind(), format!("cannot read the columns of '{}'", file.label)).with_source(error)
}

/// Refuses a Parquet file whose frame or footer would make the decoder panic.
async fn check_footer(session: &dyn Session, store: &dyn ObjectStore, file: &HostFile) -> Result<()> {
    check_parquet_object(store, &file.meta, &file.label).await?;
    let cache = session.runtime_env().cache_manager.get_file_metadata_cache();
    // The inference of the columns finds the footer in the cache; where its page index lies is not known to be sane yet.
    let footer = DFParquetMetadata::new(store, &file.meta)
        .with_file_metadata_cache(Some(cache))
        .with_page_index_policy(Some(PageIndexPolicy::Skip));
    let metadata = footer.fetch_metadata().await.map_err(|error| no_columns(file, error))?;
    check_metadata(&metadata, file.meta.size)
        .map_err(|error| Error::new(error.kind(), format!("'{}'", file.label)).with_source(error))
}

/// A listing of host files, without its ability to write beside them.
#[derive(Debug)]
struct HostTable {
    name: String,
    files: ListingTable,
}

#[async_trait]
impl TableProvider for HostTable {
    fn schema(&self) -> SchemaRef {
        self.files.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        self.files.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        self.files.scan(session, projection, filters, limit).await
    }

    async fn insert_into(
        &self,
        _: &dyn Session,
        _: Arc<dyn ExecutionPlan>,
        _: InsertOp,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let why = format!("host files are read-only: COPY writes one, '{}' is left as it is", self.name);
        Err(DataFusionError::from(Error::new(ErrorKind::ReadOnly, why)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names() {
        for name in ["./x.csv", "../x", "~/x", "file:///x", "s3://b/k", "https://h/x.csv"] {
            assert!(is_host_name(name), "{name}");
        }
        for name in ["/x", "x.csv", ".x", "~x", "a b://c", "://x", "...", "x/../y"] {
            assert!(!is_host_name(name), "{name}");
        }
    }

    #[test]
    fn formats_by_extension() {
        let format = |file| Format::by_extension(file).map(|format| (format.kind, format.compression.is_compressed()));
        assert_eq!(format("a.CSV"), Some((Kind::Csv, false)));
        assert_eq!(format("a.b.tsv.gz"), Some((Kind::Tsv, true)));
        assert_eq!(format("a.jsonl.zst"), Some((Kind::Json, true)));
        assert_eq!(format("a.parquet"), Some((Kind::Parquet, false)));
        for file in ["a", "a.gz", "a.txt", "csv", "a.parquet.gz"] {
            assert_eq!(format(file), None, "{file}");
        }
    }
}
