//! The table functions: `pond()` reads files by glob, `pond_ls()` and its kin show the filesystem as tables.
//!
//! Each takes the catalog's name: a pond registered as `archive` has `archive()`, `archive_ls()` and so on.

mod arguments;
mod data;
mod function;
mod log;
mod ls;
mod matches;
mod planner;
mod read;
mod schema;
mod system_table;
mod versions;

pub(crate) use function::functions;
pub(crate) use matches::no_match;
pub(crate) use planner::planner;

use system_table::SystemTable;

/// The functions that show the filesystem, by the suffix of their name.
const SYSTEM_TABLES: &[(&str, SystemTable)] = &[
    ("_ls", ls::TABLE),
    ("_versions", versions::TABLE),
    ("_schema", schema::TABLE),
    ("_log", log::TABLE),
    ("_read", read::TABLE),
];
