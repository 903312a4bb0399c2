//! [`PondCatalog`]: a pond as a catalog of DataFusion.

use std::sync::Arc;

use datafusion::catalog::{CatalogProvider, SchemaProvider};
use datafusion::common::Result as DataFusionResult;
use tinyfs::{Glob, NodeId, PondPath, RemoveMode, Snapshot, Transaction, TransactionOptions};

use crate::catalog::directory_schema::DirectorySchema;
use crate::catalog::now::effect_now;
use crate::catalog::scope::Scope;
use crate::catalog::writer::commit;
use crate::error::{Error, ErrorKind, Result};

/// A pond as a catalog: each directory is a schema, named by its path.
#[derive(Debug)]
pub struct PondCatalog {
    scope: Arc<Scope>,
}

impl PondCatalog {
    pub(crate) fn new(scope: Arc<Scope>) -> Self {
        Self { scope }
    }

    /// The path that a schema's name means: absolute, or a path from the root without its `/`.
    fn path(name: &str) -> Result<PondPath> {
        Ok(PondPath::root().join(name)?)
    }
}

impl CatalogProvider for PondCatalog {
    fn schema_names(&self) -> Vec<String> {
        // The trait has no way to fail. The names of a pond that cannot be read are asked for again, with an error, by `schema`.
        let names = self.scope.tree_now().and_then(|tree| {
            if let Some(statement) = self.scope.statement() {
                statement.record_glob(&Glob::parse("/**")?);
            }
            directories(&tree.around(&PondPath::root())?)
        });
        names
            .inspect_err(|error| tracing::warn!(%error, "the directories of the pond cannot be listed"))
            .unwrap_or_default()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let path = Self::path(name).ok()?;
        let found = self.scope.tree_now().and_then(|tree| tree.lookup(&path));
        match found {
            Ok(entry) if entry.kind().holds_entries() => {
                Some(Arc::new(DirectorySchema::new(Arc::clone(&self.scope), path)))
            }
            Ok(_) => None,
            Err(error) if error.is_not_found() => None,
            // Anything else must reach the user, and the schema's `table` is where it can.
            Err(_) => Some(Arc::new(DirectorySchema::new(Arc::clone(&self.scope), path))),
        }
    }

    fn register_schema(
        &self,
        name: &str,
        schema: Arc<dyn SchemaProvider>,
    ) -> DataFusionResult<Option<Arc<dyn SchemaProvider>>> {
        if !schema.table_names().is_empty() {
            let message =
                format!("the schema '{name}' cannot be put into a pond with its tables; create it and insert into it");
            return Err(Error::new(ErrorKind::Unsupported, message).into());
        }
        let path = Self::path(name)?;
        effect_now(async {
            let mut transaction = Transaction::begin(self.scope.snapshot().await?, TransactionOptions::default());
            transaction.create_directory(&path)?;
            commit(transaction, &format!("CREATE SCHEMA {path}")).await
        })?;
        Ok(None)
    }

    fn deregister_schema(&self, name: &str, cascade: bool) -> DataFusionResult<Option<Arc<dyn SchemaProvider>>> {
        let path = Self::path(name)?;
        let Some(schema) = self.schema(name) else { return Ok(None) };
        let mode = if cascade { RemoveMode::Recursive } else { RemoveMode::Empty };
        effect_now(async {
            let mut transaction = Transaction::begin(self.scope.snapshot().await?, TransactionOptions::default());
            transaction.remove(&path, mode)?;
            commit(transaction, &format!("DROP SCHEMA {path}")).await
        })?;
        Ok(Some(schema))
    }
}

/// The paths of all directories, the root's first.
fn directories(snapshot: &Snapshot) -> Result<Vec<String>> {
    let mut names = vec!["/".to_owned()];
    let mut waiting = vec![(PondPath::root(), NodeId::ROOT)];
    let node = |id: NodeId, path: &PondPath| {
        snapshot
            .state()
            .node(id)
            .ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("the entry '{path}' leads nowhere")).with_path(path))
    };
    while let Some((path, id)) = waiting.pop() {
        for (name, id) in node(id, &path)?.entries().into_iter().flatten() {
            let path = path.child(name)?;
            if node(*id, &path)?.kind().holds_entries() {
                names.push(path.to_string());
                waiting.push((path, *id));
            }
        }
    }
    names.sort();
    Ok(names)
}
