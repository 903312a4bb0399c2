//! A look at a Parquet file before anything trusts it.
//!
//! The decoder panics on some malformed files (`PAR1PAR1`, a footer longer than the file), so bytes that this program
//! did not write pass here first.

use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::error::{Error, ErrorKind, Result};

const MAGIC: &[u8; 4] = b"PAR1";
/// The magic at the start, the footer's length, and the magic at the end.
const MIN_SIZE: u64 = 12;
/// How many bytes of the end [`check_parquet`] needs.
pub const PARQUET_TAIL: u64 = 8;

/// Checks the frame of a Parquet file of `size` bytes, of which `head` are the first and `tail` the last.
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt), saying what is wrong.
pub fn check_parquet(size: u64, head: &[u8], tail: &[u8]) -> Result<()> {
    let broken = |what: String| Err(Error::new(ErrorKind::Corrupt, format!("not a Parquet file: {what}")));
    if size < MIN_SIZE {
        return broken(format!("{size} bytes are too few"));
    }
    if !head.starts_with(MAGIC) {
        return broken("it does not start with PAR1".to_owned());
    }
    let Some([a, b, c, d, magic @ ..]) = tail.last_chunk::<8>() else {
        return broken("its end is missing".to_owned());
    };
    if magic == b"PARE" {
        return Err(Error::new(ErrorKind::Unsupported, "the Parquet file is encrypted"));
    }
    if magic != MAGIC {
        return broken("it does not end with PAR1: was it cut short?".to_owned());
    }
    let footer = u64::from(u32::from_le_bytes([*a, *b, *c, *d]));
    if footer == 0 || footer + MIN_SIZE > size {
        return broken(format!("its footer claims {footer} bytes of {size}"));
    }
    Ok(())
}

/// Checks the frame of a Parquet file in an object store: reads the first 4 and the last 8 bytes.
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt), naming the file and what is wrong; [`Io`](ErrorKind::Io) when it cannot be read.
pub async fn check_parquet_object(store: &dyn ObjectStore, meta: &ObjectMeta) -> Result<()> {
    let named = |error: Error| Error::new(error.kind(), format!("'{}': {error}", meta.location));
    if meta.size < MIN_SIZE {
        return check_parquet(meta.size, &[], &[]).map_err(named);
    }
    let read = |error: object_store::Error| {
        Error::new(ErrorKind::Io, format!("cannot read '{}'", meta.location)).with_source(error)
    };
    let head = store.get_range(&meta.location, 0..4).await.map_err(read)?;
    let tail = GetOptions::new().with_range(Some(GetRange::Suffix(PARQUET_TAIL)));
    let tail = store.get_opts(&meta.location, tail).await.map_err(read)?.bytes().await.map_err(read)?;
    check_parquet(meta.size, &head, &tail).map_err(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8]) -> Result<()> {
        check_parquet(bytes.len() as u64, bytes, bytes)
    }

    #[test]
    fn malformed_frames_are_refused() {
        for (bytes, says) in [
            (b"".as_slice(), "0 bytes are too few"),
            (b"PAR1PAR1", "8 bytes are too few"),
            (b"PAR1\x00\x00\x00\x00PAR1", "its footer claims 0 bytes of 12"),
            (b"PAR1x\x02\x00\x00\x00PAR1", "its footer claims 2 bytes of 13"),
            (b"PAR1x\xff\xff\xff\xffPAR1", "its footer claims 4294967295 bytes of 13"),
            (b"PAR1xxxxxxxxxxx", "does not end with PAR1"),
            (b"id,name\n1,one\n2,two\n", "does not start with PAR1"),
        ] {
            let error = check(bytes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.to_string().contains(says), "{error}");
        }
        assert_eq!(check(b"PAR1x\x01\x00\x00\x00PARE").unwrap_err().kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn smallest_frame_passes() {
        check(b"PAR1x\x01\x00\x00\x00PAR1").unwrap();
    }
}
