//! Every encoding, read back; what is read ahead; what is held.

use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_compression::tokio::bufread::{BzDecoder, GzipDecoder, XzDecoder, ZstdDecoder};
use datafusion::arrow::array::{
    ArrayRef, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, StringViewArray,
    StructArray, Time32SecondArray, TimestampMicrosecondArray, TimestampSecondArray,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Int32Type, IntervalUnit, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::ipc::reader::FileReader;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::arrow::{csv, json};
use datafusion::common::DataFusionError;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::parquet::basic::{Compression, Encoding as ParquetEncoding};
use datafusion::parquet::file::metadata::ColumnChunkMetaData;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::SessionConfig;
use futures::{StreamExt, TryStreamExt};
use tinyfs::PondPath;
use tokio::io::AsyncReadExt;

use super::*;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false), Field::new("s", DataType::Utf8View, true)]))
}

/// Rows `from..to`: a number, and a text that every third row lacks.
fn batch(from: i64, to: i64) -> RecordBatch {
    let texts = (from..to).map(|n| (n % 3 != 0).then(|| format!("row \"{n}\", of some length")));
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from_iter_values(from..to)), Arc::new(texts.collect::<StringViewArray>())];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn rows(batches: Vec<RecordBatch>) -> SendableRecordBatchStream {
    Box::pin(RecordBatchStreamAdapter::new(schema(), futures::stream::iter(batches.into_iter().map(Ok))))
}

async fn bytes_of(batches: Vec<RecordBatch>, encoding: Encoding) -> Vec<u8> {
    let chunks: Vec<Bytes> =
        encode(rows(batches), encoding, &TaskContext::default()).unwrap().try_collect().await.unwrap();
    chunks.concat()
}

fn parquet_rows(bytes: Vec<u8>) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).unwrap();
    reader.with_batch_size(1 << 30).build().unwrap().map(Result::unwrap).collect()
}

