//! [`Location`]: where a pond is.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tinyfs::{Error, ErrorKind, Result};
use url::Url;

use crate::error::io;

/// Where a pond is: a directory of this machine, or a URL that an object store understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Directory(PathBuf),
    Remote(Url),
}

impl Location {
    /// Reads a path (`./pond`) or a URL (`file:///data/pond`, `s3://bucket/pond`). Looks at no disk.
    ///
    /// # Errors
    /// [`InvalidPath`](ErrorKind::InvalidPath) when the text is empty or is a malformed URL.
    pub fn parse(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(Error::new(ErrorKind::InvalidPath, "the location of the pond is empty"));
        }
        if text.contains("://") {
            let url = Url::parse(text).map_err(|error| {
                Error::new(ErrorKind::InvalidPath, format!("'{text}' is not a URL")).with_source(error)
            })?;
            return Self::from_url(url);
        }
        Self::from_path(Path::new(text))
    }

    /// A directory. A relative path is seen from the current directory.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io) when the path is empty, or relative and there is no current directory.
    pub fn from_path(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path)
            .map_err(|error| io(format!("'{}' cannot be made absolute", path.display()), error))?;
        Ok(Self(Kind::Directory(path)))
    }

    /// The place that a URL names; `file:` is a directory.
    ///
    /// # Errors
    /// [`InvalidPath`](ErrorKind::InvalidPath) when a `file:` URL does not name a path of this machine.
    pub fn from_url(mut url: Url) -> Result<Self> {
        if url.scheme() == "file" {
            let path = url.to_file_path().map_err(|()| {
                Error::new(ErrorKind::InvalidPath, format!("'{url}' does not name a path of this machine"))
            })?;
            return Ok(Self(Kind::Directory(path)));
        }
        // Delta joins names to the URL, which would eat a last segment without a slash.
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(Self(Kind::Remote(url)))
    }

    /// The directory, if the pond is one.
    pub fn directory(&self) -> Option<&Path> {
        match &self.0 {
            Kind::Directory(path) => Some(path),
            Kind::Remote(_) => None,
        }
    }

    /// The URL of the pond's root, with a slash at its end.
    ///
    /// # Errors
    /// [`InvalidPath`](ErrorKind::InvalidPath) when a directory's path cannot be written as a URL.
    pub fn url(&self) -> Result<Url> {
        match &self.0 {
            Kind::Directory(path) => Url::from_directory_path(path).map_err(|()| {
                Error::new(ErrorKind::InvalidPath, format!("'{}' cannot be written as a URL", path.display()))
            }),
            Kind::Remote(url) => Ok(url.clone()),
        }
    }
}

impl FromStr for Location {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Directory(path) => path.display().fmt(f),
            Kind::Remote(url) => url.fmt(f),
        }
    }
}
