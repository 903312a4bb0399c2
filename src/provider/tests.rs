//! The provider over a store in memory that counts what is read.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use ::object_store::path::Path;
use ::object_store::{ObjectStore, ObjectStoreExt};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::Utc;
use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    StringViewArray, TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::catalog::TableProvider;
use datafusion::common::stats::Precision;
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::datasource::MemTable;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlanProperties, collect, displayable, execute_stream};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::{StreamExt, TryStreamExt};
use tinyfs::{
    Action, Appended, Attributes, Commit, CommitInfo, EntryKind, NodeId, Operation, Part, PersistenceLayer, PondPath,
    Txn, WriteMode,
};

mod writing;

use super::*;
use crate::error::{Error, ErrorKind, Result};
use crate::testing::CountingStore;

/// A pond of files in its root, and a session of two partitions.
struct Pond {
    store: Arc<CountingStore>,
    layer: Arc<dyn PersistenceLayer>,
    objects: Arc<PondObjectStore>,
    cache: AttributeCache,
    ctx: SessionContext,
}

impl Pond {
    fn new() -> Self {
        let store = Arc::new(CountingStore::default());
        let layer: Arc<dyn PersistenceLayer> = Arc::clone(&store) as _;
        let objects = Arc::new(PondObjectStore::new(Arc::clone(&layer)));
        let ctx = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
        Self { store, layer, objects, cache: AttributeCache::new(), ctx }
    }

    fn node(&self, path: &str) -> Option<Arc<tinyfs::Node>> {
        let state = self.layer.latest();
        let tinyfs::Body::Directory(entries) = &state.root().unwrap().body else { panic!("the root is a directory") };
        entries.get(&path[1..]).map(|id| Arc::clone(state.node(*id).unwrap()))
    }

    async fn commit(&self, node: NodeId, path: &str, action: Action) {
        let base = self.layer.latest();
        let operation = Operation { node, parent: NodeId::ROOT, name: path[1..].into(), action };
        let commit = Commit {
            txn: base.txn().next(),
            committed_at: Utc::now(),
            info: CommitInfo::default(),
            operations: vec![operation],
        };
        assert!(matches!(self.layer.commit(&base, commit).await.unwrap(), Appended::Committed(_)));
    }

    async fn create(&self, path: &str, attributes: Attributes) -> NodeId {
        let node = NodeId::unique();
        self.commit(node, path, Action::Create { kind: EntryKind::File, text: None, attributes }).await;
        node
    }

    async fn add(&self, path: &str, mode: WriteMode, part: Part, attributes: Attributes) {
        let node = match self.node(path) {
            Some(node) => node.id,
            None => self.create(path, Attributes::default()).await,
        };
        let version = self.node(path).unwrap().versions().unwrap().len() as u64 + 1;
        self.commit(node, path, Action::Write { version, mode, part, attributes }).await;
    }

