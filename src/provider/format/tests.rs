//! Every format as it should be, and as it should not.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{
    ArrayRef, AsArray, BooleanArray, DictionaryArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef};
use datafusion::arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use datafusion::arrow::ipc::{CompressionType, MetadataVersion};
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::arrow::{csv, json};
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_writer::ArrowWriterOptions;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_datasource_avro::arrow_avro::writer::AvroWriter;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use url::Url;

use crate::error::{Error, ErrorKind, Result};
use crate::provider::{HostRequest, host_table};
use crate::testing::deep_parquet;

mod text;

const ROWS: usize = 200;

fn flat() -> RecordBatch {
    let ids = (0..ROWS as i64).collect::<Int64Array>();
    let values = (0..ROWS).map(|row| (row % 7 > 0).then_some(row as f64 / 8.0)).collect::<Float64Array>();
    let names = (0..ROWS).map(|row| (row % 5 > 0).then(|| format!("name {}", row % 9))).collect::<StringArray>();
    let flags = (0..ROWS).map(|row| Some(row % 3 == 0)).collect::<BooleanArray>();
    let times = (0..ROWS as i64).map(|row| Some(row * 1_000_000)).collect::<TimestampMicrosecondArray>();
    RecordBatch::try_from_iter([
        ("id", Arc::new(ids) as ArrayRef),
        ("value", Arc::new(values)),
        ("name", Arc::new(names)),
        ("flag", Arc::new(flags)),
        ("at", Arc::new(times)),
    ])
    .unwrap()
}

/// With a list and a dictionary, which text has no way to write.
fn nested() -> RecordBatch {
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(
        (0..ROWS as i32).map(|row| (row % 4 > 0).then(|| (0..row % 4).map(Some).collect::<Vec<_>>())),
    );
    let words: DictionaryArray<Int32Type> = (0..ROWS).map(|row| ["a", "b", "c"][row % 3]).collect();
    let mut columns: Vec<(&str, ArrayRef)> = vec![("list", Arc::new(lists)), ("word", Arc::new(words))];
    let flat = flat();
    let (schema, arrays) = (flat.schema(), flat.columns());
    columns.extend(schema.fields().iter().map(|field| field.name().as_str()).zip(arrays.iter().map(Arc::clone)));
    RecordBatch::try_from_iter(columns).unwrap()
}

async fn packed(bytes: Vec<u8>, compression: FileCompressionType) -> Vec<u8> {
    let stream = compression.convert_to_compress_stream(futures::stream::iter([Ok(Bytes::from(bytes))]).boxed());
    stream
        .unwrap()
        .try_fold(Vec::new(), |mut all, chunk| async move {
            all.extend_from_slice(&chunk);
            Ok(all)
        })
        .await
        .unwrap()
}

