//! The shell: arguments, scripts, the prompt, output, and suites of sqllogictest.
//!
//! Everything a user can type goes one way: [`splitter`] cuts it into statements, an executor runs each in one
//! [`PondSession`](crate::PondSession), and a printer of [`mod@format`] writes the result to standard output. Errors go to
//! standard error, and the code of [`exit`] says what kind they were.

pub mod args;
mod cancel;
mod command;
mod executor;
pub mod exit;
mod failure;
pub mod format;
pub mod functions;
pub mod options;
mod output;
mod progress;
mod repl;
mod script;
pub mod slt;
pub mod splitter;

use std::ffi::OsString;
use std::io::{self, BufWriter};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use rustyline::error::ReadlineError;
use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;

use self::args::Args;
use self::cancel::Cancel;
use self::executor::{Executor, report};
use self::exit::ExitStatus;
use self::failure::{Cause, Failure, Origin};
use self::format::View;
use self::options::{Options, Source, Task};
use self::output::Output;
use self::slt::SltOptions;
use crate::{HostFiles, Pond, TransactionStatus};

/// The stacks of the thread that plans, and of those that run queries, in bytes. DataFusion walks deep statements by recursion.
/// What is not touched costs nothing, and where this much is there a session maps no stack of its own for each statement.
const PLANNING_STACK_BYTES: usize = 192 << 20;
const STACK_BYTES: usize = 64 << 20;

/// Runs the shell on a command line, its first word being the program, and returns the code to exit with.
pub fn main(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse(words) {
        Ok(args) => args,
        Err(error) => {
            // Help goes to standard output and is no error; whether either arrives is the reader's matter.
            drop(error.print());
            return if error.use_stderr() { ExitStatus::Usage } else { ExitStatus::Success }.into();
        }
    };
    match Options::new(args) {
        Ok(options) => run(options).into(),
        Err(message) => {
            report(&format!("error: {message}"));
            ExitStatus::Usage.into()
        }
    }
}

/// Runs the shell, on a thread with a large stack.
pub fn run(options: Options) -> ExitStatus {
    show_events();
    let started = thread::Builder::new().name("pondsql".to_owned()).stack_size(PLANNING_STACK_BYTES).spawn(move || {
        let runtime = runtime()?;
        let status = run_in(&runtime, options);
        // A cancelled query may be in the middle of a long computation; the process ends without waiting for it.
        runtime.shutdown_background();
        status
    });
    match started.map(thread::JoinHandle::join) {
        Ok(Ok(Ok(status))) => status,
        Ok(Ok(Err(error))) | Err(error) => {
            report(&format!("error: cannot start: {error}"));
            ExitStatus::Io
        }
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
    }
}

/// Shows what the libraries tell of on standard error: what `RUST_LOG` asks for, else the log's troubles that stop no statement.
fn show_events() {
    let filter = match std::env::var_os("RUST_LOG") {
        Some(_) => EnvFilter::builder().from_env_lossy(),
        None => EnvFilter::new("tlogfs=warn,pondsql::provider::host_listing=warn"),
    };
    let events = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // An application that runs the shell may have its own.
    drop(events.with_ansi(false).try_init());
}

/// A runtime for sessions: several threads, with stacks for deep statements.
///
/// # Errors
/// When the system gives no threads.
pub fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK_BYTES).build()
}

fn run_in(runtime: &Runtime, options: Options) -> io::Result<ExitStatus> {
    let cancel = Cancel::install()?;
    let teller = Teller { color: options.color };
    let pond = match runtime.block_on(Pond::open(&options.pond, options.open)) {
        Ok(pond) => pond,
        Err(error) => return Ok(teller.fail(&Cause::Pond(error).into(), Origin::Start)),
    };
    let status = match options.task {
        Task::Suites { paths, complete, in_place } => {
            let suite = SltOptions { complete, in_place, session: options.session, ..SltOptions::default() };
            let mut out = io::stdout();
            let run = Box::pin(slt::run_paths(&pond, &paths, &suite, &mut out));
            match runtime.block_on(cancel.unless_cancelled(run)).unwrap_or(Err(Cause::Cancelled)) {
                Ok(true) => ExitStatus::Success,
                Ok(false) => ExitStatus::Script,
                Err(cause) => teller.fail(&cause.into(), Origin::Script),
            }
        }
        Task::Statements(source) => {
            let host_files = options.session.host_files == HostFiles::Allowed;
            let session = match pond.session(options.session) {
                Ok(session) => session,
                Err(error) => return Ok(teller.fail(&Cause::Pond(error).into(), Origin::Start)),
            };
            functions::register_cli_functions(session.context(), host_files);
            let view = View { terminal: options.terminal, quiet: options.quiet };
            let output = Output::new(Box::new(BufWriter::new(io::stdout())), options.format, view);
            let cancel = Arc::clone(&cancel);
            let mut executor = Executor::new(session, output, runtime.handle().clone(), cancel, host_files);
            if matches!(source, Source::Prompt { .. }) && !options.quiet {
                report(&format!("pondsql {} on {}; \\? for help", env!("CARGO_PKG_VERSION"), options.pond));
            }
            let status = run_statements(&mut executor, source, teller)?;
            if executor.session.transaction_status() != TransactionStatus::None && status == ExitStatus::Success {
                report("warning: the transaction was not committed, and is rolled back");
            }
            status
        }
    };
    if status == ExitStatus::Cancelled {
        return Ok(status);
    }
    let closed = runtime.block_on(cancel.unless_cancelled(Box::pin(pond.close())));
    // The process ends; to take the tree of a large pond apart node by node would be the longest part of a short statement.
    std::mem::forget(pond);
    Ok(match closed.map_or(Err(Cause::Cancelled), |closed| closed.map_err(Cause::Pond)) {
        Ok(()) => status,
        Err(cause) => match (teller.fail(&cause.into(), Origin::Start), status) {
            (closing, ExitStatus::Success) => closing,
            (_, status) => status,
        },
    })
}

fn run_statements(executor: &mut Executor, source: Source, teller: Teller) -> io::Result<ExitStatus> {
    match source {
        Source::Inputs { inputs, single_transaction } => {
            Ok(match script::run_inputs(executor, &inputs, single_transaction) {
                Ok(()) => ExitStatus::Success,
                Err((failure, origin)) => teller.fail(&failure, origin),
            })
        }
        Source::Prompt { init } => match repl::run(executor, init.as_deref(), &|failure| teller.tell(failure)) {
            Ok(()) => Ok(ExitStatus::Success),
            Err(ReadlineError::Io(error)) => Err(error),
            Err(error) => Err(io::Error::other(error)),
        },
    }
}

/// Tells failures on standard error.
#[derive(Clone, Copy)]
struct Teller {
    color: bool,
}

impl Teller {
    fn tell(self, failure: &Failure) {
        if failure.is_cancelled() {
            report("cancelled");
        } else {
            report(&format!("{} {failure}", if self.color { "\u{1b}[1;31merror:\u{1b}[0m" } else { "error:" }));
        }
    }

    fn fail(self, failure: &Failure, origin: Origin) -> ExitStatus {
        self.tell(failure);
        failure.status(origin)
    }
}
