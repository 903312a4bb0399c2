//! [`State`]: the whole tree after one transaction, and how a commit turns it into the next.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::error::{Error, ErrorKind, Result};
use crate::log::{Action, Commit, Operation};
use crate::node::{Attributes, Body, EntryKind, Node, NodeId, Txn, Version, WriteMode};
use crate::path::{PondPath, check_name};
use crate::versions::Versions;

/// The tree of a pond after one transaction.
///
/// A persistent structure: a clone costs nothing, and applying an operation costs what it touches, however large the
/// pond. States are compared by their transaction.
#[derive(Clone)]
pub struct State {
    txn: Txn,
    committed_at: DateTime<Utc>,
    // Ordered: the ids of nodes that were made together are neighbours, and a hash map takes twice the memory for a million of them.
    nodes: imbl::OrdMap<NodeId, Arc<Node>>,
    views: imbl::OrdSet<NodeId>,
    dynamic_directories: imbl::OrdSet<NodeId>,
    symlinks: usize,
}

impl State {
    /// The pond before its first transaction: a root directory with nothing in it.
    pub fn empty(created: DateTime<Utc>) -> Self {
        let root = Node {
            id: NodeId::ROOT,
            parent: NodeId::ROOT,
            name: Arc::from(""),
            txn: Txn(0),
            modified: created,
            attributes: Attributes::default(),
            body: Body::Directory(imbl::OrdMap::new()),
        };
        Self {
            txn: Txn(0),
            committed_at: created,
            nodes: imbl::OrdMap::unit(NodeId::ROOT, Arc::new(root)),
            views: imbl::OrdSet::new(),
            dynamic_directories: imbl::OrdSet::new(),
            symlinks: 0,
        }
    }

    /// The transaction that made this state.
    pub fn txn(&self) -> Txn {
        self.txn
    }

    /// When that transaction was committed.
    pub fn committed_at(&self) -> DateTime<Utc> {
        self.committed_at
    }

    /// The node with this id.
    pub fn node(&self, id: NodeId) -> Option<&Arc<Node>> {
        self.nodes.get(&id)
    }

    /// The root directory.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if it is gone; [`State::empty`] and [`State::apply`] never make such a state.
    pub fn root(&self) -> Result<&Arc<Node>> {
        self.node(NodeId::ROOT).ok_or_else(|| corrupt("the root directory is gone"))
    }

    /// The nodes that are views, in the order in which they were made.
    pub fn views(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.views.iter().filter_map(|id| self.node(*id))
    }

    /// The nodes that are dynamic directories, in the order in which they were made.
    pub fn dynamic_directories(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.dynamic_directories.iter().filter_map(|id| self.node(*id))
    }

    /// Whether there is a symbolic link anywhere.
    pub fn has_symlinks(&self) -> bool {
        self.symlinks > 0
    }

    /// How many nodes there are, the root included.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is nothing but the root.
    pub fn is_empty(&self) -> bool {
        self.len() == 1
    }

    /// The path of a node, found by walking up.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) when a parent is missing.
    pub fn path_of(&self, id: NodeId) -> Result<PondPath> {
        let mut names = Vec::new();
        let mut at = id;
        while at != NodeId::ROOT {
            let node = self.node(at).ok_or_else(|| corrupt(format!("node {at} is gone")))?;
            names.push(Arc::clone(&node.name));
            at = node.parent;
            if names.len() > crate::path::MAX_PATH_BYTES {
                return Err(corrupt(format!("node {id} is its own ancestor")));
            }
        }
        let mut path = String::new();
        for name in names.iter().rev() {
            path.push('/');
            path.push_str(name);
        }
        PondPath::parse(if path.is_empty() { "/" } else { &path })
    }

    /// The state after `commit`.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) when the commit is not the next one, or an operation does not fit the tree.
    pub fn apply(&self, commit: &Commit) -> Result<Self> {
        if commit.txn != self.txn.next() {
            return Err(corrupt(format!("transaction {} does not follow transaction {}", commit.txn, self.txn)));
        }
        let mut next = self.clone();
        next.txn = commit.txn;
        next.committed_at = commit.committed_at;
        for operation in &commit.operations {
            next.apply_operation(operation, commit.txn, commit.committed_at)?;
        }
        Ok(next)
    }

