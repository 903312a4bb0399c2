//! [`Failure`]: why the shell could not go on, and where.

use std::fmt;
use std::io;

use super::exit::ExitStatus;
use super::splitter::Piece;
use crate::error::may_hold_secret;
use crate::{Error, ErrorKind};

/// Why a run stopped, and at which statement of which file.
#[derive(Debug)]
pub(crate) struct Failure {
    cause: Cause,
    place: Option<Place>,
}

/// Why a statement or command failed.
#[derive(Debug)]
pub(crate) enum Cause {
    /// The pond, its session or the query said so.
    Pond(Error),
    /// A host file could not be used.
    Host {
        /// What was tried, such as `cannot open 'x.sql'`.
        action: String,
        /// What the system said.
        source: io::Error,
    },
    /// What was asked for makes no sense.
    Usage(String),
    /// The user interrupted it.
    Cancelled,
}

#[derive(Debug)]
struct Place {
    /// The script; `None` in a `-c` and at the prompt.
    file: Option<String>,
    line: u64,
    column: u64,
    sql: String,
}

/// What was running; an error in a script and one in a `-c` end with different codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Command,
    Script,
    /// Before anything ran: opening the pond.
    Start,
}

impl From<Error> for Cause {
    fn from(error: Error) -> Self {
        Self::Pond(error)
    }
}

impl From<Cause> for Failure {
    fn from(cause: Cause) -> Self {
        Self { cause, place: None }
    }
}

impl Cause {
    /// This failure of this piece of `file`.
    pub(crate) fn at(self, file: Option<&str>, piece: &Piece) -> Failure {
        let place = Place {
            file: file.map(str::to_owned),
            line: piece.position.line,
            column: piece.position.column,
            sql: piece.text.clone(),
        };
        Failure { cause: self, place: Some(place) }
    }
}

impl Failure {
    /// The code to end with.
    pub(crate) fn status(&self, origin: Origin) -> ExitStatus {
        let kind = match &self.cause {
            Cause::Cancelled => return ExitStatus::Cancelled,
            Cause::Host { .. } => return ExitStatus::Io,
            Cause::Usage(_) => None,
            Cause::Pond(error) => Some(error.kind()),
        };
        match (kind, origin) {
            (Some(ErrorKind::Cancelled), _) => ExitStatus::Cancelled,
            (Some(ErrorKind::Io | ErrorKind::Conflict | ErrorKind::Corrupt), _) => ExitStatus::Io,
            (None | Some(ErrorKind::Usage), Origin::Start) => ExitStatus::Usage,
            (Some(_), Origin::Start) => ExitStatus::Io,
            (_, Origin::Command) => ExitStatus::Command,
            (_, Origin::Script) => ExitStatus::Script,
        }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.status(Origin::Script) == ExitStatus::Cancelled
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pond(error) => write!(f, "{error}"),
            Self::Host { action, source } => write!(f, "{action}: {source}"),
            Self::Usage(message) => f.write_str(message),
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}

/// The message, after `file:line: ` in a script, and the line it is about with a caret, where the message has a position.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(place) = &self.place else { return write!(f, "{}", self.cause) };
        let message = self.cause.to_string();
        let position = position_in(&message);
        if let Some(file) = &place.file {
            write!(f, "{file}:{}: ", place.line + position.map_or(0, |(line, _)| line - 1))?;
        }
        f.write_str(&message)?;
        if let Some((line, column)) = position
            && !may_hold_secret(&place.sql)
            && let Some(text) = usize::try_from(line - 1).ok().and_then(|line| place.sql.lines().nth(line))
        {
            let number = (place.line + line - 1).to_string();
            // A statement that starts within a line is shown from there on.
            let before: String =
                text.chars().take(usize::try_from(column).map_or(0, |column| column - 1)).map(blank).collect();
            let indent = if line == 1 && place.column > 1 { "… " } else { "" };
            let pad = " ".repeat(indent.chars().count());
            write!(f, "\n  {number} | {indent}{text}\n  {:width$} | {pad}{before}^", "", width = number.len())?;
        }
        Ok(())
    }
}

fn blank(c: char) -> char {
    if c == '\t' { '\t' } else { ' ' }
}

/// The position that sqlparser puts at the end of its messages: `Line: 1, Column: 8`.
fn position_in(message: &str) -> Option<(u64, u64)> {
    let number_after = |word: &str| {
        let rest = &message[message.find(word)? + word.len()..];
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..digits].parse::<u64>().ok().filter(|number| *number > 0)
    };
    let line = number_after("Line: ")?;
    let column = number_after("Column: ")?;
    Some((line, column))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::splitter::Splitter;

    fn failure(script: &str, file: Option<&str>, message: &str) -> String {
        let mut splitter = Splitter::new();
        splitter.push(script);
        let piece = splitter.finish().unwrap();
        Cause::Usage(message.to_owned()).at(file, &piece).to_string()
    }

    #[test]
    fn a_position_gets_a_caret() {
        assert_eq!(
            failure("-- note\nselect\n\t1 form t", Some("a.sql"), "expected x at Line: 2, Column: 4"),
            "a.sql:3: expected x at Line: 2, Column: 4\n  3 | \t1 form t\n    | \t  ^"
        );
        assert_eq!(failure("select 1", None, "no such thing"), "no such thing");
        assert_eq!(failure("\n\nselect 1", Some("a.sql"), "no such thing"), "a.sql:3: no such thing");
        assert_eq!(failure("select 1", None, "odd Line: 9, Column: 1"), "odd Line: 9, Column: 1");
        assert_eq!(failure("select 1", None, "odd Line: 0, Column: 0"), "odd Line: 0, Column: 0");
    }

    #[test]
    fn codes_follow_kind_and_origin() {
        let status = |kind, origin| Failure::from(Cause::Pond(Error::new(kind, "x"))).status(origin);
        assert_eq!(status(ErrorKind::NotFound, Origin::Command), ExitStatus::Command);
        assert_eq!(status(ErrorKind::NotFound, Origin::Script), ExitStatus::Script);
        assert_eq!(status(ErrorKind::NotFound, Origin::Start), ExitStatus::Io);
        assert_eq!(status(ErrorKind::Usage, Origin::Start), ExitStatus::Usage);
        assert_eq!(status(ErrorKind::Conflict, Origin::Command), ExitStatus::Io);
        assert_eq!(status(ErrorKind::Io, Origin::Script), ExitStatus::Io);
        assert_eq!(status(ErrorKind::Cancelled, Origin::Command), ExitStatus::Cancelled);
    }
}