fn arrow_file(batch: &RecordBatch, compression: Option<CompressionType>) -> Vec<u8> {
    let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
    let mut writer = FileWriter::try_new_with_options(Vec::new(), batch.schema_ref(), options).unwrap();
    writer.write(&batch.slice(0, ROWS / 2)).unwrap();
    writer.write(&batch.slice(ROWS / 2, ROWS - ROWS / 2)).unwrap();
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

fn arrow_stream(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref()).unwrap();
    writer.write(batch).unwrap();
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

fn avro(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = AvroWriter::new(Vec::new(), batch.schema().as_ref().clone()).unwrap();
    writer.write(batch).unwrap();
    writer.finish().unwrap();
    writer.into_inner()
}

/// An Avro file without blocks.
fn avro_header(schema: &str) -> Vec<u8> {
    let mut header = b"Obj\x01\x02\x16avro.schema".to_vec();
    let mut length = schema.len() << 1;
    while length > 0x7f {
        header.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    header.push(length as u8);
    header.extend_from_slice(schema.as_bytes());
    header.extend_from_slice(b"\x000123456789abcdef");
    header
}

/// One file of each format, and how it is packed.
async fn files() -> Vec<(&'static str, Vec<u8>)> {
    let (flat, nested) = (flat(), nested());
    let mut parquet = ArrowWriter::try_new(Vec::new(), nested.schema(), None).unwrap();
    parquet.write(&nested).unwrap();
    let parquet = parquet.into_inner().unwrap();
    let mut text = csv::Writer::new(Vec::new());
    text.write(&flat).unwrap();
    let text = text.into_inner();
    let tabs = String::from_utf8(text.clone()).unwrap().replace(',', "\t").into_bytes();
    let mut lines = json::LineDelimitedWriter::new(Vec::new());
    lines.write(&flat).unwrap();
    let lines = lines.into_inner();
    let mut array = json::ArrayWriter::new(Vec::new());
    array.write(&flat).unwrap();
    array.finish().unwrap();
    let array = array.into_inner();
    vec![
        ("a.parquet", parquet),
        ("a.csv", text.clone()),
        ("a.csv.gz", packed(text.clone(), FileCompressionType::GZIP).await),
        ("a.csv.xz", packed(text, FileCompressionType::XZ).await),
        ("a.tsv", tabs),
        ("a.ndjson", lines.clone()),
        ("a.ndjson.zst", packed(lines.clone(), FileCompressionType::ZSTD).await),
        ("a.ndjson.bz2", packed(lines, FileCompressionType::BZIP2).await),
        ("a.json", array.clone()),
        ("a.json.gz", packed(array, FileCompressionType::GZIP).await),
        ("a.arrow", arrow_file(&nested, None)),
        ("lz4.arrow", arrow_file(&nested, Some(CompressionType::LZ4_FRAME))),
        ("zstd.arrow", arrow_file(&flat, Some(CompressionType::ZSTD))),
        ("a.arrows", arrow_stream(&nested)),
        ("a.avro", avro(&flat)),
    ]
}

struct Scratch {
    ctx: SessionContext,
    store: Arc<InMemory>,
}

impl Scratch {
    fn new() -> Self {
        let ctx = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
        let store = Arc::new(InMemory::new());
        let _ = ctx.register_object_store(&Url::parse("mem://x").unwrap(), Arc::clone(&store) as _);
        Self { ctx, store }
    }

    async fn put(&self, name: &str, bytes: Vec<u8>) {
        let _ = self.store.put(&Path::from(name), Bytes::from(bytes).into()).await.unwrap();
    }

    async fn read(&self, name: &str) -> Result<Vec<RecordBatch>> {
        self.read_with(name, &[]).await
    }

    async fn read_with(&self, name: &str, options: &[(&str, &str)]) -> Result<Vec<RecordBatch>> {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let request = HostRequest { options, ..HostRequest::default() };
        let table = host_table(&self.ctx.state(), &format!("mem://x/{name}"), &request).await?;
        Ok(self.ctx.read_table(table)?.collect().await?)
    }
}

fn count(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

fn names(schema: &SchemaRef) -> Vec<&str> {
    schema.fields().iter().map(|field| field.name().as_str()).collect()
}

#[tokio::test]
async fn every_format_is_read() {
    let scratch = Scratch::new();
    for (name, bytes) in files().await {
        scratch.put(name, bytes).await;
        let batches = scratch.read(name).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(count(&batches), ROWS, "{name}");
        let columns = names(batches[0].schema_ref()).len();
        assert!(columns == 5 || columns == 7, "{name}");
        for batch in &batches {
            let ids = batch.column_by_name("id").unwrap();
            assert_eq!(ids.data_type(), &DataType::Int64, "{name}");
        }
    }
    // All of them are one table.
    let all = scratch.read("*").await.unwrap();
    assert_eq!(count(&all), ROWS * files().await.len());
}

/// The same numbers each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

/// What may come of a file that was cut, besides an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// Nothing: it has a footer, or a frame.
    Refused,
    /// A JSON array: it has an end, but an empty file is one without rows.
    Array,
    /// The first of its blocks as they were: nothing says how many there are.
    Blocks,
    /// The first of its records as they were.
    Records,
    /// The same, and of the last one the beginning of its last value.
    Text,
}

/// What may come of a file of which some bytes changed, besides an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Changed {
    /// All as it was: it has checksums, and bytes that mean nothing.
    Same,
    /// As many rows: it says in several places how many there are.
    Values,
    /// A bit of a value is another value, one of a length or a mark fewer rows.
    Fewer,
    /// A bit of a reference to what was before is any text.
    Any,
}

/// What a format can tell.
fn told_by(name: &str) -> (Cut, Changed) {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "gz" | "xz" | "bz2" => (Cut::Refused, Changed::Same),
        "zst" => (Cut::Refused, Changed::Any),
        "parquet" | "arrow" => (Cut::Refused, Changed::Values),
        "arrows" => (Cut::Refused, Changed::Fewer),
        "avro" => (Cut::Blocks, Changed::Values),
        "json" => (Cut::Array, Changed::Fewer),
        "ndjson" => (Cut::Records, Changed::Fewer),
        "csv" | "tsv" => (Cut::Text, Changed::Fewer),
        other => panic!("what can be told of '{other}'?"),
    }
}

