//! Files that go in and out of a pond, and the scripts that are shipped.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::{expect, pondsql, run, run_in, run_with_input, script, start, text};

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
    // The URL of a path is the path, also in another directory.
    std::fs::remove_file(&back).unwrap();
    let (put, get) = (format!("\\put {} pond:///d/x", host.display()), format!("\\get pond:///d/x {}", back.display()));
    let output = run(&["-c", "\\cd /", "-c", &put, "-c", "\\cat pond:///d/x", "-c", &get]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(output.stdout == bytes);
    assert!(std::fs::read(&back).unwrap() == bytes);
    let output = run(&["-c", "\\cat pond://other/d/x"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("'pond://other/d/x' is in the pond 'other', and there is none of that name here")
    );

    let output = run_with_input(&[], &format!("\\get /nothing {}", back.display()));
    assert_eq!(output.status.code(), Some(3));
    assert!(std::fs::read(&back).unwrap() == bytes);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    assert_eq!(run(&["-c", "\\put /nowhere/x /x"]).status.code(), Some(4));
}

#[test]
fn a_raw_file_is_read_as_it_was_told_when_it_was_put() {
    let directory = tempfile::tempdir().unwrap();
    let host = directory.path().join("x.txt");
    std::fs::write(&host, "1;-;x\n2;5;y\n").unwrap();
    let pond = directory.path().join("pond");
    let pond = pond.to_str().unwrap();
    let put = |options: &str| {
        let command = format!("\\put {} /raw/x.txt {options}", host.display());
        run(&[pond, "-c", &command])
    };
    expect(&put("format=csv delimiter=';' header=false null_regex='^-$';"), 0, "");
    // Kept with the version: another process knows it.
    let query = "SELECT column_1 + 1 AS a, column_2 AS b, column_3 AS c FROM '/raw/x.txt' ORDER BY a";
    expect(&run(&[pond, "--format", "csv", "-c", query]), 0, "a,b,c\n2,,x\n3,5,y\n");
    expect(&run(&[pond, "-c", "\\cat /raw/x.txt"]), 0, "1;-;x\n2;5;y\n");
    for (options, says) in [
        ("format=csv delimiter=';;'", "the option 'delimiter' is one character, not ';;'"),
        ("format=csv delimter=';'", "the format 'csv' has no option 'delimter'; it has delimiter, header,"),
        ("format=cvs", "there is no format 'cvs'; there are parquet, arrow, avro, csv, tsv, json"),
        ("delimiter=';'", "'/raw/x.txt' has no known extension: name the format too"),
        ("format=parquet", "the bytes for '/raw/x.txt' cannot be read as told: not a Parquet file"),
        ("format=csv header", "usage: \\put HOST /PATH [NAME=VALUE…]"),
    ] {
        let refused = put(options);
        assert_ne!(refused.status.code(), Some(0), "{options}");
        assert!(text(&refused.stderr).contains(says), "{options}: {}", text(&refused.stderr));
    }
    // What was refused stored nothing.
    expect(&run(&[pond, "--format", "csv", "-c", query]), 0, "a,b,c\n2,,x\n3,5,y\n");
}

#[test]
fn bytes_of_views_and_of_several_versions_come_out() {
    let directory = tempfile::tempdir().unwrap();
    let out = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let input = format!(
        "CREATE TABLE '/s.csv' (n BIGINT) ORDER BY n;\nINSERT INTO '/s.csv' VALUES (2);\nINSERT INTO '/s.csv' VALUES (1);\n\
         CREATE VIEW '/v' AS SELECT n * 10 AS n FROM '/s.csv';\n\
         \\cat /s.csv\n\\get /s.csv '{}'\n\\get /v '{}'\n\\get /v '{}'\nSELECT sum(n) AS s FROM '{}';\n",
        out("s.csv"),
        out("v.ndjson"),
        out("v.parquet"),
        format_args!("file://{}", out("v.parquet")),
    );
    expect(&run_with_input(&["--format", "csv", "-q"], &input), 0, "count\n1\n\ncount\n1\nn\n1\n2\n\ns\n30\n");
    assert_eq!(std::fs::read_to_string(out("s.csv")).unwrap(), "n\n1\n2\n");
    // In the format that the host's file is called by, in whatever order the rows come.
    let lines = std::fs::read_to_string(out("v.ndjson")).unwrap();
    assert_eq!(lines.lines().collect::<BTreeSet<_>>(), BTreeSet::from(["{\"n\":10}", "{\"n\":20}"]));
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
    let names = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let names: BTreeSet<_> = names.map(|name| name.into_string().unwrap()).collect();
    assert_eq!(names, BTreeSet::from(["endless.sql", "s.csv", "v.ndjson", "v.parquet"].map(str::to_owned)));
}

#[cfg(unix)]
#[test]
fn getting_a_file_touches_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let out = |name: &str| directory.path().join(name);
    let get = |name: &str| {
        run(&["-c", "CREATE TABLE '/t' AS SELECT 1 AS n", "-c", &format!("\\get /t '{}'", out(name).display())])
    };
    std::fs::write(out("q.csv.part"), "mine").unwrap();
    expect(&get("q.csv"), 0, "");
    assert_eq!(std::fs::read_to_string(out("q.csv.part")).unwrap(), "mine");
    // What a link leads to is written, and the link stays one.
    std::fs::write(out("real.csv"), "old").unwrap();
    std::os::unix::fs::symlink("real.csv", out("link.csv")).unwrap();
    expect(&get("link.csv"), 0, "");
    assert_eq!(std::fs::read_link(out("link.csv")).unwrap(), Path::new("real.csv"));
    assert_eq!(std::fs::read_to_string(out("real.csv")).unwrap(), "n\n1\n");
    // What is no file stays what it is.
    std::fs::create_dir(out("d.csv")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(out("pipe.csv")).status().unwrap().success());
    for name in ["d.csv", "pipe.csv"] {
        let refused = get(name);
        assert_eq!(refused.status.code(), Some(1), "{name}");
        let says = format!("cannot write to '{}': it is no regular file", out(name).display());
        assert!(text(&refused.stderr).contains(&says), "{}", text(&refused.stderr));
    }
    assert!(out("d.csv").is_dir() && !out("pipe.csv").is_file());
    let refused = get("none/q.csv");
    assert_eq!(refused.status.code(), Some(4));
    assert!(text(&refused.stderr).contains("there is no directory"), "{}", text(&refused.stderr));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 6);
}

