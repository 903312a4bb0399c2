//! The program as a user runs it: what goes to standard output, what to standard error, and the code it ends with.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

#[cfg(unix)]
#[path = "support/docs_shell.rs"]
mod docs;
#[path = "support/files_shell.rs"]
mod files;
#[cfg(unix)]
#[path = "support/directory_shell.rs"]
mod folders;
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

fn run_in(directory: &Path, words: &[&str]) -> Output {
    pondsql().current_dir(directory).args(words).output().unwrap()
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

/// How many transactions a pond on the disk has.
#[cfg(any(unix, feature = "hydrovu"))]
fn commits(pond: &Path) -> usize {
    let names = std::fs::read_dir(pond.join("_delta_log")).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_str().unwrap().ends_with(".json")).count()
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

/// A pond with two transactions: `/t` has the rows 1 and 2.
fn pond_in(directory: &Path, name: &str) -> String {
    let pond = directory.join(name).to_str().unwrap().to_owned();
    let words =
        [&pond, "--format", "csv", "-c", "CREATE TABLE '/t' (n BIGINT)", "-c", "INSERT INTO '/t' VALUES (1), (2)"];
    expect(&run(&words), 0, "count\n2\n");
    pond
}

/// Names, sizes and contents below a directory.
fn tree(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut files, mut waiting) = (BTreeMap::new(), vec![directory.to_owned()]);
    while let Some(at) = waiting.pop() {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path.clone());
            }
            let bytes = if path.is_dir() { Vec::new() } else { std::fs::read(&path).unwrap() };
            files.insert(path, bytes);
        }
    }
    files
}

fn flip_the_middle(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x20;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_part_among_others_is_told_by_path_and_version_and_the_others_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let pond = directory.path().join("pond");
    let pond = pond.to_str().unwrap();
    let rows = "SELECT value AS n, random() AS x FROM generate_series(1, 20000)";
    for sql in [
        format!("CREATE TABLE '/g/a.series' AS {rows}"),
        format!("CREATE TABLE '/g/b.series' AS {rows}"),
        format!("INSERT INTO '/g/b.series' {rows}"),
    ] {
        assert_eq!(run(&[pond, "-c", &sql]).status.code(), Some(0), "{sql}");
    }
    let copied = format!("COPY ({rows}) TO '/g/c.csv'");
    expect(&run(&[pond, "--format", "csv", "-c", &copied]), 0, "count\n20000\n");
    let count = |glob: &str| format!("SELECT count(*) AS c, sum(n) AS s FROM pond('{glob}') WHERE x >= 0");
    for (path, version) in [("/g/b.series", 2), ("/g/c.csv", 1)] {
        let hash = format!("SELECT blake3 FROM pond_versions('{path}') WHERE version = {version}");
        let hash = run(&[pond, "--format", "csv", "-c", &hash]);
        let hash = text(&hash.stdout).lines().nth(1).unwrap().to_owned();
        let part = Path::new(pond).join("_content").join(&hash[..2]).join(&hash);
        let whole = std::fs::read(&part).unwrap();
        for length in [whole.len(), whole.len() / 2, 0] {
            let mut bytes = whole.clone();
            bytes.truncate(length);
            bytes.iter_mut().skip(length / 2).take(1).for_each(|byte| *byte ^= 0x20);
            std::fs::remove_file(&part).unwrap();
            std::fs::write(&part, bytes).unwrap();
            let output = run(&[pond, "--format", "csv", "-c", &count("/g/*")]);
            let stderr = text(&output.stderr);
            assert_eq!(output.status.code(), Some(4), "{path}, {length}: {stderr}");
            // The line of names at most.
            assert!(["", "c,s\n"].contains(&text(&output.stdout)), "{path}, {length}: {}", text(&output.stdout));
            let place = format!("('{path}', version {version})");
            assert!(stderr.contains(&place) && stderr.contains("is damaged: "), "{path}, {length}: {stderr}");
            assert!(stderr.contains(" (the other files, 2, were not checked)"), "{path}, {length}: {stderr}");
        }
        expect(&run(&[pond, "--format", "csv", "-c", &count("/g/a*")]), 0, "c,s\n20000,200010000\n");
        std::fs::write(&part, whole).unwrap();
    }
    expect(&run(&[pond, "--format", "csv", "-c", &count("/g/*")]), 0, "c,s\n80000,800040000\n");
}

