//! What SQL cannot say of factories: those of an application, stores that are not the host's, runs that are stopped.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::array::{AsArray, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::catalog::{MemTable, Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::physical_plan::memory::MemoryStream;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use object_store::{ObjectStore, ObjectStoreExt};
use tinyfs::{
    Child, DynamicFactory, FactoryContext, LocationSpec, MemoryStore, OptionSpec, OptionType, PersistenceLayer, Shape,
    WriteMode,
};
use url::Url;

use crate::provider::{HostFiles, Progress, RunContext, RunOptions, SortColumn, TableFactory, TableWrite};
use crate::{Error, ErrorKind, OpenOptions, Pond, PondSession, Result, SessionOptions, StatementResult};

/// Shows one table, and a run adds three rows to another.
#[derive(Debug)]
struct Meter {
    shape: Shape,
    /// How often it was asked for what it shows.
    listed: AtomicUsize,
}

impl Meter {
    fn new(shape: Shape) -> Arc<Self> {
        Arc::new(Self { shape, listed: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl DynamicFactory for Meter {
    fn name(&self) -> &'static str {
        if self.shape == Shape::StoredDirectory { "meter" } else { "shelf" }
    }
    fn meaning(&self) -> &'static str {
        "a test"
    }
    fn shape(&self) -> Shape {
        self.shape
    }
    fn location(&self) -> LocationSpec {
        LocationSpec::None
    }
    fn options(&self) -> &'static [OptionSpec] {
        const OPTIONS: &[OptionSpec] = &[OptionSpec::new("key", OptionType::Secret, "a secret")];
        OPTIONS
    }
    fn arguments(&self) -> &'static [OptionSpec] {
        const ARGUMENTS: &[OptionSpec] = &[OptionSpec::new("how", OptionType::Text, "what to do wrong")];
        ARGUMENTS
    }
    async fn list(&self, _context: &FactoryContext) -> tinyfs::Result<Vec<Child>> {
        let _ = self.listed.fetch_add(1, Ordering::SeqCst);
        Ok(vec![Child { name: "a".to_owned(), size: None, modified: None }])
    }
}

#[async_trait]
impl TableFactory for Meter {
    async fn table(&self, _: &dyn Session, _: &FactoryContext, _: Option<&str>) -> Result<Arc<dyn TableProvider>> {
        let rows = rows(0..3, None);
        Ok(Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]])?))
    }

    async fn run(&self, context: &RunContext) -> Result<RecordBatch> {
        let path = context.path().join("readings.series")?;
        let base = context.snapshot().await?;
        let first = match context.max(&base, &path, "t").await? {
            Some(ScalarValue::Int64(Some(last))) => last + 1,
            _ => 0,
        };
        if let Some(key) = context.secret("key")? {
            assert_eq!(key.expose(), "hunter2");
        }
        let how = context.argument("how");
        if context.is_dry_run() && how.is_none() {
            return Ok(rows(first..first + 3, None));
        }
        let new = rows(first..first + 3, if how == Some("wider") { Some("w") } else { None });
        let stream = || MemoryStream::try_new(vec![new.clone()], new.schema(), None);
        let write = TableWrite { path, mode: WriteMode::Append, order: vec![SortColumn::ascending("t")] };
        let _ = context.write(&base, write.clone(), Box::pin(stream()?)).await?;
        if how == Some("stale") {
            let _ = context.write(&base, write, Box::pin(stream()?)).await?;
        }
        Ok(new)
    }
}

