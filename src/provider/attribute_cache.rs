//! [`AttributeCache`]: attributes that were parsed before.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use datafusion::arrow::datatypes::SchemaRef;
use tinyfs::{Attributes, Node, NodeId, PondPath, Version};

use super::attributes::{PartAttributes, TableAttributes};
use super::format::Wanted;
use super::schema_text;
use crate::error::Result;

/// How many columns the cache holds statistics of before it starts anew: about 150 MB.
const MAX_COLUMNS: usize = 500_000;

/// Keeps the parsed attributes of versions, and one schema for all equal texts, so that ten thousand files of one shape share it.
///
/// One for all sessions over a pond. Bounded: it starts anew when it is full, which costs parsing once more.
#[derive(Debug, Default)]
pub struct AttributeCache {
    parts: DashMap<Key, Cached>,
    schemas: DashMap<Arc<str>, SchemaRef>,
    /// Of bytes that were stored without attributes, or are read in another way: what was found by looking at them.
    inspected: DashMap<Inspected, Arc<PartAttributes>>,
    columns: AtomicUsize,
}

/// What an inspection depends on: the bytes, the name of the file, and what is wanted.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Inspected {
    hash: [u8; 32],
    name: Box<str>,
    wanted: Wanted,
}

impl Inspected {
    fn new(path: &PondPath, version: &Version, wanted: &Wanted) -> Self {
        let name = path.name().unwrap_or_default().into();
        Self { hash: *version.part.hash.as_bytes(), name, wanted: wanted.clone() }
    }
}

/// Node, version and the beginning of the hash: several parts may stand for one version, each with attributes of its own.
type Key = (NodeId, u64, [u8; 8]);

#[derive(Debug)]
struct Cached {
    /// What was parsed: a version that was never committed and one that was may share a number.
    source: Attributes,
    parsed: Arc<PartAttributes>,
}

impl AttributeCache {
    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// The attributes of a version of the node at `path`.
    ///
    /// # Errors
    /// As [`PartAttributes::parse`], with path and version.
    pub fn part(&self, path: &PondPath, node: NodeId, version: &Version) -> Result<Arc<PartAttributes>> {
        let hash = version.part.hash.as_bytes();
        let key = (node, version.number, hash.first_chunk().copied().unwrap_or_default());
        if let Some(cached) = self.parts.get(&key)
            && cached.source == version.attributes
        {
            return Ok(Arc::clone(&cached.parsed));
        }
        let parsed = PartAttributes::parse_with(&version.attributes, |text| self.schema(text))
            .map_err(|error| error.with_path(path).with_version(version.number))?;
        let parsed = Arc::new(parsed);
        self.make_room(&parsed);
        let _ = self.parts.insert(key, Cached { source: version.attributes.clone(), parsed: Arc::clone(&parsed) });
        Ok(parsed)
    }

    /// What was found in the bytes of a version of the file at `path`, read as is `wanted`.
    pub(crate) fn inspected(&self, path: &PondPath, version: &Version, wanted: &Wanted) -> Option<Arc<PartAttributes>> {
        self.inspected.get(&Inspected::new(path, version, wanted)).map(|found| Arc::clone(&found))
    }

    /// Keeps what was found.
    pub(crate) fn keep_inspected(
        &self,
        path: &PondPath,
        version: &Version,
        wanted: &Wanted,
        found: PartAttributes,
    ) -> Arc<PartAttributes> {
        self.make_room(&found);
        let found = Arc::new(found);
        let _ = self.inspected.insert(Inspected::new(path, version, wanted), Arc::clone(&found));
        found
    }

    /// The attributes of how many versions are at hand.
    #[cfg(test)]
    pub(crate) fn parsed(&self) -> usize {
        self.parts.len()
    }

    fn make_room(&self, added: &PartAttributes) {
        let columns = added.schema.fields().len() + 1;
        if self.columns.fetch_add(columns, Ordering::Relaxed) > MAX_COLUMNS {
            self.parts.clear();
            self.schemas.clear();
            self.inspected.clear();
            self.columns.store(columns, Ordering::Relaxed);
        }
    }

    /// What was declared for the node at `path`; `None` when nothing was.
    ///
    /// # Errors
    /// As [`TableAttributes::parse`], with the path.
    pub fn table(&self, path: &PondPath, node: &Node) -> Result<Option<TableAttributes>> {
        TableAttributes::parse_with(&node.attributes, |text| self.schema(text)).map_err(|error| error.with_path(path))
    }

    fn schema(&self, text: &Arc<str>) -> Result<SchemaRef> {
        if let Some(schema) = self.schemas.get(text) {
            return Ok(Arc::clone(&schema));
        }
        let schema = schema_text::decode(text)?;
        // Whoever came first wins, so that equal schemas are one allocation.
        Ok(Arc::clone(&self.schemas.entry(Arc::clone(text)).or_insert(schema)))
    }
}