/// What is damaged, how, and what the message says.
type Damage<'a> = (&'a str, &'a dyn Fn(&Path), &'a str);

#[test]
fn what_is_damaged_or_not_there_has_its_code_and_message() {
    let log_files = |pond: &Path| -> Vec<PathBuf> {
        let mut files: Vec<_> = tree(&pond.join("log")).into_keys().collect();
        files.sort();
        files
    };
    let entry = |pond: &Path, number: u8| pond.join(format!("_delta_log/0000000000000000000{number}.json"));
    let damages: [Damage<'_>; 7] = [
        (
            "the rows of the newest transaction",
            &|pond| flip_the_middle(&log_files(pond)[1]),
            "the log file of transaction 2 (log/00000000000000000002-",
        ),
        (
            "the rows of all transactions",
            &|pond| log_files(pond).iter().for_each(|file| flip_the_middle(file)),
            "is damaged: its bytes are not those that were written",
        ),
        (
            "an empty entry",
            &|pond| std::fs::write(entry(pond, 1), "").unwrap(),
            "the entry of transaction 1 (_delta_log/00000000000000000001.json) holds no rows: it is damaged",
        ),
        (
            "an entry that is no JSON",
            &|pond| std::fs::write(entry(pond, 2), "{\"add\": nothing").unwrap(),
            "the entry of transaction 2 (_delta_log/00000000000000000002.json) is damaged: ",
        ),
        (
            "an entry that is gone",
            &|pond| std::fs::remove_file(entry(pond, 1)).unwrap(),
            "_delta_log/00000000000000000001.json is gone, and later entries are there",
        ),
        (
            "the first entry is gone",
            &|pond| std::fs::remove_file(entry(pond, 0)).unwrap(),
            "_delta_log/00000000000000000000.json is gone, and later entries are there",
        ),
        (
            "all entries are gone",
            &|pond| std::fs::remove_dir_all(pond.join("_delta_log")).unwrap(),
            "but its log is gone: restore _delta_log",
        ),
    ];
    let directory = tempfile::tempdir().unwrap();
    for (number, (what, damage, message)) in damages.into_iter().enumerate() {
        let pond = pond_in(directory.path(), &format!("pond{number}"));
        damage(Path::new(&pond));
        let before = tree(Path::new(&pond));
        let script = script(directory.path(), "read.sql", "FROM '/t';");
        for words in [["-c", "FROM '/t'"], ["-f", &script], ["-c", "INSERT INTO '/t' SELECT n FROM '/t'"]] {
            let output = run(&[&pond, words[0], words[1]]);
            let stderr = text(&output.stderr);
            assert_eq!((output.status.code(), text(&output.stdout)), (Some(4), ""), "{what}, {words:?}: {stderr}");
            assert!(stderr.starts_with("error: ") && stderr.contains(message), "{what}, {words:?}: {stderr}");
        }
        assert!(tree(Path::new(&pond)) == before, "{what}: nothing is written");
    }
}

