//! [`Versions`]: the history of a file, shared between snapshots.

use std::sync::Arc;

use crate::node::{Version, WriteMode};

/// The versions of one file, oldest first. Cloning and appending share structure.
///
/// Most files of a large pond have one version, and a persistent vector costs half a kilobyte before its first
/// element; hence the three cases.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Versions(Repr);

#[derive(Debug, Clone, PartialEq, Default)]
enum Repr {
    #[default]
    None,
    One(Arc<Version>),
    Many(Box<imbl::Vector<Arc<Version>>>),
}

impl Versions {
    /// How many there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::None => 0,
            Repr::One(_) => 1,
            Repr::Many(versions) => versions.len(),
        }
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The newest.
    pub fn last(&self) -> Option<&Arc<Version>> {
        match &self.0 {
            Repr::None => None,
            Repr::One(version) => Some(version),
            Repr::Many(versions) => versions.last(),
        }
    }

    /// The version with this number, counted from 1.
    pub fn get(&self, number: u64) -> Option<&Arc<Version>> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        match &self.0 {
            Repr::None => None,
            Repr::One(version) => (index == 0).then_some(version),
            Repr::Many(versions) => versions.get(index),
        }
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Version>> {
        let (one, many) = match &self.0 {
            Repr::None => (None, None),
            Repr::One(version) => (Some(version), None),
            Repr::Many(versions) => (None, Some(versions.iter())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// The versions that make up the content: everything since the last one that replaces, oldest first.
    pub fn content(&self) -> Vec<Arc<Version>> {
        let newest = self.len() as u64;
        self.content_at(newest)
    }

    /// The versions that made up the content just after version `number`. `0` is the file before its first version.
    pub fn content_at(&self, number: u64) -> Vec<Arc<Version>> {
        let mut content = Vec::new();
        for number in (1..=number.min(self.len() as u64)).rev() {
            let Some(version) = self.get(number) else { continue };
            content.push(Arc::clone(version));
            if version.mode == WriteMode::Replace {
                break;
            }
        }
        content.reverse();
        content
    }

    pub(crate) fn push(&mut self, version: Arc<Version>) {
        self.0 = match std::mem::take(&mut self.0) {
            Repr::None => Repr::One(version),
            Repr::One(first) => Repr::Many(Box::new(imbl::vector![first, version])),
            Repr::Many(mut versions) => {
                versions.push_back(version);
                Repr::Many(versions)
            }
        };
    }
}
