//! What a glob matches, and what to say when it matches nothing.

use std::sync::Arc;

use tinyfs::{Entry, Glob, GlobMatch, LinkEnds, PondPath};

use crate::catalog::{Scope, Tree};
use crate::error::{Error, ErrorKind, Result};

/// The entries that `glob` matches; the statement is noted to depend on them.
pub(crate) fn matches(scope: &Scope, tree: &Tree, glob: &Glob) -> Result<Arc<Vec<GlobMatch>>> {
    record(scope, glob);
    tree.glob(glob)
}

/// As [`matches`], without what the wildcards stand for.
pub(crate) fn entries(scope: &Scope, tree: &Tree, glob: &Glob, ends: LinkEnds) -> Result<Arc<Vec<Entry>>> {
    record(scope, glob);
    tree.glob_entries(glob, ends)
}

fn record(scope: &Scope, glob: &Glob) {
    if let Some(statement) = scope.statement() {
        match glob.as_path() {
            Some(path) => statement.record_read(&path),
            None => statement.record_glob(glob),
        }
    }
}

/// The error for a glob without a match: it names the deepest directory that exists, and what is in it.
pub(crate) fn no_match(tree: &Tree, glob: &Glob) -> Error {
    if let Some(path) = glob.as_path()
        && let Err(error) = tree.lookup(&path)
    {
        return error;
    }
    let base = glob.base();
    let directory = match tree.around(&base).and_then(|snapshot| Ok(snapshot.lookup(&base)?)) {
        Ok(entry) => entry,
        Err(error) => return Error::new(ErrorKind::NotFound, format!("nothing matches '{glob}'")).with_source(error),
    };
    let hint = match directory.node.entries() {
        Some(entries) if entries.is_empty() => format!("the directory '{base}' is empty"),
        Some(entries) => {
            let names: Vec<String> = entries.keys().take(3).map(|name| format!("'{name}'")).collect();
            let more = if entries.len() > names.len() {
                format!(" and {} more", entries.len() - names.len())
            } else {
                String::new()
            };
            format!("'{base}' has {}{more}", names.join(", "))
        }
        None => format!("'{base}' is a {}, not a directory", directory.kind().as_str()),
    };
    let error = Error::new(ErrorKind::NotFound, format!("nothing matches '{glob}': {hint}"));
    match tree.without_members(&base) {
        Ok(Some(note)) => error.with_note(&note),
        Ok(None) => error,
        Err(failed) => failed,
    }
}

/// The glob that a listing function was given: a directory without wildcards stands for the entries in it.
pub(crate) fn listing_glob(tree: &Tree, directory: &PondPath, text: Option<&str>) -> Result<Glob> {
    let glob = match text {
        Some(text) => Glob::parse_relative(directory, text)?,
        None => Glob::literal(directory),
    };
    let Some(path) = glob.as_path() else { return Ok(glob) };
    match tree.lookup(&path) {
        Ok(entry) if entry.kind().holds_entries() => Ok(Glob::parse_relative(&path, "*")?),
        _ => Ok(glob),
    }
}
