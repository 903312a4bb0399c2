//! The bytes of files, in and out.

use std::sync::Arc;

use bytes::Bytes;
use tinyfs::{Attributes, NewEntry, Part, PondPath, WriteMode};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::catalog::{DerivedPlanner, Keep, OpenPond};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{
    ByteStream, PondObjectStore, Wanted, describe_as, describe_parquet, describe_stored, known_extensions, open_bytes,
};
use crate::session::copy::pond_path;
use crate::session::{PondSession, ReadOptions};

/// How much is read at once.
const CHUNK: usize = 1024 * 1024;
/// What a Parquet file begins with.
const PARQUET_MAGIC: &[u8] = b"PAR1";

impl PondSession {
    /// Stores all bytes of `reader` as the content of the file at `path`, in one version that replaces what was there.
    /// Bytes of a format that is known are a table from then on, read as `read` says; all others are a data file. Returns their number.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] from the reader; [`ErrorKind::Corrupt`] for bytes that claim to be Parquet, or are stored under a name
    /// that ends in `.parquet`, and are not; [`ErrorKind::WrongKind`] where `path` is something else than a file. Where `read` says
    /// anything, also for bytes that are no table so: [`ErrorKind::Usage`] for options that their format does not have, and what is wrong with them.
    pub async fn put(
        &mut self,
        mut reader: impl AsyncRead + Send + Unpin,
        path: &str,
        read: ReadOptions,
    ) -> Result<u64> {
        let path = pond_path(path, &self.names()?)?;
        let wanted = Wanted::try_new(read.format.as_deref(), read.options)?;
        let (pond, transaction) = self.begin_change().await?;
        let mut writer = pond.store.create_part().await?;
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            let read = (&mut reader).take(CHUNK as u64).read_to_end(&mut chunk).await;
            if read.map_err(|error| {
                Error::new(ErrorKind::Io, format!("the bytes for '{path}' cannot be read")).with_source(error)
            })? == 0
            {
                break;
            }
            writer.write(Bytes::from(chunk)).await?;
        }
        let part = writer.finish().await?;
        let size = part.size;
        let attributes = match wanted == Wanted::default() {
            true => describe(self, &pond, &path, &part, &wanted).await?,
            false => describe_wanted(self, &pond, &path, &part, &wanted).await?,
        };
        {
            let mut transaction = transaction.lock();
            if transaction.snapshot().find(&path)?.is_none() {
                transaction.create(&path, NewEntry::File, Attributes::default())?;
            }
            let _ = transaction.write(&path, WriteMode::Replace, part, attributes)?;
        }
        self.end_change(transaction, &format!("put {path}")).await?;
        Ok(size)
    }

    /// The bytes of the file at `path`, which may be its URL, `pond:///x`, piece by piece, as the next statement would see it. Those of a file that is stored as one part are
    /// its own. A table of several parts and a view are written down in the [encoding](crate::provider::FileEncoding) that the name
    /// asks for, Parquet where it names none, while they are read: the first piece is there before the query has ended, and dropping the
    /// stream ends the query.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::WrongKind`] for what is no file; what planning a view says. In the stream:
    /// [`ErrorKind::Corrupt`] at its end, if stored bytes are not those written; what the query fails with.
    pub async fn read(&self, path: &str) -> Result<ByteStream> {
        self.open(path, None).await
    }

    /// The same for a file with the name `target`. If that names a format, a view or table is written down in it, whatever its own name is and
    /// however it is stored: a file called `v.csv` gets no Parquet. A data file and what is stored in that format already gives its own bytes.
    ///
    /// # Errors
    /// As [`read`](Self::read), and [`ErrorKind::Unsupported`] for the name of a format that is not written.
    pub async fn read_as(&self, path: &str, target: &str) -> Result<ByteStream> {
        self.open(path, Some(target)).await
    }

    async fn open(&self, path: &str, target: Option<&str>) -> Result<ByteStream> {
        let path = pond_path(path, &self.names()?)?;
        let (pond, snapshot) = self.current().await?;
        open_bytes(&snapshot, &path, &self.planner(pond, Keep::Theirs), target).await
    }

    fn planner(&self, pond: OpenPond, session: Keep) -> DerivedPlanner {
        DerivedPlanner::new(Arc::clone(self.scope()), pond, session)
    }

    /// The pond's newest content as objects, views planned in this session.
    pub(crate) fn objects(&self, pond: &OpenPond, session: Keep) -> Arc<PondObjectStore> {
        Arc::new(pond.objects.with_derived(Arc::new(self.planner(pond.clone(), session))))
    }
}

/// What is known of bytes that were written for `path`: of those whose format is known, what a table needs to know.
///
/// # Errors
/// [`ErrorKind::Corrupt`] for bytes that claim to be Parquet, or are for a name that ends in `.parquet`, and are not.
pub(super) async fn describe(
    session: &PondSession,
    pond: &OpenPond,
    path: &PondPath,
    part: &Part,
    wanted: &Wanted,
) -> Result<Attributes> {
    let head = pond.store.read_part(part, 0..part.size.min(PARQUET_MAGIC.len() as u64)).await?;
    if head != PARQUET_MAGIC && !path.as_str().ends_with(".parquet") {
        return describe_stored(&session.context().state(), &pond.objects, path, part, wanted).await;
    }
    let described = describe_parquet(&pond.store, part).await.and_then(|attributes| attributes.to_attributes());
    described.map_err(|error| refused(path, "be a table", error))
}

/// What is kept with bytes for `path` that somebody says how to read: they are a table so, or nothing is stored.
async fn describe_wanted(
    session: &PondSession,
    pond: &OpenPond,
    path: &PondPath,
    part: &Part,
    wanted: &Wanted,
) -> Result<Attributes> {
    if path.as_str().ends_with(".parquet") && wanted.format.is_some_and(|format| !format.is_parquet()) {
        return Err(no_parquet(path));
    }
    let described = describe_as(&session.context().state(), &pond.objects, path, part, wanted).await;
    described.map_err(|error| refused(path, "be read as told", error))?.ok_or_else(|| {
        let message =
            format!("'{path}' has no known extension: name the format too, or take one of {}", known_extensions());
        Error::new(ErrorKind::Usage, message).with_path(path)
    })
}

/// The error for bytes that cannot be or do what they must, as `error` says.
fn refused(path: &PondPath, what: &str, error: Error) -> Error {
    Error::new(error.kind(), format!("the bytes for '{path}' cannot {what}")).with_source(error)
}

/// The error for another format under a name that ends in `.parquet`.
pub(super) fn no_parquet(path: &PondPath) -> Error {
    let message = format!("'{path}' would be no Parquet file, and its name says that it is one");
    Error::new(ErrorKind::Usage, message).with_path(path)
}

#[cfg(test)]
mod tests;