#[test]
fn what_is_refused_or_not_found_has_its_code_and_message() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let pond = pond_in(directory.path(), "pond");
    let script = script(directory.path(), "none.sql", "SELECT 1 AS a;\nFROM '/none';");
    let (none, file, other) = (at("nowhere"), at("file"), at("other"));
    std::fs::write(&file, "no pond").unwrap();
    std::fs::create_dir(&other).unwrap();
    std::fs::write(at("other/x.txt"), "no pond").unwrap();
    std::fs::write(at("empty.parquet"), "").unwrap();
    std::fs::write(at("magic.parquet"), "PAR1PAR1").unwrap();
    expect(
        &run_in(
            directory.path(),
            &["--format=csv", "-c", "COPY (SELECT value AS n FROM generate_series(1, 1000)) TO './whole.parquet'"],
        ),
        0,
        "count\n1000\n",
    );
    let mut bytes = std::fs::read(at("whole.parquet")).unwrap();
    bytes.truncate(bytes.len() / 2);
    std::fs::write(at("cut.parquet"), bytes).unwrap();
    let before = tree(directory.path());

    let refused: [(&[&str], i32, &str, String); 17] = [
        (&[&pond, "--read-only", "-c", "INSERT INTO '/t' VALUES (3)"], 1, "", "the session is read-only".into()),
        (&[&pond, "--read-only", "-c", "DROP TABLE '/t'"], 1, "", "the session is read-only".into()),
        (&[&none, "--read-only", "-c", "CREATE TABLE '/t' (n INT)"], 1, "", "the session is read-only".into()),
        (&[&pond, "-c", "FROM '/none'"], 1, "", "no entry '/none': '/' has 't'".into()),
        (&[&pond, "-c", "SELECT 1 / (n - n) FROM '/t'"], 1, "Int64(1) / /t.n - /t.n\n", "Divide by zero".into()),
        (&[&pond, "-c", "FROM '/t/x'"], 1, "", "cannot reach '/t/x': '/t' is a file, not a directory".into()),
        (&[&pond, "-f", &script], 3, "a\n1\n", format!("{script}:2: no entry '/none': '/' has 't'")),
        (&["-c", "FROM './empty.parquet'"], 4, "", "cannot read './empty.parquet': not a Parquet file: 0 bytes".into()),
        (&["-c", "FROM './magic.parquet'"], 4, "", "cannot read './magic.parquet': not a Parquet file: 8 bytes".into()),
        (
            &["-c", "FROM './cut.parquet'"],
            4,
            "",
            "cannot read './cut.parquet': not a Parquet file: it does not end".into(),
        ),
        (&["-c", "FROM './nothing.parquet'"], 4, "", "there is no file './nothing.parquet'".into()),
        (&[&file, "-c", "FROM '/t'"], 4, "", format!("there is no pond at '{file}': a file is in its place")),
        (
            &[&file, "-c", "CREATE TABLE '/t' (n INT)"],
            4,
            "",
            format!("there is no pond at '{file}': a file is in its place"),
        ),
        (
            &[&other, "-c", "FROM '/t'"],
            4,
            "",
            format!("no pond can be made at '{other}': the directory holds other files"),
        ),
        (&[&other, "-c", "CREATE TABLE '/t' (n INT)"], 4, "", format!("no pond can be made at '{other}': ")),
        (&[&none, "-c", "FROM '/t'"], 1, "", "no entry '/t': '/' is empty".into()),
        (
            &[&none, "--as-of", "1", "-c", "FROM '/t'"],
            1,
            "",
            "as_of: transaction 1 is in the future, the newest is 0".into(),
        ),
    ];
    for (words, code, stdout, message) in refused {
        let output = run_in(directory.path(), &[&["--format", "csv"], words].concat());
        let stderr = text(&output.stderr);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(code), stdout), "{words:?}: {stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(&message), "{words:?}: {stderr}");
    }
    assert!(tree(directory.path()) == before, "nothing is written");
    expect(&run(&[&pond, "--read-only", "--format", "csv", "-c", "SELECT sum(n) AS s FROM '/t'"]), 0, "s\n3\n");
}

#[test]
fn the_past_has_its_views_and_globs() {
    let directory = tempfile::tempdir().unwrap();
    let pond = directory.path().join("pond").to_str().unwrap().to_owned();
    let history = "CREATE TABLE '/d/a' AS SELECT 1 AS n;\n\
                   CREATE VIEW '/v' AS SELECT k, sum(n) AS s FROM pond('/d/{k}') GROUP BY k;\n\
                   CREATE TABLE '/d/b' AS SELECT 10 AS n;\n\
                   INSERT INTO '/d/a' VALUES (100);\n\
                   CREATE OR REPLACE VIEW '/v' AS SELECT 'none' AS k;\n\
                   DROP TABLE '/d/a';\n";
    let output = run_with_input(&[&pond], history);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let listed = "SELECT path, rows FROM pond_ls('/*/*') ORDER BY path";
    for (txn, view, list) in [
        ("2", "k,s\na,1\n", "path,rows\n/d/a,1\n"),
        ("3", "k,s\na,1\nb,10\n", "path,rows\n/d/a,1\n/d/b,1\n"),
        ("4", "k,s\na,101\nb,10\n", "path,rows\n/d/a,2\n/d/b,1\n"),
        ("5", "k\nnone\n", "path,rows\n/d/a,2\n/d/b,1\n"),
        ("6", "k\nnone\n", "path,rows\n/d/b,1\n"),
    ] {
        let words = [&pond, "--format", "csv", "--as-of", txn, "-c", "FROM '/v' ORDER BY k", "-c", listed];
        expect(&run(&words), 0, &format!("{view}\n{list}"));
    }
    let before = tree(Path::new(&pond));
    for (txn, sql, message) in [
        ("1", "FROM '/v'", "no entry '/v': '/' has 'd'"),
        ("7", "FROM '/v'", "transaction 7 is in the future, the newest is 6"),
        ("soon", "FROM '/v'", "'soon' is neither a transaction's number nor a time"),
        ("4", "INSERT INTO '/d/a' VALUES (1)", "read-only"),
    ] {
        let output = run(&[&pond, "--as-of", txn, "-c", sql]);
        expect(&output, 1, "");
        assert!(text(&output.stderr).contains(message), "{txn}: {}", text(&output.stderr));
    }
    assert!(tree(Path::new(&pond)) == before, "nothing is written");
}

