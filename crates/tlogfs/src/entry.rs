//! The entry that a commit puts into `_delta_log`: Delta actions, one JSON object a line.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use deltalake_core::kernel::{Action, Add};
use deltalake_core::logstore::get_actions;
use object_store::path::Path;
use serde_json::{Value, json};
use tinyfs::{Hash, Result, Txn};
use uuid::Uuid;

use crate::error::corrupt;
use crate::files::LogFile;
use crate::schema::delta_schema;
use crate::sparse::Holes;

/// The key of the table's configuration that holds the pond's id.
pub(crate) const POND_ID: &str = "pondsql.pond_id";
/// The key of the table's configuration that holds [`FORMAT`].
pub(crate) const FORMAT_KEY: &str = "pondsql.format";
/// What this crate writes, and the newest that it reads.
pub(crate) const FORMAT: u32 = 1;

/// The key of `commitInfo` that holds the pond's id.
const POND_KEY: &str = "pondId";

/// The feature of the table that makes other programs refuse to write to it, as Delta wants of those that do not know
/// it: a pond would not understand what they commit. Readers need not know it.
const FEATURE: &str = "pondsql";

/// The tag of a log file that holds its BLAKE3.
const HASH_TAG: &str = "blake3";
/// The tag that says where in the file inline parts are, as [`Holes::to_text`] writes it.
const HOLES_TAG: &str = "contentRanges";
/// The tag that holds the BLAKE3 of the file without those ranges.
const REST_TAG: &str = "blake3WithoutContent";

/// Merged log files that the next commit puts in place of those they were made of.
#[derive(Debug)]
pub(crate) struct Merge {
    pub(crate) inputs: Vec<Arc<LogFile>>,
    pub(crate) output: Arc<LogFile>,
}

/// What an entry of the log says.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The rows of the transaction.
    pub(crate) rows: Arc<LogFile>,
    /// Files that a merge took out.
    pub(crate) removed: Vec<Path>,
    /// Files that a merge put in.
    pub(crate) merged: Vec<Arc<LogFile>>,
    /// Whether the table itself changed: its format may be another one now.
    pub(crate) redefined: bool,
}

/// The entry of transaction 0, which makes the table.
pub(crate) fn creation(pond_id: Uuid, created: DateTime<Utc>) -> Result<Bytes> {
    let metadata = json!({"metaData": {
        "id": Uuid::new_v4().to_string(),
        "name": "pond",
        "description": "The log of a pond: one row for each operation, and one for each commit",
        "format": {"provider": "parquet", "options": {}},
        "schemaString": delta_schema()?,
        "partitionColumns": [],
        "createdTime": created.timestamp_millis(),
        "configuration": {
            POND_ID: pond_id.to_string(),
            FORMAT_KEY: FORMAT.to_string(),
            // Every version of the pond stays readable until the pond itself gives it up.
            "delta.enableExpiredLogCleanup": "false",
            // Nobody but the pond has business changing the rows.
            "delta.appendOnly": "true",
            // What checkpoints say of files that were merged away need not be kept for a week.
            "delta.deletedFileRetentionDuration": "interval 1 hours",
        },
    }});
    let protocol = json!({"protocol": {
        "minReaderVersion": 1,
        "minWriterVersion": 7,
        "writerFeatures": ["appendOnly", FEATURE],
    }});
    Ok(lines(&[info("PONDSQL CREATE", pond_id, created, Uuid::new_v4()), protocol, metadata]))
}

/// The entry of a commit with these rows.
///
/// `id` makes it unlike any other, so that a writer can tell whether the entry it finds is its own.
pub(crate) fn commit(pond_id: Uuid, rows: &LogFile, merge: Option<&Merge>, at: DateTime<Utc>, id: Uuid) -> Bytes {
    let mut actions = vec![info("PONDSQL COMMIT", pond_id, at, id), add(rows, true, at)];
    if let Some(merge) = merge {
        actions.extend(merge.inputs.iter().map(|file| remove(file, at)));
        actions.push(add(&merge.output, false, at));
    }
    lines(&actions)
}

fn lines(actions: &[Value]) -> Bytes {
    let mut text = String::new();
    for action in actions {
        text.push_str(&action.to_string());
        text.push('\n');
    }
    text.into()
}

fn info(operation: &str, pond_id: Uuid, at: DateTime<Utc>, id: Uuid) -> Value {
    json!({"commitInfo": {
        "timestamp": at.timestamp_millis(),
        "operation": operation,
        "operationParameters": {},
        "engineInfo": concat!("pondsql/", env!("CARGO_PKG_VERSION")),
        "txnId": id.to_string(),
        POND_KEY: pond_id.to_string(),
    }})
}

