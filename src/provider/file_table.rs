//! [`FileTable`]: what one structured file offers a query.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use tinyfs::{Node, PondPath, Version, WriteMode};

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
    /// The file `node` at `path`, with the content it has or had at a version, in as few parts as there are.
    ///
    /// # Errors
    /// [`WrongKind`](crate::ErrorKind::WrongKind) when the node is no file, or its content was stored as bytes;
    /// [`NotFound`](crate::ErrorKind::NotFound) for a version that does not exist, naming those that do;
    /// [`TypeConflict`](crate::ErrorKind::TypeConflict) when the versions do not go together.
    pub fn try_new(path: PondPath, node: &Arc<Node>, at: FileVersion, cache: &AttributeCache) -> Result<Self> {
        let content = FileContent::described(&path, node, at, cache)?;
        Ok(Self { path, node: Arc::clone(node), content })
    }

    /// As [`try_new`](Self::try_new), with one part for each version: for those who want to know which rows came with which.
    ///
    /// # Errors
    /// As [`try_new`](Self::try_new).
    pub fn by_version(path: PondPath, node: &Arc<Node>, at: FileVersion, cache: &AttributeCache) -> Result<Self> {
        let (versions, number) = versions_at(&path, node, at)?;
        if versions.compactions().is_empty() {
            return Self::try_new(path, node, at, cache);
        }
        Self::of_parts(path, node, &versions.content_at(number), cache)
    }

    /// The file `node` at `path`, as if it had these parts.
    pub(crate) fn of_parts(
        path: PondPath,
        node: &Arc<Node>,
        parts: &[Arc<Version>],
        cache: &AttributeCache,
    ) -> Result<Self> {
        let content = FileContent::of_parts(&path, node, parts, cache, &HashMap::new())?;
        Ok(Self { path, node: Arc::clone(node), content: Arc::new(content) })
    }

    /// As [`by_version`](Self::by_version), but bytes that were stored without attributes are looked at, and all are where something is `wanted`.
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
        let (versions, number) = versions_at(&path, node, at)?;
        let parts = versions.content_at(number);
        let mut inspected = HashMap::new();
        for version in parts.iter().filter(|version| needs_inspection(version, wanted)) {
            if let Some(found) = inspector.version(&path, version, wanted).await? {
                let _ = inspected.insert(version.number, found);
            }
        }
        let content = FileContent::of_parts(&path, node, &parts, inspector.cache, &inspected)?;
        Ok(Self { path, node: Arc::clone(node), content: Arc::new(content) })
    }

    /// Whether [`try_new`](Self::try_new) is enough for a file: nothing of it has to be looked at.
    pub(crate) fn is_described(node: &Node, at: FileVersion, wanted: &Wanted) -> bool {
        let Some(versions) = node.versions() else { return true };
        if *wanted != Wanted::default() {
            return false;
        }
        let described = |version: &Version| PartAttributes::is_table(&version.attributes);
        match at {
            FileVersion::Number(number) => versions.content_at(number).iter().all(|version| described(version)),
            FileVersion::Latest => {
                // What was put together before has been described.
                let known = FileContent::kept(versions).map_or(0, |(count, _)| count);
                let new = versions.iter().rev().take(versions.len() - known.min(versions.len()));
                for version in new {
                    if !described(version) {
                        return false;
                    }
                    if version.mode == WriteMode::Replace {
                        break;
                    }
                }
                true
            }
        }
    }

    /// Whether [`try_new`](Self::try_new) would find a table in the node's newest content, as far as its attributes say.
    pub fn is_table(node: &Node) -> bool {
        match node.versions().and_then(|versions| versions.last()) {
            Some(version) => PartAttributes::is_table(&version.attributes),
            None => node.versions().is_some() && node.attributes.get("schema").is_some(),
        }
    }

    /// The format of a table's newest part, or that of what will be written where there is none; nothing for what is no table. As
    /// its attributes say, which need not be known here.
    pub(crate) fn format_of(node: &Node) -> Option<&str> {
        let versions = node.versions().filter(|_| Self::is_table(node))?;
        versions.last().map_or(Some(PARQUET), |version| PartAttributes::format_of(&version.attributes))
    }

    /// How many rows a table has, where that is known of each of its parts.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt) for attributes that give no number.
    pub(crate) fn rows_of(path: &PondPath, node: &Node) -> Result<Option<u64>> {
        let Some(versions) = node.versions().filter(|_| Self::is_table(node)) else { return Ok(None) };
        let mut all = Some(0_u64);
        for version in versions.content() {
            let rows = PartAttributes::rows_of(&version.attributes);
            let rows = rows.map_err(|error| error.with_path(path).with_version(version.number))?;
            all = all.zip(rows).and_then(|(all, rows)| all.checked_add(rows));
        }
        Ok(all)
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
