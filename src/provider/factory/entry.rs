//! [`DynamicEntry`]: what the node of a dynamic entry says.

use serde::{Deserialize, Serialize};
use tinyfs::{Attributes, Definition, Node, PondPath};

use crate::error::{Error, ErrorKind, Result};
use crate::provider::ExternalFile;

/// The attribute of an entry that a factory shows in a directory. Such entries are stored nowhere.
const CHILD: &str = "child";

/// What a dynamic entry stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DynamicEntry {
    /// Files elsewhere, read in one format.
    File(ExternalFile),
    /// What a factory makes.
    Made(Definition),
}

impl DynamicEntry {
    /// Reads the node at `path`; `None` for one that is not dynamic.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt).
    pub fn of(node: &Node, path: &PondPath) -> Result<Option<Self>> {
        use tinyfs::Body::{Dynamic, DynamicDirectory};
        let (Dynamic(text) | DynamicDirectory { text, .. }) = &node.body else { return Ok(None) };
        if let Some(definition) = Definition::from_text(text).map_err(|error| error.with_path(path))? {
            return Ok(Some(Self::Made(definition)));
        }
        let file = ExternalFile::from_text(text).map_err(|error| error.with_path(path))?;
        Ok(Some(Self::File(file)))
    }

    /// The statement that makes it at `path`.
    pub fn statement(&self, path: &str) -> String {
        match self {
            Self::File(file) => file.statement(path),
            Self::Made(definition) => definition.statement(path),
        }
    }
}

/// What an entry is that a factory shows in a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactoryChild {
    /// The directory.
    pub entry: String,
    /// Its name there, or its path below.
    pub name: String,
    /// How many bytes it has, where that is known.
    pub size: Option<u64>,
}

impl FactoryChild {
    /// The attributes of its node.
    ///
    /// # Errors
    /// None in practice: it is names and a number.
    pub fn to_attributes(&self) -> Result<Attributes> {
        let text = serde_json::to_string(self)
            .map_err(|error| Error::new(ErrorKind::Unsupported, "the entry cannot be written").with_source(error))?;
        Ok(Attributes::from_iter([(CHILD, text)]))
    }

    /// Reads the attributes of a node; `None` for everything that is stored.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt).
    pub fn of(node: &Node) -> Result<Option<Self>> {
        let Some(text) = node.attributes.get(CHILD) else { return Ok(None) };
        serde_json::from_str(text)
            .map(Some)
            .map_err(|error| Error::new(ErrorKind::Corrupt, "an entry of a factory is damaged").with_source(error))
    }
}
