//! The bytes of parts.

use std::sync::Arc;

use bytes::Bytes;

use crate::snapshot::Snapshot;

use super::StoreFactory;
use super::pond::{Store, begin_newest, committed, content, create_file, part, path, read_part};

/// Stores keep parts up to this size with the log.
const INLINE_LIMIT: usize = 64 * 1024;

/// Parts of no, few and many bytes are read back whole and in ranges: before the commit that names them, after it, and by
/// another process.
///
/// # Panics
/// When the store breaks its contract.
pub async fn parts_of_all_sizes(factory: &dyn StoreFactory) {
    let store = factory.create().await;
    let sizes = [0, 1, 1000, INLINE_LIMIT - 1, INLINE_LIMIT, INLINE_LIMIT + 1, 5_000_000];
    let mut transaction = begin_newest(&store).await;
    for size in sizes {
        let bytes = sample(size);
        let unnamed = part(&store, &bytes).await;
        assert_eq!(read_part(&store, &unnamed).await, bytes, "a finished part of {size} bytes is readable at once");
        check_ranges(&store, &unnamed, &bytes).await;
        create_file(&mut transaction, &format!("/f{size}"), &bytes).await;
        assert_eq!(content(&transaction.snapshot(), &format!("/f{size}")).await, bytes);
    }
    let written = committed(transaction).await;
    store.settle().await.expect("the store settles");
    let again = factory.reopen(&store).await;
    let seen = Snapshot::newest(again).await.expect("the store can be refreshed");
    for snapshot in [written, seen] {
        for size in sizes {
            let bytes = sample(size);
            let at = format!("/f{size}");
            assert_eq!(content(&snapshot, &at).await, bytes, "a committed part of {size} bytes is read back whole");
            let entry = snapshot.lookup(&path(&at)).expect("the file is there");
            let version = entry.node.versions().and_then(|versions| versions.last()).expect("it has a version");
            check_ranges(snapshot.store(), &version.part, &bytes).await;
        }
    }
}

/// Two parts with the same bytes, of one or several transactions, stand beside each other.
///
/// # Panics
/// When the store breaks its contract.
pub async fn equal_bytes_may_be_written_twice(factory: &dyn StoreFactory) {
    let store = factory.create().await;
    let bytes = sample(100_000);
    let mut transaction = begin_newest(&store).await;
    create_file(&mut transaction, "/a", &bytes).await;
    create_file(&mut transaction, "/b", &bytes).await;
    let _ = committed(transaction).await;
    let mut transaction = begin_newest(&store).await;
    create_file(&mut transaction, "/c", &bytes).await;
    drop(part(&store, &bytes).await);
    let snapshot = committed(transaction).await;
    for at in ["/a", "/b", "/c"] {
        assert_eq!(content(&snapshot, at).await, bytes, "'{at}' has bytes that others have too");
    }
}

/// A writer that is dropped before its end leaves nothing behind, and takes nothing with it.
///
/// # Panics
/// When the store breaks its contract.
pub async fn a_dropped_writer_leaves_nothing(factory: &dyn StoreFactory) {
    let store = factory.create().await;
    let bytes = sample(1_000_000);
    let mut transaction = begin_newest(&store).await;
    create_file(&mut transaction, "/kept", &bytes).await;
    let before = committed(transaction).await;
    for _ in 0..3 {
        let mut writer = store.create_part().await.expect("a part can be started");
        writer.write(Bytes::from(bytes.clone())).await.expect("a part takes bytes");
        drop(writer);
    }
    store.settle().await.expect("the store settles");
    assert_eq!(factory.unfinished_parts(&store).await, 0, "a dropped writer leaves no bytes behind");
    let newest = store.refresh().await.expect("the store can be refreshed");
    assert_eq!(newest.txn(), before.txn(), "a dropped writer commits nothing");
    let snapshot = Snapshot::new(newest, Arc::clone(&store));
    assert_eq!(content(&snapshot, "/kept").await, bytes, "equal bytes that were committed stay");
}

async fn check_ranges(store: &Store, part: &crate::node::Part, bytes: &[u8]) {
    let size = bytes.len();
    let ranges =
        [(0, 0), (0, 1), (0, size), (1, size), (size / 3, size / 2), (size.saturating_sub(1), size), (size, size)];
    for (start, end) in ranges.into_iter().filter(|(start, end)| start <= end && *end <= size) {
        let read = store
            .read_part(part, start as u64..end as u64)
            .await
            .unwrap_or_else(|error| panic!("bytes {start}..{end} of {size} cannot be read: {error}"));
        assert!(read == bytes[start..end], "bytes {start}..{end} of {size} are not those that were written");
    }
    let size = size as u64;
    for (start, end) in [(0, size + 1), (size, size + 1), (size + 1, size + 1), (size + 10, size + 20)] {
        let read = store.read_part(part, start..end).await;
        assert!(read.is_err(), "bytes {start}..{end} of {size} reach past the end, which is an error");
    }
}

/// Bytes that do not repeat soon, so that a wrong offset shows.
fn sample(size: usize) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    let _ = hasher.update(&size.to_le_bytes());
    let mut bytes = vec![0; size];
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}
