//! Reading parts, wherever they are.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, BinaryArray, Int64Array, StringArray};
use bytes::Bytes;
use tinyfs::{Hash, Part, Place, Result, Txn, slice};

use crate::error::{corrupt, lost};
use crate::files::LogFile;
use crate::rows::{PARTS, column, decode};
use crate::schema::{BLAKE3, CONTENT, PLACE, PLACE_LOG, TXN};
use crate::store::Inner;
use crate::table::damaged;

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
            Place::Content => self.content.read(part, range).await,
        }
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
    async fn load_parts(&self, file: &Arc<LogFile>, wanted: &Part, wanted_txn: Txn) -> Result<Option<Bytes>> {
        let bytes = self.table.fetch(file).await?;
        let parts = tokio::task::spawn_blocking(move || inline_parts(bytes)).await.map_err(lost)?;
        let mut found = None;
        for (txn, hash, bytes) in parts.map_err(|error| damaged(file, error))? {
            if (txn, hash) == (wanted_txn, wanted.hash) {
                if bytes.len() as u64 != wanted.size || blake3::hash(&bytes) != hash {
                    return Err(corrupt(format!("the part {hash} in {} is damaged", file.describe())));
                }
                found = Some(bytes.clone());
            }
            self.cache.insert(txn, hash, bytes);
        }
        Ok(found)
    }
}

fn inline_parts(bytes: Bytes) -> Result<Vec<(Txn, Hash, Bytes)>> {
    let mut parts = Vec::new();
    for batch in decode(bytes, Some(PARTS))? {
        let batch = batch?;
        let txns: &Int64Array = column(&batch, TXN)?;
        let hashes: &StringArray = column(&batch, BLAKE3)?;
        let places: &StringArray = column(&batch, PLACE)?;
        let contents: &BinaryArray = column(&batch, CONTENT)?;
        for row in (0..batch.num_rows()).filter(|row| places.is_valid(*row) && places.value(*row) == PLACE_LOG) {
            let malformed = || corrupt("an inline part is malformed");
            let txn = Txn(u64::try_from(txns.value(row)).map_err(|_| malformed())?);
            let hash = Hash::from_hex(hashes.value(row)).map_err(|error| malformed().with_source(error))?;
            parts.push((txn, hash, Bytes::copy_from_slice(contents.value(row))));
        }
    }
    Ok(parts)
}
