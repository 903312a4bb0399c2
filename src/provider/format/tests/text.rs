//! Text that a decoder would read otherwise than it is meant.

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::DataType;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;

use super::{Scratch, count, names, packed};
use crate::error::ErrorKind;

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
                have none: with a larger schema_infer_max_rec it is text";
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
