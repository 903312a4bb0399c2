//! [`Holes`] and [`Sparse`]: a log file without the inline parts that are in it.

use std::ops::Range;

use bytes::buf::Reader;
use bytes::{Buf, Bytes};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{ChunkReader, Length};
use tinyfs::{Hash, Result};

use crate::error::corrupt;
use crate::schema::CONTENT;

/// Where a log file holds the bytes of inline parts: ranges in order, none empty, none beyond the file's end.
///
/// One for each row group, since `content` is the last column. What is between them is what a replay reads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Holes {
    size: u64,
    ranges: Box<[Range<u64>]>,
}

impl Holes {
    /// Those of a file of so many bytes that was just written.
    pub(crate) fn of(size: u64, metadata: &ParquetMetaData) -> Result<Self> {
        let chunks = metadata.row_groups().iter().flat_map(|group| group.columns());
        let contents = chunks.filter(|chunk| chunk.column_path().parts() == [CONTENT]).map(|chunk| {
            let (start, length) = chunk.byte_range();
            start..start.saturating_add(length)
        });
        Self::new(size, contents.filter(|range| !range.is_empty()).collect())
    }

    /// These ranges of a file of `size` bytes.
    ///
    /// # Errors
    /// [`Corrupt`](tinyfs::ErrorKind::Corrupt) when they are not as they must be.
    fn new(size: u64, ranges: Vec<Range<u64>>) -> Result<Self> {
        let mut before = 0;
        for range in &ranges {
            if range.start < before || range.is_empty() || range.end > size {
                return Err(corrupt(format!("bytes {} to {} cannot be those of parts", range.start, range.end)));
            }
            before = range.end;
        }
        Ok(Self { size, ranges: ranges.into() })
    }

    /// Reads what [`to_text`](Self::to_text) wrote, for a file of `size` bytes.
    ///
    /// # Errors
    /// [`Corrupt`](tinyfs::ErrorKind::Corrupt) when it is not that.
    pub(crate) fn parse(text: &str, size: u64) -> Result<Self> {
        let pairs: Vec<(u64, u64)> =
            serde_json::from_str(text).map_err(|error| corrupt("no list of ranges").with_source(error))?;
        Self::new(size, pairs.into_iter().map(|(start, end)| start..end).collect())
    }

    /// A JSON list of pairs: the first byte, and the one after the last.
    pub(crate) fn to_text(&self) -> String {
        let pairs: Vec<String> = self.ranges.iter().map(|range| format!("[{},{}]", range.start, range.end)).collect();
        format!("[{}]", pairs.join(","))
    }

    /// How many bytes they are.
    pub(crate) fn bytes(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }

    /// What is between them.
    pub(crate) fn rest(&self) -> Vec<Range<u64>> {
        let mut rest = Vec::with_capacity(self.ranges.len() + 1);
        let mut start = 0;
        for hole in &self.ranges {
            rest.push(start..hole.start);
            start = hole.end;
        }
        rest.push(start..self.size);
        rest.retain(|range| !range.is_empty());
        rest
    }

    /// A whole file as if only the rest had been read; nothing if it has not the size that it must have.
    pub(crate) fn leave_out(&self, file: &Bytes) -> Option<Sparse> {
        if file.len() as u64 != self.size {
            return None;
        }
        let cut = |range: Range<u64>| {
            Some((range.start, file.slice(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)))
        };
        Some(Sparse { size: self.size, pieces: self.rest().into_iter().map(cut).collect::<Option<_>>()? })
    }

    /// The file whose [`rest`](Self::rest) was read; nothing if it was read too short.
    pub(crate) fn fill(&self, read: Vec<Bytes>) -> Option<Sparse> {
        let rest = self.rest();
        let whole = rest.len() == read.len()
            && rest.iter().zip(&read).all(|(range, bytes)| range.end - range.start == bytes.len() as u64);
        let starts = rest.into_iter().map(|range| range.start);
        whole.then(|| Sparse { size: self.size, pieces: starts.zip(read).collect() })
    }
}

/// Pieces of a file. A Parquet reader gets along with it as long as it wants nothing else.
#[derive(Debug, Clone)]
pub(crate) struct Sparse {
    size: u64,
    /// Where each begins, in order.
    pieces: Vec<(u64, Bytes)>,
}

impl Sparse {
    /// BLAKE3 of the pieces, one after the other.
    pub(crate) fn hash(&self) -> Hash {
        let mut hasher = blake3::Hasher::new();
        for (_, bytes) in &self.pieces {
            let _ = hasher.update(bytes);
        }
        hasher.finalize()
    }

    /// How many bytes are at hand.
    pub(crate) fn held(&self) -> usize {
        self.pieces.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// What is at hand from byte `start` on.
    fn from(&self, start: u64) -> Result<Bytes, ParquetError> {
        let missing = || ParquetError::EOF(format!("byte {start} of the file is not at hand"));
        let after = self.pieces.partition_point(|(begin, _)| *begin <= start);
        let (begin, bytes) = after.checked_sub(1).and_then(|index| self.pieces.get(index)).ok_or_else(missing)?;
        let skip = usize::try_from(start - begin).map_err(|_| missing())?;
        if skip > bytes.len() { Err(missing()) } else { Ok(bytes.slice(skip..)) }
    }
}

impl Length for Sparse {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for Sparse {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let bytes = self.from(start)?;
        if bytes.len() < length {
            return Err(ParquetError::EOF(format!("{length} bytes from byte {start} on are not all at hand")));
        }
        Ok(bytes.slice(..length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_lie_are_refused() {
        let parse = |text: &str| Holes::parse(text, 100).map(|holes| holes.rest());
        assert_eq!(parse("[]").unwrap(), vec![0..100; 1]);
        assert_eq!(parse("[[10,20],[20,30],[90,100]]").unwrap(), [0..10, 30..90]);
        assert_eq!(parse("[[0,100]]").unwrap(), []);
        let lies = ["", "{}", "[1,2]", "[[1]]", "[[-1,2]]", "[[5,5]]", "[[6,5]]", "[[10,20],[19,30]]", "[[90,101]]"];
        for lie in lies.into_iter().chain(["[[20,30],[10,15]]", "[[0,18446744073709551615]]", "[[1e3,2]]"]) {
            assert!(parse(lie).is_err(), "{lie}");
        }
        assert_eq!(Holes::parse("[[10,20],[90,100]]", 100).unwrap().to_text(), "[[10,20],[90,100]]");
    }

    #[test]
    fn only_what_is_at_hand_is_read() {
        let holes = Holes::parse("[[2,5],[8,9]]", 10).unwrap();
        let file = Bytes::from_static(b"0123456789");
        let sparse = holes.leave_out(&file).unwrap();
        assert_eq!((sparse.hash(), sparse.held(), holes.bytes()), (blake3::hash(b"015679"), 6, 4));
        assert_eq!(sparse.get_bytes(5, 3).unwrap(), "567");
        assert_eq!(sparse.get_bytes(9, 1).unwrap(), "9");
        for (start, length) in [(5, 4), (2, 1), (8, 1), (10, 1), (11, 1), (u64::MAX, 1), (0, usize::MAX)] {
            assert!(sparse.get_bytes(start, length).is_err(), "{start} {length}");
        }
        assert!(holes.leave_out(&file.slice(..9)).is_none());
        let read = ["01", "567", "9"].map(Bytes::from).to_vec();
        assert_eq!(holes.fill(read).unwrap().hash(), sparse.hash());
        assert!(holes.fill(vec![Bytes::from_static(b"01")]).is_none());
    }
}