fn arrow_rows(bytes: Vec<u8>) -> Vec<RecordBatch> {
    FileReader::try_new(Cursor::new(bytes), None).unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn all_encodings_keep_all_rows_in_order() {
    let batches = || (0..40).map(|at| batch(at * 250, (at + 1) * 250)).collect::<Vec<_>>();
    let expected = pretty_format_batches(&batches()).unwrap().to_string();
    let shown = |batches: &[RecordBatch]| pretty_format_batches(batches).unwrap().to_string();
    assert_eq!(shown(&parquet_rows(bytes_of(batches(), Encoding::Parquet).await)), expected);
    assert_eq!(shown(&arrow_rows(bytes_of(batches(), Encoding::Arrow).await)), expected);
    let text = bytes_of(batches(), Encoding::Csv).await;
    let reader = csv::ReaderBuilder::new(schema()).with_header(true).build(text.as_slice()).unwrap();
    assert_eq!(shown(&reader.map(Result::unwrap).collect::<Vec<_>>()), expected);
    let text = bytes_of(batches(), Encoding::Tsv).await;
    let reader = csv::ReaderBuilder::new(schema()).with_header(true).with_delimiter(b'\t').build(text.as_slice());
    assert_eq!(shown(&reader.unwrap().map(Result::unwrap).collect::<Vec<_>>()), expected);
    let lines = bytes_of(batches(), Encoding::Ndjson).await;
    let reader = json::ReaderBuilder::new(schema()).build(lines.as_slice()).unwrap();
    assert_eq!(shown(&reader.map(Result::unwrap).collect::<Vec<_>>()), expected);
    let array: serde_json::Value = serde_json::from_slice(&bytes_of(batches(), Encoding::Json).await).unwrap();
    let array = array.as_array().unwrap();
    assert_eq!(array.len(), 10_000);
    assert_eq!(array[9_999], serde_json::json!({"n": 9_999, "s": null}));
    assert_eq!(array[4], serde_json::json!({"n": 4, "s": "row \"4\", of some length"}));
}

#[tokio::test]
async fn seconds_are_times_in_parquet() {
    let at: ArrayRef =
        Arc::new(TimestampSecondArray::from(vec![Some(-1), None, Some(1_700_000_000)]).with_timezone("UTC"));
    let of_day: ArrayRef = Arc::new(Time32SecondArray::from(vec![Some(0), Some(86_399), None]));
    let inner = Arc::new(Field::new("at", at.data_type().clone(), true));
    let within: ArrayRef = Arc::new(StructArray::from(vec![(inner, Arc::clone(&at))]));
    let batch = RecordBatch::try_from_iter([("at", Arc::clone(&at)), ("of_day", of_day), ("within", within)]).unwrap();
    let encoded = |batch: &RecordBatch| {
        let rows = futures::stream::iter([Ok(batch.clone())]);
        let rows = Box::pin(RecordBatchStreamAdapter::new(batch.schema(), rows));
        encode(rows, Encoding::Parquet, &TaskContext::default()).unwrap().try_collect::<Vec<Bytes>>()
    };
    let read = parquet_rows(encoded(&batch).await.unwrap().concat()).remove(0);
    let milliseconds = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    assert_eq!(*read.column(0).data_type(), milliseconds);
    assert_eq!(*read.column(1).data_type(), DataType::Time32(TimeUnit::Millisecond));
    assert_eq!(*read.column(2).data_type(), DataType::Struct(vec![Field::new("at", milliseconds, true)].into()));
    for (found, given) in read.columns().iter().zip(batch.columns()) {
        assert_eq!(&cast(found, given.data_type()).unwrap(), given);
    }
    // What no number of milliseconds is.
    let far: ArrayRef = Arc::new(TimestampSecondArray::from(vec![i64::MAX]));
    let batch = RecordBatch::try_from_iter([("far", far)]).unwrap();
    assert!(encoded(&batch).await.is_err());
}

#[tokio::test]
async fn no_rows_are_a_valid_file() {
    for batches in [vec![], vec![batch(0, 0), batch(0, 0)]] {
        assert_eq!(bytes_of(batches.clone(), Encoding::Csv).await, b"n,s\n");
        assert_eq!(bytes_of(batches.clone(), Encoding::Tsv).await, b"n\ts\n");
        assert_eq!(bytes_of(batches.clone(), Encoding::Ndjson).await, b"");
        assert_eq!(bytes_of(batches.clone(), Encoding::Json).await, b"[]\n");
        let parquet = bytes_of(batches.clone(), Encoding::Parquet).await;
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(parquet)).unwrap();
        assert_eq!(reader.schema().fields().len(), 2);
        assert_eq!(reader.metadata().file_metadata().num_rows(), 0);
        let arrow = bytes_of(batches, Encoding::Arrow).await;
        let reader = FileReader::try_new(Cursor::new(arrow), None).unwrap();
        assert_eq!(reader.schema(), schema());
        assert_eq!(reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 0);
    }
}

#[tokio::test]
async fn dictionaries_may_change_from_batch_to_batch() {
    let dictionary = |values: [&str; 2]| {
        let array: DictionaryArray<Int32Type> = values.into_iter().collect();
        RecordBatch::try_from_iter([("d", Arc::new(array) as ArrayRef)]).unwrap()
    };
    let batches = [dictionary(["a", "b"]), dictionary(["c", "a"])];
    for encoding in [Encoding::Arrow, Encoding::Parquet] {
        let rows = futures::stream::iter(batches.clone().map(Ok));
        let rows = Box::pin(RecordBatchStreamAdapter::new(batches[0].schema(), rows));
        let bytes: Vec<Bytes> = encode(rows, encoding, &TaskContext::default()).unwrap().try_collect().await.unwrap();
        let read = match encoding {
            Encoding::Arrow => arrow_rows(bytes.concat()),
            _ => parquet_rows(bytes.concat()),
        };
        let texts = read.iter().flat_map(|batch| {
            let texts = cast(batch.column(0), &DataType::Utf8).unwrap();
            let texts = texts.as_any().downcast_ref::<StringArray>().unwrap().clone();
            texts.iter().map(|text| text.unwrap().to_owned()).collect::<Vec<_>>()
        });
        assert_eq!(texts.collect::<Vec<_>>(), ["a", "b", "c", "a"], "{encoding:?}");
    }
}

/// Endless rows of one text each, `width` bytes wide, and how many batches of 8,192 were asked for.
fn endless(width: usize) -> (SendableRecordBatchStream, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let text = "x".repeat(width);
    let column: ArrayRef = Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, 8192)));
    let batch = RecordBatch::try_from_iter([("s", column)]).unwrap();
    let schema = batch.schema();
    let counted = Arc::clone(&asked);
    let rows = futures::stream::repeat_with(move || {
        let _ = counted.fetch_add(1, Ordering::Relaxed);
        Ok(batch.clone())
    });
    (Box::pin(RecordBatchStreamAdapter::new(schema, rows)), asked)
}

