//! [`Args`]: what was typed. [`Options`](super::options::Options) is what it means.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, ValueEnum};

use super::format::Format;

/// The command line, as typed.
#[derive(Debug, Parser)]
#[command(name = "pondsql", version, about = "SQL over a pond: a transactional filesystem whose files are tables")]
#[command(after_help = "Exit codes: 0 fine, 1 an error in a -c, 2 usage, 3 an error that stopped a script, \
                        4 I/O, damaged data or a conflict, 130 cancelled.")]
pub struct Args {
    /// The pond: a path, a URL, or 'memory:' [default: $POND, else memory:]
    pub pond: Option<String>,

    /// Run this SQL; may be repeated, and mixed with -f, in order
    #[arg(short = 'c', long = "command", value_name = "SQL", allow_hyphen_values = true)]
    pub commands: Vec<String>,

    /// Run this script; '-' is standard input
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// How results are printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,

    /// Run every -c and -f in one transaction
    #[arg(short = '1', long = "single-transaction")]
    pub single_transaction: bool,

    /// Refuse to write
    #[arg(long)]
    pub read_only: bool,

    /// Show the pond as it was: a transaction number or an RFC 3339 time
    #[arg(long, value_name = "WHEN")]
    pub as_of: Option<String>,

    /// A value for $name in statements; may be repeated
    #[arg(long = "param", value_name = "NAME=VALUE")]
    pub parameters: Vec<String>,

    /// Refuse host files and URLs in statements and commands
    #[arg(long)]
    pub no_host: bool,

    /// The memory that queries may use, such as 200MB or 1GiB
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,

    /// Skip the start-up script of the interactive shell
    #[arg(long)]
    pub no_init: bool,

    /// Run sqllogictest files, each on a fresh copy of the pond
    #[arg(long, value_name = "FILE|DIR", num_args = 1.., conflicts_with_all = ["commands", "files", "single_transaction"])]
    pub slt: Vec<PathBuf>,

    /// With --slt: write the results found into the files
    #[arg(long, requires = "slt")]
    pub complete: bool,

    /// With --slt: run on the pond itself
    #[arg(long, requires = "slt")]
    pub slt_in_place: bool,

    /// When to colour
    #[arg(long, value_enum, default_value_t = ColorChoice::Auto)]
    pub color: ColorChoice,

    /// Leave out the banner and the row counts
    #[arg(short, long)]
    pub quiet: bool,

    /// The -c and -f values in the order typed.
    #[arg(skip)]
    pub inputs: Vec<Input>,
}

/// When output is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// One thing to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The SQL of a `-c`.
    Command(String),
    /// The file of a `-f`.
    File(PathBuf),
    /// Standard input, as a script.
    Stdin,
}

impl Args {
    /// Reads a command line, its first word being the program.
    ///
    /// # Errors
    /// What clap says, help and version included.
    pub fn try_parse(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches_from(words)?;
        let mut args = Self::from_arg_matches(&matches)?;
        args.inputs = in_order(&matches, &args);
        Ok(args)
    }
}

/// clap keeps `-c` and `-f` apart; the indices of the values tell how they were mixed.
fn in_order(matches: &ArgMatches, args: &Args) -> Vec<Input> {
    let indices = |id| matches.indices_of(id).into_iter().flatten();
    let commands = indices("commands").zip(args.commands.iter().map(|sql| Input::Command(sql.clone())));
    let files = indices("files").zip(args.files.iter().map(|file| match file.to_str() {
        Some("-") => Input::Stdin,
        _ => Input::File(file.clone()),
    }));
    let mut inputs: Vec<(usize, Input)> = commands.chain(files).collect();
    inputs.sort_by_key(|(index, _)| *index);
    inputs.into_iter().map(|(_, input)| input).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse(std::iter::once("pondsql").chain(words.iter().copied()).map(OsString::from))
    }

    #[test]
    fn commands_and_files_keep_their_order() {
        let args = parse(&["-c", "one", "-f", "two.sql", "--command=three", "p", "-f", "-"]).unwrap();
        let expected =
            [Input::Command("one".into()), Input::File("two.sql".into()), Input::Command("three".into()), Input::Stdin];
        assert_eq!(args.inputs, expected);
        assert_eq!(args.pond.as_deref(), Some("p"));
    }

    #[test]
    fn a_comment_is_a_value() {
        let args = parse(&["-c", "-- a comment", "-c", "-1"]).unwrap();
        assert_eq!(args.inputs, [Input::Command("-- a comment".into()), Input::Command("-1".into())]);
        assert!(!args.single_transaction);
        assert!(parse(&["-1", "-c", "x"]).unwrap().single_transaction);
    }

    #[test]
    fn a_suite_runs_alone() {
        assert_eq!(parse(&["p", "--slt", "a.slt", "b", "--complete"]).unwrap().slt.len(), 2);
        assert!(parse(&["--slt", "a.slt", "-c", "x"]).is_err());
        assert!(parse(&["--complete"]).is_err());
        assert!(parse(&["--format", "xml"]).is_err());
    }
}
