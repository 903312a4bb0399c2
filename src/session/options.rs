//! [`SessionOptions`], [`ReadOptions`].

use std::collections::BTreeMap;

use crate::catalog::HostFiles;

/// How a session behaves.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// Whether `./x.csv` and URLs can be read and written.
    pub host_files: HostFiles,
    /// How many bytes queries may hold in memory before they spill to disk, or fail where they cannot; `None`: no limit.
    pub memory_limit: Option<usize>,
    /// Refuse every change of the pond.
    pub read_only: bool,
    /// See the pond as it was: after a transaction, by number, or at an RFC 3339 time. The session is read-only then.
    pub as_of: Option<String>,
    /// Who the log says committed.
    pub author: String,
    /// Values of `$name` in statements. Whole numbers, decimals, `true` and `false` are what they look like, all else is text.
    pub parameters: BTreeMap<String, String>,
    /// How many threads a query uses; `None`: one per core.
    pub target_partitions: Option<usize>,
}

/// How bytes that are stored in a pond are read as a table; kept with them. The default: as their beginning and their name tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadOptions {
    /// The name of a format.
    pub format: Option<String>,
    /// The options of its reader, by name, as in `CREATE EXTERNAL TABLE … OPTIONS`.
    pub options: Vec<(String, String)>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            host_files: HostFiles::Allowed,
            memory_limit: None,
            read_only: false,
            as_of: None,
            author: "pondsql".to_owned(),
            parameters: BTreeMap::new(),
            target_partitions: None,
        }
    }
}
