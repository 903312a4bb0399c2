//! `pond_read(glob)`: the bytes of files of any kind.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BinaryArray, RecordBatch, StringArray, UInt64Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::DataFusionError;
use futures::stream::{self, StreamExt};
use tinyfs::{EntryKind, PondPath, Version};

use crate::error::{Error, ErrorKind, Result};
use crate::udtf::SystemTable;
use crate::udtf::system_table::{Batches, GlobArgument, Source, Subject};

pub(super) const TABLE: SystemTable =
    SystemTable { glob: GlobArgument::Required, subject: Subject::Contents, schema, rows };

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("path", DataType::Utf8, false),
        Field::new("version", DataType::UInt64, false),
        Field::new("content", DataType::Binary, false),
    ]))
}

/// One row a version that is part of the content, read when it is asked for.
fn rows(source: Source) -> Batches {
    let mut wanted: Vec<(PondPath, Arc<Version>)> = Vec::new();
    for entry in source.matches.iter() {
        if entry.node.kind() == EntryKind::View {
            let message = format!("'{}' is a view; its bytes are not available yet", entry.path);
            return stream::once(async { Err(Error::new(ErrorKind::Unsupported, message)) }).boxed();
        }
        let content = entry.node.versions().map(|versions| versions.content()).unwrap_or_default();
        wanted.extend(content.into_iter().map(|version| (entry.path.clone(), version)));
    }
    stream::iter(wanted)
        .then(move |(path, version)| {
            let snapshot = source.snapshot.clone();
            async move {
                let bytes = snapshot
                    .read(&version.part, 0..version.part.size)
                    .await
                    .map_err(|error| Error::from(error.with_path(&path).with_version(version.number)))?;
                row(&path, &version, &bytes)
            }
        })
        .boxed()
}

fn row(path: &PondPath, version: &Version, bytes: &[u8]) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![path.as_str()])),
        Arc::new(UInt64Array::from(vec![version.number])),
        Arc::new(BinaryArray::from(vec![bytes])),
    ];
    Ok(RecordBatch::try_new(schema(), columns).map_err(DataFusionError::from)?)
}
