//! How deeply a Parquet schema nests, before it is decoded, and what the head of a page says.
//!
//! The decoder calls itself for each level, and the process ends where the stack does, which nothing can catch. So the schema in a
//! footer, in Thrift's compact encoding, is walked here first, as far as its groups go.

use crate::error::{Error, ErrorKind, Result};

/// How deeply groups may nest.
const MAX_DEPTH: usize = 128;
/// How deeply values may nest that are skipped: more than the decoder follows.
const MAX_SKIPPED: usize = 128;

/// The fields of a footer and of an element of its schema that count.
const SCHEMA: i64 = 2;
const NUM_CHILDREN: i64 = 5;
/// The fields of the head of a page that count.
const UNPACKED_SIZE: i64 = 2;
const PAGE_SIZE: i64 = 3;
/// Types of values.
const I32: u8 = 5;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// Checks the schema in a footer. What cannot be read is left to the decoder, which will say so.
///
/// # Errors
/// [`Limit`](ErrorKind::Limit) where it nests too deeply.
pub(crate) fn check_depth(footer: &[u8]) -> Result<()> {
    match (Walk { rest: footer }).file() {
        Some(false) => Err(Error::new(ErrorKind::Limit, format!("its columns nest more than {MAX_DEPTH} levels deep"))),
        Some(true) | None => Ok(()),
    }
}

/// What the head of a page at the start of `bytes` says: how many bytes the page holds unpacked, and how many it has; and what follows
/// the head. `None` where it cannot be read.
pub(super) fn page_sizes(bytes: &[u8]) -> Option<(i64, i64, &[u8])> {
    let mut walk = Walk { rest: bytes };
    let (mut id, mut unpacked, mut length) = (0, None, None);
    while let Some(kind) = walk.field(&mut id)? {
        match id {
            // Whatever type they have: the decoder does not ask for it either.
            UNPACKED_SIZE => unpacked = Some(walk.signed()?),
            PAGE_SIZE => length = Some(walk.signed()?),
            _ => walk.skip(kind, MAX_SKIPPED)?,
        }
    }
    Some((unpacked?, length?, walk.rest))
}

/// A walk over encoded values; `None` wherever they are not what they should be.
struct Walk<'a> {
    rest: &'a [u8],
}

