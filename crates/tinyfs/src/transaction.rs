//! [`Transaction`]: changes over a snapshot, committed all or not at all.

use std::sync::Arc;

use crate::clock::{Clock, SystemClock};
use crate::conflict::Conflict;
use crate::error::{Error, ErrorKind, Result};
use crate::glob::Glob;
use crate::log::{Action, Commit, CommitInfo, Operation};
use crate::node::{Attributes, EntryKind, NodeId, Part, WriteMode};
use crate::path::PondPath;
use crate::persistence::Appended;
use crate::rebase;
use crate::resolve::{Located, locate};
use crate::snapshot::{Entry, Snapshot};
use crate::state::State;

/// How a transaction is to behave.
#[derive(Debug, Clone)]
pub struct TransactionOptions {
    /// Refuse every change.
    pub read_only: bool,
    /// Tells the time of the commit.
    pub clock: Arc<dyn Clock>,
}

impl Default for TransactionOptions {
    fn default() -> Self {
        Self { read_only: false, clock: Arc::new(SystemClock) }
    }
}

/// What a new entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewEntry {
    /// A file without versions.
    File,
    /// A link to this path, absolute or relative to the link's directory. It need not exist.
    Symlink(Arc<str>),
    /// A derived file with this query.
    View(Arc<str>),
    /// A table made by a factory, with this configuration.
    Dynamic(Arc<str>),
    /// A directory made by a factory, with this configuration and nothing in it.
    DynamicDirectory(Arc<str>),
}

/// Whether a directory goes with what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoveMode {
    /// Only if nothing is in it.
    Empty,
    /// With everything below it.
    Recursive,
}

/// What became of a commit.
#[derive(Debug)]
pub enum CommitOutcome {
    /// It is durable, and this is the pond after it.
    Committed(Snapshot),
    /// The transaction changed nothing, or compacted what was replaced meanwhile, so nothing was committed.
    Unchanged(Snapshot),
    /// Another transaction was first. Nothing was written.
    Conflicted(Conflict),
}

/// What a transaction looked at, and when. At commit the look must show the same, if the transaction writes.
///
/// It saw its own changes so far, so that the same look, at the same place among its changes, is what must be repeated:
/// a link or a name that it made itself is in no other state.
#[derive(Debug, Clone)]
pub(crate) struct Read {
    pub(crate) look: Look,
    /// How many operations of the transaction had been done.
    pub(crate) after: usize,
    /// The pond with these.
    pub(crate) work: Arc<State>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Look {
    Path(PondPath),
    Glob(Glob),
}

/// Changes over a snapshot. It sees its own; nobody else does before [`commit`](Self::commit). Dropping it rolls back.
///
/// The isolation level is serializable: a transaction that writes is refused when something that it
/// [has read](Self::record_read) was changed by another one meanwhile.
#[derive(Debug)]
pub struct Transaction {
    base: Snapshot,
    work: Arc<State>,
    operations: Vec<Operation>,
    /// In the order in which they were made, and so by how many operations came before.
    reads: Vec<Read>,
    options: TransactionOptions,
}

/// A place in a transaction to go back to; see [`Transaction::roll_back_to`].
#[derive(Debug)]
pub struct Savepoint {
    work: Arc<State>,
    operations: usize,
}

impl Transaction {
    /// Starts over `base`.
    pub fn begin(base: Snapshot, options: TransactionOptions) -> Self {
        let work = Arc::clone(base.state());
        Self { base, work, operations: Vec::new(), reads: Vec::new(), options }
    }

    /// The snapshot it started from.
    pub fn base(&self) -> &Snapshot {
        &self.base
    }

    /// The pond with this transaction's changes so far.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(Arc::clone(&self.work), Arc::clone(self.base.store()))
    }

    /// Whether it has changed nothing.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Notes that the result depends on what `path` leads to.
    pub fn record_read(&mut self, path: &PondPath) {
        self.record(Look::Path(path.clone()));
    }

