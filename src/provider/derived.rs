//! [`DerivedFiles`]: what gives rows to those who want the bytes of a file that is not stored as one part.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt;
use tinyfs::{Node, PondPath, Snapshot, Version};

use super::attributes::PartAttributes;
use super::encode::{ByteStream, FileEncoding};
use super::file_table::FileTable;
use crate::error::{Error, ErrorKind, Result};

/// Plans tables by path. An object store asks it; what knows SQL answers.
#[async_trait]
pub trait DerivedFiles: fmt::Debug + Send + Sync {
    /// Plans the table at `path` as it is in `snapshot`. Nothing runs yet.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), [`WrongKind`](ErrorKind::WrongKind), and what planning says.
    async fn plan(&self, snapshot: &Snapshot, path: &PondPath) -> Result<DerivedFile>;

    /// The bytes of the file at `path` that something else has, whatever tables they may be; `None` where they are made from rows.
    ///
    /// # Errors
    /// What finding and opening them says, here and in the stream.
    async fn open(&self, _snapshot: &Snapshot, _path: &PondPath) -> Result<Option<ByteStream>> {
        Ok(None)
    }

    /// What `snapshot` looks like to those who list it: with the files that it does not hold, but stands for.
    ///
    /// # Errors
    /// What finding those says.
    fn shown(&self, snapshot: &Snapshot) -> Result<Snapshot> {
        Ok(snapshot.clone())
    }
}

/// A planned table whose rows can become bytes.
#[derive(Debug)]
pub struct DerivedFile {
    /// Where it is.
    pub path: PondPath,
    /// Gives its rows.
    pub plan: Arc<dyn ExecutionPlan>,
    /// What the plan runs with.
    pub context: Arc<TaskContext>,
    /// What it was planned from.
    pub inputs: Inputs,
    /// What has changed of that since the queries were written, in words: what an error of computing the rows begins with.
    pub changes: Vec<Arc<str>>,
}

/// An error of computing values, with `changes` before it: DataFusion names neither the view nor its input.
pub(crate) fn with_changes(error: Error, changes: &[Arc<str>]) -> Error {
    let told = changes.join("; ");
    // The rows of a COPY may come from a stream that has told of them.
    if changes.is_empty() || error.kind() != ErrorKind::Execution || error.to_string().contains(&told) {
        return error;
    }
    error.with_preface(&told)
}

impl DerivedFile {
    /// Its bytes, in the encoding that the path's extension names. The plan runs while they are read, and ends when they are dropped.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) for columns that the encoding has no place for, and for an extension of what is not written.
    pub fn bytes(&self) -> Result<ByteStream> {
        self.bytes_as(FileEncoding::of(&self.path)?)
    }

    /// Its bytes in an encoding that need not be that of its path.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) for columns that the encoding has no place for.
    pub fn bytes_as(&self, encoding: FileEncoding) -> Result<ByteStream> {
        let (path, changes) = (self.path.clone(), self.changes.clone());
        let failed = move |error: Error| {
            let error = with_changes(error, &changes);
            match error.path() {
                // What names another place already says enough.
                Some(_) => error,
                None => Error::new(error.kind(), format!("'{path}' cannot be read as {}", encoding.encoding.as_str()))
                    .with_path(&path)
                    .with_source(error),
            }
        };
        let rows = execute_stream(Arc::clone(&self.plan), Arc::clone(&self.context)).map_err(Error::from);
        let bytes = encoding.encode(rows.map_err(&failed)?, &self.context).map_err(&failed)?;
        Ok(bytes.map(move |chunk| chunk.map_err(&failed)).boxed())
    }
}

type Unchanged = dyn Fn(&Snapshot) -> Result<bool> + Send + Sync;

/// What a derived file is made from, as far as the pond knows.
pub struct Inputs {
    unchanged: Box<Unchanged>,
    sources: Sources,
}

/// Where the rows of a derived file come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sources {
    /// Files of the pond alone.
    Pond,
    /// Host files or tables of the application too. Nobody tells when those change.
    Others,
}

impl Inputs {
    /// `unchanged` tells whether everything of the pond that was looked at is the same in another snapshot.
    pub fn new(unchanged: impl Fn(&Snapshot) -> Result<bool> + Send + Sync + 'static, sources: Sources) -> Self {
        Self { unchanged: Box::new(unchanged), sources }
    }

