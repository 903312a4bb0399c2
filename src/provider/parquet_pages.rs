//! What the pages of a Parquet file claim to hold, before the decoder believes it.
//!
//! For a page that Snappy or LZ4 packed, the decoder writes as many zeros as the head of the page claims before it unpacks anything: one
//! damaged number would be two gigabytes. So the heads are walked here, in bytes that were read anyway. And what a footer claims of
//! numbers is not believed where it would hide a NaN.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::Session;
use datafusion::common::Result as DfResult;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{ParquetFileReaderFactory, ParquetSource};
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::execution::memory_pool::MemoryLimit;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::parquet::arrow::arrow_reader::ArrowReaderOptions;
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::basic::Compression;
use datafusion::parquet::errors::{ParquetError, Result as ParquetResult};
use datafusion::parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use parking_lot::Mutex;

use super::footer::hide_bounds;
use super::format::checked_footer;
use super::parquet_depth::page_sizes;
use super::scan_part::ScanPart;
use super::unchanged_store::UnchangedStore;
use crate::error::{Error, ErrorKind, Result};

/// How large a page may be, however little memory queries have: the program takes as much beside theirs.
const SMALL_PAGE: u64 = 64 << 20;

/// `source`, whose readers check what pages claim: also that none of them is far beyond the memory of `session`. They read from `url`.
pub(crate) fn with_checked_pages(
    source: &ParquetSource,
    session: &dyn Session,
    url: &ObjectStoreUrl,
) -> DfResult<ParquetSource> {
    let runtime = session.runtime_env();
    let limit = match runtime.memory_pool.memory_limit() {
        MemoryLimit::Finite(limit) => u64::try_from(limit).ok(),
        _ => None,
    };
    let footers = runtime.cache_manager.get_file_metadata_cache();
    let factory = CheckedReaders { store: runtime.object_store(url)?, footers, hidden: Arc::default(), limit };
    Ok(source.clone().with_parquet_file_reader_factory(Arc::new(factory)))
}

/// DataFusion's own readers, of files that have not changed.
#[derive(Debug)]
struct CheckedReaders {
    store: Arc<dyn ObjectStore>,
    footers: Arc<FileMetadataCache>,
    hidden: Arc<HiddenFooters>,
    limit: Option<u64>,
}

impl ParquetFileReaderFactory for CheckedReaders {
    fn create_reader(
        &self,
        partition_index: usize,
        partitioned_file: PartitionedFile,
        metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> DfResult<Box<dyn AsyncFileReader + Send>> {
        let part = partitioned_file.extensions.get_arc::<ScanPart>();
        let store = match &part {
            Some(part) => UnchangedStore::over(&self.store, part),
            None => Arc::clone(&self.store),
        };
        let unopened = part.as_ref().filter(|part| part.attributes.is_unopened()).map(|part| Unopened {
            store: Arc::clone(&store),
            meta: partitioned_file.object_meta.clone(),
            footers: Arc::clone(&self.footers),
            rows: part.attributes.rows(),
        });
        let location = partitioned_file.object_meta.location.clone();
        let inner = CachedParquetFileReaderFactory::new(store, Arc::clone(&self.footers));
        let inner = inner.create_reader(partition_index, partitioned_file, metadata_size_hint, metrics)?;
        let hidden = part.map(|part| Hiding { part, location, footers: Arc::clone(&self.hidden) });
        Ok(Box::new(CheckedReader { inner, hidden, unopened, limit: self.limit, footer: None, chunks: None }))
    }
}

/// A file that was planned without a look at it.
struct Unopened {
    store: Arc<dyn ObjectStore>,
    meta: ObjectMeta,
    footers: Arc<FileMetadataCache>,
    /// How many rows were said to be in it.
    rows: Option<u64>,
}

impl Unopened {
    /// Looks at it, as others were looked at: the reader finds the footer in the cache.
    async fn look(self) -> Result<()> {
        let footer = checked_footer(self.footers.as_ref(), self.store.as_ref(), &self.meta).await?;
        let rows = footer.file_metadata().num_rows();
        match self.rows {
            Some(told) if u64::try_from(rows) != Ok(told) => {
                Err(Error::new(ErrorKind::Corrupt, format!("it has {rows} rows, and {told} in the log of its table")))
            }
            _ => Ok(()),
        }
    }
}

struct CheckedReader {
    inner: Box<dyn AsyncFileReader + Send>,
    hidden: Option<Hiding>,
    /// Until it was looked at.
    unopened: Option<Unopened>,
    limit: Option<u64>,
    /// Where this reader has read it: after a look at bloom filters, DataFusion takes a new reader for the pages.
    footer: Option<Arc<ParquetMetaData>>,
    /// Not before pages are read: many readers see no more than a footer.
    chunks: Option<Chunks>,
}

impl AsyncFileReader for CheckedReader {
    /// Indexes and bloom filters: pages come by ranges.
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        self.inner.get_bytes(range)
    }

