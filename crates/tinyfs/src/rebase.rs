//! Rebasing: what a transaction wrote for one state, written for a newer one, unless the two cannot both stand.
//!
//! The other side is seen by comparing the two states at the nodes this transaction touched, not by reading the other
//! transactions' operations: ids are never reused and every change of a node leaves its transaction in it, so the two
//! say the same, and the states are at hand.

use std::collections::HashMap;
use std::sync::Arc;

use crate::conflict::{Conflict, Mine, Theirs};
use crate::error::Result;
use crate::glob::{Glob, LinkEnds, entries};
use crate::log::{Action, Operation};
use crate::node::{EntryKind, Node, NodeId, Txn, WriteMode};
use crate::path::PondPath;
use crate::resolve::resolve;
use crate::state::State;
use crate::transaction::{Look, Read};
use crate::versions::Versions;

type Checked<T> = std::result::Result<T, Conflict>;

/// The operations as they must be written after `onto`, or why they cannot be. Compactions that are moot are left out.
/// `reads` are in the order in which they were made.
///
/// Each cell of the conflict table is decided here: see [`check_write`] for writes against writes, [`Worlds::check_reads`] for
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
    let mut rebased = Vec::with_capacity(operations.len());
    let mut next = onto.clone();
    // Directories that this transaction made and another one made first: theirs stands for ours.
    let mut same: HashMap<NodeId, NodeId> = HashMap::new();
    let mut waiting = reads;
    for (index, operation) in operations.iter().enumerate() {
        let worlds = Worlds { base, onto, next: &next, same: &same };
        if let Err(conflict) = worlds.check_reads(due(&mut waiting, index))? {
            return Ok(Err(conflict));
        }
        if let Action::Compact { .. } = &operation.action {
            // Nobody depends on it: where it does not fit any more it is moot, and never a conflict.
            if let Some(compaction) = fitted(base, onto, &next, operation) {
                next.apply_operation(&compaction, onto.txn().next(), onto.committed_at())?;
                rebased.push(compaction);
            }
            continue;
        }
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
            Action::Update { .. } | Action::Remove | Action::Compact { .. } => {}
        }
        next.apply_operation(&operation, onto.txn().next(), onto.committed_at())?;
        rebased.push(operation);
    }
    let worlds = Worlds { base, onto, next: &next, same: &same };
    Ok(worlds.check_reads(waiting)?.map(|()| rebased))
}

/// Takes those off `waiting` that were made before more than `done` operations. A transaction may have made very many.
fn due<'a>(waiting: &mut &'a [Read], done: usize) -> &'a [Read] {
    let count = waiting.iter().take_while(|read| read.after <= done).count();
    let (due, rest) = waiting.split_at(count);
    *waiting = rest;
    due
}

/// A compaction as it must be written, wherever the file is now; nothing if what it stands for is not there as it was.
fn fitted(base: &State, onto: &State, next: &State, operation: &Operation) -> Option<Operation> {
    let Action::Compact { first, last, mode, .. } = &operation.action else { return None };
    let node = next.node(operation.node)?;
    let versions = node.versions()?;
    let count = |state: &State| state.node(operation.node).and_then(|node| node.versions()).map_or(0, Versions::len);
    // Versions that are committed keep their numbers; own ones give theirs up to those of others.
    let same = *last <= count(base) as u64 || count(base) == count(onto);
    let fits = match mode {
        WriteMode::Replace => versions.can_compact(*first, *last),
        WriteMode::Append => versions.is_compacting(*first, *last, onto.txn().next()),
    };
    let moved = || Operation { parent: node.parent, name: Arc::clone(&node.name), ..operation.clone() };
    (same && fits).then(moved)
}

