//! `COPY … TO` the host, and files that are written there: all of it, or what was there before.
//!
//! DataFusion closes its writers after an error too, and what is closed is published. So a host target is written into a hidden
//! directory beside it, and takes its place when the whole of it is there. URLs of other stores are written to as they are.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::dml::CopyTo;
use futures::TryStreamExt;
use tokio::task::{JoinHandle, spawn_blocking};
use url::Url;
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::provider::{ByteStream, expand_home, is_url};
use crate::session::PondSession;
use crate::session::copy::rows::as_written;
use crate::session::copy::{check_partitions, check_types, unfinished};
use crate::session::pond_session::count;

/// How often the removal of a hidden directory is tried: a writer that was cut off may add a last file while it is under way.
const REMOVALS: u32 = 4;
/// After how many bytes the disk is asked to begin with them. Asked at the end alone, it would be waited for with all of them.
const SYNC_BYTES: usize = 32 << 20;

/// Runs a `COPY`; how many rows it wrote.
///
/// # Errors
/// [`Io`](ErrorKind::Io) where the target's directory is missing or cannot be written, [`NotFound`](ErrorKind::NotFound) for a store that is not
/// registered, [`WrongKind`](ErrorKind::WrongKind) where something else than a file or directory is in the way, [`Plan`](ErrorKind::Plan) for a
/// tree of files without a column, [`Unsupported`](ErrorKind::Unsupported) for columns that the format has no place for, [`Usage`](ErrorKind::Usage)
/// for options that it does not have, and what the query says. The target is as it was then.
pub(in crate::session) async fn run(session: &PondSession, copied: CopyTo) -> Result<u64> {
    check_partitions(session, &copied)?;
    check_types(&copied)?;
    let Some(target) = Target::of(&copied)? else {
        check_store(session, &copied.output_url)?;
        let plan = LogicalPlan::Copy(as_written(session, copied).await?);
        return count(session.stream(&plan).await?).await;
    };
    // Declared before the stream, and so dropped after it.
    let staging = Staging::create(&target)?;
    let plan = LogicalPlan::Copy(staging.redirect(&target, as_written(session, copied).await?)?);
    let rows = count(session.stream(&plan).await?).await.map_err(|error| unfinished(&target.name, error))?;
    publish(target, staging).await?;
    Ok(rows)
}

/// Refuses the URL of a store that there is not, before the query runs: DataFusion would call that a bug of its own.
fn check_store(session: &PondSession, name: &str) -> Result<()> {
    let url = Url::parse(name).map_err(|error| no_file(name).with_source(error))?;
    let store = session.context().runtime_env().object_store_registry.get_store(&url);
    store
        .map(drop)
        .map_err(|error| Error::new(ErrorKind::NotFound, format!("no store is set up for '{name}'")).with_source(error))
}

/// Writes `bytes` as the file `name` of the host, which is a path and no URL. Of a link, the file that it leads to is written.
///
/// # Errors
/// As [`run`], and what the bytes fail with.
#[cfg_attr(not(any(feature = "shell", test)), expect(dead_code, reason = "the shell alone writes such files"))]
pub(crate) async fn write_file(name: &str, mut bytes: ByteStream) -> Result<()> {
    let target = Target::file(name)?;
    let staging = Staging::create(&target)?;
    let mut file = HostFile::create(name, &staging.file(&target))?;
    let mut next = bytes.try_next().await?;
    while let Some(chunk) = next {
        // The next piece is made while this one is written.
        let ((), made) = tokio::try_join!(file.write(chunk), bytes.try_next())?;
        next = made;
    }
    file.synced().await?;
    publish(target, staging).await
}

/// A file that goes to the disk while it grows. Not tokio's: that copies everything that it is given once more.
struct HostFile<'a> {
    name: &'a str,
    file: Arc<fs::File>,
    /// How many bytes the disk was not asked for yet.
    unsynced: usize,
    syncing: Option<JoinHandle<io::Result<()>>>,
}

