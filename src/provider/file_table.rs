//! [`FileTable`]: what one structured file offers a query.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use tinyfs::{Node, PondPath, Version, Versions};

use super::attribute_cache::AttributeCache;
use super::attributes::{PartAttributes, SortColumn, TableAttributes};
use super::schema_merge::{Origin, SchemaMerge};
use crate::error::{Error, ErrorKind, Result};

/// Which content of a file is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileVersion {
    /// What it is now.
    Latest,
    /// What it was after its version of this number, counted from 1.
    Number(u64),
}

/// One part of a structured file: a version, or one of the parts that stand for several, and what is known of its bytes.
#[derive(Debug, Clone)]
pub struct FilePart {
    /// The version; of a part that stands for several, the last of them, with the part's own bytes.
    pub version: Arc<Version>,
    /// What is known of its bytes.
    pub attributes: Arc<PartAttributes>,
}

/// The table half of a structured file: its parts, their merged schema, row count and order. Made without reading a byte of content.
#[derive(Debug, Clone)]
pub struct FileTable {
    path: PondPath,
    node: Arc<Node>,
    parts: Vec<FilePart>,
    schema: SchemaRef,
    declared: Option<Arc<TableAttributes>>,
}

impl FileTable {
    /// The file `node` at `path`, with the content it has or had at a version, in as few parts as there are.
    ///
    /// # Errors
    /// [`WrongKind`](ErrorKind::WrongKind) when the node is no file, or its content was stored as bytes;
    /// [`NotFound`](ErrorKind::NotFound) for a version that does not exist, naming those that do;
    /// [`TypeConflict`](ErrorKind::TypeConflict) when the versions do not go together.
    pub fn try_new(path: PondPath, node: &Arc<Node>, at: FileVersion, cache: &AttributeCache) -> Result<Self> {
        let (versions, number) = versions_at(&path, node, at)?;
        let content = versions.compacted_at(number);
        Self::of_parts(path, node, content, cache)
    }

    /// As [`try_new`](Self::try_new), with one part for each version: for those who want to know which rows came with which.
    ///
    /// # Errors
    /// As [`try_new`](Self::try_new).
    pub fn by_version(path: PondPath, node: &Arc<Node>, at: FileVersion, cache: &AttributeCache) -> Result<Self> {
        let (versions, number) = versions_at(&path, node, at)?;
        let content = versions.content_at(number);
        Self::of_parts(path, node, content, cache)
    }

    /// The file `node` at `path`, as if it had these parts.
    pub(crate) fn of_parts(
        path: PondPath,
        node: &Arc<Node>,
        content: Vec<Arc<Version>>,
        cache: &AttributeCache,
    ) -> Result<Self> {
        let declared = cache.table(&path, node)?.map(Arc::new);
        let mut merge = SchemaMerge::default();
        if let Some(declared) = &declared {
            merge.add(&declared.schema, || Origin { name: path.to_string(), version: None })?;
        } else if content.is_empty() {
            return Err(not_a_table(&path, "it has no content and no declared columns"));
        }
        let mut parts = Vec::with_capacity(content.len());
        for version in content {
            if !PartAttributes::is_table(&version.attributes) {
                return Err(not_a_table(&path, "it was stored as bytes").with_version(version.number));
            }
            let attributes = cache.part(&path, node.id, &version)?;
            merge.add(&attributes.schema, || Origin { name: path.to_string(), version: Some(version.number) })?;
            parts.push(FilePart { version, attributes });
        }
        Ok(Self { path, node: Arc::clone(node), parts, schema: merge.finish(), declared })
    }

    /// Whether [`try_new`](Self::try_new) would find a table in the node's newest content, as far as its attributes say.
    pub fn is_table(node: &Node) -> bool {
        match node.versions().and_then(|versions| versions.last()) {
            Some(version) => PartAttributes::is_table(&version.attributes),
            None => node.versions().is_some() && node.attributes.get("schema").is_some(),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &PondPath {
        &self.path
    }

    /// Its node.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// The parts that make up the content, oldest first.
    pub fn parts(&self) -> &[FilePart] {
        &self.parts
    }

    /// The columns of all parts, by name: missing ones nullable, types widened, no metadata.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What `CREATE TABLE` declared.
    pub fn declared(&self) -> Option<&Arc<TableAttributes>> {
        self.declared.as_ref()
    }

    /// How many rows all parts have.
    pub fn rows(&self) -> u64 {
        self.parts.iter().map(|part| part.attributes.rows).sum()
    }

    /// The order that new versions are sorted by: the declared one; empty without.
    pub fn order(&self) -> &[SortColumn] {
        self.declared.as_ref().map_or(&[], |declared| &declared.order)
    }
}

/// A file's versions, and the number of the one that is meant; 0 before the first.
fn versions_at<'a>(path: &PondPath, node: &'a Node, at: FileVersion) -> Result<(&'a Versions, u64)> {
    let versions = node.versions().ok_or_else(|| {
        Error::new(ErrorKind::WrongKind, format!("'{path}' is a {}, not a file", node.kind().as_str())).with_path(path)
    })?;
    match at {
        FileVersion::Latest => Ok((versions, versions.len() as u64)),
        FileVersion::Number(number) if versions.get(number).is_some() => Ok((versions, number)),
        FileVersion::Number(number) => Err(no_version(path, number, versions.len())),
    }
}

fn not_a_table(path: &PondPath, why: &str) -> Error {
    Error::new(
        ErrorKind::WrongKind,
        format!("'{path}' is a data file, not a table: {why}; pond_read('{path}') gives its bytes"),
    )
    .with_path(path)
}

fn no_version(path: &PondPath, number: u64, versions: usize) -> Error {
    let there = match versions {
        0 => "it has none".to_owned(),
        1 => "it has version 1 only".to_owned(),
        last => format!("it has versions 1 to {last}"),
    };
    Error::new(ErrorKind::NotFound, format!("'{path}' has no version {number}: {there}"))
        .with_path(path)
        .with_version(number)
}
