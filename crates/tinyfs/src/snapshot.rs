//! [`Snapshot`]: a pond as it was after one transaction.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt};
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::glob::{Glob, GlobMatch, LinkEnds, entries, expand};
use crate::node::{EntryKind, Node, Part, Txn, Version};
use crate::path::PondPath;
use crate::persistence::PersistenceLayer;
use crate::resolve::{Located, locate, resolve};
use crate::state::State;

/// How much of a part is in memory at once while it is streamed.
const STREAM_CHUNK: u64 = 4 * 1024 * 1024;

/// A pond as it was after one transaction, with the store that holds its bytes. Never changes; cheap to clone.
#[derive(Debug, Clone)]
pub struct Snapshot {
    state: Arc<State>,
    store: Arc<dyn PersistenceLayer>,
}

/// What a path led to.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The path without symbolic links.
    pub path: PondPath,
    /// The node there.
    pub node: Arc<Node>,
}

impl Snapshot {
    /// The pond `state`, whose parts are in `store`.
    pub fn new(state: Arc<State>, store: Arc<dyn PersistenceLayer>) -> Self {
        Self { state, store }
    }

    /// The newest there is, looking for other processes' commits first.
    ///
    /// # Errors
    /// As [`PersistenceLayer::refresh`].
    pub async fn newest(store: Arc<dyn PersistenceLayer>) -> Result<Self> {
        Ok(Self { state: store.refresh().await?, store })
    }

    /// The newest this process has seen. Does no I/O.
    pub fn latest(store: Arc<dyn PersistenceLayer>) -> Self {
        Self { state: store.latest(), store }
    }

    /// The pond just after `txn`.
    ///
    /// # Errors
    /// As [`PersistenceLayer::state_at`].
    pub async fn at(store: Arc<dyn PersistenceLayer>, txn: Txn) -> Result<Self> {
        Ok(Self { state: store.state_at(txn).await?, store })
    }

    /// The transaction that made it.
    pub fn txn(&self) -> Txn {
        self.state.txn()
    }

    /// When that was committed.
    pub fn committed_at(&self) -> DateTime<Utc> {
        self.state.committed_at()
    }

    /// Tells this pond from every other one.
    pub fn pond_id(&self) -> Uuid {
        self.store.pond_id()
    }

    /// The tree.
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// The store that holds the bytes.
    pub fn store(&self) -> &Arc<dyn PersistenceLayer> {
        &self.store
    }

    /// What `path` leads to, symbolic links followed.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), naming the deepest directory that exists and its nearest entries;
    /// [`NotADirectory`](ErrorKind::NotADirectory); [`SymlinkLoop`](ErrorKind::SymlinkLoop).
    pub fn lookup(&self, path: &PondPath) -> Result<Entry> {
        resolve(&self.state, path, true).map(|(path, node)| Entry { path, node })
    }

    /// As [`lookup`](Self::lookup), but a symbolic link at the end is not followed.
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup).
    pub fn lookup_link(&self, path: &PondPath) -> Result<Entry> {
        resolve(&self.state, path, false).map(|(path, node)| Entry { path, node })
    }

    /// As [`lookup`](Self::lookup), for those to whom a missing entry is no error: nothing is searched for what is near then.
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup), but never [`NotFound`](ErrorKind::NotFound).
    pub fn find(&self, path: &PondPath) -> Result<Option<Entry>> {
        self.located(path, true)
    }

    /// As [`find`](Self::find), but a symbolic link at the end is not followed.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn find_link(&self, path: &PondPath) -> Result<Option<Entry>> {
        self.located(path, false)
    }

    fn located(&self, path: &PondPath, follow_last: bool) -> Result<Option<Entry>> {
        Ok(match locate(&self.state, path, follow_last)? {
            Located::Found { path, node } => Some(Entry { path, node }),
            Located::Missing(_) => None,
        })
    }

    /// The entries of a directory, by name. Symbolic links are listed, not followed.
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup), and [`NotADirectory`](ErrorKind::NotADirectory).
    pub fn list(&self, path: &PondPath) -> Result<Vec<Entry>> {
        let directory = self.lookup(path)?;
        let Some(entries) = directory.node.entries() else {
            return Err(Error::new(
                ErrorKind::NotADirectory,
                format!("'{path}' is not a directory, it is a {}", directory.node.kind().as_str()),
            )
            .with_path(path));
        };
        entries
            .iter()
            .map(|(name, id)| {
                let node = self.state.node(*id).ok_or_else(|| {
                    Error::new(ErrorKind::Corrupt, format!("the entry '{name}' leads to no node")).with_path(path)
                })?;
                Ok(Entry { path: directory.path.child(name)?, node: Arc::clone(node) })
            })
            .collect()
    }

    /// Everything that `glob` matches, by path; each node once.
    ///
    /// # Errors
    /// [`InvalidGlob`](ErrorKind::InvalidGlob) when it needs too much backtracking. No match is no error here.
    pub fn glob(&self, glob: &Glob) -> Result<Vec<GlobMatch>> {
        expand(&self.state, glob)
    }

    /// As [`glob`](Self::glob), for those who do not ask what the wildcards stand for. A symbolic link that matches is listed itself,
    /// wherever it leads, if its `ends` say so.
    ///
    /// # Errors
    /// As [`glob`](Self::glob).
    pub fn glob_entries(&self, glob: &Glob, ends: LinkEnds) -> Result<Vec<Entry>> {
        entries(&self.state, glob, ends)
    }

    /// Bytes `range` of a part.
    ///
    /// # Errors
    /// As [`PersistenceLayer::read_part`].
    pub async fn read(&self, part: &Part, range: Range<u64>) -> Result<Bytes> {
        self.store.read_part(part, range).await
    }

    /// The bytes of a version, a few megabytes at a time; the stream ends with an error if their hash is not the recorded one.
    pub fn stream(&self, version: &Arc<Version>) -> BoxStream<'static, Result<Bytes>> {
        let store = Arc::clone(&self.store);
        let version = Arc::clone(version);
        let start = Some((0, blake3::Hasher::new()));
        stream::unfold(start, move |at| {
            let (store, version) = (Arc::clone(&store), Arc::clone(&version));
            async move {
                let (offset, mut hasher) = at?;
                let part = &version.part;
                let end = part.size.min(offset + STREAM_CHUNK);
                if offset == part.size {
                    let intact = hasher.finalize() == part.hash;
                    return (!intact).then(|| {
                        let error = Error::new(
                            ErrorKind::Corrupt,
                            "the bytes read are not the bytes written: their hash differs",
                        );
                        (Err(error.with_version(version.number)), None)
                    });
                }
                match store.read_part(part, offset..end).await {
                    Ok(bytes) => {
                        let _ = hasher.update(&bytes);
                        Some((Ok(bytes), Some((end, hasher))))
                    }
                    Err(error) => Some((Err(error.with_version(version.number)), None)),
                }
            }
        })
        .boxed()
    }

    /// The bytes of a version as a reader. Errors arrive as [`std::io::Error`] with the [`Error`] inside.
    ///
    /// What is stored has versions. The bytes of a view or of a dynamic entry are made by the layers that can plan it.
    pub fn open(&self, version: &Arc<Version>) -> impl AsyncRead + Send + Unpin + use<> {
        StreamReader::new(self.stream(version).map(|bytes| bytes.map_err(std::io::Error::other)))
    }
}

impl Entry {
    /// What the entry is.
    pub fn kind(&self) -> EntryKind {
        self.node.kind()
    }
}
