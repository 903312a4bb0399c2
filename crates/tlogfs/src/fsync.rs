//! [`FsyncStore`]: the local disk as an object store that keeps what it has acknowledged.
//!
//! [`LocalFileSystem`] never syncs, so a machine that loses power may lose an acknowledged commit, or show an empty
//! file where one was. Syncing after its `put` would not do: the name would be visible before its bytes are safe.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};
use uuid::Uuid;

/// A [`LocalFileSystem`] whose writes are durable, and visible only once they are.
#[derive(Debug, Clone, Default)]
pub(crate) struct FsyncStore {
    inner: LocalFileSystem,
}

impl fmt::Display for FsyncStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FsyncStore({})", self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for FsyncStore {
    async fn put_opts(&self, location: &ObjectPath, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if matches!(opts.mode, PutMode::Update(_)) || !opts.attributes.is_empty() {
            // The file system can do neither, and says so itself.
            return self.inner.put_opts(location, payload, opts).await;
        }
        let path = self.inner.path_to_filesystem(location)?;
        blocking(move || {
            let mut staged = Staged::beside(&path).map_err(|error| lift(error, &path))?;
            let written = payload.iter().try_for_each(|bytes| staged.file.write_all(bytes));
            written
                .and_then(|()| if opts.mode == PutMode::Create { staged.create(&path) } else { staged.replace(&path) })
                .map_err(|error| lift(error, &path))?;
            Ok(PutResult { e_tag: None, version: None })
        })
        .await
    }

    async fn put_multipart_opts(
        &self,
        location: &ObjectPath,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        if !opts.attributes.is_empty() {
            return self.inner.put_multipart_opts(location, opts).await;
        }
        let path = self.inner.path_to_filesystem(location)?;
        blocking(move || {
            let staged = Staged::beside(&path).map_err(|error| lift(error, &path))?;
            let upload: Box<dyn MultipartUpload> =
                Box::new(Upload { staged: Arc::new(Mutex::new(Some(staged))), path, offset: 0 });
            Ok(upload)
        })
        .await
    }

    async fn get_opts(&self, location: &ObjectPath, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &ObjectPath, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    // A deletion that a crash undoes leaves garbage, nothing worse.
    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<ObjectPath>>,
    ) -> BoxStream<'static, Result<ObjectPath>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&ObjectPath>,
        offset: &ObjectPath,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&ObjectPath>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    // Copies and renames are links: the bytes were synced when they were written, only the names are new.
    async fn copy_opts(&self, from: &ObjectPath, to: &ObjectPath, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await?;
        self.sync_parent(to).await
    }

    async fn rename_opts(&self, from: &ObjectPath, to: &ObjectPath, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await?;
        self.sync_parent(to).await?;
        self.sync_parent(from).await
    }
}

impl FsyncStore {
    async fn sync_parent(&self, location: &ObjectPath) -> Result<()> {
        let path = self.inner.path_to_filesystem(location)?;
        blocking(move || sync_parent(&path).map_err(|error| lift(error, &path))).await
    }
}

/// A file that is being written beside the name that it will have. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) file: File,
    path: PathBuf,
}

