//! Sessions: SQL on a pond, one snapshot a statement, transactions over everything.

mod bytes;
mod change;
mod copy;
mod create;
mod drop;
mod explained;
mod external;
#[cfg(test)]
mod factory_tests;
mod limits;
mod literals;
mod names;
mod optimize;
mod options;
mod parameters;
mod parser;
mod pond_session;
mod prepared;
mod rename;
mod result;
mod run;
mod setting;
mod show;
mod shown;
#[cfg(test)]
mod tests;
mod transaction;
mod view;
#[cfg(test)]
mod view_tests;

#[cfg(feature = "shell")]
pub(crate) use copy::write_host_file;
pub use options::{ReadOptions, SessionOptions};
pub use pond_session::PondSession;
pub use result::StatementResult;
pub use transaction::TransactionStatus;

pub use limits::{MAX_CHAINED_OPERATORS, MAX_LISTED_TABLES, MAX_STATEMENT_BYTES, MAX_UNION_ARMS};
