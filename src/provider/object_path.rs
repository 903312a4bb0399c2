//! The names that parts have as objects: `<path>@<version>-<first 16 digits of the hash>`.
//!
//! Never used twice for different bytes, because DataFusion's footer cache is keyed by path alone; and readable,
//! because they are what `EXPLAIN` shows.

use object_store::path::Path;
use tinyfs::{PondPath, Version};

const HASH_DIGITS: usize = 16;

/// The object path of a version of the file at `path`.
pub(crate) fn object_path(path: &PondPath, version: &Version) -> Path {
    let hash = version.part.hash.to_hex();
    Path::from(format!("{path}@{}-{}", version.number, &hash.as_str()[..HASH_DIGITS]))
}

/// What an object path names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PartName {
    pub(crate) path: String,
    pub(crate) version: u64,
    pub(crate) hash: String,
}

impl PartName {
    /// Reads an object path that [`object_path`] made; `None` when it is none.
    pub(crate) fn parse(location: &Path) -> Option<Self> {
        let (path, suffix) = location.as_ref().rsplit_once('@')?;
        let (version, hash) = suffix.split_once('-')?;
        let is_hash = hash.len() == HASH_DIGITS && hash.bytes().all(|digit| digit.is_ascii_hexdigit());
        let version = version.parse().ok().filter(|_| is_hash)?;
        Some(Self { path: undo_escapes(path)?, version, hash: hash.to_owned() })
    }
}

/// The pond paths that `location` may mean: as it stands, and with its escapes undone. A path that went through a URL
/// has lost its escapes already; one that went through [`Path::from`] has not.
pub(crate) fn candidates(location: &Path) -> Vec<PondPath> {
    let raw = location.as_ref();
    let mut found: Vec<PondPath> = PondPath::parse(&format!("/{raw}")).into_iter().collect();
    if let Some(decoded) = undo_escapes(raw).filter(|decoded| decoded != raw) {
        found.extend(PondPath::parse(&format!("/{decoded}")));
    }
    found
}

/// Undoes the escapes of [`Path`]; `None` when what comes out is no UTF-8.
pub(crate) fn undo_escapes(raw: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let [first, tail @ ..] = rest {
        if let (b'%', [high, low, after @ ..]) = (first, tail)
            && let (Some(high), Some(low)) = (char::from(*high).to_digit(16), char::from(*low).to_digit(16))
            && let Ok(byte) = u8::try_from(high * 16 + low)
        {
            bytes.push(byte);
            rest = after;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chrono::Utc;
    use tinyfs::{Attributes, Part, Place, Txn, WriteMode};

    use super::*;

    fn version(number: u64) -> Version {
        let bytes = Bytes::from_static(b"x");
        let hash = "d".repeat(64).parse::<tinyfs::Hash>().unwrap();
        Version {
            number,
            mode: WriteMode::Append,
            part: Part { hash, size: 1, place: Place::Memory(bytes) },
            txn: Txn(1),
            modified: Utc::now(),
            attributes: Attributes::default(),
        }
    }

    #[test]
    fn object_path_is_readable_and_reads_back() {
        let path = PondPath::parse("/locs/BDock.series").unwrap();
        let location = object_path(&path, &version(12));
        assert_eq!(location.as_ref(), "locs/BDock.series@12-dddddddddddddddd");
        let name = PartName::parse(&location).unwrap();
        assert_eq!(name, PartName { path: "locs/BDock.series".into(), version: 12, hash: "d".repeat(16) });
    }

    #[test]
    fn strange_names_read_back() {
        for text in ["/a@1-b/c d", "/ü/{x}%20", "/a@7-0123456789abcdef", "/*?[~]"] {
            let path = PondPath::parse(text).unwrap();
            let name = PartName::parse(&object_path(&path, &version(3))).unwrap();
            assert_eq!((format!("/{}", name.path).as_str(), name.version), (text, 3));
        }
    }

    #[test]
    fn plain_paths_are_no_part_names() {
        for text in ["a.parquet", "a@b.parquet", "a@1-xyz", "a@x-0123456789abcdef"] {
            assert_eq!(PartName::parse(&Path::from(text)), None, "{text}");
        }
    }
}
