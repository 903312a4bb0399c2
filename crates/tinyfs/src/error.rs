//! The error of this layer: a kind to act on, the place, and the cause.

use std::fmt;

use crate::path::PondPath;

/// A result of this layer.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What went wrong, as far as a caller would act differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No entry has this path. The message names the deepest directory that exists and its nearest entries.
    NotFound,
    /// An entry with this path is there already.
    AlreadyExists,
    /// A component of the path, or its end, is not a directory.
    NotADirectory,
    /// The operation needs a file, and this is something else.
    NotAFile,
    /// A directory that holds entries was to be removed without them.
    NotEmpty,
    /// The text is not a path; see [`PondPath`].
    InvalidPath,
    /// The text is not a glob, or a glob that needs too much backtracking.
    InvalidGlob,
    /// More symbolic links than [`MAX_SYMLINKS`](crate::MAX_SYMLINKS) on the way.
    SymlinkLoop,
    /// The store or the transaction is read-only.
    ReadOnly,
    /// Stored data is not what was written: a hash differs, a row is malformed, a file of the log is gone.
    Corrupt,
    /// The store cannot do this.
    Unsupported,
    /// The storage below failed.
    Io,
}

/// An error of TinyFS or of a store: kind, path and version where known, and the cause as [`source`](std::error::Error::source).
///
/// `Display` is one line, and already names the path.
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

    pub(crate) fn invalid_path(message: String) -> Self {
        Self::new(ErrorKind::InvalidPath, message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(path) = &self.0.path
            && !self.0.message.contains(path.as_str())
        {
            write!(f, " ('{path}'")?;
            if let Some(version) = self.0.version {
                write!(f, ", version {version}")?;
            }
            f.write_str(")")?;
        } else if let Some(version) = self.0.version {
            write!(f, " (version {version})")?;
        }
        if let Some(source) = &self.0.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| source.as_ref() as _)
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::new(ErrorKind::Io, "the storage failed").with_source(error)
    }
}