/// The rows as texts, the columns in one order: where a value is missing or the column is, the text is empty.
fn texts(batches: &[RecordBatch]) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let text = |name: &str| match batch.column_by_name(name) {
                Some(column) => array_value_to_string(column, row).unwrap(),
                None => String::new(),
            };
            rows.push(["list", "word", "id", "value", "name", "flag", "at"].into_iter().map(text).collect());
        }
    }
    rows
}

/// Whether `found` may be what is left of `whole`, whose blocks have as many rows as each other.
fn may_be_left(found: &[Vec<String>], whole: &[Vec<String>], cut: Cut) -> bool {
    match (cut, found.split_last()) {
        (Cut::Refused, _) => false,
        (Cut::Array, last) => last.is_none(),
        // One block.
        (Cut::Blocks, last) => last.is_none() || found == whole,
        (Cut::Records, _) => whole.starts_with(found),
        (Cut::Text, None) => true,
        (Cut::Text, Some((last, before))) => {
            let is_begun = |whole: &Vec<String>| match (last.split_last(), whole.split_last()) {
                (Some((_, last)), Some((_, whole))) => last == whole,
                _ => false,
            };
            whole.starts_with(before) && whole.get(before.len()).is_some_and(is_begun)
        }
    }
}

#[tokio::test]
async fn a_damaged_file_is_read_as_far_as_it_is_whole_or_refused_by_name() {
    const FLIPPED: usize = 110;
    const CUT: usize = 45;
    let scratch = Scratch::new();
    let mut numbers = Numbers(7);
    let (mut tried, mut refused) = (0, 0);
    for (name, whole) in files().await {
        let (cut_leaves, change_leaves) = told_by(name);
        scratch.put(name, whole.clone()).await;
        let rows = texts(&scratch.read(name).await.unwrap());
        assert_eq!(rows.len(), ROWS, "{name}");
        let flips = (0..FLIPPED).map(|_| None);
        let cuts = (0..CUT).map(|cut| Some(whole.len() * cut / CUT));
        for cut in flips.chain(cuts) {
            let mut bytes = whole.clone();
            let what = match cut {
                Some(length) => {
                    bytes.truncate(length);
                    format!("cut to {length} of {}", whole.len())
                }
                None => {
                    // One bit, or a run of bytes.
                    let at = numbers.below(bytes.len());
                    let run = if numbers.below(3) == 0 { 1 + numbers.below(8) } else { 1 };
                    let mask = if run > 1 { 0xff } else { 1 << numbers.below(8) };
                    bytes.iter_mut().skip(at).take(run).for_each(|byte| *byte ^= mask);
                    format!("{run} bytes from {at} on changed")
                }
            };
            scratch.put(name, bytes).await;
            tried += 1;
            match scratch.read(name).await {
                Ok(batches) => {
                    let found = count(&batches);
                    let possible = match (cut, change_leaves) {
                        (Some(_), _) => may_be_left(&texts(&batches), &rows, cut_leaves),
                        (None, Changed::Same) => texts(&batches) == rows,
                        (None, Changed::Values) => found == ROWS,
                        (None, Changed::Fewer) => found <= ROWS,
                        (None, Changed::Any) => found <= 4 * ROWS,
                    };
                    assert!(possible, "{name}, {what}: {found} rows");
                }
                Err(error) => {
                    refused += 1;
                    assert!(error.to_string().contains(name), "{name}, {what}: {error}");
                    let kinds = [ErrorKind::Corrupt, ErrorKind::Unsupported, ErrorKind::Limit, ErrorKind::TypeConflict];
                    assert!(kinds.contains(&error.kind()), "{name}, {what}: {:?} {error}", error.kind());
                }
            }
        }
    }
    assert!(tried >= 2_000, "{tried}");
    assert!(refused > tried / 4, "{refused} of {tried}");
}

