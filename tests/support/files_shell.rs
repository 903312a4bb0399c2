//! Files that are stored as they are, and stored ones that are damaged, through the program.

use std::path::Path;

use super::{expect, run, text};

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
            assert_eq!((output.status.code(), text(&output.stdout)), (Some(4), ""), "{path}, {length}: {stderr}");
            let place = format!("('{path}', version {version})");
            assert!(stderr.contains(&place) && stderr.contains("is damaged: "), "{path}, {length}: {stderr}");
        }
        expect(&run(&[pond, "--format", "csv", "-c", &count("/g/a*")]), 0, "c,s\n20000,200010000\n");
        std::fs::write(&part, whole).unwrap();
    }
    expect(&run(&[pond, "--format", "csv", "-c", &count("/g/*")]), 0, "c,s\n80000,800040000\n");
}
