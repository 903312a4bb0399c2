//! `ALTER TABLE … RENAME TO`.

use tinyfs::{EntryKind, PondPath, Snapshot};

use crate::catalog::{Template, check_family, is_family};
use crate::error::{Error, ErrorKind, Result};

/// Refuses a new name that would make a family of a view, or a view of a family, or other captures.
pub(super) fn check(snapshot: &Snapshot, from: &PondPath, to: &PondPath) -> Result<()> {
    let entry = match snapshot.lookup_link(from) {
        Ok(entry) => entry,
        // To be told by the renaming itself.
        Err(_) => return Ok(()),
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

/// What to warn of where a family has been renamed to `path`.
///
/// # Errors
/// For a family that reads itself under this name.
pub(super) fn warnings(snapshot: &Snapshot, path: &PondPath) -> Result<Option<String>> {
    let entry = snapshot.lookup_link(path)?;
    if is_family(&entry.node) { check_family(snapshot, &entry.path) } else { Ok(None) }
}