    /// Notes that the result depends on what `glob` matches, new entries included, and on the symbolic links among them.
    pub fn record_glob(&mut self, glob: &Glob) {
        self.record(Look::Glob(glob.clone()));
    }

    fn record(&mut self, look: Look) {
        let after = self.operations.len();
        // Those at the same place are the last ones: to look through all would make each statement of a long transaction slower.
        if !self.reads.iter().rev().take_while(|read| read.after == after).any(|read| read.look == look) {
            self.reads.push(Read { look, after, work: Arc::clone(&self.work) });
        }
    }

    /// Whether all that it has read, before any change of its own, is the same in `other`.
    ///
    /// # Errors
    /// As [`Snapshot::glob`].
    pub fn reads_hold_in(&self, other: &Snapshot) -> Result<bool> {
        Ok(rebase::rebase(self.base.state(), other.state(), &[], &self.reads)?.is_ok())
    }

    /// Makes the directory `path`, and those above it that are missing.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) when something has that path, a directory included.
    pub fn create_directory(&mut self, path: &PondPath) -> Result<()> {
        self.whole(|transaction| {
            let (parent, name) = transaction.place_for(path)?;
            let _ = transaction.make_directory(parent, &name)?;
            Ok(())
        })
    }

    /// Makes the entry `path`, and the directories above it that are missing.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) when something has that path.
    pub fn create(&mut self, path: &PondPath, entry: NewEntry, attributes: Attributes) -> Result<()> {
        let (kind, text) = match entry {
            NewEntry::File => (EntryKind::File, None),
            NewEntry::Symlink(text) => (EntryKind::Symlink, Some(text)),
            NewEntry::View(text) => (EntryKind::View, Some(text)),
            NewEntry::Dynamic(text) => (EntryKind::Dynamic, Some(text)),
            NewEntry::DynamicDirectory(text) => (EntryKind::DynamicDirectory, Some(text)),
        };
        self.whole(|transaction| {
            let (parent, name) = transaction.place_for(path)?;
            let action = Action::Create { kind, text, attributes };
            transaction.push(Operation { node: NodeId::unique(), parent, name, action })
        })
    }

    /// Adds a version to the file that `path` leads to. Returns the version's number, which a commit over other
    /// transactions' appends may raise.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), [`NotAFile`](ErrorKind::NotAFile).
    pub fn write(&mut self, path: &PondPath, mode: WriteMode, part: Part, attributes: Attributes) -> Result<u64> {
        let Entry { node, .. } = self.snapshot().lookup(path)?;
        let Some(versions) = node.versions() else {
            return Err(Error::new(
                ErrorKind::NotAFile,
                format!("'{path}' is a {}, and only a file can be written to", node.kind().as_str()),
            )
            .with_path(path));
        };
        let version = versions.len() as u64 + 1;
        let action = Action::Write { version, mode, part, attributes };
        self.push(Operation { node: node.id, parent: node.parent, name: Arc::clone(&node.name), action })?;
        Ok(version)
    }

    /// Lets `parts`, in order, stand for the versions `first` to `last` of the file that `path` leads to, which must hold
    /// the same: see [`Compaction`](crate::Compaction). It is no change of the file, and never a conflict: if the
    /// versions are not of the content any more when it is committed, it is left out.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), [`NotAFile`](ErrorKind::NotAFile); [`Unsupported`](ErrorKind::Unsupported) when
    /// there are no parts, the versions are not of the present content, or a compaction is there that stands for some of
    /// them and for others.
    pub fn compact(&mut self, path: &PondPath, first: u64, last: u64, parts: Vec<(Part, Attributes)>) -> Result<()> {
        let Entry { node, .. } = self.snapshot().lookup(path)?;
        let Some(versions) = node.versions() else {
            return Err(Error::new(
                ErrorKind::NotAFile,
                format!("'{path}' is a {}, and only a file has versions", node.kind().as_str()),
            )
            .with_path(path));
        };
        if parts.is_empty() || !versions.can_compact(first, last) {
            let message = format!("{} parts cannot stand for versions {first} to {last} of '{path}'", parts.len());
            return Err(Error::new(ErrorKind::Unsupported, message).with_path(path));
        }
        self.whole(|transaction| {
            let modes = std::iter::once(WriteMode::Replace).chain(std::iter::repeat(WriteMode::Append));
            parts.into_iter().zip(modes).try_for_each(|((part, attributes), mode)| {
                let action = Action::Compact { first, last, mode, part, attributes };
                let (parent, name) = (node.parent, Arc::clone(&node.name));
                transaction.push(Operation { node: node.id, parent, name, action })
            })
        })
    }

