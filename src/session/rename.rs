//! `ALTER TABLE … RENAME TO`.

use tinyfs::{EntryKind, PondPath, Transaction};

use crate::catalog::{Scope, Template, is_family};
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
