//! The bytes of files that are not stored as such: what they are, when they are made, and what is left of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use bytes::Bytes;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider};
use datafusion::common::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{ColumnarValue, Volatility};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext, create_udf};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tokio::sync::mpsc;

use crate::catalog::Keep;
use crate::provider::{ByteStream, PondObjectStore};
use crate::{ErrorKind, OpenOptions, Pond, PondSession, ReadOptions, SessionOptions, StatementResult};

async fn memory() -> PondSession {
    Pond::open("memory:", OpenOptions::default()).await.unwrap().session(SessionOptions::default()).unwrap()
}

async fn run(session: &mut PondSession, statements: &[&str]) {
    for sql in statements {
        if let StatementResult::Rows(rows) = session.execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
        {
            let _: Vec<_> = rows.try_collect().await.unwrap();
        }
    }
}

async fn all(bytes: ByteStream) -> Vec<u8> {
    bytes.try_collect::<Vec<Bytes>>().await.unwrap().concat()
}

async fn read(session: &PondSession, path: &str) -> Vec<u8> {
    all(session.read(path).await.unwrap()).await
}

/// The first column of a Parquet file, row by row.
fn numbers(parquet: impl Into<Bytes>) -> Vec<i64> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(parquet.into()).unwrap().build().unwrap();
    reader.flat_map(|batch| batch.unwrap().column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

#[tokio::test]
async fn files_of_several_parts_and_views_have_bytes() {
    let mut session = memory().await;
    run(
        &mut session,
        &[
            "CREATE TABLE '/s.series' (n BIGINT, s VARCHAR) ORDER BY n",
            "INSERT INTO '/s.series' VALUES (5, 'five'), (1, NULL)",
            "INSERT INTO '/s.series' VALUES (3, 'three'), (2, 'two')",
            "CREATE VIEW '/v' AS SELECT n * 10 AS n FROM '/s.series' WHERE n > 1 ORDER BY n DESC",
            "CREATE VIEW '/d/v.csv' AS SELECT * FROM '/s.series' ORDER BY n",
            "CREATE VIEW '/d/v.ndjson' AS SELECT * FROM '/d/v.csv' WHERE n < 3 ORDER BY n",
            "CREATE VIEW '/d/v.json' AS SELECT * FROM '/d/v.ndjson' ORDER BY n",
            "CREATE TABLE '/empty' (n BIGINT)",
            "CREATE SYMLINK '/link.csv' TO '/v'",
        ],
    )
    .await;
    // In the order that the table declares.
    assert_eq!(numbers(read(&session, "/s.series").await), [1, 2, 3, 5]);
    assert_eq!(numbers(read(&session, "v").await), [50, 30, 20]);
    assert_eq!(read(&session, "/d/v.csv").await, b"n,s\n1,\n2,two\n3,three\n5,five\n");
    assert_eq!(read(&session, "/d/v.ndjson").await, b"{\"n\":1,\"s\":null}\n{\"n\":2,\"s\":\"two\"}\n");
    assert_eq!(read(&session, "/d/v.json").await, b"[{\"n\":1,\"s\":null},{\"n\":2,\"s\":\"two\"}]\n");
    assert_eq!(read(&session, "/link.csv").await, b"n\n50\n30\n20\n");
    assert!(numbers(read(&session, "/empty").await).is_empty());
    for (path, kind) in [("/none", ErrorKind::NotFound), ("/d", ErrorKind::WrongKind), ("/", ErrorKind::WrongKind)] {
        let Err(error) = session.read(path).await else { panic!("{path} has bytes") };
        assert_eq!(error.kind(), kind, "{path}: {error}");
        assert!(error.to_string().contains(path), "{error}");
    }
    // A transaction's own work is seen by it, and by nobody else.
    run(&mut session, &["BEGIN", "INSERT INTO '/s.series' VALUES (4, 'four')"]).await;
    assert_eq!(numbers(read(&session, "/s.series").await), [1, 2, 3, 4, 5]);
    assert_eq!(numbers(all(session.pond().read("/v").await.unwrap()).await), [50, 30, 20]);
    run(&mut session, &["ROLLBACK"]).await;
    assert_eq!(numbers(read(&session, "/v").await), [50, 30, 20]);
    let past = SessionOptions { as_of: Some("2".to_owned()), ..SessionOptions::default() };
    assert_eq!(numbers(read(&session.pond().session(past).unwrap(), "/s.series").await), [1, 5]);
}

#[tokio::test]
async fn the_name_of_a_target_tells_the_encoding() {
    let mut session = memory().await;
    run(
        &mut session,
        &[
            "CREATE TABLE '/one.csv' AS SELECT 7::BIGINT AS n",
            "CREATE TABLE '/many' (n BIGINT) ORDER BY n",
            "INSERT INTO '/many' VALUES (2)",
            "INSERT INTO '/many' VALUES (1)",
            "CREATE VIEW '/v.csv' AS SELECT n FROM '/many' ORDER BY n",
        ],
    )
    .await;
    let _ = session.put(&b"n;s\n1;x\n"[..], "/odd.csv", ReadOptions::default()).await.unwrap();
    let _ = session.put(&b"no table"[..], "/note.md", ReadOptions::default()).await.unwrap();
    let as_ = async |path: &str, target: &str| all(session.read_as(path, target).await.unwrap()).await;
    // A view, a table of several parts, and one that is stored in another format than its name tells.
    assert_eq!(numbers(as_("/v.csv", "v.parquet").await), [1, 2]);
    assert_eq!(as_("/v.csv", "v.tsv").await, b"n\n1\n2\n");
    assert_eq!(as_("/many", "many.json").await, b"[{\"n\":1},{\"n\":2}]\n");
    assert!(as_("/many", "many.csv.gz").await.starts_with(&[0x1f, 0x8b]));
    assert_eq!(as_("/one.csv", "one.csv").await, b"n\n7\n");
    // Where the target names no format, it is as without one.
    assert_eq!(as_("/v.csv", "v").await, b"n\n1\n2\n");
    assert_eq!(numbers(as_("/one.csv", "one.2024").await), [7]);
    // What is in the format already is left as it is, and so is what is no table.
    assert_eq!(as_("/odd.csv", "copy.csv").await, b"n;s\n1;x\n");
    assert_eq!(as_("/note.md", "note.csv").await, b"no table");
    let Err(error) = session.read_as("/v.csv", "v.avro").await else { panic!("Avro was written") };
    assert!(error.to_string().contains("the name 'v.avro' asks for: use .parquet"), "{error}");
}

#[tokio::test]
async fn what_a_view_fails_with_says_where() {
    let mut session = memory().await;
    run(
        &mut session,
        &[
            "CREATE TABLE '/t' AS SELECT value AS n FROM generate_series(1, 50000)",
            "CREATE VIEW '/v.csv' AS SELECT 1 / (n - 30000) AS n FROM '/t'",
            "CREATE VIEW '/l.csv' AS SELECT [n] AS l FROM '/t'",
            "CREATE TABLE '/gone' AS SELECT 1 AS n",
            "CREATE VIEW '/w' AS SELECT n FROM '/gone'",
            "DROP TABLE '/gone'",
        ],
    )
    .await;
    let error = session.read("/v.csv").await.unwrap().try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Execution);
    assert!(error.to_string().contains("'/v.csv' cannot be read as CSV"), "{error}");
    let Err(error) = session.read("/l.csv").await else { panic!("CSV took a list") };
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let Err(error) = session.read("/w").await else { panic!("a view of nothing") };
    assert!(error.to_string().contains("/gone"), "{error}");
}

