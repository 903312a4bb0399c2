//! Text that is looked at on its way to a decoder: what the decoder would not notice, or would hold all of, is an error here.

use std::fmt;
use std::io::{Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::arrow::datatypes::SchemaRef;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{Error as StoreError, GetOptions, GetResult, GetResultPayload, ObjectStore};
use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

use super::{Format, ReaderOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::read_only::{ReadOnly, Reading};

/// The longest record of a text.
pub(super) const MAX_RECORD: usize = 64 << 20;
/// How much of a file of the host is read at once.
const CHUNK: usize = 128 << 10;

/// Text that a source is about to read.
pub(crate) struct Text<'a> {
    /// The columns that it has.
    pub(crate) schema: &'a SchemaRef,
    /// Which of them are read.
    pub(crate) wanted: &'a [usize],
    pub(crate) options: &'a ReaderOptions,
    /// What messages call it.
    pub(crate) label: &'a str,
    /// How many bytes the file has, as it is kept.
    pub(crate) size: u64,
    /// The range of it that is read; all of it if `None`. Records are cut at line feeds: a range has those of which the first byte is in it.
    pub(crate) range: Option<Range<u64>>,
}

impl Text<'_> {
    /// Whether it may have a record that is too long.
    pub(super) fn may_be_long(&self) -> Result<bool> {
        Ok(self.size > MAX_RECORD as u64 || self.options.compression()?.is_compressed())
    }
}

/// Looks at text, piece by piece.
pub(crate) trait Check: fmt::Debug + Send {
    /// Looks at the next bytes.
    ///
    /// # Errors
    /// What is wrong with them.
    fn look(&mut self, bytes: &[u8]) -> Result<()>;

    /// Looks at the end of a text of which all was read, and not a range of it.
    ///
    /// # Errors
    /// What is wrong with it.
    fn end(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Where a record is longer than any memory is planned for; they end with their line.
#[derive(Debug, Default)]
pub(super) struct LineLengths {
    length: usize,
}

impl Check for LineLengths {
    fn look(&mut self, bytes: &[u8]) -> Result<()> {
        self.length = match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(last) => bytes.len() - last - 1,
            None => self.length.saturating_add(bytes.len()),
        };
        check_length(self.length)
    }
}

/// Refuses a record of more than [`MAX_RECORD`] bytes.
pub(super) fn check_length(length: usize) -> Result<()> {
    if length > MAX_RECORD {
        let message = format!("a record of it is longer than {} MiB", MAX_RECORD >> 20);
        return Err(Error::new(ErrorKind::Limit, message));
    }
    Ok(())
}

/// Checks, one after the other.
#[derive(Debug)]
struct All(Vec<Box<dyn Check>>);

impl Check for All {
    fn look(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.iter_mut().try_for_each(|check| check.look(bytes))
    }

    fn end(&mut self) -> Result<()> {
        self.0.iter_mut().try_for_each(|check| check.end())
    }
}

/// All of these, in one; `None` where there are none.
pub(super) fn all(mut checks: Vec<Box<dyn Check>>) -> Option<Box<dyn Check>> {
    match checks.len() {
        0 | 1 => checks.pop(),
        _ => Some(Box::new(All(checks))),
    }
}

/// Gives a part, or a range of it, of another store while a check finds nothing wrong. It is read once, from the front.
#[derive(Debug)]
pub(crate) struct CheckedStore {
    store: Arc<dyn ObjectStore>,
    check: Arc<Mutex<Box<dyn Check>>>,
}

impl CheckedStore {
    /// What `text` is read from: `store` itself where there is nothing to check.
    pub(crate) fn over(store: Arc<dyn ObjectStore>, format: &Format, text: &Text<'_>) -> Result<Arc<dyn ObjectStore>> {
        Ok(match format.reader.check(text)? {
            None => store,
            Some(check) => Arc::new(ReadOnly(Self { store, check: Arc::new(Mutex::new(check)) })),
        })
    }
}

impl fmt::Display for CheckedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, checked", self.store)
    }
}

#[async_trait]
impl Reading for CheckedStore {
    fn below(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        let is_whole = options.range.is_none();
        let got = self.store.get_opts(location, options).await?;
        let (meta, range, attributes) = (got.meta.clone(), got.range.clone(), got.attributes.clone());
        let (check, at_end) = (Arc::clone(&self.check), Arc::clone(&self.check));
        let stream = stream_of(got)?.map(move |bytes| -> object_store::Result<Bytes> {
            let bytes = bytes?;
            check.lock().look(&bytes).map_err(refused)?;
            Ok(bytes)
        });
        let stream = match is_whole {
            false => stream.boxed(),
            true => {
                let end = stream::once(async move { at_end.lock().end() });
                let wrong =
                    end.filter_map(|end| std::future::ready(end.err().map(|error| Err::<Bytes, _>(refused(error)))));
                stream.chain(wrong).boxed()
            }
        };
        Ok(GetResult { payload: GetResultPayload::Stream(stream), meta, range, attributes })
    }

    async fn get_ranges(&self, _: &Path, _: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        Err(StoreError::NotSupported { source: "text is read from the front".into() })
    }
}

/// The bytes, in larger pieces than a store gives those of a file of the host.
pub(super) fn stream_of(got: GetResult) -> object_store::Result<BoxStream<'static, object_store::Result<Bytes>>> {
    let range = got.range.clone();
    match got.payload {
        GetResultPayload::Stream(stream) => Ok(stream),
        GetResultPayload::File(mut file, path) => {
            let unread = move |source: std::io::Error| {
                let message = format!("cannot read '{}'", path.display());
                refused(Error::new(ErrorKind::Io, message).with_source(source))
            };
            let _ = file.seek(SeekFrom::Start(range.start)).map_err(&unread)?;
            let file = tokio::fs::File::from_std(file).take(range.end.saturating_sub(range.start));
            Ok(ReaderStream::with_capacity(file, CHUNK).map_err(unread).boxed())
        }
    }
}

fn refused(error: Error) -> StoreError {
    StoreError::Generic { store: "checked", source: Box::new(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_a_longest() {
        let mut lengths = LineLengths::default();
        let piece = vec![b'x'; MAX_RECORD / 2];
        lengths.look(&piece).unwrap();
        lengths.look(b"\n").unwrap();
        lengths.look(&piece).unwrap();
        lengths.look(&piece).unwrap();
        assert_eq!(lengths.look(b"x").unwrap_err().to_string(), "a record of it is longer than 64 MiB");
        assert_eq!(lengths.look(b"x").unwrap_err().kind(), ErrorKind::Limit);
        lengths.look(b"x\ny").unwrap();
    }
}
