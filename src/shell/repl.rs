//! The interactive shell: a line editor with history around the executor.

use std::io;
use std::path::{Path, PathBuf};

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Editor, Helper};

use super::executor::{Executor, Flow, report};
use super::failure::Failure;
use super::options::xdg_directory;
use super::script;
use super::splitter::Splitter;
use crate::TransactionStatus;

/// Entries of history that are kept.
const HISTORY_ENTRIES: usize = 10_000;

/// Tells the editor when Enter ends the input: when the splitter has nothing open.
struct Statements;

impl Helper for Statements {}
impl Highlighter for Statements {}
impl Completer for Statements {
    type Candidate = String;
}
impl Hinter for Statements {
    type Hint = String;
}

impl Validator for Statements {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if is_complete(context.input()) { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

fn is_complete(input: &str) -> bool {
    let mut splitter = Splitter::new();
    splitter.push(input);
    splitter.push("\n");
    splitter.is_between_statements()
}

/// Reads and runs until Ctrl-D or `\q`. Errors are told, and the next line is read.
///
/// `tell` shows a failure.
///
/// # Errors
/// When the terminal fails.
pub(crate) fn run(executor: &mut Executor, init: Option<&Path>, tell: &dyn Fn(&Failure)) -> Result<(), ReadlineError> {
    if let Some(init) = init.filter(|init| init.exists())
        && let Err(failure) = script::run_file(executor, init)
    {
        tell(&failure);
    }
    let config = Config::builder().max_history_size(HISTORY_ENTRIES)?.history_ignore_space(true).build();
    let mut editor: Editor<Statements, FileHistory> = Editor::with_config(config)?;
    editor.set_helper(Some(Statements));
    let history = history_file();
    if let Some(file) = &history
        && let Err(error) = load_history(&mut editor, file)
    {
        report(&format!("warning: no history is kept in '{}': {error}", file.display()));
    }
    loop {
        match editor.readline(&prompt(executor)) {
            Ok(input) => {
                if input.trim().is_empty() {
                    continue;
                }
                editor.add_history_entry(input.as_str())?;
                if let Some(file) = &history {
                    // The start-up warning has told already if this cannot work.
                    drop(editor.append_history(file));
                }
                executor.begin_input();
                match script::run_text(executor, &input) {
                    Ok(Flow::Continue) => {}
                    Ok(Flow::Quit) => return Ok(()),
                    Err(failure) => tell(&failure),
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// `pond:/locs> `, with `*` in a transaction and `!` in a failed one.
fn prompt(executor: &Executor) -> String {
    let mark = match executor.session.transaction_status() {
        TransactionStatus::None => "",
        TransactionStatus::Active => "*",
    };
    format!("pond:{}{mark}> ", executor.session.current_directory())
}

fn history_file() -> Option<PathBuf> {
    xdg_directory("XDG_STATE_HOME", ".local/state").map(|directory| directory.join("history"))
}

fn load_history(editor: &mut Editor<Statements, FileHistory>, file: &Path) -> rustyline::Result<()> {
    if let Some(directory) = file.parent() {
        std::fs::create_dir_all(directory)?;
    }
    match editor.load_history(file) {
        Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enter_ends_the_input_when_nothing_is_open() {
        for (input, complete) in [
            ("", true),
            ("select 1;", true),
            ("select 1", false),
            ("select ';", false),
            ("select 1; -- done", true),
            ("select 1; select", false),
            ("\\d", true),
            ("/* open", false),
        ] {
            assert_eq!(is_complete(input), complete, "{input:?}");
        }
    }
}
