//! From the errors below to [`tinyfs::Error`]: what they mean to a caller.

use std::fmt;

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
    Error::new(kind, what.to_owned()).with_source(Brief(source))
}

/// Delta's errors may hold listings and backtraces. One line of them is enough for a user.
#[derive(Debug)]
struct Brief(DeltaTableError);

const BRIEF: usize = 200;

impl fmt::Display for Brief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let line = text.lines().next().unwrap_or_default();
        let end = line.char_indices().nth(BRIEF).map_or(line.len(), |(end, _)| end);
        f.write_str(&line[..end])?;
        if end < line.len() { f.write_str("…") } else { Ok(()) }
    }
}

impl std::error::Error for Brief {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// Work on another thread did not end by itself.
pub(crate) fn lost(source: tokio::task::JoinError) -> Error {
    io("a task of the store ended early", source)
}