/// A table that counts how often it is run, and tells when a run is over.
#[derive(Debug)]
struct Watched {
    schema: SchemaRef,
    /// `None`: endless.
    batches: Option<usize>,
    runs: AtomicUsize,
    over: mpsc::UnboundedSender<()>,
}

impl Watched {
    /// The session with the table as `app.public.t`, and its end.
    fn table(context: &SessionContext, batches: Option<usize>) -> (Arc<Self>, mpsc::UnboundedReceiver<()>) {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let (over, ended) = mpsc::unbounded_channel();
        let watched = Arc::new(Self { schema: Arc::clone(&schema), batches, runs: AtomicUsize::new(0), over });
        let table = StreamingTable::try_new(schema, vec![Arc::clone(&watched) as _]).unwrap();
        let (catalog, public) = (MemoryCatalogProvider::new(), Arc::new(MemorySchemaProvider::new()));
        let _ = public.register_table("t".to_owned(), Arc::new(table)).unwrap();
        let _ = catalog.register_schema("public", public).unwrap();
        let _ = context.register_catalog("app", Arc::new(catalog));
        (watched, ended)
    }

    fn runs(&self) -> usize {
        self.runs.load(Ordering::Relaxed)
    }
}

struct Over(mpsc::UnboundedSender<()>);

