//! [`Outboard`]: the hashes of a part's blocks, so that a range of it can be checked without the rest.
//!
//! BLAKE3 is a tree: the hashes of aligned blocks of 2ⁿ KiB merge into the hash of the whole. A list of them is thus
//! checked against the part's own hash, and whoever keeps the list need not be trusted.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use blake3::{Hash, Hasher, OUT_LEN};
use bytes::Bytes;

/// How many bytes are checked together. A read is widened to whole blocks.
pub(crate) const BLOCK: u64 = 128 * 1024;
const BLOCK_LEN: usize = 128 * 1024;

/// How many bytes of hashes are kept in memory: those of 64 GiB of parts.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// The hashes of a part's blocks, two at least. They are known to make the part's hash.
#[derive(Debug, Clone)]
pub(crate) struct Outboard {
    values: Arc<[ChainingValue]>,
    checked: Arc<Mutex<Checked>>,
}

/// The blocks that were found right, of the file that has this tag: for a local file its inode, size and times of change.
/// Hashing is dearer than decoding, and a file that has not changed need not be hashed for each query again.
#[derive(Debug, Default)]
struct Checked {
    tag: Option<String>,
    /// For each block; none, where none was checked.
    blocks: Vec<bool>,
}

impl From<Arc<[ChainingValue]>> for Outboard {
    fn from(values: Arc<[ChainingValue]>) -> Self {
        Self { values, checked: Arc::default() }
    }
}

impl Outboard {
    /// What [`to_bytes`](Self::to_bytes) gave for a part of this hash and size, or nothing if it is something else.
    pub(crate) fn parse(bytes: &[u8], hash: &Hash, size: u64) -> Option<Self> {
        let (values, rest) = bytes.as_chunks::<OUT_LEN>();
        let fits = rest.is_empty() && values.len() as u64 == size.div_ceil(BLOCK);
        (fits && root(values)? == *hash).then(|| Self::from(Arc::from(values)))
    }

    /// The hashes, one after the other.
    pub(crate) fn to_bytes(&self) -> Bytes {
        self.values.as_flattened().to_vec().into()
    }

    /// Whether `bytes`, which begin at the block that begins at `start`, are the part's. `tag` tells the state of the file
    /// that they were read from; without one, nothing is remembered.
    pub(crate) fn holds(&self, start: u64, bytes: &[u8], tag: Option<&str>) -> bool {
        let Ok(first) = usize::try_from(start / BLOCK) else { return false };
        let unchecked = self.unchecked(first..first + bytes.len().div_ceil(BLOCK_LEN), tag);
        let intact = unchecked.iter().all(|index| {
            let at = (index - first) * BLOCK_LEN;
            let block = &bytes[at..bytes.len().min(at + BLOCK_LEN)];
            let value = Hasher::new().set_input_offset(*index as u64 * BLOCK).update(block).finalize_non_root();
            self.values.get(*index) == Some(&value)
        });
        if intact && tag.is_some() {
            let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
            if checked.tag.as_deref() == tag {
                checked.blocks.resize(self.values.len(), false);
                for index in unchecked {
                    if let Some(block) = checked.blocks.get_mut(index) {
                        *block = true;
                    }
                }
            }
        }
        intact
    }

    /// All blocks are right in a file that has this tag.
    pub(crate) fn remember(&self, tag: Option<&str>) {
        if let Some(tag) = tag {
            *self.checked.lock().unwrap_or_else(PoisonError::into_inner) =
                Checked { tag: Some(tag.to_owned()), blocks: vec![true; self.values.len()] };
        }
    }

    /// Whether [`holds`](Self::holds) has found all of these blocks right before, in the same state of the file.
    pub(crate) fn has_checked(&self, start: u64, length: usize, tag: Option<&str>) -> bool {
        let Ok(first) = usize::try_from(start / BLOCK) else { return false };
        tag.is_some() && self.unchecked(first..first + length.div_ceil(BLOCK_LEN), tag).is_empty()
    }

    fn unchecked(&self, blocks: Range<usize>, tag: Option<&str>) -> Vec<usize> {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if tag.is_none() || checked.tag.as_deref() != tag {
            *checked = Checked { tag: tag.map(str::to_owned), blocks: Vec::new() };
        }
        blocks.filter(|index| checked.blocks.get(*index) != Some(&true)).collect()
    }
}

/// The blocks of a part of this size that a range touches.
pub(crate) fn widen(range: &Range<u64>, size: u64) -> Range<u64> {
    range.start / BLOCK * BLOCK..range.end.next_multiple_of(BLOCK).min(size)
}

/// Hashes a part and its blocks in one pass.
#[derive(Debug, Default)]
pub(crate) struct BlockHasher {
    finished: Vec<ChainingValue>,
    block: Hasher,
    size: u64,
}

