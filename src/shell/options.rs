//! [`Options`]: what the command line, the environment and the terminal together mean.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;

use super::args::{Args, ColorChoice, Input};
use super::format::Format;
use crate::{CommitThread, HostFiles, OpenOptions, SessionOptions};

/// All that a run of the shell depends on.
#[derive(Debug)]
#[non_exhaustive]
pub struct Options {
    /// The pond's location.
    pub pond: String,
    /// How the pond is opened.
    pub open: OpenOptions,
    /// How its session is made.
    pub session: SessionOptions,
    /// What is run.
    pub task: Task,
    /// How results are printed at first.
    pub format: Format,
    /// Whether standard output is a terminal: results are cut to fit, and counted.
    pub terminal: bool,
    /// Whether messages are coloured.
    pub color: bool,
    /// Whether banner and row counts are left out.
    pub quiet: bool,
}

/// What is run.
#[derive(Debug, PartialEq, Eq)]
pub enum Task {
    /// Statements, in one session.
    Statements(Source),
    /// sqllogictest suites.
    Suites {
        /// Files, and directories of `*.slt` files.
        paths: Vec<PathBuf>,
        /// Whether results found are written into the files.
        complete: bool,
        /// Whether the pond itself is used, not a copy for each file.
        in_place: bool,
    },
}

/// Where statements come from.
#[derive(Debug, PartialEq, Eq)]
pub enum Source {
    /// Commands and scripts, in order.
    Inputs {
        /// What to run.
        inputs: Vec<Input>,
        /// Whether one transaction spans all of it.
        single_transaction: bool,
    },
    /// The prompt.
    Prompt {
        /// The start-up script, run if it is there.
        init: Option<PathBuf>,
    },
}

impl Options {
    /// Reads meaning into what was typed.
    ///
    /// # Errors
    /// A message for the user: a malformed size or parameter, or options that do not go together.
    pub fn new(args: Args) -> Result<Self, String> {
        let terminal = std::io::stdout().is_terminal();
        let session = SessionOptions {
            host_files: if args.no_host { HostFiles::Refused } else { HostFiles::Allowed },
            memory_limit: args.memory.as_deref().map(parse_size).transpose()?,
            read_only: args.read_only,
            parameters: parse_parameters(&args.parameters)?,
            as_of: args.as_of,
            ..SessionOptions::default()
        };
        let task = if !args.slt.is_empty() {
            Task::Suites { paths: args.slt, complete: args.complete, in_place: args.slt_in_place }
        } else if !args.inputs.is_empty() {
            Task::Statements(Source::Inputs { inputs: args.inputs, single_transaction: args.single_transaction })
        } else if !std::io::stdin().is_terminal() {
            Task::Statements(Source::Inputs { inputs: vec![Input::Stdin], single_transaction: args.single_transaction })
        } else if args.single_transaction {
            return Err("-1 needs a -c, a -f or a script on standard input".to_owned());
        } else {
            Task::Statements(Source::Prompt { init: if args.no_init { None } else { config_file("init.sql") } })
        };
        Ok(Self {
            pond: location(args.pond, std::env::var("POND").ok()),
            open: OpenOptions {
                read_only: args.read_only,
                lazy: true,
                commit_thread: CommitThread::Current,
                storage_options: cloud_settings(std::env::vars_os()),
            },
            session,
            task,
            format: args.format,
            terminal,
            color: match args.color {
                ColorChoice::Always => true,
                ColorChoice::Never => false,
                ColorChoice::Auto => {
                    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                }
            },
            quiet: args.quiet,
        })
    }
}

fn location(typed: Option<String>, environment: Option<String>) -> String {
    typed.or(environment).filter(|pond| !pond.is_empty()).unwrap_or_else(|| "memory:".to_owned())
}

/// The settings of the clouds' clients, from the variables that their own tools read too: `AWS_REGION`, `AZURE_…`, `GOOGLE_…`.
fn cloud_settings(variables: impl Iterator<Item = (OsString, OsString)>) -> HashMap<String, String> {
    variables
        .filter_map(|(name, value)| Some((name.into_string().ok()?.to_ascii_lowercase(), value.into_string().ok()?)))
        .filter(|(name, _)| ["aws_", "azure_", "google_"].iter().any(|prefix| name.starts_with(prefix)))
        .collect()
}

fn parse_parameters(words: &[String]) -> Result<BTreeMap<String, String>, String> {
    let mut parameters = BTreeMap::new();
    for word in words {
        let (name, value) = word
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| format!("--param takes name=value, not '{word}'"))?;
        let name = name.strip_prefix('$').unwrap_or(name);
        if parameters.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(format!("--param {name} is given twice"));
        }
    }
    Ok(parameters)
}

/// Bytes: `200MB` is decimal, `200MiB` and `200M` are binary.
fn parse_size(text: &str) -> Result<usize, String> {
    let fail = || format!("--memory takes a size such as 200MB or 1GiB, not '{text}'");
    let digits = text.trim().trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let number: usize = digits.parse().map_err(|_| fail())?;
    let unit: usize = match text.trim()[digits.len()..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return Err(fail()),
    };
    number.checked_mul(unit).filter(|bytes| *bytes > 0).ok_or_else(fail)
}

fn config_file(name: &str) -> Option<PathBuf> {
    xdg_directory("XDG_CONFIG_HOME", ".config").map(|directory| directory.join(name))
}

/// The shell's own directory under one of the XDG base directories; `None` without a home.
pub(crate) fn xdg_directory(variable: &str, default: &str) -> Option<PathBuf> {
    let set = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = match set {
        Some(path) => path,
        None => std::env::home_dir().filter(|home| home.is_absolute())?.join(default),
    };
    Some(base.join("pondsql"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [("1", 1), ("200MB", 200_000_000), ("1GiB", 1 << 30), ("4k", 4096), ("2 mib", 2 << 20)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MB", "0", "-1", "1.5GB", "1 TB", "99999999999GiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn parameters() {
        let words = ["site=BDock", "$limit=10", "note=a=b", "none="].map(str::to_owned);
        let parameters = parse_parameters(&words).unwrap();
        assert_eq!(parameters["site"], "BDock");
        assert_eq!(parameters["limit"], "10");
        assert_eq!(parameters["note"], "a=b");
        assert_eq!(parameters["none"], "");
        assert!(parse_parameters(&["site".to_owned()]).is_err());
        assert!(parse_parameters(&["=1".to_owned()]).is_err());
        assert!(parse_parameters(&["a=1".to_owned(), "a=2".to_owned()]).is_err());
    }

    #[test]
    fn clouds_are_set_by_their_own_variables() {
        let variables = [("AWS_REGION", "eu"), ("Google_Bucket", "b"), ("HOME", "/root"), ("MY_AWS_KEY", "x")];
        let settings = cloud_settings(variables.map(|(name, value)| (name.into(), value.into())).into_iter());
        let expected = [("aws_region", "eu"), ("google_bucket", "b")];
        assert_eq!(settings, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }

    #[test]
    fn the_pond_is_typed_or_set_or_in_memory() {
        assert_eq!(location(Some("a".into()), Some("b".into())), "a");
        assert_eq!(location(None, Some("b".into())), "b");
        assert_eq!(location(None, Some(String::new())), "memory:");
        assert_eq!(location(None, None), "memory:");
    }
}