impl Drop for Over {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

impl PartitionStream for Watched {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let _ = self.runs.fetch_add(1, Ordering::Relaxed);
        let over = Over(self.over.clone());
        let schema = Arc::clone(&self.schema);
        let batch = move |_| {
            let _alive = &over;
            let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..8192));
            Ok(RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap())
        };
        let rows = futures::stream::iter(0..self.batches.unwrap_or(usize::MAX)).map(batch);
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}

#[tokio::test]
async fn the_first_bytes_are_there_before_the_last_row_and_the_query_ends_with_its_reader() {
    for format in ["csv", "tsv", "csv.gz", "ndjson", "json", "arrow", "parquet"] {
        let mut session = memory().await;
        let (watched, mut ended) = Watched::table(session.context(), None);
        let view = format!("CREATE VIEW '/v.{format}' AS SELECT n + 1 AS n FROM app.public.t WHERE n > 0");
        run(&mut session, &[&view]).await;
        let mut bytes = session.read(&format!("/v.{format}")).await.unwrap();
        // More than a header: rows that have no end.
        let mut read = 0;
        while read < 100_000 {
            read += bytes.try_next().await.unwrap().unwrap().len();
        }
        assert!(ended.try_recv().is_err());
        drop(bytes);
        ended.recv().await.unwrap();
        assert_eq!(watched.runs(), 1);
    }
}

#[tokio::test]
async fn a_size_that_nobody_waits_for_any_more_is_not_found_out() {
    let pond = Pond::open("memory:", OpenOptions::default()).await.unwrap();
    let ctx = SessionContext::new();
    pond.register(&ctx, "archive").unwrap();
    let (watched, mut ended) = Watched::table(&ctx, None);
    let view = r#"CREATE VIEW archive."/"."v.csv" AS SELECT n FROM app.public.t"#;
    let _ = ctx.sql(view).await.unwrap().collect().await.unwrap();
    // A pond under another name than `pond` has it in its URL.
    let store = ctx.runtime_env().object_store_registry.get_store(&"pond://archive/".parse().unwrap()).unwrap();
    let path = Path::from("v.csv");
    {
        let mut waiting = std::pin::pin!(store.head(&path));
        while watched.runs() == 0 {
            assert!(futures::poll!(waiting.as_mut()).is_pending());
            tokio::task::yield_now().await;
        }
    }
    ended.recv().await.unwrap();
    // Not that the space is given back: DataFusion 55 loses count where two threads let go of a temporary file at once.
}

struct Objects {
    session: PondSession,
    store: Arc<PondObjectStore>,
}

impl Objects {
    async fn new() -> Self {
        let session = memory().await;
        let store = session.pond().object_store().await.unwrap();
        Self { session, store }
    }
}

