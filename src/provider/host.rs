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
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use url::Url;

use super::parquet_gate::check_parquet_object;
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
/// or Parquet, compressed or not. Files of a glob are merged by column name.
///
/// # Errors
/// [`Io`](ErrorKind::Io) for a missing file and for a glob without a match, [`NotFound`](ErrorKind::NotFound) for a store that is not registered, naming it;
/// [`Unsupported`](ErrorKind::Unsupported) for another format; [`TypeConflict`](ErrorKind::TypeConflict);
/// [`Corrupt`](ErrorKind::Corrupt) for a file that is not of its format.
pub async fn host_table(session: &dyn Session, name: &str) -> Result<Arc<dyn TableProvider>> {
    let source = parse(name)?;
    let store = session.runtime_env().object_store(&source).map_err(|error| {
        Error::new(ErrorKind::NotFound, format!("no store is set up for '{name}'")).with_source(error)
    })?;
    let files = find(store.as_ref(), &source, name).await?;
    let format = Format::of(&files, name)?;
    let reader = format.reader(session);
    let mut tables = groups(session, &store, &source, &files, &format, &reader).await?.into_iter().map(|group| {
        // The files were found by name already; their extension selects nothing any more.
        let options = ListingOptions::new(Arc::clone(&reader)).with_file_extension("");
        let schema = group.merge.finish();
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

/// The place that `name` names: a file, or a directory and a glob.
fn parse(name: &str) -> Result<ListingTableUrl> {
    let bad =
        |error: DataFusionError| Error::new(ErrorKind::Syntax, format!("'{name}' names no file")).with_source(error);
    let name = match name.strip_prefix("~/") {
        Some(rest) => {
            let home = std::env::var("HOME")
                .map_err(|error| Error::new(ErrorKind::Usage, "'~' needs HOME to be set").with_source(error))?;
            format!("{}/{rest}", home.trim_end_matches('/'))
        }
        None => name.to_owned(),
    };
    let authority = name.find("://").map_or(0, |at| at + 3);
    let Some(wildcard) = name[authority..].find(['*', '?', '[']).map(|at| at + authority) else {
        return ListingTableUrl::parse(&name).map_err(bad);
    };
    let base = name[..wildcard].rfind('/').map_or(wildcard, |slash| slash + 1);
    ListingTableUrl::parse(&name[..base]).and_then(|url| url.with_glob(&name[base..])).map_err(bad)
}

/// The files there, by path. Asks the store anew each time: DataFusion's listing cache would hide files that came later.
async fn find(store: &dyn ObjectStore, source: &ListingTableUrl, name: &str) -> Result<Vec<ObjectMeta>> {
    let failed =
        |error: object_store::Error| Error::new(ErrorKind::Io, format!("cannot read '{name}'")).with_source(error);
    let Some(glob) = source.get_glob() else {
        if source.is_collection() {
            return Err(Error::new(
                ErrorKind::WrongKind,
                format!("'{name}' is a directory: name files in it, as '{}/*.csv'", name.trim_end_matches('/')),
            ));
        }
        return match store.head(source.prefix()).await {
            Ok(file) => Ok(vec![file]),
            Err(object_store::Error::NotFound { .. }) => {
                Err(Error::new(ErrorKind::Io, format!("there is no file '{name}'")))
            }
            Err(error) => Err(failed(error)),
        };
    };
    // A `*` of the matcher runs across slashes; with as many slashes as the pattern has it cannot have.
    let slashes = |text: &str| text.matches('/').count();
    let prefix = slashes(source.prefix().as_ref()) + usize::from(!source.prefix().as_ref().is_empty());
    let depth = (!glob.as_str().contains("**")).then(|| prefix + slashes(glob.as_str()));
    let mut files: Vec<_> = store
        .list(Some(source.prefix()))
        .try_filter(|file| {
            let deep = depth.is_none_or(|depth| slashes(file.location.as_ref()) == depth);
            std::future::ready(deep && source.contains(&file.location, false))
        })
        .try_collect()
        .await
        .map_err(failed)?;
    if files.is_empty() {
        return Err(no_match(name));
    }
    files.sort_by(|a, b| a.location.cmp(&b.location));
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
    fn of(files: &[ObjectMeta], name: &str) -> Result<Self> {
        let mut all: Option<Self> = None;
        for file in files {
            let format = Self::by_extension(file.location.filename().unwrap_or_default()).ok_or_else(|| {
                let formats = ".csv, .tsv, .json, .ndjson, .jsonl and .parquet, also with .gz, .bz2, .xz or .zst";
                Error::new(
                    ErrorKind::Unsupported,
                    format!("'/{}' has no known extension: they are {formats}", file.location),
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
    source: &ListingTableUrl,
    files: &[ObjectMeta],
    format: &Format,
    reader: &Arc<dyn FileFormat>,
) -> Result<Vec<Group>> {
    let by_position = matches!(format.kind, Kind::Csv | Kind::Tsv);
    let mut groups: Vec<Group> = Vec::new();
    // Over all groups, only to find the two files of a conflict.
    let mut all = SchemaMerge::default();
    for file in files {
        let url = file_url(source, file)?;
        if format.kind == Kind::Parquet {
            check_parquet_object(store.as_ref(), file).await?;
        }
        let schema = reader.infer_schema(session, store, std::slice::from_ref(file)).await.map_err(|error| {
            let error = Error::from_datafusion(error);
            Error::new(error.kind(), format!("cannot read the columns of '{}'", url.as_str())).with_source(error)
        })?;
        let origin = || Origin { name: url.as_str().to_owned(), version: None };
        all.add(&schema, origin)?;
        let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let found = groups.iter().position(|group| !by_position || group.names == names);
        let at = found.unwrap_or_else(|| {
            groups.push(Group { names, files: Vec::new(), merge: SchemaMerge::default() });
            groups.len() - 1
        });
        groups[at].merge.add(&schema, origin)?;
        groups[at].files.push(url);
    }
    Ok(groups)
}

/// The URL of one of the files found at `source`.
fn file_url(source: &ListingTableUrl, file: &ObjectMeta) -> Result<ListingTableUrl> {
    let mut url: Url = source.get_url().clone();
    url.set_path(file.location.as_ref());
    ListingTableUrl::try_new(url, None).map_err(Error::from_datafusion)
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
