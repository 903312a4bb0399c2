//! [`PondPath`]: an absolute, normalised path inside a pond.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};

/// The longest name of one entry, in bytes (as on ext4, XFS and APFS).
pub const MAX_NAME_BYTES: usize = 255;
/// The longest path, in bytes (as Linux's `PATH_MAX`).
pub const MAX_PATH_BYTES: usize = 4096;

/// An absolute, normalised path inside a pond.
///
/// Invariants, each checked at construction:
/// - it starts with `/`, and only the root ends with it;
/// - no component is empty, `.` or `..`;
/// - no component holds a NUL or is longer than [`MAX_NAME_BYTES`], and the whole is not longer than [`MAX_PATH_BYTES`].
///
/// Names are compared byte by byte: case matters, and two Unicode forms of one letter are two names.
///
/// ```
/// use tinyfs::PondPath;
/// let path = PondPath::parse("/locs//BDock/./temp.series")?;
/// assert_eq!(path.as_str(), "/locs/BDock/temp.series");
/// assert_eq!(path.join("../salt.series")?.as_str(), "/locs/BDock/salt.series");
/// assert!(PondPath::parse("/../etc/passwd").is_err());
/// # Ok::<(), tinyfs::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PondPath(Arc<str>);

impl PondPath {
    /// The directory that holds everything: `/`.
    pub fn root() -> Self {
        Self(Arc::from("/"))
    }

    /// Reads an absolute path and normalises it: `//` and `.` vanish, `..` steps up.
    ///
    /// # Errors
    /// [`InvalidPath`](crate::ErrorKind::InvalidPath) when the text is empty or relative, steps above the root,
    /// holds a NUL, or is longer than allowed.
    pub fn parse(text: &str) -> Result<Self> {
        if !text.starts_with('/') {
            return Err(invalid(text, "a pond path starts with '/'"));
        }
        Self::normalise(Vec::new(), text, text)
    }

    /// Reads `text` as seen from this directory: an absolute path stands for itself, a relative one is appended.
    ///
    /// # Errors
    /// As [`PondPath::parse`].
    pub fn join(&self, text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(invalid(text, "it is empty"));
        }
        if text.starts_with('/') {
            return Self::parse(text);
        }
        Self::normalise(self.components().collect(), text, text)
    }

    /// The path of the entry `name` in this directory. Unlike [`join`](Self::join), `name` is one component.
    ///
    /// # Errors
    /// [`InvalidPath`](crate::ErrorKind::InvalidPath) when `name` is not a valid entry name.
    pub fn child(&self, name: &str) -> Result<Self> {
        check_name(name)?;
        let path = if self.is_root() { format!("/{name}") } else { format!("{self}/{name}") };
        check_length(&path)?;
        Ok(Self(path.into()))
    }

    /// The path that names of a tree make up, each of which was checked when it came there; no longer than a path may be.
    pub(crate) fn of_entry(text: &str) -> Self {
        Self(Arc::from(text))
    }

    fn normalise<'a>(mut parts: Vec<&'a str>, text: &'a str, whole: &str) -> Result<Self> {
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    if parts.pop().is_none() {
                        return Err(invalid(whole, "'..' leads above the root of the pond"));
                    }
                }
                name => {
                    check_name(name)?;
                    parts.push(name);
                }
            }
        }
        let path = format!("/{}", parts.join("/"));
        check_length(&path)?;
        Ok(Self(path.into()))
    }

    /// The text, as `/a/b`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `/`.
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// The names from the root down; none for the root itself.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|part| !part.is_empty())
    }

    /// The last component; `None` for the root.
    pub fn name(&self) -> Option<&str> {
        self.components().next_back()
    }

    /// The directory that holds this entry; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        match self.0.rfind('/') {
            Some(0) | None => Some(Self::root()),
            Some(at) => Some(Self(Arc::from(&self.0[..at]))),
        }
    }

    /// Whether this path is `directory` or lies below it.
    pub fn starts_with(&self, directory: &Self) -> bool {
        directory.is_root()
            || self.0.strip_prefix(directory.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Checks that `name` can be the name of an entry.
///
/// # Errors
/// [`InvalidPath`](crate::ErrorKind::InvalidPath) for an empty name, `.`, `..`, one with `/` or NUL, or one longer than [`MAX_NAME_BYTES`].
pub fn check_name(name: &str) -> Result<()> {
    let reason = if name.is_empty() {
        "a name is empty"
    } else if name == "." || name == ".." {
        "'.' and '..' are not names"
    } else if name.contains('/') {
        "a name holds '/'"
    } else if name.contains('\0') {
        "it holds a NUL character"
    } else if name.len() > MAX_NAME_BYTES {
        "a name is longer than 255 bytes"
    } else {
        return Ok(());
    };
    Err(invalid(name, reason))
}

fn check_length(path: &str) -> Result<()> {
    if path.len() > MAX_PATH_BYTES { Err(invalid(path, "it is longer than 4096 bytes")) } else { Ok(()) }
}

fn invalid(text: &str, reason: &str) -> Error {
    let mut shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().nth(80).is_some() {
        shown.push('…');
    }
    Error::invalid_path(format!("'{shown}' is not a path in a pond: {reason}"))
}

impl fmt::Display for PondPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PondPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl std::str::FromStr for PondPath {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises() {
        for (text, path) in [("/", "/"), ("//a///b/", "/a/b"), ("/a/./b/../c", "/a/c"), ("/a/..", "/")] {
            assert_eq!(PondPath::parse(text).unwrap().as_str(), path, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_path() {
        let long_name = format!("/{}", "x".repeat(256));
        let long_path = "/abcdefg".repeat(600);
        for text in ["", "a", "./a", "/..", "/a/../../b", "/a\0b", &long_name, &long_path] {
            let error = PondPath::parse(text).unwrap_err();
            assert!(matches!(error.kind(), crate::ErrorKind::InvalidPath), "{text}: {error}");
        }
    }

    #[test]
    fn parent_and_name() {
        let path = PondPath::parse("/a/b").unwrap();
        assert_eq!(path.name(), Some("b"));
        assert_eq!(path.parent().unwrap().as_str(), "/a");
        assert_eq!(path.parent().unwrap().parent().unwrap(), PondPath::root());
        assert_eq!(PondPath::root().parent(), None);
    }

    #[test]
    fn a_prefix_is_whole_components() {
        let path = PondPath::parse("/ab/c").unwrap();
        assert!(path.starts_with(&PondPath::parse("/ab").unwrap()));
        assert!(path.starts_with(&PondPath::root()));
        assert!(!path.starts_with(&PondPath::parse("/a").unwrap()));
    }

    #[test]
    fn a_child_is_one_component() {
        let root = PondPath::root();
        assert_eq!(root.child("a").unwrap().as_str(), "/a");
        assert!(root.child("a/b").is_err());
        assert!(root.child("..").is_err());
        assert_eq!(root.join("a/b").unwrap().as_str(), "/a/b");
        assert!(root.join("../b").is_err());
    }
}
