//! [`Executor`]: runs one statement or command at a time in the session, and prints what it gives.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use tokio::runtime::Handle;

use super::cancel::Cancel;
use super::command::{self, Command};
use super::failure::Cause;
use super::output::Output;
use super::progress::ProgressLine;
use super::script;
use super::splitter::{Piece, PieceKind};
use crate::session::write_host_file;
use crate::{PondSession, ReadOptions, StatementResult};

/// The deepest that `\i` may nest.
const MAX_INCLUDES: usize = 32;

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    Continue,
    Quit,
}

/// Who begins and ends transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransactionControl {
    /// The statements themselves.
    OfStatements,
    /// The whole call, as one (`-1`): a `COMMIT` in the middle would make two of it.
    OfTheCall,
}

/// The session, the output and the switches that commands turn.
pub(crate) struct Executor {
    pub(crate) session: PondSession,
    pub(crate) output: Output,
    pub(crate) transaction_control: TransactionControl,
    progress: ProgressLine,
    runtime: Handle,
    cancel: Arc<Cancel>,
    host_files: bool,
    timing: bool,
    includes: usize,
}

impl Executor {
    pub(crate) fn new(
        session: PondSession,
        output: Output,
        runtime: Handle,
        cancel: Arc<Cancel>,
        host_files: bool,
    ) -> Self {
        let transaction_control = TransactionControl::OfStatements;
        let (mut session, progress) = (session, ProgressLine::default());
        session.set_progress(progress.taker());
        Self { session, progress, output, transaction_control, runtime, cancel, host_files, timing: false, includes: 0 }
    }

    /// Begins a new input of the prompt: a Ctrl-C before it no longer counts.
    pub(crate) fn begin_input(&self) {
        self.cancel.forget();
    }

    /// Runs a piece of a script or a line of the prompt. An error of an included script comes with its own place.
    pub(crate) fn run(&mut self, piece: &Piece, file: Option<&str>) -> Result<Flow, super::failure::Failure> {
        let begun = Instant::now();
        let flow = match piece.kind {
            PieceKind::Sql if self.transaction_control == TransactionControl::OfTheCall && controls(&piece.text) => {
                let message =
                    "-1 makes one transaction of the whole call; leave BEGIN, COMMIT and ROLLBACK out, or leave out -1";
                Err(Cause::Usage(message.to_owned()))
            }
            PieceKind::Sql => self.sql(&piece.text).map(|()| Flow::Continue),
            PieceKind::Command => match Command::parse(&piece.text) {
                Ok(Command::Include(path)) => {
                    if let Err(cause) = self.check_include(&path) {
                        return Err(cause.at(file, piece));
                    }
                    return self.include(Path::new(&path));
                }
                Ok(command) => self.command(command),
                Err(message) => Err(Cause::Usage(message)),
            },
        };
        let flow = flow.map_err(|cause| cause.at(file, piece))?;
        if self.timing {
            report(&format!("time: {:.3} s", begun.elapsed().as_secs_f64()));
        }
        Ok(flow)
    }

    /// Runs one statement of SQL.
    pub(crate) fn sql(&mut self, statement: &str) -> Result<(), Cause> {
        let (session, output, progress) = (&mut self.session, &mut self.output, &self.progress);
        let work = async {
            let result = session.execute(statement).await?;
            // Rows may be printed as they come, on the line that it stands on.
            progress.clear();
            match result {
                StatementResult::Done => Ok(()),
                StatementResult::Count(count) => output.print_count(count),
                StatementResult::Rows(rows) => output.print_stream(rows).await,
            }
        };
        let done = self.runtime.block_on(self.cancel.unless_cancelled(Box::pin(work)));
        self.progress.clear();
        self.output.flush()?;
        for warning in self.session.take_warnings() {
            report(&format!("warning: {warning}"));
        }
        done.unwrap_or(Err(Cause::Cancelled))
    }

