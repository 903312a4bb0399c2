//! [`Command`]: the backslash commands, in the prompt and in scripts alike.

use clap::ValueEnum;

use super::format::Format;
use crate::ReadOptions;

/// The commands, as `\?` shows them: words, then what they do.
pub(crate) const HELP: &[(&str, &str)] = &[
    ("\\?", "this list"),
    ("\\q", "leave the shell, or end the script"),
    ("\\cd [/DIR]", "change the current directory; without one, to /"),
    ("\\d", "list tables"),
    ("\\d NAME", "describe a table or view"),
    ("\\l [GLOB]", "list entries"),
    ("\\cat /PATH", "print a file's bytes"),
    ("\\put HOST /PATH [NAME=VALUE…]", "copy a host file into the pond, to be read with options, as delimiter=';'"),
    ("\\get /PATH HOST", "copy a file of the pond to the host; a table in the format of HOST's extension"),
    ("\\i FILE", "run a script of the host"),
    ("\\format [NAME]", "show or set how results are printed"),
    ("\\timing [on|off]", "show how long statements take"),
];

/// A backslash command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Quit,
    ChangeDirectory(String),
    ListTables,
    Describe(String),
    List(Option<String>),
    Cat(String),
    Put {
        host: String,
        pond: String,
        read: ReadOptions,
    },
    Get {
        pond: String,
        host: String,
    },
    Include(String),
    Format(Option<Format>),
    /// `None` turns it over.
    Timing(Option<bool>),
}

impl Command {
    /// Reads a command with its arguments; an argument with spaces is quoted.
    ///
    /// # Errors
    /// A message for the user.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let words = words(text)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let command = match words.as_slice() {
            ["\\?" | "\\h"] => Self::Help,
            ["\\q"] => Self::Quit,
            ["\\cd"] => Self::ChangeDirectory("/".to_owned()),
            ["\\cd", path] => Self::ChangeDirectory((*path).to_owned()),
            ["\\d"] => Self::ListTables,
            ["\\d", name] => Self::Describe((*name).to_owned()),
            ["\\l"] => Self::List(None),
            ["\\l", glob] => Self::List(Some((*glob).to_owned())),
            ["\\cat", path] => Self::Cat((*path).to_owned()),
            ["\\put", host, pond, options @ ..] => {
                Self::Put { host: (*host).to_owned(), pond: (*pond).to_owned(), read: read_options(options)? }
            }
            ["\\get", pond, host] => Self::Get { pond: (*pond).to_owned(), host: (*host).to_owned() },
            ["\\i", file] => Self::Include((*file).to_owned()),
            ["\\format"] => Self::Format(None),
            ["\\format", name] => Self::Format(Some(
                Format::from_str(name, true).map_err(|_| format!("no format is called '{name}'; {}", formats()))?,
            )),
            ["\\timing"] => Self::Timing(None),
            ["\\timing", "on"] => Self::Timing(Some(true)),
            ["\\timing", "off"] => Self::Timing(Some(false)),
            _ => return Err(refusal(words.first().copied().unwrap_or("\\"))),
        };
        Ok(command)
    }

    /// The SQL that a command stands for, if it is SQL.
    pub(crate) fn sql(&self) -> Option<String> {
        match self {
            Self::ListTables => Some(
                "SELECT table_schema AS directory, table_name AS name, lower(table_type) AS type \
                 FROM information_schema.tables WHERE table_schema <> 'information_schema' ORDER BY 1, 2"
                    .to_owned(),
            ),
            Self::Describe(name) => Some(format!("DESCRIBE \"{}\"", name.replace('"', "\"\""))),
            Self::List(None) => Some("SELECT * FROM pond_ls()".to_owned()),
            Self::List(Some(glob)) => Some(format!("SELECT * FROM pond_ls('{}')", glob.replace('\'', "''"))),
            _ => None,
        }
    }
}

/// The text that `\?` prints.
pub(crate) fn help() -> String {
    let width = HELP.iter().map(|(usage, _)| usage.chars().count()).max().unwrap_or_default();
    HELP.iter().map(|(usage, meaning)| format!("{usage:width$} {meaning}\n")).collect()
}

