//! Scripts: a `-c`, a file, standard input; each run statement by statement as its text arrives.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use super::args::Input;
use super::executor::{Executor, Flow, TransactionControl, host_failure};
use super::failure::{Cause, Failure, Origin};
use super::splitter::Splitter;
use crate::TransactionStatus;

/// Runs inputs in order, up to the first failure or `\q`; in one transaction, if asked.
pub(crate) fn run_inputs(
    executor: &mut Executor,
    inputs: &[Input],
    single_transaction: bool,
) -> Result<(), (Failure, Origin)> {
    // What begins and commits is part of the call, not of a script.
    let origin = |input: &Input| if matches!(input, Input::Command(_)) { Origin::Command } else { Origin::Script };
    let (first, last) = (inputs.first().map_or(Origin::Script, origin), inputs.last().map_or(Origin::Script, origin));
    if single_transaction {
        executor.sql("BEGIN").map_err(|cause| (cause.into(), first))?;
        executor.transaction_control = TransactionControl::OfTheCall;
    }
    for input in inputs {
        let done = match input {
            Input::Command(sql) => run_text(executor, sql),
            Input::File(path) => run_file(executor, path),
            Input::Stdin => run_reader(executor, io::stdin().lock(), "<stdin>"),
        };
        match done {
            Ok(Flow::Continue) => {}
            Ok(Flow::Quit) => break,
            Err(failure) => {
                if single_transaction && executor.session.transaction_status() != TransactionStatus::None {
                    // The failure is the news; a session that cannot even roll back is dropped, which rolls back too.
                    drop(executor.sql("ROLLBACK"));
                }
                return Err((failure, origin(input)));
            }
        }
    }
    if single_transaction {
        executor.sql("COMMIT").map_err(|cause| (cause.into(), last))?;
    }
    Ok(())
}

/// Runs the statements of a text.
pub(crate) fn run_text(executor: &mut Executor, text: &str) -> Result<Flow, Failure> {
    let mut splitter = Splitter::new();
    splitter.push(text);
    run_ready(executor, &mut splitter, None)?.map_or_else(|| run_rest(executor, &mut splitter, None), Ok)
}

/// Runs a script of the host.
pub(crate) fn run_file(executor: &mut Executor, path: &Path) -> Result<Flow, Failure> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|source| host_failure("open", &name, source))?;
    run_reader(executor, BufReader::new(file), &name)
}

fn run_reader(executor: &mut Executor, mut reader: impl BufRead, name: &str) -> Result<Flow, Failure> {
    let mut splitter = Splitter::new();
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(|source| host_failure("read", name, source))? == 0 {
            break;
        }
        let text = std::str::from_utf8(&line)
            .map_err(|_| Failure::from(Cause::Usage(format!("{name}:{number}: this line is not UTF-8"))))?;
        // Windows' editors begin UTF-8 files with a byte-order mark.
        splitter.push(if number == 1 { text.trim_start_matches('\u{feff}') } else { text });
        if let Some(flow) = run_ready(executor, &mut splitter, Some(name))? {
            return Ok(flow);
        }
    }
    run_rest(executor, &mut splitter, Some(name))
}

/// Runs what is complete; `Some` if that ends the script.
fn run_ready(executor: &mut Executor, splitter: &mut Splitter, name: Option<&str>) -> Result<Option<Flow>, Failure> {
    while let Some(piece) = splitter.next_piece() {
        if executor.run(&piece, name)? == Flow::Quit {
            return Ok(Some(Flow::Quit));
        }
    }
    Ok(None)
}

fn run_rest(executor: &mut Executor, splitter: &mut Splitter, name: Option<&str>) -> Result<Flow, Failure> {
    match splitter.finish() {
        Some(piece) => executor.run(&piece, name),
        None => Ok(Flow::Continue),
    }
}
