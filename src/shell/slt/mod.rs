//! Suites of sqllogictest, run as the shell runs statements.
//!
//! Files follow the conventions of DataFusion's own suites, so that those run unchanged where they need no missing data:
//! the column types `B D I P R T ?`, `NULL`, `(empty)`, floats rounded to 12 places, a cell of several lines numbered, the
//! marker `<slt:ignore>`. On top of that, `connection name` opens another session on the same pond, and
//! `skipif`/`onlyif` know the labels `pondsql`, `DataFusion`, and those of [`SltOptions::labels`].

mod cells;
mod connection;
mod files;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqllogictest::{
    Injected, MakeConnection, Normalizer, QueryExpect, Record, Runner, StatementExpect, parse_file,
    strict_column_validator, update_record_with_output,
};

use self::cells::ColumnType;
use self::connection::{Connection, ConnectionError};
pub use self::files::find_files;
use super::executor::host_failure;
use super::failure::Cause;
use crate::{HostFiles, Pond, SessionOptions};

/// The partitions of a query, unless the session's options say otherwise: DataFusion's expected plans are made with it.
const TARGET_PARTITIONS: usize = 4;
/// The failures of one file that are shown in full.
const SHOWN_FAILURES: usize = 10;
const IGNORE_MARKER: &str = "<slt:ignore>";

/// How suites are run.
#[derive(Debug, Clone, Default)]
pub struct SltOptions {
    /// Write the results found into the files, instead of comparing.
    pub complete: bool,
    /// Run each file on the pond itself, instead of on a fresh in-memory copy of it.
    pub in_place: bool,
    /// More labels for `skipif` and `onlyif`.
    pub labels: Vec<String>,
    /// How the sessions are made.
    pub session: SessionOptions,
}

/// What came of one file.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct SltReport {
    /// Statements and queries that were run.
    pub records: usize,
    /// A message for each one that did not give what the file expects, with its place.
    pub failures: Vec<String>,
}

impl SltReport {
    /// The first failures in full, and how many more there are.
    pub fn failures_text(&self) -> String {
        let mut text = String::new();
        for (number, failure) in self.failures.iter().take(SHOWN_FAILURES).enumerate() {
            text.push_str(&format!("{}. {}\n", number + 1, failure.trim_end()));
        }
        if self.failures.len() > SHOWN_FAILURES {
            text.push_str(&format!("… and {} more\n", self.failures.len() - SHOWN_FAILURES));
        }
        text
    }
}

/// Runs one file on a pond, as it is; who wants a copy makes one.
///
/// All records are run, failures included, up to `halt`. Call it within the runtime of [`runtime`](super::runtime): it moves
/// to one of the runtime's threads, which have the stack that deep statements need.
///
/// # Errors
/// When the file cannot be read, understood or (to complete it) written.
pub async fn run_file(pond: Pond, file: PathBuf, options: SltOptions) -> io::Result<SltReport> {
    tokio::spawn(async move { run_here(&pond, &file, &options).await }).await.map_err(io::Error::other)?
}

/// Runs files and directories, tells of each in a line, and returns whether all of it passed.
pub(super) async fn run_paths(
    pond: &Pond,
    paths: &[PathBuf],
    options: &SltOptions,
    out: &mut impl Write,
) -> Result<bool, Cause> {
    let told = |source| Cause::Host { action: "cannot write the report".to_owned(), source };
    let (mut passed, mut failed) = (0_usize, 0_usize);
    for path in paths {
        let name = path.display().to_string();
        for file in find_files(path).map_err(|source| host_failure("read", &name, source))? {
            let name = file.display().to_string();
            let pond = if options.in_place { pond.clone() } else { pond.fork().await? };
            let report = run_file(pond, file, options.clone())
                .await
                .map_err(|source| Cause::Host { action: format!("cannot run '{name}'"), source })?;
            if report.failures.is_empty() {
                passed += 1;
                writeln!(out, "{name} ... ok ({} records)", report.records).map_err(told)?;
            } else {
                failed += 1;
                writeln!(out, "{name} ... FAILED\n{}", report.failures_text().trim_end()).map_err(told)?;
            }
        }
    }
    writeln!(out, "\n{passed} passed, {failed} failed").map_err(told)?;
    Ok(failed == 0)
}