fn rows(times: std::ops::Range<i64>, extra: Option<&str>) -> RecordBatch {
    let names = ["t"].into_iter().chain(extra);
    let fields = names.map(|name| Field::new(name, DataType::Int64, name != "t")).collect::<Vec<_>>();
    let columns = fields.iter().map(|_| Arc::new(Int64Array::from_iter_values(times.clone())) as _).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn with_meters(store: &Arc<MemoryStore>) -> PondSession {
    let builder =
        Pond::builder().factory(Meter::new(Shape::StoredDirectory)).factory(Meter::new(Shape::ListedDirectory));
    let pond = builder.with_store(Arc::clone(store) as Arc<dyn PersistenceLayer>).unwrap();
    pond.session(SessionOptions::default()).unwrap()
}

async fn told(session: &mut PondSession, sql: &str) -> Result<Vec<String>> {
    match session.execute(sql).await? {
        StatementResult::Rows(rows) => {
            let batches: Vec<RecordBatch> = rows.try_collect().await?;
            let text = pretty_format_batches(&batches).unwrap().to_string();
            let lines = text.lines().skip(3).filter(|line| line.starts_with('|'));
            let words = |line: &str| line.split('|').flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ");
            Ok(lines.map(words).collect())
        }
        _ => Ok(Vec::new()),
    }
}

async fn error(session: &mut PondSession, sql: &str) -> (ErrorKind, String) {
    let error: Error = told(session, sql).await.unwrap_err();
    (error.kind(), error.to_string())
}

#[tokio::test]
async fn a_run_goes_on_where_the_last_one_ended() {
    let store = Arc::new(MemoryStore::new());
    let mut session = with_meters(&store);
    let _ = told(&mut session, "CREATE EXTERNAL TABLE '/m' STORED AS METER").await.unwrap();
    assert_eq!(told(&mut session, "CALL pond_run('/m')").await.unwrap(), ["0", "1", "2"]);
    assert_eq!(told(&mut session, "CALL pond_run('/m', dry_run => true)").await.unwrap(), ["3", "4", "5"]);
    let wider = RunOptions { arguments: [("how".to_owned(), "wider".to_owned())].into(), ..RunOptions::default() };
    assert_eq!(session.pond().run("/m", wider).await.unwrap().num_rows(), 3);
    assert_eq!(
        told(&mut session, "SELECT t, w FROM '/m/readings.series' ORDER BY t").await.unwrap(),
        ["0", "1", "2", "3 3", "4 4", "5 5"]
    );
    let schema = "SELECT column_name, data_type, nullable FROM pond_schema('/m/readings.series')";
    assert_eq!(told(&mut session, schema).await.unwrap(), ["t Int64 false", "w Int64 true"]);
    let listed = told(&mut session, "SELECT path, kind, versions, rows FROM pond_ls('/**')").await.unwrap();
    assert_eq!(listed, ["/m dynamic", "/m/readings.series file 2 6"]);
    // In the declared order, so that nothing is sorted.
    let plan = told(&mut session, "EXPLAIN SELECT t FROM '/m/readings.series' ORDER BY t").await.unwrap().join("\n");
    assert!(!plan.contains("SortExec"), "{plan}");
    let log = told(&mut session, "SELECT message FROM pond_log()").await.unwrap();
    assert_eq!(log[1], "CALL pond_run('/m'): append 3 rows to /m/readings.series");
    let (kind, message) = error(&mut session, "DROP TABLE '/m'").await;
    assert_eq!(kind, ErrorKind::NotEmpty, "{message}");
    let _ = told(&mut session, "DROP TABLE '/m' CASCADE").await.unwrap();
    assert!(told(&mut session, "SELECT path FROM pond_ls('/**')").await.is_err_and(|error| error.is_not_found()));
}

#[tokio::test]
async fn a_run_refuses_what_it_must_not_write() {
    let mut session = with_meters(&Arc::new(MemoryStore::new()));
    let _ = told(&mut session, "CREATE EXTERNAL TABLE '/m' STORED AS METER").await.unwrap();
    // The rows were computed from what is not there any more.
    let (kind, message) = error(&mut session, "CALL pond_run('/m', how => 'stale')").await;
    assert_eq!(kind, ErrorKind::Conflict, "{message}");
    assert_eq!(told(&mut session, "SELECT count(*) FROM '/m/readings.series'").await.unwrap(), ["3"]);
    let (kind, message) = error(&mut session, "CALL pond_run('/m', dry_run => true, how => 'write')").await;
    assert_eq!((kind, message.as_str()), (ErrorKind::Usage, "a dry run writes nothing ('/m')"));
    let options = SessionOptions { read_only: true, ..SessionOptions::default() };
    let mut reader = session.pond().session(options).unwrap();
    assert_eq!(error(&mut reader, "CALL pond_run('/m')").await.0, ErrorKind::ReadOnly);
    assert_eq!(told(&mut reader, "CALL pond_run('/m', dry_run => true)").await.unwrap(), ["3", "4", "5"]);
}

#[tokio::test]
async fn a_secret_is_kept_nowhere() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    std::fs::write(&key, "hunter2\n").unwrap();
    let mut session = with_meters(&Arc::new(MemoryStore::new()));
    for literal in ["'hunter2'", "$$hunter2$$", "X'68756e74657232'"] {
        let sql = format!("CREATE EXTERNAL TABLE '/m' STORED AS METER OPTIONS ('key' {literal})");
        let (_, message) = error(&mut session, &sql).await;
        assert!(!message.contains("hunter2") && !message.contains("6875"), "{message}");
    }
    let sql = format!("CREATE EXTERNAL TABLE '/m' STORED AS METER OPTIONS ('key' 'file:{}')", key.display());
    let _ = told(&mut session, &sql).await.unwrap();
    let _ = told(&mut session, "CALL pond_run('/m')").await.unwrap();
    let shown = told(&mut session, "SHOW CREATE TABLE '/m'").await.unwrap();
    assert!(shown[0].contains("'key' 'file:"), "{shown:?}");
    let log = told(&mut session, "SELECT message FROM pond_log()").await.unwrap();
    assert!(log.len() == 2 && !log.concat().contains("hunter2"), "{log:?}");
    std::fs::remove_file(&key).unwrap();
    let (kind, message) = error(&mut session, "CALL pond_run('/m')").await;
    assert_eq!(kind, ErrorKind::NotFound);
    assert!(message.starts_with("the option 'key' of '/m' cannot be had: the file '"), "{message}");
    let refused = SessionOptions { host_files: HostFiles::Refused, ..SessionOptions::default() };
    let mut refused = session.pond().session(refused).unwrap();
    let (_, message) =
        error(&mut refused, "CREATE EXTERNAL TABLE '/n' STORED AS METER OPTIONS ('key' 'file:/x')").await;
    assert_eq!(message, "'file:/x' is outside of the pond, and host files are switched off (line 1, column 59)");
}

