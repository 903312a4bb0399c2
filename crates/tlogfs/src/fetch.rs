//! The bytes of log files, checked.

use std::sync::Arc;

use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt};
use tinyfs::{Error, Result};

use crate::error::{corrupt, lost, unreadable};
use crate::files::LogFile;
use crate::fsync;
use crate::sparse::Sparse;
use crate::table::Table;

/// A log file with at most so many bytes of inline parts is read as a whole: one request instead of several.
const WHOLE: u64 = 64 * 1024;

impl Table {
    /// The bytes of a log file, as they were written.
    pub(crate) async fn fetch(&self, file: &Arc<LogFile>) -> Result<Bytes> {
        let bytes = self.get(file).await?;
        let expected = file.hash;
        verify(file, bytes, |bytes| bytes.len(), move |bytes| blake3::hash(bytes) == expected).await
    }

    /// The bytes of log files, as they were written, one after the other: who reads many at once has time, and commits beside it have not.
    /// On a disk by one thread that may block, because to change threads twice for each takes longer than to read it.
    pub(crate) async fn fetch_all(&self, files: &[Arc<LogFile>]) -> Result<Vec<Bytes>> {
        let Some(directory) = self.directory.clone() else {
            let mut all = Vec::with_capacity(files.len());
            for file in files {
                all.push(self.fetch(file).await?);
            }
            return Ok(all);
        };
        let files = files.to_vec();
        let work = move || files.iter().map(|file| fetch_here(&directory, file)).collect();
        tokio::task::spawn_blocking(work).await.map_err(lost)?
    }

    /// A log file without the inline parts, as it was written.
    pub(crate) async fn fetch_rest(&self, file: &Arc<LogFile>) -> Result<Sparse> {
        let rest = if file.holes.bytes() <= WHOLE {
            file.holes.leave_out(&self.get(file).await?)
        } else {
            self.get_rest(file).await?
        };
        let expected = file.rest;
        verify(file, rest.ok_or_else(|| changed(file))?, Sparse::held, move |rest| rest.hash() == expected).await
    }

    async fn get(&self, file: &LogFile) -> Result<Bytes> {
        let read = async { self.objects.get(&file.path).await?.bytes().await };
        let bytes = read.await.map_err(|error| unreadable(&file.path, &file.describe(), error))?;
        if bytes.len() as u64 == file.size { Ok(bytes) } else { Err(changed(file)) }
    }

    /// The pieces around the inline parts; nothing if the file is not as long as they say.
    async fn get_rest(&self, file: &LogFile) -> Result<Option<Sparse>> {
        let unreadable = |error| unreadable(&file.path, &file.describe(), error);
        // First, because a length that lies must not be asked of the memory.
        if self.objects.head(&file.path).await.map_err(unreadable)?.size != file.size {
            return Ok(None);
        }
        let pieces = self.objects.get_ranges(&file.path, &file.holes.rest()).await.map_err(unreadable)?;
        Ok(file.holes.fill(pieces))
    }
}

/// As [`Table::fetch`], of a pond that is a directory. Blocks.
fn fetch_here(directory: &std::path::Path, file: &LogFile) -> Result<Bytes> {
    let path = directory.join(file.path.as_ref());
    let bytes =
        std::fs::read(&path).map_err(|error| unreadable(&file.path, &file.describe(), fsync::lift(error, &path)))?;
    if bytes.len() as u64 == file.size && blake3::hash(&bytes) == file.hash {
        Ok(bytes.into())
    } else {
        Err(changed(file))
    }
}

/// What was read of a file, if it is what was written. Much is hashed on a thread that may block.
async fn verify<T: Send + 'static>(
    file: &LogFile,
    read: T,
    length: impl FnOnce(&T) -> usize,
    intact: impl FnOnce(&T) -> bool + Send + 'static,
) -> Result<T> {
    let check = |read: T| intact(&read).then_some(read);
    let checked = if length(&read) > 1024 * 1024 {
        tokio::task::spawn_blocking(move || check(read)).await.map_err(lost)?
    } else {
        check(read)
    };
    checked.ok_or_else(|| changed(file))
}

fn changed(file: &LogFile) -> Error {
    corrupt(format!("{} is damaged: its bytes are not those that were written", file.describe()))
}

/// Names the file that an error is about.
pub(crate) fn damaged(file: &LogFile, error: Error) -> Error {
    Error::new(error.kind(), format!("{} is damaged", file.describe())).with_source(error)
}
