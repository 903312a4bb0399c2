//! pondsql

mod error;
pub mod provider;

pub use error::{Error, ErrorKind, Result};