#[tokio::test]
async fn objects_have_their_sizes_and_ranges_and_are_made_once_for_what_they_are_made_from() {
    let Objects { mut session, store } = Objects::new().await;
    run(
        &mut session,
        &[
            "CREATE TABLE '/t' AS SELECT value AS n FROM generate_series(1, 100)",
            "CREATE TABLE '/other' AS SELECT 1 AS n",
            "CREATE VIEW '/d/inner' AS SELECT n FROM pond('/t*')",
            "CREATE VIEW '/d/v.csv' AS SELECT n FROM '/d/inner' WHERE n <= 3",
        ],
    )
    .await;
    let mut objects = Objects { session, store };
    let (path, expected) = (Path::from("d/v.csv"), b"n\n1\n2\n3\n");
    let meta = objects.store.head(&path).await.unwrap();
    assert_eq!(meta.size, 8);
    let whole = objects.store.get(&path).await.unwrap();
    assert_eq!((whole.meta.size, whole.meta.e_tag.clone(), whole.range.clone()), (8, meta.e_tag.clone(), 0..8));
    assert_eq!(whole.bytes().await.unwrap(), &expected[..]);
    assert_eq!(objects.store.get_range(&path, 2..5).await.unwrap(), &b"1\n2"[..]);
    assert_eq!(objects.store.get_ranges(&path, &[0..1, 6..8]).await.unwrap(), [&b"n"[..], b"3\n"]);
    // Beyond the end there is nothing, of what is stored neither; so many bytes are not asked of the memory.
    run(&mut objects.session, &["COPY '/d/v.csv' TO '/stored.csv'"]).await;
    for path in [&path, &Path::from("stored.csv")] {
        let ranges = [0..1, 6..u64::MAX, 3..3];
        assert_eq!(objects.store.get_ranges(path, &ranges).await.unwrap(), [&b"n"[..], b"3\n", b""], "{path}");
        assert_eq!(objects.store.get_range(path, 6..u64::MAX).await.unwrap(), &b"3\n"[..], "{path}");
        for beyond in [8..9, 100..200, 20..u64::MAX] {
            let error = objects.store.get_ranges(path, &[0..1, beyond.clone()]).await.unwrap_err();
            assert!(error.to_string().contains("only 8 bytes long"), "{path}: {error}");
            let _ = objects.store.get_range(path, beyond).await.unwrap_err();
        }
    }
    let suffix = GetOptions { range: Some(GetRange::Suffix(2)), ..GetOptions::default() };
    assert_eq!(objects.store.get_opts(&path, suffix).await.unwrap().bytes().await.unwrap(), &b"3\n"[..]);
    // Another file changes, a file that the glob may have matched is there, one that is read has more rows.
    let Objects { mut session, store } = objects;
    let tag = meta.e_tag.clone().unwrap();
    for (sql, changes) in [
        ("INSERT INTO '/other' VALUES (2)", false),
        ("CREATE TABLE '/elsewhere/t' AS SELECT 1 AS n", false),
        ("INSERT INTO '/t' VALUES (0)", true),
        ("CREATE TABLE '/t2' AS SELECT -1::BIGINT AS n", true),
        ("CREATE OR REPLACE VIEW '/d/inner' AS SELECT n + 0 AS n FROM pond('/t*')", true),
    ] {
        let before = store.head(&path).await.unwrap().e_tag;
        run(&mut session, &[sql]).await;
        let after = store.head(&path).await.unwrap().e_tag;
        assert_eq!(before != after, changes, "{sql}");
    }
    assert_ne!(store.head(&path).await.unwrap().e_tag.unwrap(), tag);
    // The reader of the old bytes is told, if it asks.
    let old = GetOptions { if_match: Some(tag), range: Some(GetRange::Bounded(0..1)), ..GetOptions::default() };
    assert!(matches!(store.get_opts(&path, old).await, Err(object_store::Error::Precondition { .. })));
    assert!(matches!(store.head(&Path::from("d/none")).await, Err(object_store::Error::NotFound { .. })));
    assert!(matches!(store.head(&Path::from("d")).await, Err(object_store::Error::NotSupported { .. })));
}

fn matching(tag: &str, range: Option<GetRange>) -> GetOptions {
    GetOptions { if_match: Some(tag.to_owned()), range, ..GetOptions::default() }
}