fn add(file: &LogFile, data_change: bool, at: DateTime<Utc>) -> Value {
    let stats = json!({
        "numRecords": file.rows,
        "minValues": {"txn": file.first.0},
        "maxValues": {"txn": file.last.0},
        "nullCount": {"txn": 0},
    });
    json!({"add": {
        "path": file.path.as_ref(),
        "partitionValues": {},
        "size": file.size,
        "modificationTime": at.timestamp_millis(),
        "dataChange": data_change,
        "stats": stats.to_string(),
        "tags": {
            HASH_TAG: file.hash.to_hex().as_str(),
            HOLES_TAG: file.holes.to_text(),
            REST_TAG: file.rest.to_hex().as_str(),
        },
    }})
}

fn remove(file: &LogFile, at: DateTime<Utc>) -> Value {
    json!({"remove": {
        "path": file.path.as_ref(),
        "deletionTimestamp": at.timestamp_millis(),
        "dataChange": false,
        "extendedFileMetadata": true,
        "partitionValues": {},
        "size": file.size,
    }})
}

/// Whether the bytes of an entry do not say that they are of another pond.
pub(crate) fn is_of(pond_id: Uuid, bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return true };
    let Some((_, found)) = text.split_once(&format!("\"{POND_KEY}\":\"")) else { return true };
    found.split('"').next() == Some(pond_id.to_string().as_str())
}

/// Reads the entry of transaction `txn`.
///
/// # Errors
/// [`Corrupt`](tinyfs::ErrorKind::Corrupt) when it does not parse, or was not written by a pond.
pub(crate) fn parse(txn: Txn, bytes: &Bytes) -> Result<Entry> {
    let damaged = |why: &str| corrupt(format!("the entry of transaction {txn} (_delta_log/{:020}.json) {why}", txn.0));
    let actions = get_actions(txn.0, bytes).map_err(|error| damaged("is damaged").with_source(error))?;
    let (mut rows, mut merged, mut removed, mut redefined) = (None, Vec::new(), Vec::new(), false);
    for action in actions {
        match action {
            Action::Add(add) => {
                let file = Arc::new(log_file(&add)?);
                if !add.data_change {
                    merged.push(file);
                } else if file.first != txn || file.last != txn || rows.replace(file).is_some() {
                    return Err(damaged("adds rows of another transaction"));
                }
            }
            Action::Remove(remove) if !remove.data_change => removed.push(
                Path::parse(&remove.path).map_err(|error| damaged("removes a malformed path").with_source(error))?,
            ),
            Action::Remove(_) => return Err(damaged("deletes rows of the log")),
            Action::Metadata(_) | Action::Protocol(_) => redefined = true,
            Action::CommitInfo(_) | Action::Cdc(_) | Action::Txn(_) | Action::DomainMetadata(_) => {}
        }
    }
    let rows = rows.ok_or_else(|| damaged("holds no rows: it is damaged, or another program wrote it"))?;
    Ok(Entry { rows, removed, merged, redefined })
}

/// The log file that an `add` action describes.
pub(crate) fn log_file(add: &Add) -> Result<LogFile> {
    let damaged = |what: &str| corrupt(format!("the log's entry for {} is damaged: {what}", add.path));
    let path = Path::parse(&add.path).map_err(|error| damaged("its path").with_source(error))?;
    let tag = |name: &str| {
        let text = add.tags.as_ref().and_then(|tags: &HashMap<_, _>| tags.get(name)).and_then(Option::as_deref);
        text.ok_or_else(|| damaged(&format!("it has no tag {name}; another program may have written it")))
    };
    let hash = |name| Hash::from_hex(tag(name)?).map_err(|error| damaged(name).with_source(error));
    let size = u64::try_from(add.size).map_err(|error| damaged("its size").with_source(error))?;
    let stats: Value = serde_json::from_str(add.stats.as_deref().ok_or_else(|| damaged("it has no statistics"))?)
        .map_err(|error| damaged("its statistics").with_source(error))?;
    let number = |pointer: &str| {
        stats.pointer(pointer).and_then(Value::as_u64).ok_or_else(|| damaged(&format!("its statistics {pointer}")))
    };
    Ok(LogFile {
        size,
        hash: hash(HASH_TAG)?,
        holes: Holes::parse(tag(HOLES_TAG)?, size).map_err(|error| damaged(HOLES_TAG).with_source(error))?,
        rest: hash(REST_TAG)?,
        rows: number("/numRecords")?,
        first: Txn(number("/minValues/txn")?),
        last: Txn(number("/maxValues/txn")?),
        path,
    })
}
