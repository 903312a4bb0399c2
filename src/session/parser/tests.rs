//! What statements are taken for.

use super::*;

#[test]
fn inserts_of_literals() {
    for (source, literals) in [
        ("VALUES (1, now()), (-(2 + 3), 'x')", true),
        ("SELECT 1, CASE WHEN true THEN 2 END UNION ALL SELECT 3, 4", true),
        ("SELECT * FROM '/a'", false),
        ("SELECT x FROM unnest([1, 2]) AS u(x)", false),
        ("SELECT x FROM (VALUES (1)) AS v(x)", false),
        ("VALUES ((SELECT 1))", false),
        ("SELECT 1 WHERE 1 IN (SELECT 1)", false),
        ("WITH a AS (SELECT 1) SELECT 2", false),
    ] {
        let sql = format!("INSERT INTO '/t' {source}");
        let PondStatement::Write { statement, .. } = parse(&sql, &SqlParserOptions::default()).unwrap() else {
            panic!("{sql}")
        };
        assert_eq!(inserts_literals(&statement), literals, "{sql}");
    }
}

#[test]
fn the_text_of_a_view_is_kept() {
    for (sql, text) in [
        ("CREATE VIEW '/v' AS SELECT 1", "SELECT 1"),
        ("create or replace view \"/v\" (\"as\", b)\nas -- why\n  select 'ä', 2 ;", "-- why\n  select 'ä', 2"),
        ("CREATE VIEW v AS (SELECT 1 AS a) UNION ALL SELECT 2", "(SELECT 1 AS a) UNION ALL SELECT 2"),
    ] {
        let PondStatement::CreateView { query, .. } = parse(sql, &SqlParserOptions::default()).unwrap() else {
            panic!("{sql}")
        };
        assert_eq!(query, text);
    }
}

#[test]
fn writes_know_their_target() {
    for (sql, name, reads) in [
        ("INSERT INTO '/t' SELECT * FROM '/s'", "'/t'", false),
        ("INSERT INTO '/t' SELECT count(*) FROM '/t'", "'/t'", true),
        ("INSERT INTO '/t' SELECT count(*) FROM \"/t\"", "'/t'", true),
        ("INSERT INTO '/t' SELECT count(*) FROM t", "'/t'", true),
        ("INSERT INTO '/t' SELECT count(*) FROM pond.\"/\".t", "'/t'", true),
        ("INSERT OVERWRITE '/t' VALUES (1)", "'/t'", false),
    ] {
        let PondStatement::Write { statement, target, .. } = parse(sql, &SqlParserOptions::default()).unwrap() else {
            panic!("{sql}")
        };
        assert_eq!(target.to_string(), name, "{sql}");
        let names = Names { catalog: "pond".to_owned(), directory: PondPath::root(), lower_case: true };
        assert_eq!(reads_target(&statement, &names, &PondPath::parse("/t").unwrap()), reads, "{sql}");
    }
}

#[test]
fn globs_to_optimize() {
    for sql in ["OPTIMIZE '/a/*.series'", " optimize \"/a/*.series\" ;"] {
        let parsed = parse(sql, &SqlParserOptions::default()).unwrap();
        assert!(matches!(&parsed, PondStatement::Optimize(glob) if glob == "/a/*.series"), "{parsed:?}");
    }
    for sql in ["OPTIMIZE", "OPTIMIZE '/a' '/b'", "OPTIMIZE TABLE '/a'"] {
        assert_eq!(parse(sql, &SqlParserOptions::default()).unwrap_err().kind(), ErrorKind::Syntax, "{sql}");
    }
}

#[test]
fn runs() {
    let options = SqlParserOptions::default();
    let parsed = parse("CALL pond_run('/p', dry_run => true, Pages => -3, name => 'x');", &options).unwrap();
    let PondStatement::Run { path, arguments } = parsed else { panic!("{parsed:?}") };
    let arguments: Vec<_> = arguments.iter().map(|(name, value)| format!("{name} {}", text(value))).collect();
    assert_eq!((path.as_str(), arguments), ("/p", ["dry_run true", "pages -3", "name x"].map(str::to_owned).to_vec()));
    for sql in [
        "CALL pond_run",
        "CALL pond_run()",
        "CALL pond_run(1 + 1)",
        "CALL pond_run('/p', 'q')",
        "CALL pond_run(a => 1)",
    ] {
        assert_eq!(parse(sql, &options).unwrap_err().kind(), ErrorKind::Syntax, "{sql}");
    }
}

#[test]
fn a_location_may_be_left_out() {
    for (sql, location) in [
        ("CREATE EXTERNAL TABLE '/p' STORED AS x OPTIONS ('location' 'y') -- ;", ""),
        ("CREATE EXTERNAL TABLE '/p' STORED AS x; -- a;b", ""),
        ("create or replace external table '/p' stored as x;\n-- the end", ""),
        ("CREATE EXTERNAL TABLE '/p' STORED AS x LOCATION './y'", "./y"),
    ] {
        let parsed = parse(sql, &SqlParserOptions::default());
        let PondStatement::CreateExternal { create, .. } = parsed.unwrap() else { panic!("{sql}") };
        assert_eq!(create.locations, [location], "{sql}");
    }
}

#[test]
fn symlinks() {
    let parsed = parse("CREATE SYMLINK '/a' TO '../b';", &SqlParserOptions::default()).unwrap();
    let PondStatement::CreateSymlink { link, target } = parsed else { panic!("{parsed:?}") };
    assert_eq!((link.to_string().as_str(), target.as_str()), ("'/a'", "../b"));
    assert_eq!(
        parse("CREATE SYMLINK '/a' TO '/b' x", &SqlParserOptions::default()).unwrap_err().kind(),
        ErrorKind::Syntax
    );
}
