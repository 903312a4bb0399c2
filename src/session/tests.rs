//! What SQL cannot say of a session: what is read, what is created, which runtime it runs on, who wins.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::Int64Type;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;
use tinyfs::PersistenceLayer;

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
    batches[0].column(0).as_primitive::<Int64Type>().value(0)
}

async fn memory() -> PondSession {
    Pond::open("memory:", OpenOptions::default()).await.unwrap().session(SessionOptions::default()).unwrap()
}

#[tokio::test]
async fn planning_a_glob_of_a_thousand_files_reads_nothing() {
    let store = Arc::new(CountingStore::default());
    let pond = Pond::with_store(Arc::clone(&store) as Arc<dyn PersistenceLayer>);
    let mut session = pond.session(SessionOptions::default()).unwrap();
    run(&mut session, "BEGIN").await.unwrap();
    run(&mut session, "CREATE TABLE '/locs/s0/t' AS SELECT 0::BIGINT AS site_number, 1.5 AS temp").await.unwrap();
    for number in 1..1000 {
        let sql = format!("CREATE TABLE '/locs/s{number}/t' AS SELECT {number}::BIGINT AS site_number, 1.5 AS temp");
        run(&mut session, &sql).await.unwrap();
    }
    run(&mut session, "COMMIT").await.unwrap();
    let reads = || store.reads.swap(0, Ordering::Relaxed);
    let _ = reads();
    run(&mut session, "EXPLAIN SELECT avg(temp) FROM pond('/locs/{site}/t')").await.unwrap();
    run(&mut session, "DESCRIBE SELECT * FROM pond('/locs/{site}/t')").await.unwrap();
    assert_eq!(number(&mut session, "SELECT count(*) FROM pond('/locs/{site}/t')").await, 1000);
    assert_eq!(number(&mut session, "SELECT max(site_number) FROM pond('/locs/*/t')").await, 999);
    assert_eq!(number(&mut session, "SELECT count(*) FROM pond('/locs/{site}/t') WHERE site = 's7'").await, 1);
    run(&mut session, "SELECT * FROM pond_ls('/**')").await.unwrap();
    assert_eq!(reads(), 0);
    let other = Pond::with_store(Arc::clone(&store) as Arc<dyn PersistenceLayer>);
    let mut listing = other.session(SessionOptions::default()).unwrap();
    assert_eq!(number(&mut listing, "SELECT sum(rows)::BIGINT FROM pond_ls('/**')").await, 1000);
    assert_eq!(number(&mut listing, "SELECT count(*) FROM pond_ls('/**')").await, 2001);
    assert_eq!(other.opened().await.unwrap().attributes.parsed(), 0, "a listing asks for no schema");
    let sum = "SELECT sum(site_number) FROM pond('/locs/{site}/t') WHERE site = 's7' AND temp > 1";
    assert_eq!(number(&mut session, sum).await, 7);
    let one = reads();
    assert_eq!(number(&mut session, "SELECT sum(site_number) FROM pond('/locs/s8/t') WHERE temp > 1").await, 8);
    assert_eq!(one, reads(), "a filter on the capture reads as much as naming the file does");
}

#[tokio::test]
async fn only_what_succeeds_makes_a_pond() {
    let directory = tempfile::tempdir().unwrap();
    let location = directory.path().join("pond");
    let options = OpenOptions { lazy: true, ..OpenOptions::default() };
    let pond = Pond::open(location.to_str().unwrap(), options).await.unwrap();
    let mut session = pond.session(SessionOptions::default()).unwrap();
    assert_eq!(number(&mut session, "SELECT 1").await, 1);
    assert_eq!(run(&mut session, "SELECT * FROM '/a'").await.unwrap_err().kind(), ErrorKind::NotFound);
    for failing in [
        "INSERT INTO '/a' VALUES (1)",
        "DROP TABLE '/a'",
        "CREATE TABLE '/a' AS SELECT * FROM '/b'",
        "CREATE TABLE '/a' AS SELECT 1 / (n - n) AS n FROM (VALUES (1)) t(n)",
    ] {
        let _ = run(&mut session, failing).await.unwrap_err();
        assert!(!location.exists(), "{failing}");
    }
    run(&mut session, "BEGIN").await.unwrap();
    run(&mut session, "CREATE SCHEMA '/a'").await.unwrap();
    assert_eq!(number(&mut session, "SELECT count(*) FROM pond_ls('/*')").await, 1);
    run(&mut session, "ROLLBACK").await.unwrap();
    assert!(!location.exists());
    run(&mut session, "CREATE SCHEMA '/a'").await.unwrap();
    assert!(location.join("_delta_log/00000000000000000001.json").exists());
}