#[tokio::test]
async fn nothing_runs_far_ahead_of_its_reader() {
    let config = SessionConfig::new().with_target_partitions(2);
    let context = TaskContext::default().with_session_config(config);
    // 8 MiB a batch, each a row group.
    for encoding in [Encoding::Parquet, Encoding::Csv, Encoding::Json, Encoding::Arrow] {
        let (rows, asked) = endless(1024);
        let mut bytes = encode(rows, encoding, &context).unwrap();
        for _ in 0..4 {
            let _ = bytes.try_next().await.unwrap().unwrap();
        }
        let asked = asked.load(Ordering::Relaxed);
        // What was read, what two workers have, and the one that is being gathered.
        assert!(asked <= 4 + 2 + 1, "{encoding:?}: {asked}");
    }
}

#[tokio::test]
async fn parquet_is_cut_by_bytes_and_by_rows() {
    let (rows, _) = endless(1024);
    let schema = rows.schema();
    let some = Box::pin(RecordBatchStreamAdapter::new(schema, rows.take(8)));
    let bytes: Vec<Bytes> =
        encode(some, Encoding::Parquet, &TaskContext::default()).unwrap().try_collect().await.unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes.concat())).unwrap();
    let groups: Vec<i64> = reader.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
    assert_eq!(groups, [8_192; 8]);
    // One batch of many rows is cut in its middle.
    let bytes = bytes_of(vec![batch(0, 600_000)], Encoding::Parquet).await;
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).unwrap();
    assert_eq!(reader.metadata().file_metadata().num_rows(), 600_000);
    assert!(reader.metadata().num_row_groups() > 1);
}

#[tokio::test]
async fn a_dictionary_is_made_of_values_that_repeat() {
    let rows = 0..20_000_i64;
    let columns: [(&str, ArrayRef); 5] = [
        ("different", Arc::new(Int64Array::from_iter_values(rows.clone()))),
        // In rounds: every sixteenth value is the same.
        ("repeated", Arc::new(Int64Array::from_iter_values(rows.clone().map(|n| n % 16)))),
        ("runs", Arc::new(Int64Array::from_iter_values(rows.clone().map(|n| n / 16)))),
        ("text", Arc::new(StringArray::from_iter_values(rows.clone().map(|n| format!("t{n}"))))),
        // NULL is no value.
        ("different or none", Arc::new(Int64Array::from_iter(rows.map(|n| (n % 3 != 0).then_some(n))))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let schema = batch.schema();
    let batches = [batch.slice(0, 7_000), batch.slice(7_000, 13_000)].map(Ok);
    let some = Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter(batches)));
    let bytes: Vec<Bytes> =
        encode(some, Encoding::Parquet, &TaskContext::default()).unwrap().try_collect().await.unwrap();
    let bytes = Bytes::from(bytes.concat());
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).unwrap();
    let group = reader.metadata().row_group(0);
    let dictionaries: Vec<bool> = group.columns().iter().map(|c| c.dictionary_page_offset().is_some()).collect();
    assert_eq!(dictionaries, [false, true, true, true, false]);
    let read = parquet_rows(bytes.to_vec());
    assert_eq!(read[0].column(0), batch.column(0));
    assert_eq!(read[0].column(2), batch.column(2));
}

/// Numbers that nothing makes smaller: no two are the same, and no step between them is small.
fn noise(rows: usize) -> impl Iterator<Item = i64> {
    let next =
        |before: &i64| Some(before.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
    std::iter::successors(Some(1_i64), next).take(rows)
}

/// The Parquet file of a batch that comes in two parts.
async fn parquet_of(batch: &RecordBatch) -> ParquetRecordBatchReaderBuilder<Bytes> {
    let batches = [batch.slice(0, 7_000), batch.slice(7_000, batch.num_rows() - 7_000)].map(Ok);
    let some = Box::pin(RecordBatchStreamAdapter::new(batch.schema(), futures::stream::iter(batches)));
    let bytes: Vec<Bytes> =
        encode(some, Encoding::Parquet, &TaskContext::default()).unwrap().try_collect().await.unwrap();
    ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes.concat())).unwrap()
}