    async fn part(&self, batch: RecordBatch, order: Vec<SortColumn>) -> WrittenPart {
        let schema = batch.schema();
        let stream = futures::stream::iter([Ok(batch)]).boxed();
        let stream = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), stream));
        write_part(stream, &self.layer, WriteOptions { schema: Some(schema), order }).await.unwrap()
    }

    async fn append(&self, path: &str, batch: RecordBatch) {
        let written = self.part(batch, Vec::new()).await;
        self.add(path, WriteMode::Append, written.part, written.attributes).await;
    }

    fn file(&self, path: &str) -> Result<FileTable> {
        self.file_at(path, FileVersion::Latest)
    }

    fn file_at(&self, path: &str, at: FileVersion) -> Result<FileTable> {
        FileTable::try_new(PondPath::parse(path).unwrap(), &self.node(path).unwrap(), at, &self.cache)
    }

    fn register(&self, name: &str, spec: TableScanSpec) {
        let provider = Arc::new(FileTableProvider::try_new(spec, &self.objects).unwrap());
        let _ = self.ctx.deregister_table(name).unwrap();
        let _ = self.ctx.register_table(name, provider).unwrap();
    }

    /// Registers the files as `t`, each with its name up to the dot as `site`.
    fn register_glob(&self, paths: &[&str], meta: bool) {
        let files = paths
            .iter()
            .map(|path| (self.file(path).unwrap(), vec![Some(path[1..].split('.').next().unwrap().into())]))
            .collect();
        self.register(
            "t",
            TableScanSpec { files, capture_columns: vec!["site".into()], meta, ..TableScanSpec::default() },
        );
    }

    fn register_file(&self, path: &str) {
        let files = vec![(self.file(path).unwrap(), vec![])];
        self.register("t", TableScanSpec { files, ..TableScanSpec::default() });
    }

    async fn query(&self, sql: &str) -> String {
        let batches = self.ctx.sql(sql).await.unwrap().collect().await.unwrap();
        let text = pretty_format_batches(&batches).unwrap().to_string();
        let rows = text.lines().filter(|line| line.starts_with('|')).skip(1);
        rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join(","))
            .collect::<Vec<_>>()
            .join("\n")
    }

    async fn plan(&self, sql: &str) -> String {
        let plan = self.ctx.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        displayable(plan.as_ref()).indent(false).to_string()
    }

    /// What `sql` gives, and how many reads it took.
    async fn counted(&self, sql: &str) -> (String, usize) {
        let before = self.store.reads.load(Ordering::Relaxed);
        let rows = self.query(sql).await;
        (rows, self.store.reads.load(Ordering::Relaxed) - before)
    }
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

fn times(range: Range<i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(range))
}

fn ints(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

/// Readings at every microsecond of `range`; the value is the time times ten.
fn readings(range: Range<i64>) -> RecordBatch {
    batch(vec![("ts", times(range.clone())), ("v", ints(range.map(|t| t * 10)))])
}

#[derive(Debug)]
struct Recorder {
    store: Arc<dyn PersistenceLayer>,
    written: Mutex<Vec<(WriteMode, Part, Attributes)>>,
}

#[async_trait]
impl TableWriter for Recorder {
    fn store(&self) -> &Arc<dyn PersistenceLayer> {
        &self.store
    }

    async fn write(&self, mode: WriteMode, part: Part, attributes: Attributes) -> Result<()> {
        self.written.lock().unwrap().push((mode, part, attributes));
        Ok(())
    }
}

#[tokio::test]
async fn versions_of_different_schemas_are_one_table_by_name() {
    let pond = Pond::new();
    pond.append("/s", batch(vec![("a", Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef)])).await;
    pond.append("/s", batch(vec![("b", Arc::new(StringArray::from(vec!["x"])) as ArrayRef), ("a", ints([1 << 40]))]))
        .await;
    let file = pond.file("/s").unwrap();
    assert_eq!(file.rows(), Some(3));
    let expected = Schema::new(vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Utf8View, true)]);
    assert_eq!(**file.schema(), expected);
    pond.register_file("/s");
    assert_eq!(pond.query("SELECT a, b FROM t ORDER BY a").await, "1,\n2,\n1099511627776,x");
    assert_eq!(pond.query("SELECT a FROM t WHERE b = 'x'").await, "1099511627776");
    assert_eq!(pond.query("SELECT count(*), min(a), max(a), count(b) FROM t").await, "3,1,1099511627776,1");
}

