//! [`Versions`]: the history of a file, shared between snapshots.

use std::any::Any;
use std::sync::{Arc, OnceLock};

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
    Many(Box<Many>),
}

#[derive(Debug, Clone)]
struct Many {
    versions: imbl::Vector<Arc<Version>>,
    memos: Memos,
}

impl PartialEq for Many {
    fn eq(&self, other: &Self) -> bool {
        self.versions == other.versions
    }
}

/// What a layer above has worked out from all versions of a file. TinyFS looks into none.
pub type Memo = Arc<dyn Any + Send + Sync>;

/// What was worked out from exactly these versions, or from those before the newest.
#[derive(Debug, Clone, Default)]
struct Memos {
    here: OnceLock<Memo>,
    /// With how many of the versions it was made from.
    before: Option<(usize, Memo)>,
}

impl Versions {
    /// How many there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::None => 0,
            Repr::One(_) => 1,
            Repr::Many(many) => many.versions.len(),
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
            Repr::Many(many) => many.versions.last(),
        }
    }

    /// The version with this number, counted from 1.
    pub fn get(&self, number: u64) -> Option<&Arc<Version>> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        match &self.0 {
            Repr::None => None,
            Repr::One(version) => (index == 0).then_some(version),
            Repr::Many(many) => many.versions.get(index),
        }
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Version>> {
        let (one, many) = match &self.0 {
            Repr::None => (None, None),
            Repr::One(version) => (Some(version), None),
            Repr::Many(many) => (None, Some(many.versions.iter())),
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

    /// What was kept with these very versions, or with the first of them and how many those were.
    ///
    /// A series that is written thousands of times would otherwise be gone through from its first version each time.
    pub fn memo(&self) -> Option<(usize, Memo)> {
        let Repr::Many(many) = &self.0 else { return None };
        many.memos.here.get().map(|memo| (many.versions.len(), Arc::clone(memo))).or_else(|| many.memos.before.clone())
    }

    /// Keeps what was worked out from all of these versions, for [`memo`](Self::memo) here and in the file's later
    /// states. The first of several at once stays. With fewer than two versions nothing is kept.
    pub fn set_memo(&self, memo: Memo) {
        if let Repr::Many(many) = &self.0 {
            let _ = many.memos.here.set(memo);
        }
    }

    pub(crate) fn push(&mut self, version: Arc<Version>) {
        self.0 = match std::mem::take(&mut self.0) {
            Repr::None => Repr::One(version),
            Repr::One(first) => {
                Repr::Many(Box::new(Many { versions: imbl::vector![first, version], memos: Memos::default() }))
            }
            Repr::Many(mut many) => {
                let memo = many.memos.here.take().map(|memo| (many.versions.len(), memo));
                many.memos.before = memo.or_else(|| many.memos.before.take());
                many.versions.push_back(version);
                Repr::Many(many)
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::node::{Attributes, Part, Place, Txn};

    fn version(number: u64) -> Arc<Version> {
        let part = Part { hash: blake3::hash(&number.to_le_bytes()), size: 0, place: Place::Content };
        let (txn, modified) = (Txn(number), DateTime::UNIX_EPOCH);
        Arc::new(Version { number, mode: WriteMode::Append, part, txn, modified, attributes: Attributes::default() })
    }

    #[test]
    fn a_memo_goes_on_with_the_versions_it_was_made_from() {
        let mut versions = Versions::default();
        versions.push(version(1));
        versions.set_memo(Arc::new(1_u64));
        assert!(versions.memo().is_none(), "one version is gone through at once");
        versions.push(version(2));
        versions.set_memo(Arc::new(2_u64));
        let other = versions.clone();
        versions.push(version(3));
        versions.push(version(4));
        let read = |versions: &Versions| {
            versions.memo().map(|(count, memo)| (count, *memo.downcast_ref::<u64>().expect("it is a number")))
        };
        assert_eq!(read(&versions), Some((2, 2)));
        assert_eq!(read(&other), Some((2, 2)));
        versions.set_memo(Arc::new(4_u64));
        assert_eq!(read(&versions), Some((4, 4)));
        assert_eq!(read(&other), Some((2, 2)), "what comes later is not seen before");
    }
}
