//! `COPY … TO` a path in the pond: one version that replaces what was there, in the statement's transaction.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::arrow::datatypes::Schema;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::dml::CopyTo;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlanProperties, execute_stream};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::{CopyToStatement, Statement as SqlStatement};
use futures::TryStreamExt;
use object_store::path::Path;
use parking_lot::Mutex;
use tinyfs::{Attributes, EntryKind, NewEntry, Part, PondPath, Transaction, WriteMode};
use url::Url;
use uuid::Uuid;

use crate::catalog::{COMMENT, OpenPond};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{
    Encoding, FileEncoding, StagedParts, Wanted, WriteOptions, physical_order, undo_escapes, without_extension,
    write_part,
};
use crate::session::PondSession;
use crate::session::bytes::{describe, no_parquet};
use crate::session::copy::rows::as_written;
use crate::session::copy::{check_partitions, check_types, format, pond_path, unfinished};
use crate::session::pond_session::count;

/// The name of the file in each directory of a hive tree. It is always the same, so that another `COPY` to the same place replaces it.
const TREE_FILE: &str = "data";

/// A file that was written, and is nowhere yet.
struct Written {
    path: PondPath,
    part: Part,
    attributes: Attributes,
}

/// Runs a `COPY` into the pond; how many rows it wrote.
///
/// # Errors
/// [`WrongKind`](ErrorKind::WrongKind) where something else is in the way, [`Usage`](ErrorKind::Usage) for a format that the name speaks against,
/// and what the query says.
pub(in crate::session) async fn into_pond(
    session: &PondSession,
    pond: &OpenPond,
    transaction: &Mutex<Transaction>,
    statement: &CopyToStatement,
) -> Result<u64> {
    let path = pond_path(&statement.target, &session.names()?)?;
    let encoding = encoding(statement, &path)?;
    let is_tree = !statement.partitioned_by.is_empty();
    check_place(transaction, &path, is_tree)?;
    // Before what the name says is written into the options.
    let is_plain = statement.options.is_empty() && !is_tree;
    let mut statement = statement.clone();
    format::spell_out(&mut statement, format::Default::Parquet)?;
    let plan = session.plan(SqlStatement::CopyTo(statement)).await?;
    let LogicalPlan::Copy(copied) = session.bind_parameters(plan)? else {
        return Err(Error::new(ErrorKind::Unsupported, "this COPY is not one for a pond"));
    };
    check_columns(copied.input.schema().as_arrow())?;
    check_partitions(session, &copied)?;
    check_types(&copied)?;
    let ours = match encoding {
        Some(named) if is_plain => Some(named),
        // DataFusion writes one object a line.
        Some(named) if named.encoding == Encoding::Json && !is_tree => array(&path, named, &copied.options)?,
        _ => None,
    };
    let (rows, files) = match ours {
        Some(named) if named.encoding == Encoding::Parquet => table(session, pond, path, &copied).await?,
        Some(encoding) => bytes(session, pond, path, &copied, encoding).await?,
        None => by_datafusion(session, pond, &path, copied, encoding).await?,
    };
    let mut transaction = transaction.lock();
    for file in files {
        place(&mut transaction, file)?;
    }
    Ok(rows)
}

/// The encoding that a statement asks for; `None` for one that only DataFusion knows.
fn encoding(statement: &CopyToStatement, path: &PondPath) -> Result<Option<FileEncoding>> {
    let Some(stored_as) = &statement.stored_as else { return FileEncoding::of(path).map(Some) };
    let by_name = path.name().map(FileEncoding::by_name).and_then(Result::ok).flatten().map(|named| named.encoding);
    let encoding = match stored_as.to_ascii_uppercase().as_str() {
        "PARQUET" => Some(Encoding::Parquet),
        "CSV" => Some(Encoding::Csv),
        "TSV" => Some(Encoding::Tsv),
        "JSON" if by_name == Some(Encoding::Json) => Some(Encoding::Json),
        "JSON" | "NDJSON" | "JSONL" => Some(Encoding::Ndjson),
        "ARROW" => Some(Encoding::Arrow),
        _ => None,
    };
    if by_name == Some(Encoding::Parquet) && encoding != by_name {
        return Err(no_parquet(path));
    }
    let (_, compression) = without_extension(path.name().unwrap_or_default());
    Ok(encoding.map(|encoding| match encoding.is_text() {
        true => FileEncoding { encoding, compression },
        false => FileEncoding::from(encoding),
    }))
}