#[tokio::test]
async fn version_chooses_the_content_after_it() {
    let pond = Pond::new();
    pond.append("/s", readings(0..1)).await;
    pond.append("/s", readings(1..3)).await;
    let replaced = pond.part(readings(7..8), Vec::new()).await;
    pond.add("/s", WriteMode::Replace, replaced.part, replaced.attributes).await;
    let rows = |at| pond.file_at("/s", at).map(|file| file.rows().unwrap());
    assert_eq!(rows(FileVersion::Latest).unwrap(), 1);
    assert_eq!(rows(FileVersion::Number(2)).unwrap(), 3);
    assert_eq!(rows(FileVersion::Number(1)).unwrap(), 1);
    for number in [0, 4] {
        let error = rows(FileVersion::Number(number)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(error.to_string(), format!("'/s' has no version {number}: it has versions 1 to 3"));
    }
}

#[tokio::test]
async fn file_of_bytes_is_no_table() {
    let pond = Pond::new();
    let mut writer = pond.layer.create_part().await.unwrap();
    writer.write(Bytes::from_static(b"hello")).await.unwrap();
    pond.add("/notes.txt", WriteMode::Replace, writer.finish().await.unwrap(), Attributes::default()).await;
    let error = pond.file("/notes.txt").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongKind);
    assert!(
        error.to_string().starts_with("'/notes.txt' is a data file, not a table: it was stored as bytes;"),
        "{error}"
    );
    let _ = pond.create("/empty", Attributes::default()).await;
    assert_eq!(pond.file("/empty").unwrap_err().kind(), ErrorKind::WrongKind);
}

#[tokio::test]
async fn declared_table_without_versions_is_empty() {
    let pond = Pond::new();
    let schema =
        Arc::new(Schema::new(vec![Field::new("ts", DataType::Int64, false), Field::new("s", DataType::Utf8, true)]));
    let declared = TableAttributes { schema, order: vec![SortColumn::ascending("ts")] };
    let _ = pond.create("/t", declared.to_attributes().unwrap()).await;
    pond.register_file("/t");
    assert_eq!(pond.query("SELECT count(*), min(ts) FROM t").await, "0,");
    assert_eq!(pond.query("SELECT s, ts FROM t WHERE ts > 3").await, "");
    assert_eq!(pond.file("/t").unwrap().order(), [SortColumn::ascending("ts")]);
    assert!(FileTable::is_table(&pond.node("/t").unwrap()));
}

#[tokio::test]
async fn order_of_a_series_saves_the_sort() {
    let pond = Pond::new();
    // Touching and out of turn, as when a gap is filled later.
    for range in [0..100, 300..400, 99..200, 199..301] {
        pond.append("/s", readings(range)).await;
    }
    pond.register_file("/s");
    let plan = pond.plan("SELECT ts FROM t ORDER BY ts").await;
    assert!(!plan.contains("SortExec"), "{plan}");
    let rows = pond.query("SELECT ts::BIGINT AS k FROM t ORDER BY ts").await;
    let rows: Vec<i64> = rows.lines().map(|row| row.parse().unwrap()).collect();
    assert_eq!(rows.len(), 403);
    assert!(rows.is_sorted());
    assert_eq!(pond.query("SELECT ts::BIGINT AS k FROM t ORDER BY ts DESC LIMIT 2").await, "399\n398");
}

#[tokio::test]
async fn order_with_nulls_or_overlaps_still_gives_sorted_rows() {
    let pond = Pond::new();
    let order = vec![SortColumn::ascending("k")];
    for values in [vec![Some(1), Some(5), None], vec![Some(2), Some(3)], vec![Some(4), None], vec![Some(0), Some(9)]] {
        let written =
            pond.part(batch(vec![("k", Arc::new(Int64Array::from(values)) as ArrayRef)]), order.clone()).await;
        pond.add("/s", WriteMode::Append, written.part, written.attributes).await;
    }
    pond.register_file("/s");
    assert_eq!(pond.query("SELECT k FROM t ORDER BY k").await, "0\n1\n2\n3\n4\n5\n9\n\n");
    assert_eq!(pond.query("SELECT k FROM t ORDER BY k DESC").await, "\n\n9\n5\n4\n3\n2\n1\n0");
    let plan = pond.plan("SELECT k FROM t ORDER BY k").await;
    assert!(!plan.contains("SortExec"), "one part a group keeps the order: {plan}");
}

