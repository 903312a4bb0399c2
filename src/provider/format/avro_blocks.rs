//! The blocks of an Avro file, each as a file of its own.
//!
//! The decoder of whole files does not end where a block holds more than it says, does not compare the marks between blocks, and
//! takes a file that was cut short for one that ends there. So blocks are told apart here, and it sees one at a time.
//!
//! It stops where a batch is full, whatever follows in the block. So it is told that there are more rows than any block has: where bytes are
//! left after the rows that the block claims, the decoder finds a second batch, or fails, and where none are left it ends.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use super::Piece;
use crate::error::{Error, ErrorKind, Result};

const MAGIC: &[u8] = b"Obj\x01";
/// The mark that ends the header and each block.
const MARK: usize = 16;
/// How much of a file is looked at for its header; eight times as much, and so on, where that is not enough.
const FIRST_LOOK: u64 = 64 << 10;
/// The longest header.
const MAX_HEADER: u64 = 16 << 20;
/// The longest block, and the most rows that one has.
const MAX_BLOCK: u64 = 256 << 20;
const MAX_ROWS: u64 = 16 << 20;
/// More rows than two blocks have, as a number of the file.
const MORE_ROWS: &[u8] = &[0x80, 0x80, 0x80, 0x80, 0x08];
/// Two numbers, each at its longest.
const NUMBERS: u64 = 20;

/// Reads the header of a file, as it is in its bytes.
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt), saying what is wrong; [`Io`](ErrorKind::Io).
pub(super) async fn header(store: &dyn ObjectStore, meta: &ObjectMeta) -> Result<Bytes> {
    let mut look = FIRST_LOOK;
    loop {
        let end = meta.size.min(look);
        let bytes = read(store, meta, 0..end).await?;
        if !bytes.starts_with(MAGIC) {
            return Err(broken("it does not start with 'Obj' and 1"));
        }
        match header_end(&bytes)? {
            Some(length) => return Ok(bytes.slice(..length)),
            None if end == meta.size => return Err(broken("it ends within its header")),
            None if end >= MAX_HEADER => return Err(broken("its header is too long")),
            None => look *= 8,
        }
    }
}

/// The blocks of a file, one after the other.
pub(super) fn blocks(store: Arc<dyn ObjectStore>, meta: ObjectMeta) -> BoxStream<'static, Result<Piece>> {
    let start = (store, meta, None);
    stream::try_unfold(start, |(store, meta, at)| async move {
        let (head, mut at) = match at {
            Some(at) => at,
            None => {
                let head = header(store.as_ref(), &meta).await?;
                let end = head.len() as u64;
                (head, end)
            }
        };
        while at < meta.size {
            let (piece, end) = block(store.as_ref(), &meta, &head, at).await?;
            at = end;
            if let Some(piece) = piece {
                return Ok(Some((piece, (store, meta, Some((head, at))))));
            }
        }
        Ok(None)
    })
    .boxed()
}

/// The block at `at`, unless it is empty, and where it ends.
async fn block(store: &dyn ObjectStore, meta: &ObjectMeta, head: &Bytes, at: u64) -> Result<(Option<Piece>, u64)> {
    let numbers = read(store, meta, at..meta.size.min(at + NUMBERS)).await?;
    let mut rest = numbers.as_ref();
    let cut = || broken(format!("it ends within the block at {at}"));
    let rows = number(&mut rest)?.ok_or_else(cut)?;
    let before_size = numbers.len() - rest.len();
    let size = number(&mut rest)?.ok_or_else(cut)?;
    let start = at + (numbers.len() - rest.len()) as u64;
    let wrong = || broken(format!("the block at {at} claims {rows} rows in {size} bytes, of {}", meta.size));
    let (Ok(rows), Ok(size)) = (u64::try_from(rows), u64::try_from(size)) else { return Err(wrong()) };
    let end = start.checked_add(size).and_then(|end| end.checked_add(MARK as u64)).filter(|end| *end <= meta.size);
    let end = end.filter(|_| size <= MAX_BLOCK && rows <= MAX_ROWS && (rows > 0 || size == 0)).ok_or_else(wrong)?;
    let bytes = read(store, meta, at..end).await?;
    if !bytes.ends_with(&head[head.len() - MARK..]) {
        return Err(broken(format!("the block at {at} does not end where it says")));
    }
    if rows == 0 {
        return Ok((None, end));
    }
    let rows = usize::try_from(rows).map_err(|error| wrong().with_source(error))?;
    let mut file = BytesMut::with_capacity(head.len() + MORE_ROWS.len() + bytes.len());
    file.extend_from_slice(head);
    file.extend_from_slice(MORE_ROWS);
    file.extend_from_slice(&bytes[before_size..]);
    Ok((Some(Piece { bytes: file.freeze(), rows }), end))
}

/// Where a header ends; `None` where more bytes are needed.
fn header_end(bytes: &[u8]) -> Result<Option<usize>> {
    let mut rest = &bytes[MAGIC.len()..];
    loop {
        let Some(mut pairs) = number(&mut rest)? else { return Ok(None) };
        if pairs == 0 {
            break;
        }
        if pairs < 0 {
            // The size of these pairs in bytes follows.
            if number(&mut rest)?.is_none() {
                return Ok(None);
            }
            pairs = pairs.checked_neg().ok_or_else(|| broken("its header is wrong"))?;
        }
        // A key and a value each.
        for _ in 0..pairs.saturating_mul(2) {
            let Some(length) = number(&mut rest)? else { return Ok(None) };
            let length = usize::try_from(length).map_err(|_| broken("its header has a negative length"))?;
            match rest.get(length..) {
                Some(after) => rest = after,
                None => return Ok(None),
            }
        }
    }
    let end = bytes.len() - rest.len() + MARK;
    Ok((end <= bytes.len()).then_some(end))
}

/// Takes a number, zigzag in groups of seven bits; `None` where the bytes end within it.
fn number(bytes: &mut &[u8]) -> Result<Option<i64>> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().copied().enumerate() {
        if at == 9 && byte > 1 {
            return Err(broken("a number does not end"));
        }
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            *bytes = &bytes[at + 1..];
            let half = (value >> 1).cast_signed();
            return Ok(Some(if value & 1 == 0 { half } else { !half }));
        }
    }
    Ok(None)
}

async fn read(store: &dyn ObjectStore, meta: &ObjectMeta, range: Range<u64>) -> Result<Bytes> {
    if range.is_empty() {
        return Ok(Bytes::new());
    }
    Ok(store.get_range(&meta.location, range).await?)
}

fn broken(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Corrupt, format!("not an Avro file: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_zigzag() {
        for (bytes, value) in [(&[0][..], 0), (&[1], -1), (&[2], 1), (&[0x80, 1], 64), (&[0xff; 9][..9], 0)] {
            let mut rest = bytes;
            let read = number(&mut rest).unwrap();
            assert_eq!(read, (bytes.len() < 9).then_some(value), "{bytes:?}");
        }
        let mut longest: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 7];
        assert_eq!(number(&mut longest).unwrap(), Some(i64::MIN));
        assert_eq!(longest, [7]);
        assert!(number(&mut [0xff; 11].as_slice()).is_err());
        let mut more = MORE_ROWS;
        assert!(number(&mut more).unwrap().is_some_and(|more| more.cast_unsigned() > 2 * MAX_ROWS));
    }
}
