//! The program as a user runs it: what goes to standard output, what to standard error, and the code it ends with.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

#[cfg(feature = "hydrovu")]
#[path = "support/hydrovu_shell.rs"]
mod hydrovu;
#[cfg(feature = "hydrovu")]
#[expect(dead_code, reason = "other tests do more with it")]
#[path = "support/hydrovu_service.rs"]
mod hydrovu_service;

fn pondsql() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pondsql"));
    command.env_remove("POND").env_remove("NO_COLOR").stdin(Stdio::null());
    command
}

fn run(words: &[&str]) -> Output {
    pondsql().args(words).output().unwrap()
}

fn run_with_input(words: &[&str], input: &str) -> Output {
    let mut child = start(pondsql().args(words).stdin(Stdio::piped()));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[track_caller]
fn expect(output: &Output, code: i32, stdout: &str) {
    assert_eq!(text(&output.stdout), stdout, "stderr: {}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "stderr: {}", text(&output.stderr));
    if code == 0 {
        assert_eq!(text(&output.stderr), "");
    } else {
        assert!(!output.stderr.is_empty());
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn script(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn commands_and_files_run_in_order_in_one_session() {
    let directory = tempfile::tempdir().unwrap();
    let insert = script(directory.path(), "insert.sql", "INSERT INTO '/t' VALUES (2);\nINSERT INTO '/t' VALUES (3)");
    let words = [
        "--format=csv",
        "-c",
        "CREATE TABLE '/t' (a BIGINT)",
        "-f",
        &insert,
        "-c",
        "SELECT sum(a) AS s FROM '/t'",
        "-c",
        "INSERT INTO '/t' VALUES (4), (5)",
    ];
    expect(&run(&words), 0, "count\n1\n\ncount\n1\n\ns\n5\n\ncount\n2\n");
}

#[test]
fn a_comment_or_nothing_is_a_fine_command() {
    expect(&run(&["-c", "-- a comment"]), 0, "");
    expect(&run(&["-c", ""]), 0, "");
    expect(&run_with_input(&[], " ;;\n-- nothing\n"), 0, "");
}

#[test]
fn a_semicolon_in_a_comment_or_string_ends_nothing() {
    let sql = "SELECT ';' AS a -- one; two;\n, '''' AS b /* ; */; SELECT $$;$$ AS c";
    expect(&run(&["--format", "csv", "-c", sql]), 0, "a,b\n;,'\n\nc\n;\n");
    let overwrite = "CREATE TABLE '/t' (a INT); INSERT INTO '/t' VALUES (1), (2), (3);\n\
                     INSERT OVERWRITE '/t' SELECT a FROM '/t' -- purge old rows;\nWHERE a > 1;\nSELECT sum(a) AS s FROM '/t'";
    expect(&run_with_input(&["--format", "csv"], overwrite), 0, "count\n3\n\ncount\n2\n\ns\n5\n");
}

#[test]
fn csv_keeps_null_apart_from_empty() {
    let sql = "SELECT 1 AS n, 'a,b' AS s, CAST(NULL AS VARCHAR) AS z, '' AS e, TIMESTAMP '2024-01-02T03:04:05' AS t";
    expect(&run(&["--format", "csv", "-c", sql]), 0, "n,s,z,e,t\n1,\"a,b\",,\"\",2024-01-02T03:04:05\n");
    expect(&run(&["--format", "csv", "-c", "SELECT 1 AS n WHERE false"]), 0, "n\n");
}

#[test]
fn json_is_whole_and_nested() {
    let sql = "SELECT 1.5 AS x, NULL AS z, [1, 2] AS l; SELECT 'é\n' AS s";
    expect(&run(&["--format", "json", "-c", sql]), 0, "[{\"x\":1.5,\"z\":null,\"l\":[1,2]}]\n\n[{\"s\":\"é\\n\"}]\n");
    expect(
        &run(&["--format", "ndjson", "-c", "SELECT * FROM (VALUES (1, 'a'), (2, NULL)) v(n, s) ORDER BY n"]),
        0,
        "{\"n\":1,\"s\":\"a\"}\n{\"n\":2,\"s\":null}\n",
    );
}

#[test]
fn machine_formats_are_never_cut() {
    let output = run(&["--format", "csv", "-c", "SELECT value FROM generate_series(1, 100000)"]);
    assert_eq!(output.status.code(), Some(0));
    let lines: Vec<&str> = text(&output.stdout).lines().collect();
    assert_eq!((lines.len(), lines[1], lines[100_000]), (100_001, "1", "100000"));
}

#[test]
fn a_table_that_no_terminal_shows_has_all_rows_and_no_footer() {
    let output = run(&["-c", "SELECT value AS n FROM generate_series(1, 100)"]);
    assert_eq!(text(&output.stdout).lines().count(), 104);
    expect(&run(&["-c", "SELECT 1 AS n, 'a' AS s"]), 0, "+---+---+\n| n | s |\n+---+---+\n| 1 | a |\n+---+---+\n");
    expect(&run(&["--color", "always", "-c", "SELECT 1 AS n"]), 0, "+---+\n| n |\n+---+\n| 1 |\n+---+\n");
}

#[test]
fn an_error_in_a_command_ends_with_one() {
    let output = run(&["--format", "csv", "-c", "SELECT 1 AS a", "-c", "SELECT nope", "-c", "SELECT 2 AS b"]);
    expect(&output, 1, "a\n1\n");
    assert!(text(&output.stderr).starts_with("error: "), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("nope"));
}

#[test]
fn an_error_stops_a_script_with_three_and_tells_where() {
    let directory = tempfile::tempdir().unwrap();
    let file = script(directory.path(), "bad.sql", "SELECT 1 AS a;\n\nSELECT\n  nope;\nSELECT 2 AS b;");
    let output = run(&["--format", "csv", "-f", &file]);
    expect(&output, 3, "a\n1\n");
    assert!(text(&output.stderr).starts_with(&format!("error: {file}:3: ")), "{}", text(&output.stderr));

    let output = run_with_input(&["--format", "csv"], "SELECT 1 AS a;\nSELECT\n 1 + * 2;\n");
    expect(&output, 3, "a\n1\n");
    let stderr = text(&output.stderr);
    assert!(stderr.starts_with("error: <stdin>:3: "), "{stderr}");
    assert!(stderr.ends_with("  3 |  1 + * 2\n    |      ^\n"), "{stderr}");
}

#[test]
fn usage_ends_with_two() {
    for words in [
        &["--nope"][..],
        &["--format", "xml"],
        &["--memory", "much", "-c", "SELECT 1"],
        &["--param", "novalue", "-c", "SELECT 1"],
        &["--complete"],
        &["one", "two"],
    ] {
        let output = run(words);
        expect(&output, 2, "");
    }
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("Exit codes"));
}

#[test]
fn a_file_that_cannot_be_opened_ends_with_four() {
    let output = run(&["-c", "SELECT 1 AS a", "--format", "csv", "-f", "/nowhere/x.sql"]);
    expect(&output, 4, "a\n1\n");
    assert!(text(&output.stderr).contains("cannot open '/nowhere/x.sql'"));
}

#[test]
fn standard_input_runs_as_it_arrives() {
    let mut child = start(pondsql().args(["--format", "csv"]).stdin(Stdio::piped()));
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdin.write_all(b"SELECT 1 AS a;\n").unwrap();
    stdout.read_line(&mut line).unwrap();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "a\n1\n");
    stdin.write_all(b"SELECT 2\n AS b").unwrap();
    drop(stdin);
    line.clear();
    stdout.read_to_string(&mut line).unwrap();
    assert_eq!(line, "\nb\n2\n");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn standard_input_can_stand_among_the_inputs() {
    let output =
        run_with_input(&["--format", "csv", "-c", "SELECT 1 AS a", "-f", "-", "-c", "SELECT 3 AS c"], "SELECT 2 AS b");
    expect(&output, 0, "a\n1\n\nb\n2\n\nc\n3\n");
}

#[test]
fn one_transaction_leaves_all_or_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let pond = directory.path().join("pond");
    let pond = pond.to_str().unwrap();
    let bad = script(directory.path(), "bad.sql", "INSERT INTO '/t' VALUES (1);\nSELECT nope;");
    expect(&run(&[pond, "-c", "CREATE TABLE '/t' (a BIGINT)"]), 0, "");

    let output = run(&[pond, "--format", "csv", "-1", "-c", "INSERT INTO '/t' VALUES (7)", "-f", &bad]);
    expect(&output, 3, "count\n1\n\ncount\n1\n");
    expect(&run(&[pond, "--format", "csv", "-c", "SELECT count(*) AS n FROM '/t'"]), 0, "n\n0\n");

    let output =
        run(&[pond, "--format", "csv", "-1", "-c", "INSERT INTO '/t' VALUES (7)", "-c", "INSERT INTO '/t' VALUES (8)"]);
    expect(&output, 0, "count\n1\n\ncount\n1\n");
    expect(&run(&[pond, "--format", "csv", "-c", "SELECT sum(a) AS s FROM '/t'"]), 0, "s\n15\n");

    let output = run(&[pond, "--format", "csv", "-1", "-c", "INSERT INTO '/t' VALUES (9); /* half */ commit"]);
    expect(&output, 1, "count\n1\n");
    assert!(text(&output.stderr).contains("leave BEGIN, COMMIT and ROLLBACK out"), "{}", text(&output.stderr));
    expect(&run(&[pond, "--format", "csv", "-c", "SELECT sum(a) AS s FROM '/t'"]), 0, "s\n15\n");
}

#[test]
fn a_script_may_begin_with_a_byte_order_mark() {
    let directory = tempfile::tempdir().unwrap();
    let path = script(directory.path(), "bom.sql", "\u{feff}SELECT 1 AS a;");
    expect(&run(&["--format", "csv", "-f", &path]), 0, "a\n1\n");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = start(pondsql().args(["--format", "csv", "-c", "SELECT value FROM generate_series(1, 10000000)"]));
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "value\n");
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
}

#[cfg(unix)]
#[test]
fn an_interrupt_cancels_with_130() {
    let sql = "SELECT 'ready' AS a; SELECT count(*) FROM generate_series(1, 1000000000000)";
    let mut child = start(pondsql().args(["--format", "csv", "-c", sql]));
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut lines = String::new();
    stdout.read_line(&mut lines).unwrap();
    stdout.read_line(&mut lines).unwrap();
    assert_eq!(lines, "a\nready\n");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn backslash_commands_work_in_scripts() {
    let directory = tempfile::tempdir().unwrap();
    let inner = script(directory.path(), "inner.sql", "SELECT 2 AS b;\n\\q\nSELECT 3 AS never;");
    let input = format!("SELECT 1 AS a;\n\\format csv\n\\i {inner}\nSELECT 4 AS d;\n\\q\nSELECT 5 AS never;");
    expect(&run_with_input(&["--format", "ndjson"], &input), 0, "{\"a\":1}\n\nb\n2\n\nd\n4\n");

    let output = run_with_input(&[], "\n\\nope\nSELECT 1");
    expect(&output, 3, "");
    assert!(text(&output.stderr).contains("<stdin>:2: '\\nope' is no command"), "{}", text(&output.stderr));

    let loops = script(directory.path(), "loop.sql", "");
    script(directory.path(), "loop.sql", &format!("\\i {loops}"));
    expect(&run(&["-f", &loops]), 3, "");
    expect(&run(&["--no-host", "-c", "\\i x.sql"]), 1, "");
}

#[test]
fn files_go_in_and_out_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let host = directory.path().join("in.bin");
    let bytes: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(&host, &bytes).unwrap();
    let back = directory.path().join("out.bin");
    let sql = format!("\\put {} /d/x\n\\cd /d\n\\cat x\n\\get x {}\n", host.display(), back.display());
    let output = run_with_input(&[], &sql);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(output.stdout == bytes);
    assert!(std::fs::read(&back).unwrap() == bytes);

    let output = run_with_input(&[], &format!("\\get /nothing {}", back.display()));
    assert_eq!(output.status.code(), Some(3));
    assert!(std::fs::read(&back).unwrap() == bytes);
    assert!(!directory.path().join("out.bin.part").exists());
    assert_eq!(run(&["-c", "\\put /nowhere/x /x"]).status.code(), Some(4));
}

#[test]
fn suites_are_run_and_completed() {
    let directory = tempfile::tempdir().unwrap();
    let suite = script(
        directory.path(),
        "a.slt",
        "statement ok\nCREATE TABLE t AS VALUES (1, 'x'), (2, NULL)\n\nquery IT rowsort\nSELECT * FROM t\n----\n2 NULL\n1 x\n",
    );
    let output = run(&["--slt", directory.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("FAILED"), "{}", text(&output.stdout));
    assert!(text(&output.stdout).ends_with("\n0 passed, 1 failed\n"));

    let completed = run(&["--slt", &suite, "--complete"]);
    assert_eq!(completed.status.code(), Some(0), "{}", text(&completed.stdout));
    assert!(std::fs::read_to_string(&suite).unwrap().ends_with("----\n1 x\n2 NULL\n"));
    let output = run(&["--slt", &suite]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), format!("{suite} ... ok (2 records)\n\n1 passed, 0 failed\n"));
    assert_eq!(run(&["--slt", "/nowhere.slt"]).status.code(), Some(4));
}

#[test]
fn bytes_of_views_and_of_several_versions_come_out() {
    let directory = tempfile::tempdir().unwrap();
    let out = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let input = format!(
        "CREATE TABLE '/s.csv' (n BIGINT) ORDER BY n;\nINSERT INTO '/s.csv' VALUES (2);\nINSERT INTO '/s.csv' VALUES (1);\n\
         CREATE VIEW '/v' AS SELECT n * 10 AS n FROM '/s.csv';\n\
         \\cat /s.csv\n\\get /s.csv '{}'\n\\get /v '{}'\nSELECT sum(n) AS s FROM '{}';\n",
        out("s.csv"),
        out("v.parquet"),
        format_args!("file://{}", out("v.parquet")),
    );
    expect(&run_with_input(&["--format", "csv", "-q"], &input), 0, "count\n1\n\ncount\n1\nn\n1\n2\n\ns\n30\n");
    assert_eq!(std::fs::read_to_string(out("s.csv")).unwrap(), "n\n1\n2\n");
    // The reader goes away, and the query with it.
    let endless = "CREATE VIEW '/e.csv' AS SELECT value AS n FROM generate_series(1, 1000000000000);\n\\cat /e.csv\n";
    let endless = script(directory.path(), "endless.sql", endless);
    let mut child = start(pondsql().args(["-f", &endless]));
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "n");
    assert_eq!(lines.next().unwrap().unwrap(), "1");
    drop(lines);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // A failure leaves what was there.
    let failing = format!(
        "CREATE VIEW '/f.csv' AS SELECT 1 / (value - 50000) AS n FROM generate_series(1, 100000);\n\\get /f.csv '{}'\n",
        out("s.csv")
    );
    assert_eq!(run_with_input(&[], &failing).status.code(), Some(3));
    assert_eq!(std::fs::read_to_string(out("s.csv")).unwrap(), "n\n1\n2\n");
    assert!(!directory.path().join("s.csv.part").exists());
}