async fn run_here(pond: &Pond, file: &Path, options: &SltOptions) -> io::Result<SltReport> {
    let text_path = file.to_str().ok_or_else(|| io::Error::other("the file's name is not UTF-8"))?;
    let records: Vec<Record<ColumnType>> = parse_file(text_path).map_err(io::Error::other)?;
    let count_rows = Arc::new(AtomicBool::new(false));
    let mut session = options.session.clone();
    session.target_partitions.get_or_insert(TARGET_PARTITIONS);
    let mut runner = Runner::new(|| {
        let made = pond.session(session.clone()).map_err(|error| ConnectionError::new(&error));
        std::future::ready(made.map(|session| Connection::new(session, Arc::clone(&count_rows))))
    });
    // DataFusion's files spell it both ways.
    for label in ["DataFusion", "Datafusion"].into_iter().chain(options.labels.iter().map(String::as_str)) {
        runner.add_label(label);
    }
    runner.with_normalizer(normalize);
    runner.with_validator(validate);
    runner.with_column_validator(strict_column_validator);
    let report = if options.complete {
        complete(&mut runner, records, file, &count_rows, session.host_files).await?
    } else {
        check(&mut runner, records, &count_rows, session.host_files).await
    };
    runner.shutdown_async().await;
    Ok(report)
}

async fn check<M: MakeConnection<Conn = Connection>>(
    runner: &mut Runner<Connection, M>,
    records: Vec<Record<ColumnType>>,
    count_rows: &AtomicBool,
    host_files: HostFiles,
) -> SltReport {
    let mut report = SltReport::default();
    for record in records {
        if matches!(record, Record::Halt { .. }) {
            break;
        }
        report.records += usize::from(is_run(&record));
        if let Some(refused) = refused(&record, host_files) {
            report.failures.push(refused);
            continue;
        }
        count_rows.store(wants_row_count(&record), Ordering::Relaxed);
        if let Err(error) = runner.run_async(record).await {
            report.failures.push(error.to_string());
        }
    }
    report
}

/// Rewrites the file with what its records give now. A record that passes stays as it is, and so does an included file.
///
/// Not the library's `update_test_file`: that one panics on short files, and rewrites what is included.
async fn complete<M: MakeConnection<Conn = Connection>>(
    runner: &mut Runner<Connection, M>,
    records: Vec<Record<ColumnType>>,
    file: &Path,
    count_rows: &AtomicBool,
    host_files: HostFiles,
) -> io::Result<SltReport> {
    let mut report = SltReport::default();
    let mut text = String::new();
    let (mut included, mut halted) = (0_usize, false);
    for record in records {
        match &record {
            Record::Injected(Injected::BeginInclude(_)) => included += 1,
            Record::Injected(Injected::EndInclude(_)) => included -= 1,
            Record::Halt { .. } if included == 0 => halted = true,
            _ => {}
        }
        if matches!(record, Record::Injected(_)) {
            continue;
        }
        let mut written = None;
        if let Some(refused) = refused(&record, host_files).filter(|_| !halted) {
            report.records += 1;
            report.failures.push(refused);
        } else if !halted {
            report.records += usize::from(is_run(&record));
            count_rows.store(wants_row_count(&record), Ordering::Relaxed);
            let output = runner.apply_record(record.clone()).await;
            written = update_record_with_output(&record, &output, " ", validate, normalize, strict_column_validator);
        }
        if included == 0 {
            text.push_str(&written.unwrap_or(record).to_string());
            text.push('\n');
        }
    }
    text.truncate(text.trim_end_matches('\n').len());
    text.push('\n');
    let partial = file.with_extension("slt.part");
    std::fs::write(&partial, text)?;
    std::fs::rename(&partial, file)?;
    Ok(report)
}

