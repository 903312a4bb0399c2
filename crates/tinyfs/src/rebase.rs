//! Rebasing: what a transaction wrote for one state, written for a newer one, unless the two cannot both stand.
//!
//! The other side is seen by comparing the two states at the nodes this transaction touched, not by reading the other
//! transactions' operations: ids are never reused and every change of a node leaves its transaction in it, so the two
//! say the same, and the states are at hand.

use std::collections::HashMap;
use std::sync::Arc;

use crate::conflict::{Conflict, Mine, Theirs};
use crate::error::Result;
use crate::glob::{LinkEnds, expand};
use crate::log::{Action, Operation};
use crate::node::{Body, EntryKind, Node, NodeId, Txn, WriteMode};
use crate::path::PondPath;
use crate::resolve::resolve;
use crate::state::State;
use crate::transaction::Read;

type Checked<T> = std::result::Result<T, Conflict>;

/// The operations as they must be written after `onto`, or why they cannot be.
///
/// Each cell of the conflict table is decided here: see [`check_write`] for writes against writes, [`check_reads`] for
/// what was read.
pub(crate) fn rebase(
    base: &State,
    onto: &State,
    operations: &[Operation],
    reads: &[Read],
) -> Result<Checked<Vec<Operation>>> {
    if base.txn() == onto.txn() {
        return Ok(Ok(operations.to_vec()));
    }
    for read in reads {
        if let Err(conflict) = check_read(base, onto, read)? {
            return Ok(Err(conflict));
        }
    }
    let mut rebased = Vec::with_capacity(operations.len());
    let mut next = onto.clone();
    // Directories that this transaction made and another one made first: theirs stands for ours.
    let mut same: HashMap<NodeId, NodeId> = HashMap::new();
    for operation in operations {
        if let Err(conflict) = check_operation(base, onto, operation)? {
            return Ok(Err(conflict));
        }
        let mut operation = operation.clone();
        if let Some(theirs) = same.get(&operation.parent) {
            operation.parent = *theirs;
        }
        if let Some(taken) = same.get(&operation.node).and_then(|theirs| next.node(*theirs)) {
            // It was made and then changed or removed here; done to their directory that would be theirs to lose.
            return Ok(Err(Conflict::new(&next.path_of(taken.id)?, Mine::Create, Theirs::Created, taken.txn)));
        }
        match &mut operation.action {
            Action::Create { kind, .. } => {
                if let Some(taken) = entry_at(&next, operation.parent, &operation.name) {
                    if *kind == EntryKind::Directory && taken.kind() == EntryKind::Directory {
                        let _ = same.insert(operation.node, taken.id);
                        continue;
                    }
                    return Ok(Err(Conflict::new(&next.path_of(taken.id)?, Mine::Create, Theirs::Created, taken.txn)));
                }
            }
            Action::Rename => {
                if let Some(taken) = entry_at(&next, operation.parent, &operation.name) {
                    return Ok(Err(Conflict::new(&next.path_of(taken.id)?, Mine::Create, Theirs::Created, taken.txn)));
                }
            }
            Action::Write { version, .. } => {
                if let Some(versions) = next.node(operation.node).and_then(|node| node.versions()) {
                    *version = versions.len() as u64 + 1;
                }
            }
            Action::Update { .. } | Action::Remove => {}
        }
        next.apply_operation(&operation, onto.txn().next(), onto.committed_at())?;
        rebased.push(operation);
    }
    Ok(Ok(rebased))
}

fn check_operation(base: &State, onto: &State, operation: &Operation) -> Result<Checked<()>> {
    let mine = match &operation.action {
        Action::Create { .. } => Mine::Create,
        Action::Write { mode: WriteMode::Append, .. } => Mine::Append,
        Action::Write { mode: WriteMode::Replace, .. } => Mine::Replace,
        Action::Update { .. } => Mine::Update,
        Action::Remove | Action::Rename => Mine::RemoveOrRename,
    };
    // What this transaction made itself is in neither state, and nobody else can have touched it.
    if base.node(operation.parent).is_some()
        && let Err(conflict) = check_place(base, onto, operation.parent, mine)?
    {
        return Ok(Err(conflict));
    }
    let Some(before) = base.node(operation.node) else { return Ok(Ok(())) };
    if let Err(conflict) = check_place(base, onto, operation.node, mine)? {
        return Ok(Err(conflict));
    }
    let Some(after) = onto.node(operation.node) else { return Ok(Ok(())) };
    check_write(base, onto, before, after, mine)
}

/// Whether the node is still there, under the same path.
fn check_place(base: &State, onto: &State, id: NodeId, mine: Mine) -> Result<Checked<()>> {
    let mut at = id;
    while at != NodeId::ROOT {
        let moved = match (base.node(at), onto.node(at)) {
            (Some(before), Some(after)) if before.parent == after.parent && before.name == after.name => {
                at = before.parent;
                continue;
            }
            (_, Some(after)) => after.txn,
            (_, None) => onto.txn(),
        };
        return Ok(Err(Conflict::new(&base.path_of(id)?, mine, Theirs::RemovedOrRenamed, moved)));
    }
    Ok(Ok(()))
}