#[tokio::test]
async fn a_read_only_pond_stays_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let location = directory.path().to_str().unwrap().to_owned();
    let pond = Pond::open(&location, OpenOptions::default()).await.unwrap();
    run(&mut pond.session(SessionOptions::default()).unwrap(), "CREATE TABLE '/t' AS SELECT 1 AS n").await.unwrap();
    let entries = || {
        let mut names = Vec::new();
        let mut waiting = vec![directory.path().to_owned()];
        while let Some(path) = waiting.pop() {
            if path.is_dir() {
                waiting.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
            names.push(path);
        }
        names.sort();
        names
    };
    let before = entries();
    let pond = Pond::open(&location, OpenOptions { read_only: true, ..OpenOptions::default() }).await.unwrap();
    let mut session = pond.session(SessionOptions::default()).unwrap();
    for sql in
        ["INSERT INTO '/t' VALUES (2)", "CREATE TABLE '/u' AS SELECT 1 AS n", "DROP TABLE '/t'", "CREATE SCHEMA '/d'"]
    {
        let error = run(&mut session, sql).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ReadOnly, "{sql}: {error}");
    }
    assert_eq!(number(&mut session, "SELECT count(*) FROM '/t'").await, 1);
    assert_eq!(entries(), before);
    let missing = Pond::open("/nonexistent/pond", OpenOptions { read_only: true, ..OpenOptions::default() }).await;
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::Io);
    let taken = tempfile::tempdir().unwrap();
    std::fs::write(taken.path().join("letter.txt"), "dear").unwrap();
    let error = Pond::open(taken.path().to_str().unwrap(), OpenOptions::default()).await.unwrap_err();
    assert!(error.to_string().contains("the directory holds other files"), "{error}");
}

#[tokio::test]
async fn a_failed_statement_leaves_nothing_behind() {
    let mut session = memory().await;
    run(&mut session, "CREATE TABLE '/t' AS SELECT 1::BIGINT AS n").await.unwrap();
    let txn = session.snapshot().await.unwrap().txn();
    for sql in [
        "CREATE TABLE '/x/u' AS SELECT 1 / (n - 1) AS n FROM '/t'",
        "INSERT INTO '/t' SELECT 1 / (n - 1) FROM '/t'",
        "CREATE VIEW '/x/v' AS SELECT missing FROM '/t'",
        "CREATE TABLE '/t/u' AS SELECT 1 AS n",
    ] {
        run(&mut session, sql).await.unwrap_err();
        assert_eq!(session.snapshot().await.unwrap().txn(), txn, "{sql}");
    }
    run(&mut session, "BEGIN").await.unwrap();
    run(&mut session, "INSERT INTO '/t' VALUES (2)").await.unwrap();
    run(&mut session, "CREATE TABLE '/x/u' AS SELECT 1 / (n - 1) AS n FROM '/t'").await.unwrap_err();
    assert!(run(&mut session, "SELECT * FROM pond_ls('/x')").await.is_err());
    run(&mut session, "COMMIT").await.unwrap();
    assert_eq!(number(&mut session, "SELECT sum(n) FROM '/t'").await, 3);
}

