//! `CALL pond_run`: running a dynamic entry.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::physical_plan::memory::MemoryStream;
use datafusion::sql::sqlparser::ast::Value;
use tinyfs::{Definition, Entry, PondPath, Snapshot};
use tokio_util::sync::CancellationToken;

use crate::catalog::factory_context;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{DynamicEntry, RunContext, RunOptions};
use crate::session::parser::text;
use crate::session::{PondSession, StatementResult, TransactionStatus};

/// The argument that every run has.
const DRY_RUN: &str = "dry_run";

impl PondSession {
    /// Runs the dynamic entry at `path`: one row for each thing that was done. Each thing is a transaction of its own, so that there is no
    /// run between `BEGIN` and `COMMIT`. Dropping the future stops it; what was done until then stays.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::WrongKind`] for what no factory made; [`ErrorKind::Usage`] for an argument; [`ErrorKind::ReadOnly`];
    /// [`ErrorKind::Unsupported`] for a factory that the program lacks, or that has nothing to run; what the factory says.
    pub async fn run_entry(&mut self, path: &str, options: RunOptions) -> Result<RecordBatch> {
        if self.transaction_status() == TransactionStatus::Active {
            let message =
                "pond_run commits as it goes, so it cannot be part of a transaction; COMMIT or ROLLBACK first";
            return Err(Error::new(ErrorKind::Usage, message));
        }
        if !options.dry_run {
            self.check_writable()?;
        }
        let pond = self.pond().opened().await?.clone();
        self.register_objects(&pond)?;
        let path = self.names()?.directory.join(path)?;
        let snapshot = Snapshot::newest(Arc::clone(&pond.store)).await?;
        let entry = snapshot.lookup(&path)?;
        let definition = definition(&entry)?;
        let factory = Arc::clone(self.scope().factories().of_entry(&definition.factory, &entry.path)?);
        Definition::check_arguments(factory.as_ref(), &options.arguments)
            .map_err(|error| Error::new(ErrorKind::Usage, format!("pond_run('{path}'): {error}")).with_path(&path))?;
        let token = CancellationToken::new();
        // Tasks of the run end with this future.
        let _ends = token.clone().drop_guard();
        let context = RunContext {
            entry: factory_context(self.scope(), &entry.path, definition)?,
            options,
            store: Arc::clone(&pond.store),
            objects: Arc::clone(&pond.objects),
            attributes: Arc::clone(&pond.attributes),
            session: Arc::new(self.context().state()),
            author: self.options.author.clone(),
            cancelled: token,
        };
        factory.run(&context).await.map_err(|error| match error.path() {
            Some(_) => error,
            None => Error::new(error.kind(), format!("the run of '{path}' failed")).with_path(&path).with_source(error),
        })
    }

    pub(super) async fn call_run(&mut self, path: &str, arguments: Vec<(String, Value)>) -> Result<StatementResult> {
        let mut texts = BTreeMap::new();
        let mut dry_run = false;
        for (name, value) in arguments {
            if texts.contains_key(&name) {
                return Err(Error::new(ErrorKind::Usage, format!("pond_run(): the argument '{name}' is given twice")));
            }
            let value = self.argument(&value)?;
            if name == DRY_RUN {
                dry_run = value.parse().map_err(|_| {
                    Error::new(ErrorKind::Usage, format!("pond_run(): '{DRY_RUN}' is true or false, not '{value}'"))
                })?;
            }
            let _ = texts.insert(name, value);
        }
        let _ = texts.remove(DRY_RUN);
        let options = RunOptions { arguments: texts, dry_run, progress: self.progress.clone() };
        let rows = Box::pin(self.run_entry(path, options)).await?;
        let schema = rows.schema();
        Ok(StatementResult::Rows(Box::pin(MemoryStream::try_new(vec![rows], schema, None)?)))
    }

    /// The value of an argument; of `$name`, that of the session's parameter.
    fn argument(&self, value: &Value) -> Result<String> {
        let Value::Placeholder(name) = value else { return Ok(text(value)) };
        let found = self.options.parameters.get(name.trim_start_matches('$'));
        found
            .cloned()
            .ok_or_else(|| Error::new(ErrorKind::Usage, format!("pond_run(): the parameter {name} has no value")))
    }
}

fn definition(entry: &Entry) -> Result<Definition> {
    let path: &PondPath = &entry.path;
    match DynamicEntry::of(&entry.node, path)? {
        Some(DynamicEntry::Made(definition)) => Ok(definition),
        Some(DynamicEntry::File(file)) => {
            let message =
                format!("'{path}' is an external table of the format '{}', which has nothing to run", file.format);
            Err(Error::new(ErrorKind::WrongKind, message).with_path(path))
        }
        None => {
            let message = format!("'{path}' is a {}, which has nothing to run", entry.kind().as_str());
            Err(Error::new(ErrorKind::WrongKind, message).with_path(path))
        }
    }
}
