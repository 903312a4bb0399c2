//! How long commits and opening take. Not a test of anything: run it by hand, and read what it prints.

use std::time::{Duration, Instant};

use tinyfs::{EntryKind, NodeId, PersistenceLayer};

use crate::support::{Pond, committed, create, memory, write};

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
