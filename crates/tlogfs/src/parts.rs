//! Reading parts, wherever they are.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, BinaryArray, Int64Array, RecordBatch, StringArray};
use bytes::Bytes;
use tinyfs::{Hash, Part, Place, Result, Txn, slice};

use crate::error::{corrupt, lost};
use crate::fetch::damaged;
use crate::files::LogFile;
use crate::rows::{PARTS, column, decode};
use crate::schema::{BLAKE3, CONTENT, PLACE, PLACE_LOG, TXN};
use crate::store::Inner;

/// How many log files may be read for their parts at once; each of them only once.
pub(crate) const LANES: usize = 16;

impl Inner {
    /// Bytes of a part. The whole of it is checked against its hash.
    pub(crate) async fn read_part(&self, part: &Part, range: Range<u64>) -> Result<Bytes> {
        if range.start > range.end || range.end > part.size {
            return Err(corrupt(format!(
                "bytes {}..{} were asked of the part {}, which has {}",
                range.start, range.end, part.hash, part.size
            )));
        }
        match &part.place {
            Place::Memory(bytes) => slice(bytes, range),
            Place::Log(txn) => slice(&self.inline_part(part, *txn).await?, range),
            Place::Content if part.size <= self.options.inline_limit => slice(&self.small_part(part).await?, range),
            Place::Content => self.content.read(part, range).await,
        }
    }

    /// The bytes of a part that is beside the log although it is small. A reader asks for its end, and then for the rest.
    async fn small_part(&self, part: &Part) -> Result<Bytes> {
        if let Some(bytes) = self.small.get(Txn(0), part.hash) {
            return Ok(bytes);
        }
        let bytes = self.content.read_small(part).await?;
        self.small.insert(Txn(0), part.hash, bytes.clone());
        Ok(bytes)
    }

    /// The bytes of a part that is in a log row: its log file is checked as a whole, and so is the part.
    async fn inline_part(&self, part: &Part, txn: Txn) -> Result<Bytes> {
        if let Some(bytes) = self.cache.get(txn, part.hash) {
            return Ok(bytes);
        }
        let mut file = self.file_of(part, txn)?;
        // Whoever comes first reads the file for all who want parts of it.
        let lane = usize::from(file.hash.as_bytes()[0]) % LANES;
        let _reading = self.lanes[lane].lock().await;
        if let Some(bytes) = self.cache.get(txn, part.hash) {
            return Ok(bytes);
        }
        let found = match self.load_parts(&file, part, txn).await {
            Err(_) if self.have_moved(&[Arc::clone(&file)]).await => {
                file = self.file_of(part, txn)?;
                self.load_parts(&file, part, txn).await?
            }
            found => found?,
        };
        found.ok_or_else(|| corrupt(format!("the part {} is missing in {}", part.hash, file.describe())))
    }

    fn file_of(&self, part: &Part, txn: Txn) -> Result<Arc<LogFile>> {
        self.read_live(|live| live.files.holding(txn).map(Arc::clone))
            .ok_or_else(|| corrupt(format!("no log file holds transaction {txn}, which holds the part {}", part.hash)))
    }

    /// Reads all parts of a log file into the cache, and gives the one that is wanted.
    ///
    /// The file is checked as a whole before anything decodes it.
    async fn load_parts(&self, file: &Arc<LogFile>, wanted: &Part, txn: Txn) -> Result<Option<Bytes>> {
        let bytes = self.table.fetch(file).await?;
        let (cache, hash, size) = (Arc::clone(&self.cache), wanted.hash, wanted.size);
        let load = move || {
            let mut found = None;
            for batch in decode(bytes, Some(PARTS))? {
                each_part(&batch?, |at, name, bytes| {
                    if (at, name) == (txn, hash) {
                        if blake3::hash(&bytes) != hash || bytes.len() as u64 != size {
                            return Err(corrupt(format!("the part {hash} is not as it was written")));
                        }
                        found = Some(bytes.clone());
                    }
                    cache.insert(at, name, bytes);
                    Ok(())
                })?;
            }
            Ok(found)
        };
        tokio::task::spawn_blocking(load).await.map_err(lost)?.map_err(|error| damaged(file, error))
    }
}

/// The inline parts of some rows: transaction, hash, bytes.
fn each_part(batch: &RecordBatch, mut use_part: impl FnMut(Txn, Hash, Bytes) -> Result<()>) -> Result<()> {
    let txns: &Int64Array = column(batch, TXN)?;
    let hashes: &StringArray = column(batch, BLAKE3)?;
    let places: &StringArray = column(batch, PLACE)?;
    let contents: &BinaryArray = column(batch, CONTENT)?;
    for row in (0..batch.num_rows()).filter(|row| places.is_valid(*row) && places.value(*row) == PLACE_LOG) {
        let malformed = || corrupt("an inline part is malformed");
        let txn = Txn(u64::try_from(txns.value(row)).map_err(|_| malformed())?);
        let hash = Hash::from_hex(hashes.value(row)).map_err(|error| malformed().with_source(error))?;
        use_part(txn, hash, Bytes::copy_from_slice(contents.value(row)))?;
    }
    Ok(())
}