#[tokio::test]
async fn a_pond_opens_without_the_factories_of_its_entries() {
    let store = Arc::new(MemoryStore::new());
    let mut session = with_meters(&store);
    let _ = told(&mut session, "CREATE EXTERNAL TABLE '/m' STORED AS METER").await.unwrap();
    let _ = told(&mut session, "CREATE EXTERNAL TABLE '/s' STORED AS SHELF").await.unwrap();
    let _ = told(&mut session, "CALL pond_run('/m')").await.unwrap();
    assert_eq!(told(&mut session, "SELECT count(*) FROM pond('/*/*')").await.unwrap(), ["6"]);
    let pond = Pond::with_store(store as Arc<dyn PersistenceLayer>);
    let mut session = pond.session(SessionOptions::default()).unwrap();
    let listed = told(&mut session, "SELECT path, kind FROM pond_ls('/**')").await.unwrap();
    assert_eq!(listed, ["/m dynamic", "/m/readings.series file", "/s dynamic"]);
    // What runs have stored is there; what the factory would show is not.
    assert_eq!(told(&mut session, "SELECT count(*) FROM '/m/readings.series'").await.unwrap(), ["3"]);
    assert_eq!(told(&mut session, "SELECT count(*) FROM pond('/m/*')").await.unwrap(), ["3"]);
    for (sql, path, factory) in [
        ("FROM '/s/a'", "/s", "shelf"),
        ("FROM pond('/s/*')", "/s", "shelf"),
        ("FROM pond('/**')", "/s", "shelf"),
        ("FROM pond_ls('/s')", "/s", "shelf"),
        ("CALL pond_run('/m')", "/m", "meter"),
    ] {
        let (kind, message) = error(&mut session, sql).await;
        assert_eq!(kind, ErrorKind::Unsupported, "{sql}: {message}");
        let says = format!("'{path}' is made by the factory '{factory}', which this program does not have");
        assert!(message.contains(&says), "{sql}: {message}");
    }
    let shown = told(&mut session, "SHOW CREATE TABLE '/s'").await.unwrap();
    assert_eq!(shown, ["/s CREATE EXTERNAL TABLE '/s' STORED AS SHELF"]);
    let _ = told(&mut session, "DROP TABLE '/s'").await.unwrap();
    assert_eq!(told(&mut session, "SELECT count(*) FROM pond('/**')").await.unwrap(), ["3"]);
}