    /// Pages: whole column chunks, or some pages of one, each range from the head of a page on.
    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        async move {
            if self.chunks.is_none() {
                let footer = match self.footer.take() {
                    Some(footer) => footer,
                    None => {
                        if let Some(unopened) = self.unopened.take() {
                            unopened.look().await.map_err(external)?;
                        }
                        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Skip);
                        self.inner.get_metadata(Some(&options)).await?
                    }
                };
                self.chunks = Some(Chunks::of(&footer).map_err(external)?);
            }
            let read = self.inner.get_byte_ranges(ranges.clone()).await?;
            if let Some(chunks) = &self.chunks {
                for (range, bytes) in ranges.iter().zip(&read) {
                    if let Some(compression) = chunks.compression_at(range.start) {
                        check_pages(bytes, compression, self.limit).map_err(external)?;
                    }
                }
            }
            Ok(read)
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move {
            if let Some(unopened) = self.unopened.take() {
                unopened.look().await.map_err(external)?;
            }
            let footer = self.inner.get_metadata(options).await?;
            self.footer = Some(Arc::clone(&footer));
            match &self.hidden {
                Some(hidden) => hidden.without_unsure_bounds(footer),
                None => Ok(footer),
            }
        }
        .boxed()
    }
}

/// Where the column chunks with packed pages are, in order, and what packed them.
#[derive(Debug)]
struct Chunks(Vec<(Range<u64>, Compression)>);

impl Chunks {
    fn of(metadata: &ParquetMetaData) -> Result<Self> {
        let columns = metadata.row_groups().iter().flat_map(|group| group.columns());
        let packed = columns.filter(|column| column.compression() != Compression::UNCOMPRESSED);
        let chunks = packed.map(|column| {
            let (start, length) = column.byte_range();
            (start..start.saturating_add(length), column.compression())
        });
        let mut chunks: Vec<_> = chunks.filter(|(range, _)| !range.is_empty()).collect();
        chunks.sort_by_key(|(range, _)| range.start);
        // A place in two of them would have two compressions.
        match chunks.windows(2).find(|pair| pair[0].0.end > pair[1].0.start) {
            Some(pair) => Err(broken(format!("two columns are at {}", pair[1].0.start))),
            None => Ok(Self(chunks)),
        }
    }

    fn compression_at(&self, at: u64) -> Option<Compression> {
        let before = self.0.partition_point(|(range, _)| range.start <= at).checked_sub(1)?;
        let (range, compression) = self.0.get(before)?;
        range.contains(&at).then_some(*compression)
    }
}

/// What of the footer of a file its readers do not see.
struct Hiding {
    part: Arc<ScanPart>,
    location: Path,
    footers: Arc<HiddenFooters>,
}

