//! `SET` and `RESET`.

use datafusion::sql::parser::{ResetStatement, Statement as SqlStatement};
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, Set, Statement};

use crate::catalog::HostFiles;
use crate::error::{Error, ErrorKind, Result};
use crate::session::SessionOptions;

/// What a `SET` or `RESET` changes.
pub(super) enum Setting {
    /// The current directory, to this path.
    Directory(String),
    /// The setting of this name.
    Other(String),
}

impl Setting {
    pub(super) fn read(statement: &SqlStatement) -> Option<Self> {
        const DIRECTORY: &str = "datafusion.catalog.default_schema";
        match statement {
            SqlStatement::Reset(ResetStatement::Variable(name)) => match name.to_string().to_lowercase() {
                name if name == DIRECTORY => Some(Self::Directory("/".to_owned())),
                name => Some(Self::Other(name)),
            },
            SqlStatement::Statement(statement) => match statement.as_ref() {
                Statement::Set(Set::SingleAssignment { variable, values, .. }) => {
                    let name = variable.to_string().to_lowercase();
                    match values.as_slice() {
                        [SqlExpr::Value(value)] if name == DIRECTORY => {
                            Some(Self::Directory(value.clone().into_string()?))
                        }
                        [SqlExpr::Identifier(value)] if name == DIRECTORY => Some(Self::Directory(value.value.clone())),
                        _ => Some(Self::Other(name)),
                    }
                }
                _ => None,
            },
            _ => None,
        }
    }
}

/// Refuses settings that would break the session, or step over what its options forbid.
pub(super) fn check(name: &str, options: &SessionOptions) -> Result<()> {
    let why = match name {
        "datafusion.catalog.default_catalog" => "the pond is the session's catalog",
        "datafusion.runtime.memory_limit" if options.memory_limit.is_some() => "the session was given a memory limit",
        "datafusion.runtime.temp_directory" if options.host_files == HostFiles::Refused => {
            "host files are switched off"
        }
        _ => return Ok(()),
    };
    Err(Error::new(ErrorKind::Unsupported, format!("'{name}' cannot be changed: {why}")))
}
