//! [`StagedParts`]: an object store whose objects become parts, for DataFusion's writers.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use parking_lot::Mutex;
use tinyfs::{Part, PartWriter, PersistenceLayer};
use tokio::sync::oneshot;

/// Takes what is written to it as parts of a pond, which nothing names before [`take`](Self::take). Nothing can be read from it.
///
/// DataFusion closes its writers after an error too, so that what is here counts only when the write as a whole went well.
#[derive(Debug)]
pub struct StagedParts {
    store: Arc<dyn PersistenceLayer>,
    finished: Arc<Mutex<Vec<(Path, Part)>>>,
}

impl StagedParts {
    /// Parts are written to `store`.
    pub fn new(store: Arc<dyn PersistenceLayer>) -> Self {
        Self { store, finished: Arc::default() }
    }

    /// What was written, by the location that it was written to.
    pub fn take(&self) -> Vec<(Path, Part)> {
        let mut finished = std::mem::take(&mut *self.finished.lock());
        finished.sort_by(|(a, _), (b, _)| a.cmp(b));
        finished
    }
}

impl fmt::Display for StagedParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("parts of a pond")
    }
}

#[async_trait]
impl ObjectStore for StagedParts {
    async fn put_opts(&self, location: &Path, payload: PutPayload, _options: PutOptions) -> Result<PutResult> {
        let mut writer = self.store.create_part().await.map_err(generic)?;
        for bytes in payload {
            writer.write(bytes).await.map_err(generic)?;
        }
        let part = writer.finish().await.map_err(generic)?;
        self.finished.lock().push((location.clone(), part));
        Ok(written())
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let writer = self.store.create_part().await.map_err(generic)?;
        Ok(Box::new(Upload {
            location: location.clone(),
            writer: Arc::new(tokio::sync::Mutex::new(Some(writer))),
            last: None,
            finished: Arc::clone(&self.finished),
        }))
    }

    async fn get_opts(&self, location: &Path, _options: GetOptions) -> Result<GetResult> {
        Err(write_only(location))
    }

    fn list(&self, _prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        stream::empty().boxed()
    }

    async fn list_with_delimiter(&self, _prefix: Option<&Path>) -> Result<ListResult> {
        Ok(ListResult { common_prefixes: Vec::new(), objects: Vec::new() })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        locations.map(|location| Err(write_only(&location?))).boxed()
    }

    async fn copy_opts(&self, _from: &Path, to: &Path, _options: CopyOptions) -> Result<()> {
        Err(write_only(to))
    }
}

type SharedWriter = Arc<tokio::sync::Mutex<Option<Box<dyn PartWriter>>>>;

/// One object on its way.
#[derive(Debug)]
struct Upload {
    location: Path,
    writer: SharedWriter,
    /// Tells when the piece before the next one has been written: pieces are sent side by side.
    last: Option<oneshot::Receiver<()>>,
    finished: Arc<Mutex<Vec<(Path, Part)>>>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (done, next) = oneshot::channel();
        let before = self.last.replace(next);
        let writer = Arc::clone(&self.writer);
        async move {
            if let Some(before) = before {
                before.await.map_err(|_| lost())?;
            }
            let mut writer = writer.lock().await;
            let writer = writer.as_mut().ok_or_else(lost)?;
            for bytes in data {
                writer.write(bytes).await.map_err(generic)?;
            }
            // Nobody waits for the last one.
            let _ = done.send(());
            Ok(())
        }
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        if let Some(last) = self.last.take() {
            last.await.map_err(|_| lost())?;
        }
        let writer = self.writer.lock().await.take().ok_or_else(lost)?;
        let part = writer.finish().await.map_err(generic)?;
        self.finished.lock().push((self.location.clone(), part));
        Ok(written())
    }

    async fn abort(&mut self) -> Result<()> {
        let _ = self.writer.lock().await.take();
        Ok(())
    }
}

fn written() -> PutResult {
    PutResult { e_tag: None, version: None }
}

fn generic(error: tinyfs::Error) -> Error {
    Error::Generic { store: "pond", source: Box::new(error) }
}

fn lost() -> Error {
    Error::Generic { store: "pond", source: "a piece of the file before this one was not written".into() }
}

fn write_only(location: &Path) -> Error {
    Error::NotSupported { source: format!("'{location}' is on its way into a pond, and nothing is read there").into() }
}

#[cfg(test)]
mod tests {
    use futures::future::try_join_all;
    use object_store::ObjectStoreExt;
    use tinyfs::MemoryStore;

    use super::*;

    #[tokio::test]
    async fn pieces_come_in_the_order_in_which_they_were_given_whichever_is_sent_first() {
        let store: Arc<dyn PersistenceLayer> = Arc::new(MemoryStore::new());
        let staged = StagedParts::new(Arc::clone(&store));
        let _ = staged.put(&Path::from("b"), "whole".into()).await.unwrap();
        let mut upload = staged.put_multipart(&Path::from("a")).await.unwrap();
        let mut pieces: Vec<_> = ["one, ", "two, ", "three"].map(|piece| upload.put_part(piece.into())).into();
        pieces.reverse();
        let _ = try_join_all(pieces).await.unwrap();
        let _ = upload.complete().await.unwrap();
        let mut cut_off = staged.put_multipart(&Path::from("c")).await.unwrap();
        drop(cut_off.put_part("one".into()));
        assert!(cut_off.put_part("two".into()).await.is_err());
        assert!(cut_off.complete().await.is_err());
        let mut texts = Vec::new();
        for (location, part) in staged.take() {
            texts.push((location.to_string(), store.read_part(&part, 0..part.size).await.unwrap()));
        }
        assert_eq!(texts, [("a".to_owned(), "one, two, three".into()), ("b".to_owned(), "whole".into())]);
    }
}