impl Hiding {
    /// `footer` without the bounds of numbers among which a NaN may be, which they leave out. What is known of a part that was written here
    /// has bounds where there is none; of other files it never has any.
    fn without_unsure_bounds(&self, footer: Arc<ParquetMetaData>) -> ParquetResult<Arc<ParquetMetaData>> {
        let schema = &self.part.attributes.schema;
        if !schema.fields().iter().any(|field| is_float(field.data_type())) {
            return Ok(footer);
        }
        let known = &self.part.own_statistics().map_err(external)?.column_statistics;
        let unsure = |name: &str| {
            schema.index_of(name).is_ok_and(|at| {
                let bounds = known.get(at).map(|column| (&column.min_value, &column.max_value));
                is_float(schema.field(at).data_type())
                    && bounds.is_none_or(|(min, max)| min.get_value().is_none() || max.get_value().is_none())
            })
        };
        let leaves = footer.file_metadata().schema_descr().columns();
        let hidden: Vec<bool> =
            leaves.iter().map(|leaf| leaf.path().parts().first().is_some_and(|name| unsure(name))).collect();
        match hidden.contains(&true) {
            true => self.footers.hide(&self.location, footer, hidden),
            false => Ok(footer),
        }
    }
}

/// Footers without some bounds, by the place of their file: readers of its ranges share one while any of them has it, for it may be large.
#[derive(Debug, Default)]
struct HiddenFooters(Mutex<HashMap<Path, Arc<Mutex<HiddenFooter>>>>);

#[derive(Debug, Default)]
struct HiddenFooter {
    of: Weak<ParquetMetaData>,
    leaves: Vec<bool>,
    made: Weak<ParquetMetaData>,
}

impl HiddenFooters {
    /// `footer` of the file at `location` without the bounds of `leaves`.
    fn hide(
        &self,
        location: &Path,
        footer: Arc<ParquetMetaData>,
        leaves: Vec<bool>,
    ) -> ParquetResult<Arc<ParquetMetaData>> {
        let of_file = Arc::clone(self.0.lock().entry(location.clone()).or_default());
        // Whoever comes meanwhile waits for it rather than make another one.
        let mut kept = of_file.lock();
        let of = Arc::downgrade(&footer);
        if kept.of.ptr_eq(&of)
            && kept.leaves == leaves
            && let Some(made) = kept.made.upgrade()
        {
            return Ok(made);
        }
        let made = Arc::new(hide_bounds(Arc::unwrap_or_clone(footer), &leaves)?);
        *kept = HiddenFooter { of, leaves, made: Arc::downgrade(&made) };
        Ok(made)
    }
}

fn is_float(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_float(values),
        other => other.is_floating(),
    }
}

/// Checks the heads of pages that follow each other in `bytes`.
fn check_pages(bytes: &[u8], compression: Compression, limit: Option<u64>) -> Result<()> {
    // The decoder takes these numbers for ones of 32 bits.
    let size = |size: i64| i32::try_from(size).ok().and_then(|size| u64::try_from(size).ok());
    let mut rest = bytes;
    while !rest.is_empty() {
        let (claimed, length, after) = page_sizes(rest).ok_or_else(|| broken("the head of a page is not readable"))?;
        let wrong = || broken(format!("a page of {length} bytes claims to hold {claimed}"));
        let (claimed, length) = size(claimed).zip(size(length)).ok_or_else(wrong)?;
        let packed = length.min(after.len() as u64);
        if max_ratio(compression).is_some_and(|ratio| claimed > packed * ratio) {
            return Err(wrong());
        }
        if let Some(limit) = limit.filter(|limit| claimed > SMALL_PAGE && claimed > *limit) {
            let message = format!("a page of it holds {claimed} bytes, and queries have {limit} bytes of memory");
            return Err(Error::new(ErrorKind::Limit, message));
        }
        rest = usize::try_from(length).ok().and_then(|length| after.get(length..)).unwrap_or_default();
    }
    Ok(())
}

/// How many bytes one packed byte can stand for, where the codec sets a bound to it that is of use.
fn max_ratio(compression: Compression) -> Option<u64> {
    match compression {
        // At best three bytes are a copy of 64.
        Compression::SNAPPY => Some(22),
        // At best each byte makes a copy longer by 255.
        Compression::LZ4 | Compression::LZ4_RAW => Some(255),
        _ => None,
    }
}

fn broken(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the Parquet pages are wrong: {what}"))
}