impl<'a> HostFile<'a> {
    fn create(name: &'a str, path: &Path) -> Result<Self> {
        let file = fs::File::create(path).map_err(|error| not_written(name, error))?;
        Ok(Self { name, file: Arc::new(file), unsynced: 0, syncing: None })
    }

    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.unsynced += chunk.len();
        let mut file = Arc::clone(&self.file);
        self.done(spawn_blocking(move || file.write_all(&chunk))).await?;
        if self.unsynced >= SYNC_BYTES && self.syncing.as_ref().is_none_or(JoinHandle::is_finished) {
            self.synced().await?;
            self.unsynced = 0;
            let file = Arc::clone(&self.file);
            self.syncing = Some(spawn_blocking(move || file.sync_data()));
        }
        Ok(())
    }

    /// Waits for the disk where it was asked. It tells of an error once.
    async fn synced(&mut self) -> Result<()> {
        match self.syncing.take() {
            Some(syncing) => self.done(syncing).await,
            None => Ok(()),
        }
    }

    async fn done(&self, work: JoinHandle<io::Result<()>>) -> Result<()> {
        work.await.unwrap_or_else(|cut_off| Err(cut_off.into())).map_err(|error| not_written(self.name, error))
    }
}

fn not_written(name: &str, error: io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot write '{name}'")).with_source(error)
}

async fn publish(target: Target, staging: Staging) -> Result<()> {
    spawn_blocking(move || {
        target.publish(&staging).map_err(|error| {
            Error::new(ErrorKind::Io, format!("cannot put '{}' in its place", target.name)).with_source(error)
        })
    })
    .await
    .map_err(|error| Error::new(ErrorKind::Execution, "the writing of a file was cut off").with_source(error))?
}

/// What is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    File,
    /// Files with names of DataFusion's, added to those that are there.
    Directory,
}

/// Where on the host it goes.
#[derive(Debug)]
struct Target {
    /// As it was typed.
    name: String,
    /// Absolute; that of the file itself, where the name was a link to one.
    path: PathBuf,
    shape: Shape,
    existing: Option<fs::Metadata>,
}

impl Target {
    /// The target of a `COPY`; `None` for one that is not on the host's disk.
    fn of(copied: &CopyTo) -> Result<Option<Self>> {
        let name = copied.output_url.clone();
        let Some(path) = host_path(&name)? else { return Ok(None) };
        // That of a link tells, not that of what it leads to, as it does of the format.
        let last = path.file_name().map(|last| last.to_string_lossy().into_owned());
        let (path, existing) = look(&name, path)?;
        // DataFusion's own rule.
        let has_extension = last.is_some_and(|last| last.contains('.') && !last.ends_with('.'));
        let is_directory = existing.as_ref().is_some_and(fs::Metadata::is_dir);
        let shape = if copied.partition_by.is_empty() && !name.ends_with('/') && !is_directory && has_extension {
            Shape::File
        } else {
            Shape::Directory
        };
        Self { name, path, shape, existing }.checked().map(Some)
    }

    /// The one file that a path of the host names.
    fn file(name: &str) -> Result<Self> {
        let path = std::path::absolute(name).map_err(|error| no_file(name).with_source(error))?;
        if name.ends_with('/') || path.file_name().is_none() {
            return Err(no_file(name));
        }
        let (path, existing) = look(name, path)?;
        Self { name: name.to_owned(), path, shape: Shape::File, existing }.checked()
    }

    /// Itself, unless something else is in the way.
    fn checked(self) -> Result<Self> {
        let in_the_way = self.existing.as_ref().and_then(|existing| match self.shape {
            Shape::File => (!existing.is_file()).then_some("is no regular file"),
            Shape::Directory => (!existing.is_dir()).then_some("is no directory"),
        });
        match in_the_way {
            Some(what) => Err(Error::new(ErrorKind::WrongKind, format!("cannot write to '{}': it {what}", self.name))),
            None => Ok(self),
        }
    }

    /// The directory that the target is, if it is there, else the one that it will be in.
    fn directory(&self) -> Result<&Path> {
        if self.shape == Shape::Directory && self.existing.is_some() {
            return Ok(&self.path);
        }
        self.path.parent().ok_or_else(|| no_file(&self.name))
    }

    fn publish(&self, staging: &Staging) -> io::Result<()> {
        let files = files_below(&staging.directory)?;
        for file in &files {
            fs::File::open(file)?.sync_all()?;
        }
        match (self.shape, &self.existing) {
            (Shape::File, existing) => {
                let staged = staging.file(self);
                if let Some(existing) = existing {
                    fs::set_permissions(&staged, existing.permissions())?;
                }
                fs::rename(staged, &self.path)
            }
            (Shape::Directory, None) => fs::rename(&staging.directory, &self.path),
            (Shape::Directory, Some(_)) => {
                let mut moved = Vec::new();
                let result = files.iter().try_for_each(|file| {
                    let below = file.strip_prefix(&staging.directory).map_err(io::Error::other)?;
                    let to = self.path.join(below);
                    if let Some(directory) = to.parent() {
                        fs::create_dir_all(directory)?;
                    }
                    fs::rename(file, &to)?;
                    moved.push(to);
                    Ok(())
                });
                if result.is_err() {
                    moved.iter().for_each(|file| warn_unless_gone(file, fs::remove_file(file)));
                }
                result
            }
        }
    }
}

