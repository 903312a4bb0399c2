//! pondsql

mod session;
#[cfg(feature = "shell")]
pub mod shell;

pub use session::{
    Error, ErrorKind, OpenOptions, Pond, PondSession, Result, SessionOptions, StatementResult, TransactionStatus,
};