    fn command(&mut self, command: Command) -> Result<Flow, Cause> {
        if let Some(sql) = command.sql() {
            self.sql(&sql)?;
            return Ok(Flow::Continue);
        }
        match command {
            Command::Quit => return Ok(Flow::Quit),
            Command::Help => self.output.write(command::help().as_bytes())?,
            Command::ChangeDirectory(path) => self.runtime.block_on(self.session.set_current_directory(&path))?,
            Command::Cat(path) => self.cat(&path)?,
            Command::Put { host, pond, read } => self.put(&host, &pond, read)?,
            Command::Get { pond, host } => self.get(&pond, &host)?,
            Command::Format(Some(format)) => self.output.format = format,
            Command::Format(None) => {
                self.output.write(format!("{:?}\n", self.output.format).to_lowercase().as_bytes())?
            }
            Command::Timing(on) => self.timing = on.unwrap_or(!self.timing),
            Command::ListTables | Command::Describe(_) | Command::List(_) | Command::Include(_) => {}
        }
        self.output.flush()?;
        Ok(Flow::Continue)
    }

    fn cat(&mut self, path: &str) -> Result<(), Cause> {
        let (session, output) = (&mut self.session, &mut self.output);
        let work = async {
            let mut bytes = session.read(path).await?;
            while let Some(chunk) = bytes.next().await {
                output.write(&chunk?)?;
                if output.is_closed() {
                    break;
                }
            }
            Ok(())
        };
        self.runtime.block_on(self.cancel.unless_cancelled(Box::pin(work))).unwrap_or(Err(Cause::Cancelled))
    }

    fn put(&mut self, host: &str, pond: &str, read: ReadOptions) -> Result<(), Cause> {
        self.check_host()?;
        let session = &mut self.session;
        let work = async {
            let file = tokio::fs::File::open(host).await.map_err(|source| host_failure("open", host, source))?;
            session.put(file, pond, read).await?;
            Ok(())
        };
        self.runtime.block_on(self.cancel.unless_cancelled(Box::pin(work))).unwrap_or(Err(Cause::Cancelled))
    }

    /// Writes what the target's name says that it is: all of it, or a failure leaves what was there.
    fn get(&mut self, pond: &str, host: &str) -> Result<(), Cause> {
        self.check_host()?;
        let session = &mut self.session;
        let work = async {
            let name = Path::new(host).file_name().unwrap_or_default().to_string_lossy();
            let bytes = session.read_as(pond, &name).await?;
            Ok(write_host_file(host, bytes).await?)
        };
        self.runtime.block_on(self.cancel.unless_cancelled(Box::pin(work))).unwrap_or(Err(Cause::Cancelled))
    }

    fn check_include(&self, path: &str) -> Result<(), Cause> {
        self.check_host()?;
        if self.includes == MAX_INCLUDES {
            return Err(Cause::Usage(format!("\\i {path}: scripts include each other more than {MAX_INCLUDES} deep")));
        }
        Ok(())
    }

    fn include(&mut self, path: &Path) -> Result<Flow, super::failure::Failure> {
        self.includes += 1;
        let done = script::run_file(self, path);
        self.includes -= 1;
        // `\q` ends the script that says it, not the one that includes it.
        done.map(|_| Flow::Continue)
    }

    fn check_host(&self) -> Result<(), Cause> {
        if self.host_files { Ok(()) } else { Err(Cause::Usage("host files are off (--no-host)".to_owned())) }
    }
}

/// Whether a statement begins or ends a transaction. Its text starts with its first word.
fn controls(statement: &str) -> bool {
    let end = statement.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(statement.len());
    ["begin", "start", "commit", "end", "rollback", "abort"].contains(&statement[..end].to_ascii_lowercase().as_str())
}

/// An error of a host file.
pub(crate) fn host_failure(verb: &str, path: &str, source: std::io::Error) -> Cause {
    Cause::Host { action: format!("cannot {verb} '{path}'"), source }
}

/// Writes a message to standard error. Where that is closed, nobody is there to be told.
pub(crate) fn report(message: &str) {
    drop(writeln!(std::io::stderr(), "{message}"));
}
