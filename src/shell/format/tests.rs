use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Int32Type, Int64Type};

use super::{Format, View};

const FILE: View = View { terminal: false, quiet: false };
const TERMINAL: View = View { terminal: true, quiet: false };

fn print(format: Format, view: View, batches: &[RecordBatch]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut printer = format.printer(view);
    printer.start(&batches[0].schema(), &mut out).unwrap();
    for batch in batches {
        printer.batch(batch, &mut out).unwrap();
    }
    printer.finish(&mut out).unwrap();
    out
}

fn text(format: Format, view: View, batches: &[RecordBatch]) -> String {
    String::from_utf8(print(format, view, batches)).unwrap()
}

fn sample() -> RecordBatch {
    let columns: [(&str, ArrayRef); 3] = [
        ("n", Arc::new(Int64Array::from(vec![Some(1), None, Some(300)]))),
        ("s", Arc::new(StringArray::from(vec![Some("a,\"b\"|"), Some(""), None]))),
        ("t", Arc::new(TimestampMicrosecondArray::from(vec![Some(0), Some(1_500_000), None]))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true))).unwrap()
}

fn numbers(from: i64, to: i64) -> RecordBatch {
    RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from_iter_values(from..to)) as ArrayRef)]).unwrap()
}

#[test]
fn csv_tells_null_from_empty() {
    assert_eq!(
        text(Format::Csv, FILE, &[sample()]),
        "n,s,t\n1,\"a,\"\"b\"\"|\",1970-01-01T00:00:00\n,\"\",1970-01-01T00:00:01.500\n300,,\n"
    );
    assert_eq!(text(Format::Tsv, FILE, &[sample()]).lines().nth(1), Some("1\t\"a,\"\"b\"\"|\"\t1970-01-01T00:00:00"));
}

#[test]
fn json_keeps_null_and_nesting() {
    assert_eq!(
        text(Format::Ndjson, FILE, &[sample(), sample().slice(0, 1)]),
        concat!(
            "{\"n\":1,\"s\":\"a,\\\"b\\\"|\",\"t\":\"1970-01-01T00:00:00\"}\n",
            "{\"n\":null,\"s\":\"\",\"t\":\"1970-01-01T00:00:01.500\"}\n",
            "{\"n\":300,\"s\":null,\"t\":null}\n",
            "{\"n\":1,\"s\":\"a,\\\"b\\\"|\",\"t\":\"1970-01-01T00:00:00\"}\n",
        )
    );
    let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None]), None]);
    let nested = RecordBatch::try_from_iter_with_nullable([("l", Arc::new(list) as ArrayRef, true)]).unwrap();
    assert_eq!(
        text(Format::Json, FILE, &[nested.slice(0, 1), nested.slice(1, 1)]),
        "[{\"l\":[1,null]},{\"l\":null}]\n"
    );
    assert_eq!(text(Format::Json, FILE, &[nested.slice(0, 0)]), "[]\n");
    assert_eq!(text(Format::Ndjson, FILE, &[nested.slice(0, 0)]), "");
}

#[test]
fn line_names_every_value() {
    assert_eq!(
        text(Format::Line, FILE, &[sample().slice(1, 2).project(&[0, 1]).unwrap()]),
        "n = NULL\ns = \n\nn = 300\ns = NULL\n"
    );
}

#[test]
fn markup_escapes() {
    let batch = RecordBatch::try_from_iter([
        ("a|b", Arc::new(StringArray::from(vec!["<x>\n|"])) as ArrayRef),
        ("n", Arc::new(Float64Array::from(vec![0.5])) as ArrayRef),
    ])
    .unwrap();
    assert_eq!(
        text(Format::Markdown, FILE, std::slice::from_ref(&batch)),
        "| a\\|b | n |\n| --- | ---: |\n| &lt;x&gt;<br>\\| | 0.5 |\n"
    );
    assert_eq!(
        text(Format::Html, FILE, &[batch]),
        "<table>\n<thead><tr><th>a|b</th><th>n</th></tr></thead>\n<tbody>\n\
         <tr><td>&lt;x&gt;\n|</td><td>0.5</td></tr>\n</tbody>\n</table>\n"
    );
}

#[test]
fn a_table_is_aligned() {
    let batch = sample().project(&[0, 1]).unwrap();
    assert_eq!(
        text(Format::Table, FILE, std::slice::from_ref(&batch)),
        "+------+--------+\n| n    | s      |\n+------+--------+\n|    1 | a,\"b\"| |\n| NULL |        |\n|  300 | NULL   |\n+------+--------+\n"
            .replace("| n    |", "|    n |")
    );
    assert_eq!(text(Format::Box, FILE, &[batch.slice(0, 1)]).lines().next(), Some("┌───┬────────┐"));
    let hostile =
        RecordBatch::try_from_iter([("s", Arc::new(StringArray::from(vec!["\u{1b}[2J\tx"])) as ArrayRef)]).unwrap();
    assert!(text(Format::Table, FILE, &[hostile]).contains("| \\u{1b}[2J\\tx |"));
}

#[test]
fn only_a_terminal_cuts_and_counts() {
    let batches = [numbers(0, 15), numbers(15, 1000), numbers(1000, 1010)];
    let whole = text(Format::Table, FILE, &batches);
    assert_eq!(whole.lines().count(), 1010 + 4);
    let cut = text(Format::Table, TERMINAL, &batches);
    let lines: Vec<&str> = cut.lines().collect();
    assert_eq!(lines.len(), 40 + 1 + 4 + 1);
    assert_eq!(lines[3].trim_matches(['|', ' ']), "0");
    assert_eq!(lines[22].trim_matches(['|', ' ']), "19");
    assert_eq!(lines[23].trim_matches(['|', ' ']), "…");
    assert_eq!(lines[24].trim_matches(['|', ' ']), "990");
    assert_eq!(lines[43].trim_matches(['|', ' ']), "1009");
    assert_eq!(lines[45], "(1010 rows, 40 shown)");
    assert!(text(Format::Table, TERMINAL, &[numbers(0, 40)]).ends_with("(40 rows)\n"));
    assert!(text(Format::Table, TERMINAL, &[numbers(0, 1)]).ends_with("(1 row)\n"));
    assert!(!text(Format::Table, View { quiet: true, ..TERMINAL }, &[numbers(0, 1)]).contains("row"));
}

#[test]
fn a_null_of_a_dictionary_is_null() {
    let values: DictionaryArray<Int32Type> = [Some("x"), None].into_iter().collect();
    let batch = RecordBatch::try_from_iter_with_nullable([("d", Arc::new(values) as ArrayRef, true)]).unwrap();
    assert_eq!(text(Format::Csv, FILE, &[batch]), "d\nx\n\n");
}

#[test]
fn binary_formats_read_back() {
    let batches = [numbers(0, 3), numbers(3, 5)];
    let file = bytes::Bytes::from(print(Format::Parquet, FILE, &batches));
    let read: Vec<RecordBatch> = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(file, 100)
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(read, [numbers(0, 5)]);
    let stream = print(Format::Arrow, FILE, &batches);
    let read: Vec<RecordBatch> =
        arrow::ipc::reader::StreamReader::try_new(stream.as_slice(), None).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(read, batches);
}
