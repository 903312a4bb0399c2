//! `pond_log()`: the transactions of a pond.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringBuilder, TimestampMicrosecondBuilder, UInt64Builder};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::DataFusionError;
use futures::stream::{self, StreamExt};

use crate::error::Result;
use crate::udtf::SystemTable;
use crate::udtf::ls::timestamp;
use crate::udtf::system_table::{Batches, GlobArgument, Rows, Source, Subject};

pub(super) const TABLE: SystemTable =
    SystemTable { glob: GlobArgument::None, subject: Subject::Contents, schema, rows: Rows::Whole(rows) };

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("txn", DataType::UInt64, false),
        Field::new("committed_at", timestamp(), false),
        Field::new("author", DataType::Utf8, false),
        Field::new("message", DataType::Utf8, false),
        Field::new("entries", DataType::UInt64, false),
    ]))
}

fn rows(source: Source) -> Batches {
    stream::once(list(source)).boxed()
}

async fn list(source: Source) -> Result<RecordBatch> {
    let log = source.pond.store.log(source.snapshot.txn()).await?;
    let (mut txn, mut entries) = (UInt64Builder::new(), UInt64Builder::new());
    let (mut author, mut message) = (StringBuilder::new(), StringBuilder::new());
    let mut committed_at = TimestampMicrosecondBuilder::new().with_data_type(timestamp());
    for commit in &log {
        txn.append_value(commit.txn.0);
        committed_at.append_value(commit.committed_at.timestamp_micros());
        author.append_value(&commit.info.author);
        message.append_value(&commit.info.message);
        entries.append_value(commit.operations);
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(txn.finish()),
        Arc::new(committed_at.finish()),
        Arc::new(author.finish()),
        Arc::new(message.finish()),
        Arc::new(entries.finish()),
    ];
    Ok(RecordBatch::try_new(schema(), columns).map_err(DataFusionError::from)?)
}
