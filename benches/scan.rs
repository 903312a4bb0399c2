//! A series of 20 versions against bare DataFusion on the same Parquet files.
//!
//! `cargo bench --bench scan`; `PONDSQL_BENCH_ROWS` sets the number of rows (20,000,000 by default).
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark stops at the first surprise")]
#![expect(clippy::print_stdout, reason = "the ratio is not a figure that criterion has")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::prelude::{SessionConfig, SessionContext};
use pondsql::{OpenOptions, Pond, PondSession, SessionOptions};
use tokio::runtime::Runtime;

mod series;

const THREADS: usize = 2;
/// How often each side has its turn.
const TURNS: usize = 21;
const QUERIES: &[(&str, &str)] = &[
    ("aggregate", "SELECT count(*), avg(temp), max(level) FROM {table}"),
    ("resample", "SELECT date_bin(INTERVAL '1 hour', ts) AS hour, avg(temp), avg(level) FROM {table} GROUP BY 1"),
    ("filter 1 %", "SELECT count(*), avg(temp) FROM {table} WHERE level < 0.01"),
];

/// DataFusion's own listing table over the parts, which are Parquet files as they are.
async fn bare(directory: &std::path::Path) -> SessionContext {
    let config = SessionConfig::new()
        .with_target_partitions(THREADS)
        .set_bool("datafusion.execution.listing_table_ignore_subdirectory", false);
    let context = SessionContext::new_with_config(config);
    let url = ListingTableUrl::parse(format!("{}/_content/", directory.display())).unwrap();
    let options = ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension("");
    let config = ListingTableConfig::new(url).with_listing_options(options);
    let config = config.infer_schema(&context.state()).await.unwrap();
    let _ = context.register_table("s", Arc::new(ListingTable::try_new(config).unwrap())).unwrap();
    context
}

fn scan(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let location = directory.path().to_str().unwrap().to_owned();
    let options = SessionOptions { target_partitions: Some(THREADS), ..SessionOptions::default() };
    let (mut session, bare) = runtime.block_on(async {
        let pond = Pond::open(&location, OpenOptions::default()).await.unwrap();
        let mut session = pond.session(options).unwrap();
        series::fill(&mut session).await;
        (session, bare(directory.path()).await)
    });
    for (name, query) in QUERIES {
        let mut group = criterion.benchmark_group(*name);
        let (ours, theirs) = (query.replace("{table}", "'/s.series'"), query.replace("{table}", "s"));
        let session = tokio::sync::Mutex::new(&mut session);
        let _ = group.bench_function("pond", |bencher| {
            bencher.to_async(&runtime).iter(|| async {
                let mut session = session.lock().await;
                series::run(&mut session, &ours).await
            });
        });
        let _ = group.bench_function("datafusion", |bencher| {
            bencher
                .to_async(&runtime)
                .iter(|| async { bare.sql(&theirs).await.unwrap().collect().await.unwrap().len() });
        });
        group.finish();
        runtime.block_on(in_turn(name, session.into_inner(), &ours, &bare, &theirs));
    }
}

/// Criterion measures one after the other, and a machine may change between; this takes turns.
async fn in_turn(name: &str, session: &mut PondSession, ours: &str, bare: &SessionContext, theirs: &str) {
    let (mut pond, mut datafusion) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let begun = Instant::now();
        let _ = series::run(session, ours).await;
        pond.push(begun.elapsed());
        let begun = Instant::now();
        let _ = bare.sql(theirs).await.unwrap().collect().await.unwrap();
        datafusion.push(begun.elapsed());
    }
    pond.sort();
    datafusion.sort();
    let [pond, datafusion] = [pond, datafusion].map(|times| times[TURNS / 2].as_secs_f64() * 1e3);
    println!("{name}, in turn: pond {pond:.1} ms, datafusion {datafusion:.1} ms, ratio {:.3}", pond / datafusion);
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(15));
    targets = scan
}
criterion_main!(benches);