#[tokio::test]
async fn a_source_is_asked_once_a_statement_at_most() {
    let shelf = Meter::new(Shape::ListedDirectory);
    let builder = Pond::builder().factory(Arc::clone(&shelf) as Arc<dyn TableFactory>);
    let pond = builder.with_store(Arc::new(MemoryStore::new()) as Arc<dyn PersistenceLayer>).unwrap();
    let mut session = pond.session(SessionOptions::default()).unwrap();
    for sql in [
        "CREATE EXTERNAL TABLE '/s' STORED AS SHELF",
        "CREATE VIEW '/v' AS SELECT sum(t) AS t FROM pond('/s/*')",
        "CREATE TABLE '/t' AS SELECT 7 AS t",
    ] {
        let _ = told(&mut session, sql).await.unwrap();
    }
    let asked = || shelf.listed.swap(0, Ordering::SeqCst);
    let _ = asked();
    for (sql, expected, times) in [
        // What cannot mean an entry of it.
        ("SELECT t FROM '/t'", "7", 0),
        ("SELECT count(*) FROM pond('/t*')", "1", 0),
        ("SELECT count(*) FROM pond_ls('/*')", "3", 0),
        ("SELECT count(*) FROM '/s/a'", "3", 1),
        ("SELECT count(*) FROM pond('/s/*')", "3", 1),
        ("SELECT t FROM '/v'", "3", 1),
        ("SELECT count(*) FROM pond_ls('/**')", "4", 1),
        // However many names mean it.
        (
            "SELECT count(*) FROM '/s/a' x JOIN pond('/s/*') y ON true JOIN '/v' ON true JOIN pond_ls('/**') z ON true",
            "36",
            1,
        ),
    ] {
        assert_eq!(told(&mut session, sql).await.unwrap(), [expected], "{sql}");
        assert_eq!(asked(), times, "{sql}");
    }
    let _ = told(&mut session, "INSERT INTO '/t' SELECT t FROM pond('/s/*')").await.unwrap();
    assert_eq!(asked(), 1);
    assert_eq!(error(&mut session, "FROM '/s/none'").await.0, ErrorKind::NotFound);
    assert_eq!(asked(), 1);
}

#[tokio::test]
async fn names_of_factories_are_their_own() {
    for (name, shape) in [("meter", Shape::StoredDirectory), ("shelf", Shape::ListedDirectory)] {
        let twice = Pond::builder().factory(Meter::new(shape)).factory(Meter::new(shape));
        let error = twice.open("memory:").await.unwrap_err();
        assert_eq!(error.to_string(), format!("there is a factory '{name}' already"));
    }
}