#[tokio::test]
async fn many_small_parts_that_overlap_are_merged_and_too_many_are_sorted() {
    let pond = Pond::new();
    for parts in [17, 128, 129] {
        let name = format!("/s{parts}");
        let written = pond.part(readings(0..10), Vec::new()).await;
        for _ in 0..parts {
            pond.add(&name, WriteMode::Append, written.part.clone(), written.attributes.clone()).await;
        }
        pond.register_file(&name);
        let plan = pond.plan("SELECT ts FROM t ORDER BY ts").await;
        assert_eq!(plan.contains("SortExec"), parts == 129, "{parts}: {plan}");
        assert!(plan.contains("SortPreservingMergeExec: [ts@0 ASC NULLS LAST]"), "{parts}: {plan}");
        let rows = pond.query("SELECT ts::BIGINT AS k FROM t ORDER BY ts").await;
        let rows: Vec<i64> = rows.lines().map(|row| row.parse().unwrap()).collect();
        assert_eq!(rows, (0..10).flat_map(|ts| vec![ts; parts]).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn groups_for_an_order_that_nobody_asks_for_are_dealt_anew() {
    let pond = Pond::new();
    for _ in 0..17 {
        pond.append("/s", readings(0..10)).await;
    }
    pond.register_file("/s");
    let plan = pond.ctx.sql("SELECT v FROM t").await.unwrap().create_physical_plan().await.unwrap();
    assert_eq!(plan.output_partitioning().partition_count(), 17);
    let plan = OrderOnDemand.optimize(plan, pond.ctx.copied_config().options()).unwrap();
    assert_eq!(plan.output_partitioning().partition_count(), 2);
    let rows = collect(plan, pond.ctx.task_ctx()).await.unwrap();
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 170);
}

#[tokio::test]
async fn descending_order_is_kept() {
    let pond = Pond::new();
    let order = vec![SortColumn { column: "k".into(), descending: true, nulls_first: true }];
    for values in [[9, 7], [5, 5], [7, 6]] {
        let written = pond.part(batch(vec![("k", ints(values))]), order.clone()).await;
        pond.add("/s", WriteMode::Append, written.part, written.attributes).await;
    }
    pond.register_file("/s");
    let plan = pond.plan("SELECT k FROM t ORDER BY k DESC").await;
    assert!(!plan.contains("SortExec"), "{plan}");
    assert_eq!(pond.query("SELECT k FROM t ORDER BY k DESC").await, "9\n7\n7\n6\n5\n5");
}

#[tokio::test]
async fn one_hour_opens_one_version() {
    let pond = Pond::new();
    for hour in 0..50 {
        pond.append("/s", readings(hour * 100..(hour + 1) * 100)).await;
    }
    pond.register_file("/s");
    let sql = "SELECT sum(v) FROM t WHERE ts >= to_timestamp_micros(1000) AND ts < to_timestamp_micros(1003)";
    let plan = pond.plan(sql).await;
    assert_eq!(parts_in(&plan), 1, "{plan}");
    assert!(plan.contains("s@11-"), "{plan}");
    assert_eq!(pond.query(sql).await, "30030");
    assert_eq!(pond.counted("SELECT v FROM t WHERE v < 0").await, (String::new(), 0));
}

#[tokio::test]
async fn counts_bounds_and_captures_open_no_file() {
    let pond = Pond::new();
    pond.append("/A.series", readings(0..10)).await;
    pond.append("/A.series", readings(10..15)).await;
    pond.append("/B.series", readings(100..107)).await;
    pond.register_glob(&["/A.series", "/B.series"], true);
    let nothing = |rows: &str| (rows.to_owned(), 0);
    assert_eq!(pond.counted("SELECT count(*) FROM t").await, nothing("22"));
    assert_eq!(pond.counted("SELECT count(*) FROM t WHERE site = 'A'").await, nothing("15"));
    assert_eq!(pond.counted("SELECT count(v), min(v), max(v) FROM t WHERE site = 'B'").await, nothing("7,1000,1060"));
    assert_eq!(pond.counted("SELECT min(site), max(site), max(_version) FROM t").await, nothing("A,B,2"));
    assert_eq!(pond.counted("SELECT count(*) FROM t WHERE site IN ('C') OR _name = 'x'").await, nothing("0"));
    assert_eq!(pond.counted("SELECT count(*) FROM t WHERE _path LIKE '/A%' AND _version = 2").await, nothing("5"));
    let (rows, reads) = pond
        .counted("SELECT site, _path, _name, _version, count(*), sum(v) FROM t GROUP BY 1,2,3,4 ORDER BY 1,4")
        .await;
    assert_eq!(rows, "A,/A.series,A.series,1,10,450\nA,/A.series,A.series,2,5,600\nB,/B.series,B.series,1,7,7210");
    assert!(reads >= 3);
}

#[tokio::test]
async fn what_is_known_of_columns_is_read_when_a_statement_wants_it() {
    let pond = Pond::new();
    pond.append("/A.series", readings(0..10)).await;
    pond.append("/B.series", readings(100..107)).await;
    pond.register_glob(&["/A.series", "/B.series"], false);
    let read = |path: &str| pond.file(path).unwrap().parts()[0].attributes.has_read_statistics();
    assert_eq!(pond.query("SELECT count(*) FROM t").await, "17");
    assert_eq!(pond.query("SELECT count(*) FROM t WHERE site = 'B'").await, "7");
    assert_eq!([read("/A.series"), read("/B.series")], [false; 2]);
    assert_eq!(pond.query("SELECT sum(v) FROM t WHERE site = 'B' AND v >= 1050").await, "2110");
    assert_eq!([read("/A.series"), read("/B.series")], [false, true]);
}

#[tokio::test]
async fn statistics_that_cannot_be_read_name_their_version() {
    let pond = Pond::new();
    let written = pond.part(readings(0..3), Vec::new()).await;
    pond.add("/s", WriteMode::Append, written.part, written.attributes.with("stats", "[]")).await;
    pond.register_file("/s");
    assert_eq!(pond.query("SELECT count(*) FROM t").await, "3");
    let error = pond.ctx.sql("SELECT sum(v) FROM t").await.unwrap().collect().await.unwrap_err();
    let error = Error::from_datafusion(error);
    let place = (error.path().map(PondPath::as_str), error.version());
    assert_eq!((error.kind(), place), (ErrorKind::Corrupt, (Some("/s"), Some(1))), "{error}");
}

#[tokio::test]
async fn capture_that_took_no_part_is_null() {
    let pond = Pond::new();
    pond.append("/A", readings(0..2)).await;
    pond.append("/B", readings(5..6)).await;
    let files = vec![(pond.file("/A").unwrap(), vec![None]), (pond.file("/B").unwrap(), vec![Some("b".into())])];
    pond.register("t", TableScanSpec { files, capture_columns: vec!["k".into()], ..TableScanSpec::default() });
    assert_eq!(pond.query("SELECT count(*), count(k), min(k), max(k) FROM t").await, "3,1,b,b");
    assert_eq!(pond.query("SELECT v FROM t WHERE k IS NULL ORDER BY v").await, "0\n10");
    assert_eq!(pond.query("SELECT v, k FROM t ORDER BY v").await, "0,\n10,\n50,b");
    assert_eq!(pond.query("SELECT v FROM t WHERE k <> 'z'").await, "50");
}

#[tokio::test]
async fn planning_a_glob_of_a_thousand_files_reads_nothing() {
    let pond = Pond::new();
    let written = pond.part(readings(0..20), Vec::new()).await;
    let names: Vec<String> = (0..1000).map(|at| format!("/f{at}.series")).collect();
    for name in &names {
        pond.add(name, WriteMode::Append, written.part.clone(), written.attributes.clone()).await;
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    pond.register_glob(&names, false);
    let plan = pond.plan("SELECT site, avg(v) FROM t WHERE ts > to_timestamp_micros(3) GROUP BY site").await;
    assert!(plan.contains("DataSourceExec"), "{plan}");
    assert_eq!(pond.query("SELECT count(*) FROM t").await, "20000");
    assert_eq!(pond.store.reads.load(Ordering::Relaxed), 0);
    let one = pond.file("/f1.series").unwrap();
    assert!(Arc::ptr_eq(one.schema(), pond.file("/f999.series").unwrap().schema()), "equal schemas are one");
}

#[tokio::test]
async fn type_conflict_names_both_files_and_types() {
    let pond = Pond::new();
    pond.append("/a", batch(vec![("x", Arc::new(BooleanArray::from(vec![true])) as ArrayRef)])).await;
    pond.append("/b", batch(vec![("x", Arc::new(Date32Array::from(vec![1])) as ArrayRef)])).await;
    let files = vec![(pond.file("/a").unwrap(), vec![]), (pond.file("/b").unwrap(), vec![])];
    let error =
        FileTableProvider::try_new(TableScanSpec { files, ..TableScanSpec::default() }, &pond.objects).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TypeConflict);
    assert_eq!(error.to_string(), "column 'x' is Boolean in '/a' and Date32 in '/b': they have no common type");
}

#[tokio::test]
async fn capture_named_like_a_column_is_an_error() {
    let pond = Pond::new();
    pond.append("/a", readings(0..1)).await;
    let spec = |capture: &str, meta| TableScanSpec {
        files: vec![(pond.file("/a").unwrap(), vec![Some("x".into())])],
        capture_columns: vec![capture.into()],
        meta,
        ..TableScanSpec::default()
    };
    let error = FileTableProvider::try_new(spec("v", false), &pond.objects).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Plan);
    assert!(
        error.to_string().contains("capture 'v' has the name of the column 'v'")
            && error.to_string().contains("rename the capture")
    );
    assert!(FileTableProvider::try_new(spec("_path", true), &pond.objects).is_err());
    let table = FileTableProvider::try_new(spec("_1", true), &pond.objects).unwrap();
    let names: Vec<_> = table.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["ts", "v", "_path", "_name", "_version", "_txn", "_modified", "_1"]);
}

