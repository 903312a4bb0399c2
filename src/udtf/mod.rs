//! The table functions: `pond()` reads files by glob, `pond_join()` puts them side by side, `pond_ls()` and its kin show the filesystem as tables.
//!
//! Each takes the catalog's name: a pond registered as `archive` has `archive()`, `archive_ls()` and so on.

mod arguments;
mod data;
mod factories;
mod function;
mod join;
mod log;
mod ls;
mod matches;
mod members;
mod planner;
mod read;
mod schema;
mod system_table;
mod versions;

pub(crate) use function::functions;
pub(crate) use matches::no_match;
pub(crate) use planner::planner;

use system_table::SystemTable;

/// The suffix of the function that puts files side by side.
const JOIN: &str = "_join";

/// The suffixes of all functions.
fn suffixes() -> impl Iterator<Item = &'static str> {
    ["", JOIN].into_iter().chain(SYSTEM_TABLES.iter().map(|(suffix, _)| *suffix))
}

/// The functions that show the filesystem, by the suffix of their name.
const SYSTEM_TABLES: &[(&str, SystemTable)] = &[
    ("_ls", ls::TABLE),
    ("_versions", versions::TABLE),
    ("_schema", schema::TABLE),
    ("_log", log::TABLE),
    ("_read", read::TABLE),
    ("_factories", factories::TABLE),
];
