//! Views of several ponds in one session.

use std::sync::Arc;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::Int64Type;
use datafusion::prelude::SessionContext;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use tinyfs::PondPath;

use super::run;
use crate::catalog::ViewDefinition;
use crate::{OpenOptions, Pond, SessionOptions};

#[tokio::test]
async fn a_view_calls_the_pond_that_it_is_in_pond() {
    let ctx = SessionContext::new();
    let read = async |sql: String| {
        let batches = ctx.sql(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")).collect().await.unwrap();
        let found = batches.iter().find(|batch| batch.num_rows() > 0).map(|batch| Arc::clone(batch.column(0)));
        found.map(|column| column.as_primitive::<Int64Type>().value(0))
    };
    for (name, n) in [("archive", 10), ("pond", 20)] {
        let pond = Pond::open("memory:", OpenOptions::default()).await.unwrap();
        let mut session = pond.session(SessionOptions::default()).unwrap();
        for sql in [
            format!("CREATE TABLE '/x/a' AS SELECT {n}::BIGINT AS n").as_str(),
            "CREATE VIEW '/path' AS SELECT n FROM '/x/a'",
            "CREATE VIEW '/name' AS SELECT n FROM pond.\"/x\".\"a\"",
            "CREATE VIEW '/glob' AS SELECT n FROM pond('/x/*')",
            "CREATE VIEW '/listed' AS SELECT count(*) + (SELECT max(n) FROM '/name') - 1 AS n FROM POND_LS('/x')",
            "CREATE VIEW '/family/{file}' AS SELECT sum(n) AS n FROM pond('/x/{file}') GROUP BY file",
        ] {
            run(&mut session, sql).await.unwrap();
        }
        pond.register(&ctx, name).unwrap();
        for view in ["path", "name", "glob", "listed"] {
            assert_eq!(read(format!("SELECT n FROM {name}.\"/\".\"{view}\"")).await, Some(n), "{name}: {view}");
        }
        assert_eq!(read(format!("SELECT n FROM {name}.\"/family\".\"a\"")).await, Some(n), "{name}");
        assert_eq!(read(format!("SELECT n FROM {name}('/family/{{f}}') WHERE f = 'a'")).await, Some(n), "{name}");
    }
    // Also after the other one is there, and beside it in one statement.
    for view in ["path", "name", "glob", "listed"] {
        let max = |name: &str| format!("(SELECT max(n) FROM {name}.\"/\".\"{view}\")");
        let sql = format!("SELECT {} * 100 + {} AS n", max("archive"), max("pond"));
        assert_eq!(read(sql).await, Some(1020), "{view}");
    }
    // A view made here may call it by the name that it has here.
    let own = "CREATE VIEW archive.\"/\".\"own/{k}\" AS SELECT n FROM archive('/x/{k}')";
    let _ = read(own.to_owned()).await;
    assert_eq!(read("SELECT n FROM archive('/own/{k}') WHERE k = 'a'".to_owned()).await, Some(10));
    // What is only named like its functions is a table.
    let named = "CREATE VIEW archive.\"/\".\"cte\" AS WITH pond_rows AS (SELECT n FROM archive.\"/x\".\"a\") SELECT n FROM pond_rows";
    let _ = read(named.to_owned()).await;
    assert_eq!(read("SELECT n FROM archive.\"/\".\"cte\"".to_owned()).await, Some(10));
    let other = "CREATE VIEW archive.\"/\".\"other\" AS SELECT n FROM pond('/x/*')";
    let error = ctx.sql(other).await.err().unwrap().to_string();
    assert!(
        error.contains("'/other' cannot be made: in the text of a view, 'pond' is the pond that it is in"),
        "{error}"
    );
}

#[tokio::test]
async fn a_view_on_another_pond_has_the_rows_that_are_there_now() {
    let ctx = SessionContext::new();
    let own = Pond::open("memory:", OpenOptions::default()).await.unwrap();
    let other = Pond::open("memory:", OpenOptions::default()).await.unwrap();
    let mut session = other.session(SessionOptions::default()).unwrap();
    run(&mut session, "CREATE TABLE '/t' AS SELECT 1::BIGINT AS n").await.unwrap();
    own.register(&ctx, "own").unwrap();
    other.register(&ctx, "other").unwrap();
    let made = ctx.sql("CREATE VIEW own.\"/\".\"v\" AS SELECT n FROM other.\"/\".\"t\"").await.unwrap();
    let _ = made.collect().await.unwrap();
    for rows in 1..=3 {
        let counted = ctx.sql("SELECT count(*) FROM own.\"/\".\"v\"").await.unwrap().collect().await.unwrap();
        assert_eq!(counted[0].column(0).as_primitive::<Int64Type>().value(0), rows);
        run(&mut session, "INSERT INTO '/t' VALUES (1)").await.unwrap();
    }
}

#[tokio::test]
async fn a_view_on_a_view_of_another_pond_is_what_that_is_now() {
    let ctx = SessionContext::new();
    let own = Pond::open("memory:", OpenOptions::default()).await.unwrap();
    let other = Pond::open("memory:", OpenOptions::default()).await.unwrap();
    let mut session = other.session(SessionOptions::default()).unwrap();
    run(&mut session, "CREATE VIEW '/v' AS SELECT 0::BIGINT AS n").await.unwrap();
    own.register(&ctx, "own").unwrap();
    other.register(&ctx, "other").unwrap();
    for sql in [
        "CREATE VIEW own.\"/\".\"named\" AS SELECT n FROM other.\"/\".\"v\"",
        "CREATE VIEW own.\"/\".\"called\" AS SELECT n FROM other('/v')",
        "CREATE VIEW own.\"/\".\"over.csv\" AS SELECT a.n FROM own.\"/\".\"named\" a, own.\"/\".\"called\" b",
    ] {
        let _ = ctx.sql(sql).await.unwrap().collect().await.unwrap();
    }
    let store = ctx.runtime_env().object_store_registry.get_store(&"pond://own/".parse().unwrap()).unwrap();
    // It has no scan that would tell where it is.
    for n in 1..=3 {
        run(&mut session, &format!("CREATE OR REPLACE VIEW '/v' AS SELECT {n}::BIGINT AS n")).await.unwrap();
        for view in ["named", "called", "over.csv"] {
            let read = ctx.sql(&format!("SELECT n FROM own.\"/\".\"{view}\"")).await.unwrap().collect().await.unwrap();
            let read = read.iter().find(|batch| batch.num_rows() > 0).unwrap();
            assert_eq!(read.column(0).as_primitive::<Int64Type>().value(0), n, "{view}");
        }
        let bytes = store.get(&Path::from("over.csv")).await.unwrap().bytes().await.unwrap();
        assert_eq!(bytes, format!("n\n{n}\n"));
    }
}

#[tokio::test]
async fn what_a_view_reads_of_another_pond_is_no_path_of_its_own() {
    let ctx = SessionContext::new();
    let own = Pond::open("memory:", OpenOptions::default()).await.unwrap();
    let other = Pond::open("memory:", OpenOptions::default()).await.unwrap();
    for (pond, name) in [(&own, "own"), (&other, "other")] {
        let mut session = pond.session(SessionOptions::default()).unwrap();
        run(&mut session, &format!("CREATE TABLE '/x/t' AS SELECT 1::BIGINT AS {name}")).await.unwrap();
        pond.register(&ctx, name).unwrap();
    }
    for sql in [
        "CREATE VIEW own.\"/\".\"named\" AS SELECT other FROM other.\"/x\".\"t\"",
        "CREATE VIEW own.\"/\".\"called\" AS SELECT other FROM other('/x/*')",
    ] {
        let _ = ctx.sql(sql).await.unwrap().collect().await.unwrap();
    }
    let mut session = own.session(SessionOptions::default()).unwrap();
    run(&mut session, "ALTER TABLE '/x' RENAME TO '/y'").await.unwrap();
    assert_eq!(session.take_warnings(), [""; 0]);
    let both = "CREATE VIEW own.\"/\".\"both\" AS SELECT a.own, b.other FROM own.\"/y\".\"t\" a, own('/y/*') c, other.\"/y\".\"t\" b";
    let mut there = other.session(SessionOptions::default()).unwrap();
    run(&mut there, "ALTER TABLE '/x' RENAME TO '/y'").await.unwrap();
    let _ = ctx.sql(both).await.unwrap().collect().await.unwrap();
    let path = PondPath::parse("/both").unwrap();
    let node = own.snapshot().await.unwrap().lookup(&path).unwrap().node;
    let inputs = ViewDefinition::from_attributes(&node.attributes, &path).unwrap().inputs;
    let mut inputs: Vec<_> =
        inputs.iter().map(|input| (input.name.as_str(), input.schema.field(0).name().as_str())).collect();
    inputs.sort_unstable();
    assert_eq!(inputs, [("/y/t", "own"), ("other.\"/y\".t", "other"), ("pond('/y/*')", "own")]);
    run(&mut session, "ALTER TABLE '/y' RENAME TO '/z'").await.unwrap();
    let warnings = session.take_warnings();
    assert!(warnings.len() == 1 && warnings[0].starts_with("the view '/both' reads what was in '/y'"), "{warnings:?}");
}
