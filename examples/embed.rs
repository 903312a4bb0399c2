//! A pond in somebody's DataFusion application: `cargo run --example embed`.
//!
//! The application keeps its own `SessionContext` and tables; the pond is one more catalog, and its files join with
//! them.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;

use datafusion::arrow::array::{Float64Array, RecordBatch, StringArray};
use datafusion::prelude::SessionContext;
use pondsql::{OpenOptions, Pond};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ctx = SessionContext::new();
    let limits = RecordBatch::try_from_iter([
        ("site", Arc::new(StringArray::from(vec!["BDock", "Silver"])) as _),
        ("max_temp", Arc::new(Float64Array::from(vec![18.0, 20.0])) as _),
    ])?;
    let _ = ctx.register_batch("limits", limits)?;

    // A directory or URL instead of "memory:" makes the pond durable.
    let pond = Pond::open("memory:", OpenOptions::default()).await?;
    pond.register(&ctx, "pond")?;

    for sql in [
        r#"CREATE TABLE pond."/"."/locs/BDock/temp.series" AS SELECT * FROM (VALUES (1, 17.5), (2, 18.5)) AS t (hour, temp)"#,
        r#"CREATE TABLE pond."/"."/locs/Silver/temp.series" AS SELECT * FROM (VALUES (1, 19.0)) AS t (hour, temp)"#,
        r#"INSERT INTO pond."/locs/Silver"."temp.series" VALUES (2, 21.0)"#,
        r#"CREATE VIEW pond."/"."/derived/too_warm" AS
           SELECT site, hour, temp, max_temp FROM pond('/locs/{site}/temp.series') JOIN datafusion.public.limits USING (site)
           WHERE temp > max_temp"#,
    ] {
        let _ = ctx.sql(sql).await?.collect().await?;
    }
    ctx.sql("SELECT * FROM pond('/derived/too_warm') ORDER BY site").await?.show().await?;
    println!("committed transactions:");
    ctx.sql("SELECT txn, message FROM pond_log()").await?.show().await?;
    pond.close().await?;
    Ok(())
}