    /// Whether what the pond has of them is the same in `snapshot`.
    pub fn are_unchanged(&self, snapshot: &Snapshot) -> Result<bool> {
        (self.unchanged)(snapshot)
    }

    /// Where the rows come from.
    pub fn sources(&self) -> Sources {
        self.sources
    }
}

impl fmt::Debug for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inputs").field("sources", &self.sources).finish_non_exhaustive()
    }
}

/// The bytes of the file at `path` in `snapshot`: those that are stored, or those that `files` can make. Nothing of the latter is made
/// before it is read.
///
/// Where they go to a file of another name, that is `target`. If it names a format, the rows of a table are written down in that one, also
/// those of a table that is stored in another.
///
/// # Errors
/// As [`Content::of`], [`DerivedFiles::plan`] and [`DerivedFile::bytes`]. In the stream: [`Corrupt`](ErrorKind::Corrupt) at its end, if stored bytes are not those
/// written, and what the rows fail with.
pub async fn open_bytes(
    snapshot: &Snapshot,
    path: &PondPath,
    files: &dyn DerivedFiles,
    target: Option<&str>,
) -> Result<ByteStream> {
    match snapshot.lookup(path) {
        Ok(entry) => {
            if let Content::Stored(version) = Content::of(path, &entry.node)?
                && !is_rewritten(&version, target)?
            {
                let path = path.clone();
                let bytes = snapshot.stream(&version);
                return Ok(bytes.map(move |chunk| chunk.map_err(|error| error.with_path(&path).into())).boxed());
            }
        }
        // What a snapshot stands for, it does not hold.
        Err(error) if error.is_not_found() => {
            if !is_renamed(path, target)
                && let Some(bytes) = files.open(snapshot, path).await?
            {
                return Ok(bytes);
            }
        }
        Err(error) => return Err(error.into()),
    }
    let derived = files.plan(snapshot, path).await?;
    match target.map(FileEncoding::by_name).transpose()?.flatten() {
        Some(encoding) => derived.bytes_as(encoding),
        None => derived.bytes(),
    }
}

/// Whether a stored part is a table in another format than the name `target` asks for.
fn is_rewritten(version: &Version, target: Option<&str>) -> Result<bool> {
    if !PartAttributes::is_table(&version.attributes) {
        return Ok(false);
    }
    // A name of what is not written is one of a copy: what is stored may be in that format.
    let Some(Ok(Some(wanted))) = target.map(FileEncoding::by_name) else { return Ok(false) };
    Ok(!wanted.is_of(&PartAttributes::parse(&version.attributes)?.format)?)
}

/// Whether `path` names a format, and `target` another one.
fn is_renamed(path: &PondPath, target: Option<&str>) -> bool {
    let named = |name: Option<&str>| name.map(FileEncoding::by_name).and_then(Result::ok).flatten();
    matches!((named(path.name()), named(target)), (Some(own), Some(wanted)) if own != wanted)
}

/// Where the bytes of an entry come from.
#[derive(Debug, Clone)]
pub enum Content {
    /// They are stored, as this one version.
    Stored(Arc<Version>),
    /// They are made from rows.
    Derived,
}

impl Content {
    /// Where the bytes of the node at `path` come from: those of a file that is one part are its own.
    ///
    /// # Errors
    /// [`WrongKind`](ErrorKind::WrongKind) for what has no bytes; [`NotFound`](ErrorKind::NotFound) for a data file that nothing was written to;
    /// [`Unsupported`](ErrorKind::Unsupported) for a data file in several parts.
    pub fn of(path: &PondPath, node: &Node) -> Result<Self> {
        let error = |kind, message| Err(Error::new(kind, message).with_path(path));
        let Some(versions) = node.versions() else {
            return match node.kind() {
                tinyfs::EntryKind::View | tinyfs::EntryKind::Dynamic => Ok(Self::Derived),
                kind => error(ErrorKind::WrongKind, format!("'{path}' is a {}, not a file", kind.as_str())),
            };
        };
        match versions.content().as_slice() {
            [only] => Ok(Self::Stored(Arc::clone(only))),
            _ if FileTable::is_table(node) => Ok(Self::Derived),
            [] => error(ErrorKind::NotFound, format!("nothing was written to '{path}' yet")),
            many => error(ErrorKind::Unsupported, format!("'{path}' is a data file in {} parts", many.len())),
        }
    }
}
