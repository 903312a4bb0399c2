//! [`ListedDirectories`]: what factories show in their directories beside what is stored there.

use std::fmt;
use std::sync::{Arc, OnceLock};

use tinyfs::{
    Action, Attributes, Child, Definition, EntryKind, FactoryContext, Node, NodeId, Operation, Outside, PondPath,
    Shape, State,
};

use crate::catalog::now::effect_now;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{DynamicEntry, Factories, FactoryChild, StoreFiles, is_folder_name};

/// Asks factories what they show.
#[derive(Debug, Clone)]
pub(crate) struct Lister {
    pub(crate) factories: Arc<Factories>,
    pub(crate) outside: Arc<StoreFiles>,
}

impl Lister {
    fn list(&self, path: &PondPath, definition: Definition) -> Result<Vec<Child>> {
        let factory = Arc::clone(self.factories.of_entry(&definition.factory, path)?);
        let outside: Arc<dyn Outside> = Arc::clone(&self.outside) as _;
        if let Some(location) = definition.location.as_deref().filter(|location| is_folder_name(location)) {
            outside.check_host(location).map_err(|error| error.with_path(path))?;
        }
        let context = FactoryContext { path: path.clone(), definition: Arc::new(definition), outside };
        effect_now(async { Ok(factory.list(&context).await?) }).map_err(|error| {
            let name = &context.definition.factory;
            let message = format!("the factory '{name}' cannot list '{path}'");
            Error::new(error.kind(), message).with_path(path).with_source(error)
        })
    }
}

/// The dynamic directories of one state whose factories show entries. Each factory is asked once at most, and only when
/// its directory may be meant.
pub(crate) struct ListedDirectories {
    directories: Vec<Listed>,
    lister: Lister,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) path: PondPath,
    pub(crate) node: Arc<Node>,
    definition: Result<Definition, Arc<Error>>,
    children: OnceLock<Result<Vec<Child>, Arc<Error>>>,
}

impl ListedDirectories {
    pub(crate) fn of(state: &State, lister: &Lister) -> Self {
        let listed = |node: &Arc<Node>| -> Result<Option<Listed>> {
            let path = state.path_of(node.id)?;
            let definition = match DynamicEntry::of(node, &path) {
                Ok(Some(DynamicEntry::Made(definition))) if definition.shape == Shape::ListedDirectory => {
                    Ok(definition)
                }
                Ok(_) => return Ok(None),
                // Whoever asks for its children is told.
                Err(error) => Err(Arc::new(error)),
            };
            Ok(Some(Listed { path, node: Arc::clone(node), definition, children: OnceLock::new() }))
        };
        let directories = state.dynamic_directories().filter_map(|node| {
            let found = listed(node).inspect_err(|error| tracing::warn!(%error, "a dynamic directory has no path"));
            found.ok().flatten()
        });
        Self { directories: directories.collect(), lister: lister.clone() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.directories.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Listed> {
        self.directories.iter()
    }

    /// Adds to `state` what the factories of the directories `wanted` show. Those that could not be listed are returned with the reason.
    pub(crate) fn graft(&self, state: &mut State, wanted: &[NodeId]) -> Result<Vec<(PondPath, Arc<Error>)>> {
        let mut failed = Vec::new();
        for listed in self.directories.iter().filter(|listed| wanted.contains(&listed.node.id)) {
            let children = listed.children.get_or_init(|| {
                let definition = listed.definition.clone()?;
                self.lister.list(&listed.path, definition).map_err(Arc::new)
            });
            match children {
                Ok(children) => children.iter().try_for_each(|child| listed.add(state, child))?,
                Err(error) => failed.push((listed.path.clone(), Arc::clone(error))),
            }
        }
        Ok(failed)
    }
}

impl Listed {
    /// Adds one child, unless something that is stored has its path or stands in its way.
    fn add(&self, state: &mut State, child: &Child) -> Result<()> {
        let names: Vec<&str> = child.name.split('/').collect();
        let mut parent = self.node.id;
        let mut here = self.path.clone();
        for (depth, name) in names.iter().enumerate() {
            here = here.child(name)?;
            let Some(entries) = state.node(parent).and_then(|node| node.entries()) else { return Ok(()) };
            if let Some(id) = entries.get(*name) {
                parent = *id;
                continue;
            }
            let (kind, text, attributes) = if depth + 1 == names.len() {
                let shown = FactoryChild { entry: self.path.to_string(), name: child.name.clone(), size: child.size };
                (EntryKind::Dynamic, self.node.text().map(Arc::clone), shown.to_attributes()?)
            } else {
                (EntryKind::Directory, None, Attributes::default())
            };
            let node = super::tree::virtual_id(self.node.id, &here);
            let action = Action::Create { kind, text, attributes };
            let operation = Operation { node, parent, name: Arc::from(*name), action };
            let modified = child.modified.unwrap_or(self.node.modified);
            state.apply_operation(&operation, self.node.txn, modified).map_err(|error| {
                let message = format!("'{here}' cannot be shown in '{}'", self.path);
                Error::new(ErrorKind::Corrupt, message).with_path(&self.path).with_source(error)
            })?;
            parent = node;
        }
        Ok(())
    }
}

impl fmt::Debug for ListedDirectories {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.directories.iter().map(|listed| &listed.path)).finish()
    }
}