#[tokio::test]
async fn limit_opens_no_more_than_it_needs() {
    let pond = Pond::new();
    for at in 0..30 {
        pond.append("/s", readings(at * 10..at * 10 + 10)).await;
    }
    pond.register_file("/s");
    let plan = pond.plan("SELECT v FROM t LIMIT 15").await;
    assert_eq!(parts_in(&plan), 2, "{plan}");
    assert_eq!(pond.query("SELECT v FROM t LIMIT 15").await.lines().count(), 15);
    assert_eq!(pond.query("SELECT count(*) FROM (SELECT v FROM t LIMIT 15)").await, "15");
    assert_eq!(pond.query("SELECT v FROM t WHERE v >= 2500 LIMIT 1000").await.lines().count(), 50);
}

#[tokio::test]
async fn malformed_parquet_is_refused_before_it_is_decoded() {
    let pond = Pond::new();
    for bytes in
        [b"PAR1PAR1".as_slice(), b"PAR1\xff\xff\xff\x7fPAR1", b"PAR1xxxx\x04\x00\x00\x00PAR1", b"a,b\n1,2\n1,2\n"]
    {
        let mut writer = pond.layer.create_part().await.unwrap();
        writer.write(Bytes::from_static(bytes)).await.unwrap();
        let part = writer.finish().await.unwrap();
        assert_eq!(describe_parquet(&pond.layer, &part).await.unwrap_err().kind(), ErrorKind::Corrupt, "{bytes:?}");
    }
}

