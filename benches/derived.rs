//! Derived files: three views deep against the SQL written out, and against bytes on the way; schema against running; the bytes themselves.
//!
//! `cargo bench --bench derived`; `PONDSQL_BENCH_ROWS` sets the number of rows (20,000,000 by default).
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark stops at the first surprise")]
#![expect(clippy::print_stdout, reason = "time to the first byte and memory are not figures that criterion has")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use datafusion::datasource::MemTable;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use futures::TryStreamExt;
use pondsql::{OpenOptions, Pond, PondSession, SessionOptions};
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

mod series;

use series::run;

const THREADS: usize = 2;
/// Derived files in one glob.
const MANY: usize = 1_000;
/// How often each of three is run in turn with the others.
const TURNS: usize = 21;
/// Tells a process of this program to measure the bytes of a view of the pond there, and nothing else.
const OF_BYTES: &str = "PONDSQL_BENCH_BYTES_OF";
/// Each reads the one before.
const VIEWS: &[(&str, &str)] = &[
    ("/v/one", "SELECT ts, sensor, temp * 1.8 + 32 AS temp, level FROM '/s.series' WHERE sensor < 12"),
    ("/v/two", "SELECT ts, sensor, temp - 32 AS temp, level FROM '/v/one' WHERE level < 0.9"),
    ("/v/three.parquet", "SELECT ts, sensor AS s, temp / 1.8 AS celsius, level FROM '/v/two'"),
];
/// What the third view is, in one query.
const WRITTEN_OUT: &str = "SELECT ts, sensor AS s, (temp * 1.8 + 32 - 32) / 1.8 AS celsius, level FROM '/s.series' \
                           WHERE sensor < 12 AND level < 0.9";
const QUERIES: &[(&str, &str)] = &[
    ("aggregate", "SELECT count(*), avg(celsius), max(level) FROM {table}"),
    ("filter", "SELECT s, avg(celsius) FROM {table} WHERE level < 0.01 AND s = 3 GROUP BY s"),
    ("projection", "SELECT max(celsius) FROM {table}"),
    ("limit", "SELECT * FROM {table} LIMIT 100"),
];

async fn opened(directory: &str) -> PondSession {
    let pond = Pond::open(directory, OpenOptions::default()).await.unwrap();
    let options = SessionOptions { target_partitions: Some(THREADS), ..SessionOptions::default() };
    pond.session(options).unwrap()
}

async fn filled(directory: &Path) -> PondSession {
    let mut session = opened(directory.to_str().unwrap()).await;
    series::fill(&mut session).await;
    for (path, query) in VIEWS {
        let _ = run(&mut session, &format!("CREATE VIEW '{path}' AS {query}")).await;
    }
    session
}

/// The file's bytes as a table of the session, and its rows: a derived file as one that is computed, written and read again.
async fn through_bytes(session: &mut PondSession, query: &str) -> usize {
    let bytes = session.read("/v/three.parquet").await.unwrap().try_collect::<Vec<Bytes>>().await.unwrap().concat();
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).unwrap();
    let schema = Arc::clone(reader.schema());
    let batches: Vec<_> = reader.with_batch_size(8192).build().unwrap().map(Result::unwrap).collect();
    let context = datafusion::prelude::SessionContext::new_with_config(
        datafusion::prelude::SessionConfig::new().with_target_partitions(THREADS),
    );
    let table = MemTable::try_new(schema, vec![batches]).unwrap();
    let _ = context.register_table("t", Arc::new(table)).unwrap();
    context.sql(&query.replace("{table}", "t")).await.unwrap().collect().await.unwrap().len()
}

/// The texts of the views, each in the place of its name in the next: the plan is that of the third view, but for names.
fn nested() -> String {
    let mut text = String::new();
    for (at, (_, query)) in VIEWS.iter().enumerate() {
        text = match at.checked_sub(1) {
            Some(before) => query.replace(&format!("'{}'", VIEWS[before].0), &format!("({text})")),
            None => (*query).to_owned(),
        };
    }
    text
}

/// The view, its texts nested, and one query written out, by turns: criterion measures one after the other, and a machine may change between.
/// Each turn begins with another one, and only times of one turn are compared.
async fn in_turn(session: &mut PondSession, name: &str, query: &str) {
    let tables = ["'/v/three.parquet'".to_owned(), format!("({})", nested()), format!("({WRITTEN_OUT})")];
    let sql = tables.map(|table| query.replace("{table}", &table));
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for turn in 0..TURNS {
        for step in 0..sql.len() {
            let at = (turn + step) % sql.len();
            let begun = Instant::now();
            let _ = run(session, &sql[at]).await;
            times[at].push(begun.elapsed().as_secs_f64() * 1e3);
        }
    }
    let [view, nested, flat] = &times;
    println!(
        "{name}, in turn: view {:.1} ms, nested {:.1} ms, written out {:.1} ms; of each turn view / nested {:.3}, view / written out {:.3}",
        median(view.clone()),
        median(nested.clone()),
        median(flat.clone()),
        median(ratios(view, nested)),
        median(ratios(view, flat)),
    );
}

