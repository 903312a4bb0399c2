//! [`FileTable`]: what one structured file offers a query.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use tinyfs::{Node, PondPath, Version};

use super::attribute_cache::AttributeCache;
use super::attributes::{PARQUET, PartAttributes, SortColumn, TableAttributes};
use super::file_content::{FileContent, versions_at};
use super::format::Wanted;
use super::inspect::Inspector;
use crate::error::Result;

/// Which content of a file is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileVersion {
    /// What it is now.
    Latest,
    /// What it was after its version of this number, counted from 1.
    Number(u64),
}

/// One part of a structured file: a version, and what is known of its bytes.
#[derive(Debug, Clone)]
pub struct FilePart {
    /// The version.
    pub version: Arc<Version>,
    /// What is known of its bytes.
    pub attributes: Arc<PartAttributes>,
}

/// The table half of a structured file: its parts, their merged schema, row count and order. Made without reading a byte of content.
#[derive(Debug, Clone)]
pub struct FileTable {
    path: PondPath,
    node: Arc<Node>,
    content: Arc<FileContent>,
}

impl FileTable {
    /// The file `node` at `path`, with the content it has or had at a version.
    ///
    /// # Errors
    /// [`WrongKind`](ErrorKind::WrongKind) when the node is no file, or its content was stored as bytes;
    /// [`NotFound`](ErrorKind::NotFound) for a version that does not exist, naming those that do;
    /// [`TypeConflict`](ErrorKind::TypeConflict) when the versions do not go together.
    pub fn try_new(path: PondPath, node: &Arc<Node>, at: FileVersion, cache: &AttributeCache) -> Result<Self> {
        let content = FileContent::described(&path, node, at, cache)?;
        Ok(Self { path, node: Arc::clone(node), content })
    }

    /// As [`try_new`](Self::try_new), but bytes that were stored without attributes are looked at, and all are where something is `wanted`.
    ///
    /// # Errors
    /// As [`try_new`](Self::try_new), and what is wrong with the bytes.
    pub(crate) async fn open(
        path: PondPath,
        node: &Arc<Node>,
        at: FileVersion,
        wanted: &Wanted,
        inspector: &Inspector<'_>,
    ) -> Result<Self> {
        let mut inspected = HashMap::new();
        for version in versions_at(&path, node, at)?.iter().filter(|version| needs_inspection(version, wanted)) {
            if let Some(found) = inspector.version(&path, version, wanted).await? {
                let _ = inspected.insert(version.number, found);
            }
        }
        let content = FileContent::inspected(&path, node, at, inspector.cache, &inspected)?;
        Ok(Self { path, node: Arc::clone(node), content })
    }

    /// Whether [`try_new`](Self::try_new) is enough for a file: nothing of it has to be looked at.
    pub(crate) fn is_described(node: &Node, wanted: &Wanted) -> bool {
        let Some(versions) = node.versions() else { return true };
        // Those that a table was made of need not be gone through again.
        let known = FileContent::kept(versions).map_or(0, |(count, _)| count);
        versions
            .iter()
            .skip(if *wanted == Wanted::default() { known } else { 0 })
            .all(|it| !needs_inspection(it, wanted))
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

    /// The versions that make up the content, oldest first.
    pub fn parts(&self) -> &imbl::Vector<FilePart> {
        &self.content.parts
    }

    /// The columns of all parts, by name: missing ones nullable, types widened, no metadata.
    pub fn schema(&self) -> &SchemaRef {
        &self.content.schema
    }

    /// What `CREATE TABLE` declared.
    pub fn declared(&self) -> Option<&Arc<TableAttributes>> {
        self.content.declared.as_ref()
    }

    /// How many rows all parts have, where that is known of each.
    pub fn rows(&self) -> Option<u64> {
        self.content.parts.iter().map(|part| part.attributes.rows()).sum()
    }

    /// The format of the newest part; that of what will be written where there is none.
    pub fn format(&self) -> &'static str {
        self.content.parts.last().map_or(PARQUET, |part| part.attributes.format.name())
    }

    /// The order that new versions are sorted by: the declared one; empty without.
    pub fn order(&self) -> &[SortColumn] {
        self.content.declared.as_ref().map_or(&[], |declared| &declared.order)
    }
}

/// Whether what the attributes of a version say is not enough.
fn needs_inspection(version: &Version, wanted: &Wanted) -> bool {
    *wanted != Wanted::default() || !PartAttributes::is_table(&version.attributes)
}