#[tokio::test]
async fn foreign_parquet_is_described() {
    let pond = Pond::new();
    let written = pond.part(readings(3..9), Vec::new()).await;
    let described = describe_parquet(&pond.layer, &written.part).await.unwrap();
    let own = PartAttributes::parse(&written.attributes).unwrap();
    assert_eq!(described.with_order(own.order.clone()), own);
    let floats =
        pond.part(batch(vec![("x", Arc::new(Float64Array::from(vec![1.0, f64::NAN])) as ArrayRef)]), Vec::new()).await;
    let described = describe_parquet(&pond.layer, &floats.part).await.unwrap();
    assert_eq!(described.rows(), Some(2));
    assert_eq!(described.statistics().unwrap().column_statistics[0].max_value, Precision::Absent);
}

#[tokio::test]
async fn object_store_serves_parts_and_plain_paths() {
    let pond = Pond::new();
    pond.append("/one.parquet", readings(0..5)).await;
    pond.append("/two.series", readings(0..5)).await;
    pond.append("/two.series", readings(5..9)).await;
    let version = Arc::clone(&pond.file("/one.parquet").unwrap().parts()[0].version);
    let bytes = pond.layer.read_part(&version.part, 0..version.part.size).await.unwrap();
    let plain = Path::from("one.parquet");
    let part = object_path::object_path(&PondPath::parse("/one.parquet").unwrap(), &version);
    for location in [&plain, &part] {
        assert_eq!(pond.objects.get(location).await.unwrap().bytes().await.unwrap(), bytes);
        assert_eq!(pond.objects.head(location).await.unwrap().size, version.part.size);
        assert_eq!(
            pond.objects.get_ranges(location, &[4..8, 0..4]).await.unwrap(),
            [bytes.slice(4..8), bytes.slice(0..4)]
        );
    }
    assert!(matches!(
        pond.objects.head(&Path::from("two.series")).await,
        Err(::object_store::Error::NotSupported { .. })
    ));
    assert!(matches!(pond.objects.head(&Path::from("none")).await, Err(::object_store::Error::NotFound { .. })));
    let other = Path::from(part.as_ref().replace("@1-", "@2-"));
    assert!(matches!(pond.objects.head(&other).await, Err(::object_store::Error::NotFound { .. })));
    assert!(matches!(pond.objects.put(&plain, "x".into()).await, Err(::object_store::Error::NotSupported { .. })));
    assert!(matches!(pond.objects.delete(&plain).await, Err(::object_store::Error::NotSupported { .. })));
    let listed: Vec<_> = pond.objects.list(None).map_ok(|meta| meta.location).try_collect().await.unwrap();
    assert_eq!(listed, [plain]);
}

