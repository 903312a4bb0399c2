//! Errors for what a pond shows and does not store: members of families, and what factories show.

use std::collections::BTreeSet;

use tinyfs::{EntryKind, PondPath, Snapshot, Transaction};

use crate::catalog::{Member, Scope, is_family};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::FactoryChild;

/// What is wrong with changing what is at `path`, where nothing is stored: a member of a family, a directory of members, or what a factory
/// shows. `advice` says of a family what changes all of its members. `None` where nothing is shown either.
///
/// # Errors
/// What finding out says, such as that of a source that cannot be listed.
pub(super) fn change_error(
    scope: &Scope,
    transaction: &Transaction,
    path: &PondPath,
    advice: impl Fn(&PondPath) -> String,
) -> Result<Option<Error>> {
    let tree = scope.tree_of(transaction.snapshot());
    let entry = match tree.lookup(path) {
        Ok(entry) => entry,
        // That nothing is stored there is told by the change itself.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::WrongKind) => return Ok(None),
        Err(error) => return Err(error),
    };
    let refuse = |message: String| Ok(Some(Error::new(ErrorKind::WrongKind, message).with_path(path)));
    if let Some(child) = FactoryChild::of(&entry.node)? {
        return refuse(format!("'{path}' is not in the pond: '{}' shows what its source has", child.entry));
    }
    if let Some(member) = Member::of(&entry.node)? {
        let family = member.path;
        return refuse(format!("'{path}' is a member of the family '{family}'; {}", advice(&family)));
    }
    if entry.kind() != EntryKind::Directory {
        return Ok(None);
    }
    let families: Vec<PondPath> = families_of(&tree.around(path)?, &entry.path)?.into_iter().collect();
    match families.as_slice() {
        [] => Ok(None),
        [family] => refuse(format!("'{path}' is a directory of members of the family '{family}'; {}", advice(family))),
        families => refuse(format!("'{path}' is a directory of members of the {}", named(families))),
    }
}

/// The families of the members below a directory.
fn families_of(snapshot: &Snapshot, directory: &PondPath) -> Result<BTreeSet<PondPath>> {
    let mut families = BTreeSet::new();
    let mut waiting = vec![directory.clone()];
    while let Some(at) = waiting.pop() {
        for entry in snapshot.list(&at)? {
            if let Some(member) = Member::of(&entry.node)? {
                let _ = families.insert(member.path);
            } else if entry.kind() == EntryKind::Directory {
                waiting.push(entry.path);
            }
        }
    }
    Ok(families)
}

/// The error for dropping a directory that has something in it. Families are named, where there is nothing else: no listing shows them.
pub(super) fn not_empty(snapshot: &Snapshot, path: &PondPath) -> Result<Error> {
    let families = families_alone(snapshot, path)?;
    let why = if families.is_empty() { String::new() } else { format!(": it has the {}", named(&families)) };
    let message = format!(
        "the directory '{path}' is not empty{why}; DROP SCHEMA \"{path}\" CASCADE drops it with everything in it"
    );
    Ok(Error::new(ErrorKind::NotEmpty, message).with_path(path))
}

/// The families below a directory; none, where there is anything else but directories.
fn families_alone(snapshot: &Snapshot, directory: &PondPath) -> Result<Vec<PondPath>> {
    let (mut families, mut waiting) = (Vec::new(), vec![directory.clone()]);
    while let Some(at) = waiting.pop() {
        for entry in snapshot.list(&at)? {
            match entry.kind() {
                EntryKind::Directory => waiting.push(entry.path),
                EntryKind::View if is_family(&entry.node) => families.push(entry.path),
                _ => return Ok(Vec::new()),
            }
        }
    }
    families.sort();
    Ok(families)
}

fn named(families: &[PondPath]) -> String {
    let names: Vec<String> = families.iter().map(|family| format!("'{family}'")).collect();
    let what = if names.len() == 1 { "family" } else { "families" };
    format!("{what} {}", names.join(", "))
}
