//! [`Table`]: the Delta table below, its entries and objects.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;

use buoyant_kernel::snapshot::Snapshot as KernelSnapshot;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use deltalake_core::DeltaTableError;
use deltalake_core::kernel::Snapshot;
use deltalake_core::kernel::transaction::TransactionError;
use deltalake_core::logstore::{CommitOrBytes, LogStore, StorageConfig, commit_uri_from_version, default_logstore};
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt};
use tinyfs::{Error, ErrorKind, Result, Txn};
use uuid::Uuid;

use crate::engine::SmallBatches;
use crate::entry::{FORMAT, FORMAT_KEY, POND_ID, is_of, log_file, parse};
use crate::error::{corrupt, delta, io, lost, unreadable, unwritable};
use crate::files::{LogFile, LogFiles};
use crate::fsync::{self, FsyncStore, create_dirs};
use crate::location::Location;
use crate::options::StoreOptions;

/// The Delta table of a pond.
#[derive(Debug)]
pub(crate) struct Table {
    log_store: Arc<dyn LogStore>,
    /// Rooted at the pond.
    pub(crate) objects: Arc<dyn ObjectStore>,
    /// The pond's directory, where it has one.
    pub(crate) directory: Option<PathBuf>,
}

/// What a table says of itself when it is opened.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) pond_id: Uuid,
    pub(crate) created: DateTime<Utc>,
    pub(crate) newest: Txn,
    pub(crate) files: LogFiles,
}

/// What became of an entry that was put.
#[derive(Debug)]
pub(crate) enum Put {
    /// It is there, and durable.
    Done,
    /// Another one is.
    Taken,
    /// It is there, for everybody to see, but the storage failed to make it durable.
    Volatile(Error),
    /// It is not there, and will not be.
    Failed(Error),
    /// It is not there, and the one before is gone or another pond's: this pond was removed or replaced.
    Orphaned,
    /// Nobody can tell, or a cloud's request may still arrive.
    Unknown(Error),
}

/// What stopped a commit to a directory.
#[derive(Debug)]
pub(crate) struct WriteFailure {
    error: std::io::Error,
    /// The entry before is gone, or another pond's.
    orphaned: bool,
}

