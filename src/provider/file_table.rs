//! [`FileTable`]: what one structured file offers a query.

use std::any::Any;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use tinyfs::{Attributes, Node, PondPath, Version, WriteMode};

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
    content: Arc<Content>,
}

/// What the versions of a file make up. Kept with them, so that a statement on a series of thousands of versions looks at
/// those that are new.
#[derive(Debug, Clone)]
struct Content {
    /// The node's own attributes, which can change without a new version.
    attributes: Attributes,
    declared: Option<Arc<TableAttributes>>,
    parts: imbl::Vector<FilePart>,
    merge: SchemaMerge,
    schema: SchemaRef,
}

impl FileTable {
    /// The file `node` at `path`, with the content it has or had at a version, in as few parts as there are.
    ///
    /// # Errors
    /// [`WrongKind`](ErrorKind::WrongKind) when the node is no file, or its content was stored as bytes;
    /// [`NotFound`](ErrorKind::NotFound) for a version that does not exist, naming those that do;
    /// [`TypeConflict`](ErrorKind::TypeConflict) when the versions do not go together.
    pub fn try_new(path: PondPath, node: &Arc<Node>, at: FileVersion, cache: &AttributeCache) -> Result<Self> {
        let versions = node.versions().ok_or_else(|| {
            Error::new(ErrorKind::WrongKind, format!("'{path}' is a {}, not a file", node.kind().as_str()))
                .with_path(&path)
        })?;
        let upto = match at {
            FileVersion::Latest => versions.len() as u64,
            FileVersion::Number(number) => {
                if versions.get(number).is_none() {
                    return Err(no_version(&path, number, versions.len()));
                }
                number
            }
        };
        let known = versions
            .memo()
            .and_then(|(count, memo)| Some((count as u64, Arc::downcast::<Content>(memo).ok()?)))
            .filter(|(count, content)| *count <= upto && content.attributes == node.attributes);
        let content = match known {
            Some((count, content)) if count == upto => content,
            known => {
                let content = match known {
                    Some((count, content)) => {
                        let mut content = Content::clone(&content);
                        // What was replaced since does not count, and need not even be a table.
                        let replaces =
                            |number: &u64| versions.get(*number).is_some_and(|it| it.mode == WriteMode::Replace);
                        let first = (count + 1..=upto).rev().find(replaces).unwrap_or(count + 1);
                        for version in (first..=upto).filter_map(|number| versions.get(number)) {
                            content.add(&path, node, version, cache)?;
                        }
                        content
                    }
                    None => Content::of(&path, node, versions.compacted_at(upto), cache)?,
                };
                if content.declared.is_none() && content.parts.is_empty() {
                    return Err(not_a_table(&path, "it has no content and no declared columns"));
                }
                let content = Arc::new(content.finished());
                if upto == versions.len() as u64 {
                    versions.set_memo(Arc::clone(&content) as Arc<dyn Any + Send + Sync>);
                }
                content
            }
        };
        Ok(Self { path, node: Arc::clone(node), content })
    }

    /// As [`try_new`](Self::try_new), with one part for each version: for those who want to know which rows came with which.
    ///
    /// # Errors
    /// As [`try_new`](Self::try_new).
    pub fn by_version(path: PondPath, node: &Arc<Node>, at: FileVersion, cache: &AttributeCache) -> Result<Self> {
        let versions = content(&path, node, at)?;
        Self::of_parts(path, node, versions, cache)
    }

    /// The file `node` at `path`, as if it had these parts.
    pub(crate) fn of_parts(
        path: PondPath,
        node: &Arc<Node>,
        parts: Vec<Arc<Version>>,
        cache: &AttributeCache,
    ) -> Result<Self> {
        let content = Content::of(&path, node, parts, cache)?;
        if content.declared.is_none() && content.parts.is_empty() {
            return Err(not_a_table(&path, "it has no content and no declared columns"));
        }
        Ok(Self { path, node: Arc::clone(node), content: Arc::new(content.finished()) })
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
        let versions = content(&path, node, at)?;
        let mut content = Content::declared(&path, node, inspector.cache)?;
        for version in versions {
            let attributes = match needs_inspection(&version, wanted) {
                true => inspector.version(&path, &version, wanted).await?,
                false => Some(inspector.cache.part(&path, node.id, &version)?),
            };
            let attributes =
                attributes.ok_or_else(|| not_a_table(&path, "it was stored as bytes").with_version(version.number))?;
            content.push(&path, &version, attributes)?;
        }
        content.schema = content.merge.schema();
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
                let known = versions.memo().filter(|(_, memo)| memo.is::<Content>()).map_or(0, |(count, _)| count);
                let mut new = versions.iter().rev().take(versions.len() - known.min(versions.len()));
                while let Some(version) = new.next() {
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

impl Content {
    /// What is there before the first version.
    fn declared(path: &PondPath, node: &Node, cache: &AttributeCache) -> Result<Self> {
        let declared = cache.table(path, node)?.map(Arc::new);
        let mut merge = SchemaMerge::default();
        if let Some(declared) = &declared {
            merge.add(&declared.schema, || Origin { name: path.to_string(), version: None })?;
        }
        let schema = merge.schema();
        Ok(Self { attributes: node.attributes.clone(), declared, parts: imbl::Vector::new(), merge, schema })
    }

    /// What these make up.
    fn of(path: &PondPath, node: &Node, parts: Vec<Arc<Version>>, cache: &AttributeCache) -> Result<Self> {
        let mut content = Self::declared(path, node, cache)?;
        for part in &parts {
            content.add(path, node, part, cache)?;
        }
        Ok(content)
    }

    fn finished(mut self) -> Self {
        self.schema = self.merge.schema();
        self
    }

    fn add(&mut self, path: &PondPath, node: &Node, version: &Arc<Version>, cache: &AttributeCache) -> Result<()> {
        if version.mode == WriteMode::Replace {
            *self = Self::declared(path, node, cache)?;
        }
        if !PartAttributes::is_table(&version.attributes) {
            return Err(not_a_table(path, "it was stored as bytes").with_version(version.number));
        }
        let attributes = cache.part(path, node.id, version)?;
        self.push(path, version, attributes)
    }

    fn push(&mut self, path: &PondPath, version: &Arc<Version>, attributes: Arc<PartAttributes>) -> Result<()> {
        self.merge.add(&attributes.schema, || Origin { name: path.to_string(), version: Some(version.number) })?;
        self.parts.push_back(FilePart { version: Arc::clone(version), attributes });
        Ok(())
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