#[test]
fn parameters_have_their_values_and_memory_its_limit() {
    let words =
        ["--format", "csv", "--param", "site=BDock", "--param", "$n=40", "-c", "SELECT $site AS s, $n + 2 AS n"];
    expect(&run(&words), 0, "s,n\nBDock,42\n");
    let output = run(&["--param", "site=BDock", "-c", "SELECT $place AS s"]);
    expect(&output, 1, "");
    assert!(text(&output.stderr).contains("$place"), "{}", text(&output.stderr));
    // A view would mean another value each time.
    let output = run(&["--param", "n=5", "-c", "CREATE VIEW '/v' AS SELECT 1 AS n WHERE 1 < $n"]);
    expect(&output, 1, "");
    let message = "the view '/v' cannot have the parameter $n: it keeps its text, and no values; write the value out";
    assert!(text(&output.stderr).contains(message), "{}", text(&output.stderr));

    let sorted = "SELECT count(*) AS n, sum(v) AS s, min(v) AS least\n\
                  FROM (SELECT value AS v, row_number() OVER (ORDER BY value DESC) AS r FROM generate_series(1, 300000))\n\
                  WHERE r <= 1000";
    let words = ["--format", "csv", "--memory", "200MB", "-c", sorted, "-c", "SHOW datafusion.runtime.memory_limit"];
    expect(&run(&words), 0, "n,s,least\n1000,299500500,299001\n\nname,value\ndatafusion.runtime.memory_limit,190M\n");
    // The names of the columns are there before a row is, and before it is known that there will be none.
    let all = "SELECT array_length(array_agg(value)) AS n FROM generate_series(1, 3000000)";
    let output = run(&["--format", "csv", "--memory", "1MB", "-c", all]);
    expect(&output, 1, "n\n");
    assert!(text(&output.stderr).contains("Additional allocation failed"), "{}", text(&output.stderr));
}

#[test]
fn suites_run_on_a_copy_unless_they_are_to_run_in_place() {
    let directory = tempfile::tempdir().unwrap();
    let pond = pond_in(directory.path(), "pond");
    let suite = script(
        directory.path(),
        "a.slt",
        "statement ok\nINSERT INTO '/t' VALUES (10)\n\nquery I\nSELECT sum(n) FROM '/t'\n----\n13\n",
    );
    let sum = || text(&run(&[&pond, "--format", "csv", "-c", "SELECT sum(n) AS s FROM '/t'"]).stdout).to_owned();
    let passed = format!("{suite} ... ok (2 records)\n\n1 passed, 0 failed\n");
    for _ in 0..2 {
        expect(&run(&[&pond, "--slt", &suite]), 0, &passed);
        assert_eq!(sum(), "s\n3\n");
    }
    expect(&run(&[&pond, "--slt", &suite, "--slt-in-place"]), 0, &passed);
    assert_eq!(sum(), "s\n13\n");
    let again = run(&[&pond, "--slt", &suite, "--slt-in-place"]);
    assert_eq!(again.status.code(), Some(3));
    assert!(text(&again.stdout).contains("-   13\n+   23\n"), "{}", text(&again.stdout));
}

/// What a terminal is given when `command` runs on one, by the program `script`; `None` where there is no such program, as not on every
/// machine with a compiler.
#[cfg(target_os = "linux")]
fn on_a_terminal(command: &str, typed: &str, prepare: impl FnOnce(&mut Command)) -> Option<Output> {
    let _ = Command::new("script").arg("--version").output().ok()?;
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", command, "/dev/null"]).stdin(Stdio::piped());
    script.env_remove("POND").env("TERM", "dumb");
    prepare(&mut script);
    let mut child = start(&mut script);
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    Some(child.wait_with_output().unwrap())
}

