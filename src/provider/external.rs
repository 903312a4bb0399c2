//! [`ExternalFile`]: files elsewhere that an entry of the pond stands for.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::format::{ReaderOptions, Wanted, known_to, parse_as_of, wanted_format};
use super::host::{HostRequest, is_host_name};
use crate::error::{Error, ErrorKind, Result};

/// The options of a Delta table, which are no reader's: which of its states is read.
const VERSION: &str = "version";
const AS_OF: &str = "as_of";
/// The format that is none of a file.
const DELTA: &str = "delta";

/// What `CREATE EXTERNAL TABLE` keeps: where the files are, and how they are read. The text of a dynamic entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalFile {
    /// The format's name, in lower case.
    pub format: String,
    /// A host file, URL or path of the pond; a glob for many files.
    pub location: String,
    /// The options of the format's reader.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

/// An option that a format refuses.
#[derive(Debug)]
pub(crate) struct RefusedOption {
    /// As it was given.
    pub(crate) name: String,
    /// Whether its name is what is wrong, and not its value.
    pub(crate) is_name: bool,
    /// Why.
    pub(crate) error: Error,
}

impl ExternalFile {
    /// Files at `location`.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) for a format that there is not; [`Usage`](ErrorKind::Usage) for options that it does not have, and for
    /// values of them that cannot be.
    pub fn try_new(format: &str, location: &str, options: BTreeMap<String, String>) -> Result<Self> {
        Self::check_options(format, &options).map_err(|refused| refused.error)?;
        let format = format.to_ascii_lowercase();
        let file = Self { format, location: location.to_owned(), options };
        let _ = file.reader()?;
        Ok(file)
    }

    /// Checks options of a format, one by one, as [`try_new`](Self::try_new) checks them all. A format that there is not has none to check.
    ///
    /// # Errors
    /// The first that is refused.
    pub(crate) fn check_options(format: &str, options: &BTreeMap<String, String>) -> Result<(), RefusedOption> {
        let mut names = BTreeSet::new();
        for (name, value) in options {
            let pair = || (name.clone(), value.clone());
            let refused = |is_name, error| RefusedOption { name: name.clone(), is_name, error };
            if format.eq_ignore_ascii_case(DELTA)
                && let Some(state) = state_option(name)
            {
                if !names.insert(state.to_owned()) {
                    let message = format!("the option '{name}' is given twice");
                    return Err(refused(true, Error::new(ErrorKind::Usage, message)));
                }
                if names.len() > 1 {
                    let message = format!(
                        "the options '{VERSION}' and '{AS_OF}' are two states of a Delta table: one of them is enough"
                    );
                    return Err(refused(true, Error::new(ErrorKind::Usage, message)));
                }
                let checked =
                    if state == VERSION { version(value).map(|_| ()) } else { parse_as_of(value).map(|_| ()) };
                checked.map_err(|error| refused(false, error))?;
                continue;
            }
            let read = ReaderOptions::from_pairs([pair()]).map_err(|error| refused(true, error))?;
            // Two names may be one option.
            if !read.names().all(|option| names.insert(option.to_owned())) {
                let message = format!("the option '{name}' is given twice");
                return Err(refused(true, Error::new(ErrorKind::Usage, message)));
            }
            let one = Self {
                format: format.to_ascii_lowercase(),
                location: String::new(),
                options: BTreeMap::from([pair()]),
            };
            if let Err(error) = one.reader()
                && error.kind() == ErrorKind::Usage
            {
                let is_known =
                    wanted_format(format).is_ok_and(|format| read.names().all(|option| known_to(format, option)));
                return Err(refused(!is_known, error));
            }
        }
        Ok(())
    }

