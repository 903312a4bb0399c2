//! From the names in a statement to paths.

use datafusion::sql::sqlparser::ast::{Ident, ObjectName};
use tinyfs::PondPath;

use crate::catalog::PondName;
use crate::error::{Error, ErrorKind, Result};

/// How names are read in a session.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// The catalog's name.
    pub(crate) catalog: String,
    /// The current directory.
    pub(crate) directory: PondPath,
    /// Whether names that are not quoted are read in lower case.
    pub(crate) lower_case: bool,
}

impl Names {
    /// What a table name means: a path, or a host file.
    pub(crate) fn resolve(&self, name: &ObjectName) -> Result<PondName> {
        let parts = self.parts(name)?;
        match parts.as_slice() {
            [table] => PondName::parse(&self.directory, table),
            [schema, table] => PondName::parse(&PondPath::root().join(schema)?, table),
            [catalog, schema, table] if *catalog == self.catalog => {
                PondName::parse(&PondPath::root().join(schema)?, table)
            }
            _ => Err(Error::new(ErrorKind::Unsupported, format!("{name} is not in the catalog '{}'", self.catalog))),
        }
    }

    /// The path of an entry that a statement changes.
    ///
    /// # Errors
    /// [`ErrorKind::ReadOnly`] for a host file.
    pub(crate) fn path(&self, name: &ObjectName) -> Result<PondPath> {
        match self.resolve(name)? {
            PondName::Path(path) => Ok(path),
            PondName::Host(name) => Err(Error::new(
                ErrorKind::ReadOnly,
                format!("'{name}' is a host file, which SQL can only read; COPY … TO '{name}' writes one"),
            )),
        }
    }

    /// The path of a directory that is named as a schema.
    pub(crate) fn directory(&self, name: &ObjectName) -> Result<PondPath> {
        match self.parts(name)?.as_slice() {
            [schema] => Ok(self.directory.join(schema)?),
            [catalog, schema] if *catalog == self.catalog => Ok(PondPath::root().join(schema)?),
            _ => Err(Error::new(ErrorKind::Unsupported, format!("{name} is not in the catalog '{}'", self.catalog))),
        }
    }
    /// The identifiers of a name as SQL reads them.
    fn parts(&self, name: &ObjectName) -> Result<Vec<String>> {
        name.0
            .iter()
            .map(|part| match part.as_ident() {
                Some(Ident { value, quote_style: None, .. }) if self.lower_case => Ok(value.to_lowercase()),
                Some(Ident { value, .. }) => Ok(value.clone()),
                None => Err(Error::new(ErrorKind::Unsupported, format!("{name} is not the name of a table"))),
            })
            .collect()
    }
}
