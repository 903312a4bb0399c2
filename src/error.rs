//! The error of the query side: a kind to act on, the place, and the cause.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::error::ArrowError;
use datafusion::common::DataFusionError;
use tinyfs::PondPath;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn StdError + Send + Sync + 'static>;

/// What went wrong, as far as a caller would act differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Nothing has this name. The message names what is near.
    NotFound,
    /// The name is taken.
    AlreadyExists,
    /// The entry is of another kind than the operation needs: a directory where a file is needed, bytes where a table is.
    WrongKind,
    /// A directory that holds entries was to be removed without them.
    NotEmpty,
    /// The text is not SQL, not a path, or not a glob.
    Syntax,
    /// The statement is SQL, but does not fit the data: an unknown column, a wrong type.
    Plan,
    /// Files that are read as one table have columns of one name whose types do not go together.
    TypeConflict,
    /// Another transaction came first. The statement can be tried again.
    Conflict,
    /// The pond, the transaction or the entry cannot be written.
    ReadOnly,
    /// Meant to work, perhaps, but it does not here.
    Unsupported,
    /// Stored data is not what was written, or not what its format demands.
    Corrupt,
    /// The storage below failed.
    Io,
    /// A limit on memory, disk or size was reached.
    Limit,
    /// Someone asked for the end.
    Cancelled,
    /// A running query failed: a division by zero, a cast that does not work, a broken NOT NULL.
    Execution,
    /// An option, argument or setting is wrong.
    Usage,
}

/// An error of this crate: kind, path and version where known, and the cause as [`source`](StdError::source).
///
/// `Display` is one line, names the path, and ends with the cause where the message does not hold it already.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    path: Option<PondPath>,
    version: Option<u64>,
    source: Option<Source>,
}

impl Error {
    /// An error of this kind; the message names what failed and, where it helps, what to do.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), path: None, version: None, source: None }))
    }

    /// Adds the path that the operation was about.
    #[must_use]
    pub fn with_path(mut self, path: &PondPath) -> Self {
        self.0.path = Some(path.clone());
        self
    }

    /// Adds the version of the file that the operation was about.
    #[must_use]
    pub fn with_version(mut self, version: u64) -> Self {
        self.0.version = Some(version);
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error with more to say, in brackets behind all that it says.
    pub(crate) fn with_note(self, note: &str) -> Self {
        let text = format!("{self} ({note})");
        Self::recovered(self.kind(), &text, self.path(), self.version()).with_source(self)
    }

    /// The same error without a text that nobody wrote, such as what tells two scans apart.
    #[must_use]
    pub(crate) fn without(mut self, text: &str) -> Self {
        if self.0.message.contains(text) {
            self.0.message = self.0.message.replace(text, "");
        }
        self
    }

    /// The same error with more to say, before all that it says.
    pub(crate) fn with_preface(self, preface: &str) -> Self {
        let text = format!("{preface}: {self}");
        Self::recovered(self.kind(), &text, self.path(), self.version()).with_source(self)
    }

    /// What went wrong, as far as a caller would act differently.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The path that the operation was about.
    pub fn path(&self) -> Option<&PondPath> {
        self.0.path.as_ref()
    }

    /// The version of the file that the operation was about.
    pub fn version(&self) -> Option<u64> {
        self.0.version
    }

    /// Whether this is [`ErrorKind::NotFound`]: the only error that means that nothing is there.
    pub fn is_not_found(&self) -> bool {
        self.0.kind == ErrorKind::NotFound
    }

    /// Says that this is about a file that is not there, and nothing else: on the host, that is a failure of the storage.
    #[must_use]
    pub(crate) fn for_missing_file(self) -> Self {
        let text = self.0.message.clone();
        self.with_source(MissingFile(text))
    }

    /// Whether all that is wrong is that something is not there: in the pond, in another catalog, or on the host.
    pub(crate) fn is_missing(&self) -> bool {
        self.is_not_found() || self.has_cause::<MissingFile>()
    }

    /// Whether a `T` is among its causes, however deep.
    pub(crate) fn has_cause<T: StdError + 'static>(&self) -> bool {
        let mut next = self.source();
        while let Some(at) = next {
            if at.is::<T>() {
                return true;
            }
            next = at.source();
        }
        false
    }

    /// Reads an error of DataFusion. An error of this crate, of TinyFS or of a store that it wraps, however deep, keeps its kind, path and version.
    pub fn from_datafusion(error: DataFusionError) -> Self {
        // An error of ours that went through DataFusion's hands untouched comes back as it was.
        let error = match error {
            DataFusionError::External(source) => match source.downcast::<Self>() {
                Ok(ours) => return *ours,
                Err(source) => DataFusionError::External(source),
            },
            error => error,
        };
        let mut next: Option<&(dyn StdError + 'static)> = Some(&error);
        while let Some(at) = next {
            if let Some(ours) = at.downcast_ref::<Self>() {
                return Self::recovered(ours.kind(), ours, ours.path(), ours.version()).with_source(error);
            }
            if let Some(below) = at.downcast_ref::<tinyfs::Error>() {
                return Self::recovered(kind_of(below.kind()), below, below.path(), below.version()).with_source(error);
            }
            next = at.source();
        }
        let (kind, message) = match (&error, error.find_root()) {
            // What it is about is in the contexts: the setting, and the value that it was to have.
            (DataFusionError::Context(..), DataFusionError::External(_)) => {
                (ErrorKind::Execution, error.strip_backtrace().replace(CAUSED_BY, ": "))
            }
            (_, root) => describe(root),
        };
        Self::new(kind, message).with_source(error)
    }

    /// A copy for one more reader of an error that is kept: kind, path, version and text; the original is its source.
    pub(crate) fn shared(error: &Arc<Self>) -> Self {
        Self::recovered(error.kind(), error, error.path(), error.version()).with_source(Arc::clone(error))
    }

    fn recovered(kind: ErrorKind, text: &dyn fmt::Display, path: Option<&PondPath>, version: Option<u64>) -> Self {
        Self(Box::new(Inner { kind, message: text.to_string(), path: path.cloned(), version, source: None }))
    }
}

