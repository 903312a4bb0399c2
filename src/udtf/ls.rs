//! `pond_ls([glob])`: the entries of a pond.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringBuilder, TimestampMicrosecondBuilder, UInt64Builder};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use futures::stream::{self, StreamExt};
use tinyfs::EntryKind;

use crate::error::Result;
use crate::provider::{FactoryChild, FileTable, FileVersion};
use crate::udtf::SystemTable;
use crate::udtf::system_table::{Batches, GlobArgument, Source, Subject};

pub(super) const TABLE: SystemTable =
    SystemTable { glob: GlobArgument::Optional, subject: Subject::Entries, schema, rows };

/// The type of all times in the listings.
pub(super) fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("path", DataType::Utf8, false),
        Field::new("name", DataType::Utf8, false),
        Field::new("kind", DataType::Utf8, false),
        Field::new("format", DataType::Utf8, true),
        Field::new("versions", DataType::UInt64, true),
        Field::new("rows", DataType::UInt64, true),
        Field::new("bytes", DataType::UInt64, true),
        Field::new("modified", timestamp(), false),
        Field::new("txn", DataType::UInt64, false),
    ]))
}

fn rows(source: Source) -> Batches {
    stream::once(async move { list(&source) }).boxed()
}

fn list(source: &Source) -> Result<RecordBatch> {
    let (mut path, mut name, mut kind, mut format) =
        (StringBuilder::new(), StringBuilder::new(), StringBuilder::new(), StringBuilder::new());
    let (mut versions, mut rows, mut bytes, mut txn) =
        (UInt64Builder::new(), UInt64Builder::new(), UInt64Builder::new(), UInt64Builder::new());
    let mut modified = TimestampMicrosecondBuilder::new().with_data_type(timestamp());
    for entry in source.matches.iter() {
        let node = &entry.node;
        path.append_value(entry.path.as_str());
        name.append_value(entry.path.name().unwrap_or("/"));
        kind.append_value(match node.kind() {
            EntryKind::DynamicDirectory => EntryKind::Dynamic.as_str(),
            kind => kind.as_str(),
        });
        modified.append_value(node.modified.timestamp_micros());
        txn.append_value(node.txn.0);
        let Some(history) = node.versions() else {
            format.append_null();
            versions.append_null();
            rows.append_null();
            bytes.append_option(FactoryChild::of(node)?.and_then(|child| child.size));
            continue;
        };
        versions.append_value(history.len() as u64);
        bytes.append_value(history.content().iter().map(|version| version.part.size).sum());
        if FileTable::is_table(node) {
            let table = FileTable::try_new(entry.path.clone(), node, FileVersion::Latest, &source.pond.attributes)?;
            format.append_value(table.format());
            rows.append_option(table.rows());
        } else {
            format.append_null();
            rows.append_null();
        }
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(path.finish()),
        Arc::new(name.finish()),
        Arc::new(kind.finish()),
        Arc::new(format.finish()),
        Arc::new(versions.finish()),
        Arc::new(rows.finish()),
        Arc::new(bytes.finish()),
        Arc::new(modified.finish()),
        Arc::new(txn.finish()),
    ];
    Ok(RecordBatch::try_new(schema(), columns).map_err(datafusion::common::DataFusionError::from)?)
}
