//! TLogFS: TinyFS on a Delta Lake table.
//!
//! A pond is a directory (or a prefix of a cloud's bucket):
//!
//! ```text
//! POND/
//!   _delta_log/          an ordinary Delta table: any Delta reader can open the pond's log
//!   log/*.parquet        its rows, one for each operation and one for each commit
//!   _content/ab/abcdef…  the bytes of parts above the inline limit, raw, named by their BLAKE3
//!   _hashes/ab/abcdef…   the BLAKE3 of each 128 KiB of such a part, if it has more than 1 MiB; made anew if lost
//! ```
//!
//! Transaction n of the pond is version n of the table, always: a commit is one conditional put of
//! `_delta_log/<n>.json`, made after everything that it names is durable. Nothing else takes a version;
//! what compaction has to say rides on the next commit.
//!
//! [`DeltaStore`] is the [`PersistenceLayer`](tinyfs::PersistenceLayer).

mod cache;
mod catch_up;
mod commit;
mod content;
mod entry;
mod error;
mod files;
mod fsync;
mod location;
mod maintenance;
mod options;
mod outboard;
mod parts;
mod replay;
mod rows;
mod schema;
mod store;
mod table;

pub use location::Location;
pub use options::StoreOptions;
pub use store::DeltaStore;