#[tokio::test]
async fn a_stream_of_values_without_an_end_is_refused() {
    let scratch = Scratch::new();
    // A few kilobytes that unpack to a record of 1 GB.
    let zeros = packed(vec![b'x'; 64 << 20], FileCompressionType::ZSTD).await;
    let mut bomb = packed(b"a,b\n1,2\n".to_vec(), FileCompressionType::ZSTD).await;
    for _ in 0..16 {
        bomb.extend_from_slice(&zeros);
    }
    assert!(bomb.len() < 1 << 20, "{}", bomb.len());
    scratch.put("bomb.csv.zst", bomb).await;
    let error: Error = scratch.read("bomb.csv.zst").await.unwrap_err();
    assert!(error.to_string().contains("bomb.csv.zst"), "{error}");
}

#[tokio::test]
async fn large_batches_of_arrow_are_held_within_the_limit() {
    let numbers: ArrayRef = Arc::new((0..5_i64 << 20).collect::<Int64Array>());
    let batch = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
    let mut file = FileWriter::try_new(Vec::new(), batch.schema_ref()).unwrap();
    file.write(&batch).unwrap();
    file.finish().unwrap();
    let (file, stream) = (file.into_inner().unwrap(), arrow_stream(&batch));
    // 40 MiB, of which 16 need not be asked for where a file is read in ranges.
    for (name, bytes, needed) in [("large.arrow", file, 25), ("large.arrows", stream, 41)] {
        let mut scratch = Scratch::new();
        scratch.put(name, bytes).await;
        for (limit, fits) in [(20, false), (needed, true)] {
            let pool = Arc::new(GreedyMemoryPool::new(limit << 20));
            let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::clone(&pool) as _).build_arc().unwrap();
            let config = SessionConfig::new().with_target_partitions(2);
            scratch.ctx = SessionContext::new_with_config_rt(config, runtime);
            let url = Url::parse("mem://x").unwrap();
            let _ = scratch.ctx.register_object_store(&url, Arc::clone(&scratch.store) as _);
            match scratch.read(name).await {
                Ok(batches) => assert_eq!((count(&batches), fits), (5 << 20, true), "{name}, {limit}"),
                Err(error) => {
                    assert_eq!((error.kind(), fits), (ErrorKind::Limit, false), "{error}");
                    assert!(error.to_string().contains(&format!("cannot read 'mem://x/{name}' as arrow: ")), "{error}");
                }
            }
            assert_eq!(pool.reserved(), 0, "{name}, {limit}");
        }
    }
}

#[tokio::test]
async fn a_file_that_changed_since_it_was_planned_is_not_read() {
    let scratch = Scratch::new();
    for (name, bytes) in files().await.into_iter().filter(|(name, _)| matches!(*name, "a.csv" | "a.parquet" | "a.avro"))
    {
        scratch.put(name, bytes.clone()).await;
        let url = format!("mem://x/{name}");
        let table = host_table(&scratch.ctx.state(), &url, &HostRequest::default()).await.unwrap();
        scratch.put(name, bytes).await;
        let error = scratch.ctx.read_table(table).unwrap().collect().await.unwrap_err();
        let error = Error::from_datafusion(error);
        assert_eq!(error.kind(), ErrorKind::Io);
        assert_eq!(error.to_string(), format!("'{url}' has changed since the statement began: run it again"));
    }
}

