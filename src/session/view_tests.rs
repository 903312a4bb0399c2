//! What SQL cannot say of views and families: what is read, how often they are planned, and the shape of their plans.

mod apart;
mod ponds;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use datafusion::arrow::array::{AsArray, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::catalog::{CatalogProvider, MemTable, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{ColumnarValue, Volatility};
use datafusion::prelude::{SessionContext, create_udf};
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path as ObjectPath;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tinyfs::{
    CommitInfo, CommitOutcome, NewEntry, PersistenceLayer, PondPath, Transaction, TransactionOptions, WriteMode,
};

use crate::provider::{WriteOptions, write_part};
use crate::testing::CountingStore;
use crate::{ErrorKind, OpenOptions, Pond, PondSession, Result, SessionOptions, StatementResult};

async fn run(session: &mut PondSession, sql: &str) -> Result<String> {
    match session.execute(sql).await? {
        StatementResult::Done => Ok(String::new()),
        StatementResult::Count(count) => Ok(count.to_string()),
        StatementResult::Rows(rows) => {
            let batches: Vec<_> = rows.try_collect().await?;
            Ok(pretty_format_batches(&batches).unwrap().to_string())
        }
    }
}

async fn number(session: &mut PondSession, sql: &str) -> i64 {
    let StatementResult::Rows(rows) = session.execute(sql).await.unwrap() else { panic!("{sql} gives no rows") };
    let batches: Vec<_> = rows.try_collect().await.unwrap();
    batches.iter().find(|batch| batch.num_rows() > 0).unwrap().column(0).as_primitive::<Int64Type>().value(0)
}

async fn memory() -> PondSession {
    Pond::open("memory:", OpenOptions::default()).await.unwrap().session(SessionOptions::default()).unwrap()
}

/// The physical plan alone.
async fn physical(session: &mut PondSession, sql: &str) -> String {
    run(session, &format!("EXPLAIN FORMAT indent {sql}"))
        .await
        .unwrap()
        .split_once("physical_plan")
        .unwrap()
        .1
        .lines()
        .map(|line| line.trim_matches(['|', ' ']).to_owned())
        .filter(|line| !line.is_empty() && !line.starts_with('+'))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A pond with `count` sites, each with two readings, and a family of hourly means over them.
async fn sites(count: usize) -> (Arc<CountingStore>, PondSession) {
    let store = Arc::new(CountingStore::default());
    let pond = Pond::with_store(Arc::clone(&store) as Arc<dyn PersistenceLayer>);
    let options = SessionOptions { target_partitions: Some(2), ..SessionOptions::default() };
    let mut session = pond.session(options).unwrap();
    run(&mut session, "BEGIN").await.unwrap();
    for site in 0..count {
        let sql = format!(
            "CREATE TABLE '/locs/s{site}/t.series' AS SELECT * FROM
             (VALUES (TIMESTAMP '2024-01-01 00:10:00', {site}::BIGINT), (TIMESTAMP '2024-01-01 00:20:00', 2::BIGINT)) AS v (time, temp)"
        );
        run(&mut session, &sql).await.unwrap();
    }
    run(
        &mut session,
        "CREATE VIEW '/hourly/{site}' AS SELECT date_bin(INTERVAL '1 hour', time) AS hour, sum(temp) AS temp
         FROM pond('/locs/{site}/*.series') GROUP BY 1",
    )
    .await
    .unwrap();
    run(&mut session, "COMMIT").await.unwrap();
    let _ = store.reads.swap(0, Ordering::Relaxed);
    (store, session)
}

#[tokio::test]
async fn a_member_reads_its_own_files_only() {
    let (store, mut session) = sites(20).await;
    let reads = || store.reads.swap(0, Ordering::Relaxed);
    let plan = physical(&mut session, "SELECT * FROM '/hourly/s7'").await;
    assert!(plan.contains("locs/s7/t.series@1-"), "{plan}");
    assert_eq!(plan.matches(".series@").count(), 1, "{plan}");
    assert_eq!(reads(), 0, "planning reads nothing");
    assert_eq!(number(&mut session, "SELECT temp FROM '/hourly/s7'").await, 9);
    let one = reads();
    let alone = "SELECT sum(temp) FROM '/locs/s8/t.series' GROUP BY date_bin(INTERVAL '1 hour', time)";
    assert_eq!(number(&mut session, alone).await, 10);
    assert_eq!(one, reads(), "a member costs what its query costs");
    assert_eq!(number(&mut session, "SELECT temp FROM pond('/hourly/{s}') WHERE s = 's9'").await, 11);
    assert_eq!(one, reads(), "so does the family with a filter on the capture");
    assert_eq!(number(&mut session, "SELECT temp FROM pond('/hourly/s1?') ORDER BY temp DESC LIMIT 1").await, 21);
    assert_eq!(10 * one, reads(), "a glob of ten members reads their files");
}

#[tokio::test]
async fn a_family_is_one_plan_with_one_scan() {
    let (_, mut session) = sites(1).await;
    let snapshot = session.snapshot().await.unwrap();
    let node = snapshot.lookup(&PondPath::parse("/locs/s0/t.series").unwrap()).unwrap().node;
    let version = Arc::clone(node.versions().unwrap().last().unwrap());
    let mut transaction = Transaction::begin(snapshot, TransactionOptions::default());
    for site in 1..1000 {
        let path = PondPath::parse(&format!("/locs/s{site}/t.series")).unwrap();
        transaction.create(&path, NewEntry::File, node.attributes.clone()).unwrap();
        let (part, attributes) = (version.part.clone(), version.attributes.clone());
        let _ = transaction.write(&path, WriteMode::Append, part, attributes).unwrap();
    }
    let info = CommitInfo { author: "test".to_owned(), message: "sites".to_owned() };
    assert!(matches!(transaction.commit(info).await.unwrap(), CommitOutcome::Committed(_)));
    let sql = "SELECT s, sum(temp) FROM pond('/hourly/{s}') GROUP BY s";
    let plan = physical(&mut session, sql).await;
    assert_eq!(plan.matches("DataSourceExec").count(), 1, "{plan}");
    assert!(!plan.contains("UnionExec"), "{plan}");
    assert_eq!(number(&mut session, "SELECT count(*) FROM pond('/hourly/*')").await, 1000);
    assert_eq!(number(&mut session, "SELECT sum(temp) FROM pond('/hourly/{s}')").await, 2 * 1000);
    assert_eq!(number(&mut session, "SELECT count(*) FROM pond_ls('/hourly')").await, 1000);
}

#[tokio::test]
async fn views_on_captures_alone_open_nothing() {
    let (store, mut session) = sites(10).await;
    run(&mut session, "CREATE VIEW '/named' AS SELECT site AS place, temp AS t FROM pond('/locs/{site}/*.series')")
        .await
        .unwrap();
    run(&mut session, "CREATE VIEW '/some' AS SELECT t FROM '/named' WHERE place >= 's5'").await.unwrap();
    run(&mut session, "CREATE VIEW '/plain/{site}' AS SELECT time, temp FROM pond('/locs/{site}/*.series')")
        .await
        .unwrap();
    let _ = store.reads.swap(0, Ordering::Relaxed);
    assert_eq!(number(&mut session, "SELECT count(*) FROM '/named'").await, 20);
    assert_eq!(number(&mut session, "SELECT count(*) FROM '/some'").await, 10);
    assert_eq!(number(&mut session, "SELECT count(*) FROM '/named' WHERE place = 's3'").await, 2);
    assert_eq!(number(&mut session, "SELECT count(*) FROM '/plain/s3'").await, 2);
    assert_eq!(number(&mut session, "SELECT count(*) FROM pond('/plain/*')").await, 20);
    assert_eq!(number(&mut session, "SELECT max(temp) FROM pond('/plain/{s}') WHERE s <> 's9'").await, 8);
    run(&mut session, "DESCRIBE '/hourly/s3'").await.unwrap();
    run(&mut session, "SELECT * FROM pond_schema('/hourly/*')").await.unwrap();
    assert_eq!(store.reads.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn views_three_deep_have_the_plan_of_the_query_written_out() {
    let (_, mut session) = sites(3).await;
    for sql in [
        "CREATE VIEW '/v/1' AS SELECT site, time, temp * 2 AS double FROM pond('/locs/{site}/*.series') WHERE temp > 0",
        "CREATE VIEW '/v/2' AS SELECT site, double + 1 AS more FROM '/v/1' WHERE time >= TIMESTAMP '2024-01-01 00:15:00'",
        "CREATE VIEW '/v/3' AS SELECT more, site FROM '/v/2' WHERE more < 100",
    ] {
        run(&mut session, sql).await.unwrap();
    }
    let through = physical(&mut session, "SELECT more FROM '/v/3' WHERE site <> 's1' LIMIT 5").await;
    let written = physical(
        &mut session,
        "SELECT temp * 2 + 1 AS more FROM pond('/locs/{site}/*.series')
         WHERE temp > 0 AND time >= TIMESTAMP '2024-01-01 00:15:00' AND temp * 2 + 1 < 100 AND site <> 's1' LIMIT 5",
    )
    .await;
    assert_eq!(through, written);
    assert_eq!(written.matches("DataSourceExec").count(), 1, "{written}");
    assert!(!written.contains("locs/s1/"), "{written}");
    let sorted = physical(&mut session, "SELECT more FROM '/v/3' ORDER BY more DESC LIMIT 1").await;
    let written = physical(
        &mut session,
        "SELECT temp * 2 + 1 AS more FROM pond('/locs/{site}/*.series')
         WHERE temp > 0 AND time >= TIMESTAMP '2024-01-01 00:15:00' AND temp * 2 + 1 < 100 ORDER BY more DESC LIMIT 1",
    )
    .await;
    assert_eq!(sorted, written);
}

#[tokio::test]
async fn each_view_is_planned_once() {
    let mut session = memory().await;
    run(&mut session, "CREATE TABLE '/t' AS SELECT 1::BIGINT AS n").await.unwrap();
    run(&mut session, "CREATE VIEW '/0' AS SELECT n FROM '/t'").await.unwrap();
    for level in 1..9 {
        let below = level - 1;
        let sql = format!(
            "CREATE VIEW '/{level}' AS SELECT n FROM '/{below}' UNION ALL SELECT n + 1 FROM pond('/[{below}]')"
        );
        run(&mut session, &sql).await.unwrap();
    }
    let before = session.planned_views();
    assert_eq!(number(&mut session, "SELECT count(*) FROM '/8' WHERE n > 0").await, 256);
    assert_eq!(session.planned_views() - before, 9, "a diamond of diamonds");
    let before = session.planned_views();
    assert_eq!(number(&mut session, "SELECT sum(n) FROM '/8'").await, 256 + 8 * 128);
    assert_eq!(session.planned_views() - before, 0, "the pond is as it was");
    run(&mut session, "INSERT INTO '/t' VALUES (1)").await.unwrap();
    assert_eq!(number(&mut session, "SELECT count(*) FROM '/8'").await, 512);
    assert_eq!(session.planned_views() - before, 9, "the pond has changed");
    run(&mut session, "BEGIN").await.unwrap();
    let before = session.planned_views();
    assert_eq!(number(&mut session, "SELECT count(*) FROM '/8' a JOIN '/3' b ON a.n = b.n").await, 660);
    assert_eq!(session.planned_views() - before, 9, "once for a statement of a transaction");
    run(&mut session, "ROLLBACK").await.unwrap();
}

#[tokio::test]
async fn a_directory_that_moves_warns_of_the_views_that_look_where_it_was() {
    let mut session = memory().await;
    for sql in [
        "CREATE TABLE '/own/x' AS SELECT 5::BIGINT AS n",
        "CREATE TABLE '/owner/x' AS SELECT 1 AS n",
        "USE '/own'",
        "CREATE VIEW 'v' AS SELECT n FROM 'x'",
        "CREATE VIEW 'w' AS SELECT n FROM pond('x*')",
        "CREATE VIEW 'alone' AS SELECT 1 AS n",
        "CREATE VIEW '/other' AS SELECT n FROM '/own/v'",
        "CREATE VIEW '/near' AS SELECT n FROM '/owner/x'",
        "USE '/'",
    ] {
        run(&mut session, sql).await.unwrap();
    }
    assert_eq!(session.take_warnings(), [""; 0]);
    run(&mut session, "ALTER TABLE '/own' RENAME TO '/moved'").await.unwrap();
    assert_eq!(
        session.take_warnings(),
        [
            "3 views, the first of them '/moved/v', read what was in '/own', and still look there: CREATE SYMLINK '/own' TO '/moved' \
          leads on, or make them anew"
        ]
    );
    run(&mut session, "CREATE SYMLINK '/own' TO '/moved'").await.unwrap();
    assert_eq!(number(&mut session, "SELECT v.n + w.n + o.n FROM '/moved/v' v, '/moved/w' w, '/other' o").await, 15);
    run(&mut session, "ALTER TABLE '/owner' RENAME TO '/renter'").await.unwrap();
    assert_eq!(
        session.take_warnings(),
        [
            "the view '/near' reads what was in '/owner', and still looks there: CREATE SYMLINK '/owner' TO '/renter' leads on, or make \
          them anew"
        ]
    );
    // Files move without a word, and so do directories that nothing reads from.
    run(&mut session, "ALTER TABLE '/renter/x' RENAME TO '/renter/y'").await.unwrap();
    run(&mut session, "ALTER TABLE '/renter' RENAME TO '/gone'").await.unwrap();
    assert_eq!(session.take_warnings(), [""; 0]);
}

#[tokio::test]
async fn warnings_are_taken_once() {
    let mut session = memory().await;
    run(&mut session, "CREATE VIEW '/v' AS SELECT * FROM '/later'").await.unwrap();
    run(&mut session, "CREATE VIEW '/w' AS SELECT * FROM '/v'").await.unwrap();
    run(&mut session, "CREATE VIEW '/f/{site}' AS SELECT * FROM pond('/locs/{site}')").await.unwrap();
    let warnings = session.take_warnings();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(warnings[0].starts_with("the view '/v' cannot be read: no entry '/later'"), "{warnings:?}");
    assert!(warnings[0].ends_with("; the view is made, and can be read once that exists"), "{warnings:?}");
    assert!(warnings[1].contains("'/w'") && warnings[1].contains("'/later'"), "{warnings:?}");
    assert!(warnings[2].contains("nothing matches '/locs/{site}'"), "{warnings:?}");
    assert!(session.take_warnings().is_empty());
    run(&mut session, "CREATE TABLE '/locs/a' AS SELECT 5::BIGINT AS n").await.unwrap();
    assert_eq!(number(&mut session, "SELECT n FROM '/f/a'").await, 5);
}

#[tokio::test]
async fn a_family_with_the_names_of_another_is_warned_of() {
    let mut session = memory().await;
    run(&mut session, "CREATE TABLE '/l/a' AS SELECT 1::BIGINT AS n").await.unwrap();
    run(&mut session, "CREATE VIEW '/f/{site}' AS SELECT n FROM pond('/l/{site}')").await.unwrap();
    assert!(session.take_warnings().is_empty());
    run(&mut session, "CREATE VIEW '/f/{other}' AS SELECT n FROM pond('/l/{other}')").await.unwrap();
    let warning = "members of the family '/f/{other}' may stand in the way of those of the family '/f/{site}', and cannot be read then; give one of them names of its own";
    assert_eq!(session.take_warnings(), [warning]);
    run(&mut session, "ALTER TABLE '/f/{other}' RENAME TO '/g/{other}'").await.unwrap();
    assert!(session.take_warnings().is_empty());
    assert_eq!(number(&mut session, "SELECT n FROM '/g/a'").await, 1);
}

#[tokio::test]
async fn a_view_may_use_tables_of_the_application() {
    let mut session = memory().await;
    run(&mut session, "CREATE TABLE '/t' AS SELECT 2::BIGINT AS n").await.unwrap();
    let schema =
        Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false), Field::new("m", DataType::Int64, false)]));
    let table = |m: i64| {
        let columns = vec![Arc::new(Int64Array::from(vec![2])) as _, Arc::new(Int64Array::from(vec![m])) as _];
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        Arc::new(MemTable::try_new(Arc::clone(&schema), vec![vec![batch]]).unwrap())
    };
    let (catalog, tables) = (MemoryCatalogProvider::new(), Arc::new(MemorySchemaProvider::new()));
    let _ = tables.register_table("names".to_owned(), table(7)).unwrap();
    let _ = catalog.register_schema("public", Arc::clone(&tables) as _).unwrap();
    let _ = session.context().register_catalog("app", Arc::new(catalog));
    run(&mut session, "CREATE VIEW '/v' AS SELECT a.m FROM '/t' JOIN app.public.names a USING (n)").await.unwrap();
    assert_eq!(number(&mut session, "SELECT m FROM '/v'").await, 7);
    let _ = tables.deregister_table("names").unwrap();
    let _ = tables.register_table("names".to_owned(), table(8)).unwrap();
    assert_eq!(number(&mut session, "SELECT m FROM '/v'").await, 8, "its rows are not the pond's to remember");
    let _ = tables.deregister_table("names").unwrap();
    let error = run(&mut session, "SELECT m FROM '/v'").await.unwrap_err();
    assert!(
        error.to_string().contains("the view '/v' cannot be read") && error.to_string().contains("names"),
        "{error}"
    );
    // They need not be there when a view is made.
    run(&mut session, "CREATE VIEW '/early' AS SELECT m FROM app.public.names").await.unwrap();
    let warnings = session.take_warnings();
    assert_eq!(
        warnings,
        [
            "the view '/early' cannot be read: there is no table 'app.public.names'; the view is made, and can be read once that exists"
        ]
    );
    let _ = tables.register_table("names".to_owned(), table(9)).unwrap();
    assert_eq!(number(&mut session, "SELECT m FROM '/early'").await, 9);
}

#[tokio::test]
async fn members_that_others_make_are_conflicts() {
    let pond = Pond::open("memory:", OpenOptions::default()).await.unwrap();
    let mut one = pond.session(SessionOptions::default()).unwrap();
    let mut other = pond.session(SessionOptions::default()).unwrap();
    run(&mut one, "CREATE TABLE '/locs/a' AS SELECT 1::BIGINT AS n").await.unwrap();
    run(&mut one, "CREATE VIEW '/f/{site}' AS SELECT n FROM pond('/locs/{site}')").await.unwrap();
    for (number, read) in
        ["SELECT * FROM pond_ls('/f')", "SELECT * FROM pond('/f/*')", "SELECT * FROM information_schema.tables"]
            .into_iter()
            .enumerate()
    {
        run(&mut one, "BEGIN").await.unwrap();
        run(&mut one, read).await.unwrap();
        run(&mut one, &format!("CREATE TABLE '/out{number}' AS SELECT 1 AS n")).await.unwrap();
        run(&mut other, &format!("CREATE TABLE '/locs/b{number}' AS SELECT 1 AS n")).await.unwrap();
        assert_eq!(run(&mut one, "COMMIT").await.unwrap_err().kind(), ErrorKind::Conflict, "{read}");
    }
    run(&mut one, "BEGIN").await.unwrap();
    assert_eq!(number(&mut one, "SELECT n FROM '/locs/a'").await, 1);
    run(&mut one, "CREATE TABLE '/out' AS SELECT 1 AS n").await.unwrap();
    run(&mut other, "CREATE TABLE '/locs/c' AS SELECT 1 AS n").await.unwrap();
    run(&mut one, "COMMIT").await.unwrap();
}

#[tokio::test]
async fn a_family_under_a_plain_context() {
    let ctx = SessionContext::new();
    let pond = Pond::open("memory:", OpenOptions::default()).await.unwrap();
    pond.register(&ctx, "pond").unwrap();
    let run = |sql: &'static str| {
        let ctx = ctx.clone();
        async move { pretty_format_batches(&ctx.sql(sql).await.unwrap().collect().await.unwrap()).unwrap().to_string() }
    };
    run(r#"CREATE SCHEMA pond."/locs""#).await;
    run(r#"CREATE TABLE pond."/locs"."a" AS SELECT 1::BIGINT AS n"#).await;
    run(r#"CREATE TABLE pond."/locs"."b" AS SELECT 10::BIGINT AS n"#).await;
    run(r#"CREATE VIEW pond."/"."/f/{file}" AS SELECT n + 1 AS n FROM pond('/locs/{file}')"#).await;
    let member = run(r#"SELECT n FROM pond."/f"."b""#).await;
    assert!(member.contains("| 11 |"), "{member}");
    let all = run("SELECT f, n FROM pond('/f/{f}') ORDER BY f").await;
    assert!(all.contains("| a | 2  |") && all.contains("| b | 11 |"), "{all}");
}

/// Hourly readings from `start`, in `versions` versions of which the last adds a column.
async fn readings(session: &mut PondSession, path: &str, rows: &[(usize, usize)], value: &str) {
    for (version, (from, to)) in rows.iter().enumerate() {
        let last = version + 1 == rows.len() && value == "temperature";
        let extra = if last { ", 1.5 AS dissolved_oxygen" } else { "" };
        let select = format!(
            "SELECT to_timestamp(1672531200 + n * 3600) AS timestamp, n::DOUBLE AS {value}{extra}
             FROM (SELECT unnest(generate_series({from}, {})) AS n)",
            to - 1
        );
        if version == 0 {
            run(session, &format!("CREATE TABLE '{path}' AS {select}")).await.unwrap();
            continue;
        }
        // As a version that has its own columns.
        let StatementResult::Rows(rows) = session.execute(&select).await.unwrap() else { panic!("no rows") };
        let snapshot = session.snapshot().await.unwrap();
        let part = write_part(rows, snapshot.store(), WriteOptions::default()).await.unwrap();
        let mut transaction = Transaction::begin(snapshot, TransactionOptions::default());
        let path = PondPath::parse(path).unwrap();
        let _ = transaction.write(&path, WriteMode::Append, part.part, part.attributes).unwrap();
        let info = CommitInfo { author: "test".to_owned(), message: "append".to_owned() };
        assert!(matches!(transaction.commit(info).await.unwrap(), CommitOutcome::Committed(_)));
    }
}

#[tokio::test]
async fn two_instruments_of_one_place_join_to_every_hour_once() {
    let directory = tempfile::tempdir().unwrap();
    for place in ["memory:", directory.path().join("pond").to_str().unwrap()] {
        let pond = Pond::open(place, OpenOptions::default()).await.unwrap();
        two_instruments(pond.session(SessionOptions::default()).unwrap(), place).await;
    }
}

/// How many rows a Parquet file has, and how many values of its columns of numbers, as its own reader counts them.
fn counts(parquet: Vec<u8>) -> (usize, Vec<(String, usize)>) {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(parquet)).unwrap();
    let names: Vec<_> = reader.schema().fields().iter().map(|field| field.name().clone()).collect();
    let batches: Vec<RecordBatch> = reader.build().unwrap().map(|batch| batch.unwrap()).collect();
    let values =
        |at: usize| batches.iter().map(|batch| batch.num_rows() - batch.column(at).null_count()).sum::<usize>();
    let counts = names.into_iter().enumerate().map(|(at, name)| (name, values(at))).collect();
    (batches.iter().map(RecordBatch::num_rows).sum(), counts)
}

async fn two_instruments(mut session: PondSession, place: &str) {
    let parts = |from: usize, to: usize, count: usize| {
        let size = (to - from).div_ceil(count);
        (0..count).map(|part| (from + part * size, (from + (part + 1) * size).min(to))).collect::<Vec<_>>()
    };
    // 11,400 hours, then 10,000 of which the last 269 are later.
    readings(&mut session, "/locs/BDock/at.series", &parts(0, 11_400, 24), "temperature").await;
    readings(&mut session, "/locs/BDock/vulink.series", &parts(1_669, 11_669, 21), "pressure").await;
    assert_eq!(number(&mut session, "SELECT versions::BIGINT FROM pond_ls('/locs/BDock/at.series')").await, 24);
    assert_eq!(number(&mut session, "SELECT versions::BIGINT FROM pond_ls('/locs/BDock/vulink.series')").await, 21);
    run(
        &mut session,
        "CREATE VIEW '/test-locations/BDock' AS
         SELECT coalesce(a.timestamp, v.timestamp) AS timestamp, a.* EXCEPT (timestamp), v.* EXCEPT (timestamp)
         FROM '/locs/BDock/at.series' a FULL JOIN '/locs/BDock/vulink.series' v ON a.timestamp = v.timestamp",
    )
    .await
    .unwrap();
    for source in ["'/test-locations/BDock'", "pond('/test-locations/*')", "pond('/test-locations/{place}')"] {
        assert_eq!(number(&mut session, &format!("SELECT count(*) FROM {source}")).await, 11_669, "{source}");
        assert_eq!(number(&mut session, &format!("SELECT count(DISTINCT timestamp) FROM {source}")).await, 11_669);
        assert_eq!(
            number(&mut session, &format!("SELECT count(*) FROM {source} WHERE temperature IS NULL")).await,
            269
        );
        assert_eq!(number(&mut session, &format!("SELECT count(pressure) FROM {source}")).await, 10_000);
    }
    assert_eq!(number(&mut session, "SELECT count(dissolved_oxygen) FROM '/test-locations/BDock'").await, 475);
    // As bytes: read as they are made, and as an object with a size.
    let bytes = session.read("/test-locations/BDock").await.unwrap();
    let bytes = bytes.try_collect::<Vec<_>>().await.unwrap().concat();
    let object = ObjectPath::from("test-locations/BDock");
    let objects = session.pond().object_store().await.unwrap();
    let object = objects.get(&object).await.unwrap().bytes().await.unwrap().to_vec();
    for bytes in [bytes, object] {
        let (rows, values) = counts(bytes);
        assert_eq!(rows, 11_669, "{place}");
        let values: Vec<_> = values.iter().map(|(name, values)| (name.as_str(), *values)).collect();
        let expected =
            [("timestamp", 11_669), ("temperature", 11_400), ("dissolved_oxygen", 475), ("pressure", 10_000)];
        assert_eq!(values, expected, "{place}");
    }
    // The same as a family, and with the function that does the joining.
    run(
        &mut session,
        "CREATE VIEW '/joined/{place}' AS SELECT * FROM pond_join('/locs/{place}/*.series', 'timestamp')",
    )
    .await
    .unwrap();
    for source in ["'/joined/BDock'", "pond('/joined/*')"] {
        assert_eq!(number(&mut session, &format!("SELECT count(*) FROM {source}")).await, 11_669, "{source}");
        assert_eq!(
            number(&mut session, &format!("SELECT count(*) FROM {source} WHERE \"at.temperature\" IS NULL")).await,
            269
        );
    }
}

/// Queries of a family, and whether its members are read with one plan.
const FAMILY_QUERIES: &[(&str, bool)] = &[
    ("SELECT * FROM pond('/a/{k}')", true),
    ("SELECT n + 1 AS n, k || '!' AS k2 FROM pond('/a/{k}') WHERE n > 1 AND k <> 'x'", true),
    ("SELECT t, sum(n) AS n, count(*) AS c FROM pond('/a/{k}') GROUP BY t", true),
    ("SELECT count(*) AS c, count(n) AS d, sum(n) AS s, min(t) AS t FROM pond('/a/{k}')", true),
    ("SELECT approx_distinct(n) AS d, array_agg(n ORDER BY n) AS l FROM pond('/a/{k}') WHERE n > 2", true),
    ("SELECT sum(c) AS s FROM (SELECT count(*) AS c FROM pond('/a/{k}') WHERE n > 2)", true),
    ("SELECT t, count(*) AS c FROM pond('/a/{k}') GROUP BY t HAVING count(*) > 1", true),
    ("SELECT count(*) AS c FROM pond('/a/{k}') HAVING count(*) > 1", true),
    ("SELECT DISTINCT t FROM pond('/a/{k}')", true),
    ("SELECT DISTINCT k FROM pond('/a/{k}')", true),
    (
        "SELECT n, t, row_number() OVER (ORDER BY n, t) AS r, sum(n) OVER (PARTITION BY t) AS s FROM pond('/a/{k}')",
        true,
    ),
    ("SELECT n, lag(n) OVER w AS l FROM pond('/a/{k}') WINDOW w AS (ORDER BY n, t)", true),
    ("SELECT n, t FROM pond('/a/{k}') QUALIFY row_number() OVER (PARTITION BY t ORDER BY n) = 1", true),
    ("SELECT n, t FROM pond('/a/{k}') ORDER BY n DESC, t LIMIT 2", true),
    ("SELECT t FROM pond('/a/{k}') ORDER BY n, t LIMIT 1 OFFSET 1", true),
    ("SELECT * FROM (SELECT n FROM pond('/a/{k}') ORDER BY n, t LIMIT 2) AS x ORDER BY n DESC LIMIT 1", true),
    ("SELECT n FROM pond('/a/{k}') LIMIT 0", true),
    ("SELECT a.n, b.m FROM pond('/a/{k}') a JOIN pond('/b/{k}') b ON a.n = b.n", true),
    ("SELECT a.n, b.m FROM pond('/a/{k}') a LEFT JOIN pond('/b/{k}') b ON a.n = b.n", true),
    ("SELECT a.n, b.m FROM pond('/a/{k}') a RIGHT JOIN pond('/b/{k}') b ON a.n = b.n", true),
    ("SELECT coalesce(a.n, b.n) AS n, m FROM pond('/a/{k}') a FULL JOIN pond('/b/{k}') b ON a.n = b.n", true),
    ("SELECT n, a.t, b.m FROM pond('/a/{k}') a FULL JOIN pond('/b/{k}') b USING (n)", true),
    ("SELECT a.n, c.v FROM pond('/a/{k}') a LEFT JOIN '/c' c ON c.n = a.n", true),
    ("SELECT a.n, c.v FROM '/c' c LEFT JOIN pond('/a/{k}') a ON c.n = a.n", true),
    ("SELECT a.n, c.v FROM pond('/a/{k}') a RIGHT JOIN '/c' c ON c.n = a.n", true),
    ("SELECT a.n, c.v FROM '/c' c FULL JOIN pond('/a/{k}') a ON c.n = a.n", true),
    ("SELECT a.n, c.v FROM pond('/a/{k}') a, '/c' c WHERE a.n < c.n", true),
    ("SELECT c.v FROM '/c' c LEFT SEMI JOIN pond('/a/{k}') a ON c.n = a.n", true),
    ("SELECT c.v FROM '/c' c LEFT ANTI JOIN pond('/a/{k}') a ON c.n = a.n", true),
    ("SELECT a.n FROM pond('/a/{k}') a LEFT ANTI JOIN pond('/b/{k}') b ON a.n = b.n", true),
    ("SELECT x.n, y.n AS other FROM pond('/a/{k}') x JOIN pond('/a/{k}') y ON x.t = y.t AND x.n < y.n", true),
    ("SELECT n FROM pond('/a/{k}') UNION ALL SELECT n FROM pond('/b/{k}')", true),
    ("SELECT n FROM pond('/a/{k}') UNION SELECT n FROM '/c'", true),
    ("SELECT n, t FROM pond('/a/{k}') UNION BY NAME SELECT m, n FROM pond('/b/{k}')", true),
    ("SELECT n FROM pond('/a/{k}') INTERSECT SELECT n FROM pond('/b/{k}')", true),
    ("SELECT n FROM '/c' EXCEPT SELECT n FROM pond('/a/{k}')", true),
    (
        "WITH x AS (SELECT t, max(n) AS n FROM pond('/a/{k}') GROUP BY t) SELECT x.t, y.n FROM x JOIN x AS y ON x.n = y.n",
        true,
    ),
    ("SELECT a.n FROM pond('/a/{k}') a WHERE EXISTS (SELECT 1 FROM '/c' c WHERE c.n = a.n)", true),
    ("SELECT t, n FROM pond('/a/{k}') WHERE n = (SELECT max(n) FROM '/c')", true),
    ("SELECT n, c FROM pond('/a/{k}'), (SELECT count(*) AS c FROM pond('/b/{k}'))", true),
    ("SELECT (SELECT count(*) FROM '/c') AS c, count(*) AS n FROM pond('/a/{k}') GROUP BY k", true),
    ("SELECT n FROM pond('/a/{k}') WHERE n = (SELECT max(n) FROM pond('/a/{k}'))", false),
    ("SELECT a.n FROM pond('/a/{k}') a WHERE NOT EXISTS (SELECT 1 FROM pond('/b/{k}') b WHERE b.n = a.n)", false),
    ("SELECT DISTINCT ON (t) t, n FROM pond('/a/{k}') ORDER BY t, n DESC", false),
    ("SELECT t, count(*) AS c FROM pond('/a/{k}') GROUP BY ROLLUP (t)", false),
    ("SELECT unnest([n, n + 1]) AS n FROM pond('/a/{k}')", false),
];

#[tokio::test]
async fn members_together_have_the_rows_of_each_alone() {
    let mut session = memory().await;
    for (path, rows) in [
        ("/a/p", "(1, 'u'), (2, 'u'), (3, 'v'), (3, 'v'), (NULL, 'w')"),
        ("/a/q", "(2, 'u'), (5, 'u')"),
        ("/a/r", "(7, NULL)"),
    ] {
        let sql = format!("CREATE TABLE '{path}' AS SELECT n::BIGINT AS n, t FROM (VALUES {rows}) AS v (n, t)");
        run(&mut session, &sql).await.unwrap();
    }
    for (path, rows) in [("/b/p", "(3, 30), (4, 40)"), ("/b/s", "(2, 20)"), ("/c", "(2, 200), (3, 300), (9, 900)")] {
        let value = if path == "/c" { "v" } else { "m" };
        let sql = format!("CREATE TABLE '{path}' AS SELECT n, {value} FROM (VALUES {rows}) AS v (n, {value})");
        run(&mut session, &sql).await.unwrap();
    }
    run(&mut session, "CREATE TABLE '/a/empty' (n BIGINT, t VARCHAR)").await.unwrap();
    let sorted = |table: String| {
        let mut lines: Vec<String> = table.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    for (number, (query, is_one)) in FAMILY_QUERIES.iter().enumerate() {
        let members =
            if query.contains("/b/{k}") { vec!["empty", "p", "q", "r", "s"] } else { vec!["empty", "p", "q", "r"] };
        run(&mut session, &format!("CREATE VIEW '/f{number}/{{k}}' AS {query}"))
            .await
            .unwrap_or_else(|error| panic!("{query}: {error}"));
        let together = format!("SELECT * FROM pond('/f{number}/{{member}}')");
        let alone: Vec<String> =
            members.iter().map(|member| format!("SELECT *, '{member}' AS member FROM '/f{number}/{member}'")).collect();
        let rows = run(&mut session, &together).await.unwrap_or_else(|error| panic!("{query}: {error}"));
        let each =
            run(&mut session, &alone.join(" UNION ALL ")).await.unwrap_or_else(|error| panic!("{query}: {error}"));
        assert_eq!(sorted(rows), sorted(each), "{query}");
        let some = run(&mut session, &format!("{together} WHERE member IN ('p', 'q')")).await.unwrap();
        let two: Vec<String> = alone.iter().filter(|sql| sql.contains("'p'") || sql.contains("'q'")).cloned().collect();
        assert_eq!(sorted(some), sorted(run(&mut session, &two.join(" UNION ALL ")).await.unwrap()), "{query}");
        let narrow = run(&mut session, &format!("SELECT * FROM pond('/f{number}/[pq]', meta => true)")).await.unwrap();
        let count = |table: &str| table.lines().filter(|line| line.starts_with('|')).count();
        assert_eq!(count(&narrow), count(&run(&mut session, &two.join(" UNION ALL ")).await.unwrap()), "{query}");
        let plan = physical(&mut session, &together).await;
        // Of the tables of the family, each is read once for each time that the query names it.
        let (named, scans) = (query.matches("{k}").count(), plan.matches("file_groups=").count());
        let others = query.matches("'/c'").count();
        assert!(!*is_one || scans <= named.max(2) + others, "{query}: {plan}");
    }
}

#[tokio::test]
async fn views_that_double_have_a_limit() {
    let mut session = memory().await;
    run(&mut session, "CREATE TABLE '/t' AS SELECT 1::BIGINT AS n").await.unwrap();
    run(&mut session, "CREATE VIEW '/d0' AS SELECT n FROM '/t'").await.unwrap();
    let mut level = 0;
    let error = loop {
        level += 1;
        let below = level - 1;
        let sql = format!("CREATE VIEW '/d{level}' AS SELECT n FROM '/d{below}' UNION ALL SELECT n FROM '/d{below}'");
        match run(&mut session, &sql).await {
            Ok(_) => assert!(level < 20, "no limit"),
            Err(error) => break error,
        }
    };
    assert!(level > 10, "{level}: {error}");
    assert_eq!(error.kind(), ErrorKind::Limit);
    let text = error.to_string();
    let (first, second) = (level - 1, level - 2);
    assert!(text.starts_with(&format!("the view '/d{level}' has ")), "{text}");
    assert!(text.contains(&format!("('/d{level}' → '/d{first}' → '/d{second}' → ")), "{text}");
    assert!(text.contains("50000 is the limit; store the rows of one of them with CREATE TABLE"), "{text}");
    // So has a statement that names such views often enough.
    let arms = vec![format!("SELECT n FROM '/d{first}'"); 4];
    let error = run(&mut session, &arms.join(" UNION ALL ")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.to_string().starts_with("the statement has "), "{error}");
    assert!(error.to_string().contains(&format!("('/d{first}' → '/d{second}' → ")), "{error}");
    assert_eq!(number(&mut session, "SELECT count(*) FROM '/d3'").await, 8);
    // Made from the top, the first that is too large is one that others read: the chain begins with them.
    let top = level + 1;
    run(&mut session, &format!("DROP VIEW '/d{first}'")).await.unwrap();
    for number in [top, level, first] {
        let below = number - 1;
        let sql = format!("CREATE VIEW '/d{number}' AS SELECT n FROM '/d{below}' UNION ALL SELECT n FROM '/d{below}'");
        run(&mut session, &sql).await.unwrap();
    }
    let error = run(&mut session, &format!("SELECT n FROM '/d{top}'")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.to_string().contains(&format!("the view '/d{level}' has ")), "{error}");
    assert!(error.to_string().contains(&format!("('/d{top}' → '/d{level}' → '/d{first}' → ")), "{error}");
}

#[tokio::test]
async fn deep_views_that_do_not_double_have_none() {
    let mut session = memory().await;
    run(&mut session, "CREATE TABLE '/in/t' AS SELECT 1::BIGINT AS n").await.unwrap();
    run(&mut session, "SET datafusion.catalog.default_schema = '/in'").await.unwrap();
    // From the top, so that none is planned before all are there.
    for level in (1..64).rev() {
        let below = level - 1;
        run(&mut session, &format!("CREATE VIEW '/s{level}' AS SELECT n + 1 AS n FROM t")).await.unwrap();
        let sql = format!("CREATE VIEW '/l{level}' AS SELECT n FROM '/l{below}' UNION ALL SELECT n FROM '/s{level}'");
        run(&mut session, &sql).await.unwrap();
    }
    run(&mut session, "CREATE VIEW '/l0' AS SELECT n FROM t").await.unwrap();
    assert_eq!(number(&mut session, "SELECT count(*) FROM '/l63'").await, 64);
    assert_eq!(number(&mut session, "SELECT sum(n) FROM '/l63'").await, 1 + 63 * 2);
}

#[tokio::test]
async fn plans_are_kept_while_the_session_stays_as_it_is() {
    let mut session = memory().await;
    let answer = |answer: i64| {
        let body = move |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(ScalarValue::Int64(Some(answer))));
        create_udf("answer", vec![DataType::Int64], DataType::Int64, Volatility::Immutable, Arc::new(body))
    };
    session.context().register_udf(answer(41));
    run(&mut session, "CREATE TABLE '/in/t' AS SELECT 1::BIGINT AS n").await.unwrap();
    run(&mut session, "CREATE VIEW '/v' AS SELECT answer(n) AS n FROM '/in/t'").await.unwrap();
    assert_eq!(number(&mut session, "SELECT n FROM '/v'").await, 41);
    let before = session.planned_views();
    session.set_current_directory("/in").await.unwrap();
    assert_eq!(number(&mut session, "SELECT n FROM '/v'").await, 41);
    assert_eq!(session.planned_views() - before, 0, "views have a directory of their own");
    session.context().register_udf(answer(42));
    assert_eq!(number(&mut session, "SELECT n FROM '/v'").await, 42);
    run(&mut session, "SET datafusion.sql_parser.parse_float_as_decimal = true").await.unwrap();
    assert_eq!(number(&mut session, "SELECT n FROM '/v'").await, 42);
    assert_eq!(session.planned_views() - before, 2, "once for the function, once for the setting");
    assert_eq!(number(&mut session, "SELECT n FROM '/v'").await, 42);
    assert_eq!(session.planned_views() - before, 2);
}