/// A file that is not there, in the words of the error that it is the source of.
#[derive(Debug)]
struct MissingFile(String);

impl fmt::Display for MissingFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for MissingFile {}

fn kind_of(kind: tinyfs::ErrorKind) -> ErrorKind {
    match kind {
        tinyfs::ErrorKind::NotFound => ErrorKind::NotFound,
        tinyfs::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
        tinyfs::ErrorKind::NotADirectory | tinyfs::ErrorKind::NotAFile | tinyfs::ErrorKind::SymlinkLoop => {
            ErrorKind::WrongKind
        }
        tinyfs::ErrorKind::NotEmpty => ErrorKind::NotEmpty,
        tinyfs::ErrorKind::InvalidPath | tinyfs::ErrorKind::InvalidGlob => ErrorKind::Syntax,
        tinyfs::ErrorKind::ReadOnly => ErrorKind::ReadOnly,
        tinyfs::ErrorKind::Corrupt => ErrorKind::Corrupt,
        tinyfs::ErrorKind::Unsupported => ErrorKind::Unsupported,
        tinyfs::ErrorKind::Io => ErrorKind::Io,
        _ => ErrorKind::Execution,
    }
}

/// What DataFusion writes between a context and the error in it.
pub(crate) const CAUSED_BY: &str = "\ncaused by\n";

/// The kind and the plain message of an error that DataFusion itself made.
fn describe(root: &DataFusionError) -> (ErrorKind, String) {
    match root {
        DataFusionError::SQL(error, _) => (ErrorKind::Syntax, error.to_string()),
        DataFusionError::Plan(message) => (ErrorKind::Plan, message.clone()),
        DataFusionError::SchemaError(error, _) => (ErrorKind::Plan, error.to_string()),
        DataFusionError::ResourcesExhausted(message) => (ErrorKind::Limit, message.clone()),
        DataFusionError::NotImplemented(message) => (ErrorKind::Unsupported, message.clone()),
        DataFusionError::Configuration(message) => (ErrorKind::Usage, message.clone()),
        DataFusionError::IoError(error) => (ErrorKind::Io, error.to_string()),
        DataFusionError::ObjectStore(error) => match error.as_ref() {
            object_store::Error::NotFound { .. } => (ErrorKind::NotFound, error.to_string()),
            object_store::Error::NotSupported { .. } | object_store::Error::NotImplemented { .. } => {
                (ErrorKind::Unsupported, error.to_string())
            }
            _ => (ErrorKind::Io, error.to_string()),
        },
        DataFusionError::ParquetError(error) => (ErrorKind::Corrupt, error.to_string()),
        DataFusionError::ArrowError(error, _) => match error.as_ref() {
            // Of the system: Arrow calls damaged bytes an I/O error too.
            ArrowError::IoError(_, cause) if cause.raw_os_error().is_some() => (ErrorKind::Io, error.to_string()),
            _ => (ErrorKind::Execution, error.to_string()),
        },
        DataFusionError::Execution(message) => (ErrorKind::Execution, message.clone()),
        other => (ErrorKind::Execution, other.strip_backtrace()),
    }
}

/// Whether a statement may give an option that is a secret. One that is malformed may give it anywhere, so that no error shows a line of
/// it, nor a text that a parser did not expect.
pub(crate) fn may_hold_secret(sql: &str) -> bool {
    let sql = sql.to_ascii_lowercase();
    ["external", "options", "secret"].iter().any(|word| sql.contains(word))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.message.clone();
        if let Some(path) = &self.0.path
            && !text.contains(path.as_str())
        {
            match self.0.version {
                Some(version) => text.push_str(&format!(" ('{path}', version {version})")),
                None => text.push_str(&format!(" ('{path}')")),
            }
        }
        // A recovered error's source is the chain that wrapped it, which says the same once more.
        if let Some(source) = &self.0.source
            && !source.is::<DataFusionError>()
        {
            let source = source.to_string();
            if !text.contains(&source) {
                text.push_str(": ");
                text.push_str(&source);
            }
        }
        f.write_str(
            text.split('\n').map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ").as_str(),
        )
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| source.as_ref() as _)
    }
}