#[tokio::test]
async fn of_a_glob_the_files_are_those_that_were_planned() {
    let scratch = Scratch::new();
    let put = async |name: &str, text: &str| scratch.put(name, text.as_bytes().to_vec()).await;
    let plan = async || host_table(&scratch.ctx.state(), "mem://x/*.csv", &HostRequest::default()).await.unwrap();
    put("a.csv", "n\n1\n").await;
    put("b.csv", "n\n2\n").await;
    let table = plan().await;
    put("c.csv", "n\n3\n").await;
    assert_eq!(count(&scratch.ctx.read_table(table).unwrap().collect().await.unwrap()), 2, "one came later");
    let table = plan().await;
    put("b.csv", "n\n22\n").await;
    let error = Error::from_datafusion(scratch.ctx.read_table(table).unwrap().collect().await.unwrap_err());
    assert_eq!(error.to_string(), "'mem://x/b.csv' has changed since the statement began: run it again");
    let table = plan().await;
    scratch.store.delete(&Path::from("b.csv")).await.unwrap();
    let error = Error::from_datafusion(scratch.ctx.read_table(table).unwrap().collect().await.unwrap_err());
    assert!(error.to_string().starts_with("cannot read 'mem://x/b.csv' as csv: "), "{error}");
    assert_eq!(count(&scratch.ctx.read_table(plan().await).unwrap().collect().await.unwrap()), 2, "two are left");
}

#[tokio::test]
async fn arrow_buffers_do_not_get_the_memory_that_they_claim() {
    let scratch = Scratch::new();
    let mut bytes = arrow_file(&flat(), Some(CompressionType::LZ4_FRAME));
    // Each compressed buffer begins with its length, and then with the mark of an LZ4 frame.
    let mark = [0x04, 0x22, 0x4d, 0x18];
    let at = bytes.windows(4).position(|window| window == mark).unwrap() - 8;
    bytes[at..at + 8].copy_from_slice(&(1_i64 << 40).to_le_bytes());
    scratch.put("liar.arrow", bytes).await;
    let error = scratch.read("liar.arrow").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("bytes claims to hold 1099511627776"), "{error}");
}

#[tokio::test]
async fn arrow_columns_of_one_value_are_small_and_are_read() {
    let scratch = Scratch::new();
    let zeros: ArrayRef = Arc::new(Int64Array::from(vec![0; 1 << 20]));
    let batch = RecordBatch::try_from_iter([("x", zeros)]).unwrap();
    for (name, codec, most) in
        [("zeros.zstd.arrow", CompressionType::ZSTD, 3_000), ("zeros.lz4.arrow", CompressionType::LZ4_FRAME, 60_000)]
    {
        let options = IpcWriteOptions::default().try_with_compression(Some(codec)).unwrap();
        let mut writer = FileWriter::try_new_with_options(Vec::new(), batch.schema_ref(), options).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        let bytes = writer.into_inner().unwrap();
        assert!(bytes.len() < most, "{name}: {} bytes", bytes.len());
        scratch.put(name, bytes).await;
        assert_eq!(count(&scratch.read(name).await.unwrap()), 1 << 20, "{name}");
    }
}

/// A column `i` of 1, 2 and NULL, as Polars writes it: what it has in front of the batch is no message.
const OF_POLARS: &str = "\
    4152524f5731000004000000f2ffffff140000000400010000000a000b0008000a000400f8ffffff0c0000000800080000000400010000\
    0004000000ecffffff3800000020000000180000000102000010001200040010001100080000000c0000000000f4ffffff400000000100\
    000008000900040008000100000069000000ffffffff8000000004000000ecffffff800000000000000014000000040003000c00130010\
    0012000c000400eaffffff03000000000000003c0000001000000000000a00140004000c00100002000000000000000000000001000000\
    0000000040000000000000001800000000000000000000000100000003000000000000000100000000000000fb00000000000000000000\
    00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000100\
    00000000000002000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\
    00000000000000ffffffff0000000004000000ecffffff400000003800000014000000040000000c0012001000040008000c0001000000\
    8000000000000000880000000000000080000000000000000000000000000000f8ffffff0c000000080008000000040001000000040000\
    00ecffffff3800000020000000180000000102000010001200040010001100080000000c0000000000f4ffffff40000000010000000800\
    090004000800010000006900a20000004152524f5731";