impl Staged {
    /// A new file in the directory of `target`, which is made if need be.
    pub(crate) fn beside(target: &Path) -> io::Result<Self> {
        // `LocalFileSystem` hides names that end with '#' and digits, so no listing shows what a crash left behind.
        let mut name = target.as_os_str().to_owned();
        name.push(format!("#{}", Uuid::new_v4().as_u64_pair().0));
        let path = PathBuf::from(name);
        let open = || OpenOptions::new().write(true).create_new(true).open(&path);
        let file = match open() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                create_dirs(parent(&path)?)?;
                open()?
            }
            other => other?,
        };
        Ok(Self { file, path })
    }

    /// As [`beside`](Self::beside), in a directory that must be there.
    fn within(target: &Path) -> io::Result<Self> {
        let mut name = target.as_os_str().to_owned();
        name.push(format!("#{}", Uuid::new_v4().as_u64_pair().0));
        let path = PathBuf::from(name);
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        Ok(Self { file, path })
    }

    /// Gives the file its name, in place of a file that may have it.
    pub(crate) fn replace(self, target: &Path) -> io::Result<()> {
        self.sync()?;
        std::fs::rename(&self.path, target)?;
        sync_parent(target)
    }

    /// As [`replace`](Self::replace), without a promise.
    pub(crate) fn replace_unsynced(self, target: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, target)
    }

    /// Gives the file its name, or fails with [`ErrorKind::AlreadyExists`] if another file has it.
    pub(crate) fn create(self, target: &Path) -> io::Result<()> {
        self.sync()?;
        self.link(target)
    }

    fn sync(&self) -> io::Result<()> {
        sync_file(&self.file, &self.path)
    }

    /// As [`create`](Self::create), for a file that is synced.
    fn link(self, target: &Path) -> io::Result<()> {
        // The one atomic "create if absent, with content" that every Unix and Windows has.
        std::fs::hard_link(&self.path, target)?;
        note(target, Done::Named);
        drop(self);
        sync_parent(target)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After a rename there is nothing left to remove, and a leftover is harmless.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Writes the two files of a commit: `rows`, which nothing knows yet, and then `entry`, which tells of them and must
/// not be there before. Blocks.
///
/// Nothing looks for rows without an entry, so they are written under their own name, and nothing is synced before all is
/// written: a journal then takes both files at once. All of it is done by one thread, because to wake another takes longer
/// than to write a file. The order that matters stays: the entry gets its name when all else is safe.
///
/// No directory of a pond is made, and `is_next` is asked last of all: a pond that was removed must not come back, and
/// one that took its place must not get an entry of another.
pub(crate) fn commit(
    rows: (&Path, &[u8]),
    entry: (&Path, &[u8]),
    is_next: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    let mut staged = Staged::within(entry.0)?;
    let mut file = create_new(rows.0)?;
    file.write_all(rows.1)?;
    staged.file.write_all(entry.1)?;
    sync_file(&file, rows.0)?;
    staged.sync()?;
    sync_parent(rows.0)?;
    is_next()?;
    staged.link(entry.0)
}

/// A new file, in a directory that is made if need be; not those above it, because the pond must be there.
fn create_new(path: &Path) -> io::Result<File> {
    let open = || OpenOptions::new().write(true).create_new(true).open(path);
    match open() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            match std::fs::create_dir(parent(path)?) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                _ => sync_parent(parent(path)?)?,
            }
            open()
        }
        other => other,
    }
}

/// Makes a directory and those above it, durably.
pub(crate) fn create_dirs(path: &Path) -> io::Result<()> {
    match std::fs::create_dir(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => sync_name_once(path),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            create_dirs(parent(path)?)?;
            create_dirs(path)
        }
        Err(error) => Err(error),
    }
}

/// Makes the name of a directory durable that another process may have made just now, and not synced yet.
fn sync_name_once(path: &Path) -> io::Result<()> {
    static SYNCED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    if SYNCED.lock().unwrap_or_else(PoisonError::into_inner).contains(path) {
        return Ok(());
    }
    match sync_parent(path) {
        // A directory that may not be listed cannot be synced either; whoever may write there has made this one.
        Err(error) if error.kind() != ErrorKind::PermissionDenied => return Err(error),
        _ => {}
    }
    let _ = SYNCED.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned());
    Ok(())
}

/// Makes the bytes of a file durable.
fn sync_file(file: &File, path: &Path) -> io::Result<()> {
    file.sync_all()?;
    note(path, Done::Synced);
    Ok(())
}

/// Makes the names in a file's directory durable.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    // Windows has no handle for a directory that could be synced; NTFS journals names by itself.
    if cfg!(windows) {
        return Ok(());
    }
    let directory = parent(path)?;
    File::open(directory)?.sync_all()?;
    note(directory, Done::Synced);
    Ok(())
}

/// What was done to a file or directory, for the tests, which look at the order.
#[derive(Debug, Clone, Copy)]
enum Done {
    Synced,
    Named,
}

#[cfg(not(test))]
const fn note(_path: &Path, _done: Done) {}

#[cfg(test)]
use tests::note;