/// How one JSON array is written with these options; `None` where they ask for one object a line.
///
/// # Errors
/// [`Usage`](ErrorKind::Usage) for options that an array does not have.
fn array(path: &PondPath, named: FileEncoding, options: &HashMap<String, String>) -> Result<Option<FileEncoding>> {
    const LINES: &str = "format.newline_delimited";
    if options.get(LINES).is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(None);
    }
    let mut encoding = named;
    for (option, value) in options {
        match option.as_str() {
            LINES if value.eq_ignore_ascii_case("false") => {}
            "format.compression" => {
                encoding.compression = value.parse::<FileCompressionType>().map_err(|error| {
                    let message = format!("'{path}' cannot be compressed by '{value}': use gzip, bzip2, xz or zstd");
                    Error::new(ErrorKind::Usage, message).with_path(path).with_source(error)
                })?;
            }
            _ => {
                let message = format!(
                    "'{path}' is one JSON array, which has no option '{option}' of '{value}': use compression alone, or a name that ends in .ndjson"
                );
                return Err(Error::new(ErrorKind::Usage, message).with_path(path));
            }
        }
    }
    Ok(Some(encoding))
}

/// Refuses a target where something else is than a `COPY` makes, before its query runs.
fn check_place(transaction: &Mutex<Transaction>, path: &PondPath, is_tree: bool) -> Result<()> {
    let Some(entry) = transaction.lock().snapshot().find(path)? else { return Ok(()) };
    let kind = entry.kind();
    let wanted = if is_tree { EntryKind::Directory } else { EntryKind::File };
    if kind == wanted {
        return Ok(());
    }
    let what = if is_tree { "a directory of files" } else { "a file" };
    let message = format!("cannot write {what} to '{path}': it is a {}", kind.as_str());
    Err(Error::new(ErrorKind::WrongKind, message).with_path(path))
}

fn check_columns(schema: &Schema) -> Result<()> {
    let mut names = HashSet::new();
    match schema.fields().iter().find(|field| !names.insert(field.name())) {
        Some(field) => {
            let message = format!("two columns have the name '{}'; give one another name with AS", field.name());
            Err(Error::new(ErrorKind::Plan, message))
        }
        None => Ok(()),
    }
}

/// Writes the rows as those of a table are, statistics and order included.
async fn table(session: &PondSession, pond: &OpenPond, path: PondPath, copied: &CopyTo) -> Result<(u64, Vec<Written>)> {
    let physical = session.context().state().create_physical_plan(&copied.input).await;
    let physical = physical.map_err(|error| session.explained(error.into()))?;
    // Partitions are merged as they come, so that only the order of a single one is the order of the file.
    let single = physical.output_partitioning().partition_count() == 1;
    let order = if single { physical_order(&physical) } else { Vec::new() };
    let rows = session.explained_rows(execute_stream(physical, session.context().task_ctx())?);
    let written = write_part(rows, &pond.store, WriteOptions { schema: None, order }).await?;
    Ok((written.rows, vec![Written { path, part: written.part, attributes: written.attributes }]))
}

/// Writes the rows as the bytes that a derived file of this name would have.
async fn bytes(
    session: &PondSession,
    pond: &OpenPond,
    path: PondPath,
    copied: &CopyTo,
    encoding: FileEncoding,
) -> Result<(u64, Vec<Written>)> {
    let (rows, counted) = counted(session.stream(&copied.input).await?);
    let mut bytes = encoding.encode(rows, &session.context().task_ctx())?;
    let mut writer = pond.store.create_part().await?;
    while let Some(chunk) = bytes.try_next().await? {
        writer.write(chunk).await?;
    }
    let part = writer.finish().await?;
    let attributes = describe(session, pond, &path, &part, &Wanted::of_written(encoding.encoding)).await?;
    Ok((counted.load(Ordering::Relaxed), vec![Written { path, part, attributes }]))
}

/// The same rows, and how many there were so far.
fn counted(rows: SendableRecordBatchStream) -> (SendableRecordBatchStream, Arc<AtomicU64>) {
    let count = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&count);
    let schema = rows.schema();
    let rows = rows.inspect_ok(move |batch| {
        let _ = counting.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
    });
    (Box::pin(RecordBatchStreamAdapter::new(schema, rows)), count)
}