impl From<tinyfs::Error> for Error {
    fn from(error: tinyfs::Error) -> Self {
        Self::recovered(kind_of(error.kind()), &error, error.path(), error.version()).with_source(error)
    }
}

impl From<tinyfs::Conflict> for Error {
    fn from(conflict: tinyfs::Conflict) -> Self {
        Self::new(ErrorKind::Conflict, conflict.to_string()).with_source(conflict)
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        Self::from_datafusion(error)
    }
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        Self::from_datafusion(DataFusionError::ObjectStore(Box::new(error)))
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::new(ErrorKind::Io, "the storage failed").with_source(error)
    }
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        Self::External(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::errors::ParquetError;

    use super::*;

    fn pond_path(text: &str) -> PondPath {
        PondPath::parse(text).unwrap()
    }

    #[test]
    fn error_of_ours_comes_back_as_it_was() {
        let error = Error::new(ErrorKind::TypeConflict, "no").with_path(&pond_path("/a")).with_version(3);
        let back = Error::from_datafusion(DataFusionError::from(error));
        assert_eq!(back.kind(), ErrorKind::TypeConflict);
        assert_eq!(back.to_string(), "no ('/a', version 3)");
    }

    #[test]
    fn a_full_disk_is_no_damage() {
        let kind = |cause: std::io::Error| {
            let error = ArrowError::IoError("cannot write".to_owned(), cause);
            Error::from_datafusion(DataFusionError::ArrowError(Box::new(error), None)).kind()
        };
        assert_eq!(kind(std::io::Error::from_raw_os_error(28)), ErrorKind::Io);
        assert_eq!(kind(std::io::Error::other("it does not unpack")), ErrorKind::Execution);
    }

    #[test]
    fn error_deep_in_a_chain_keeps_its_kind_path_and_version() {
        let below = tinyfs::Error::new(tinyfs::ErrorKind::Corrupt, "the hash differs")
            .with_path(&pond_path("/a/b"))
            .with_version(7);
        let store = object_store::Error::Generic { store: "pond", source: Box::new(below) };
        let parquet = ParquetError::External(Box::new(store));
        let arrow = ArrowError::from_external_error(Box::new(DataFusionError::Shared(Arc::new(
            DataFusionError::from(parquet),
        ))));
        let error = Error::from_datafusion(DataFusionError::from(arrow).context("scan"));
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!(error.path(), Some(&pond_path("/a/b")));
        assert_eq!(error.version(), Some(7));
        assert_eq!(error.to_string(), "the hash differs ('/a/b', version 7)");
    }

    #[test]
    fn kinds_of_datafusion_errors() {
        let kind = |error| Error::from_datafusion(error).kind();
        assert_eq!(kind(DataFusionError::Plan("x".into()).context("y")), ErrorKind::Plan);
        assert_eq!(kind(DataFusionError::ResourcesExhausted("x".into())), ErrorKind::Limit);
        assert_eq!(kind(DataFusionError::NotImplemented("x".into())), ErrorKind::Unsupported);
        assert_eq!(kind(DataFusionError::Internal("x".into())), ErrorKind::Execution);
        assert_eq!(kind(DataFusionError::IoError(std::io::Error::other("x"))), ErrorKind::Io);
        let collected = DataFusionError::Collection(vec![DataFusionError::Plan("first".into())]);
        assert_eq!(Error::from_datafusion(collected).to_string(), "first");
    }

    #[test]
    fn a_missing_file_is_told_apart_however_deep() {
        let missing = Error::new(ErrorKind::Io, "there is no file './a'").for_missing_file();
        assert_eq!(missing.to_string(), "there is no file './a'");
        assert!(missing.is_missing() && !missing.is_not_found());
        let through = Error::from_datafusion(DataFusionError::from(missing).context("planning"));
        let shared = Error::shared(&Arc::new(through));
        let outer = Error::new(shared.kind(), "the view '/v' cannot be read").with_source(shared);
        assert_eq!(outer.to_string(), "the view '/v' cannot be read: there is no file './a'");
        assert!(outer.is_missing());
        assert!(!Error::new(ErrorKind::Io, "the disk is broken").is_missing());
        assert!(Error::new(ErrorKind::NotFound, "no entry '/a'").is_missing());
    }

    #[test]
    fn what_is_said_before_an_error_leaves_it_what_it_is() {
        let error = Error::new(ErrorKind::Execution, "no number").with_path(&pond_path("/a")).with_version(3);
        let error = error.with_preface("the column is text now");
        assert_eq!(error.to_string(), "the column is text now: no number ('/a', version 3)");
        assert_eq!(
            (error.kind(), error.path(), error.version()),
            (ErrorKind::Execution, Some(&pond_path("/a")), Some(3))
        );
    }

    #[test]
    fn display_is_one_line() {
        let error = Error::from_datafusion(DataFusionError::Plan("one\n  two\n".into()));
        assert_eq!(error.to_string(), "one two");
    }
}