fn parent(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| io::Error::new(ErrorKind::NotFound, "a path without a parent"))
}

/// Runs `work` on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

/// An error of the disk, as the store's own.
pub(crate) fn lift(error: io::Error, path: &Path) -> Error {
    let path = path.display().to_string();
    match error.kind() {
        ErrorKind::NotFound => Error::NotFound { path, source: error.into() },
        ErrorKind::AlreadyExists => Error::AlreadyExists { path, source: error.into() },
        ErrorKind::PermissionDenied => Error::PermissionDenied { path, source: error.into() },
        _ => Error::Generic { store: "local disk", source: error.into() },
    }
}

#[derive(Debug)]
struct Upload {
    staged: Arc<Mutex<Option<Staged>>>,
    path: PathBuf,
    offset: u64,
}

impl Upload {
    fn ended(path: &Path) -> Error {
        lift(io::Error::other("the upload has ended"), path)
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (staged, path, offset) = (Arc::clone(&self.staged), self.path.clone(), self.offset);
        self.offset += data.content_length() as u64;
        blocking(move || {
            let mut staged = staged.lock().unwrap_or_else(PoisonError::into_inner);
            let file = &mut staged.as_mut().ok_or_else(|| Self::ended(&path))?.file;
            file.seek(SeekFrom::Start(offset))
                .and_then(|_| data.iter().try_for_each(|bytes| file.write_all(bytes)))
                .map_err(|error| lift(error, &path))
        })
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let (staged, path) = (Arc::clone(&self.staged), self.path.clone());
        blocking(move || {
            let staged = staged.lock().unwrap_or_else(PoisonError::into_inner).take();
            let staged = staged.ok_or_else(|| Self::ended(&path))?;
            staged.replace(&path).map_err(|error| lift(error, &path))?;
            Ok(PutResult { e_tag: None, version: None })
        })
        .await
    }

