//! From the errors below to [`tinyfs::Error`]: what they mean to a caller.

use deltalake_core::DeltaTableError;
use object_store::path::Path;
use tinyfs::{Error, ErrorKind};

/// Stored data is not what was written.
pub(crate) fn corrupt(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}

/// The storage below failed at `what`.
pub(crate) fn io(what: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Io, what).with_source(source)
}

/// An object that the log names could not be read. That it is gone is damage, not an answer.
pub(crate) fn unreadable(path: &Path, what: &str, source: object_store::Error) -> Error {
    match source {
        object_store::Error::NotFound { .. } => corrupt(format!("{what} is gone: {path}")).with_source(source),
        source => io(format!("cannot read {what}: {path}"), source),
    }
}

/// A write through the object store failed.
pub(crate) fn unwritable(path: &Path, source: object_store::Error) -> Error {
    io(format!("cannot write {path}"), source)
}

/// Delta's own reader failed on the table as a whole.
pub(crate) fn delta(what: &str, source: DeltaTableError) -> Error {
    let kind = match &source {
        DeltaTableError::ObjectStore { source: object_store::Error::NotFound { .. } } => ErrorKind::Corrupt,
        DeltaTableError::ObjectStore { .. } | DeltaTableError::Io { .. } => ErrorKind::Io,
        // The kernel's error type is not exported by delta-rs, so its text is all there is to tell a failing disk or
        // network from a log that does not parse.
        DeltaTableError::KernelError(inner) if inner.to_string().contains("object store") => ErrorKind::Io,
        _ => ErrorKind::Corrupt,
    };
    Error::new(kind, what.to_owned()).with_source(source)
}

/// Work on another thread did not end by itself.
pub(crate) fn lost(source: tokio::task::JoinError) -> Error {
    io("a task of the store ended early", source)
}