#[tokio::test]
async fn an_arrow_file_may_begin_with_what_is_no_message() {
    let scratch = Scratch::new();
    let digits = |at: usize| u8::from_str_radix(&OF_POLARS[at..at + 2], 16).unwrap();
    let mut bytes: Vec<u8> = (0..OF_POLARS.len()).step_by(2).map(digits).collect();
    assert_eq!(bytes[8..12], [4, 0, 0, 0]);
    scratch.put("polars.arrow", bytes.clone()).await;
    let batches = scratch.read("polars.arrow").await.unwrap();
    assert_eq!((count(&batches), names(batches[0].schema_ref())), (3, vec!["i"]));
    let column: Vec<_> = batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().iter()).collect();
    assert_eq!(column, [Some(1), Some(2), None]);
    // In place of the mark of the end, such bytes are a batch that is not named.
    bytes[392..400].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0x80, 0, 0, 0]);
    scratch.put("more.arrow", bytes).await;
    let error = scratch.read("more.arrow").await.unwrap_err();
    let says = "cannot read 'mem://x/more.arrow': not Arrow IPC: its footer does not name the message at 392";
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Corrupt, says));
}

#[tokio::test]
async fn rows_and_blocks_that_nothing_claims_are_not_left_out() {
    let scratch = Scratch::new();
    let whole = avro(&flat());
    let mark = &whole[whole.len() - 16..];
    let at = whole.windows(16).position(|window| window == mark).unwrap() + 16;
    assert_eq!(whole[at..at + 2], [0x90, 0x03], "twice {ROWS}, the low seven bits first");
    for (rows, bytes) in [(199, [0x8e, 0x03]), (100, [0xc8, 0x01]), (1, [0x82, 0x00])] {
        let mut low = whole.clone();
        low[at..at + 2].copy_from_slice(&bytes);
        scratch.put("low.avro", low).await;
        let error = scratch.read("low.avro").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let says =
            format!("cannot read 'mem://x/low.avro' as avro: a block has more than the {rows} rows that it claims");
        assert_eq!(error.to_string(), says);
    }
    // In a footer: how many blocks there are, and where each is, how long its head and its body are.
    let mut low = arrow_file(&flat(), None);
    let number = |at: usize| i64::from_le_bytes(low[at..at + 8].try_into().unwrap());
    let ends = |at: usize| number(at).checked_add(number(at + 8) & 0xffff_ffff)?.checked_add(number(at + 16));
    let at = (low.len() / 2..low.len() - 52)
        .find(|at| low[*at..*at + 4] == [2, 0, 0, 0] && ends(*at + 4) == Some(number(*at + 28)))
        .unwrap();
    let second = number(at + 28);
    low[at] = 1;
    scratch.put("low.arrow", low).await;
    let error = scratch.read("low.arrow").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let says = format!("not Arrow IPC: its footer does not name the message at {second}");
    assert_eq!(error.to_string(), format!("cannot read 'mem://x/low.arrow': {says}"));
}

#[tokio::test]
async fn a_stream_of_arrow_ends_with_its_mark() {
    let scratch = Scratch::new();
    let flat = flat();
    let stream = |compression: Option<CompressionType>, old: bool| {
        let options = match old {
            true => IpcWriteOptions::try_new(8, true, MetadataVersion::V4).unwrap(),
            false => IpcWriteOptions::default().try_with_compression(compression).unwrap(),
        };
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), flat.schema_ref(), options).unwrap();
        writer.write(&flat.slice(0, ROWS / 2)).unwrap();
        let half = writer.get_ref().len();
        writer.write(&flat.slice(ROWS / 2, ROWS - ROWS / 2)).unwrap();
        let all = writer.get_ref().len();
        writer.finish().unwrap();
        (writer.into_inner().unwrap(), half, all)
    };
    for (whole, half, all) in [stream(None, false), stream(Some(CompressionType::ZSTD), false), stream(None, true)] {
        scratch.put("s.arrows", whole.clone()).await;
        assert_eq!(count(&scratch.read("s.arrows").await.unwrap()), ROWS);
        let zeros = |length: usize| [&whole[..length], vec![0; whole.len() - length].as_slice()].concat();
        let marked = [&whole[..half], &whole[all..], &whole[half..]].concat();
        let unmarked = "it has no mark of its end: was it cut short? A writer leaves the mark when it is closed, as by close() of \
                        pyarrow's RecordBatchStreamWriter: close it, and write the stream anew";
        for (bytes, says) in [
            (whole[..half].to_vec(), unmarked.to_owned()),
            (whole[..all].to_vec(), unmarked.to_owned()),
            (zeros(half), format!("its end is marked at {half} of {} bytes", whole.len())),
            (marked.clone(), format!("its end is marked at {half} of {} bytes", marked.len())),
            ([&whole[..], &whole[..]].concat(), format!("its end is marked at {all} of {} bytes", 2 * whole.len())),
        ] {
            scratch.put("s.arrows", bytes).await;
            let error = scratch.read("s.arrows").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert_eq!(error.to_string(), format!("cannot read 'mem://x/s.arrows': not Arrow IPC: {says}"));
        }
    }
}