impl BlockHasher {
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.block.count() == BLOCK {
                self.finished.push(self.block.finalize_non_root());
                // Not `reset`, which keeps the offset of the block before.
                self.block = Hasher::new();
                let _ = self.block.set_input_offset(self.size);
            }
            let room = usize::try_from(BLOCK - self.block.count()).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            let _ = self.block.update(now);
            self.size += now.len() as u64;
            bytes = later;
        }
    }

    /// How many bytes were hashed.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The hash of all bytes, and those of the blocks if there are two or more.
    pub(crate) fn finish(mut self) -> (Hash, Option<Outboard>) {
        if self.finished.is_empty() {
            return (self.block.finalize(), None);
        }
        self.finished.push(self.block.finalize_non_root());
        match root(&self.finished) {
            Some(hash) => (hash, Some(Outboard::from(Arc::from(self.finished)))),
            None => (self.block.finalize(), None),
        }
    }
}

/// The hash of a whole whose blocks, two or more, have these.
fn root(values: &[ChainingValue]) -> Option<Hash> {
    let (left, right) = split(values)?;
    Some(merge_subtrees_root(&node(left)?, &node(right)?, Mode::Hash))
}

fn node(values: &[ChainingValue]) -> Option<ChainingValue> {
    match values {
        [] => None,
        [value] => Some(*value),
        _ => {
            let (left, right) = split(values)?;
            Some(merge_subtrees_non_root(&node(left)?, &node(right)?, Mode::Hash))
        }
    }
}

/// The left side of a tree is the largest full one that leaves something for the right side.
fn split(values: &[ChainingValue]) -> Option<(&[ChainingValue], &[ChainingValue])> {
    (values.len() > 1).then(|| values.split_at(values.len().div_ceil(2).next_power_of_two()))
}

/// Keeps outboards up to a limit, and forgets the oldest first.
#[derive(Debug, Default)]
pub(crate) struct OutboardCache(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    outboards: HashMap<Hash, Outboard>,
    order: VecDeque<Hash>,
    bytes: usize,
}

impl OutboardCache {
    pub(crate) fn get(&self, hash: &Hash) -> Option<Outboard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).outboards.get(hash).cloned()
    }

    pub(crate) fn insert(&self, hash: Hash, outboard: Outboard) {
        let cost = |outboard: &Outboard| 128 + outboard.values.len() * (OUT_LEN + 1);
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.bytes += cost(&outboard);
        if let Some(before) = held.outboards.insert(hash, outboard) {
            held.bytes -= cost(&before);
        } else {
            held.order.push_back(hash);
        }
        // The one that was just put in stays, however large it is.
        while held.bytes > CACHE_BYTES
            && held.order.len() > 1
            && let Some(oldest) = held.order.pop_front()
        {
            if let Some(outboard) = held.outboards.remove(&oldest) {
                held.bytes -= cost(&outboard);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_make_the_hash_of_the_whole() {
        let block = usize::try_from(BLOCK).unwrap();
        let bytes: Vec<u8> = (0..9 * block + 77).map(|at| (at % 251) as u8 ^ (at >> 16) as u8).collect();
        for size in [0, 1, block - 1, block, block + 1, 2 * block, 3 * block - 5, 5 * block, 8 * block, 9 * block + 77]
        {
            let bytes = &bytes[..size];
            let mut hasher = BlockHasher::default();
            bytes.chunks(70_001).for_each(|bytes| hasher.update(bytes));
            assert_eq!(hasher.size(), size as u64);
            let (hash, outboard) = hasher.finish();
            assert_eq!(hash, blake3::hash(bytes), "{size}");
            assert_eq!(outboard.is_some(), size > block, "{size}");
            let Some(outboard) = outboard else { continue };
            let mut kept = outboard.to_bytes().to_vec();
            let again = Outboard::parse(&kept, &hash, size as u64).unwrap();
            assert!(again.holds(0, bytes, None));
            assert!(again.holds(BLOCK, &bytes[block..], None));
            assert!(!again.holds(0, &bytes[block..], None));
            assert!(!again.holds(0, &bytes[..block - 1], None));
            // What was found right is not hashed again, while the file has the same tag.
            assert!(again.holds(0, bytes, Some("a")));
            let mut other = bytes.to_vec();
            other[block + size % block / 2] ^= 1;
            assert!(again.holds(0, &other, Some("a")));
            assert!(!again.holds(0, &other, Some("b")));
            assert!(again.holds(0, bytes, Some("b")));
            kept[33] ^= 1;
            assert!(Outboard::parse(&kept, &hash, size as u64).is_none());
        }
    }

    #[test]
    fn a_range_grows_to_whole_blocks() {
        assert_eq!(widen(&(5..6), 10 * BLOCK), 0..BLOCK);
        assert_eq!(widen(&(BLOCK..2 * BLOCK), 10 * BLOCK), BLOCK..2 * BLOCK);
        assert_eq!(widen(&(BLOCK - 1..BLOCK + 1), BLOCK + 9), 0..BLOCK + 9);
    }
}