#[tokio::test]
async fn lease_serves_what_was_never_committed_until_it_is_dropped() {
    let pond = Pond::new();
    let written = pond.part(readings(0..5), Vec::new()).await;
    let size = written.part.size;
    let version = tinyfs::Version {
        number: 1,
        mode: WriteMode::Append,
        part: written.part,
        txn: Txn(1),
        modified: Utc::now(),
        attributes: written.attributes,
    };
    let path = PondPath::parse("/new").unwrap();
    let lease = pond.objects.lease(&path, &version);
    let again = pond.objects.lease(&path, &version);
    assert!(Arc::ptr_eq(&lease, &again));
    let location = lease.meta().location;
    drop(lease);
    assert_eq!(pond.objects.head(&location).await.unwrap().size, size);
    drop(again);
    assert!(matches!(pond.objects.head(&location).await, Err(::object_store::Error::NotFound { .. })));
}

#[tokio::test]
async fn plan_outlives_the_file_it_reads() {
    let pond = Pond::new();
    pond.append("/s", readings(0..5)).await;
    pond.register_file("/s");
    let plan = pond.ctx.sql("SELECT sum(v) FROM t WHERE v > 0").await.unwrap().create_physical_plan().await.unwrap();
    let node = pond.node("/s").unwrap().id;
    pond.commit(node, "/s", Action::Remove).await;
    let _ = pond.ctx.deregister_table("t").unwrap();
    let batches: Vec<RecordBatch> = execute_stream(plan, pond.ctx.task_ctx()).unwrap().try_collect().await.unwrap();
    assert!(pretty_format_batches(&batches).unwrap().to_string().contains("100"));
}

