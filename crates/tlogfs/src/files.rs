//! [`LogFiles`]: which file of the log holds which transactions.

use std::sync::Arc;

use object_store::path::Path;
use tinyfs::{Hash, Result, Txn};
use uuid::Uuid;

use crate::error::corrupt;
use crate::rows::Encoded;
use crate::sparse::Holes;

/// Merged files grow to about this many bytes. An inline part is read with its whole file, so not more.
const MERGED_BYTES: u64 = 16 * 1024 * 1024;
/// So many merged files of one level make one of the next.
const FAN_IN: usize = 16;

/// A file of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogFile {
    /// Below the pond's root.
    pub(crate) path: Path,
    /// In bytes.
    pub(crate) size: u64,
    /// BLAKE3 of the file.
    pub(crate) hash: Hash,
    /// Where in it inline parts are.
    pub(crate) holes: Holes,
    /// BLAKE3 of the file without them.
    pub(crate) rest: Hash,
    /// How many rows it has.
    pub(crate) rows: u64,
    /// The first transaction in it.
    pub(crate) first: Txn,
    /// The last one. Those between are in it too.
    pub(crate) last: Txn,
}

impl LogFile {
    /// A file that is yet to be written, with a name that no other has.
    pub(crate) fn new(encoded: &Encoded, rows: u64, first: Txn, last: Txn) -> Self {
        let id = Uuid::new_v4().simple();
        let name = if first == last { format!("{first:0>20}-{id}") } else { format!("{first:0>20}-{last:0>20}-{id}") };
        let path = Path::from_iter(["log", &format!("{name}.parquet")]);
        let Encoded { bytes, hash, holes, rest } = encoded;
        Self { path, size: bytes.len() as u64, hash: *hash, holes: holes.clone(), rest: *rest, rows, first, last }
    }

    /// What an error calls it.
    pub(crate) fn describe(&self) -> String {
        if self.first == self.last {
            format!("the log file of transaction {} ({})", self.first, self.path)
        } else {
            format!("the log file of transactions {} to {} ({})", self.first, self.last, self.path)
        }
    }

    /// How often its rows have been merged, told from how many transactions it spans.
    fn level(&self, small: u64) -> u32 {
        if self.size >= MERGED_BYTES / 4 {
            return u32::MAX;
        }
        let mut level = 0;
        let mut span = small.max(2);
        while self.last.0 - self.first.0 + 1 >= span {
            level += 1;
            span = span.saturating_mul(FAN_IN as u64);
        }
        level
    }
}

/// The log's files in the order of their transactions, without gap or overlap from transaction 1 on.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogFiles(Vec<Arc<LogFile>>);

impl LogFiles {
    /// The files of a pond whose newest transaction is `newest`.
    ///
    /// # Errors
    /// [`Corrupt`](tinyfs::ErrorKind::Corrupt) when a transaction has no file, or more than one.
    pub(crate) fn covering(mut files: Vec<Arc<LogFile>>, newest: Txn) -> Result<Self> {
        files.sort_by_key(|file| file.first);
        let mut next = Txn(1);
        for file in &files {
            if file.first != next || file.last < file.first {
                return Err(corrupt(format!(
                    "the log is not whole: transaction {next} is expected, but {} follows",
                    file.describe()
                )));
            }
            next = file.last.next();
        }
        if next != newest.next() {
            return Err(corrupt(format!(
                "the log is not whole: no log file holds transaction {next}, and the newest is {newest}"
            )));
        }
        Ok(Self(files))
    }

    /// The one that holds this transaction.
    pub(crate) fn holding(&self, txn: Txn) -> Option<&Arc<LogFile>> {
        self.0.get(self.0.partition_point(|file| file.last < txn)).filter(|file| file.first <= txn)
    }

    /// Those that hold transactions after `after`, up to `until`.
    pub(crate) fn between(&self, after: Txn, until: Txn) -> Vec<Arc<LogFile>> {
        let start = self.0.partition_point(|file| file.last <= after);
        self.0[start..].iter().take_while(|file| file.first <= until).map(Arc::clone).collect()
    }