/// Why a record is not run: a program of the host can read and write all that the session may not.
fn refused(record: &Record<ColumnType>, host_files: HostFiles) -> Option<String> {
    match record {
        Record::System { loc, command, .. } if host_files == HostFiles::Refused => {
            Some(format!("the program '{command}' is not run: host files are switched off\nat {loc}\n"))
        }
        _ => None,
    }
}

fn is_run(record: &Record<ColumnType>) -> bool {
    matches!(record, Record::Statement { .. } | Record::Query { .. } | Record::System { .. } | Record::Let { .. })
}

/// Whether the record asks how many rows a statement changed (`statement count 3`), rather than for a row that says so.
fn wants_row_count(record: &Record<ColumnType>) -> bool {
    match record {
        Record::Statement { expected, .. } => matches!(expected, StatementExpect::Count(_)),
        Record::Query { expected: QueryExpect::Results { types, results, .. }, .. } => {
            types.is_empty() && results.is_empty()
        }
        _ => false,
    }
}

#[expect(clippy::ptr_arg, reason = "the type is sqllogictest's")]
fn normalize(line: &String) -> String {
    line.trim_end().to_owned()
}

/// Whether the rows are those expected: cells joined with a space, and anything in place of the marker `<slt:ignore>`.
fn validate(normalizer: Normalizer, actual: &[Vec<String>], expected: &[String]) -> bool {
    let actual: Vec<String> = actual.iter().map(|row| row.join(" ").trim_end().to_owned()).collect();
    let expected: Vec<String> = expected.iter().map(normalizer).collect();
    if !expected.iter().any(|line| line.contains(IGNORE_MARKER)) {
        return actual == expected;
    }
    let (actual, expected) = (actual.join("\n"), expected.join("\n"));
    let mut rest = actual.as_str();
    for (number, fragment) in expected.split(IGNORE_MARKER).enumerate() {
        match rest.find(fragment) {
            Some(at) if number > 0 || at == 0 => rest = &rest[at + fragment.len()..],
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OpenOptions;

    #[tokio::test]
    async fn programs_are_not_run_without_host_files() {
        let directory = tempfile::tempdir().unwrap();
        let (suite, made) = (directory.path().join("x.slt"), directory.path().join("made"));
        let text = format!("system ok\ntouch {}\n\nquery I\nSELECT 1\n----\n1\n", made.display());
        std::fs::write(&suite, &text).unwrap();
        let pond = Pond::open("memory:", OpenOptions::default()).await.unwrap();
        for complete in [false, true] {
            let session = SessionOptions { host_files: HostFiles::Refused, ..SessionOptions::default() };
            let options = SltOptions { session, complete, ..SltOptions::default() };
            let report = run_file(pond.clone(), suite.clone(), options).await.unwrap();
            assert_eq!((report.records, report.failures.len()), (2, 1));
            assert!(report.failures[0].contains("host files are switched off"), "{}", report.failures[0]);
            assert!(!made.exists());
            assert_eq!(std::fs::read_to_string(&suite).unwrap(), text);
        }
        let report = run_file(pond, suite, SltOptions::default()).await.unwrap();
        assert_eq!((report.records, report.failures.len()), (2, 0));
        assert!(made.exists());
    }

    fn matches(actual: &[&[&str]], expected: &[&str]) -> bool {
        let actual: Vec<Vec<String>> =
            actual.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect();
        let expected: Vec<String> = expected.iter().map(|line| (*line).to_owned()).collect();
        validate(normalize, &actual, &expected)
    }

    #[test]
    fn rows_are_cells_joined_by_a_space() {
        assert!(matches(&[&["a", "1"], &["b", " "]], &["a 1", "b"]));
        assert!(!matches(&[&["a", "1"]], &["a  1"]));
        assert!(!matches(&[&["a"]], &["a", "b"]));
    }

    #[test]
    fn the_marker_stands_for_anything() {
        assert!(matches(&[&["foo bar baz"]], &["foo <slt:ignore> baz"]));
        assert!(matches(&[&["foo"], &["bar"]], &["<slt:ignore>bar"]));
        assert!(!matches(&[&["foo bar baz"]], &["bar <slt:ignore>"]));
        assert!(!matches(&[&["foo"]], &["foo <slt:ignore> baz"]));
    }
}
