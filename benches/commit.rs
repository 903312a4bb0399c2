//! One-row `INSERT`s into a pond on the local disk, fsynced: the median, and whether the last are slower than the first.
//!
//! `cargo bench --bench commit`; `PONDSQL_BENCH_COMMITS` sets the number of commits of the growth figure (2,000 by default).
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark stops at the first surprise")]
#![expect(clippy::print_stdout, reason = "the growth figure is not one that criterion has")]

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use pondsql::{OpenOptions, Pond, PondSession, SessionOptions};
use tokio::runtime::Runtime;

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn commits() -> usize {
    std::env::var("PONDSQL_BENCH_COMMITS")
        .map_or(2_000, |text| text.parse().expect("PONDSQL_BENCH_COMMITS is a number"))
}

async fn session(directory: &std::path::Path) -> PondSession {
    let pond = Pond::open(directory.to_str().unwrap(), OpenOptions::default()).await.unwrap();
    let mut session = pond.session(SessionOptions::default()).unwrap();
    drop(
        session.execute("CREATE TABLE '/log.series' (ts TIMESTAMP NOT NULL, value DOUBLE) ORDER BY ts").await.unwrap(),
    );
    session
}

async fn insert(session: &mut PondSession, number: usize) {
    let sql =
        format!("INSERT INTO '/log.series' VALUES (arrow_cast({number}, 'Timestamp(Nanosecond, None)'), {number}.5)");
    drop(session.execute(&sql).await.unwrap());
}

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted[sorted.len() / 2]
}

/// Deleting thousands of files makes ext4 slow to create new ones for minutes, so that each directory stays until the end.
fn benches(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    growth(&runtime, directories[0].path());
    one_row(criterion, &runtime, directories[1].path());
}

fn one_row(criterion: &mut Criterion, runtime: &Runtime, directory: &std::path::Path) {
    let mut session = runtime.block_on(session(directory));
    let mut number = 0;
    let _ = criterion.bench_function("one-row INSERT", |bencher| {
        bencher.iter(|| {
            number += 1;
            runtime.block_on(insert(&mut session, number));
        });
    });
}

fn growth(runtime: &Runtime, directory: &std::path::Path) {
    let mut session = runtime.block_on(session(directory));
    let times: Vec<Duration> = (0..commits())
        .map(|number| {
            let begun = Instant::now();
            runtime.block_on(insert(&mut session, number));
            begun.elapsed()
        })
        .collect();
    let (first, last) = (median(&times[..100]), median(&times[times.len() - 100..]));
    println!(
        "{} commits: median {:.3} ms; first 100 {:.3} ms, last 100 {:.3} ms, ratio {:.2}",
        times.len(),
        median(&times).as_secs_f64() * 1e3,
        first.as_secs_f64() * 1e3,
        last.as_secs_f64() * 1e3,
        last.as_secs_f64() / first.as_secs_f64()
    );
}

criterion_group! {
    name = all;
    config = Criterion::default().sample_size(100);
    targets = benches
}
criterion_main!(all);