    /// Applies one operation in place, as part of transaction `txn`.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) when it does not fit the tree; the state must then be thrown away.
    pub fn apply_operation(&mut self, operation: &Operation, txn: Txn, at: DateTime<Utc>) -> Result<()> {
        match &operation.action {
            Action::Create { kind, text, attributes } => {
                self.create(operation, *kind, text.clone(), attributes, txn, at)
            }
            Action::Write { version, mode, part, attributes } => {
                let node = self.changed(operation, txn, at)?;
                let Body::File(versions) = &mut node.body else {
                    return Err(misfit(operation, "only a file has versions"));
                };
                if *version != versions.len() as u64 + 1 {
                    return Err(misfit(operation, format!("version {version} follows version {}", versions.len())));
                }
                versions.push(Arc::new(Version {
                    number: *version,
                    mode: *mode,
                    part: part.clone(),
                    txn,
                    modified: at,
                    attributes: attributes.clone(),
                }));
                Ok(())
            }
            Action::Compact { first, last, mode, part, attributes } => {
                let node = self.existing_mut(operation)?;
                let Body::File(versions) = &mut node.body else {
                    return Err(misfit(operation, "only a file has versions"));
                };
                let (number, part, attributes) = (*last, part.clone(), attributes.clone());
                let part = Arc::new(Version { number, mode: *mode, part, txn, modified: at, attributes });
                let fits = match mode {
                    WriteMode::Replace => versions.compact(*first, part),
                    WriteMode::Append => versions.compact_more(*first, part),
                };
                if fits {
                    Ok(())
                } else {
                    Err(misfit(operation, format!("versions {first} to {last} are not to be had")))
                }
            }
            Action::Update { text, attributes } => {
                let node = self.changed(operation, txn, at)?;
                node.attributes = attributes.clone();
                match (&mut node.body, text) {
                    (
                        Body::Symlink(old)
                        | Body::View(old)
                        | Body::Dynamic(old)
                        | Body::DynamicDirectory { text: old, .. },
                        Some(new),
                    ) => *old = Arc::clone(new),
                    (Body::Directory(_) | Body::File(_), None) => {}
                    _ => return Err(misfit(operation, "its text does not fit its kind")),
                }
                Ok(())
            }
            Action::Remove => self.remove(operation),
            Action::Rename => self.rename(operation, txn, at),
        }
    }

    fn create(
        &mut self,
        operation: &Operation,
        kind: EntryKind,
        text: Option<Arc<str>>,
        attributes: &Attributes,
        txn: Txn,
        at: DateTime<Utc>,
    ) -> Result<()> {
        let body = match (kind, text) {
            (EntryKind::Directory, None) => Body::Directory(imbl::OrdMap::new()),
            (EntryKind::File, None) => Body::File(Versions::default()),
            (EntryKind::Symlink, Some(text)) => Body::Symlink(text),
            (EntryKind::View, Some(text)) => Body::View(text),
            (EntryKind::Dynamic, Some(text)) => Body::Dynamic(text),
            (EntryKind::DynamicDirectory, Some(text)) => Body::DynamicDirectory { text, entries: imbl::OrdMap::new() },
            _ => return Err(misfit(operation, "its text does not fit its kind")),
        };
        if self.nodes.contains_key(&operation.node) {
            return Err(misfit(operation, "the node exists already"));
        }
        self.link(operation)?;
        match kind {
            EntryKind::View => {
                let _ = self.views.insert(operation.node);
            }
            EntryKind::DynamicDirectory => {
                let _ = self.dynamic_directories.insert(operation.node);
            }
            EntryKind::Symlink => self.symlinks += 1,
            EntryKind::Directory | EntryKind::File | EntryKind::Dynamic => {}
        }
        self.put(Node {
            id: operation.node,
            parent: operation.parent,
            name: Arc::clone(&operation.name),
            txn,
            modified: at,
            attributes: attributes.clone(),
            body,
        });
        Ok(())
    }