/// What is at `path`, and the path of that itself, where it is a link to it. A link may lead to what is not there yet.
fn look(name: &str, mut path: PathBuf) -> Result<(PathBuf, Option<fs::Metadata>)> {
    loop {
        match fs::metadata(&path) {
            Ok(existing) => {
                let path = fs::canonicalize(&path).map_err(|error| not_written(name, error))?;
                return Ok((path, Some(existing)));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(not_written(name, error)),
        }
        // Not for ever: links that go round are another error above.
        match fs::read_link(&path) {
            Ok(to) => path = path.parent().map_or_else(|| to.clone(), |parent| parent.join(&to)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((path, None)),
            Err(error) => return Err(not_written(name, error)),
        }
    }
}

/// The path that a target names on the host; `None` for a URL of another store.
fn host_path(name: &str) -> Result<Option<PathBuf>> {
    let bad = || no_file(name);
    let text = expand_home(name)?;
    if !is_url(&text) {
        return std::path::absolute(text).map(Some).map_err(|error| bad().with_source(error));
    }
    let url = Url::parse(&text).map_err(|error| bad().with_source(error))?;
    if url.scheme() != "file" {
        return Ok(None);
    }
    // What follows a `?` or `#` is no part of the path.
    if url.query().is_some() || url.fragment().is_some() {
        let message = format!("'{name}' names no file: in a URL '?' is written '%3F', and '#' '%23'");
        return Err(Error::new(ErrorKind::Syntax, message));
    }
    url.to_file_path().map(Some).map_err(|()| bad())
}

fn no_file(name: &str) -> Error {
    Error::new(ErrorKind::Syntax, format!("'{name}' names no file that can be written"))
}

/// A hidden directory for what is not whole yet. Removed with what is left in it when dropped.
#[derive(Debug)]
struct Staging {
    directory: PathBuf,
}

impl Staging {
    fn create(target: &Target) -> Result<Self> {
        let parent = target.directory()?;
        let directory = parent.join(format!(".pondsql-{}.part", Uuid::now_v7().simple()));
        fs::create_dir(&directory).map_err(|error| {
            let message = match error.kind() {
                io::ErrorKind::NotFound => {
                    format!("cannot write '{}': there is no directory '{}'", target.name, parent.display())
                }
                _ => format!("cannot write '{}' in '{}'", target.name, parent.display()),
            };
            Error::new(ErrorKind::Io, message).with_source(error)
        })?;
        Ok(Self { directory })
    }

    /// Where the one file of a target is written.
    fn file(&self, target: &Target) -> PathBuf {
        self.directory.join(target.path.file_name().unwrap_or_default())
    }

    /// The same `COPY` to here. The target is a URL, for DataFusion would read a `[` in a path as a glob.
    fn redirect(&self, target: &Target, mut copied: CopyTo) -> Result<CopyTo> {
        let url = match target.shape {
            Shape::File => Url::from_file_path(self.file(target)),
            Shape::Directory => Url::from_directory_path(&self.directory),
        };
        copied.output_url = url.map_err(|()| no_file(&target.name))?.into();
        let _ = copied.options.insert("single_file_output".to_owned(), (target.shape == Shape::File).to_string());
        Ok(copied)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        for attempt in 1..=REMOVALS {
            match fs::remove_dir_all(&self.directory) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && attempt < REMOVALS => {}
                result => return warn_unless_gone(&self.directory, result),
            }
        }
    }
}

fn warn_unless_gone(path: &Path, removed: io::Result<()>) {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!("cannot remove '{}': {error}", path.display());
        }
        _ => {}
    }
}

