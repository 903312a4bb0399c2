//! [`FileContent`]: what the versions of a file make up.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use tinyfs::{Attributes, Node, PondPath, Version, Versions, WriteMode};

use super::attribute_cache::AttributeCache;
use super::attributes::{PartAttributes, TableAttributes};
use super::file_table::{FilePart, FileVersion};
use super::schema_merge::{Origin, SchemaMerge};
use crate::error::{Error, ErrorKind, Result};

/// The parts of a file's content and their merged schema. Kept with the versions, so that a statement on a series of
/// thousands of versions looks at those that are new.
#[derive(Debug, Clone)]
pub(super) struct FileContent {
    /// The node's own attributes, which can change without a new version.
    attributes: Attributes,
    pub(super) declared: Option<Arc<TableAttributes>>,
    pub(super) parts: imbl::Vector<FilePart>,
    merge: SchemaMerge,
    pub(super) schema: SchemaRef,
}

impl FileContent {
    /// What was kept with these versions, and how many of them it was made of.
    pub(super) fn kept(versions: &Versions) -> Option<(usize, Arc<Self>)> {
        let (count, memo) = versions.memo()?;
        Some((count, Arc::downcast(memo).ok()?))
    }

    /// The content of a file whose parts all have attributes, in as few parts as there are.
    pub(super) fn described(
        path: &PondPath,
        node: &Node,
        at: FileVersion,
        cache: &AttributeCache,
    ) -> Result<Arc<Self>> {
        let (versions, until) = versions_at(path, node, at)?;
        let known = Self::kept(versions)
            .map(|(count, content)| (count as u64, content))
            .filter(|(count, content)| *count <= until && content.attributes == node.attributes);
        let content = match known {
            Some((count, content)) if count == until => return Ok(content),
            // What was merged before can have been read by a later version only.
            Some((count, content)) if at == FileVersion::Latest => {
                let mut new = (count + 1..=until).filter_map(|number| versions.get(number));
                new.try_fold(Self::clone(&content), |content, version| content.then(path, node, version, cache))?
                    .finish(path)?
            }
            _ => Self::of_parts(path, node, &versions.compacted_at(until), cache, &HashMap::new())?,
        };
        let content = Arc::new(content);
        if until == versions.len() as u64 {
            versions.set_memo(Arc::clone(&content) as Arc<dyn Any + Send + Sync>);
        }
        Ok(content)
    }

    /// A content of these parts, some of which were looked at.
    pub(super) fn of_parts(
        path: &PondPath,
        node: &Node,
        parts: &[Arc<Version>],
        cache: &AttributeCache,
        inspected: &HashMap<u64, Arc<PartAttributes>>,
    ) -> Result<Self> {
        let mut content = Self::declared(path, node, cache)?;
        for part in parts {
            content.add(path, node, part, cache, inspected.get(&part.number))?;
        }
        content.finish(path)
    }

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

    /// This content and a version after it.
    fn then(mut self, path: &PondPath, node: &Node, version: &Arc<Version>, cache: &AttributeCache) -> Result<Self> {
        if version.mode == WriteMode::Replace {
            self = Self::declared(path, node, cache)?;
        }
        self.add(path, node, version, cache, None)?;
        Ok(self)
    }

    fn add(
        &mut self,
        path: &PondPath,
        node: &Node,
        version: &Arc<Version>,
        cache: &AttributeCache,
        inspected: Option<&Arc<PartAttributes>>,
    ) -> Result<()> {
        let attributes = match inspected {
            Some(inspected) => Arc::clone(inspected),
            None if PartAttributes::is_table(&version.attributes) => cache.part(path, node.id, version)?,
            None => return Err(not_a_table(path, "it was stored as bytes").with_version(version.number)),
        };
        self.merge.add(&attributes.schema, || Origin { name: path.to_string(), version: Some(version.number) })?;
        self.parts.push_back(FilePart { version: Arc::clone(version), attributes });
        Ok(())
    }

    fn finish(mut self, path: &PondPath) -> Result<Self> {
        if self.declared.is_none() && self.parts.is_empty() {
            return Err(not_a_table(path, "it has no content and no declared columns"));
        }
        self.schema = self.merge.schema();
        Ok(self)
    }
}

/// A file's versions, and the number of the one that is meant; 0 before the first.
pub(super) fn versions_at<'a>(path: &PondPath, node: &'a Node, at: FileVersion) -> Result<(&'a Versions, u64)> {
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
