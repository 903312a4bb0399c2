//! TinyFS: a virtual, transactional filesystem.
//!
//! A pond is a tree of directories, files, symbolic links, views and dynamic entries. A file is a sequence of
//! [`Version`]s that append to or replace its content. A [`Snapshot`] is the tree after one transaction and never
//! changes; a [`Transaction`] collects changes over a snapshot and commits them all or not at all, rebased over what
//! others committed meanwhile, or refused with a [`Conflict`]. Where it is all kept is a [`PersistenceLayer`]'s
//! business; [`MemoryStore`] is the one that ships here.
//!
//! TinyFS sees bytes and opaque [`Attributes`]. It knows nothing of tables, and its manifest keeps it so.

mod clock;
mod conflict;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod factory;
mod glob;
mod log;
mod memory;
mod node;
mod path;
mod persistence;
mod rebase;
mod resolve;
mod snapshot;
mod state;
mod transaction;
mod versions;

pub use blake3::Hash;
pub use clock::{Clock, SystemClock};
pub use conflict::{Conflict, Mine, Theirs};
pub use error::{Error, ErrorKind, Result};
pub use factory::{
    Bytestream, Child, Definition, DynamicFactory, FactoryContext, Field, InvalidOption, LocationSpec, NothingOutside,
    OptionSpec, OptionType, Outside, Secret, SecretSource, Shape, parse_duration, parse_time,
};
pub use glob::{Captures, Glob, GlobMatch, LinkEnds};
pub use log::{Action, Commit, CommitInfo, LogEntry, Operation};
pub use memory::{MemoryStore, slice};
pub use node::{Attributes, Body, EntryKind, Node, NodeId, Part, Place, Txn, Version, WriteMode};
pub use path::{MAX_NAME_BYTES, MAX_PATH_BYTES, PondPath, check_name};
pub use persistence::{Appended, PartWriter, PersistenceLayer};
pub use snapshot::{Entry, Snapshot};
pub use state::State;
pub use transaction::{CommitOutcome, NewEntry, RemoveMode, Savepoint, Transaction, TransactionOptions};
pub use versions::{Compaction, Memo, Versions};

/// How many symbolic links a path may go through, as on Linux.
pub const MAX_SYMLINKS: usize = 40;
