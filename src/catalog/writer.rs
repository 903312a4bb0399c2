//! Where a table's new version goes: into a statement's transaction, or into one of its own.

use std::sync::Arc;

use async_trait::async_trait;
use tinyfs::{
    Attributes, CommitInfo, CommitOutcome, Part, PersistenceLayer, PondPath, Snapshot, Transaction, TransactionOptions,
    WriteMode,
};

use crate::catalog::statement::Statement;
use crate::error::Result;
use crate::provider::TableWriter;

/// Adds versions to the transaction of a session's statement, which commits it.
#[derive(Debug)]
pub(crate) struct StatementWriter {
    pub(crate) statement: Arc<Statement>,
    pub(crate) path: PondPath,
}

#[async_trait]
impl TableWriter for StatementWriter {
    fn store(&self) -> &Arc<dyn PersistenceLayer> {
        &self.statement.pond().store
    }

    async fn write(&self, mode: WriteMode, part: Part, attributes: Attributes) -> Result<()> {
        let _ = self.statement.transaction().lock().write(&self.path, mode, part, attributes)?;
        Ok(())
    }
}

/// Commits each version at once: for a plain `SessionContext`, which has no transactions.
#[derive(Debug)]
pub(crate) struct AutocommitWriter {
    /// What the plan was made for. A replacing write is refused if the file has changed since.
    pub(crate) base: Snapshot,
    pub(crate) path: PondPath,
}

#[async_trait]
impl TableWriter for AutocommitWriter {
    fn store(&self) -> &Arc<dyn PersistenceLayer> {
        self.base.store()
    }

    async fn write(&self, mode: WriteMode, part: Part, attributes: Attributes) -> Result<()> {
        let mut transaction = Transaction::begin(self.base.clone(), TransactionOptions::default());
        let _ = transaction.write(&self.path, mode, part, attributes)?;
        commit(transaction, &format!("{} {}", mode.as_str(), self.path)).await
    }
}

/// Commits a transaction that nobody else looks at; a conflict is an error.
pub(crate) async fn commit(transaction: Transaction, message: &str) -> Result<()> {
    let info = CommitInfo { author: "pondsql".to_owned(), message: message.to_owned() };
    match transaction.commit(info).await? {
        CommitOutcome::Committed(_) | CommitOutcome::Unchanged(_) => Ok(()),
        CommitOutcome::Conflicted(conflict) => Err(conflict.into()),
    }
}