    /// The text to keep.
    ///
    /// # Errors
    /// None in practice: it is names and texts.
    pub fn to_text(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|error| Error::new(ErrorKind::Unsupported, "the entry cannot be written").with_source(error))
    }

    /// Reads what [`to_text`](Self::to_text) wrote.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt).
    pub fn from_text(text: &str) -> Result<Self> {
        serde_json::from_str(text)
            .map_err(|error| Error::new(ErrorKind::Corrupt, "the external table is not readable").with_source(error))
    }

    /// Whether the files are outside of the pond.
    pub fn is_on_host(&self) -> bool {
        is_host_name(&self.location)
    }

    /// What to ask of host files.
    ///
    /// # Errors
    /// [`Usage`](ErrorKind::Usage) for the version of a Delta table that is no number.
    pub fn request(&self) -> Result<HostRequest> {
        let mut request = HostRequest { format: Some(self.format.clone()), ..HostRequest::default() };
        let is_delta = request.is_delta();
        for (name, value) in &self.options {
            match state_option(name).filter(|_| is_delta) {
                Some(VERSION) => request.version = Some(version(value)?),
                Some(_) => request.as_of = Some(value.clone()),
                None => request.options.push((name.clone(), value.clone())),
            }
        }
        Ok(request)
    }

    /// The same table in another state, in place of the one that it is kept with; `None` for what has no states of its own, as Delta tables of
    /// the host have.
    pub(crate) fn in_state(&self, version: Option<u64>, as_of: Option<&str>) -> Option<Self> {
        if !self.format.eq_ignore_ascii_case(DELTA) || !self.is_on_host() {
            return None;
        }
        let mut options = self.options.clone();
        options.retain(|name, _| state_option(name).is_none());
        options.extend(version.map(|version| (VERSION.to_owned(), version.to_string())));
        options.extend(as_of.map(|as_of| (AS_OF.to_owned(), as_of.to_owned())));
        Some(Self { options, ..self.clone() })
    }

    /// What to ask of a file in the pond.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) for a Delta table, which is a directory; [`Usage`](ErrorKind::Usage) for options.
    pub(crate) fn wanted(&self) -> Result<Wanted> {
        if self.format.eq_ignore_ascii_case(DELTA) {
            let message = format!("'{}' is in the pond, and a Delta table is read outside of it alone", self.location);
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        self.reader()
    }

    /// How its files are read, of which a Delta table tells nothing.
    fn reader(&self) -> Result<Wanted> {
        let request = self.request()?;
        let wanted = request.wanted()?;
        if let Some(format) = wanted.format {
            format.check_options(&wanted.options)?;
        }
        Ok(wanted)
    }

    /// The statement that makes it at `path`.
    pub fn statement(&self, path: &str) -> String {
        let quoted = |text: &str| text.replace('\'', "''");
        let options: Vec<_> =
            self.options.iter().map(|(name, value)| format!("'{}' '{}'", quoted(name), quoted(value))).collect();
        let options = if options.is_empty() { String::new() } else { format!(" OPTIONS ({})", options.join(", ")) };
        format!(
            "CREATE EXTERNAL TABLE '{}' STORED AS {} LOCATION '{}'{options}",
            quoted(path),
            self.format.to_uppercase(),
            quoted(&self.location)
        )
    }
}

/// The option of Delta tables that has this name.
fn state_option(name: &str) -> Option<&'static str> {
    [VERSION, AS_OF].into_iter().find(|option| option.eq_ignore_ascii_case(name))
}

fn version(text: &str) -> Result<u64> {
    text.parse().map_err(|error: std::num::ParseIntError| {
        let message = format!("the option '{VERSION}' is the number of a version, not '{text}'");
        Error::new(ErrorKind::Usage, message).with_source(error)
    })
}

impl HostRequest {
    pub(crate) fn wanted(&self) -> Result<Wanted> {
        if self.is_delta() {
            let options = ReaderOptions::from_pairs(self.options.iter().cloned())?;
            return match options.names().next() {
                Some(name) => {
                    let message = format!("a Delta table has no option '{name}', only '{VERSION}' and '{AS_OF}'");
                    Err(Error::new(ErrorKind::Usage, message))
                }
                None => Ok(Wanted::default()),
            };
        }
        Wanted::try_new(self.format.as_deref(), self.options.iter().cloned())
    }

    /// Whether a Delta table would do.
    pub(crate) fn may_be_delta(&self) -> bool {
        self.format.is_none() || self.is_delta()
    }

    /// Whether a Delta table is wanted, and nothing else.
    pub(crate) fn is_delta(&self) -> bool {
        self.format.as_ref().is_some_and(|format| format.eq_ignore_ascii_case(DELTA))
    }
}