#[tokio::test]
async fn what_compression_does_not_shrink_is_not_compressed() {
    let columns: [(&str, ArrayRef); 4] = [
        ("noise", Arc::new(Int64Array::from_iter_values(noise(20_000)))),
        ("rising", Arc::new(Int64Array::from_iter_values(0..20_000))),
        ("repeated", Arc::new(Int64Array::from_iter_values((0..20_000).map(|n| n % 16)))),
        ("text", Arc::new(StringArray::from_iter_values((0..20_000).map(|n| format!("t{n}"))))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = parquet_of(&batch).await;
    let packed: Vec<bool> =
        file.metadata().row_group(0).columns().iter().map(|c| c.compression() != Compression::UNCOMPRESSED).collect();
    assert_eq!(packed, [false, true, true, true]);
    let read: Vec<_> = file.with_batch_size(1 << 30).build().unwrap().map(Result::unwrap).collect();
    assert_eq!(read[0].column(0), batch.column(0));
}

#[tokio::test]
async fn numbers_that_follow_each_other_are_written_as_steps() {
    let seconds = (0..20_000_i64).map(|n| (n % 7 != 0).then_some(n * 1_000_000));
    // What the first rows promise, the others need not hold: steps that are larger than the type.
    let broken = noise(20_000).zip(0..).map(|(noise, n)| if n < 15_000 { n } else { (noise >> 32) as i32 });
    let columns: [(&str, ArrayRef); 4] = [
        ("time", Arc::new(TimestampMicrosecondArray::from_iter(seconds).with_timezone("UTC"))),
        ("broken", Arc::new(Int32Array::from_iter_values(broken))),
        ("noise", Arc::new(Int64Array::from_iter_values(noise(20_000)))),
        ("level", Arc::new(Float64Array::from_iter_values((0..20_000).map(f64::from)))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = parquet_of(&batch).await;
    let is_delta =
        |c: &ColumnChunkMetaData| c.encodings().any(|encoding| encoding == ParquetEncoding::DELTA_BINARY_PACKED);
    let group = file.metadata().row_group(0);
    assert_eq!(group.columns().iter().map(is_delta).collect::<Vec<_>>(), [true, true, false, false]);
    let read: Vec<_> = file.with_batch_size(1 << 30).build().unwrap().map(Result::unwrap).collect();
    assert_eq!(read[0].columns(), batch.columns());
}

#[tokio::test]
async fn row_groups_are_held_within_the_limit_and_given_back() {
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(GreedyMemoryPool::new(24 << 20))).build_arc();
    let context = Arc::new(TaskContext::default().with_runtime(runtime.unwrap()));
    let (rows, _) = endless(128);
    let schema = rows.schema();
    // 128 MiB in all: the limit holds one group and a half.
    let some = Box::pin(RecordBatchStreamAdapter::new(schema, rows.take(128)));
    let mut bytes = encode(some, Encoding::Parquet, &context).unwrap();
    let pool = Arc::clone(context.memory_pool());
    let (mut most, mut all) = (0, Vec::new());
    while let Some(chunk) = bytes.try_next().await.unwrap() {
        most = most.max(pool.reserved());
        all.extend_from_slice(&chunk);
    }
    assert!(most > 0 && most <= 24 << 20, "{most}");
    let rows: usize = parquet_rows(all).iter().map(RecordBatch::num_rows).sum();
    assert_eq!(rows, 128 * 8192);
    drop(bytes);
    assert_eq!(pool.reserved(), 0);
}

/// A context whose pool has so many bytes, for two workers.
fn limited(bytes: usize) -> TaskContext {
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(GreedyMemoryPool::new(bytes))).build_arc();
    let config = SessionConfig::new().with_target_partitions(2);
    TaskContext::default().with_session_config(config).with_runtime(runtime.unwrap())
}

#[tokio::test]
async fn text_and_arrow_are_held_within_the_limit_and_given_back() {
    let limit = 18 << 20;
    let plain = [Encoding::Csv, Encoding::Tsv, Encoding::Ndjson, Encoding::Json, Encoding::Arrow];
    let zstd = FileEncoding { encoding: Encoding::Csv, compression: FileCompressionType::ZSTD };
    for encoding in plain.map(FileEncoding::from).into_iter().chain([zstd]) {
        let context = limited(limit);
        // 32 MiB in batches of 8.
        let (rows, _) = endless(1024);
        let schema = rows.schema();
        let some = Box::pin(RecordBatchStreamAdapter::new(schema, rows.take(4)));
        let mut bytes = encoding.encode(some, &context).unwrap();
        let (mut most, mut read) = (0, 0);
        while let Some(chunk) = bytes.try_next().await.unwrap() {
            most = most.max(context.memory_pool().reserved());
            read += chunk.len();
        }
        assert!(most > 0 && most <= limit, "{encoding:?}: {most}");
        let is_packed = encoding.compression.is_compressed();
        assert_eq!(read < 32 << 20, is_packed, "{encoding:?}: {read}");
        drop(bytes);
        assert_eq!(context.memory_pool().reserved(), 0, "{encoding:?}");
    }
}

#[tokio::test]
async fn what_does_not_fit_into_memory_says_so() {
    let xz = FileEncoding { encoding: Encoding::Csv, compression: FileCompressionType::XZ };
    // The window of xz; a row of 8 MiB, and its bytes.
    for (encoding, width, rows, says) in [
        (xz, 8, 8192, "xz compression"),
        (Encoding::Arrow.into(), 8 << 20, 1, "Arrow IPC bytes"),
        (Encoding::Ndjson.into(), 8 << 20, 1, "NDJSON bytes"),
    ] {
        let column: ArrayRef = Arc::new(StringArray::from_iter_values(std::iter::repeat_n("x".repeat(width), rows)));
        let batch = RecordBatch::try_from_iter([("s", column)]).unwrap();
        let some = RecordBatchStreamAdapter::new(batch.schema(), futures::stream::iter([Ok(batch)]));
        let context = limited(8 << 20);
        let error = encoding.encode(Box::pin(some), &context).unwrap().try_collect::<Vec<Bytes>>().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit, "{encoding:?}: {error}");
        assert!(error.to_string().contains(says), "{encoding:?}: {error}");
        assert_eq!(context.memory_pool().reserved(), 0, "{encoding:?}");
    }
}

#[tokio::test]
async fn an_error_of_the_rows_comes_after_what_was_there_and_is_no_end() {
    for encoding in [Encoding::Parquet, Encoding::Csv, Encoding::Ndjson, Encoding::Json, Encoding::Arrow] {
        let failing = futures::stream::iter([Ok(batch(0, 10)), Err(DataFusionError::Execution("broken".into()))]);
        let rows = Box::pin(RecordBatchStreamAdapter::new(schema(), failing));
        let mut bytes = encode(rows, encoding, &TaskContext::default()).unwrap();
        let error = loop {
            match bytes.try_next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("{encoding:?} ended well"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.to_string(), "broken");
    }
}

/// What was packed: decoders that end with the first of several streams.
async fn unpack(bytes: &[u8], compression: FileCompressionType) -> Vec<u8> {
    let mut unpacked = Vec::new();
    let read = match compression {
        FileCompressionType::GZIP => GzipDecoder::new(bytes).read_to_end(&mut unpacked).await,
        FileCompressionType::BZIP2 => BzDecoder::new(bytes).read_to_end(&mut unpacked).await,
        FileCompressionType::XZ => XzDecoder::new(bytes).read_to_end(&mut unpacked).await,
        FileCompressionType::ZSTD => ZstdDecoder::new(bytes).read_to_end(&mut unpacked).await,
        other => panic!("{other:?}"),
    };
    let _ = read.unwrap();
    unpacked
}

#[tokio::test]
async fn compressed_text_is_one_stream_of_the_same_text() {
    let batches = || (0..40).map(|at| batch(at * 250, (at + 1) * 250)).collect::<Vec<_>>();
    let packed =
        [FileCompressionType::GZIP, FileCompressionType::BZIP2, FileCompressionType::XZ, FileCompressionType::ZSTD];
    for encoding in [Encoding::Csv, Encoding::Tsv, Encoding::Ndjson, Encoding::Json] {
        for compression in packed {
            for batches in [batches(), vec![]] {
                let encoding = FileEncoding { encoding, compression };
                let text = bytes_of(batches.clone(), encoding.encoding).await;
                let bytes = encoding.encode(rows(batches), &TaskContext::default()).unwrap();
                let bytes = bytes.try_collect::<Vec<Bytes>>().await.unwrap().concat();
                // No text is a file too, of a header and an end.
                assert!(!bytes.is_empty(), "{encoding:?}");
                assert_eq!(unpack(&bytes, compression).await, text, "{encoding:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_compressed_is_pulled_and_fails_with_its_rows() {
    let (some, asked) = endless(1024);
    let gzip = FileEncoding { encoding: Encoding::Csv, compression: FileCompressionType::GZIP };
    let context = TaskContext::default().with_session_config(SessionConfig::new().with_target_partitions(2));
    let mut bytes = gzip.encode(some, &context).unwrap();
    let first = bytes.try_next().await.unwrap().unwrap();
    assert!(first.starts_with(&[0x1f, 0x8b]), "{first:?}");
    let asked = asked.load(Ordering::Relaxed);
    assert!(asked < 10, "{asked}");
    let failing = futures::stream::iter([Ok(batch(0, 10)), Err(DataFusionError::Execution("broken".into()))]);
    let failing = Box::pin(RecordBatchStreamAdapter::new(schema(), failing));
    let error = gzip.encode(failing, &context).unwrap().try_collect::<Vec<Bytes>>().await.unwrap_err();
    assert_eq!(error.to_string(), "broken");
}

#[test]
fn extensions() {
    let of = |path: &str| FileEncoding::of(&PondPath::parse(path).unwrap());
    for (path, encoding) in [
        ("/a/b.csv", Encoding::Csv),
        ("/a.csv/b", Encoding::Parquet),
        ("/b.JSON", Encoding::Json),
        ("/b.ndjson", Encoding::Ndjson),
        ("/b.tsv", Encoding::Tsv),
        ("/b.tab", Encoding::Tsv),
        ("/b.arrow", Encoding::Arrow),
        ("/b.feather", Encoding::Arrow),
        ("/b.parq", Encoding::Parquet),
        ("/b.series", Encoding::Parquet),
        ("/b.2024", Encoding::Parquet),
        ("/gz", Encoding::Parquet),
        ("/", Encoding::Parquet),
    ] {
        assert_eq!(of(path).unwrap(), FileEncoding::from(encoding), "{path}");
    }
    for (path, encoding, compression) in [
        ("/b.csv.gz", Encoding::Csv, FileCompressionType::GZIP),
        ("/b.tsv.bz2", Encoding::Tsv, FileCompressionType::BZIP2),
        ("/b.JSON.XZ", Encoding::Json, FileCompressionType::XZ),
        ("/b.jsonl.zst", Encoding::Ndjson, FileCompressionType::ZSTD),
    ] {
        assert_eq!(of(path).unwrap(), FileEncoding { encoding, compression }, "{path}");
    }
}

#[test]
fn a_name_of_what_is_not_written_is_refused() {
    for path in ["/d/b.avro", "/d/b.arrows", "/d/b.parquet.gz", "/d/b.arrow.zst", "/d/b.gz", "/d/b.txt.xz"] {
        let path = PondPath::parse(path).unwrap();
        let error = FileEncoding::of(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{path}");
        assert_eq!(error.path(), Some(&path));
        let says = format!("the name '{}' asks for: use .parquet", path.name().unwrap());
        assert!(error.to_string().contains(&says), "{error}");
    }
}

#[tokio::test]
async fn columns_without_a_place_are_refused() {
    let field = Field::new("l", DataType::new_list(DataType::Int64, true), true);
    let schema = Arc::new(Schema::new(vec![field]));
    let rows = Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::empty()));
    let Err(error) = encode(rows, Encoding::Csv, &TaskContext::default()) else { panic!("CSV took a list") };
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let span = DataType::Interval(IntervalUnit::MonthDayNano);
    let keyed = DataType::Map(
        Arc::new(Field::new_struct(
            "entries",
            vec![Field::new("key", DataType::Int64, false), Field::new("value", span.clone(), true)],
            false,
        )),
        false,
    );
    for (encoding, data_type, says) in [
        (Encoding::Parquet, span, "column 'c' has type Interval(MonthDayNano), which Parquet cannot hold"),
        (Encoding::Json, keyed.clone(), "which JSON cannot hold"),
        (Encoding::Ndjson, DataType::new_list(keyed, true), "column 'c' has type List(Map("),
    ] {
        let schema = Arc::new(Schema::new(vec![Field::new("c", data_type, true)]));
        let rows = Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::empty()));
        let Err(error) = encode(rows, encoding, &TaskContext::default()) else { panic!("{encoding:?} took it") };
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(says), "{error}");
    }
}
