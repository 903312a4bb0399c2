//! The bytes of parts.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use tokio::io::AsyncReadExt;

use crate::error::{Error, ErrorKind};
use crate::node::{Part, Place, Version, WriteMode};
use crate::snapshot::Snapshot;

use super::StoreFactory;
use super::pond::{Store, begin_newest, committed, content, create_file, part, path, read_part, write};

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

/// Each version is read through a reader of its own, in pieces of any size; one that is stopped neither loses nor repeats bytes,
/// and one that is dropped takes nothing with it. Bytes that are not those written end the reading.
///
/// # Panics
/// When the store breaks its contract.
pub async fn versions_are_read_in_pieces(factory: &dyn StoreFactory) {
    let store = factory.create().await;
    let sizes = [0, 1, 1000, INLINE_LIMIT + 1, 9_000_000];
    let mut transaction = begin_newest(&store).await;
    create_file(&mut transaction, "/f", &sample(sizes[0])).await;
    for size in &sizes[1..] {
        let _ = write(&mut transaction, "/f", WriteMode::Append, &sample(*size)).await;
    }
    let snapshot = committed(transaction).await;
    let entry = snapshot.lookup(&path("/f")).expect("the file is there");
    let versions = entry.node.versions().expect("it is a file");
    assert_eq!(versions.len(), sizes.len());
    for (version, size) in versions.iter().zip(sizes) {
        let expected = sample(size);
        for piece in [3, 1000, 100_000, 20_000_000] {
            if size / piece > 100_000 {
                continue;
            }
            let (mut reader, mut read, mut buffer) = (snapshot.open(version), Vec::new(), vec![0; piece]);
            loop {
                let count = reader.read(&mut buffer).await.expect("a version can be read");
                if count == 0 {
                    break;
                }
                read.extend_from_slice(&buffer[..count]);
            }
            assert!(read == expected, "{size} bytes read in pieces of {piece} are not those that were written");
        }
        for (start, end) in [(0, size), (size / 3, size / 2), (size.saturating_sub(1), size)] {
            let bytes = snapshot.read(&version.part, start as u64..end as u64).await.expect("a range can be read");
            assert!(bytes == expected[start..end], "bytes {start}..{end} of {size} are not those that were written");
        }
    }

    let last = versions.last().expect("there are versions");
    let expected = sample(9_000_000);
    let (mut stopped, mut dropped) = (snapshot.open(last), snapshot.open(last));
    let (mut read, mut buffer) = (Vec::new(), vec![0; 1_000_000]);
    while read.len() < 8_000_000 {
        // A read that nobody waits for any more: it has taken bytes, or it has not.
        if let Some(count) = stopped.read(&mut buffer).now_or_never() {
            read.extend_from_slice(&buffer[..count.expect("a version can be read")]);
        }
        let count = stopped.read(&mut buffer).await.expect("a version can be read");
        read.extend_from_slice(&buffer[..count]);
    }
    let _ = dropped.read(&mut buffer).await.expect("a version can be read");
    drop(dropped);
    let _ = stopped.read_to_end(&mut read).await.expect("a version can be read");
    assert!(read == expected, "a reader that was stopped goes on where it was");

    let mut other = Version::clone(last);
    let bytes = Bytes::from_static(b"others");
    other.part = Part { hash: blake3::hash(b"written"), size: bytes.len() as u64, place: Place::Memory(bytes) };
    let error = snapshot.open(&Arc::new(other)).read_to_end(&mut read).await.expect_err("its hash is another");
    let error = error.downcast::<Error>().expect("the cause is inside");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("version 5"), "the error names the version: {error}");
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

async fn check_ranges(store: &Store, part: &Part, bytes: &[u8]) {
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