/// The tour of the documentation prints what it is to print, in memory and on a disk.
#[test]
fn the_quickstart_prints_what_it_printed() {
    let directory = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let golden = std::fs::read_to_string(root.join("tests/quickstart.out")).unwrap();
    let pond = directory.path().join("pond").to_str().unwrap().to_owned();
    for pond in ["memory:", &pond] {
        expect(&run_in(root, &[pond, "-f", "sql/quickstart.sql"]), 0, &golden);
    }
    // The pond stays.
    expect(&run(&[&pond, "--format", "csv", "-c", "SELECT count(*) AS days FROM '/derived/daily'"]), 0, "days\n1092\n");
}

/// Where a folder is that is named from the directory of the program, or from the user's home, is found out each time.
#[test]
fn a_folder_is_relative_to_where_the_program_runs() {
    let directory = tempfile::tempdir().unwrap();
    for (place, row) in [("here", 1), ("there", 2), ("there/home", 3)] {
        let folder = directory.path().join(place).join("in");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("t.csv"), format!("a\n{row}\n")).unwrap();
    }
    let pond = directory.path().join("pond").to_str().unwrap().to_owned();
    let (here, there) = (directory.path().join("here"), directory.path().join("there"));
    let run_at = |place: &Path, home: &Path, sql: &str| {
        pondsql().current_dir(place).env("HOME", home).args([&pond, "--format", "csv", "-c", sql]).output().unwrap()
    };
    let made = "CREATE EXTERNAL TABLE '/rel' STORED AS DIRECTORY LOCATION './in'; \
                CREATE EXTERNAL TABLE '/up' STORED AS DIRECTORY LOCATION '../here/in'; \
                CREATE EXTERNAL TABLE '/home' STORED AS DIRECTORY LOCATION '~/in'";
    expect(&run_at(&here, &there, made), 0, "");
    let rows = "SELECT directory, a FROM pond('/{directory}/t.csv') ORDER BY directory";
    expect(&run_at(&here, &there, rows), 0, "directory,a\nhome,2\nrel,1\nup,1\n");
    // Another directory, another home.
    let home = there.join("home");
    expect(&run_at(&there, &home, rows), 0, "directory,a\nhome,3\nrel,2\nup,1\n");
    // Neither is written down with where it was.
    let shown = "path,create_statement\n/home,CREATE EXTERNAL TABLE '/home' STORED AS DIRECTORY LOCATION '~/in'\n";
    expect(&run_at(&there, &home, "SHOW CREATE TABLE '/home'"), 0, shown);
    let lost = run_at(directory.path(), directory.path(), "SELECT * FROM '/rel/t.csv'");
    assert!(text(&lost.stderr).contains("cannot list '/rel': there is no folder './in'"), "{}", text(&lost.stderr));
    let lost = run_at(directory.path(), directory.path(), "SELECT * FROM '/home/t.csv'");
    assert!(text(&lost.stderr).contains("cannot list '/home': there is no folder '~/in'"), "{}", text(&lost.stderr));
    // The folder itself, with and without a '/' behind it.
    std::fs::create_dir(directory.path().join("in")).unwrap();
    std::fs::write(directory.path().join("in/t.csv"), "a\n4\n").unwrap();
    for (location, row) in [(".", 2), ("./", 2), ("..", 4), ("../", 4), ("~", 3), ("~/", 3)] {
        let made = format!(
            "CREATE EXTERNAL TABLE '/at' STORED AS DIRECTORY LOCATION '{location}' OPTIONS ('pattern' 'in/*.csv')"
        );
        expect(&run_at(&there, &home, &made), 0, "");
        expect(&run_at(&there, &home, "SELECT a FROM '/at/in/t.csv'"), 0, &format!("a\n{row}\n"));
        let shown = format!("path,create_statement\n/at,{made}\n");
        expect(&run_at(&there, &home, "SHOW CREATE TABLE '/at'"), 0, &shown);
        let refused = [pond.as_str(), "--no-host", "-c", "SELECT a FROM '/at/in/t.csv'"];
        let refused = pondsql().current_dir(&there).env("HOME", &home).args(refused).output().unwrap();
        assert_eq!(refused.status.code(), Some(1), "{}", text(&refused.stderr));
        let says = format!("'{location}' is outside of the pond, and host files are switched off");
        assert!(text(&refused.stderr).contains(&says), "{}", text(&refused.stderr));
        expect(&run_at(&there, &home, "DROP TABLE '/at'"), 0, "");
    }
    let homeless = pondsql().env_remove("HOME").args([&pond, "-c", "SELECT * FROM '/home/t.csv'"]).output().unwrap();
    assert_eq!(homeless.status.code(), Some(1), "{}", text(&homeless.stderr));
    assert!(text(&homeless.stderr).contains("'~' needs HOME to be set"), "{}", text(&homeless.stderr));
}

/// So do the shapes of derived files. What it counts and averages agrees with the file of readings itself.
#[test]
fn the_shapes_of_derived_files_print_what_they_printed() {
    let directory = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let golden = std::fs::read_to_string(root.join("tests/derived.out")).unwrap();
    let pond = directory.path().join("pond").to_str().unwrap().to_owned();
    for pond in ["memory:", &pond] {
        expect(&run_in(root, &[pond, "-f", "sql/derived.sql"]), 0, &golden);
    }
    // The pond stays, with families that show what they show.
    let sql = "SELECT count(*) AS views FROM pond_ls('/{combined,joined,pivoted,reduced}/**') WHERE kind = 'view'";
    expect(&run(&[&pond, "--format", "csv", "-c", sql]), 0, "views\n21\n");
}
