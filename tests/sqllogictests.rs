//! Runs `tests/sqllogictest/**/*.slt`, each file on a pond in memory (`memory::name`) and on one on disk (`delta::name`).
//!
//! `cargo test --test sqllogictests [FILTER]`. With `-- --complete`, or `SLT_COMPLETE=1`, the results found are written into
//! the files instead; read the diff.
//!
//! `parity::memory` and `parity::delta` run the statements of `tests/parity/*.sql`, which give what DataFusion gives
//! without a pond.

mod parity;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use pondsql::shell::slt::{self, SltOptions};
use pondsql::{OpenOptions, Pond};
use tokio::runtime::Runtime;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let (flags, words): (Vec<String>, Vec<String>) = std::env::args().partition(|word| word == "--complete");
    let complete = !flags.is_empty() || std::env::var_os("SLT_COMPLETE").is_some_and(|value| value == "1");
    let arguments = Arguments::from_iter(words);
    let runtime = Arc::new(pondsql::shell::runtime()?);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sqllogictest");
    let mut trials = Vec::new();
    for file in slt::find_files(&root)? {
        let name = file.strip_prefix(&root)?.with_extension("").display().to_string();
        // One writer a file.
        let stores: &[Store] = if complete { &[Store::Memory] } else { &[Store::Memory, Store::Delta] };
        for store in stores {
            let (runtime, file, store) = (Arc::clone(&runtime), file.clone(), *store);
            let trial = move || run(&runtime, file, store, complete);
            let trial = Trial::test(format!("{}::{name}", store.label()), trial);
            trials.push(trial.with_ignored_flag(needs_what_is_not_there(&name)));
        }
    }
    if !complete {
        trials.push(Trial::test("parity::count", || parity::check_count().map_err(|error| error.to_string().into())));
        for store in [Store::Memory, Store::Delta] {
            let runtime = Arc::clone(&runtime);
            trials.push(Trial::test(format!("parity::{}", store.label()), move || run_parity(&runtime, store)));
        }
    }
    Ok(libtest_mimic::run(&arguments, trials).exit_code())
}

/// Whether a file is about a part of the program that was left out of it.
fn needs_what_is_not_there(name: &str) -> bool {
    name == "hydrovu" && cfg!(not(feature = "hydrovu"))
}

#[derive(Clone, Copy)]
enum Store {
    Memory,
    Delta,
}

impl Store {
    fn label(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Delta => "delta",
        }
    }
}

/// Where a pond is whose files are in `directory`.
fn location(store: Store, directory: &Path) -> Result<String, Failed> {
    match store {
        Store::Memory => Ok("memory:".to_owned()),
        Store::Delta => Ok(directory.join("pond").to_str().ok_or("the temporary directory is not UTF-8")?.to_owned()),
    }
}

fn run_parity(runtime: &Runtime, store: Store) -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let location = location(store, directory.path())?;
    let done = runtime.block_on(async {
        let pond = Pond::open(&location, OpenOptions::default()).await?;
        parity::run(&pond, &directory.path().join("parts")).await?;
        pond.close().await?;
        Ok::<_, Box<dyn Error>>(())
    });
    done.map_err(|error| error.to_string().into())
}

fn run(runtime: &Runtime, file: PathBuf, store: Store, complete: bool) -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let location = location(store, directory.path())?;
    let options = SltOptions { complete, labels: vec![store.label().to_owned()], ..SltOptions::default() };
    let report = runtime.block_on(async {
        let pond = Pond::open(&location, OpenOptions::default()).await?;
        let report = slt::run_file(pond.clone(), file, options).await?;
        pond.close().await?;
        Ok::<_, Box<dyn Error>>(report)
    });
    let report = report.map_err(|error| error.to_string())?;
    if report.failures.is_empty() { Ok(()) } else { Err(report.failures_text().into()) }
}
