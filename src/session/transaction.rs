//! The explicit transaction of a session.

use std::sync::Arc;

use parking_lot::Mutex;
use tinyfs::{CommitInfo, CommitOutcome, Transaction};

use crate::catalog::OpenPond;
use crate::error::{Error, ErrorKind, Result};

/// The longest statement text that the log keeps, in characters.
const MAX_MESSAGE: usize = 500;

/// Whether a session is between `BEGIN` and `COMMIT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    /// It is not: each statement is a transaction.
    None,
    /// It is.
    Active,
}

/// What `BEGIN` was said to allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    ReadWrite,
    ReadOnly,
}

/// A transaction between `BEGIN` and `COMMIT`.
#[derive(Debug)]
pub(crate) struct OpenTransaction {
    pub(crate) pond: OpenPond,
    pub(crate) transaction: Arc<Mutex<Transaction>>,
    pub(crate) access: Access,
    /// The statements that changed something, for the log.
    pub(crate) statements: Vec<String>,
}

/// Commits a transaction that no statement uses any more.
///
/// # Errors
/// [`ErrorKind::Conflict`] where another transaction was first; what the store says.
pub(crate) async fn commit(transaction: Arc<Mutex<Transaction>>, info: CommitInfo) -> Result<()> {
    // Plans that still hold a writer hold the transaction too; they have run, or were dropped.
    let transaction = match Arc::try_unwrap(transaction) {
        Ok(transaction) => transaction.into_inner(),
        Err(_) => {
            let message = "a result of the transaction is still being read; read it to its end before COMMIT";
            return Err(Error::new(ErrorKind::Usage, message));
        }
    };
    match transaction.commit(info).await? {
        CommitOutcome::Committed(_) | CommitOutcome::Unchanged(_) => Ok(()),
        CommitOutcome::Conflicted(conflict) => Err(conflict.into()),
    }
}

/// The text of a statement as the log keeps it: on one line, and not too long.
pub(crate) fn message(sql: &str) -> String {
    let line = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= MAX_MESSAGE {
        return line;
    }
    line.chars().take(MAX_MESSAGE).chain(['…']).collect()
}