/// Eight sessions each add 1 to a counter, by reading it and replacing it; none of the 160 may be lost.
async fn count_together(pond: &Pond) {
    run(&mut pond.session(SessionOptions::default()).unwrap(), "CREATE TABLE '/c' AS SELECT 0::BIGINT AS n")
        .await
        .unwrap();
    let tasks = (0..8).map(|_| {
        let mut session =
            pond.session(SessionOptions { target_partitions: Some(1), ..SessionOptions::default() }).unwrap();
        async move {
            for _ in 0..20 {
                run(&mut session, "INSERT OVERWRITE '/c' SELECT n + 1 FROM '/c'").await.unwrap();
                run(&mut session, "INSERT INTO '/log.series' VALUES (1)").await.unwrap();
            }
        }
    });
    run(&mut pond.session(SessionOptions::default()).unwrap(), "CREATE TABLE '/log.series' (n BIGINT)").await.unwrap();
    let _: Vec<()> = futures::future::join_all(tasks).await;
    let mut session = pond.session(SessionOptions::default()).unwrap();
    assert_eq!(number(&mut session, "SELECT n FROM '/c'").await, 160);
    assert_eq!(number(&mut session, "SELECT count(*) FROM '/log.series'").await, 160);
}

#[tokio::test]
async fn concurrent_counters_lose_nothing_in_memory() {
    count_together(&Pond::open("memory:", OpenOptions::default()).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_counters_lose_nothing_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let pond = Pond::open(directory.path().to_str().unwrap(), OpenOptions::default()).await.unwrap();
    count_together(&pond).await;
    pond.close().await.unwrap();
}

#[test]
fn statements_beyond_the_limits_are_refused_on_a_small_stack() {
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut session = memory().await;
            let chain = |operators: usize| format!("SELECT 1{} AS n", " + 1".repeat(operators));
            let union = |arms: usize| vec!["SELECT 1 AS n"; arms].join(" UNION ALL ");
            for sql in [
                chain(10_000),
                chain(1_000_000),
                union(5_000),
                format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000)),
            ] {
                let error = run(&mut session, &sql).await.unwrap_err();
                assert!(matches!(error.kind(), ErrorKind::Limit | ErrorKind::Syntax), "{error}");
            }
            assert_eq!(number(&mut session, &chain(900)).await, 901);
            assert_eq!(number(&mut session, &format!("SELECT count(*) FROM ({})", union(400))).await, 400);
        });
    };
    std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(work).unwrap().join().unwrap();
}

