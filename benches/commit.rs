//! One-row `INSERT`s into a pond on the local disk, fsynced: the median, and whether the last are slower than the first.
//!
//! `cargo bench --bench commit`; `PONDSQL_BENCH_COMMITS` sets the number of commits of the growth figure (2,000 by default).
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark stops at the first surprise")]
#![expect(clippy::print_stdout, reason = "the growth figure is not one that criterion has")]

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use pondsql::{CommitThread, OpenOptions, Pond, PondSession, SessionOptions};
use tokio::runtime::Runtime;

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many commits are the first, and the last.
const AT_ONCE: usize = 100;

fn commits() -> usize {
    std::env::var("PONDSQL_BENCH_COMMITS")
        .map_or(2_000, |text| text.parse().expect("PONDSQL_BENCH_COMMITS is a number"))
}

async fn session(directory: &std::path::Path) -> PondSession {
    // As the shell opens it.
    let options = OpenOptions { commit_thread: CommitThread::Current, ..OpenOptions::default() };
    let pond = Pond::open(directory.to_str().unwrap(), options).await.unwrap();
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

/// In milliseconds.
fn median(times: &[Duration]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted[sorted.len() / 2].as_secs_f64() * 1e3
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

/// The same pond from its first commit to its last. A machine may change between the first and the last, and so the last are
/// also taken in turn with the first of another pond, and with what the disk alone takes for such a commit.
fn growth(runtime: &Runtime, directory: &std::path::Path) {
    let (old, new, raw) = (directory.join("old"), directory.join("new"), directory.join("raw"));
    std::fs::create_dir_all(&raw).unwrap();
    let mut grown = runtime.block_on(session(&old));
    let mut times = Vec::new();
    for number in 0..commits() - AT_ONCE {
        times.push(timed(|| runtime.block_on(insert(&mut grown, number))));
    }
    let mut fresh = runtime.block_on(session(&new));
    let (mut first, mut disk) = (Vec::new(), Vec::new());
    for number in 0..AT_ONCE {
        first.push(timed(|| runtime.block_on(insert(&mut fresh, number))));
        times.push(timed(|| runtime.block_on(insert(&mut grown, commits() - AT_ONCE + number))));
        disk.push(timed(|| write_raw(&raw, number)));
    }
    let [first, last, begun] = [&first[..], &times[times.len() - AT_ONCE..], &times[..AT_ONCE]].map(median);
    println!("{} commits: median {:.3} ms; the disk alone {:.3} ms", times.len(), median(&times), median(&disk));
    println!("last {AT_ONCE} {last:.3} ms, first {AT_ONCE} {begun:.3} ms, ratio {:.2}", last / begun);
    println!(
        "in turn: last {AT_ONCE} {last:.3} ms, first {AT_ONCE} of another {first:.3} ms, ratio {:.2}",
        last / first
    );
    let tenths: Vec<_> = times.chunks(times.len() / 10).map(|tenth| format!("{:.2}", median(tenth))).collect();
    println!("by tenths: {} ms", tenths.join(" "));
}

fn timed(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

/// What a commit asks of the disk, without a pond: rows and an entry, each written and synced, and the entry put in place.
fn write_raw(directory: &std::path::Path, number: usize) {
    let sync = |path: &std::path::Path| std::fs::File::open(path).unwrap().sync_all().unwrap();
    let [_, entry] = [("rows", 9_000), ("entry", 1_500)].map(|(name, size)| {
        let path = directory.join(format!("{number}.{name}"));
        std::fs::write(&path, vec![b'x'; size]).unwrap();
        sync(&path);
        path
    });
    sync(directory);
    std::fs::hard_link(&entry, directory.join(format!("{number}.json"))).unwrap();
    sync(directory);
}

criterion_group! {
    name = all;
    config = Criterion::default().sample_size(100);
    targets = benches
}
criterion_main!(all);
