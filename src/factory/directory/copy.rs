//! Copying what is new in a folder into the pond.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringBuilder, UInt64Builder};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::DataFusionError;
use futures::TryStreamExt;
use tinyfs::{Attributes, Bytestream, Child, DynamicFactory, Hash, PondPath, Snapshot};

use super::{Directory, INTO, reader};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{Put, PutOptions, RunContext};

/// The attribute of a version that a run copied: the path of the entry that was run.
const COPIED: &str = "copied_by";

/// How often a file is tried when another transaction is first.
const MAX_ATTEMPTS: u32 = 20;

/// What was done about one file.
struct Done {
    name: String,
    action: Action,
    bytes: Option<u64>,
    version: Option<u64>,
    error: Option<Error>,
}

#[derive(Clone, Copy)]
enum Action {
    /// It was not in the pond.
    Added,
    /// It was, with other bytes.
    Replaced,
    /// It was, with these.
    Unchanged,
    /// It could not be copied.
    Failed,
}

impl Action {
    fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Replaced => "replaced",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
        }
    }
}

/// Copies the files that the pond does not have yet, each in a transaction of its own: one that fails takes no other with it.
///
/// # Errors
/// [`ErrorKind::Usage`] without the option `into`; what listing the folder says; how many failed and the first failure, if every file did.
pub(super) async fn new_files(factory: &Directory, context: &RunContext) -> Result<RecordBatch> {
    let into = context.option(INTO).ok_or_else(|| {
        let message = format!("'{}' has no option '{INTO}', so there is nowhere to copy its files to", context.path());
        Error::new(ErrorKind::Usage, message).with_path(context.path())
    })?;
    let into = PondPath::parse(into)?;
    if into.starts_with(context.path()) {
        // What is stored there would hide the folder's files.
        let message = format!("the option '{INTO}' of '{}' leads into itself", context.path());
        return Err(Error::new(ErrorKind::Usage, message).with_path(context.path()));
    }
    let children = factory.list(context.entry()).await?;
    let mut all = Vec::with_capacity(children.len());
    for (at, child) in children.iter().enumerate() {
        context.progress(&format!("{} of {}: {}", at + 1, children.len(), child.name));
        let mut done = one(factory, context, &into, child).await;
        for _ in 1..MAX_ATTEMPTS {
            // Another run, or a statement, was first: what is there now decides.
            if !done.as_ref().is_err_and(|error| error.kind() == ErrorKind::Conflict) {
                break;
            }
            done = one(factory, context, &into, child).await;
        }
        all.push(done.unwrap_or_else(|error| Done {
            name: child.name.clone(),
            action: Action::Failed,
            bytes: None,
            version: None,
            error: Some(error),
        }));
    }
    let count = all.len();
    if all.iter().all(|done| done.error.is_some())
        && let Some(first) = all.iter_mut().find_map(|done| done.error.take())
    {
        return Err(match count {
            1 => first,
            _ => Error::new(first.kind(), format!("all {count} files failed; the first: {first}")).with_source(first),
        });
    }
    rows(&all)
}

async fn one(factory: &Directory, context: &RunContext, into: &PondPath, child: &Child) -> Result<Done> {
    let path = into.join(&child.name)?;
    let base = context.snapshot().await?;
    let there = there(&base, &path, context.path())?;
    let known = there.size_and_hash();
    let action = if known.is_some() { Action::Replaced } else { Action::Added };
    let done = |action, bytes, version| Done { name: child.name.clone(), action, bytes, version, error: None };
    let bytes = factory
        .open(context.entry(), &child.name)
        .await?
        .ok_or_else(|| Error::new(ErrorKind::Io, format!("'{}' has no bytes", child.name)))?;
    if context.is_dry_run() || matches!(there, There::Foreign(_)) {
        let (size, hash) = measure(bytes).await?;
        return match (known == Some((size, hash)), there) {
            (true, _) => Ok(done(Action::Unchanged, Some(size), None)),
            (false, There::Foreign(_)) => {
                let message = format!(
                    "'{path}' is another file, which no run copied, so none replaces it; rename it, or change '{INTO}'"
                );
                Err(Error::new(ErrorKind::AlreadyExists, message).with_path(&path))
            }
            (false, _) => Ok(done(action, Some(size), None)),
        };
    }
    let how = PutOptions {
        wanted: reader(context.definition()).wanted_for(&path)?,
        extra: Attributes::from_iter([(COPIED, context.path().as_str())]),
        unless: known,
    };
    Ok(match context.put(&base, &path, bytes, how).await? {
        Put::Unchanged => done(Action::Unchanged, child.size, None),
        Put::Stored(written) => done(action, Some(written.bytes), written.version),
    })
}

