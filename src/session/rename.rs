//! `ALTER TABLE … RENAME TO`.

use tinyfs::{EntryKind, PondPath, Snapshot, Transaction};

use crate::catalog::{Scope, Template, ViewDefinition, check_family, is_family};
use crate::error::{Error, ErrorKind, Result};
use crate::session::shown;

/// Refuses to rename what is not stored, and a new name that would make a family of a view, or a view of a family, or other captures.
pub(super) fn check(scope: &Scope, transaction: &Transaction, from: &PondPath, to: &PondPath) -> Result<()> {
    let entry = match transaction.snapshot().lookup_link(from) {
        Ok(entry) => entry,
        Err(_) => {
            let advice = |family: &PondPath| format!("ALTER TABLE '{family}' RENAME TO … renames them all");
            // What else is wrong is told by the renaming itself.
            return shown::change_error(scope, transaction, from, advice)?.map_or(Ok(()), Err);
        }
    };
    if entry.kind() != EntryKind::View {
        return Ok(());
    }
    let captures = |path: &PondPath| -> Result<Vec<_>> {
        Ok(Template::parse(path)?.map(|template| template.captures().to_vec()).unwrap_or_default())
    };
    let before = if is_family(&entry.node) { captures(from)? } else { Vec::new() };
    // Its suppliers know the captures by their places.
    if before != captures(to)? {
        let message = format!("'{from}' cannot be renamed to '{to}': that has other captures; create it anew");
        return Err(Error::new(ErrorKind::Unsupported, message).with_path(from));
    }
    Ok(())
}

/// What to warn of now that the directory `from` is `to`: a view keeps the paths that it reads, relative ones by the directory that it was made in.
///
/// # Errors
/// That of a state that is damaged.
pub(super) fn left_behind(snapshot: &Snapshot, from: &PondPath, to: &PondPath) -> Result<Option<String>> {
    if snapshot.lookup_link(to)?.kind() != EntryKind::Directory {
        return Ok(None);
    }
    let state = snapshot.state();
    let mut views = Vec::new();
    for node in state.views() {
        let path = state.path_of(node.id)?;
        // One that is damaged is told of when it is read.
        let Ok(definition) = ViewDefinition::from_attributes(&node.attributes, &path) else { continue };
        if definition.inputs.iter().any(|input| input.is_below(from)) {
            views.push(path);
        }
    }
    views.sort();
    Ok(views.first().map(|first| {
        let (what, look) = match views.len() {
            1 => (format!("the view '{first}' reads"), "looks"),
            many => (format!("{many} views, the first of them '{first}', read"), "look"),
        };
        format!(
            "{what} what was in '{from}', and still {look} there: CREATE SYMLINK '{from}' TO '{to}' leads on, or make them anew"
        )
    }))
}

/// What to warn of where a family, or a directory with families in it, has been renamed to `path`.
///
/// # Errors
/// For a family that reads itself under its new name.
pub(super) fn warnings(snapshot: &Snapshot, path: &PondPath) -> Result<Option<String>> {
    let entry = snapshot.lookup_link(path)?;
    let state = snapshot.state();
    let mut warning = None;
    for node in state.views().filter(|node| is_family(node)) {
        let family = state.path_of(node.id)?;
        if family.starts_with(&entry.path) {
            let told = check_family(snapshot, &family)?;
            warning = warning.or(told);
        }
    }
    Ok(warning)
}