    /// Replaces the text (of a symlink, view or dynamic entry) and the attributes of the entry at `path`.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound).
    pub fn update(&mut self, path: &PondPath, text: Option<Arc<str>>, attributes: Attributes) -> Result<()> {
        let Entry { node, .. } = self.snapshot().lookup_link(path)?;
        let action = Action::Update { text, attributes };
        self.push(Operation { node: node.id, parent: node.parent, name: Arc::clone(&node.name), action })
    }

    /// Removes the entry at `path`; of a symbolic link, the link.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound); [`NotEmpty`](ErrorKind::NotEmpty) for a directory that holds entries, unless recursive.
    pub fn remove(&mut self, path: &PondPath, mode: RemoveMode) -> Result<()> {
        let Entry { node, .. } = self.snapshot().lookup_link(path)?;
        if let Some(entries) = node.entries()
            && mode == RemoveMode::Empty
            && !entries.is_empty()
        {
            return Err(Error::new(
                ErrorKind::NotEmpty,
                format!("the {} '{path}' is not empty: it holds {} entries", node.kind().as_str(), entries.len()),
            )
            .with_path(path));
        }
        if node.id == NodeId::ROOT {
            return Err(Error::new(ErrorKind::InvalidPath, "the root directory cannot be removed").with_path(path));
        }
        self.push(Operation {
            node: node.id,
            parent: node.parent,
            name: Arc::clone(&node.name),
            action: Action::Remove,
        })
    }

    /// Moves the entry at `from` to `to`, making the directories above it that are missing.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound); [`AlreadyExists`](ErrorKind::AlreadyExists) when something has the path `to`;
    /// [`InvalidPath`](ErrorKind::InvalidPath) for the root, or a directory into itself.
    pub fn rename(&mut self, from: &PondPath, to: &PondPath) -> Result<()> {
        let moved = self.snapshot().lookup_link(from)?;
        let refuse = |why: &str| {
            let message = format!("cannot rename '{from}' to '{to}': {why}");
            Err(Error::new(ErrorKind::InvalidPath, message).with_path(from))
        };
        if moved.path.is_root() {
            return refuse("the root directory cannot be renamed");
        }
        if to.starts_with(&moved.path) {
            let below = moved.kind().holds_entries() && *to != moved.path;
            return refuse(if below { "a directory cannot move below itself" } else { "it cannot take its own place" });
        }
        self.whole(|transaction| {
            let (parent, name) = transaction.place_for(to)?;
            // By the parent's own path: `to` may lead through links.
            if transaction.work.path_of(parent)?.starts_with(&moved.path) {
                return refuse("a directory cannot move below itself");
            }
            transaction.push(Operation { node: moved.node.id, parent, name, action: Action::Rename })
        })
    }

    /// Marks this place, so that a failed statement can leave nothing behind.
    pub fn savepoint(&self) -> Savepoint {
        Savepoint { work: Arc::clone(&self.work), operations: self.operations.len() }
    }

    /// Undoes the changes since `savepoint`. What was read stays recorded: the caller has seen it.
    pub fn roll_back_to(&mut self, savepoint: Savepoint) {
        self.operations.truncate(savepoint.operations);
        for read in self.reads.iter_mut().filter(|read| read.after > savepoint.operations) {
            read.after = savepoint.operations;
            read.work = Arc::clone(&savepoint.work);
        }
        self.work = savepoint.work;
    }

