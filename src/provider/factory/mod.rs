//! [`TableFactory`]: how a dynamic entry becomes tables, and what runs it.

mod entry;
mod outside;
mod registry;
mod run_context;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::catalog::{Session, TableProvider};
use tinyfs::{DynamicFactory, FactoryContext};

use crate::error::{Error, ErrorKind, Result};

pub use entry::{DynamicEntry, FactoryChild};
pub use outside::StoreFiles;
pub use registry::Factories;
pub use run_context::{Progress, RunContext, RunOptions, TableWrite, Written};
pub(crate) use run_context::{Put, PutOptions};

/// A factory whose entries are tables. The other half of it, [`DynamicFactory`], knows names, bytes and configuration.
///
/// Two traits, because TinyFS must not know what a table is: listing a directory, checking a definition and copying bytes need
/// no DataFusion. A run is here and not there, because it writes tables: what it stores must have a schema, statistics and an order,
/// which only this layer can tell.
#[async_trait]
pub trait TableFactory: DynamicFactory {
    /// The table that the entry is; of a directory, the table that the child of this name is. Called when a statement names it:
    /// reads no more than it takes to know the columns.
    ///
    /// # Errors
    /// What the source says; [`WrongKind`](ErrorKind::WrongKind) for what is no table.
    async fn table(
        &self,
        session: &dyn Session,
        context: &FactoryContext,
        child: Option<&str>,
    ) -> Result<Arc<dyn TableProvider>>;

    /// Does what `CALL pond_run` asks for, and tells what was done: one row for each thing. Each thing is a transaction of its own, so
    /// that a run that is stopped, or fails half way, loses nothing and is continued by the next. Dropping the future ends it.
    ///
    /// # Errors
    /// What makes the run as a whole fail. What fails of one thing stands in its row.
    async fn run(&self, context: &RunContext) -> Result<RecordBatch> {
        let message = format!("{} has nothing to run", self.name().to_uppercase());
        Err(Error::new(ErrorKind::Unsupported, message).with_path(context.path()))
    }
}