#[tokio::test]
async fn a_million_columns_and_levels_are_refused() {
    let scratch = Scratch::new();
    let header = (0..1_000_000).map(|at| format!("c{at}")).collect::<Vec<_>>().join(",");
    scratch.put("wide.csv", header.into_bytes()).await;
    let error = scratch.read("wide.csv").await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().contains("wide.csv")), (ErrorKind::Limit, true), "{error}");
    // One object, whole, and cut where the sample of a file ends.
    for bytes in [1_usize, 20] {
        let members = (0..1_000_000).map(|at| format!("\"c{at:0bytes$}\":1")).collect::<Vec<_>>();
        let object = format!("{{{}}}", members.join(","));
        for (name, text) in [("wide.ndjson", object.clone()), ("wide.json", format!("[{object}]"))] {
            scratch.put(name, text.into_bytes()).await;
            let error = scratch.read(name).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
            assert_eq!(error.to_string(), format!("cannot read 'mem://x/{name}': it has more than 100000 columns"));
        }
    }
    // No rows: the columns alone are too many.
    let fields = (0..=100_000).map(|at| Field::new(format!("c{at}"), DataType::Int64, true)).collect::<Vec<_>>();
    let schema = Arc::new(Schema::new(fields));
    let options = ArrowWriterOptions::new().with_skip_arrow_metadata(true);
    let parquet = ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(&schema), options).unwrap();
    let mut stream = StreamWriter::try_new(Vec::new(), &schema).unwrap();
    stream.finish().unwrap();
    let columns = (0..=100_000).map(|at| format!("{{\"name\":\"c{at}\",\"type\":\"int\"}}")).collect::<Vec<_>>();
    for (name, bytes) in [
        ("wide.parquet", parquet.into_inner().unwrap()),
        ("wide.arrows", stream.into_inner().unwrap()),
        (
            "wide.avro",
            avro_header(&format!("{{\"type\":\"record\",\"name\":\"r\",\"fields\":[{}]}}", columns.join(","))),
        ),
    ] {
        scratch.put(name, bytes).await;
        let error = scratch.read(name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
        let says = format!("cannot read 'mem://x/{name}': it has 100001 columns, more than 100000");
        assert_eq!(error.to_string(), says);
    }
    for (name, bytes) in [("shallow.parquet", deep_parquet(100)), ("deep.parquet", deep_parquet(100_000))] {
        scratch.put(name, bytes).await;
    }
    assert_eq!(count(&scratch.read("shallow.parquet").await.unwrap()), 0);
    let error = scratch.read("deep.parquet").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert_eq!(error.to_string(), "cannot read 'mem://x/deep.parquet': its columns nest more than 128 levels deep");
    scratch.put("deep.json", "[{\"a\":".repeat(200_000).into_bytes()).await;
    let error = scratch.read("deep.json").await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().contains("deep.json")), (ErrorKind::Corrupt, true), "{error}");
}

#[tokio::test]
async fn two_columns_of_one_name_are_refused_where_no_number_can_tell_them_apart() {
    let scratch = Scratch::new();
    let (one, two): (ArrayRef, ArrayRef) = (Arc::new(Int64Array::from(vec![1])), Arc::new(Int64Array::from(vec![2])));
    let fields = vec![Field::new("a", DataType::Int64, true), Field::new("a", DataType::Int64, true)];
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![one, two]).unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref()).unwrap();
    writer.write(&batch).unwrap();
    scratch.put("twice.arrows", writer.into_inner().unwrap()).await;
    let error = scratch.read("twice.arrows").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("two columns named 'a'"), "{error}");
}
