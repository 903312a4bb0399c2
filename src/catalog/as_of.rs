//! The pond as it was.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tinyfs::{PersistenceLayer, Snapshot, Txn};

use crate::error::{Error, ErrorKind, Result};

/// The pond as it was after a transaction, given by number, or by an RFC 3339 time: the last one committed by then.
///
/// # Errors
/// [`ErrorKind::NotFound`] for the future; [`ErrorKind::Plan`] for a text that is neither.
pub(crate) async fn snapshot_as_of(newest: &Snapshot, as_of: &str) -> Result<Snapshot> {
    let store = Arc::clone(newest.store());
    let txn = match as_of.parse::<u64>() {
        Ok(number) => Txn(number),
        Err(_) => {
            let time = DateTime::parse_from_rfc3339(as_of).map_err(|error| {
                let message = format!(
                    "as_of: '{as_of}' is neither a transaction's number nor a time such as 2026-01-31T12:00:00Z"
                );
                Error::new(ErrorKind::Plan, message).with_source(error)
            })?;
            txn_at(&store, newest.txn(), time.with_timezone(&Utc)).await?
        }
    };
    if txn > newest.txn() {
        let message = format!("as_of: transaction {txn} is in the future, the newest is {}", newest.txn());
        return Err(Error::new(ErrorKind::NotFound, message));
    }
    Ok(Snapshot::at(store, txn).await?)
}

async fn txn_at(store: &Arc<dyn PersistenceLayer>, newest: Txn, time: DateTime<Utc>) -> Result<Txn> {
    if time > Utc::now() {
        return Err(Error::new(ErrorKind::NotFound, format!("as_of: {} is in the future", time.to_rfc3339())));
    }
    let log = store.log(newest).await?;
    Ok(log.iter().take_while(|entry| entry.committed_at <= time).last().map_or(Txn(0), |entry| entry.txn))
}
