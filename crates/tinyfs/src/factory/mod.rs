//! [`DynamicFactory`]: what makes dynamic entries, as far as names, bytes and configuration go.

mod definition;
mod options;
mod secret;
mod values;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;

use crate::error::{Error, ErrorKind, Result};
use crate::path::PondPath;

pub use definition::{Definition, Shape};
pub use options::{Field, InvalidOption, LocationSpec, OptionSpec, OptionType};
pub use secret::{Secret, SecretSource};
pub use values::{parse_duration, parse_time};

/// Bytes, piece by piece.
pub type Bytestream = BoxStream<'static, Result<Bytes>>;

/// Makes dynamic entries of one sort: a folder of the host, a web service, numbers that are computed.
///
/// This is the half that TinyFS knows: names, bytes and configuration. What makes tables of an entry, and what runs it, needs
/// to know tables, and is a trait of the layer above that has this one below it.
#[async_trait]
pub trait DynamicFactory: fmt::Debug + Send + Sync + 'static {
    /// What it is called in `STORED AS`, in lower case.
    fn name(&self) -> &'static str;

    /// What it is for, in a few words.
    fn meaning(&self) -> &'static str;

    /// What its entries are: tables, or directories.
    fn shape(&self) -> Shape;

    /// What a `LOCATION` means to it.
    fn location(&self) -> LocationSpec;

    /// The options of an entry.
    fn options(&self) -> &'static [OptionSpec];

    /// The arguments of a run, beside `dry_run`.
    fn arguments(&self) -> &'static [OptionSpec] {
        &[]
    }

    /// Checks what the specs of the options do not say: values that do not go together. Does no I/O.
    ///
    /// # Errors
    /// [`InvalidOption`], naming the option. A secret is never part of the message.
    fn validate(&self, _definition: &Definition) -> Result<(), InvalidOption> {
        Ok(())
    }

    /// Checks, when an entry is made, that its source can be reached.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io), [`NotFound`](ErrorKind::NotFound), saying what is wrong with the source. Where that is an option's value,
    /// an [`InvalidOption`] is the cause.
    async fn probe(&self, _context: &FactoryContext) -> Result<()> {
        Ok(())
    }

    /// The entries that it shows in a [`Shape::ListedDirectory`] beside those that are stored. Asked for once a statement, and only where
    /// the statement may mean one of them.
    ///
    /// # Errors
    /// What the source says.
    async fn list(&self, _context: &FactoryContext) -> Result<Vec<Child>> {
        Ok(Vec::new())
    }

    /// The bytes of a child; `None` where they are made from rows.
    ///
    /// # Errors
    /// What the source says, here and in the stream.
    async fn open(&self, _context: &FactoryContext, _child: &str) -> Result<Option<Bytestream>> {
        Ok(None)
    }
}

/// An entry that a factory shows in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// Its name, or its path below the directory with `/` between the names.
    pub name: String,
    /// How many bytes it has, where that is known.
    pub size: Option<u64>,
    /// When it was last changed, where that is known.
    pub modified: Option<DateTime<Utc>>,
}

/// One dynamic entry, as its factory is asked about it.
#[derive(Debug, Clone)]
pub struct FactoryContext {
    /// Where the entry is.
    pub path: PondPath,
    /// How it was defined.
    pub definition: Arc<Definition>,
    /// What is outside of the pond.
    pub outside: Arc<dyn Outside>,
}

impl FactoryContext {
    /// The option `name`, where it was given.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.definition.options.get(name).map(String::as_str)
    }

    /// The location; empty where there is none.
    pub fn location(&self) -> &str {
        self.definition.location.as_deref().unwrap_or_default()
    }

    /// What the secret option `name` leads to now, where it was given.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for a variable or file that is not there; [`Io`](ErrorKind::Io). The value is never part of the message.
    pub fn secret(&self, name: &str) -> Result<Option<Secret>> {
        let Some(text) = self.option(name) else { return Ok(None) };
        let source = SecretSource::parse(text).ok_or_else(|| {
            let message = format!("the option '{name}' of '{}' is no 'env:NAME' and no 'file:PATH'", self.path);
            Error::new(ErrorKind::Corrupt, message).with_path(&self.path)
        })?;
        if let SecretSource::File(_) = source {
            self.outside.check_host(text)?;
        }
        let secret = source.resolve().map_err(|error| {
            let message = format!("the option '{name}' of '{}' cannot be had", self.path);
            Error::new(error.kind(), message).with_path(&self.path).with_source(error)
        })?;
        Ok(Some(secret))
    }
}

/// Files outside of the pond, as far as whoever runs the program lets a statement reach them.
#[async_trait]
pub trait Outside: fmt::Debug + Send + Sync {
    /// Refuses what is outside where it is switched off; `what` is for the message.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported).
    fn check_host(&self, what: &str) -> Result<()>;

    /// The files below a folder of the host, or of an object store, whose path below it matches a glob such as `*.csv`.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for a folder that is not there; [`Io`](ErrorKind::Io); as [`check_host`](Self::check_host).
    async fn list(&self, folder: &str, pattern: &str) -> Result<Vec<Child>>;

    /// The bytes of a file below a folder.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    async fn open(&self, folder: &str, name: &str) -> Result<Bytestream>;
}

/// Nothing is outside: for those who look at what is stored only.
#[derive(Debug, Clone, Copy)]
pub struct NothingOutside;

#[async_trait]
impl Outside for NothingOutside {
    fn check_host(&self, what: &str) -> Result<()> {
        Err(Error::new(
            ErrorKind::Unsupported,
            format!("'{what}' is outside of the pond, which is not reached from here"),
        ))
    }

    async fn list(&self, folder: &str, _pattern: &str) -> Result<Vec<Child>> {
        self.check_host(folder).map(|()| Vec::new())
    }

    async fn open(&self, folder: &str, name: &str) -> Result<Bytestream> {
        self.check_host(&format!("{folder}/{name}"))?;
        Ok(Box::pin(futures::stream::empty()))
    }
}