fn check_operation(base: &State, onto: &State, operation: &Operation) -> Result<Checked<()>> {
    let mine = match &operation.action {
        Action::Create { .. } => Mine::Create,
        Action::Write { mode: WriteMode::Append, .. } => Mine::Append,
        Action::Write { mode: WriteMode::Replace, .. } => Mine::Replace,
        // A compaction changes nothing that anybody reads, so it has no word of its own and never gets here.
        Action::Update { .. } | Action::Compact { .. } => Mine::Update,
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
    if mine == Mine::RemoveOrRename { check_below(base, onto, before, after) } else { Ok(Ok(())) }
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

/// Whether all below a directory that is removed or renamed is as it was.
fn check_below(base: &State, onto: &State, before: &Arc<Node>, after: &Arc<Node>) -> Result<Checked<()>> {
    let mut waiting = vec![(Arc::clone(before), Arc::clone(after))];
    while let Some((before, after)) = waiting.pop() {
        let (Some(old), Some(new)) = (before.entries(), after.entries()) else { continue };
        for (name, id) in new {
            let Some(child) = onto.node(*id) else { continue };
            if child.txn > base.txn() {
                return Ok(Err(Conflict::new(&onto.path_of(*id)?, Mine::RemoveOrRename, Theirs::Changed, child.txn)));
            }
            if old.get(name) == Some(id)
                && let Some(known) = base.node(*id)
            {
                waiting.push((Arc::clone(known), Arc::clone(child)));
            }
        }
        if let Some((_, gone)) = old.iter().find(|(name, id)| new.get(*name) != Some(*id)) {
            let path = base.path_of(*gone)?;
            return Ok(Err(Conflict::new(&path, Mine::RemoveOrRename, Theirs::RemovedOrRenamed, onto.txn())));
        }
    }
    Ok(Ok(()))
}

/// The states that a read is checked in.
struct Worlds<'a> {
    base: &'a State,
    onto: &'a State,
    /// `onto` with the operations before the read.
    next: &'a State,
    /// Own directories and those of others that stand for them.
    same: &'a HashMap<NodeId, NodeId>,
}

impl Worlds<'_> {
    /// Whether what was read shows the same now.
    fn check_reads(&self, reads: &[Read]) -> Result<Checked<()>> {
        for read in reads {
            let checked = match &read.look {
                Look::Path(path) => self.check_path(&read.work, path)?,
                // What a link leads to, and what link it is: either may have been read.
                Look::Glob(glob) => match self.check_glob(&read.work, glob, LinkEnds::Follow)? {
                    Ok(()) => self.check_glob(&read.work, glob, LinkEnds::Keep)?,
                    conflict => conflict,
                },
            };
            if checked.is_err() {
                return Ok(checked);
            }
        }
        Ok(Ok(()))
    }

    fn check_path(&self, work: &State, path: &PondPath) -> Result<Checked<()>> {
        let (before, after) = (found(work, path)?, found(self.next, path)?);
        let theirs = match (&before, &after) {
            (None, None) => return Ok(Ok(())),
            (None, Some(_)) => Theirs::Created,
            (Some(_), None) => Theirs::RemovedOrRenamed,
            (Some(before), Some(after)) if self.is_same(before, after) => return Ok(Ok(())),
            (Some(before), Some(after)) if before.id == after.id => {
                let written = match (self.base.node(before.id), self.onto.node(after.id)) {
                    (Some(before), Some(after)) => last_write(before, after),
                    _ => None,
                };
                match written {
                    Some(WriteMode::Append) => Theirs::Appended,
                    Some(WriteMode::Replace) => Theirs::Replaced,
                    None => Theirs::Changed,
                }
            }
            _ => Theirs::Changed,
        };
        let winner = after.map_or_else(|| self.onto.txn(), |node| self.winner(&node));
        Ok(Err(Conflict::new(path, Mine::Read, theirs, winner)))
    }

    fn check_glob(&self, work: &State, glob: &Glob, ends: LinkEnds) -> Result<Checked<()>> {
        let (before, after) = (entries(work, glob, ends)?, entries(self.next, glob, ends)?);
        let known: HashMap<&PondPath, &Arc<Node>> = before.iter().map(|entry| (&entry.path, &entry.node)).collect();
        for entry in &after {
            let theirs = match known.get(&entry.path) {
                Some(before) if self.is_same(before, &entry.node) => continue,
                Some(_) => Theirs::Changed,
                None => Theirs::Created,
            };
            return Ok(Err(Conflict::new(&entry.path, Mine::Read, theirs, self.winner(&entry.node))));
        }
        if after.len() == before.len() {
            return Ok(Ok(()));
        }
        Ok(Err(Conflict {
            place: glob.to_string(),
            mine: Mine::Read,
            theirs: Theirs::RemovedOrRenamed,
            winner: self.onto.txn(),
        }))
    }

    /// Whether two nodes are one that others have left alone. What this transaction did to it is the same in both.
    fn is_same(&self, before: &Arc<Node>, after: &Arc<Node>) -> bool {
        let changed = |state: &State, node: &Arc<Node>| state.node(node.id).map(|node| node.txn);
        before.id == after.id && changed(self.base, before) == changed(self.onto, after)
            || self.same.get(&before.id) == Some(&after.id)
    }

    /// The transaction of others that changed the node last, or moved it with a directory above it, which leaves no mark in the node.
    fn winner(&self, node: &Arc<Node>) -> Txn {
        let mut at = self.onto.node(node.id);
        while let Some(node) = at
            && node.id != NodeId::ROOT
        {
            if node.txn > self.base.txn() {
                return node.txn;
            }
            at = self.onto.node(node.parent);
        }
        self.onto.txn()
    }
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
    state.node(*state.node(parent)?.entries()?.get(name)?).map(Arc::clone)
}