#[tokio::test]
async fn damage_names_path_and_version() {
    let pond = Pond::new();
    let mut written = pond.part(readings(0..5), Vec::new()).await;
    written.part.place = tinyfs::Place::Content;
    pond.add("/s", WriteMode::Append, written.part, written.attributes).await;
    pond.register_file("/s");
    let error = pond.ctx.sql("SELECT v FROM t").await.unwrap().collect().await.unwrap_err();
    let error = Error::from_datafusion(error);
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    // DataFusion turns what goes wrong with a footer into text.
    assert!(error.to_string().contains("('/s', version 1)"), "{error}");
}

/// How many parts of `/s` a plan reads.
fn parts_in(plan: &str) -> usize {
    plan.matches("[s@").count() + plan.matches(", s@").count()
}

async fn host(ctx: &SessionContext, name: &str) -> Result<String> {
    let table = host_table(&ctx.state(), name, &HostRequest::default()).await?;
    let batches = ctx.read_table(table)?.collect().await?;
    Ok(pretty_format_batches(&batches).unwrap().to_string())
}

#[tokio::test]
async fn host_files_are_tables_by_extension() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| format!("file://{}/{name}", directory.path().display());
    let write = |name: &str, text: &[u8]| {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("a.csv", b"id,name\n1,one\n");
    write("b.csv", b"id,name\n2.5,two\n");
    write("sub/c.csv", b"id,name\n9,deep\n");
    write("swapped.csv.old", b"");
    write("x.tsv", b"k\tv\n1\t2\n");
    write("n.ndjson", b"{\"k\":1}\n{\"k\":2,\"z\":true}\n");
    write("bad.parquet", b"PAR1PAR1");
    write("notes.txt", b"hello");
    let ctx = SessionContext::new();
    let one = host(&ctx, &at("a.csv")).await.unwrap();
    assert!(one.contains("| 1  | one  |"), "{one}");
    let both = host(&ctx, &at("*.csv")).await.unwrap();
    assert!(both.contains("| 1.0 | one  |") && both.contains("| 2.5 | two  |") && !both.contains("deep"), "{both}");
    assert!(host(&ctx, &at("**/*.csv")).await.unwrap().contains("deep"));
    assert!(host(&ctx, &at("x.tsv")).await.unwrap().contains("| 1 | 2 |"));
    assert!(host(&ctx, &at("n.ndjson")).await.unwrap().contains("| 2 | true |"));
    for (name, kind) in [
        ("none.csv", ErrorKind::Io),
        ("*.orc", ErrorKind::Io),
        ("notes.txt", ErrorKind::Unsupported),
        ("bad.parquet", ErrorKind::Corrupt),
    ] {
        let error = host(&ctx, &at(name)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    // Columns in another order: by position, values would come under the wrong names.
    write("b.csv", b"name,id\ntwo,2\n");
    assert!(host(&ctx, &at("*.csv")).await.unwrap().contains("| 2  | two  |"));
    // A file that comes later is seen.
    write("d/1.csv", b"k\n1\n");
    assert!(!host(&ctx, &at("d/*.csv")).await.unwrap().contains("| 2 |"));
    write("d/2.csv", b"k\n2\n");
    assert!(host(&ctx, &at("d/*.csv")).await.unwrap().contains("| 2 |"));
}

#[tokio::test]
async fn host_table_cannot_be_written() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a.csv"), "k\n1\n").unwrap();
    let ctx = SessionContext::new();
    let table =
        host_table(&ctx.state(), &format!("file://{}/a.csv", directory.path().display()), &HostRequest::default())
            .await
            .unwrap();
    let _ = ctx.register_table("h", table).unwrap();
    let error: DataFusionError = ctx.sql("INSERT INTO h VALUES (2)").await.unwrap().collect().await.unwrap_err();
    assert_eq!(Error::from_datafusion(error).kind(), ErrorKind::ReadOnly);
    assert_eq!(std::fs::read_to_string(directory.path().join("a.csv")).unwrap(), "k\n1\n");
}
