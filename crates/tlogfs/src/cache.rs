//! [`PartCache`]: inline parts that were read, so that a log file is read once for all its parts.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tinyfs::{Hash, Txn};

type Key = (Txn, Hash);

/// Keeps bytes up to a limit, and forgets the oldest first.
#[derive(Debug)]
pub(crate) struct PartCache {
    limit: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    parts: HashMap<Key, Bytes>,
    order: VecDeque<Key>,
    bytes: usize,
}

/// What an entry costs beside its bytes, roughly.
const OVERHEAD: usize = 128;

impl PartCache {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, held: Mutex::default() }
    }

    pub(crate) fn get(&self, txn: Txn, hash: Hash) -> Option<Bytes> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).parts.get(&(txn, hash)).cloned()
    }

    pub(crate) fn insert(&self, txn: Txn, hash: Hash, bytes: Bytes) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let size = bytes.len() + OVERHEAD;
        if size > self.limit || held.parts.contains_key(&(txn, hash)) {
            return;
        }
        held.bytes += size;
        let _ = held.parts.insert((txn, hash), bytes);
        held.order.push_back((txn, hash));
        while held.bytes > self.limit
            && let Some(oldest) = held.order.pop_front()
        {
            if let Some(bytes) = held.parts.remove(&oldest) {
                held.bytes -= bytes.len() + OVERHEAD;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first() {
        let cache = PartCache::new(3 * (OVERHEAD + 10));
        let hash = blake3::hash(b"");
        for txn in 1..=4 {
            cache.insert(Txn(txn), hash, Bytes::from_static(&[0; 10]));
        }
        assert_eq!(cache.get(Txn(1), hash), None);
        assert!((2..=4).all(|txn| cache.get(Txn(txn), hash).is_some()));
        cache.insert(Txn(5), hash, vec![0; 10_000].into());
        assert_eq!(cache.get(Txn(5), hash), None);
    }
}
