//! Text that a decoder would read otherwise than it is meant.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::DataType;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::super::{Seen, SourceFile, Wanted};
use super::{Scratch, count, names, packed};
use crate::error::ErrorKind;
use crate::provider::inspect::describe_file;

async fn seen(scratch: &Scratch, name: &str, options: &[(&str, &str)]) -> Seen {
    let store: Arc<dyn ObjectStore> = Arc::clone(&scratch.store) as _;
    let meta = store.head(&Path::from(name)).await.unwrap();
    let session = scratch.ctx.state();
    let file = SourceFile { store: &store, meta: &meta, session: &session, whole: false };
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let wanted = Wanted::try_new(None, options).unwrap();
    describe_file(&file, name, &wanted).await.unwrap().unwrap().seen()
}

#[tokio::test]
async fn of_what_was_looked_through_nothing_is_left_to_be_found() {
    let scratch = Scratch::new();
    let objects = "{\"a\":1}\n{\"b\":2}\n";
    for (name, text) in [("a.csv", "a,b\n1,2\n"), ("n.csv", "a,b\n1,\"x\ny\"\n"), ("a.ndjson", objects)] {
        scratch.put(name, text.as_bytes().to_vec()).await;
    }
    scratch.put("a.ndjson.gz", packed(objects.as_bytes().to_vec(), FileCompressionType::GZIP).await).await;
    scratch.put("large.csv", format!("a\n{}", format!("{}\n", "p".repeat(1023)).repeat(17 << 10)).into_bytes()).await;
    for (name, options, expected) in [
        ("a.csv", &[][..], Seen::Whole),
        ("a.csv", &[("newlines_in_values", "false")][..], Seen::Whole),
        ("n.csv", &[][..], Seen::Whole),
        // It may be cut within the value.
        ("n.csv", &[("newlines_in_values", "false")][..], Seen::Sample),
        ("large.csv", &[][..], Seen::Sample),
        ("a.ndjson", &[][..], Seen::Whole),
        ("a.ndjson.gz", &[][..], Seen::Whole),
        // What is behind the records that are wanted is not looked at.
        ("a.ndjson", &[("schema_infer_max_rec", "2")][..], Seen::Sample),
        ("a.ndjson", &[("schema_infer_max_rec", "3")][..], Seen::Whole),
    ] {
        assert_eq!(seen(&scratch, name, options).await, expected, "{name} {options:?}");
    }
}

#[tokio::test]
async fn a_value_without_an_end_is_found_behind_the_sample() {
    let scratch = Scratch::new();
    let lines = format!("1,{}\n", "p".repeat(1021)).repeat(17 << 10);
    let text = format!("a,b\n{lines}2,\"x\n3,y\n");
    scratch.put("open.csv.zst", packed(text.clone().into_bytes(), FileCompressionType::ZSTD).await).await;
    let open = text.find('"').unwrap();
    scratch.put("open.csv", text.into_bytes()).await;
    let says = |name: &str, begin: &str| {
        format!(
            "cannot read 'mem://x/{name}' as csv: a value in quotes that begins {begin} has no end: was it cut short? The option \
             'quote' says what quotes are"
        )
    };
    let line = format!("in line {}", (17 << 10) + 2);
    for (name, options, begin) in [
        ("open.csv", &[][..], format!("at byte {open}")),
        ("open.csv", &[("newlines_in_values", "true")][..], line.clone()),
        ("open.csv", &[("comment", "#")][..], line.clone()),
        ("open.csv.zst", &[][..], line.clone()),
    ] {
        let error = scratch.read_with(name, options).await.unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Corrupt, says(name, &begin)), "{options:?}");
    }
}

#[tokio::test]
async fn a_csv_file_is_not_cut_within_a_value() {
    let scratch = Scratch::new();
    let lines = |mebibytes: usize| format!("1,{}\n", "p".repeat(1021)).repeat(mebibytes << 10);
    // The sample has no quote, and the middle is within the value.
    let value = format!("{}7,8", "7,8\n".repeat(1 << 20));
    let text = format!("a,b\n{}2,\"{value}\"\n{}", lines(17), lines(15));
    let middle = text.len() / 2;
    assert!(text.find('"').unwrap() > 17 << 20 && text[..middle].contains('"') && text[middle..].contains('"'));
    scratch.put("late.csv", text.into_bytes()).await;
    for options in [&[][..], &[("newlines_in_values", "false")][..]] {
        let error = scratch.read_with("late.csv", options).await.unwrap_err();
        let says = "cannot read 'mem://x/late.csv' as csv: a value in quotes goes on behind the end of its line, at which the \
                    file is cut to be read by several threads: the option newlines_in_values=true reads it in one piece";
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Unsupported, says));
    }
    let batches = scratch.read_with("late.csv", &[("newlines_in_values", "true")]).await.unwrap();
    assert_eq!(count(&batches), (32 << 10) + 1);
}

