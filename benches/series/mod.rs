//! The series that benchmarks read: sorted readings of 16 sensors, in 20 versions.

use futures::StreamExt;
use pondsql::{PondSession, StatementResult};

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const VERSIONS: u64 = 20;

/// How many rows there are: `PONDSQL_BENCH_ROWS`, or 20,000,000.
pub(crate) fn rows() -> u64 {
    std::env::var("PONDSQL_BENCH_ROWS").map_or(20_000_000, |text| text.parse().expect("PONDSQL_BENCH_ROWS is a number"))
}

/// Runs a statement to its end; how many rows it gave.
pub(crate) async fn run(session: &mut PondSession, sql: &str) -> usize {
    let StatementResult::Rows(mut rows) = session.execute(sql).await.unwrap() else { return 0 };
    let mut count = 0;
    while let Some(batch) = rows.next().await {
        count += batch.unwrap().num_rows();
    }
    count
}

/// Makes `/s.series`.
pub(crate) async fn fill(session: &mut PondSession) {
    let create =
        "CREATE TABLE '/s.series' (ts TIMESTAMP(6) NOT NULL, sensor INT, temp DOUBLE, level DOUBLE) ORDER BY ts";
    let _ = run(session, create).await;
    let per_version = rows() / VERSIONS;
    for version in 0..VERSIONS {
        let (from, to) = (version * per_version, (version + 1) * per_version - 1);
        let insert = format!(
            "INSERT INTO '/s.series' SELECT arrow_cast(value * 1000000, 'Timestamp(Microsecond, None)'), \
             (value % 16)::INT, 10 + 5 * sin(value / 3600.0), random() FROM generate_series({from}, {to})"
        );
        let _ = run(session, &insert).await;
    }
}