impl Table {
    /// Reaches the place, without looking whether a table is there.
    pub(crate) fn connect(location: &Location, options: &StoreOptions, create: bool) -> Result<Self> {
        let mut location = location.clone();
        if options.object_store.is_none()
            && let Some(directory) = location.directory()
        {
            if create {
                create_dirs(directory)
                    .map_err(|error| io(format!("cannot create the directory '{}'", directory.display()), error))?;
            }
            let directory = match directory.canonicalize() {
                Ok(directory) => directory,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Err(absent(&location).with_source(error));
                }
                Err(error) => return Err(io(format!("cannot open '{}'", directory.display()), error)),
            };
            location = Location::from_path(&directory)?;
        }
        let url = location.url()?;
        let unusable = |error: object_store::Error| {
            Error::new(ErrorKind::Unsupported, format!("'{location}' cannot be reached")).with_source(error)
        };
        let mut directory = None;
        let (root, prefix): (Arc<dyn ObjectStore>, Path) = if let Some(store) = &options.object_store {
            let prefix = Path::from_url_path(url.path()).map_err(|error| unusable(error.into()))?;
            (Arc::clone(store), prefix)
        } else if let Some(path) = location.directory() {
            directory = Some(path.to_owned());
            let prefix = Path::from_absolute_path(path).map_err(|error| unusable(error.into()))?;
            (Arc::new(FsyncStore::default()), prefix)
        } else {
            let (store, prefix) =
                object_store::parse_url_opts(&url, options.storage_options.clone()).map_err(unusable)?;
            (Arc::from(store), prefix)
        };
        let objects: Arc<dyn ObjectStore> = Arc::new(PrefixStore::new(Arc::clone(&root), prefix));
        let log_store = default_logstore(Arc::clone(&objects), root, &url, &StorageConfig::default());
        Ok(Self { log_store: Arc::new(SmallBatches(log_store)), objects, directory })
    }

    /// Reads the table as it is now: the last checkpoint and the entries after it.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when no table is there, [`Unsupported`](ErrorKind::Unsupported) when it is not
    /// a pond or one of a later format, [`Corrupt`](ErrorKind::Corrupt) when it is damaged.
    pub(crate) async fn load(&self, location: &Location) -> Result<Loaded> {
        let (mut listed, mut checkpoints) = self.newest().await?;
        let (snapshot, files) = loop {
            let Some(newest) = listed else { return Err(absent(location)) };
            // Damage must never be a panic, and the bytes of a checkpoint are read by others' code.
            let read = AssertUnwindSafe(self.read_snapshot(newest)).catch_unwind().await;
            let error = match read {
                Ok(Ok(read)) => break read,
                Ok(Err(DeltaTableError::NotATable(_))) => return Err(absent(location)),
                Ok(Err(error)) => delta("the pond's Delta log cannot be read", error),
                Err(_) => corrupt("the pond's Delta log is damaged"),
            };
            // Who commits meanwhile makes newer checkpoints and removes old ones, of which this may have been one.
            let before = checkpoints;
            (listed, checkpoints) = self.newest().await?;
            if checkpoints == before {
                return Err(self.diagnose(error).await);
            }
        };
        let metadata = snapshot.metadata();
        let configuration = metadata.configuration();
        let Some(pond_id) = configuration.get(POND_ID) else {
            return Err(Error::new(ErrorKind::Unsupported, format!("'{location}' is a Delta table, but not a pond")));
        };
        let pond_id = Uuid::parse_str(pond_id)
            .map_err(|error| corrupt(format!("the pond's id '{pond_id}' is damaged")).with_source(error))?;
        check_format(configuration.get(FORMAT_KEY).map(String::as_str), location)?;
        let created = metadata
            .created_time()
            .and_then(DateTime::from_timestamp_millis)
            .ok_or_else(|| corrupt("the pond's log does not say when the pond was created"))?;
        let newest = Txn(snapshot.version());
        let files = match LogFiles::covering(files, newest) {
            Ok(files) => files,
            Err(error) => return Err(self.diagnose(error).await),
        };
        Ok(Loaded { pond_id, created, newest, files })
    }

    /// The last transaction up to which the log is listed without a gap, nothing if there is no log; and the checkpoints.
    ///
    /// A listing is no snapshot: of the entries that are put while it is made, it may show a later one without an
    /// earlier. Those that it shows from the start without a gap are all there.
    async fn newest(&self) -> Result<(Option<Txn>, BTreeSet<String>)> {
        let (mut entries, mut checkpoints, mut start) = (BTreeSet::new(), BTreeSet::new(), 0);
        for name in self.log_names().await? {
            let Some((number, kind)) = name.split_once('.') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match kind {
                "json" => drop(entries.insert(number)),
                kind if kind.starts_with("checkpoint") => {
                    start = start.max(number);
                    let _ = checkpoints.insert(name);
                }
                _ => {}
            }
        }
        let Some(last) = entries.last().copied() else { return Ok(((start > 0).then_some(Txn(start)), checkpoints)) };
        if start == 0 && !entries.contains(&0) && !self.has_entry(Txn(0)).await? {
            return Err(missing(Txn(0)));
        }
        let mut newest = start;
        while entries.contains(&(newest + 1)) {
            newest += 1;
        }
        let next = Txn(newest + 1);
        if last > newest && !self.has_entry(next).await? {
            return Err(missing(next));
        }
        Ok((Some(Txn(newest)), checkpoints))
    }

    /// The names in `_delta_log`. A store would look at each file for its size, and they become many.
    async fn log_names(&self) -> Result<Vec<String>> {
        let unlisted = "cannot list the pond's log";
        let Some(directory) = &self.directory else {
            let path = Path::from("_delta_log");
            let listing = self.objects.list(Some(&path)).map_ok(|meta| meta.location.filename().map(str::to_owned));
            let names: Vec<_> = listing.try_collect().await.map_err(|error| io(unlisted, error))?;
            return Ok(names.into_iter().flatten().collect());
        };
        let log = directory.join("_delta_log");
        let read = move || -> std::io::Result<Vec<String>> {
            match std::fs::read_dir(log) {
                Ok(names) => names.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect(),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
                Err(error) => Err(error),
            }
        };
        let read = tokio::task::spawn_blocking(read).await.map_err(lost)?;
        let mut names = read.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotADirectory => {
                io(format!("there is no pond at '{}': a file is in its place", directory.display()), error)
            }
            _ => io(format!("{unlisted} at '{}'", directory.display()), error),
        })?;
        // What is being written, or was when a program ended, has no name yet.
        names.retain(|name| !name.contains('#'));
        Ok(names)
    }

    /// Whether there is anything below this directory.
    pub(crate) async fn holds(&self, directory: &str) -> Result<bool> {
        let path = Path::from(directory);
        let first = self.objects.list(Some(&path)).try_next().await;
        Ok(first.map_err(|error| io(format!("cannot list {path}"), error))?.is_some())
    }

    /// A log that is gone takes the meaning of all other files with it; a new one would bury them.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) when a pond's files are there.
    pub(crate) async fn check_vacant(&self, location: &Location) -> Result<()> {
        if self.holds("log").await? || self.holds("_content").await? {
            return Err(corrupt(format!(
                "there are a pond's files at '{location}', but its log is gone: restore _delta_log"
            )));
        }
        Ok(())
    }

    async fn read_snapshot(&self, newest: Txn) -> Result<(Snapshot, Vec<Arc<LogFile>>), DeltaTableError> {
        let snapshot = Snapshot::try_new(self.log_store.as_ref(), Some(newest.0)).await?;
        let views = snapshot.file_views(self.log_store.as_ref(), None);
        #[expect(deprecated, reason = "the one accessor that gives the tags")]
        let adds: Vec<_> = views.map_ok(|view| view.add_action()).try_collect().await?;
        let files = adds.iter().map(|add| log_file(add).map(Arc::new)).collect::<Result<_>>();
        let files = files.map_err(|error| DeltaTableError::GenericError { source: Box::new(error) })?;
        Ok((snapshot, files))
    }

    /// Says which file is the damaged one, and what to do. Only for errors: it reads the whole log.
    async fn diagnose(&self, error: Error) -> Error {
        if error.kind() != ErrorKind::Corrupt {
            return error;
        }
        let mut listing = self.objects.list(Some(&Path::from("_delta_log")));
        let (mut entries, mut checkpoints) = (Vec::new(), Vec::new());
        while let Some(Ok(meta)) = listing.next().await {
            let Some(name) = meta.location.filename() else { continue };
            entries.extend(name.strip_suffix(".json").and_then(|name| name.parse().ok()).map(Txn));
            if name.contains("checkpoint") {
                checkpoints.push(name.to_owned());
            }
        }
        entries.sort_unstable();
        for (txn, next) in entries.iter().zip((0..).map(Txn)) {
            if *txn != next {
                return missing(next);
            }
            if txn.0 > 0
                && let Ok(Some(bytes)) = self.entry(*txn).await
                && let Err(cause) = parse(*txn, &bytes)
            {
                return cause;
            }
        }
        if checkpoints.is_empty() {
            return error;
        }
        let message = format!(
            "a checkpoint of the pond's log is damaged: remove {} from _delta_log, which only save time; the entries are whole",
            checkpoints.join(", ")
        );
        corrupt(message).with_source(error)
    }

    /// Writes the rows of a transaction, and then its entry, if it has none: the commit, on an object store.
    ///
    /// # Errors
    /// When the rows cannot be written. The entry is not there then, and will not be.
    pub(crate) async fn commit(&self, pond_id: Uuid, rows: (&Path, &Bytes), txn: Txn, entry: &Bytes) -> Result<Put> {
        let before = Txn(txn.0.saturating_sub(1));
        let (before, ()) = futures::try_join!(self.entry(before), self.write(rows.0, rows.1.clone()))?;
        Ok(match before {
            Some(before) if is_of(pond_id, &before) => self.put_entry(txn, entry.clone()).await,
            _ => Put::Orphaned,
        })
    }

    /// The same where the pond is a directory. Blocks, and waits for nobody.
    ///
    /// # Errors
    /// What went wrong; [`judge`](Self::judge) finds out what that means.
    pub(crate) fn commit_here(
        &self,
        directory: &std::path::Path,
        pond_id: Uuid,
        rows: (&Path, &[u8]),
        txn: Txn,
        entry: &[u8],
    ) -> Result<(), WriteFailure> {
        let before = Txn(txn.0.saturating_sub(1));
        let target = directory.join(commit_uri_from_version(Some(txn.0)).as_ref());
        let previous = directory.join(commit_uri_from_version(Some(before.0)).as_ref());
        let mut orphaned = false;
        let is_next = || match std::fs::read(previous) {
            Ok(bytes) if is_of(pond_id, &bytes) => Ok(()),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => {
                orphaned = true;
                Err(std::io::ErrorKind::NotFound.into())
            }
        };
        let written = fsync::commit((&directory.join(rows.0.as_ref()), rows.1), (&target, entry), is_next);
        written.map_err(|error| WriteFailure { error, orphaned })
    }

    /// What became of an entry that could not be written as it should.
    pub(crate) async fn judge(
        &self,
        directory: &std::path::Path,
        txn: Txn,
        entry: &Bytes,
        failure: WriteFailure,
    ) -> Put {
        let WriteFailure { error, orphaned } = failure;
        if orphaned || !directory.join("_delta_log").is_dir() {
            return Put::Orphaned;
        }
        let taken = error.kind() == std::io::ErrorKind::AlreadyExists;
        let failure = io(format!("cannot write transaction {txn}"), error);
        match self.entry(txn).await {
            Ok(Some(found)) if found == *entry => Put::Volatile(failure),
            Ok(Some(_)) => Put::Taken,
            Ok(None) => Put::Failed(failure),
            Err(_) if taken => Put::Taken,
            Err(_) => Put::Unknown(failure),
        }
    }

    /// Puts the entry of a transaction, if it has none.
    pub(crate) async fn put_entry(&self, txn: Txn, bytes: Bytes) -> Put {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let entry = CommitOrBytes::LogBytes(bytes.clone());
            let failure = match self.log_store.write_commit_entry(txn.0, entry, Uuid::nil()).await {
                Ok(()) => return Put::Done,
                // A cloud's client repeats requests by itself, and may then find its own entry.
                Err(TransactionError::VersionAlreadyExists(_)) => None,
                Err(error) => Some(io(format!("cannot write the entry of transaction {txn}"), error)),
            };
            let found = self.entry(txn).await;
            return match (failure, found) {
                (None, Ok(found)) if found.as_ref() != Some(&bytes) => Put::Taken,
                (None, Ok(_)) => Put::Done,
                (None, Err(error)) => Put::Unknown(error),
                (Some(_), Ok(Some(found))) if found != bytes => Put::Taken,
                (Some(failure), Ok(Some(_))) if self.directory.is_some() => Put::Volatile(failure),
                (Some(_), Ok(Some(_))) => Put::Done,
                (Some(failure), Ok(None)) if self.directory.is_some() => Put::Failed(failure),
                // The request may yet arrive. Asking again settles it: the entry is the same.
                (Some(failure), _) if attempt >= 3 => Put::Unknown(failure),
                (Some(_), _) => continue,
            };
        }
    }

    /// The entry of a transaction, if there is one.
    pub(crate) async fn entry(&self, txn: Txn) -> Result<Option<Bytes>> {
        let path = commit_uri_from_version(Some(txn.0));
        match self.objects.get(&path).await {
            Ok(found) => match found.bytes().await {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) => Err(unreadable(&path, "an entry of the log", error)),
            },
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(unreadable(&path, "an entry of the log", error)),
        }
    }

    /// Whether it is certain that the transaction has no entry. A disk of this machine says so at once, and is asked at once: to
    /// wake another thread for that takes longer. Where that says nothing, [`entry`](Self::entry) does.
    pub(crate) fn has_no_entry(&self, txn: Txn) -> bool {
        let Some(directory) = &self.directory else { return false };
        let path = directory.join(commit_uri_from_version(Some(txn.0)).as_ref());
        matches!(std::fs::symlink_metadata(path), Err(error) if error.kind() == std::io::ErrorKind::NotFound)
    }

    /// Whether the transaction has an entry.
    pub(crate) async fn has_entry(&self, txn: Txn) -> Result<bool> {
        let path = commit_uri_from_version(Some(txn.0));
        match self.objects.head(&path).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(unreadable(&path, "an entry of the log", error)),
        }
    }

    /// Writes an object whose name is its own.
    pub(crate) async fn write(&self, path: &Path, bytes: Bytes) -> Result<()> {
        let _ = self.objects.put(path, bytes.into()).await.map_err(|error| unwritable(path, error))?;
        Ok(())
    }

    /// Removes an object that the log does not name. That fails without harm.
    pub(crate) async fn discard(&self, path: &Path) {
        match self.objects.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => tracing::warn!(%path, %error, "a leftover of the log stays"),
        }
    }

    /// Writes a checkpoint of the table as it was after `txn`.
    pub(crate) async fn checkpoint(&self, txn: Txn) -> Result<()> {
        let log_store = Arc::clone(&self.log_store);
        // The kernel's own, and not delta-rs': that wants a loaded table, whose files are listed for nothing. On a thread
        // that may block, because the kernel does.
        let work = move || -> Result<(), DeltaTableError> {
            let engine = log_store.engine(None);
            let root = log_store.transaction_url(None)?;
            let snapshot = KernelSnapshot::builder_for(root).at_version(txn.0).build(engine.as_ref())?;
            let _ = snapshot.checkpoint(engine.as_ref(), None)?;
            Ok(())
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(lost)?
            .map_err(|error| delta("the checkpoint was not written", error))?;
        self.discard_checkpoints().await
    }

    /// Removes all checkpoints but the newest two. The one before the newest is for those who are opening the table.
    async fn discard_checkpoints(&self) -> Result<()> {
        let mut checkpoints = self.log_names().await?;
        checkpoints.retain(|name| name.ends_with(".checkpoint.parquet"));
        checkpoints.sort();
        let old = checkpoints.len().saturating_sub(2);
        for name in &checkpoints[..old] {
            self.discard(&Path::from_iter(["_delta_log", name])).await;
        }
        Ok(())
    }
}

/// An entry is gone, and later ones are there.
fn missing(txn: Txn) -> Error {
    corrupt(format!(
        "the log is not whole: _delta_log/{:020}.json is gone, and later entries are there; restore that file from a copy of the pond, because nothing else tells what transaction {txn} did",
        txn.0
    ))
}

fn check_format(format: Option<&str>, location: &Location) -> Result<()> {
    let number = format.and_then(|text| text.parse::<u32>().ok());
    match number {
        Some(number) if number == FORMAT => Ok(()),
        Some(number) if number > FORMAT => Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "'{location}' is a pond of format {number}; this program knows formats up to {FORMAT}: use a newer one"
            ),
        )),
        _ => Err(corrupt(format!("the format of the pond at '{location}' is damaged: {format:?}"))),
    }
}

fn absent(location: &Location) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no pond at '{location}'"))
}