#[tokio::test]
async fn ranges_that_are_asked_for_by_tag_are_never_of_two_contents() {
    let pond = Pond::open("memory:", OpenOptions::default()).await.unwrap();
    let ctx = SessionContext::new();
    pond.register(&ctx, "pond").unwrap();
    let (watched, _ended) = Watched::table(&ctx, Some(1));
    for sql in [
        r#"CREATE TABLE pond."/"."t" AS SELECT 1 AS n"#,
        r#"CREATE VIEW pond."/"."v.csv" AS SELECT n FROM pond."/"."t""#,
        r#"CREATE VIEW pond."/"."others.csv" AS SELECT n FROM app.public.t"#,
    ] {
        let _ = ctx.sql(sql).await.unwrap().collect().await.unwrap();
    }
    let store = ctx.runtime_env().object_store_registry.get_store(&"pond://".parse().unwrap()).unwrap();
    let changed = |result: object_store::Result<object_store::GetResult>| {
        assert!(matches!(result, Err(object_store::Error::Precondition { .. })), "{result:?}");
    };
    // A derived file whose input changes between two ranges, and a stored part that another takes the place of.
    for (path, n) in [(Path::from("v.csv"), 2), (Path::from("t"), 3)] {
        let tag = store.head(&path).await.unwrap().e_tag.unwrap();
        let range = || Some(GetRange::Bounded(0..2));
        assert_eq!(store.get_opts(&path, matching(&tag, range())).await.unwrap().meta.e_tag, Some(tag.clone()));
        let overwrite = format!(r#"INSERT OVERWRITE pond."/"."t" SELECT {n} AS n"#);
        let _ = ctx.sql(&overwrite).await.unwrap().collect().await.unwrap();
        changed(store.get_opts(&path, matching(&tag, range())).await);
        changed(store.get_opts(&path, matching(&tag, None)).await);
        let newer = store.head(&path).await.unwrap().e_tag.unwrap();
        assert_ne!(newer, tag);
        assert_eq!(store.get_opts(&path, matching(&newer, range())).await.unwrap().meta.e_tag, Some(newer));
    }
    // What nobody tells the changes of is made once for whoever names it, and anew for another who begins.
    let path = Path::from("others.csv");
    let meta = store.head(&path).await.unwrap();
    let tag = meta.e_tag.unwrap();
    let whole = store.get_opts(&path, matching(&tag, None)).await.unwrap().bytes().await.unwrap();
    assert_eq!((whole.len() as u64, watched.runs()), (meta.size, 1));
    let newer = store.head(&path).await.unwrap().e_tag.unwrap();
    assert_eq!((watched.runs(), newer == tag), (2, false));
    changed(store.get_opts(&path, matching(&tag, Some(GetRange::Bounded(0..2)))).await);
    assert_eq!(watched.runs(), 2);
    let versioned = GetOptions { version: Some("1".to_owned()), ..GetOptions::default() };
    let error = store.get_opts(&path, versioned).await.unwrap_err();
    assert!(error.to_string().contains("'/others.csv' has no version '1' here"), "{error}");
}

#[tokio::test]
async fn the_ranges_of_one_call_are_of_one_content() {
    let Objects { mut session, store } = Objects::new().await;
    let view = "CREATE VIEW '/v.csv' AS SELECT repeat(c, 1023) AS s FROM '/t', generate_series(1, 16384)";
    run(&mut session, &["CREATE TABLE '/t' AS SELECT 'x' AS c", view]).await;
    let path = Path::from("v.csv");
    assert_eq!(store.head(&path).await.unwrap().size, 2 + (16 << 20));
    // So far apart that each is read by itself, and more than are read at once.
    let ranges: Vec<_> = (0..14_u64).map(|at| 2 + at * 1100 * 1024).map(|start| start..start + 1023).collect();
    {
        let mut reading = Box::pin(store.get_ranges(&path, &ranges));
        // Begun, and not at its end: that is seldom reached at once.
        for _ in 0..100 {
            if futures::poll!(reading.as_mut()).is_pending() {
                break;
            }
            reading = Box::pin(store.get_ranges(&path, &ranges));
        }
        run(&mut session, &["INSERT OVERWRITE '/t' SELECT 'y'"]).await;
        assert_eq!(store.get_range(&path, 2..4).await.unwrap(), &b"yy"[..]);
        let read = reading.await.unwrap();
        assert_eq!(read, vec![Bytes::from(vec![b'x'; 1023]); 14]);
    }
    let read = store.get_ranges(&path, &ranges).await.unwrap();
    assert_eq!(read, vec![Bytes::from(vec![b'y'; 1023]); 14]);
}

#[tokio::test]
async fn listings_show_derived_files_with_their_sizes() {
    let Objects { mut session, store } = Objects::new().await;
    run(
        &mut session,
        &[
            "CREATE TABLE '/d/one' AS SELECT 1 AS n",
            "CREATE TABLE '/d/two.csv' AS SELECT 1 AS n",
            "INSERT INTO '/d/two.csv' VALUES (2)",
            "CREATE VIEW '/d/v.json' AS SELECT n FROM '/d/one'",
            "CREATE VIEW '/d/e/w.csv' AS SELECT n FROM '/d/one'",
            "CREATE VIEW '/x.csv' AS SELECT 1 / 0 AS n",
        ],
    )
    .await;
    let one = store.head(&Path::from("d/one")).await.unwrap().size;
    let listed: Vec<_> = store.list(Some(&Path::from("d"))).try_collect().await.unwrap();
    let listed: Vec<_> = listed.iter().map(|meta| (meta.location.as_ref(), meta.size)).collect();
    assert_eq!(listed, [("d/e/w.csv", 4), ("d/one", one), ("d/two.csv", 6), ("d/v.json", 10)]);
    // What is further down is not made.
    let root = store.list_with_delimiter(Some(&Path::from("d"))).await.unwrap();
    assert_eq!(root.common_prefixes, [Path::from("d/e")]);
    assert_eq!(root.objects.len(), 3);
    let error = store.list(None).try_collect::<Vec<_>>().await.unwrap_err();
    assert!(error.to_string().contains("/x.csv"), "{error}");
}

#[tokio::test]
async fn what_can_be_no_object_is_in_no_listing_and_an_error_by_its_path() {
    let Objects { mut session, store } = Objects::new().await;
    run(
        &mut session,
        &[
            "CREATE VIEW '/d/v.csv' AS SELECT 1 AS n",
            "CREATE VIEW '/d/v.avro' AS SELECT 1 AS n",
            "CREATE VIEW '/d/l.csv' AS SELECT [1] AS l",
            "CREATE VIEW '/d/iv' AS SELECT INTERVAL '1 day' AS i",
            "CREATE VIEW '/d/m.json' AS SELECT MAP {1: 'a'} AS m",
            "CREATE TABLE '/d/t.csv.bak.gz' AS SELECT 1 AS n",
            "INSERT INTO '/d/t.csv.bak.gz' VALUES (2)",
        ],
    )
    .await;
    let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
    let listed: Vec<_> = listed.iter().map(|meta| (meta.location.as_ref(), meta.size)).collect();
    assert_eq!(listed, [("d/v.csv", 4)]);
    let objects = store.list_with_delimiter(Some(&Path::from("d"))).await.unwrap().objects;
    assert_eq!(objects.iter().map(|meta| meta.location.as_ref()).collect::<Vec<_>>(), ["d/v.csv"]);
    for (path, says) in [
        ("d/v.avro", "the name 'v.avro' asks for: use .parquet"),
        ("d/l.csv", "'/d/l.csv' cannot be read as CSV"),
        ("d/iv", "'/d/iv' cannot be read as Parquet: column 'i' has type Interval(MonthDayNano)"),
        ("d/m.json", "'/d/m.json' cannot be read as JSON: column 'm' has type Map("),
        ("d/t.csv.bak.gz", "the name 't.csv.bak.gz' asks for: use .parquet"),
    ] {
        let path = Path::from(path);
        for error in [store.head(&path).await.unwrap_err(), store.get(&path).await.unwrap_err()] {
            assert!(matches!(error, object_store::Error::NotSupported { .. }), "{error:?}");
            assert!(error.to_string().contains(says), "{error}");
        }
    }
    // It is there, and what it reads is not.
    run(&mut session, &["CREATE TABLE '/gone' AS SELECT 1 AS n", "CREATE VIEW '/w.csv' AS SELECT n FROM '/gone'"])
        .await;
    run(&mut session, &["DROP TABLE '/gone'"]).await;
    let error = store.head(&Path::from("w.csv")).await.unwrap_err();
    assert!(error.to_string().contains("/gone"), "{error}");
    let listed: Vec<_> = store.list(None).map_ok(|meta| meta.location).try_collect().await.unwrap();
    assert_eq!(listed, [Path::from("d/v.csv")]);
    // So it is with a file of the host.
    run(&mut session, &["CREATE VIEW '/h.csv' AS SELECT * FROM './no/such/file.csv'"]).await;
    let error = store.head(&Path::from("h.csv")).await.unwrap_err();
    assert!(error.to_string().contains("no/such/file.csv"), "{error}");
    let listed: Vec<_> = store.list(None).map_ok(|meta| meta.location).try_collect().await.unwrap();
    assert_eq!(listed, [Path::from("d/v.csv")]);
}

#[tokio::test]
async fn what_fails_while_it_runs_is_not_left_out_whatever_it_fails_with() {
    let mut session = memory().await;
    let body = |_: &[ColumnarValue]| Err(DataFusionError::NotImplemented("not on this day".to_owned()));
    let never = create_udf("never", vec![DataType::Int64], DataType::Int64, Volatility::Volatile, Arc::new(body));
    session.context().register_udf(never);
    run(
        &mut session,
        &["CREATE TABLE '/t' AS SELECT 1::BIGINT AS n", "CREATE VIEW '/d/v.csv' AS SELECT never(n) AS n FROM '/t'"],
    )
    .await;
    let pond = session.pond().opened().await.unwrap().clone();
    let store = session.objects(&pond, Keep::Theirs);
    let listed = store.list(Some(&Path::from("d"))).try_collect::<Vec<_>>().await;
    let direct = store.list_with_delimiter(Some(&Path::from("d"))).await;
    let read = store.get(&Path::from("d/v.csv")).await;
    for error in [listed.unwrap_err(), direct.unwrap_err(), read.unwrap_err()] {
        assert!(error.to_string().contains("'/d/v.csv' cannot be read as CSV"), "{error}");
        assert!(error.to_string().contains("not on this day"), "{error}");
    }
}

#[tokio::test]
async fn a_glob_makes_no_bytes_of_what_it_does_not_match() {
    let mut session = memory().await;
    run(
        &mut session,
        &[
            "CREATE VIEW '/d/b.csv' AS SELECT 1 AS n",
            "CREATE VIEW '/d/e/b.csv' AS SELECT 2 AS n",
            "CREATE VIEW '/d/z.csv.gz' AS SELECT 1 / (value - 3) AS n FROM generate_series(1, 5)",
            "CREATE VIEW '/e.csv' AS SELECT 1 / (value - 3) AS n FROM generate_series(1, 5)",
        ],
    )
    .await;
    for (glob, found) in [("d/*.csv", 1), ("*/b.csv", 1), ("*/*/b.csv", 1), ("**/b.csv", 2), ("d/**/?.csv", 2)] {
        let sql = format!("SELECT n FROM pond('pond:///{glob}')");
        let StatementResult::Rows(rows) = session.execute(&sql).await.unwrap_or_else(|error| panic!("{glob}: {error}"))
        else {
            panic!("{glob}: no rows")
        };
        let batches: Vec<RecordBatch> = rows.try_collect().await.unwrap();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), found, "{glob}");
    }
    // What it matches and cannot be made is no table with fewer rows.
    let Err(error) = session.execute("SELECT n FROM pond('pond:///d/*.gz')").await else { panic!("it was left out") };
    assert!(error.to_string().contains("'/d/z.csv.gz' cannot be read as CSV: Divide by zero"), "{error}");
}