    /// Makes the changes durable and visible, rebased over what others committed meanwhile.
    ///
    /// # Errors
    /// What the store says. A conflict is not an error but an [outcome](CommitOutcome::Conflicted).
    pub async fn commit(self, info: CommitInfo) -> Result<CommitOutcome> {
        if self.operations.is_empty() {
            return Ok(CommitOutcome::Unchanged(self.base));
        }
        let store = Arc::clone(self.base.store());
        let mut onto = Arc::clone(self.base.state());
        loop {
            let operations = match rebase::rebase(self.base.state(), &onto, &self.operations, &self.reads)? {
                Ok(operations) => operations,
                Err(conflict) => return Ok(CommitOutcome::Conflicted(conflict)),
            };
            let is_compaction = |operation: &Operation| matches!(operation.action, Action::Compact { .. });
            if operations.is_empty() && self.operations.iter().all(is_compaction) {
                return Ok(CommitOutcome::Unchanged(Snapshot::new(onto, store)));
            }
            // Time does not run backwards in a log, whatever the clocks of its writers say.
            let committed_at = self.options.clock.now().max(onto.committed_at());
            let commit = Commit { txn: onto.txn().next(), committed_at, info: info.clone(), operations };
            match store.commit(&onto, commit).await? {
                Appended::Committed(state) => return Ok(CommitOutcome::Committed(Snapshot::new(state, store))),
                Appended::Stale(newest) => onto = newest,
            }
        }
    }

    /// Makes all the changes of `change`, or, if it fails, none.
    fn whole(&mut self, change: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let savepoint = self.savepoint();
        change(self).inspect_err(|_| self.roll_back_to(savepoint))
    }

    fn push(&mut self, operation: Operation) -> Result<()> {
        if self.options.read_only {
            return Err(Error::new(ErrorKind::ReadOnly, "the transaction is read-only"));
        }
        // A copy of the root of a persistent structure, so a failed operation leaves the work as it was.
        let mut work = State::clone(&self.work);
        work.apply_operation(&operation, self.base.txn().next(), self.options.clock.now())?;
        self.work = Arc::new(work);
        self.operations.push(operation);
        Ok(())
    }

    /// The directory and name for a new entry at `path`; makes the directories that are missing.
    fn place_for(&mut self, path: &PondPath) -> Result<(NodeId, Arc<str>)> {
        let taken = || Error::new(ErrorKind::AlreadyExists, format!("'{path}' exists already")).with_path(path);
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else { return Err(taken()) };
        if let Located::Found { node, .. } = locate(&self.work, path, false)? {
            let kind = node.kind().as_str();
            return Err(Error::new(ErrorKind::AlreadyExists, format!("'{path}' exists already: it is a {kind}"))
                .with_path(path));
        }
        let parent = self.directory_at(&parent)?;
        Ok((parent, Arc::from(name)))
    }

    fn directory_at(&mut self, path: &PondPath) -> Result<NodeId> {
        match locate(&self.work, path, true)? {
            Located::Found { node, .. } if node.kind().holds_entries() => Ok(node.id),
            Located::Found { node, .. } => Err(Error::new(
                ErrorKind::NotADirectory,
                format!("'{path}' is not a directory, it is a {}", node.kind().as_str()),
            )
            .with_path(path)),
            // A link on the way leads nowhere that could be made.
            Located::Missing(missing) if missing.names.is_empty() => Err(missing.into_error(path)),
            Located::Missing(missing) => {
                let mut parent = missing.node.id;
                for name in &missing.names {
                    parent = self.make_directory(parent, name)?;
                }
                Ok(parent)
            }
        }
    }

    fn make_directory(&mut self, parent: NodeId, name: &str) -> Result<NodeId> {
        let node = NodeId::unique();
        let action = Action::Create { kind: EntryKind::Directory, text: None, attributes: Attributes::default() };
        self.push(Operation { node, parent, name: Arc::from(name), action })?;
        Ok(node)
    }
}