fn ratios(ones: &[f64], others: &[f64]) -> Vec<f64> {
    ones.iter().zip(others).map(|(one, other)| one / other).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn queries(criterion: &mut Criterion, runtime: &Runtime, session: &Mutex<PondSession>) {
    for (name, query) in QUERIES {
        runtime.block_on(async { in_turn(&mut *session.lock().await, name, query).await });
        let mut group = criterion.benchmark_group(*name);
        for (how, table) in [("view", "'/v/three.parquet'".to_owned()), ("written out", format!("({WRITTEN_OUT})"))] {
            let sql = query.replace("{table}", &table);
            let _ = group.bench_function(how, |bencher| {
                bencher.to_async(runtime).iter(|| async { run(&mut *session.lock().await, &sql).await });
            });
        }
        let _ = group.sample_size(10);
        let _ = group.bench_function("through bytes", |bencher| {
            bencher.to_async(runtime).iter(|| async { through_bytes(&mut *session.lock().await, query).await });
        });
        group.finish();
    }
}

fn schema(criterion: &mut Criterion, runtime: &Runtime, session: &Mutex<PondSession>) {
    let mut group = criterion.benchmark_group("schema");
    for (how, sql) in
        [("planned", "DESCRIBE '/v/three.parquet'"), ("by running it", "SELECT * FROM '/v/three.parquet'")]
    {
        let _ = group.bench_function(how, |bencher| {
            bencher.to_async(runtime).iter(|| async { run(&mut *session.lock().await, sql).await });
        });
    }
    group.finish();
}

/// How much memory the process has had at most, in MiB, since [`forget_peak`].
fn peak() -> f64 {
    status("VmHWM:")
}

fn status(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the kernel tells how much memory");
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

/// Makes the peak what is used now.
fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// Opens the pond of another process, which has used no memory for anything else, and reads the view's bytes.
fn bytes(runtime: &Runtime, directory: &str) {
    let session = Mutex::new(runtime.block_on(opened(directory)));
    for run in 1..=3 {
        let (mut first, mut size) = (Duration::ZERO, 0);
        forget_peak();
        let idle = status("VmRSS:");
        let begun = Instant::now();
        runtime.block_on(async {
            let mut bytes = session.lock().await.read("/v/three.parquet").await.unwrap();
            while let Some(chunk) = bytes.try_next().await.unwrap() {
                if size == 0 {
                    first = begun.elapsed();
                }
                size += chunk.len();
            }
        });
        let all = begun.elapsed();
        println!(
            "bytes as Parquet, run {run}: {:.1} MiB in {:.3} s; first byte after {:.3} s, {:.1} % of it; peak {:.0} MiB over idle {idle:.0} MiB",
            size as f64 / f64::from(1 << 20),
            all.as_secs_f64(),
            first.as_secs_f64(),
            100.0 * first.as_secs_f64() / all.as_secs_f64(),
            peak() - idle,
        );
    }
}

/// How long a query over 1,000 derived files in one glob takes to plan: members of a family, and views of their own.
fn many(runtime: &Runtime) {
    let (family, own) = runtime.block_on(async {
        let pond = Pond::open("memory:", OpenOptions::default()).await.unwrap();
        let mut session = pond.session(SessionOptions::default()).unwrap();
        for file in 0..MANY {
            let create = format!("CREATE TABLE '/in/s{file}.series' AS SELECT {file} AS x, 'a' AS y");
            let _ = run(&mut session, &create).await;
            let view = format!("CREATE VIEW '/own/v{file}' AS SELECT x * 2 AS x, y FROM '/in/s{file}.series'");
            let _ = run(&mut session, &view).await;
        }
        let view = "CREATE VIEW '/family/{f}' AS SELECT x * 2 AS x, y FROM pond('/in/{f}.series')";
        let _ = run(&mut session, view).await;
        (plan_time(&session, "/family/*").await, plan_time(&session, "/own/*").await)
    });
    println!("planning {MANY} derived files: one family {family:.1} ms, views of their own {own:.1} ms");
}

/// The median of 11, in milliseconds, of making a plan that could run.
async fn plan_time(session: &PondSession, glob: &str) -> f64 {
    let mut times = Vec::new();
    let sql = format!("SELECT count(*), max(x) FROM pond('{glob}')");
    for _ in 0..11 {
        let begun = Instant::now();
        let plan = session.context().sql(&sql).await.unwrap().create_physical_plan().await.unwrap();
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        drop(plan);
    }
    median(times)
}

fn derived(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build().unwrap();
    if let Ok(directory) = std::env::var(OF_BYTES) {
        return bytes(&runtime, &directory);
    }
    let directory = tempfile::tempdir().unwrap();
    let session = Mutex::new(runtime.block_on(filled(directory.path())));
    let program = std::env::current_exe().unwrap();
    let child = std::process::Command::new(program).arg("--bench").env(OF_BYTES, directory.path()).status().unwrap();
    assert!(child.success());
    many(&runtime);
    queries(criterion, &runtime, &session);
    schema(criterion, &runtime, &session);
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(15));
    targets = derived
}
criterion_main!(benches);