#[tokio::test]
async fn a_folder_of_an_object_store() {
    let store = Arc::new(InMemory::new());
    for (name, text) in [("data/one.csv", "a\n1\n"), ("data/deep/two.csv", "a\n2\n"), ("other.csv", "a\n3\n")] {
        let _ = store.put(&name.into(), text.into()).await.unwrap();
    }
    let pond = Pond::open("memory:", OpenOptions::default()).await.unwrap();
    let mut session = pond.session(SessionOptions::default()).unwrap();
    let url = Url::parse("mem://bucket").unwrap();
    let _ = session.context().register_object_store(&url, Arc::clone(&store) as Arc<dyn ObjectStore>);
    let sql = "CREATE EXTERNAL TABLE '/o' STORED AS DIRECTORY LOCATION 'mem://bucket/data' OPTIONS ('pattern' '**/*.csv', 'into' '/k')";
    let _ = told(&mut session, sql).await.unwrap();
    let files = "SELECT path FROM pond_ls('/o/**')";
    assert_eq!(told(&mut session, files).await.unwrap(), ["/o/deep", "/o/deep/two.csv", "/o/one.csv"]);
    assert_eq!(told(&mut session, "SELECT sum(a) FROM pond('/o/**/*.csv')").await.unwrap(), ["3"]);
    let _ = store.put(&"data/three.csv".into(), "a\n4\n".into()).await.unwrap();
    assert_eq!(told(&mut session, "SELECT sum(a) FROM pond('/o/**/*.csv')").await.unwrap(), ["7"]);
    let done = told(&mut session, "CALL pond_run('/o')").await.unwrap();
    assert_eq!(done, ["deep/two.csv added 4 1", "one.csv added 4 1", "three.csv added 4 1"]);
    assert_eq!(told(&mut session, "SELECT sum(a) FROM pond('/k/**/*.csv')").await.unwrap(), ["7"]);
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

fn statement(path: &str, folder: &Path) -> String {
    let url = Url::from_file_path(folder).unwrap();
    format!("CREATE EXTERNAL TABLE '{path}' STORED AS DIRECTORY LOCATION '{url}' OPTIONS ('into' '/k')")
}

#[tokio::test]
async fn bytes_of_a_folder_are_those_of_its_files() {
    let folder = folder(&[("a.csv", "a,b\n1,\"x\"\n"), ("note", "hello"), ("odd [1]%#{x}.csv", "a\n7\n")]);
    let pond = Pond::open("memory:", OpenOptions::default()).await.unwrap();
    let mut session = pond.session(SessionOptions::default()).unwrap();
    let _ = told(&mut session, &statement("/d", folder.path())).await.unwrap();
    for (path, text) in [("/d/a.csv", "a,b\n1,\"x\"\n"), ("/d/note", "hello"), ("/d/odd [1]%#{x}.csv", "a\n7\n")] {
        let bytes: Vec<_> = session.read(path).await.unwrap().try_collect().await.unwrap();
        assert_eq!(bytes.concat(), text.as_bytes(), "{path}");
    }
    assert_eq!(told(&mut session, "SELECT a FROM '/d/odd [1]%#{x}.csv'").await.unwrap(), ["7"]);
    let objects = pond.object_store().await.unwrap();
    let found = objects.get(&"d/a.csv".into()).await.unwrap().bytes().await.unwrap();
    assert_eq!(found, "a,b\n1,\"x\"\n");
    assert!(session.read("/d/none").await.is_err_and(|error| error.is_not_found()));
}

#[tokio::test]
async fn without_host_files_a_folder_is_listed_and_no_more() {
    let folder = folder(&[("a.csv", "a\n1\n")]);
    let pond = Pond::open("memory:", OpenOptions::default()).await.unwrap();
    let mut session = pond.session(SessionOptions::default()).unwrap();
    let _ = told(&mut session, &statement("/d", folder.path())).await.unwrap();
    let options = SessionOptions { host_files: HostFiles::Refused, ..SessionOptions::default() };
    let mut refused = pond.session(options).unwrap();
    assert_eq!(told(&mut refused, "SELECT path, kind FROM pond_ls('/**')").await.unwrap(), ["/d dynamic"]);
    let made = statement("/e", folder.path());
    for sql in ["FROM '/d/a.csv'", "FROM pond('/d/*')", "FROM pond('/**/*.csv')", "CALL pond_run('/d')", &made] {
        let (kind, message) = error(&mut refused, sql).await;
        assert_eq!(kind, ErrorKind::Unsupported, "{sql}: {message}");
        assert!(message.contains("is outside of the pond, and host files are switched off"), "{sql}: {message}");
    }
}

#[tokio::test]
async fn a_run_that_is_stopped_is_continued() {
    let files = InMemory::new();
    for n in 0..5 {
        let _ = files.put(&format!("data/{n}.csv").into(), format!("a\n{n}\n").into()).await.unwrap();
    }
    let store = Arc::new(ThrottledStore::new(files, ThrottleConfig::default()));
    let pond = Pond::open("memory:", OpenOptions::default()).await.unwrap();
    let mut session = pond.session(SessionOptions::default()).unwrap();
    let url = Url::parse("mem://bucket").unwrap();
    let _ = session.context().register_object_store(&url, Arc::clone(&store) as Arc<dyn ObjectStore>);
    let sql = "CREATE EXTERNAL TABLE '/d' STORED AS DIRECTORY LOCATION 'mem://bucket/data' OPTIONS ('into' '/k')";
    let _ = told(&mut session, sql).await.unwrap();
    let begun = Arc::new(AtomicUsize::new(0));
    let third = Arc::new(tokio::sync::Notify::new());
    let progress = {
        let (begun, third, store) = (Arc::clone(&begun), Arc::clone(&third), Arc::clone(&store));
        Progress::new(move |_| {
            if begun.fetch_add(1, Ordering::SeqCst) == 2 {
                // The third file never comes, so the run cannot end before it is stopped.
                store.config_mut(|throttle| throttle.wait_get_per_call = Duration::MAX);
                third.notify_one();
            }
        })
    };
    tokio::select! {
        () = third.notified() => {}
        done = session.run_entry("/d", RunOptions { progress, ..RunOptions::default() }) => panic!("it was to be stopped: {done:?}"),
    }
    assert_eq!(told(&mut session, "SELECT count(*) FROM pond('/k/*')").await.unwrap(), ["2"]);
    store.config_mut(|throttle| throttle.wait_get_per_call = Duration::ZERO);
    let done = session.run_entry("/d", RunOptions::default()).await.unwrap();
    let actions: Vec<&str> = done.column(1).as_string::<i32>().iter().flatten().collect();
    assert_eq!(actions, ["unchanged", "unchanged", "added", "added", "added"]);
    assert_eq!(told(&mut session, "SELECT count(*), sum(a) FROM pond('/k/*')").await.unwrap(), ["5 10"]);
    assert_eq!(told(&mut session, "SELECT count(*) FROM pond_versions('/k/*')").await.unwrap(), ["5"]);
}

#[tokio::test]
async fn two_runs_at_once_copy_each_file_once() {
    let files: Vec<(String, String)> = (0..20).map(|n| (format!("{n}.csv"), format!("a\n{n}\n"))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let folder = folder(&files);
    let pond = Pond::open("memory:", OpenOptions::default()).await.unwrap();
    let mut session = pond.session(SessionOptions::default()).unwrap();
    let _ = told(&mut session, &statement("/d", folder.path())).await.unwrap();
    let (one, two) = tokio::join!(pond.run("/d", RunOptions::default()), pond.run("/d", RunOptions::default()));
    let mut added = 0;
    for done in [one.unwrap(), two.unwrap()] {
        let actions: Vec<&str> = done.column(1).as_string::<i32>().iter().flatten().collect();
        assert!(actions.iter().all(|action| ["added", "unchanged"].contains(action)), "{actions:?}");
        added += actions.iter().filter(|action| **action == "added").count();
    }
    assert_eq!(added, 20);
    assert_eq!(told(&mut session, "SELECT count(*), max(version) FROM pond_versions('/k/*')").await.unwrap(), ["20 1"]);
}

#[tokio::test]
async fn bytes_of_what_is_not_stored_are_rows_of_pond_read() {
    let folder = folder(&[("a.csv", "a\n1\n"), ("note", "hello")]);
    let pond = Pond::open("memory:", OpenOptions::default()).await.unwrap();
    let mut session = pond.session(SessionOptions::default()).unwrap();
    let _ = told(&mut session, &statement("/d", folder.path())).await.unwrap();
    let read = "SELECT path, length(content) FROM pond_read('/d/*') ORDER BY path";
    assert_eq!(told(&mut session, read).await.unwrap(), ["/d/a.csv 4", "/d/note 5"]);
    let (kind, message) = error(&mut session, "OPTIMIZE '/d/*'").await;
    assert_eq!(kind, ErrorKind::WrongKind);
    assert_eq!(message, "'/d/a.csv' is not stored in the pond, so there is nothing to optimize");
}
