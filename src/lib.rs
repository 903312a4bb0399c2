//! pondsql: a transactional filesystem whose structured files are tables, as a DataFusion catalog and a SQL shell.
//!
//! A [`Pond`] is a tree of files. A structured file is a table, a directory a schema, a glob a table function, a derived
//! file a view, and one transaction covers them all. There are two ways in:
//!
//! - [`Pond::register`] makes a pond a catalog of any DataFusion `SessionContext`;
//! - [`Pond::session`] gives a [`PondSession`], which adds transactions, one snapshot a statement, and the statements that
//!   DataFusion itself cannot parse.
//!
//! `ARCHITECTURE.md` in the repository walks through the layers.

mod builder;
mod catalog;
mod error;
pub mod factory;
#[cfg(test)]
mod layers;
mod location;
mod pond;
pub mod provider;
mod session;
#[cfg(feature = "shell")]
pub mod shell;
#[cfg(test)]
mod testing;
mod udtf;

pub use builder::SessionStateBuilderExt;
pub use catalog::{HostFiles, PondCatalog};
pub use error::{Error, ErrorKind, Result};
pub use location::{CommitThread, Location, OpenOptions};
pub use pond::{Pond, PondBuilder};
pub use session::{
    MAX_CHAINED_OPERATORS, MAX_LISTED_TABLES, MAX_STATEMENT_BYTES, MAX_UNION_ARMS, PondSession, ReadOptions,
    SessionOptions, StatementResult, TransactionStatus,
};