/// Lets DataFusion's own writers write, which know options, compression and hive trees.
async fn by_datafusion(
    session: &PondSession,
    pond: &OpenPond,
    path: &PondPath,
    mut copied: CopyTo,
    encoding: Option<FileEncoding>,
) -> Result<(u64, Vec<Written>)> {
    let is_tree = !copied.partition_by.is_empty();
    let wanted = match copied.file_type.get_ext().as_str() {
        "csv" => Wanted::of_written_csv(copied.options.clone())?,
        "json" => Wanted::of_written(Encoding::Ndjson),
        _ => Wanted::default(),
    };
    let staging = Staging::new(session.context(), pond)?;
    copied = as_written(session, copied).await?;
    copied.output_url = format!("{}/{}", staging.url, if is_tree { "" } else { TREE_FILE });
    let _ = copied.options.insert("single_file_output".to_owned(), (!is_tree).to_string());
    let rows = count(session.stream(&LogicalPlan::Copy(copied)).await?).await;
    let rows = rows.map_err(|error| unfinished(path.as_str(), error))?;
    let mut files: Vec<Written> = Vec::new();
    for (location, part) in staging.parts.take() {
        let path = if is_tree { tree_path(path, &location, encoding)? } else { path.clone() };
        if files.iter().any(|file| file.path == path) {
            let message = format!("two files were written for '{path}'");
            return Err(Error::new(ErrorKind::Execution, message).with_path(&path));
        }
        let attributes = describe(session, pond, &path, &part, &wanted).await?;
        files.push(Written { path, part, attributes });
    }
    Ok((rows, files))
}

/// Where a file of a hive tree goes: its directories are DataFusion's, its name is not, for that is another one each time. DataFusion writes them
/// as in a URL: a name here is the value itself, but for what no name can hold.
fn tree_path(root: &PondPath, location: &Path, encoding: Option<FileEncoding>) -> Result<PondPath> {
    let mut path = root.clone();
    let mut parts = location.parts().peekable();
    while let Some(part) = parts.next() {
        let name = part.as_ref();
        path = match parts.peek() {
            Some(_) => path.child(&directory_name(name)?)?,
            None => path.child(&match name.split_once('.') {
                Some((_, extension)) => format!("{TREE_FILE}.{}", extension_of(extension, encoding)),
                None => TREE_FILE.to_owned(),
            })?,
        };
    }
    Ok(path)
}

fn directory_name(escaped: &str) -> Result<String> {
    let name = undo_escapes(escaped).ok_or_else(|| {
        Error::new(ErrorKind::Execution, format!("the name of the directory '{escaped}' is not UTF-8"))
    })?;
    Ok(name.replace('/', "%2F").replace('\0', "%00"))
}

/// The extension of what is in a file, for DataFusion calls tabs `csv`, and one object a line `json`.
fn extension_of(given: &str, encoding: Option<FileEncoding>) -> String {
    let (format, compression) = given.split_once('.').unwrap_or((given, ""));
    let format = match (format, encoding.map(|named| named.encoding)) {
        ("csv", Some(Encoding::Tsv)) => "tsv",
        ("json", _) => "ndjson",
        (other, _) => other,
    };
    if compression.is_empty() { format.to_owned() } else { format!("{format}.{compression}") }
}

/// A store under a URL of its own, as long as this lives.
struct Staging<'a> {
    context: &'a SessionContext,
    url: Url,
    parts: Arc<StagedParts>,
}

impl<'a> Staging<'a> {
    fn new(context: &'a SessionContext, pond: &OpenPond) -> Result<Self> {
        let url = format!("pond-copy://{}", Uuid::now_v7().simple());
        let url = Url::parse(&url).map_err(|error| {
            Error::new(ErrorKind::Execution, format!("'{url}' is no place to write to")).with_source(error)
        })?;
        let parts = Arc::new(StagedParts::new(Arc::clone(&pond.store)));
        let _ = context.register_object_store(&url, Arc::clone(&parts) as _);
        Ok(Self { context, url, parts })
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.context.runtime_env().deregister_object_store(&self.url) {
            tracing::warn!(%error, "a store for COPY cannot be let go");
        }
    }
}

/// Gives a file its place. What was declared of the one before, its columns, their NOT NULL and its order, is not true of this one; what
/// `COMMENT` said stays.
fn place(transaction: &mut Transaction, file: Written) -> Result<()> {
    let Written { path, part, attributes } = file;
    match transaction.snapshot().find(&path)? {
        Some(entry) => {
            let comment = entry.node.attributes.get(COMMENT);
            let kept = comment.map(|comment| Attributes::default().with(COMMENT, &**comment)).unwrap_or_default();
            if entry.node.attributes != kept {
                transaction.update(&entry.path, None, kept)?;
            }
        }
        None => transaction.create(&path, NewEntry::File, Attributes::default())?,
    }
    let _ = transaction.write(&path, WriteMode::Replace, part, attributes)?;
    Ok(())
}
