//! `DROP TABLE`, `DROP VIEW`, `DROP SCHEMA`.

use datafusion::sql::sqlparser::ast::ObjectName;
use tinyfs::{EntryKind, PondPath, RemoveMode, Transaction};

use crate::catalog::Scope;
use crate::error::{Error, ErrorKind, Result};
use crate::session::names::Names;
use crate::session::parser::DropKind;
use crate::session::{StatementResult, shown};

/// Removes each of `dropped`, or none of them.
pub(super) fn entries(
    scope: &Scope,
    transaction: &mut Transaction,
    names: &Names,
    kind: DropKind,
    dropped: &[ObjectName],
    if_exists: bool,
    cascade: bool,
) -> Result<StatementResult> {
    for name in dropped {
        let path = if kind == DropKind::Schema { names.directory(name)? } else { names.path(name)? };
        let found = match entry_kind(transaction, &path) {
            Ok(found) => check(&path, kind, found).map(|()| found)?,
            Err(error) => {
                let advice = |family: &PondPath| format!("DROP VIEW '{family}' drops them all");
                match shown::change_error(scope, transaction, &path, advice)? {
                    // It is there, so that IF EXISTS does not excuse it.
                    Some(shown) => return Err(shown),
                    None if error.is_not_found() && if_exists => continue,
                    None => return Err(error),
                }
            }
        };
        let is_dynamic = found == EntryKind::DynamicDirectory;
        let mode =
            if cascade && (kind == DropKind::Schema || is_dynamic) { RemoveMode::Recursive } else { RemoveMode::Empty };
        if let Err(error) = transaction.remove(&path, mode) {
            return Err(match error.kind() {
                tinyfs::ErrorKind::NotEmpty if is_dynamic => {
                    let message = format!(
                        "runs of '{path}' have stored entries in it; DROP TABLE '{path}' CASCADE drops it with them"
                    );
                    Error::new(ErrorKind::NotEmpty, message).with_path(&path)
                }
                tinyfs::ErrorKind::NotEmpty => shown::not_empty(&transaction.snapshot(), &path)?,
                _ => error.into(),
            });
        }
    }
    Ok(StatementResult::Done)
}

fn entry_kind(transaction: &Transaction, path: &PondPath) -> Result<EntryKind> {
    Ok(transaction.snapshot().lookup_link(path)?.kind())
}

fn check(path: &PondPath, kind: DropKind, found: EntryKind) -> Result<()> {
    let right = match found {
        EntryKind::File | EntryKind::Symlink | EntryKind::Dynamic | EntryKind::DynamicDirectory => {
            (DropKind::Table, "TABLE")
        }
        EntryKind::View => (DropKind::View, "VIEW"),
        EntryKind::Directory => (DropKind::Schema, "SCHEMA"),
    };
    if right.0 == kind {
        return Ok(());
    }
    let message = format!("'{path}' is a {}; DROP {} drops it", found.as_str(), right.1);
    Err(Error::new(ErrorKind::WrongKind, message).with_path(path))
}
