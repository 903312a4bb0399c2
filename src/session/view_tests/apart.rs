//! Members of families that are too large to be planned as a whole.

use super::{memory, number, run};
use crate::ErrorKind;

#[tokio::test]
async fn members_of_a_family_that_is_too_large_are_read_by_themselves() {
    let mut session = memory().await;
    let inner = |members: usize| {
        let texts: Vec<String> = (0..members).map(|member| format!("('m{member}')")).collect();
        format!(
            "CREATE OR REPLACE VIEW '/inner/{{k}}' AS SELECT v.k AS label FROM (VALUES {}) AS v (k)",
            texts.join(", ")
        )
    };
    run(&mut session, &inner(2)).await.unwrap();
    run(&mut session, "CREATE VIEW '/outer/{k}' AS SELECT label FROM pond('/inner/{k}')").await.unwrap();
    // More than may be read together: it grows by what is there, and nobody makes it anew then.
    run(&mut session, &inner(1001)).await.unwrap();
    assert_eq!(number(&mut session, "SELECT count(*) FROM '/outer/m7' WHERE label = 'm7'").await, 1);
    assert_eq!(number(&mut session, "SELECT count(*) FROM pond('/outer/m[12]')").await, 2);
    // So it is for who reads one in a view, more than once in a statement too.
    run(&mut session, "CREATE VIEW '/reader' AS SELECT label FROM '/outer/m7'").await.unwrap();
    assert_eq!(number(&mut session, "SELECT count(*) FROM '/reader' a JOIN '/outer/m7' b USING (label)").await, 1);
    assert_eq!(number(&mut session, "SELECT count(*) FROM '/outer/m8' a, '/reader' b").await, 1);
    for sql in ["SELECT label FROM pond('/outer/*')", "CREATE VIEW '/all' AS SELECT label FROM pond('/outer/*')"] {
        let error = run(&mut session, sql).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert!(error.to_string().contains("the VALUES in the query make 1001 combinations"), "{error}");
    }
}
