//! [`Versions`]: the history of a file, shared between snapshots.

use std::any::Any;
use std::sync::{Arc, OnceLock};

use crate::node::{Txn, Version, WriteMode};

/// The versions of one file, oldest first. Cloning and appending share structure.
///
/// Beside them there may be [`Compaction`]s: parts that hold what some of the versions of the present content hold,
/// for those who do not care which version it came with. The versions stay.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Versions {
    repr: Repr,
    /// Of disjoint runs, by their versions; most files have none.
    compactions: Option<Arc<Vec<Compaction>>>,
}

/// Parts that hold the rows of a run of versions once more, in fewer pieces or in a better order.
#[derive(Debug, Clone, PartialEq)]
pub struct Compaction {
    /// The number of the first version that they stand for.
    pub first: u64,
    /// The number of the last one.
    pub last: u64,
    /// The transaction that wrote them.
    pub txn: Txn,
    /// The parts, in the order of the content. Each has the number of the last version.
    pub parts: Vec<Arc<Version>>,
}

/// Most files of a large pond have one version, and a persistent vector costs half a kilobyte before its first
/// element; hence the three cases.

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
        match &self.repr {
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
        match &self.repr {
            Repr::None => None,
            Repr::One(version) => Some(version),
            Repr::Many(many) => many.versions.last(),
        }
    }

    /// The version with this number, counted from 1.
    pub fn get(&self, number: u64) -> Option<&Arc<Version>> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        match &self.repr {
            Repr::None => None,
            Repr::One(version) => (index == 0).then_some(version),
            Repr::Many(many) => many.versions.get(index),
        }
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Version>> {
        let (one, many) = match &self.repr {
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
        let Repr::Many(many) = &self.repr else { return None };
        many.memos.here.get().map(|memo| (many.versions.len(), Arc::clone(memo))).or_else(|| many.memos.before.clone())
    }

    /// Keeps what was worked out from all of these versions, for [`memo`](Self::memo) here and in the file's later
    /// states. The first of several at once stays. With fewer than two versions nothing is kept.
    pub fn set_memo(&self, memo: Memo) {
        if let Repr::Many(many) = &self.repr {
            let _ = many.memos.here.set(memo);
        }
    }

    /// What is beside the versions, by the versions that each stands for.
    pub fn compactions(&self) -> &[Compaction] {
        self.compactions.as_ref().map_or(&[], |compactions| compactions)
    }

    /// As [`content_at`](Self::content_at), with the parts of compactions in place of the versions that they stand for.
    pub fn compacted_at(&self, number: u64) -> Vec<Arc<Version>> {
        let versions = self.content_at(number);
        if self.compactions.is_none() {
            return versions;
        }
        let mut content = Vec::new();
        let mut covered = 0;
        for version in versions.into_iter() {
            if version.number <= covered {
                continue;
            }
            let stands = |compaction: &&Compaction| compaction.first == version.number && compaction.last <= number;
            match self.compactions().iter().find(stands) {
                Some(compaction) => {
                    covered = compaction.last;
                    content.extend(compaction.parts.iter().map(Arc::clone));
                }
                None => content.push(version),
            }
        }
        content
    }

    /// Whether parts may stand for the versions `first` to `last`: these are in the present content, and no compaction
    /// is there that stands for some of them and for others.
    pub(crate) fn can_compact(&self, first: u64, last: u64) -> bool {
        let start = self.content().first().map_or(u64::MAX, |version| version.number);
        first >= start
            && first <= last
            && last <= self.len() as u64
            && self.compactions().iter().all(|other| {
                let inside = first <= other.first && other.last <= last;
                inside || other.last < first || last < other.first
            })
    }

    /// Begins a compaction with its first part, in place of those that stand for the same versions or some of them.
    /// Whether it [can](Self::can_compact).
    pub(crate) fn compact(&mut self, first: u64, part: Arc<Version>) -> bool {
        let last = part.number;
        if !self.can_compact(first, last) {
            return false;
        }
        self.forget();
        let all = Arc::make_mut(self.compactions.get_or_insert_default());
        all.retain(|other| other.last < first || last < other.first);
        let at = all.partition_point(|other| other.last < first);
        all.insert(at, Compaction { first, last, txn: part.txn, parts: vec![part] });
        true
    }

    /// Adds a part to the compaction that the same transaction has begun. Whether it has.
    pub(crate) fn compact_more(&mut self, first: u64, part: Arc<Version>) -> bool {
        if !self.is_compacting(first, part.number, part.txn) {
            return false;
        }
        self.forget();
        let Some(all) = &mut self.compactions else { return false };
        let own = Arc::make_mut(all).iter_mut().find(|own| own.first == first);
        own.map(|own| own.parts.push(part)).is_some()
    }

    /// What was worked out from the parts that were read before does not hold for others.
    fn forget(&mut self) {
        if let Repr::Many(many) = &mut self.repr {
            many.memos = Memos::default();
        }
    }

    /// Whether transaction `txn` has begun this compaction.
    pub(crate) fn is_compacting(&self, first: u64, last: u64, txn: Txn) -> bool {
        self.compactions().iter().any(|own| (own.first, own.last, own.txn) == (first, last, txn))
    }

    pub(crate) fn push(&mut self, version: Arc<Version>) {
        // What is not of the content any more is read by its versions.
        if version.mode == WriteMode::Replace {
            self.compactions = None;
        }
        self.repr = match std::mem::take(&mut self.repr) {
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
    use bytes::Bytes;
    use chrono::DateTime;

    use super::*;
    use crate::node::{Attributes, Part, Place};

    fn version(number: u64, mode: WriteMode, txn: u64) -> Arc<Version> {
        let part = Part { hash: blake3::hash(b""), size: txn, place: Place::Memory(Bytes::new()) };
        let (modified, attributes) = (DateTime::default(), Attributes::default());
        Arc::new(Version { number, mode, part, txn: Txn(txn), modified, attributes })
    }

    fn file(count: u64) -> Versions {
        let mut versions = Versions::default();
        for number in 1..=count {
            versions.push(version(number, WriteMode::Append, number));
        }
        versions
    }

    /// The content by the transactions that wrote its parts.
    fn told(versions: &Versions, at: u64) -> Vec<u64> {
        versions.compacted_at(at).iter().map(|version| version.txn.0).collect()
    }

    #[test]
    fn a_memo_goes_on_with_the_versions_it_was_made_from() {
        let mut versions = Versions::default();
        versions.push(version(1, WriteMode::Append, 1));
        versions.set_memo(Arc::new(1_u64));
        assert!(versions.memo().is_none(), "one version is gone through at once");
        versions.push(version(2, WriteMode::Append, 2));
        versions.set_memo(Arc::new(2_u64));
        let other = versions.clone();
        versions.push(version(3, WriteMode::Append, 3));
        versions.push(version(4, WriteMode::Append, 4));
        let read = |versions: &Versions| {
            versions.memo().map(|(count, memo)| (count, *memo.downcast_ref::<u64>().expect("it is a number")))
        };
        assert_eq!(read(&versions), Some((2, 2)));
        assert_eq!(read(&other), Some((2, 2)));
        versions.set_memo(Arc::new(4_u64));
        assert_eq!(read(&versions), Some((4, 4)));
        assert_eq!(read(&other), Some((2, 2)), "what comes later is not seen before");
        assert!(versions.compact(1, version(2, WriteMode::Append, 9)));
        assert!(versions.memo().is_none(), "the content is in other parts now");
    }

    #[test]
    fn compactions_stand_for_their_versions_only() {
        let mut versions = file(6);
        assert!(versions.compact(2, version(4, WriteMode::Append, 10)));
        assert_eq!(told(&versions, 6), [1, 10, 5, 6]);
        assert_eq!((told(&versions, 4), told(&versions, 3)), (vec![1, 10], vec![1, 2, 3]));
        assert!(versions.compact_more(2, version(4, WriteMode::Append, 10)));
        assert!(!versions.compact_more(2, version(4, WriteMode::Append, 11)), "another transaction's");
        assert!(!versions.compact_more(3, version(4, WriteMode::Append, 10)), "of other versions");
        assert_eq!(told(&versions, 5), [1, 10, 10, 5]);
        for (first, last) in [(1, 3), (3, 5), (3, 3), (3, 4), (2, 3), (0, 2), (5, 7), (6, 5)] {
            assert!(!versions.can_compact(first, last), "{first} to {last}");
        }
        assert!(versions.compact(1, version(1, WriteMode::Append, 12)));
        assert!(versions.compact(5, version(6, WriteMode::Append, 13)));
        assert_eq!(told(&versions, 6), [12, 10, 10, 13]);
        assert!(versions.compact(1, version(4, WriteMode::Append, 14)));
        assert_eq!((told(&versions, 6), versions.compactions().len()), (vec![14, 13], 2));
        assert_eq!(versions.iter().map(|version| version.txn.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_version_that_replaces_ends_them() {
        let mut versions = file(3);
        assert!(versions.compact(1, version(3, WriteMode::Append, 9)));
        versions.push(version(4, WriteMode::Replace, 10));
        assert_eq!((told(&versions, 4), told(&versions, 3)), (vec![10], vec![1, 2, 3]));
        assert!(!versions.can_compact(3, 4) && !versions.can_compact(1, 3) && versions.can_compact(4, 4));
    }
}
