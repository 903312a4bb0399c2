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
//! The table asks of its writers the feature `pondsql`, so that other programs read it and refuse to write to it. Every
//! entry names its pond, and a commit looks at the entry before it last of all: a handle on a pond that was removed, or
//! that another one took the place of, fails and changes nothing.
//!
//! Nothing is believed unread: entries parse or are refused, log files have their BLAKE3 in the entry, and parts have
//! theirs in the row. BLAKE3 being a tree, a range of a large part is checked by the blocks that it touches. A block that a
//! handle has found right is not hashed again while the file's inode, size and times stay as they are: hashing is dearer than
//! decoding. What changes below the file system, with the same times, is seen by the next handle.
//!
//! To open a pond, the bytes of small parts in the rows are not read. Their column is the last, and the `add` of a log
//! file has three tags: `blake3`, of the whole file; `contentRanges`, a JSON list of pairs `[first byte, byte after the
//! last]` that says where the column is, one for each row group; and `blake3WithoutContent`, of the file without these
//! ranges. A replay reads and checks the rest; to read a part is to check the file as a whole, and the part.
//!
//! [`DeltaStore`] is the [`PersistenceLayer`](tinyfs::PersistenceLayer); [`LazyStore`] is one that its first write makes.

mod cache;
mod catch_up;
mod commit;
mod content;
mod engine;
mod entry;
mod error;
mod fetch;
mod files;
mod fsync;
mod lazy;
mod location;
mod maintenance;
mod options;
mod outboard;
mod parts;
mod replay;
mod rows;
mod schema;
mod sparse;
mod store;
mod table;

pub use lazy::LazyStore;
pub use location::Location;
pub use options::{CommitThread, StoreOptions};
pub use store::DeltaStore;
