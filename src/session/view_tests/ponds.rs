//! Views of several ponds in one session.

use std::sync::Arc;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::Int64Type;
use datafusion::prelude::SessionContext;

use super::run;
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