    async fn abort(&mut self) -> Result<()> {
        drop(self.staged.lock().unwrap_or_else(PoisonError::into_inner).take());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tinyfs::{
        Attributes, CommitInfo, CommitOutcome, NewEntry, PersistenceLayer, PondPath, Snapshot, Transaction,
        TransactionOptions, WriteMode,
    };

    use super::*;
    use crate::{DeltaStore, Location, StoreOptions};

    /// What was done anywhere, in this order.
    static NOTED: Mutex<Vec<(PathBuf, String)>> = Mutex::new(Vec::new());

    pub(super) fn note(path: &Path, done: Done) {
        // What is in a file or directory when it is synced is what a crash leaves of it.
        let what = match done {
            Done::Named => "named".to_owned(),
            Done::Synced if path.is_dir() => names(path),
            Done::Synced => match std::fs::metadata(path) {
                Ok(meta) => format!("{} bytes", meta.len()),
                // Of a test that has ended.
                Err(_) => return,
            },
        };
        NOTED.lock().unwrap().push((path.to_owned(), what));
    }

    /// The names in a directory.
    fn names(directory: &Path) -> String {
        let Ok(entries) = std::fs::read_dir(directory) else { return "gone".to_owned() };
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names.join(" ")
    }

    /// What was noted below a directory since the last call, with `#` for what staged names end with.
    fn noted(below: &Path) -> Vec<String> {
        let mut all = NOTED.lock().unwrap();
        let (mine, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut *all).into_iter().partition(|(path, _)| path.starts_with(below));
        *all = others;
        let short = |text: &str| text.split(' ').map(staged_alike).collect::<Vec<_>>().join(" ");
        mine.iter()
            .map(|(path, what)| {
                let path = path.strip_prefix(below).unwrap().to_str().unwrap();
                format!("{}: {}", short(path), short(what))
            })
            .collect()
    }

    fn staged_alike(word: &str) -> &str {
        word.find('#').map_or(word, |end| &word[..=end])
    }

    #[cfg(unix)]
    #[test]
    fn an_entry_gets_its_name_when_all_else_is_durable() {
        let pond = tempfile::tempdir().unwrap();
        let at = |name: &str| pond.path().join(name);
        std::fs::create_dir(at("_delta_log")).unwrap();
        std::fs::write(at("_delta_log/0.json"), "zero").unwrap();
        let is_next = || {
            // Its place in the order.
            note(&at("_delta_log/0.json"), Done::Named);
            Ok(())
        };
        commit((&at("log/1.parquet"), b"the rows"), (&at("_delta_log/1.json"), b"the entry"), is_next).unwrap();
        let first = [
            // The directory of the rows is new, and so is its name.
            ": _delta_log log",
            "log/1.parquet: 8 bytes",
            "_delta_log/1.json#: 9 bytes",
            "log: 1.parquet",
            "_delta_log/0.json: named",
            "_delta_log/1.json: named",
            "_delta_log: 0.json 1.json",
        ];
        assert_eq!(noted(pond.path()), first);

        commit((&at("log/2.parquet"), b"more"), (&at("_delta_log/2.json"), b"{}"), || Ok(())).unwrap();
        let second = [
            "log/2.parquet: 4 bytes",
            "_delta_log/2.json#: 2 bytes",
            "log: 1.parquet 2.parquet",
            "_delta_log/2.json: named",
            "_delta_log: 0.json 1.json 2.json",
        ];
        assert_eq!(noted(pond.path()), second);
        assert_eq!(std::fs::read(at("log/2.parquet")).unwrap(), b"more");
        assert_eq!(std::fs::read(at("_delta_log/2.json")).unwrap(), b"{}");

        // An entry that is not the next, or that another one has the name of, is never linked, and leaves nothing.
        let refused = || Err(ErrorKind::NotFound.into());
        let error = commit((&at("log/3.parquet"), b"no"), (&at("_delta_log/3.json"), b"no"), refused).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let error = commit((&at("log/4.parquet"), b"no"), (&at("_delta_log/2.json"), b"no"), || Ok(())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert!(noted(pond.path()).iter().all(|note| !note.ends_with(": named")));
        assert_eq!(names(&at("_delta_log")), "0.json 1.json 2.json");
        assert_eq!(std::fs::read(at("_delta_log/2.json")).unwrap(), b"{}");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_part_is_durable_before_the_rows_that_name_it() {
        let directory = tempfile::tempdir().unwrap();
        let options = StoreOptions { inline_limit: 4, ..StoreOptions::default() };
        let store = DeltaStore::create(&Location::from_path(directory.path()).unwrap(), options).await.unwrap();
        let _ = noted(directory.path());
        let mut writer = store.create_part().await.unwrap();
        writer.write(Bytes::from_static(b"ten bytes!")).await.unwrap();
        let part = writer.finish().await.unwrap();
        let hex = part.hash.to_hex();
        let path = PondPath::parse("/f").unwrap();
        let layer: Arc<dyn PersistenceLayer> = Arc::<DeltaStore>::clone(&store);
        let mut transaction = Transaction::begin(Snapshot::latest(layer), TransactionOptions::default());
        transaction.create(&path, NewEntry::File, Attributes::default()).unwrap();
        let _ = transaction.write(&path, WriteMode::Append, part, Attributes::default()).unwrap();
        let outcome = transaction.commit(CommitInfo::default()).await.unwrap();
        assert!(matches!(outcome, CommitOutcome::Committed(_)));

        let notes = noted(directory.path());
        let place = |note: &str| {
            notes.iter().position(|noted| noted == note).unwrap_or_else(|| panic!("no '{note}' in {notes:#?}"))
        };
        let order = [
            place("_content/_tmp#: 10 bytes"),
            place(&format!("_content/{}: {hex}", &hex[..2])),
            place("_delta_log/00000000000000000001.json: named"),
        ];
        assert!(order.is_sorted(), "{notes:#?}");
        // The names of directories that hold the part.
        assert!(
            notes[..order[2]].iter().any(|note| note.starts_with("_content: ") && note.contains(&hex[..2])),
            "{notes:#?}"
        );
        assert!(notes[..order[2]].iter().any(|note| note.starts_with(": ") && note.contains("_content")), "{notes:#?}");
        assert!(order[2] == notes.len() - 2 && notes[order[2] + 1].starts_with("_delta_log: "), "{notes:#?}");
    }
}
