//! `DIRECTORY` as a user runs it, where a test of SQL cannot say it: files that cannot be read, and a run that is killed.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use super::{commits, expect, pondsql, run_in, start, text};

const CREATE: &str = "CREATE EXTERNAL TABLE '/in' STORED AS DIRECTORY LOCATION './in' OPTIONS ('into' '/kept')";
const RUN: &str = "CALL pond_run('/in')";

fn folder(directory: &Path) -> PathBuf {
    let folder = directory.join("in");
    std::fs::create_dir(&folder).unwrap();
    folder
}

#[test]
fn a_file_that_cannot_be_read_takes_no_other_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let folder = folder(directory.path());
    std::fs::write(folder.join("good.csv"), "a\n1\n").unwrap();
    // Nobody can open a socket as a file. Files that a user must not read can be read by root.
    let _socket = UnixListener::bind(folder.join("socket.csv")).unwrap();
    let secret = folder.join("secret.csv");
    std::fs::write(&secret, "a\n2\n").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o000)).unwrap();
    let is_root = std::fs::read(&secret).is_ok();

    let run = |sql: &str| run_in(directory.path(), &["pond", "--format", "csv", "-c", sql]);
    expect(&run(CREATE), 0, "");
    let listed = run("SELECT name FROM pond_ls('/in')");
    expect(&listed, 0, "name\ngood.csv\nsecret.csv\nsocket.csv\n");
    expect(&run("SELECT a FROM '/in/good.csv'"), 0, "a\n1\n");
    for name in ["socket.csv", "secret.csv"] {
        if is_root && name == "secret.csv" {
            continue;
        }
        for from in [format!("'/in/{name}'"), "pond('/in/*')".to_owned()] {
            let output = run(&format!("SELECT a FROM {from}"));
            assert_eq!((output.status.code(), text(&output.stdout)), (Some(4), ""), "{from}");
            if !from.contains('*') {
                let says = format!("cannot read '/in/{name}': cannot read './in/{name}': ");
                assert!(text(&output.stderr).contains(&says), "{}", text(&output.stderr));
            }
        }
    }
    let output = run(RUN);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let lines: Vec<&str> = text(&output.stdout).lines().collect();
    assert_eq!((lines.len(), lines[1]), (4, "good.csv,added,4,1,"));
    match is_root {
        true => assert_eq!(lines[2], "secret.csv,added,4,1,"),
        false => assert!(lines[2].starts_with("secret.csv,failed,,,cannot read './in/secret.csv': "), "{}", lines[2]),
    }
    assert!(lines[3].starts_with("socket.csv,failed,,,cannot read './in/socket.csv': "), "{}", lines[3]);
    // When it can be read it is as any other.
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::remove_file(folder.join("socket.csv")).unwrap();
    assert_eq!(run(RUN).status.code(), Some(0));
    let kept = run("SELECT name, a FROM pond('/kept/{name}.csv') ORDER BY name");
    expect(&kept, 0, "name,a\ngood,1\nsecret,2\n");
}

/// How many files of two rows the folder has.
const FILES: usize = 60;

#[test]
fn a_killed_run_of_a_folder_loses_nothing_and_doubles_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let folder = folder(directory.path());
    let name = |at: usize| format!("{at:02}.csv");
    for at in 0..FILES {
        std::fs::write(folder.join(name(at)), format!("a\n{at}\n{at}\n")).unwrap();
    }
    let pond = directory.path().join("pond");
    expect(&run_in(directory.path(), &["pond", "-c", CREATE]), 0, "");
    let before = commits(&pond);

    // Killed in the middle of a file, of 8 GiB that the disk need not have.
    let slow = folder.join(name(20));
    std::fs::File::create(&slow).unwrap().set_len(8 << 30).unwrap();
    killed(directory.path(), before + 20);
    assert_eq!(kept(directory.path()), (0..20).collect::<Vec<_>>());
    assert_eq!(commits(&pond), before + 20);
    std::fs::remove_file(&slow).unwrap();
    std::fs::write(&slow, "a\n20\n20\n").unwrap();

    // Killed right after some file or other, in the middle of whatever is done then.
    for files in [21, 27, 34, 42, 51] {
        killed(directory.path(), before + files);
        let kept = kept(directory.path());
        assert!(kept.len() >= files && kept.iter().copied().eq(0..kept.len()), "{files}: {kept:?}");
    }
    let output = run_in(directory.path(), &["pond", "-q", "-c", RUN]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(kept(directory.path()), (0..FILES).collect::<Vec<_>>());
    assert_eq!(commits(&pond), before + FILES);
}

/// Runs the folder, and kills it when the pond has so many transactions.
fn killed(directory: &Path, until: usize) {
    let pond = directory.join("pond");
    let mut command = pondsql();
    let mut child = start(command.current_dir(directory).args(["pond", "-q", "-c", RUN]));
    while commits(&pond) < until && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    let _ = child.wait().unwrap();
}

/// The numbers of the files that the pond has. Each has its two rows, in one version.
fn kept(directory: &Path) -> Vec<usize> {
    let sql = "SELECT k.name, l.versions, count(*), min(k.a), max(k.a) FROM pond('/kept/{name}.csv') k \
               JOIN pond_ls('/kept') l ON l.name = k.name || '.csv' GROUP BY k.name, l.versions ORDER BY k.name";
    let output = run_in(directory, &["pond", "--format", "csv", "-c", sql]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let number = |line: &str| {
        let at: usize = line.split(',').next().unwrap().parse().unwrap();
        assert_eq!(line, format!("{at:02},1,2,{at},{at}"));
        at
    };
    text(&output.stdout).lines().skip(1).map(number).collect()
}