impl Walk<'_> {
    /// Whether all schemas of a footer are shallow: there should be one, and the decoder does not mind.
    fn file(&mut self) -> Option<bool> {
        let mut id = 0;
        while let Some(kind) = self.field(&mut id)? {
            if (id, kind) != (SCHEMA, LIST) {
                self.skip(kind, MAX_SKIPPED)?;
            } else if !self.schema()? {
                return Some(false);
            }
        }
        Some(true)
    }

    /// Whether a schema is shallow: a list of its elements, each group before its children.
    fn schema(&mut self) -> Option<bool> {
        let (elements, kind) = self.list()?;
        // How many children of each open group are still to come.
        let mut open: Vec<i64> = Vec::new();
        for _ in 0..elements {
            let children = if kind == STRUCT { self.element()? } else { return None };
            while open.last().is_some_and(|left| *left <= 0) {
                let _ = open.pop();
            }
            if let Some(left) = open.last_mut() {
                *left -= 1;
            }
            if children > 0 {
                if open.len() == MAX_DEPTH {
                    return Some(false);
                }
                open.push(children);
            }
        }
        Some(true)
    }

    /// How many children an element of a schema has.
    fn element(&mut self) -> Option<i64> {
        let (mut id, mut children) = (0, 0);
        while let Some(kind) = self.field(&mut id)? {
            if (id, kind) == (NUM_CHILDREN, I32) {
                children = self.signed()?;
            } else {
                self.skip(kind, MAX_SKIPPED)?;
            }
        }
        Some(children)
    }

    /// The type of the next field of a struct, whose number takes the place of the last one's; nothing at its end.
    fn field(&mut self, id: &mut i64) -> Option<Option<u8>> {
        let head = self.byte()?;
        if head == 0 {
            return Some(None);
        }
        *id = match head >> 4 {
            0 => self.signed()?,
            step => id.checked_add(i64::from(step))?,
        };
        Some(Some(head & 0x0f))
    }

    /// How many elements a list has, and their type.
    fn list(&mut self) -> Option<(u64, u8)> {
        let head = self.byte()?;
        let elements = match head >> 4 {
            15 => self.unsigned()?,
            few => u64::from(few),
        };
        Some((elements, head & 0x0f))
    }

    fn skip(&mut self, kind: u8, levels: usize) -> Option<()> {
        let levels = levels.checked_sub(1)?;
        match kind {
            // A flag is its type.
            1 | 2 => Some(()),
            3 => self.take(1),
            4..=6 => self.unsigned().map(drop),
            7 => self.take(8),
            8 => {
                let length = self.unsigned()?;
                self.take(length)
            }
            LIST | 10 => {
                let (elements, kind) = self.list()?;
                (0..elements).try_for_each(|_| self.skip_element(kind, levels))
            }
            11 => {
                let pairs = self.unsigned()?;
                let kinds = if pairs == 0 { 0 } else { self.byte()? };
                (0..pairs).try_for_each(|_| {
                    self.skip_element(kinds >> 4, levels)?;
                    self.skip_element(kinds & 0x0f, levels)
                })
            }
            STRUCT => {
                let mut id = 0;
                while let Some(kind) = self.field(&mut id)? {
                    self.skip(kind, levels)?;
                }
                Some(())
            }
            _ => None,
        }
    }

    /// Within lists and maps a flag has a byte of its own.
    fn skip_element(&mut self, kind: u8, levels: usize) -> Option<()> {
        if matches!(kind, 1 | 2) { self.take(1) } else { self.skip(kind, levels) }
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn take(&mut self, length: u64) -> Option<()> {
        self.rest = self.rest.get(usize::try_from(length).ok()?..)?;
        Some(())
    }

    /// A number in groups of seven bits, the lowest first.
    fn unsigned(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// The same with a sign, in the lowest bit.
    fn signed(&mut self) -> Option<i64> {
        let value = self.unsigned()?;
        let half = (value >> 1).cast_signed();
        Some(if value & 1 == 0 { half } else { !half })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::deep_parquet;

    fn footer(levels: usize) -> Vec<u8> {
        let file = deep_parquet(levels);
        file[4..file.len() - 8].to_vec()
    }

    #[test]
    fn what_nests_too_deeply_is_found() {
        // The root is a group too.
        for levels in [0, 1, 20, MAX_DEPTH - 1] {
            assert!(check_depth(&footer(levels)).is_ok(), "{levels}");
        }
        for levels in [MAX_DEPTH, 100_000] {
            let error = check_depth(&footer(levels)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Limit);
            assert_eq!(error.to_string(), "its columns nest more than 128 levels deep");
        }
        // Whatever comes first, and in whichever form: a text, a number, a list of lists, the number of the field in full.
        let deep = footer(MAX_DEPTH);
        let before = [&b"\x98\x02ab\x16\x05\x19\x19\x25\x02\x04\x09\x04"[..], &deep[3..]].concat();
        assert_eq!(check_depth(&before).unwrap_err().kind(), ErrorKind::Limit);
    }

    #[test]
    fn what_cannot_be_read_is_left_to_the_decoder() {
        let whole = footer(MAX_DEPTH - 1);
        for length in 0..whole.len() {
            assert!(check_depth(&whole[..length]).is_ok(), "{length}");
        }
        for bytes in [&b"\xff\xff\xff"[..], b"\x19\xfc\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x1c\x1c\x1c"] {
            assert!(check_depth(bytes).is_ok(), "{bytes:?}");
        }
        assert!(check_depth(&b"\x1c".repeat(1 << 20)).is_ok(), "it ends where the decoder does");
    }
}