/// All files below a directory.
fn files_below(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() { directories.push(entry.path()) } else { files.push(entry.path()) }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::TryStreamExt;
    use tempfile::TempDir;

    use super::*;
    use crate::{OpenOptions, Pond, SessionOptions, StatementResult};

    struct Scratch {
        directory: TempDir,
        session: PondSession,
    }

    impl Scratch {
        async fn new() -> Self {
            let pond = Pond::open("memory:", OpenOptions::default()).await.unwrap();
            Self { directory: tempfile::tempdir().unwrap(), session: pond.session(SessionOptions::default()).unwrap() }
        }

        fn url(&self, name: &str) -> String {
            let mut url = Url::from_directory_path(self.directory.path()).unwrap();
            url.path_segments_mut().unwrap().pop_if_empty().extend(name.split('/'));
            url.into()
        }

        async fn copy(&mut self, query: &str, name: &str, more: &str) -> Result<u64> {
            let sql = format!("COPY ({query}) TO '{}' {more}", self.url(name));
            match self.session.execute(&sql).await? {
                StatementResult::Count(rows) => Ok(rows),
                other => panic!("{other:?}"),
            }
        }

        async fn rows(&mut self, name: &str) -> usize {
            let sql = format!("SELECT * FROM '{}'", self.url(name));
            let StatementResult::Rows(rows) = self.session.execute(&sql).await.unwrap() else { panic!("no rows") };
            let batches: Vec<_> = rows.try_collect().await.unwrap();
            batches.iter().map(|batch| batch.num_rows()).sum()
        }

        fn names(&self) -> Vec<String> {
            let root = self.directory.path();
            let name = |file: PathBuf| file.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let mut names: Vec<_> = files_below(root).unwrap().into_iter().map(name).collect();
            names.sort();
            names
        }

        fn entries(&self) -> usize {
            fs::read_dir(self.directory.path()).unwrap().count()
        }
    }

    const FAILS_LATE: &str = "SELECT 1 / (value - 60000) AS n, 'x' AS site FROM generate_series(1, 100000)";

    #[tokio::test]
    async fn a_failed_copy_leaves_what_was_there() {
        let mut scratch = Scratch::new().await;
        for name in ["x.csv", "x.json", "x.parquet"] {
            assert_eq!(scratch.copy("SELECT 1 AS n", name, "").await.unwrap(), 1);
            let before = fs::read(scratch.directory.path().join(name)).unwrap();
            let error = scratch.copy(FAILS_LATE, name, "").await.unwrap_err();
            assert!(error.to_string().contains("ivide by zero"), "{error}");
            assert_eq!(fs::read(scratch.directory.path().join(name)).unwrap(), before);
            let _ = scratch.copy(FAILS_LATE, &format!("new-{name}"), "").await.unwrap_err();
        }
        let _ = scratch.copy(FAILS_LATE, "parts", "STORED AS CSV PARTITIONED BY (site)").await.unwrap_err();
        assert_eq!(scratch.names(), ["x.csv", "x.json", "x.parquet"]);
        assert_eq!(scratch.entries(), 3);
        assert_eq!(scratch.copy("SELECT value FROM generate_series(1, 7)", "x.csv", "").await.unwrap(), 7);
        assert_eq!(scratch.rows("x.csv").await, 7);
        assert_eq!(scratch.entries(), 3);
    }

    #[tokio::test]
    async fn a_dropped_copy_leaves_what_was_there() {
        let mut scratch = Scratch::new().await;
        scratch.copy("SELECT 1 AS n", "x.csv", "").await.unwrap();
        {
            let sql =
                format!("COPY (SELECT value FROM generate_series(1, 100000000000)) TO '{}'", scratch.url("x.csv"));
            let root = scratch.directory.path().to_owned();
            let is_writing = || files_below(&root).unwrap().len() > 1;
            let mut copying = pin!(scratch.session.execute(&sql));
            while !is_writing() {
                assert!(futures::poll!(copying.as_mut()).is_pending());
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(fs::read(scratch.directory.path().join("x.csv")).unwrap(), b"n\n1\n");
        assert_eq!(scratch.names(), ["x.csv"]);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_link_stays_and_what_it_leads_to_is_written() {
        use std::os::unix::fs::symlink;

        let mut scratch = Scratch::new().await;
        let root = scratch.directory.path().to_owned();
        // To nothing yet, by way of another link; the names that they lead to say nothing of a format.
        symlink("second", root.join("first.csv")).unwrap();
        symlink(root.join("blob"), root.join("second")).unwrap();
        for rows in [1, 2] {
            let query = format!("SELECT value AS n FROM generate_series(1, {rows})");
            assert_eq!(scratch.copy(&query, "first.csv", "").await.unwrap(), rows);
        }
        assert_eq!(fs::read(root.join("blob")).unwrap(), b"n\n1\n2\n");
        let bytes: [Result<Bytes>; 2] = [Ok(Bytes::from_static(b"one, ")), Ok(Bytes::from_static(b"two"))];
        let bytes = Box::pin(futures::stream::iter(bytes));
        write_file(root.join("first.csv").to_str().unwrap(), bytes).await.unwrap();
        assert_eq!(fs::read(root.join("blob")).unwrap(), b"one, two");
        for link in ["first.csv", "second"] {
            assert!(fs::symlink_metadata(root.join(link)).unwrap().is_symlink(), "{link}");
        }
        symlink("round", root.join("round")).unwrap();
        assert_eq!(scratch.copy("SELECT 1 AS n", "round", "STORED AS CSV").await.unwrap_err().kind(), ErrorKind::Io);
        assert_eq!(scratch.entries(), 4);
    }

    #[tokio::test]
    async fn directories_are_filled_when_all_is_there() {
        let mut scratch = Scratch::new().await;
        let query = "SELECT value AS n, 's' || (value % 2) AS site FROM generate_series(1, 10)";
        for rows in [5, 10] {
            assert_eq!(scratch.copy(query, "out", "STORED AS CSV PARTITIONED BY (site)").await.unwrap(), 10);
            assert_eq!(scratch.rows("out/site=s1/*.csv").await, rows);
        }
        let names = scratch.names();
        assert_eq!(names.len(), 4);
        let _ = scratch.copy(FAILS_LATE, "out", "STORED AS CSV PARTITIONED BY (site)").await.unwrap_err();
        assert_eq!(scratch.names(), names);
        assert_eq!(fs::read_dir(scratch.directory.path().join("out")).unwrap().count(), 2);
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_named_and_makes_nothing() {
        let mut scratch = Scratch::new().await;
        let error = scratch.copy("SELECT 1 AS n", "none/x.csv", "").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().contains("there is no directory"), "{error}");
        assert_eq!(scratch.entries(), 0);
        scratch.copy("SELECT 1 AS n", "x.csv", "").await.unwrap();
        let error = scratch.copy("SELECT 1 AS n, 2 AS m", "x.csv", "PARTITIONED BY (n)").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WrongKind);
        assert_eq!(scratch.names(), ["x.csv"]);
        let error =
            scratch.session.execute("COPY (SELECT 1 AS n) TO 'file:///dev/null' STORED AS CSV").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WrongKind);
        let sql = format!("EXPLAIN ANALYZE COPY (SELECT 1 AS n) TO '{}'", scratch.url("y.csv"));
        assert_eq!(scratch.session.execute(&sql).await.unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(scratch.names(), ["x.csv"]);
    }

    #[tokio::test]
    async fn odd_names_are_written_and_read_as_they_are() {
        let mut scratch = Scratch::new().await;
        let odd =
            ["a%41.csv", "a%2541.csv", "b\\c.csv", "a[1].csv", "a?.csv", "a*.csv", "d#1.csv", "k=v.csv", "é ü.csv"];
        for (rows, name) in (1..).zip(odd) {
            let query = format!("SELECT value FROM generate_series(1, {rows})");
            assert_eq!(scratch.copy(&query, name, "").await.unwrap(), rows as u64, "{name}");
        }
        let mut expected = odd;
        expected.sort_unstable();
        assert_eq!(scratch.names(), expected);
        for (rows, name) in (1..).zip(odd) {
            assert_eq!(scratch.rows(name).await, rows, "{name}");
        }
        // A glob finds each of them, and reads each of them.
        let all = format!("{}/*.csv", scratch.url("").trim_end_matches('/'));
        let StatementResult::Rows(rows) = scratch.session.execute(&format!("FROM '{all}'")).await.unwrap() else {
            panic!("no rows")
        };
        let batches: Vec<_> = rows.try_collect().await.unwrap();
        assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 45);
    }

    #[test]
    fn the_home_directory_is_found() {
        let home = std::env::var("HOME").unwrap();
        assert_eq!(host_path("~/x.csv").unwrap(), Some(Path::new(&home).join("x.csv")));
        assert_eq!(host_path("s3://b/x.csv").unwrap(), None);
        assert_eq!(host_path("file:///a%20b.csv").unwrap(), Some(PathBuf::from("/a b.csv")));
        assert_eq!(host_path("file:///a.csv#b").unwrap_err().kind(), ErrorKind::Syntax);
    }
}
