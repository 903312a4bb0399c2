//! `HYDROVU` as a user runs it: the program as a process, against a service on loopback.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Duration;

use super::hydrovu_service::{Answer, CLIENT_ID, CREDENTIALS, Paging, SECRET, Service, device, hourly, noyo};
use super::{commits, expect, pondsql, script, start, text};

const VARIABLE: &str = "PONDSQL_TEST_HYDROVU_SECRET";

fn create(service: &Service) -> String {
    let url = service.url();
    format!(
        "CREATE EXTERNAL TABLE '/hydrovu' STORED AS HYDROVU LOCATION '{url}' \
         OPTIONS ('client_id' '{CLIENT_ID}', 'client_secret' 'env:{VARIABLE}', 'allow_private' 'true')"
    )
}

fn with_secret(words: &[&str]) -> Command {
    let mut command = pondsql();
    let _ = command.args(words).env(VARIABLE, SECRET);
    command
}

#[test]
fn the_story_of_the_seed_ends_with_11669() {
    let service = Service::start(noyo());
    let directory = tempfile::tempdir().unwrap();
    let pond = directory.path().join("pond");
    let words = [pond.to_str().unwrap(), "--format", "csv", "-c", &create(&service), "-f", "sql/hydrovu.sql"];
    let output = with_secret(&words).output().unwrap();
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(printed.ends_with("\nrows\n11669\n"), "{printed}");
    for line in [
        "4990594334457856,BDockVulink,10000,2024-01-01T00:00:00Z,2025-02-20T15:00:00Z,41,ok,,0",
        "/hydrovu/devices/6154708427603968/BDockAT500.series,file,1,11400",
        "6187749627789312,PrincessAT500,2000,2024-01-01T00:00:00Z,2024-03-24T07:00:00Z,9,ok,1 reading skipped: 1 before the start (1970-01-01T00:00:07Z),1",
        "BDock,11669,10000,11400,2024-01-01T00:00:00Z,2025-05-01T04:00:00Z",
        "Silver,8000,6704,8000,2024-01-01T00:00:00Z,2024-11-29T07:00:00Z",
        "/test-locations/Princess",
        "/reduced/Silver/1 day",
    ] {
        assert!(printed.lines().any(|found| found == line), "{line} is not in\n{printed}");
    }
    // Once more: the same answers, one request a device, and nothing new.
    let before = service.count("/data");
    let words = [pond.to_str().unwrap(), "--format", "csv", "-f", "sql/hydrovu.sql"];
    let output = with_secret(&words).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let again = text(&output.stdout);
    assert!(again.ends_with("\nrows\n11669\n"), "{again}");
    assert!(again.lines().any(|line| line == "4990594334457856,BDockVulink,0,,,1,ok,,0"), "{again}");
    assert!(again.lines().any(|line| line == "/hydrovu/devices/6154708427603968/BDockAT500.series,file,1,11400"));
    assert_eq!(service.count("/data") - before, 7);
}

