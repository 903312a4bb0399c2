//! Runs of the factory HYDROVU against a service on loopback: a million readings of a device over a thousand pages, with the most memory
//! that was resident; and fifty devices with nothing new. Beside each figure is its bar, and whether it is `ok` or `missed`.
//!
//! `cargo bench --bench hydrovu`
#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]
#![expect(clippy::print_stdout, reason = "figures")]

use std::time::Instant;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
use pondsql::factory::RunOptions;
use pondsql::{OpenOptions, Pond, SessionOptions};
use tokio::runtime::Runtime;

#[expect(dead_code, reason = "shared with the tests, which do more with it")]
#[path = "../tests/support/hydrovu_service.rs"]
mod hydrovu_service;

use hydrovu_service::{Device, Paging, SECRET, Service, device, hourly};

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The readings of a parameter, and of a page of it: two parameters, and five hundred readings of each on a page.
const READINGS: i64 = 500_000;
const PAGE: usize = 500;

/// The bars.
const HISTORY_SECONDS: f64 = 15.0;
const HISTORY_MEGABYTES: u64 = 200;
const NOTHING_NEW_SECONDS: f64 = 1.0;

fn main() {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        // The service is a process of its own where memory is measured: it holds the readings too.
        match std::env::args().nth(1).as_deref() {
            Some("--serve") => serve(),
            _ => {
                history().await;
                nothing_new().await;
            }
        }
    });
}

/// Serves the long history until standard input ends, and prints where.
fn serve() {
    // Minutes rather than hours, so that half a million of them are in the past.
    let minutes = |id, unit, seed| {
        let mut parameter = hourly(id, unit, seed, 0..READINGS);
        for (minute, (time, _)) in (0..).zip(&mut parameter.readings) {
            *time = hydrovu_service::BEGIN + minute * 60;
        }
        parameter
    };
    let service = Service::start(vec![device("1", "Long", vec![minutes("1", "1", 1), minutes("20", "117", 2)])]);
    service.page_by(Paging::Even(PAGE));
    println!("{}", service.url());
    let _ = std::io::stdin().read_line(&mut String::new());
}

async fn history() {
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .arg("--serve")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    let _ = std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut url).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let pond = pond(directory.path(), url.trim()).await;
    let begun = Instant::now();
    let rows = pond.run("/hydrovu", RunOptions::default()).await.unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    drop(child.stdin.take());
    let _ = child.wait().unwrap();
    assert_eq!(number(&rows, 2), READINGS);
    println!(
        "{} readings, {} pages read: {seconds:.2} s (at most {HISTORY_SECONDS}): {}",
        number(&rows, 2) * 2,
        number(&rows, 5),
        verdict(seconds <= HISTORY_SECONDS)
    );
    match peak_megabytes() {
        Some(peak) => {
            println!("{peak} MB resident at most (at most {HISTORY_MEGABYTES}): {}", verdict(peak <= HISTORY_MEGABYTES))
        }
        None => println!("how much was resident, the system does not tell"),
    }
}

async fn nothing_new() {
    let ids: Vec<&'static str> = (1..=50).map(|id| &*Box::leak(id.to_string().into_boxed_str())).collect();
    let devices: Vec<Device> =
        ids.into_iter().map(|id| device(id, "Idle", vec![hourly("1", "1", 1, 0..100)])).collect();
    let service = Service::start(devices);
    let directory = tempfile::tempdir().unwrap();
    let pond = pond(directory.path(), &service.url()).await;
    let _ = pond.run("/hydrovu", RunOptions::default()).await.unwrap();
    let mut times: Vec<f64> = Vec::new();
    for _ in 0..5 {
        let begun = Instant::now();
        let rows = pond.run("/hydrovu", RunOptions::default()).await.unwrap();
        times.push(begun.elapsed().as_secs_f64());
        assert_eq!((rows.num_rows(), number(&rows, 2)), (50, 0));
    }
    times.sort_by(f64::total_cmp);
    println!(
        "50 devices with nothing new: {:.3} s, median of 5 (at most {NOTHING_NEW_SECONDS}): {}",
        times[2],
        verdict(times[2] <= NOTHING_NEW_SECONDS)
    );
}

async fn pond(directory: &std::path::Path, url: &str) -> Pond {
    let secret = directory.join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let pond = Pond::open(directory.join("pond").to_str().unwrap(), OpenOptions::default()).await.unwrap();
    let sql = format!(
        "CREATE EXTERNAL TABLE '/hydrovu' STORED AS HYDROVU LOCATION '{url}' \
         OPTIONS ('client_id' 'noyo', 'client_secret' 'file:{}', 'allow_private' 'true')",
        secret.display()
    );
    drop(pond.session(SessionOptions::default()).unwrap().execute(&sql).await.unwrap());
    pond
}

/// The first value of a column of numbers.
fn number(rows: &RecordBatch, column: usize) -> i64 {
    rows.column(column).as_primitive::<Int64Type>().value(0)
}

/// Whether a figure is within its bar.
fn verdict(within: bool) -> &'static str {
    if within { "ok" } else { "missed" }
}

/// The most memory that this process had resident so far, in MB, rounded up; `None` where the system does not tell.
fn peak_megabytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some((kibibytes * 1024).div_ceil(1_000_000))
}