/// Size and hash of bytes.
async fn measure(mut bytes: Bytestream) -> Result<(u64, Hash)> {
    let mut hasher = blake3::Hasher::new();
    while let Some(piece) = bytes.try_next().await? {
        let _ = hasher.update(&piece);
    }
    Ok((hasher.count(), hasher.finalize()))
}

/// What the pond has where a file is copied to.
#[derive(Clone, Copy)]
enum There {
    Nothing,
    /// Of this size and hash a run copied it last. What others wrote after it is theirs, and makes no file of the folder new.
    Copied(u64, Hash),
    /// What no run copied: its last version.
    Foreign(Option<(u64, Hash)>),
}

impl There {
    fn size_and_hash(self) -> Option<(u64, Hash)> {
        match self {
            Self::Nothing => None,
            Self::Copied(size, hash) => Some((size, hash)),
            Self::Foreign(last) => last,
        }
    }
}

fn there(base: &Snapshot, path: &PondPath, entry: &PondPath) -> Result<There> {
    let node = match base.lookup(path) {
        Ok(found) => found.node,
        Err(error) if error.is_not_found() => return Ok(There::Nothing),
        Err(error) => return Err(error.into()),
    };
    let Some(versions) = node.versions() else {
        // As writing to it would say; a dry run writes nothing.
        let message = format!("'{path}' is a {}, and only a file can be written to", node.kind().as_str());
        return Err(Error::new(ErrorKind::WrongKind, message).with_path(path));
    };
    let is_ours = |by: &Arc<str>| **by == *entry.as_str();
    let last = |wanted: &dyn Fn(&Arc<str>) -> bool| {
        versions.iter().rev().find(|version| version.attributes.get(COPIED).is_some_and(wanted))
    };
    // The entry may have had another name.
    Ok(match last(&is_ours).or_else(|| last(&|_| true)) {
        Some(version) => There::Copied(version.part.size, version.part.hash),
        None => There::Foreign(versions.last().map(|version| (version.part.size, version.part.hash))),
    })
}

fn rows(all: &[Done]) -> Result<RecordBatch> {
    let (mut name, mut action, mut error) = (StringBuilder::new(), StringBuilder::new(), StringBuilder::new());
    let (mut bytes, mut version) = (UInt64Builder::new(), UInt64Builder::new());
    for done in all {
        name.append_value(&done.name);
        action.append_value(done.action.as_str());
        bytes.append_option(done.bytes);
        version.append_option(done.version);
        error.append_option(done.error.as_ref().map(ToString::to_string));
    }
    let schema = Schema::new(vec![
        Field::new("name", DataType::Utf8, false),
        Field::new("action", DataType::Utf8, false),
        Field::new("bytes", DataType::UInt64, true),
        Field::new("version", DataType::UInt64, true),
        Field::new("error", DataType::Utf8, true),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(name.finish()),
        Arc::new(action.finish()),
        Arc::new(bytes.finish()),
        Arc::new(version.finish()),
        Arc::new(error.finish()),
    ];
    Ok(RecordBatch::try_new(Arc::new(schema), columns).map_err(DataFusionError::from)?)
}