    fn remove(&mut self, operation: &Operation) -> Result<()> {
        let node = self.existing(operation)?;
        self.unlink(&node)?;
        // A directory goes with everything below it: one row, however large.
        let mut doomed = vec![node];
        while let Some(node) = doomed.pop() {
            let _ = self.nodes.remove(&node.id);
            for id in node.entries().into_iter().flat_map(|entries| entries.values()) {
                let entry = self.node(*id).ok_or_else(|| misfit(operation, "an entry leads nowhere"))?;
                doomed.push(Arc::clone(entry));
            }
            match &node.body {
                Body::DynamicDirectory { .. } => {
                    let _ = self.dynamic_directories.remove(&node.id);
                }
                Body::View(_) => {
                    let _ = self.views.remove(&node.id);
                }
                Body::Symlink(_) => self.symlinks = self.symlinks.saturating_sub(1),
                Body::Directory(_) | Body::File(_) | Body::Dynamic(_) => {}
            }
        }
        Ok(())
    }

    fn rename(&mut self, operation: &Operation, txn: Txn, at: DateTime<Utc>) -> Result<()> {
        let mut node = Node::clone(&*self.existing(operation)?);
        let mut up = operation.parent;
        while up != NodeId::ROOT {
            if up == node.id {
                return Err(misfit(operation, "a directory cannot move below itself"));
            }
            up = self.node(up).ok_or_else(|| misfit(operation, "its new parent is gone"))?.parent;
        }
        self.unlink(&node)?;
        self.link(operation)?;
        node.parent = operation.parent;
        node.name = Arc::clone(&operation.name);
        node.txn = txn;
        node.modified = at;
        self.put(node);
        Ok(())
    }

    fn existing(&self, operation: &Operation) -> Result<Arc<Node>> {
        if operation.node == NodeId::ROOT {
            return Err(misfit(operation, "the root cannot change"));
        }
        self.node(operation.node).map(Arc::clone).ok_or_else(|| misfit(operation, "the node does not exist"))
    }

    /// The node, to be changed: in place, unless an older state has it too.
    fn existing_mut(&mut self, operation: &Operation) -> Result<&mut Node> {
        if operation.node == NodeId::ROOT {
            return Err(misfit(operation, "the root cannot change"));
        }
        let node = self.nodes.get_mut(&operation.node).ok_or_else(|| misfit(operation, "the node does not exist"))?;
        Ok(Arc::make_mut(node))
    }

    /// As [`existing_mut`](Self::existing_mut), marked as changed.
    fn changed(&mut self, operation: &Operation, txn: Txn, at: DateTime<Utc>) -> Result<&mut Node> {
        let node = self.existing_mut(operation)?;
        node.txn = txn;
        node.modified = at;
        Ok(node)
    }

    fn link(&mut self, operation: &Operation) -> Result<()> {
        check_name(&operation.name).map_err(|error| misfit(operation, "its name is not valid").with_source(error))?;
        self.edit_directory(operation.parent, |entries| {
            if entries.insert(Arc::clone(&operation.name), operation.node).is_some() {
                return Err(misfit(operation, "the name is taken"));
            }
            Ok(())
        })
    }

    fn unlink(&mut self, node: &Node) -> Result<()> {
        self.edit_directory(node.parent, |entries| {
            let _ = entries.remove(&node.name);
            Ok(())
        })
    }

    fn edit_directory(
        &mut self,
        id: NodeId,
        edit: impl FnOnce(&mut imbl::OrdMap<Arc<str>, NodeId>) -> Result<()>,
    ) -> Result<()> {
        let parent = self.nodes.get_mut(&id).ok_or_else(|| corrupt(format!("directory {id} does not exist")))?;
        let (Body::Directory(entries) | Body::DynamicDirectory { entries, .. }) = &mut Arc::make_mut(parent).body
        else {
            return Err(corrupt(format!("node {id} is not a directory")));
        };
        edit(entries)
    }

    fn put(&mut self, node: Node) {
        let _ = self.nodes.insert(node.id, Arc::new(node));
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("txn", &self.txn).field("nodes", &self.nodes.len()).finish()
    }
}

fn corrupt(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}

fn misfit(operation: &Operation, why: impl std::fmt::Display) -> Error {
    corrupt(format!(
        "the log does not fit the tree: cannot {} '{}' (node {}): {why}",
        operation.action.as_str(),
        operation.name,
        operation.node
    ))
}