#[tokio::test]
async fn a_time_with_a_zone_is_not_shifted_behind_the_sample() {
    let scratch = Scratch::new();
    let lines = format!("2024-06-01 12:00:00,{}\n", "p".repeat(1003)).repeat(17 << 10);
    scratch.put("late.csv", format!("t,b\n{lines}2024-06-01T12:00:00+02:00,\n").into_bytes()).await;
    let error = scratch.read("late.csv").await.unwrap_err();
    let says = "cannot read 'mem://x/late.csv' as csv: column 't' has a time with a zone, and those that its type was taken from \
                have none: it is text with a larger schema_infer_max_rec, as in pond('mem://x/late.csv', \
                schema_infer_max_rec => 1000000)";
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Unsupported, says));
    let batches = scratch.read_with("late.csv", &[("schema_infer_max_rec", "1000000")]).await.unwrap();
    let of_text = |batch: &RecordBatch| *batch.column(0).data_type() == DataType::Utf8View;
    assert_eq!((count(&batches), batches.iter().all(of_text)), ((17 << 10) + 1, true));
}

#[tokio::test]
async fn keys_behind_the_sample_are_not_left_out_without_a_word() {
    let scratch = Scratch::new();
    let lines = format!("{}{{\"a\":1,\"late\":2}}\n", "{\"a\":1}\n".repeat(100_000));
    let array = format!("[{}]", lines.trim_end().replace('\n', ","));
    let files = [
        ("late.ndjson", lines.clone().into_bytes()),
        ("late.ndjson.gz", packed(lines.into_bytes(), FileCompressionType::GZIP).await),
        ("late.json", array.into_bytes()),
    ];
    for (name, bytes) in files {
        scratch.put(name, bytes).await;
        let error = scratch.read(name).await.unwrap_err();
        let says = format!(
            "cannot read 'mem://x/{name}' as json: the key 'late' comes first behind the records that the columns were taken \
             from: a larger schema_infer_max_rec looks further, ignore_unknown_keys=true leaves such keys out"
        );
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Unsupported, says));
        let batches = scratch.read_with(name, &[("schema_infer_max_rec", "200000")]).await.unwrap();
        assert_eq!((count(&batches), names(batches[0].schema_ref())), (100_001, vec!["a", "late"]), "{name}");
        let batches = scratch.read_with(name, &[("ignore_unknown_keys", "true")]).await.unwrap();
        assert_eq!((count(&batches), names(batches[0].schema_ref())), (100_001, vec!["a"]), "{name}");
    }
}

#[tokio::test]
async fn records_that_are_too_long_are_refused_packed_or_not() {
    let scratch = Scratch::new();
    let long = "x".repeat(65 << 20);
    let lines = format!("{{\"a\":\"1\"}}\n{{\"a\":\"{long}\"}}\n");
    let array = format!("[{{\"a\":\"1\"}},{{\"a\":\"{long}\"}}]");
    let text = format!("a,b\n1,2\n1,{long}\n");
    let files = [
        ("long.json.zst", packed(array.clone().into_bytes(), FileCompressionType::ZSTD).await),
        ("long.csv", text.into_bytes()),
        ("long.ndjson", lines.into_bytes()),
        ("long.json", array.into_bytes()),
        ("first.ndjson", format!("{{\"a\":\"{long}\"}}\n").into_bytes()),
    ];
    for (name, bytes) in files {
        scratch.put(name, bytes).await;
        let error = scratch.read(name).await.unwrap_err();
        let says = match name {
            "first.ndjson" => "': its first record is longer than any memory is planned for".to_owned(),
            _ => format!(
                "' as {}: a record of it is longer than 64 MiB",
                if name.contains("csv") { "csv" } else { "json" }
            ),
        };
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Limit, format!("cannot read 'mem://x/{name}{says}")));
    }
}
