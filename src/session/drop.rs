//! `DROP TABLE`, `DROP VIEW`, `DROP SCHEMA`.

use datafusion::sql::sqlparser::ast::ObjectName;
use tinyfs::{EntryKind, PondPath, RemoveMode, Snapshot, Transaction};

use crate::catalog::{Member, Scope, is_family};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::FactoryChild;
use crate::session::StatementResult;
use crate::session::names::Names;
use crate::session::parser::DropKind;

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
            Err(error) if error.is_not_found() && if_exists => continue,
            Err(error) => return Err(member_error(scope, transaction, &path, kind)?.unwrap_or(error)),
        };
        let is_dynamic = found == EntryKind::DynamicDirectory;
        let mode =
            if cascade && (kind == DropKind::Schema || is_dynamic) { RemoveMode::Recursive } else { RemoveMode::Empty };
        transaction.remove(&path, mode).map_err(|error| match error.kind() {
            tinyfs::ErrorKind::NotEmpty if is_dynamic => {
                let message = format!(
                    "runs of '{path}' have stored entries in it; DROP TABLE '{path}' CASCADE drops it with them"
                );
                Error::new(ErrorKind::NotEmpty, message).with_path(&path)
            }
            tinyfs::ErrorKind::NotEmpty => {
                // Without members it shows in no listing.
                let family = family_below(&transaction.snapshot(), &path);
                let holds = family.map(|family| format!(": it has the family '{family}'")).unwrap_or_default();
                let message = format!(
                    "the directory '{path}' is not empty{holds}; DROP SCHEMA \"{path}\" CASCADE drops it with everything in it"
                );
                Error::new(ErrorKind::NotEmpty, message).with_path(&path)
            }
            _ => error.into(),
        })?;
    }
    Ok(StatementResult::Done)
}

/// What is wrong with dropping a member of a family, or what a factory shows: these are nowhere stored.
fn member_error(scope: &Scope, transaction: &Transaction, path: &PondPath, kind: DropKind) -> Result<Option<Error>> {
    if kind == DropKind::Schema {
        return Ok(None);
    }
    let found = scope.tree_of(transaction.snapshot()).lookup(path);
    if let Ok(entry) = &found
        && let Some(child) = FactoryChild::of(&entry.node)?
    {
        let message = format!("'{path}' is not in the pond: '{}' shows what its source has", child.entry);
        return Ok(Some(Error::new(ErrorKind::WrongKind, message).with_path(path)));
    }
    let Some(member) = found.ok().map(|entry| Member::of(&entry.node)).transpose()?.flatten() else { return Ok(None) };
    let family = member.path;
    let message = format!("'{path}' is a member of the family '{family}'; DROP VIEW '{family}' drops them all");
    Ok(Some(Error::new(ErrorKind::WrongKind, message).with_path(path)))
}

/// A family of views in a directory.
fn family_below(snapshot: &Snapshot, directory: &PondPath) -> Option<PondPath> {
    let state = snapshot.state();
    let families = state.views().filter(|node| is_family(node));
    families.filter_map(|node| state.path_of(node.id).ok()).find(|path| path.starts_with(directory))
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