fn external(error: Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Float64Array, RecordBatch};
    use datafusion::parquet::arrow::ArrowWriter;
    use datafusion::parquet::file::metadata::ParquetMetaDataReader;

    use super::*;

    #[test]
    fn readers_of_one_file_share_its_hidden_footer() {
        let column = Arc::new(Float64Array::from(vec![1.0, f64::NAN])) as ArrayRef;
        let batch = RecordBatch::try_from_iter([("x", column)]).unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        let file = Bytes::from(writer.into_inner().unwrap());
        let footer = || Arc::new(ParquetMetaDataReader::new().parse_and_finish(&file).unwrap());
        let (footers, place, kept) = (HiddenFooters::default(), Path::from("x.parquet"), footer());
        let hide = |footer: &Arc<ParquetMetaData>, hidden: bool| {
            footers.hide(&place, Arc::clone(footer), vec![hidden]).unwrap()
        };
        let has_bounds = |footer: &ParquetMetaData| footer.row_group(0).column(0).statistics().is_some();
        let first = hide(&kept, true);
        assert!(has_bounds(&kept) && !has_bounds(&first));
        assert!(Arc::ptr_eq(&first, &hide(&kept, true)));
        // Another footer, or others to hide, are none of it.
        assert!(has_bounds(&hide(&kept, false)));
        let other = footer();
        assert!(!Arc::ptr_eq(&first, &hide(&other, true)) && !has_bounds(&hide(&other, true)));
    }

    /// A page that claims to hold `claimed` bytes, and has `length`, of which as many as `body` are there.
    fn page(claimed: i32, length: i32, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x15, 0x00];
        for number in [claimed, length] {
            bytes.push(0x15);
            let mut rest = ((number << 1) ^ (number >> 31)).cast_unsigned();
            while rest >= 0x80 {
                bytes.push(rest.to_le_bytes()[0] | 0x80);
                rest >>= 7;
            }
            bytes.push(rest.to_le_bytes()[0]);
        }
        // A struct with a number, as the head of a data page is.
        bytes.extend_from_slice(&[0x2c, 0x15, 0x06, 0x00, 0x00]);
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn pages_that_can_be_true_pass() {
        let pages = [page(220, 10, &[7; 10]), page(0, 0, &[]), page(1, 1, &[7])].concat();
        check_pages(&pages, Compression::SNAPPY, Some(220)).unwrap();
        check_pages(&page(2550, 10, &[7; 10]), Compression::LZ4_RAW, None).unwrap();
        check_pages(&page(i32::MAX, 10, &[7; 10]), Compression::LZO, None).unwrap();
        // One that was cut off is left to the decoder.
        check_pages(&page(30, 10, &[7; 5]), Compression::SNAPPY, None).unwrap();
    }

    #[test]
    fn lying_pages_are_refused() {
        let after = |lie: Vec<u8>| [page(30, 10, &[7; 10]), lie].concat();
        for (bytes, says) in [
            (after(page(i32::MAX, 10, &[7; 10])), "a page of 10 bytes claims to hold 2147483647"),
            (after(page(221, 10, &[7; 10])), "a page of 10 bytes claims to hold 221"),
            (after(page(2000, 1000, &[7; 10])), "a page of 1000 bytes claims to hold 2000"),
            (after(page(-1, 10, &[7; 10])), "a page of 10 bytes claims to hold -1"),
            (after(page(10, -10, &[7; 10])), "a page of -10 bytes claims to hold 10"),
            (after(vec![0x15]), "the head of a page is not readable"),
            (after(vec![0x00]), "the head of a page is not readable"),
        ] {
            let error = check_pages(&bytes, Compression::SNAPPY, None).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert_eq!(error.to_string(), format!("the Parquet pages are wrong: {says}"));
        }
    }

    #[test]
    fn page_beyond_the_memory_of_queries_is_refused() {
        let large = page(100_000_000, 10, &[7; 10]);
        let error = check_pages(&large, Compression::LZO, Some(99_999_999)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert_eq!(error.to_string(), "a page of it holds 100000000 bytes, and queries have 99999999 bytes of memory");
        check_pages(&large, Compression::LZO, Some(100_000_000)).unwrap();
        check_pages(&page(1001, 10, &[7; 10]), Compression::LZO, Some(1000)).unwrap();
    }
}