#[test]
fn the_story_is_the_same_in_memory() {
    let service = Service::start(noyo());
    let output = with_secret(&["memory:", "--format", "csv", "-c", &create(&service), "-f", "sql/hydrovu.sql"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    assert!(printed.ends_with("\nrows\n11669\n"), "{printed}");
    assert!(printed.lines().any(|line| line == "BDock,11669,10000,11400,2024-01-01T00:00:00Z,2025-05-01T04:00:00Z"));
}

#[test]
fn options_choose_what_a_run_reads() {
    let readings = || vec![hourly("1", "1", 1, 0..100)];
    let service = Service::start(vec![device("7", "A", readings()), device("8", "B", readings())]);
    service.page_by(Paging::Even(10));
    let chosen = "'allow_private' 'true', 'devices' '8, 9', 'page_limit' '3', 'start' '2024-01-02T00:00:00Z')";
    let sql = create(&service).replace("'allow_private' 'true')", chosen);
    let run = "CALL pond_run('/hydrovu')";
    let output = with_secret(&["--format", "csv", "-c", &format!("{sql}; {run}; {run}; {run}")]).output().unwrap();
    let header = "device,name,rows,from_time,to_time,pages,status,error,skipped";
    let missing = "9,,0,,,0,failed,the service lists no device 9,0";
    // Three pages of ten; what is sure to be whole is asked for once more.
    let rows = [
        "30,2024-01-02T00:00:00Z,2024-01-03T05:00:00Z,6,more",
        "30,2024-01-03T06:00:00Z,2024-01-04T11:00:00Z,6,more",
        "16,2024-01-04T12:00:00Z,2024-01-05T03:00:00Z,2,ok",
    ];
    let printed = rows.map(|row| format!("{header}\n8,B,{row},,0\n{missing}\n")).join("\n");
    expect(&output, 0, &printed);
}

#[test]
fn what_is_stored_is_looked_at_without_a_request() {
    let service = Service::start(vec![device("7", "Small", vec![hourly("1", "1", 1, 0..10)])]);
    let directory = tempfile::tempdir().unwrap();
    let pond = directory.path().join("pond");
    let pond = pond.to_str().unwrap();
    expect(&with_secret(&[pond, "-q", "-c", &create(&service)]).output().unwrap(), 0, "");
    let run = "CALL pond_run('/hydrovu', dry_run => true); CALL pond_run('/hydrovu')";
    let output = with_secret(&[pond, "--format", "csv", "-c", run]).output().unwrap();
    let header = "device,name,rows,from_time,to_time,pages,status,error,skipped";
    let row = |status: &str| format!("7,Small,10,2024-01-01T00:00:00Z,2024-01-01T09:00:00Z,2,{status},,0");
    expect(&output, 0, &format!("{header}\n{}\n\n{header}\n{}\n", row("dry run"), row("ok")));
    let before = service.requests().len();
    // Without the secret, too.
    let look = "SELECT path, kind, rows FROM pond_ls('/hydrovu/**'); SHOW CREATE TABLE '/hydrovu'; \
                SELECT count(*) AS n FROM '/hydrovu/devices/7/Small.series'; DESCRIBE '/hydrovu/devices/7/Small.series'";
    let output = pondsql().args([pond, "--format", "csv", "-c", look]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    for line in [
        "/hydrovu/devices,directory,",
        "/hydrovu/devices/7,directory,",
        "/hydrovu/devices/7/Small.series,file,10",
        "/hydrovu/locations,file,1",
        "timestamp,\"Timestamp(s, \"\"+00:00\"\")\",NO",
        "Temperature.C,Float64,YES",
    ] {
        assert!(printed.lines().any(|found| found == line), "{line} is not in\n{printed}");
    }
    assert!(printed.contains(&format!("'client_secret' 'env:{VARIABLE}'")) && !printed.contains(SECRET), "{printed}");
    assert_eq!(service.requests().len(), before);
    // A run needs it.
    let output = pondsql().args([pond, "-c", "CALL pond_run('/hydrovu')"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(&format!("the environment variable {VARIABLE} is not set")));
}

const KILLED: [&str; 6] = ["1", "2", "3", "4", "5", "6"];

#[test]
fn a_killed_run_loses_nothing_and_doubles_nothing() {
    let devices = KILLED.map(|id| {
        let parameters = vec![hourly("1", "1", 1, 0..400), hourly("20", "117", 2, 0..400)];
        device(id, &format!("D{id}"), parameters)
    });
    let service = Service::start(devices.to_vec());
    service.page_by(Paging::Uneven(60));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pond");
    let pond = path.to_str().unwrap();
    expect(&with_secret(&[pond, "-c", &create(&service)]).output().unwrap(), 0, "");

    // Killed when two devices are stored, and the others have begun.
    service.hook(|request| {
        let goes_on = request.headers.contains_key("x-isi-start-page");
        let others = !["/1/data", "/2/data"].iter().any(|path| request.path.ends_with(path));
        (request.path.ends_with("/data") && goes_on && others).then_some(Answer::Silence)
    });
    let before = commits(&path);
    let mut child = start(with_secret(&[pond, "-c", "CALL pond_run('/hydrovu')"]).stdin(Stdio::null()));
    while commits(&path) < before + 3 {
        assert!(child.try_wait().unwrap().is_none(), "it waits for the service");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    let _ = child.wait().unwrap();
    assert_eq!(stored(pond), [("1", 400), ("2", 400)].map(|(id, rows)| format!("{id},{rows},{rows},{rows},{rows}")));

    // Killed at some request or other, in the middle of whatever is done then.
    for kill_at in [9, 23, 37, 50] {
        let (seen, wait) = mpsc::channel();
        let (seen, count) = (Mutex::new(seen), Mutex::new(0));
        service.hook(move |request| {
            let mut count = count.lock().unwrap();
            *count += usize::from(request.path.ends_with("/data"));
            if *count == kill_at {
                let _ = seen.lock().unwrap().send(());
            }
            None
        });
        let mut child = start(with_secret(&[pond, "-c", "CALL pond_run('/hydrovu')"]).stdin(Stdio::null()));
        // Or there is less than that left to do.
        while wait.recv_timeout(Duration::from_millis(10)).is_err() && child.try_wait().unwrap().is_none() {}
        child.kill().unwrap();
        let _ = child.wait().unwrap();
        for line in stored(pond) {
            assert!(line.ends_with(",400,400,400,400"), "a device is stored whole or not at all: {line}");
        }
    }
    service.unhook();
    let output = with_secret(&[pond, "-q", "-c", "CALL pond_run('/hydrovu')"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(stored(pond), KILLED.map(|id| format!("{id},400,400,400,400")));
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_keeps_what_it_had_and_is_continued() {
    let readings = || vec![hourly("1", "1", 1, 0..100), hourly("20", "117", 2, 0..100)];
    let service = Service::start(vec![device("1", "A", readings()), device("2", "B", readings())]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pond");
    let pond = path.to_str().unwrap();
    expect(&with_secret(&[pond, "-c", &create(&service)]).output().unwrap(), 0, "");

    // The second device is never answered, so that the run is at it when it is stopped.
    service.hook(|request| request.path.ends_with("/2/data").then_some(Answer::Silence));
    let before = commits(&path);
    let mut child = start(with_secret(&[pond, "-c", "CALL pond_run('/hydrovu')"]).stdin(Stdio::null()));
    // The locations, and the first device.
    while commits(&path) < before + 2 {
        assert!(child.try_wait().unwrap().is_none(), "it waits for the service");
        std::thread::yield_now();
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(stored(pond), ["1,100,100,100,100"]);

    service.unhook();
    let output = with_secret(&[pond, "-q", "-c", "CALL pond_run('/hydrovu')"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(stored(pond), ["1,100,100,100,100", "2,100,100,100,100"]);
}

/// Of each device that is stored: its id, rows, distinct times, and values of both columns.
fn stored(pond: &str) -> Vec<String> {
    let sql = "SELECT id, count(*), count(DISTINCT timestamp), count(\"Temperature.C\"), count(\"DO.mg/L\") \
               FROM pond('/hydrovu/devices/{id}/*.series') GROUP BY id ORDER BY id";
    let output = pondsql().args([pond, "--format", "csv", "-c", sql]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout).lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn the_secret_is_in_no_error_no_log_and_no_byte_of_the_pond() {
    let service = Service::start(vec![device("7", "Small", vec![hourly("1", "1", 1, 0..10)])]);
    let directory = tempfile::tempdir().unwrap();
    let pond = directory.path().join("pond");
    let path = pond.to_str().unwrap();
    let create = create(&service);
    let mut shown = Vec::new();
    let mut run = |sql: &str, secret: &str| {
        let mut command = pondsql();
        let _ = command.args([path, "-c", sql]).env(VARIABLE, secret).env("RUST_LOG", "trace");
        let output = command.output().unwrap();
        shown.extend([output.stdout, output.stderr]);
        output.status.code()
    };
    // A wrong one, those that are written out, whole and in statements that do not parse, and the right one.
    assert_eq!(run(&create, &format!("{SECRET}!")), Some(1));
    let written = create.replace(&format!("env:{VARIABLE}"), SECRET);
    let broken = [
        (" OPTIONS (", " OPTIONS "),
        ("'client_secret' ", "'client_secret', "),
        ("'noyo', 'client_secret'", "'client_secret'"),
        ("EXTERNAL", "EXTRENAL"),
        ("CREATE EXTERNAL", "/* a comment of many words before it */ CREATE EXTERNAL TABLE"),
    ];
    for sql in [written.clone()].into_iter().chain(broken.map(|(from, to)| written.replace(from, to))) {
        assert!(sql.contains(SECRET));
        assert_eq!(run(&sql, SECRET), Some(1), "{sql}");
    }
    assert_eq!(run(&create, SECRET), Some(0));
    assert_eq!(run("CALL pond_run('/hydrovu')", SECRET), Some(0));
    service.hook(|request| {
        let body = format!("{SECRET} {:?}", request.headers);
        request
            .path
            .ends_with("/data")
            .then(|| Answer::Whole(403, vec![("x-echo", SECRET.to_owned())], body.into_bytes()))
    });
    assert_eq!(run("CALL pond_run('/hydrovu')", SECRET), Some(4));
    service.unhook();
    for sql in [
        "SHOW CREATE TABLE '/hydrovu'",
        "EXPLAIN SELECT * FROM pond('/hydrovu/devices/*/*.series')",
        "SELECT * FROM pond_log()",
        "SELECT * FROM pond_ls('/**')",
        "SELECT * FROM pond_factories()",
        "SELECT * FROM information_schema.tables",
    ] {
        assert_eq!(run(sql, SECRET), Some(0), "{sql}");
    }
    // The libraries were heard.
    let events: usize = shown.iter().map(|bytes| text(bytes).matches("TRACE ").count()).sum();
    assert!(events > 100, "{events}");
    let mut files = BTreeSet::new();
    bytes_below(&pond, &mut files);
    assert!(files.len() > 5);
    shown.extend(files);
    for bytes in shown {
        for secret in [SECRET, CREDENTIALS, "token-1"] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{}", String::from_utf8_lossy(&bytes));
        }
    }
}

fn bytes_below(directory: &Path, files: &mut BTreeSet<Vec<u8>>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => bytes_below(&path, files),
            false => drop(files.insert(std::fs::read(&path).unwrap())),
        }
    }
}

#[test]
fn what_is_wrong_is_told_when_the_entry_is_made() {
    let service = Service::start(vec![device("7", "Small", vec![hourly("1", "1", 1, 0..10)])]);
    let directory = tempfile::tempdir().unwrap();
    let url = service.url();
    for (location, options, says) in [
        (url.as_str(), "'client_secret' 'env:X', 'allow_private' 'true'", "HYDROVU needs the option 'client_id'"),
        (&url, "'client_id' 'noyo', 'allow_private' 'true'", "HYDROVU needs the option 'client_secret'"),
        (
            &url,
            "'client_id' 'noyo', 'client_secret' 'hunter2', 'allow_private' 'true'",
            "the option 'client_secret' is a secret",
        ),
        (&url, "'client_id' 'noyo', 'client_secret' 'env:X', 'allow_privat' 'true'", "did you mean 'allow_private'?"),
        (&url, "'client_id' 'noyo', 'client_secret' 'env:X'", "with 'http' the secret could be read on its way"),
        ("https://127.0.0.1", "'client_id' 'noyo', 'client_secret' 'env:X'", "127.0.0.1 is a private address"),
        ("https://localhost", "'client_id' 'noyo', 'client_secret' 'env:X'", "localhost is at the private address"),
        (&url, "'client_id' 'noyo', 'client_secret' 'env:NO_SUCH', 'allow_private' 'true'", "NO_SUCH is not set"),
        (&url, "'client_id' 'other', 'client_secret' 'env:X', 'allow_private' 'true'", "refuses client_id 'other'"),
        (
            &url,
            "'client_id' 'noyo', 'client_secret' 'env:X', 'allow_private' 'true', 'page_limit' '0'",
            "a number of pages, at least 1",
        ),
    ] {
        let sql = format!("CREATE EXTERNAL TABLE '/h' STORED AS HYDROVU LOCATION '{location}' OPTIONS ({options})");
        let file = script(directory.path(), "a.sql", &sql);
        let output = pondsql().args(["-f", &file]).env("X", SECRET).output().unwrap();
        let error = text(&output.stderr);
        assert!(matches!(output.status.code(), Some(3 | 4)), "{error}");
        assert!(error.contains(says), "{says}: {error}");
    }
    // Who is refused by a service that can be reached is told there, and not at the service.
    let sql = create(&service).replace(&format!("'{CLIENT_ID}'"), "'other'");
    let column = sql.find("'other'").unwrap() + 1;
    let output = with_secret(&["-c", &sql]).output().unwrap();
    let says = format!(
        "cannot sign in: {url}/public-api/oauth/token refuses client_id 'other' with this client_secret: \
         401 Unauthorized (line 1, column {column})"
    );
    assert!(text(&output.stderr).contains(&says), "{says}: {}", text(&output.stderr));
    let output = with_secret(&["--no-host", "-c", &create(&service)]).output().unwrap();
    assert!(text(&output.stderr).contains("switched off"), "{}", text(&output.stderr));
}

#[test]
fn a_run_that_fails_for_every_device_is_an_error() {
    let service = Service::start(vec![
        device("7", "Good", vec![hourly("1", "1", 1, 0..10)]),
        device("8", "Bad", vec![hourly("1", "1", 1, 0..10)]),
    ]);
    service.hook(|request| request.path.ends_with("/8/data").then(|| Answer::html("<h1>down</h1>")));
    let sql = format!("{}; CALL pond_run('/hydrovu')", create(&service));
    let output = with_secret(&["--format", "csv", "-c", &sql]).output().unwrap();
    let bad = format!(
        "{}/public-api/v1/locations/8/data answers with what is not JSON (text/html, at line 1, column 1)",
        service.url()
    );
    let header = "device,name,rows,from_time,to_time,pages,status,error,skipped";
    let good = "7,Good,10,2024-01-01T00:00:00Z,2024-01-01T09:00:00Z,2,ok,,0";
    expect(&output, 0, &format!("{header}\n{good}\n8,Bad,0,,,0,failed,\"{bad}\",0\n"));
    service.hook(|request| request.path.ends_with("/data").then(|| Answer::html("<h1>down</h1>")));
    let output = with_secret(&["--format", "csv", "-c", &sql]).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(4), ""));
    assert!(text(&output.stderr).contains("all 2 devices failed; the first: http://"), "{}", text(&output.stderr));
}