/// How far a run is stands on one line, which each message replaces, and which is empty again before anything is printed.
#[cfg(target_os = "linux")]
#[test]
fn a_run_shows_on_a_terminal_how_far_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("in");
    std::fs::create_dir(&folder).unwrap();
    for name in ["one.csv", "two.csv"] {
        std::fs::write(folder.join(name), "a\n1\n").unwrap();
    }
    let made = "CREATE EXTERNAL TABLE '/in' STORED AS DIRECTORY LOCATION './in' OPTIONS ('into' '/kept');\n";
    let file = script(directory.path(), "run.sql", &format!("{made}CALL pond_run('/in');\nSELECT 'after' AS a;\n"));
    let command = format!("{} --format csv -f {file}", env!("CARGO_BIN_EXE_pondsql"));
    let here = |script: &mut Command| {
        let _ = script.current_dir(directory.path());
    };
    let Some(output) = on_a_terminal(&command, "", here) else { return };
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let rows = "name,action,bytes,version,error\r\none.csv,added,4,1,\r\ntwo.csv,added,4,1,\r\n\r\na\r\nafter\r\n";
    let shown = format!("\r\u{1b}[K1 of 2: one.csv\r\u{1b}[K2 of 2: two.csv\r\u{1b}[K{rows}");
    assert_eq!(text(&output.stdout), shown);

    // Nor does it stay where the run fails.
    let taken = "CREATE TABLE '/kept/one.csv' AS SELECT 2 AS a;\nCREATE VIEW '/kept/two.csv' AS SELECT 3 AS a;\n";
    let file = script(directory.path(), "run.sql", &format!("{made}{taken}CALL pond_run('/in');\n"));
    let command = format!("{} --quiet --format csv --color never -f {file}", env!("CARGO_BIN_EXE_pondsql"));
    let output = on_a_terminal(&command, "", here).unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stdout));
    let (_, told) = text(&output.stdout).split_once("\r\u{1b}[K2 of 2: two.csv\r\u{1b}[K").unwrap();
    assert!(
        told.starts_with(&format!("error: {file}:4: the run of '/in' failed: all 2 files failed; the first: ")),
        "{told}"
    );

    // Where standard error is no terminal, it is not told at all.
    let sql = format!("{made}CALL pond_run('/in')");
    let rows = "name,action,bytes,version,error\none.csv,added,4,1,\ntwo.csv,added,4,1,\n";
    expect(&run_in(directory.path(), &["--format", "csv", "-c", &sql]), 0, rows);
}

#[cfg(target_os = "linux")]
#[test]
fn the_prompt_runs_the_start_up_script_unless_told_not_to() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("pondsql");
    std::fs::create_dir(&config).unwrap();
    script(&config, "init.sql", "CREATE TABLE '/init' AS SELECT 'of the script' AS x;\nFROM '/init';");
    for (option, lines) in [("", ["x", "of the script", "n", "1"].as_slice()), ("--no-init", &["n", "0"])] {
        let program = format!("{} --quiet --format csv {option}", env!("CARGO_BIN_EXE_pondsql"));
        let typed = "SELECT count(*) AS n FROM pond_ls('/*');\n\\q\n";
        let output = on_a_terminal(&program, typed, |script| {
            let state = directory.path().join("state");
            let _ = script.env("XDG_CONFIG_HOME", directory.path()).env("XDG_STATE_HOME", state);
        });
        let Some(output) = output else { return };
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
        // What is typed is shown too, and the prompt.
        let shown: Vec<&str> = text(&output.stdout)
            .lines()
            .map(|line| line.trim_start_matches("pond:/>").trim())
            .filter(|line| !line.is_empty() && !typed.contains(&format!("{line}\n")))
            .collect();
        assert_eq!(shown, lines, "{option}: {}", text(&output.stdout));
    }
    // Nor does it run without a prompt.
    let output = pondsql()
        .args(["--format=csv", "-c", "SELECT count(*) AS n FROM pond_ls('/*')"])
        .env("XDG_CONFIG_HOME", directory.path())
        .output();
    expect(&output.unwrap(), 0, "n\n0\n");
}
