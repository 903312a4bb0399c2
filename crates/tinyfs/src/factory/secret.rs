//! [`Secret`]: a text that is shown nowhere, and [`SecretSource`]: where it is to be had.

use std::fmt;
use std::path::PathBuf;

use crate::error::{Error, ErrorKind, Result};

/// Where a secret is to be had: what a pond keeps of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// `env:NAME`: in the environment of the program that runs.
    Environment(String),
    /// `file:PATH`: in a file of the host, without the white space at its end.
    File(PathBuf),
}

impl SecretSource {
    /// Reads `env:NAME` or `file:PATH`; `None` for everything else, which may be the secret itself.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(name) = text.strip_prefix("env:") {
            let is_name = |name: &str| {
                name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                    && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            };
            return is_name(name).then(|| Self::Environment(name.to_owned()));
        }
        let path = text.strip_prefix("file:")?;
        (!path.is_empty() && !path.contains('\0')).then(|| Self::File(PathBuf::from(path)))
    }

    /// The secret, as it is now.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for a variable or file that is not there, or empty; [`Io`](ErrorKind::Io).
    pub fn resolve(&self) -> Result<Secret> {
        let text = match self {
            Self::Environment(name) => std::env::var(name).map_err(|error| match error {
                std::env::VarError::NotPresent => {
                    Error::new(ErrorKind::NotFound, format!("the environment variable {name} is not set"))
                }
                // The error holds the value.
                std::env::VarError::NotUnicode(_) => {
                    Error::new(ErrorKind::Io, format!("the environment variable {name} is not UTF-8"))
                }
            })?,
            Self::File(path) => std::fs::read_to_string(path).map_err(|error| {
                let kind =
                    if error.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Io };
                Error::new(kind, format!("the file '{}' cannot be read", path.display())).with_source(error)
            })?,
        };
        let text = text.trim_end();
        if text.is_empty() {
            return Err(Error::new(ErrorKind::NotFound, format!("{self} is empty")));
        }
        Ok(Secret(text.into()))
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

/// A text that is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// The text, for the one who needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read_and_nothing_else() {
        assert_eq!(SecretSource::parse("env:A_1"), Some(SecretSource::Environment("A_1".into())));
        assert_eq!(SecretSource::parse("file:/x y"), Some(SecretSource::File("/x y".into())));
        for text in ["", "hunter2", "env:", "env:1A", "env:A B", "env:A=B", "file:", "ENV:A", " env:A"] {
            assert_eq!(SecretSource::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_secret_is_shown_nowhere() {
        let directory = std::env::temp_dir().join(format!("secret-{}", std::process::id()));
        std::fs::write(&directory, "hunter2\n").unwrap();
        let secret = SecretSource::File(directory.clone()).resolve().unwrap();
        assert_eq!((secret.expose(), format!("{secret:?}").as_str()), ("hunter2", "Secret(…)"));
        std::fs::write(&directory, "\n").unwrap();
        assert_eq!(SecretSource::File(directory.clone()).resolve().unwrap_err().kind(), ErrorKind::NotFound);
        std::fs::remove_file(&directory).unwrap();
        assert_eq!(SecretSource::File(directory).resolve().unwrap_err().kind(), ErrorKind::NotFound);
        let error = SecretSource::Environment("POND_NO_SUCH_VARIABLE".into()).resolve().unwrap_err();
        assert_eq!(error.to_string(), "the environment variable POND_NO_SUCH_VARIABLE is not set");
    }
}