/// The options of `\put`, each a word `name=value`; `format` names the format, all others are its reader's.
fn read_options(words: &[&str]) -> Result<ReadOptions, String> {
    let mut read = ReadOptions::default();
    for word in words {
        let Some((name, value)) = word.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(refusal("\\put"));
        };
        if value.is_empty() {
            return Err(format!("the option '{name}' has no value: quote one like ';', as {name}=';'"));
        }
        if !name.eq_ignore_ascii_case("format") {
            read.options.push((name.to_owned(), value.to_owned()));
        } else if read.format.replace(value.to_owned()).is_some() {
            return Err(format!("the option '{name}' is given twice"));
        }
    }
    Ok(read)
}

/// What to say to a command that is not one, or has the wrong arguments.
fn refusal(name: &str) -> String {
    let usages: Vec<&str> = HELP
        .iter()
        .map(|(usage, _)| *usage)
        .filter(|usage| usage.split(' ').next().is_some_and(|command| command == name))
        .collect();
    match usages.as_slice() {
        [] => format!("'{name}' is no command; \\? lists them"),
        usages => format!("usage: {}", usages.join(", or ")),
    }
}

/// The formats that there are.
pub(crate) fn formats() -> String {
    let names: Vec<String> = Format::value_variants()
        .iter()
        .filter_map(|format| Some(format.to_possible_value()?.get_name().to_owned()))
        .collect();
    format!("there are {}", names.join(", "))
}

fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    // As in psql, a statement's habit of ending in ';' is forgiven.
    for c in text.strip_suffix(';').unwrap_or(text).chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                word.get_or_insert_default();
                quote = Some(c);
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    if let Some(open) = quote {
        return Err(format!("a quote {open} is not closed"));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_words() {
        assert_eq!(Command::parse("\\q"), Ok(Command::Quit));
        assert_eq!(
            Command::parse("\\put './a b.csv'  /x;"),
            Ok(Command::Put { host: "./a b.csv".into(), pond: "/x".into(), read: ReadOptions::default() })
        );
        let options = vec![("delimiter".to_owned(), ";".to_owned()), ("null_regex".to_owned(), "a=b c".to_owned())];
        assert_eq!(
            Command::parse("\\put x /x delimiter=';' Format=csv 'null_regex=a=b c';"),
            Ok(Command::Put {
                host: "x".into(),
                pond: "/x".into(),
                read: ReadOptions { format: Some("csv".into()), options }
            })
        );
        assert_eq!(Command::parse("\\format JSON"), Ok(Command::Format(Some(Format::Json))));
        assert_eq!(Command::parse("\\timing off"), Ok(Command::Timing(Some(false))));
    }

    #[test]
    fn refusals_say_what_to_do() {
        assert_eq!(Command::parse("\\put x").unwrap_err(), "usage: \\put HOST /PATH [NAME=VALUE…]");
        assert_eq!(Command::parse("\\put x /y csv").unwrap_err(), "usage: \\put HOST /PATH [NAME=VALUE…]");
        assert_eq!(
            Command::parse("\\put x /y delimiter=;").unwrap_err(),
            "the option 'delimiter' has no value: quote one like ';', as delimiter=';'"
        );
        assert_eq!(
            Command::parse("\\put x /y format=csv format=tsv").unwrap_err(),
            "the option 'format' is given twice"
        );
        assert_eq!(Command::parse("\\d a b").unwrap_err(), "usage: \\d, or \\d NAME");
        assert_eq!(Command::parse("\\nope").unwrap_err(), "'\\nope' is no command; \\? lists them");
        assert_eq!(Command::parse("\\cat 'a").unwrap_err(), "a quote ' is not closed");
        assert!(Command::parse("\\format xml").unwrap_err().contains("ndjson"));
    }

    #[test]
    fn sugar_is_sql() {
        assert_eq!(Command::parse("\\d '/a \"b'").unwrap().sql().unwrap(), "DESCRIBE \"/a \"\"b\"");
        assert_eq!(Command::parse("\\l /it's").unwrap_err(), "a quote ' is not closed");
        assert_eq!(Command::parse("\\l \"/it's\"").unwrap().sql().unwrap(), "SELECT * FROM pond_ls('/it''s')");
        assert_eq!(Command::Quit.sql(), None);
    }
}