    /// Whether all of these are still there.
    pub(crate) fn contain(&self, files: &[Arc<LogFile>]) -> bool {
        files.iter().all(|file| self.holding(file.first).is_some_and(|held| held.path == file.path))
    }

    /// Adds the file of the next transaction.
    pub(crate) fn push(&mut self, file: Arc<LogFile>) {
        self.0.push(file);
    }

    /// Takes files out and puts one that holds the same transactions in their place.
    pub(crate) fn replace(&mut self, removed: &[Path], added: Vec<Arc<LogFile>>, newest: Txn) -> Result<()> {
        let mut files = std::mem::take(&mut self.0);
        files.retain(|file| !removed.contains(&file.path));
        files.extend(added);
        *self = Self::covering(files, newest)?;
        Ok(())
    }

    /// How many of the newest files were never merged.
    pub(crate) fn unmerged(&self, small: u64) -> usize {
        self.0.iter().rev().take_while(|file| file.level(small) == 0).count()
    }

    /// The oldest neighbours that are worth a merge: at least `small` files that were never merged, or some that were
    /// merged equally often. A row is thus rewritten only as often as the log grows sixteenfold.
    pub(crate) fn mergeable(&self, small: u64) -> Option<Vec<Arc<LogFile>>> {
        let mut rest = &self.0[..];
        while let Some(first) = rest.first() {
            let level = first.level(small);
            let length = rest.iter().take_while(|file| file.level(small) == level).count();
            let (group, others) = rest.split_at(length);
            rest = others;
            let enough = if level == 0 { usize::try_from(small).ok()? } else { FAN_IN };
            if level < u32::MAX && length >= enough {
                let mut bytes = 0;
                let fits = |file: &&Arc<LogFile>| {
                    bytes += file.size;
                    bytes <= MERGED_BYTES
                };
                return Some(group.iter().take_while(fits).map(Arc::clone).collect());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn file(first: u64, last: u64, size: u64) -> Arc<LogFile> {
        let hash = blake3::hash(b"");
        let encoded = Encoded { bytes: Bytes::new(), hash, holes: Holes::default(), rest: hash };
        let file = LogFile::new(&encoded, last - first + 1, Txn(first), Txn(last));
        Arc::new(LogFile { size, ..file })
    }

    #[test]
    fn a_gap_or_an_overlap_is_damage() {
        let cover = |files: &[(u64, u64)], newest| {
            LogFiles::covering(files.iter().map(|(first, last)| file(*first, *last, 1)).collect(), Txn(newest)).is_ok()
        };
        assert!(cover(&[], 0));
        assert!(cover(&[(3, 3), (1, 2)], 3));
        assert!(!cover(&[(1, 2)], 3));
        assert!(!cover(&[(1, 2), (4, 4)], 4));
        assert!(!cover(&[(1, 2), (2, 3)], 3));
    }

    #[test]
    fn files_are_found_by_transaction() {
        let files = LogFiles::covering(vec![file(1, 4, 1), file(5, 5, 1), file(6, 9, 1)], Txn(9)).unwrap();
        assert_eq!(files.holding(Txn(4)).unwrap().first, Txn(1));
        assert_eq!(files.holding(Txn(6)).unwrap().first, Txn(6));
        assert!(files.holding(Txn(10)).is_none());
        assert_eq!(files.between(Txn(4), Txn(5)).len(), 1);
        assert_eq!(files.between(Txn(3), Txn(6)).len(), 3);
    }

    #[test]
    fn small_neighbours_merge_and_large_files_stay() {
        let mut files: Vec<_> = (1..=3).map(|txn| file(txn, txn, 10)).collect();
        assert!(LogFiles::covering(files.clone(), Txn(3)).unwrap().mergeable(4).is_none());
        files.push(file(4, 4, MERGED_BYTES));
        files.extend((5..=8).map(|txn| file(txn, txn, 10)));
        let run = LogFiles::covering(files, Txn(8)).unwrap().mergeable(4).unwrap();
        assert_eq!((run[0].first, run.len()), (Txn(5), 4));
    }
}