/// Whether what the other transactions did to the node leaves room for what this one does.
fn check_write(base: &State, onto: &State, before: &Arc<Node>, after: &Arc<Node>, mine: Mine) -> Result<Checked<()>> {
    let theirs = match (mine, last_write(before, after)) {
        (Mine::Append, Some(WriteMode::Append)) if before.attributes == after.attributes => None,
        (_, Some(WriteMode::Append)) => Some(Theirs::Appended),
        (_, Some(WriteMode::Replace)) => Some(Theirs::Replaced),
        (_, None) if before.txn != after.txn => Some(Theirs::Changed),
        (_, None) => None,
    };
    if let Some(theirs) = theirs {
        return Ok(Err(Conflict::new(&base.path_of(before.id)?, mine, theirs, after.txn)));
    }
    if mine == Mine::RemoveOrRename
        && let Some((changed, winner)) = changed_below(onto, after, base.txn())
    {
        return Ok(Err(Conflict::new(&onto.path_of(changed)?, mine, Theirs::Changed, winner)));
    }
    Ok(Ok(()))
}

/// The strongest mode among the versions that are in `after` only.
fn last_write(before: &Node, after: &Node) -> Option<WriteMode> {
    let (before, after) = (before.versions()?, after.versions()?);
    let mut mode = None;
    for number in before.len() as u64 + 1..=after.len() as u64 {
        match after.get(number)?.mode {
            WriteMode::Replace => return Some(WriteMode::Replace),
            WriteMode::Append => mode = Some(WriteMode::Append),
        }
    }
    mode
}

/// Something below `node` that changed after transaction `since`.
fn changed_below(state: &State, node: &Arc<Node>, since: Txn) -> Option<(NodeId, Txn)> {
    let mut waiting = vec![Arc::clone(node)];
    while let Some(node) = waiting.pop() {
        if let Body::Directory(entries) = &node.body {
            for child in entries.values().filter_map(|id| state.node(*id)) {
                if child.txn > since {
                    return Some((child.id, child.txn));
                }
                waiting.push(Arc::clone(child));
            }
        }
    }
    None
}

fn check_read(base: &State, onto: &State, read: &Read) -> Result<Checked<()>> {
    match read {
        Read::Path(path) => {
            let (before, after) = (found(base, path)?, found(onto, path)?);
            if before.as_ref().map(identity) == after.as_ref().map(identity) {
                return Ok(Ok(()));
            }
            let theirs = match (&before, &after) {
                (None, _) => Theirs::Created,
                (_, None) => Theirs::RemovedOrRenamed,
                (Some(before), Some(after)) if before.id == after.id => match last_write(before, after) {
                    Some(WriteMode::Append) => Theirs::Appended,
                    Some(WriteMode::Replace) => Theirs::Replaced,
                    None => Theirs::Changed,
                },
                _ => Theirs::Changed,
            };
            let winner = after.map_or_else(|| onto.txn(), |node| node.txn.max(base.txn().next()));
            Ok(Err(Conflict::new(path, Mine::Read, theirs, winner)))
        }
        Read::Glob(glob) => {
            let (before, after) = (expand(base, glob, LinkEnds::Follow)?, expand(onto, glob, LinkEnds::Follow)?);
            let known: HashMap<&PondPath, (NodeId, Txn)> =
                before.iter().map(|entry| (&entry.path, identity(&entry.node))).collect();
            for entry in &after {
                let (theirs, node) = match known.get(&entry.path) {
                    Some(before) if *before == identity(&entry.node) => continue,
                    Some(_) => (Theirs::Changed, &entry.node),
                    None => (Theirs::Created, &entry.node),
                };
                return Ok(Err(Conflict::new(&entry.path, Mine::Read, theirs, node.txn)));
            }
            if after.len() == before.len() {
                return Ok(Ok(()));
            }
            Ok(Err(Conflict {
                place: glob.to_string(),
                mine: Mine::Read,
                theirs: Theirs::RemovedOrRenamed,
                winner: onto.txn(),
            }))
        }
    }
}

fn identity(node: &Arc<Node>) -> (NodeId, Txn) {
    (node.id, node.txn)
}

/// What the path leads to; every failure to lead anywhere (nothing there, a file on the way, a loop) is `None`,
/// since a reader was told so and it is what must not have changed.
fn found(state: &State, path: &PondPath) -> Result<Option<Arc<Node>>> {
    use crate::error::ErrorKind::{NotADirectory, NotFound, SymlinkLoop};
    match resolve(state, path, true) {
        Ok((_, node)) => Ok(Some(node)),
        Err(error) if matches!(error.kind(), NotFound | NotADirectory | SymlinkLoop) => Ok(None),
        Err(error) => Err(error),
    }
}

fn entry_at(state: &State, parent: NodeId, name: &str) -> Option<Arc<Node>> {
    let Body::Directory(entries) = &state.node(parent)?.body else { return None };
    state.node(*entries.get(name)?).map(Arc::clone)
}