#[tokio::test]
async fn temporary_files_go_with_the_store_and_keep_to_the_limit() {
    let pond = Pond::open("memory:", OpenOptions::default()).await.unwrap();
    let runtime = RuntimeEnvBuilder::new().with_max_temp_directory_size(1 << 20).build_arc().unwrap();
    let ctx = SessionContext::new_with_config_rt(SessionConfig::new(), Arc::clone(&runtime));
    pond.register(&ctx, "pond").unwrap();
    let (watched, _ended) = Watched::table(&ctx, Some(4));
    for sql in [
        r#"CREATE VIEW pond."/"."v.csv" AS SELECT n FROM app.public.t"#,
        r#"CREATE VIEW pond."/"."large.csv" AS SELECT a.n FROM app.public.t a, generate_series(1, 100)"#,
    ] {
        let _ = ctx.sql(sql).await.unwrap().collect().await.unwrap();
    }
    let store = runtime.object_store_registry.get_store(&"pond://".parse().unwrap()).unwrap();
    let path = Path::from("v.csv");
    let size = store.head(&path).await.unwrap().size;
    assert_eq!(runtime.disk_manager.used_disk_space(), size);
    assert_eq!(watched.runs(), 1);
    // A reader that has begun stays with what it was told the size of, and a new one gets what is there now.
    assert_eq!(store.get_range(&path, size - 5..size).await.unwrap(), &b"8191\n"[..]);
    assert_eq!(store.get_ranges(&path, &[0..1, 2..3]).await.unwrap().len(), 2);
    assert_eq!(watched.runs(), 1);
    assert_eq!(store.head(&path).await.unwrap().size, size);
    assert_eq!(watched.runs(), 2);
    assert_eq!(runtime.disk_manager.used_disk_space(), size);
    let error = store.head(&Path::from("large.csv")).await.unwrap_err();
    assert!(error.to_string().contains("'/large.csv' cannot be written to a temporary file"), "{error}");
    assert!(error.to_string().contains("exceeded the allowable limit"), "{error}");
    assert_eq!(runtime.disk_manager.used_disk_space(), size);
    drop(store);
    let _ = runtime.object_store_registry.deregister_store(&"pond://".parse().unwrap()).unwrap();
    assert_eq!(runtime.disk_manager.used_disk_space(), 0);
    let left = runtime.disk_manager.temp_dir_paths().iter().map(|path| path.read_dir().unwrap().count()).sum::<usize>();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_temporary_file_that_is_pushed_out_stays_with_its_readers() {
    let pond = Pond::open("memory:", OpenOptions::default()).await.unwrap();
    let ctx = SessionContext::new();
    pond.register(&ctx, "pond").unwrap();
    let (watched, _ended) = Watched::table(&ctx, Some(2));
    let large = r#"CREATE VIEW pond."/"."v.csv" AS SELECT n, repeat('x', 1023) AS s FROM app.public.t"#.to_owned();
    let others = (0..64).map(|at| format!(r#"CREATE VIEW pond."/"."v{at}.csv" AS SELECT {at} AS n"#));
    for sql in std::iter::once(large).chain(others) {
        let _ = ctx.sql(&sql).await.unwrap().collect().await.unwrap();
    }
    let store = ctx.runtime_env().object_store_registry.get_store(&"pond://".parse().unwrap()).unwrap();
    let path = Path::from("v.csv");
    // Two readers of one file, in its middle.
    let first = store.get(&path).await.unwrap();
    let (tag, size) = (first.meta.e_tag.clone().unwrap(), first.meta.size);
    let second = store.get_opts(&path, matching(&tag, None)).await.unwrap();
    assert_eq!(watched.runs(), 1);
    let mut readers = [first.into_stream(), second.into_stream()];
    let mut read = [0; 2];
    for (reader, read) in readers.iter_mut().zip(&mut read) {
        *read += reader.try_next().await.unwrap().unwrap().len() as u64;
        assert!(*read < size, "{size}");
    }
    // As many others as are kept.
    for at in 0..64 {
        let size = store.head(&Path::from(format!("v{at}.csv"))).await.unwrap().size;
        assert_eq!(size, if at < 10 { 4 } else { 5 }, "{at}");
    }
    for (reader, read) in readers.iter_mut().zip(&mut read) {
        while let Some(bytes) = reader.try_next().await.unwrap() {
            *read += bytes.len() as u64;
        }
    }
    assert_eq!((read, watched.runs()), ([size; 2], 1));
    // Who comes for more of it is told that it is gone.
    let gone = store.get_opts(&path, matching(&tag, None)).await;
    assert!(matches!(gone, Err(object_store::Error::Precondition { .. })), "{gone:?}");
    assert_eq!(watched.runs(), 2);
}

#[tokio::test]
async fn a_view_of_a_host_file_is_read_anew() {
    let Objects { mut session, store } = Objects::new().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x.csv");
    std::fs::write(&file, "n\n1\n").unwrap();
    run(&mut session, &[&format!("CREATE VIEW '/h.csv' AS SELECT n FROM 'file://{}'", file.display())]).await;
    let path = Path::from("h.csv");
    assert_eq!(store.head(&path).await.unwrap().size, 4);
    assert_eq!(read(&session, "/h.csv").await, b"n\n1\n");
    std::fs::write(&file, "n\n1\n22\n").unwrap();
    assert_eq!(store.head(&path).await.unwrap().size, 7);
    assert_eq!(read(&session, "/h.csv").await, b"n\n1\n22\n");
    let StatementResult::Rows(rows) = session.execute("SELECT n FROM '/h.csv'").await.unwrap() else { panic!() };
    assert_eq!(rows.try_collect::<Vec<_>>().await.unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
}

/// DataFusion's own tables over a pond's derived files, in an application's context.
async fn read_by_url(location: &str) {
    let ctx = SessionContext::new();
    let pond = Pond::open(location, OpenOptions::default()).await.unwrap();
    pond.register(&ctx, "pond").unwrap();
    let rows = |sql: String| {
        let ctx = ctx.clone();
        async move { ctx.sql(&sql).await.unwrap().collect().await.unwrap() }
    };
    for sql in [
        r#"CREATE SCHEMA pond."/d""#,
        r#"CREATE TABLE pond."/"."t" AS SELECT value AS n FROM generate_series(1, 20000)"#,
        r#"INSERT INTO pond."/"."t" VALUES (20001)"#,
        r#"CREATE VIEW pond."/d"."v.parquet" AS SELECT n FROM pond('/t') WHERE n > 10"#,
        r#"CREATE VIEW pond."/d"."v.csv" AS SELECT n FROM pond('/t') WHERE n > 10"#,
        r#"CREATE VIEW pond."/d"."v.json" AS SELECT n FROM pond('/t') WHERE n > 10"#,
        r#"CREATE VIEW pond."/d"."v.arrow" AS SELECT n FROM pond('/t') WHERE n > 10"#,
    ] {
        rows(sql.to_owned()).await;
    }
    for (format, kind) in [("parquet", "PARQUET"), ("csv", "CSV"), ("json", "JSON"), ("arrow", "ARROW")] {
        let options = if format == "json" { "OPTIONS ('format.newline_delimited' 'false')" } else { "" };
        let location = format!("pond:///d/v.{format}");
        rows(format!("CREATE EXTERNAL TABLE e_{format} STORED AS {kind} LOCATION '{location}' {options}")).await;
        let sum = rows(format!("SELECT count(*), sum(n) FROM e_{format}")).await;
        assert_eq!(sum[0].column(0).as_primitive::<Int64Type>().value(0), 19_991, "{format}");
        assert_eq!(sum[0].column(1).as_primitive::<Int64Type>().value(0), 20001 * 20002 / 2 - 55, "{format}");
    }
    // A directory of them.
    let parquet = ctx.read_parquet("pond:///d/", ParquetReadOptions::default()).await.unwrap();
    assert_eq!(parquet.count().await.unwrap(), 19_991);
    pond.close().await.unwrap();
}

#[tokio::test]
async fn urls_work_on_a_current_thread_runtime() {
    read_by_url("memory:").await;
    let directory = tempfile::tempdir().unwrap();
    read_by_url(directory.path().to_str().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn urls_work_on_a_multi_thread_runtime() {
    read_by_url("memory:").await;
}
