//! [`FileTable`]: what one structured file offers a query.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use tinyfs::{Node, PondPath, Version};

use super::attribute_cache::AttributeCache;
use super::attributes::{PARQUET, PartAttributes, SortColumn, TableAttributes};
use super::format::Wanted;
use super::inspect::Inspector;
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
    parts: Vec<FilePart>,
    schema: SchemaRef,
    declared: Option<Arc<TableAttributes>>,
}

impl FileTable {
    /// The file `node` at `path`, with the content it has or had at a version.
    ///
    /// # Errors
    /// [`WrongKind`](ErrorKind::WrongKind) when the node is no file, or its content was stored as bytes;
    /// [`NotFound`](ErrorKind::NotFound) for a version that does not exist, naming those that do;
    /// [`TypeConflict`](ErrorKind::TypeConflict) when the versions do not go together.
    pub fn try_new(path: PondPath, node: &Arc<Node>, at: FileVersion, cache: &AttributeCache) -> Result<Self> {
        let content = content(&path, node, at)?;
        Self::assemble(path, node, content, cache, &HashMap::new())
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
        let content = content(&path, node, at)?;
        let mut inspected = HashMap::new();
        for version in content.iter().filter(|version| needs_inspection(version, wanted)) {
            if let Some(found) = inspector.version(&path, version, wanted).await? {
                let _ = inspected.insert(version.number, found);
            }
        }
        Self::assemble(path, node, content, inspector.cache, &inspected)
    }

    /// Whether [`try_new`](Self::try_new) is enough for a file: nothing of it has to be looked at.
    pub(crate) fn is_described(node: &Node, wanted: &Wanted) -> bool {
        node.versions().is_none_or(|versions| !versions.iter().any(|version| needs_inspection(version, wanted)))
    }

    fn assemble(
        path: PondPath,
        node: &Arc<Node>,
        content: Vec<Arc<Version>>,
        cache: &AttributeCache,
        inspected: &HashMap<u64, Arc<PartAttributes>>,
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
            let attributes = match inspected.get(&version.number) {
                Some(inspected) => Arc::clone(inspected),
                None if PartAttributes::is_table(&version.attributes) => cache.part(&path, node.id, &version)?,
                None => return Err(not_a_table(&path, "it was stored as bytes").with_version(version.number)),
            };
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

    /// The versions that make up the content, oldest first.
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

    /// How many rows all parts have, where that is known of each.
    pub fn rows(&self) -> Option<u64> {
        self.parts.iter().map(|part| part.attributes.rows()).sum()
    }

    /// The format of the newest part; that of what will be written where there is none.
    pub fn format(&self) -> &'static str {
        self.parts.last().map_or(PARQUET, |part| part.attributes.format.name())
    }

    /// The order that new versions are sorted by: the declared one; empty without.
    pub fn order(&self) -> &[SortColumn] {
        self.declared.as_ref().map_or(&[], |declared| &declared.order)
    }
}

/// The versions that make up the content of the file `node` at a version.
fn content(path: &PondPath, node: &Node, at: FileVersion) -> Result<Vec<Arc<Version>>> {
    let versions = node.versions().ok_or_else(|| {
        Error::new(ErrorKind::WrongKind, format!("'{path}' is a {}, not a file", node.kind().as_str())).with_path(path)
    })?;
    match at {
        FileVersion::Latest => Ok(versions.content()),
        FileVersion::Number(number) if versions.get(number).is_none() => Err(no_version(path, number, versions.len())),
        FileVersion::Number(number) => Ok(versions.content_at(number)),
    }
}

/// Whether what the attributes of a version say is not enough.
fn needs_inspection(version: &Version, wanted: &Wanted) -> bool {
    *wanted != Wanted::default() || !PartAttributes::is_table(&version.attributes)
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
