//! [`Factories`]: those that a program has.

use std::sync::Arc;

use tinyfs::PondPath;

use super::TableFactory;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::format::is_format;

/// The factories that a program has, by name.
#[derive(Debug, Clone, Default)]
pub struct Factories(Vec<Arc<dyn TableFactory>>);

impl Factories {
    /// No factories.
    pub fn new() -> Self {
        Self::default()
    }

    /// These, whose names are known to be right.
    pub(crate) fn trusted(mut factories: Vec<Arc<dyn TableFactory>>) -> Self {
        factories.sort_by_key(|factory| factory.name());
        Self(factories)
    }

    /// These and `factory`.
    ///
    /// # Errors
    /// [`Usage`](ErrorKind::Usage) where its name is taken, or no name: lower-case letters, digits and `_`.
    pub fn with(mut self, factory: Arc<dyn TableFactory>) -> Result<Self> {
        let name = factory.name();
        let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !is_name {
            let message = format!("'{name}' is no name of a factory: it has lower-case letters, digits and '_'");
            return Err(Error::new(ErrorKind::Usage, message));
        }
        if is_format(name) || self.get(name).is_some() {
            let what = if is_format(name) { "format" } else { "factory" };
            return Err(Error::new(ErrorKind::Usage, format!("there is a {what} '{name}' already")));
        }
        self.0.push(factory);
        self.0.sort_by_key(|factory| factory.name());
        Ok(self)
    }

    /// The factory of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn TableFactory>> {
        self.0.iter().find(|factory| factory.name() == name)
    }

    /// The factory that made the entry at `path`.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported), naming it and the entry, where the program does not have it.
    pub fn of_entry(&self, name: &str, path: &PondPath) -> Result<&Arc<dyn TableFactory>> {
        self.get(name).ok_or_else(|| {
            let message = format!("'{path}' is made by the factory '{name}', which this program does not have");
            Error::new(ErrorKind::Unsupported, message).with_path(path)
        })
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn TableFactory>> {
        self.0.iter()
    }

    /// Their names, for messages.
    pub fn names(&self) -> String {
        self.0.iter().map(|factory| factory.name()).collect::<Vec<_>>().join(", ")
    }
}