/// A pond as one more catalog of a DataFusion application, all of it through `SessionContext::sql`.
async fn plain_session(location: &str) {
    let ctx = SessionContext::new();
    let pond = Pond::open(location, OpenOptions::default()).await.unwrap();
    pond.register(&ctx, "pond").unwrap();
    let run = |sql: &'static str| {
        let ctx = ctx.clone();
        async move { pretty_format_batches(&ctx.sql(sql).await.unwrap().collect().await.unwrap()).unwrap().to_string() }
    };
    run(r#"CREATE SCHEMA pond."/locs""#).await;
    run(r#"CREATE TABLE pond."/locs"."a" AS SELECT 1::BIGINT AS n"#).await;
    run(r#"CREATE TABLE pond."/locs"."b" AS SELECT 10::BIGINT AS n"#).await;
    run(r#"INSERT INTO pond."/locs"."a" VALUES (2)"#).await;
    run(r#"CREATE VIEW pond."/"."total" AS SELECT file, sum(n) AS n FROM pond('/locs/{file}') GROUP BY file"#).await;
    // Two scans that DataFusion would take for one, were they named alike.
    let sums = run("SELECT (SELECT sum(n) FROM pond('/locs/a')) AS a, (SELECT sum(n) FROM pond('/locs/b')) AS b").await;
    assert!(sums.contains("| 3 | 10 |"), "{sums}");
    run(r#"INSERT INTO pond."/locs"."b" VALUES (20)"#).await;
    let total = run(r#"SELECT file, n FROM pond."/"."total" ORDER BY file"#).await;
    assert!(total.contains("| a    | 3  |") && total.contains("| b    | 30 |"), "{total}");
    run(r#"DROP VIEW pond."/"."total""#).await;
    run(r#"DROP TABLE pond."/locs"."b""#).await;
    let left = run("SELECT path FROM pond_ls('/**') ORDER BY path").await;
    assert!(left.contains("/locs/a") && !left.contains("/locs/b") && !left.contains("total"), "{left}");
    assert!(run("SELECT message FROM pond_log()").await.contains("DROP /locs/b"));
    pond.close().await.unwrap();
}

#[tokio::test]
async fn a_plain_context_works_on_a_current_thread_runtime() {
    plain_session("memory:").await;
    let directory = tempfile::tempdir().unwrap();
    plain_session(directory.path().to_str().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_context_works_on_a_multi_thread_runtime() {
    plain_session("memory:").await;
    let directory = tempfile::tempdir().unwrap();
    plain_session(directory.path().to_str().unwrap()).await;
}

#[tokio::test]
async fn an_order_that_nobody_asks_for_costs_no_merge() {
    let mut session = Pond::open("memory:", OpenOptions::default())
        .await
        .unwrap()
        .session(SessionOptions { target_partitions: Some(2), ..SessionOptions::default() })
        .unwrap();
    run(&mut session, "CREATE TABLE '/s' (ts BIGINT NOT NULL, temp DOUBLE) ORDER BY ts").await.unwrap();
    for version in 0..4 {
        let insert = format!("INSERT INTO '/s' SELECT value + {version}000, 1.5 FROM generate_series(0, 999)");
        run(&mut session, &insert).await.unwrap();
    }
    let by_group =
        run(&mut session, "EXPLAIN SELECT ts / 60, avg(temp) FROM '/s' GROUP BY 1 ORDER BY 1").await.unwrap();
    assert!(!by_group.contains("preserve_order=true") && !by_group.contains("output_ordering"), "{by_group}");
    let by_order = run(&mut session, "EXPLAIN SELECT ts, avg(temp) FROM '/s' GROUP BY ts").await.unwrap();
    assert!(!by_order.contains("preserve_order=true") && !by_order.contains("output_ordering"), "{by_order}");
    assert!(!by_order.contains("ordering_mode=Sorted"), "{by_order}");
    for ordered in [
        "SELECT array_agg(temp ORDER BY ts) FROM '/s'",
        "SELECT last_value(temp ORDER BY ts) FROM '/s'",
        "SELECT ts FROM '/s' ORDER BY ts",
        "SELECT ts, temp FROM '/s' WHERE temp > 1 ORDER BY ts DESC LIMIT 3",
        "SELECT ts, lag(temp) OVER (ORDER BY ts) FROM '/s'",
    ] {
        let plan = run(&mut session, &format!("EXPLAIN {ordered}")).await.unwrap();
        assert!(plan.contains("output_ordering=[ts") || plan.contains("reverse_row_groups"), "{ordered}: {plan}");
    }
    let last = run(&mut session, "SELECT ts FROM '/s' ORDER BY ts DESC LIMIT 1").await.unwrap();
    assert!(last.contains("3999"), "{last}");
}

#[tokio::test]
async fn explain_shows_how_rows_that_are_written_out_are_planned() {
    let mut session = memory().await;
    run(&mut session, "CREATE TABLE '/t' (n INT)").await.unwrap();
    for (source, in_full) in [
        ("VALUES (1 + 1)", false),
        ("SELECT 2", false),
        ("SELECT 1 UNION SELECT 2", true),
        ("SELECT n FROM '/t'", true),
    ] {
        let plans = run(&mut session, &format!("EXPLAIN VERBOSE INSERT INTO '/t' {source}")).await.unwrap();
        assert_eq!(plans.contains("push_down_filter"), in_full, "{plans}");
        assert!(plans.contains("DataSinkExec"), "{plans}");
    }
    assert_eq!(number(&mut session, "SELECT count(*) FROM '/t'").await, 0);
}

#[tokio::test]
async fn a_session_can_be_built_with_a_pond() {
    use crate::SessionStateBuilderExt;
    use datafusion::execution::session_state::SessionStateBuilder;

    let pond = Pond::open("memory:", OpenOptions::default()).await.unwrap();
    let state = SessionStateBuilder::new_with_default_features().with_pond(&pond, "pond").unwrap().build();
    let ctx = SessionContext::new_with_state(state);
    for sql in [
        "CREATE TABLE limits AS SELECT 'a' AS site, 20 AS high",
        r#"CREATE TABLE pond."/"."/locs/a/t" AS SELECT 21 AS temp"#,
        r#"CREATE VIEW pond."/"."high" AS SELECT site, temp - high AS by FROM pond('/locs/{site}/t') JOIN datafusion.public.limits USING (site)"#,
    ] {
        let _ = ctx.sql(sql).await.unwrap().collect().await.unwrap();
    }
    let rows = ctx.sql("SELECT * FROM pond('/high')").await.unwrap().collect().await.unwrap();
    let shown = pretty_format_batches(&rows).unwrap().to_string();
    assert!(shown.contains("| a    | 1  |"), "{shown}");
    let weak = Arc::downgrade(ctx.state().catalog_list());
    drop(ctx);
    assert!(weak.upgrade().is_none(), "nothing in the session keeps it alive");
}

#[tokio::test]
async fn after_optimize_one_part_is_read() {
    let store = Arc::new(CountingStore::default());
    let pond = Pond::with_store(Arc::clone(&store) as Arc<dyn PersistenceLayer>);
    let mut session = pond.session(SessionOptions::default()).unwrap();
    run(&mut session, "CREATE TABLE '/s' (n BIGINT NOT NULL) ORDER BY n").await.unwrap();
    for number in 0..40 {
        run(&mut session, &format!("INSERT INTO '/s' VALUES ({})", (number * 7) % 40)).await.unwrap();
    }
    let sum = "SELECT sum(n) FROM '/s' WHERE n >= 0 AND n % 2 = 1";
    let _ = store.reads.swap(0, Ordering::Relaxed);
    assert_eq!(number(&mut session, sum).await, 400);
    let before = store.reads.swap(0, Ordering::Relaxed);
    let report = run(&mut session, "OPTIMIZE '/s'").await.unwrap();
    assert!(report.contains("| /s   | 40           | 1           |"), "{report}");
    let _ = store.reads.swap(0, Ordering::Relaxed);
    assert_eq!(number(&mut session, sum).await, 400);
    let after = store.reads.swap(0, Ordering::Relaxed);
    assert!(after * 10 < before, "{before} reads before, {after} after");
    assert_eq!(number(&mut session, "SELECT count(*) FROM '/s'").await, 40);
    assert_eq!(store.reads.swap(0, Ordering::Relaxed), 0);
    // One part that holds all there is.
    assert_eq!(number(&mut session, "SELECT count(*) FROM pond_versions('/s')").await, 40);
    assert_eq!(number(&mut session, "SELECT count(*) FROM pond('/s', version => 7)").await, 7);
}

#[tokio::test]
async fn a_read_only_session_does_not_optimize() {
    let pond = Pond::open("memory:", OpenOptions::default()).await.unwrap();
    let mut session = pond.session(SessionOptions::default()).unwrap();
    run(&mut session, "CREATE TABLE '/s' AS SELECT 1 AS n").await.unwrap();
    run(&mut session, "INSERT INTO '/s' VALUES (2)").await.unwrap();
    let mut reader = pond.session(SessionOptions { read_only: true, ..SessionOptions::default() }).unwrap();
    assert_eq!(run(&mut reader, "OPTIMIZE '/s'").await.unwrap_err().kind(), ErrorKind::ReadOnly);
    assert_eq!(run(&mut session, "BEGIN READ ONLY").await.unwrap(), "");
    assert_eq!(run(&mut session, "OPTIMIZE '/s'").await.unwrap_err().kind(), ErrorKind::ReadOnly);
}
