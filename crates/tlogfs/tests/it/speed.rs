//! How long commits and opening take. Not a test of anything: run it by hand, and read what it prints.

use std::time::{Duration, Instant};

use tinyfs::{Action, Attributes, EntryKind, NodeId, Operation, Part, PersistenceLayer, Place, Txn, WriteMode};
use tlogfs::{DeltaStore, Location, StoreOptions};

use crate::support::{Pond, committed, create, memory, streamed, write};

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints times"]
async fn commits_and_opens() {
    let count = std::env::var("COMMITS").map_or(2_000, |text| text.parse().unwrap());
    let pond = Pond::new();
    let store = pond.create().await;
    let node = NodeId::unique();
    let mut state = committed(&store, &store.latest(), vec![create(node, "f", EntryKind::File, None)]).await;
    let mut times = Vec::new();
    for version in 1..=count {
        let part = memory(vec![b'x'; 700]);
        let start = Instant::now();
        state = committed(&store, &state, vec![write(node, "f", version, part)]).await;
        times.push(start.elapsed());
    }
    store.settle().await.unwrap();
    let (first, last) = (median(&mut times[..100].to_vec()), median(&mut times[times.len() - 100..].to_vec()));
    eprintln!("{count} commits: median {:?}, first 100 {first:?}, last 100 {last:?}", median(&mut times));
    let mut times: Vec<_> = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        let again = pond.open().await;
        times.push(start.elapsed());
        assert_eq!(again.latest().txn(), state.txn());
    }
    eprintln!("open: median {:?}; {} files in log/", median(&mut times), pond.names("log").len());
    let mut times: Vec<_> = Vec::new();
    for _ in 0..1000 {
        let start = Instant::now();
        let _ = store.refresh().await.unwrap();
        times.push(start.elapsed());
    }
    eprintln!("refresh without news: median {:?}", median(&mut times));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints times"]
async fn ranges_of_a_part() {
    use std::os::unix::fs::FileExt;
    let pond = Pond::new();
    let store = pond.create().await;
    let chunk =
        bytes::Bytes::from((0..4 << 20).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 9) as u8).collect::<Vec<_>>());
    let part = streamed(&store, &vec![chunk; 64]).await;
    let hex = part.hash.to_hex();
    let path = pond.path().join("_content").join(&hex[..2]).join(hex.as_str());
    for size in [64_u64 << 10, 1 << 20, 8 << 20] {
        let starts: Vec<u64> = (0..part.size / size - 1).map(|index| index * size + 1000).collect();
        for round in ["warm", "timed"] {
            let store = pond.open().await;
            let start = Instant::now();
            for at in &starts {
                let _ = store.read_part(&part, *at..at + size).await.unwrap();
            }
            let checked = start.elapsed();
            let start = Instant::now();
            for at in &starts {
                let path = path.clone();
                let at = *at;
                let read = move || {
                    let mut bytes = vec![0; usize::try_from(size).unwrap()];
                    std::fs::File::open(path).unwrap().read_exact_at(&mut bytes, at).unwrap();
                };
                tokio::task::spawn_blocking(read).await.unwrap();
            }
            let count = u32::try_from(starts.len()).unwrap();
            eprintln!("{round}: {size} bytes: {:?} checked, {:?} bare", checked / count, start.elapsed() / count);
        }
    }
}

/// What this process holds in memory, in MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default() / 1024
}

/// `ENTRIES` files in directories of a thousand, as CTAS leaves them: a schema that many share, statistics of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints times"]
async fn entries() {
    let count: u64 = std::env::var("ENTRIES").map_or(100_000, |text| text.parse().unwrap());
    let schema = r#"[{"name":"ts","type":"timestamp(us, UTC)","nullable":false},{"name":"station","type":"utf8"},{"name":"temp","type":"float64"},{"name":"wind","type":"float64"},{"name":"ok","type":"boolean"}]"#;
    let pond = Pond::new();
    let store = pond.create().await;
    let before = resident();
    let mut state = store.latest();
    let mut made = 0;
    let start = Instant::now();
    while made < count {
        let mut operations = Vec::new();
        for directory in 0..25 {
            let parent = NodeId::unique();
            operations.push(create(parent, &format!("d{made}-{directory}"), EntryKind::Directory, None));
            for file in 0..1000_u64.min(count - made) {
                let (node, name) = (NodeId::unique(), format!("station-{file:04}.series"));
                let at = 1_700_000_000_000_000 + (made + file) * 1_000_003;
                let stats = format!(
                    r#"{{"ok":{{"min":false,"max":true,"nulls":0}},"station":{{"min":"S{at}","max":"S{at}","nulls":0}},"temp":{{"min":"-{at}.5","max":"{at}.25","nulls":3}},"ts":{{"min":{at},"max":{},"nulls":0}},"wind":{{"min":"0","max":"{at}","nulls":1}}}}"#,
                    at + 3_600_000_000
                );
                let attributes = Attributes::from_iter([
                    ("format", "parquet"),
                    ("schema", schema),
                    ("rows", "200"),
                    ("order", r#"[{"column":"ts","descending":false,"nulls_first":false}]"#),
                    ("stats", &stats),
                ]);
                operations.push(Operation { parent, ..create(node, &name, EntryKind::File, None) });
                let hash = blake3::hash(stats.as_bytes());
                let part = Part { hash, size: 9_000, place: Place::Content };
                let action = Action::Write { version: 1, mode: WriteMode::Append, part, attributes };
                operations.push(Operation { node, parent, name: name.into(), action });
            }
            made += 1000.min(count - made);
            if made == count {
                break;
            }
        }
        state = committed(&store, &state, operations).await;
    }
    eprintln!("{count} entries: written in {:?}; {} MiB", start.elapsed(), resident() - before);
    // In a process of its own, whose memory nobody has used.
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--nocapture", "--exact", "speed::open_once"])
        .env("OPEN_POND", pond.path())
        .output()
        .unwrap();
    eprintln!("{}", String::from_utf8_lossy(&child.stderr));
    assert!(child.status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints times"]
async fn open_once() {
    let Ok(path) = std::env::var("OPEN_POND") else { return };
    let location = Location::parse(&path).unwrap();
    let before = resident();
    let start = Instant::now();
    let store = DeltaStore::open(&location, StoreOptions::default()).await.unwrap();
    let (took, state) = (start.elapsed(), store.latest());
    eprintln!("open: {took:?}, {} nodes; from {before} to {} MiB", state.len(), resident());
    let start = Instant::now();
    let past = store.state_at(Txn(state.txn().0 / 2)).await.unwrap();
    eprintln!("half of it: {:?}, {} nodes; {} MiB", start.elapsed(), past.len(), resident());
}
