//! `pond_read(glob)`: the bytes of files of any kind.

use std::sync::Arc;

use bytes::BytesMut;
use datafusion::arrow::array::{ArrayRef, BinaryArray, RecordBatch, StringArray, UInt64Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::DataFusionError;
use futures::TryStreamExt;
use futures::stream::{self, StreamExt};
use tinyfs::{EntryKind, PondPath, Version};

use crate::catalog::{DerivedPlanner, Keep};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::open_bytes;
use crate::udtf::SystemTable;
use crate::udtf::system_table::{Batches, GlobArgument, Rows, Source, Subject};

pub(super) const TABLE: SystemTable =
    SystemTable { glob: GlobArgument::Required, subject: Subject::Contents, schema, rows: Rows::Whole(rows) };

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("path", DataType::Utf8, false),
        Field::new("version", DataType::UInt64, true),
        Field::new("content", DataType::Binary, false),
    ]))
}

/// What a row is about.
enum Wanted {
    Version(PondPath, Arc<Version>),
    /// A view, or what stands for something elsewhere.
    Made(PondPath),
}

/// One row a version that is part of the content, and one a view or dynamic entry, read when it is asked for.
fn rows(source: Source) -> Batches {
    let mut wanted = Vec::new();
    for entry in source.matches.iter() {
        if matches!(entry.node.kind(), EntryKind::View | EntryKind::Dynamic) {
            wanted.push(Wanted::Made(entry.path.clone()));
        }
        let content = entry.node.versions().map(|versions| versions.content()).unwrap_or_default();
        wanted.extend(content.into_iter().map(|version| Wanted::Version(entry.path.clone(), version)));
    }
    stream::iter(wanted)
        .then(move |wanted| {
            let source = source.clone();
            async move {
                match wanted {
                    Wanted::Version(path, version) => {
                        let bytes = source
                            .snapshot
                            .read(&version.part, 0..version.part.size)
                            .await
                            .map_err(|error| Error::from(error.with_path(&path).with_version(version.number)))?;
                        row(&path, Some(version.number), &bytes)
                    }
                    Wanted::Made(path) => {
                        let planner = DerivedPlanner::new(source.scope, source.pond, Keep::Theirs);
                        let bytes = open_bytes(&source.snapshot, &path, &planner, None).await?;
                        let bytes = bytes.try_fold(BytesMut::new(), |mut all, chunk| async move {
                            all.extend_from_slice(&chunk);
                            Ok(all)
                        });
                        row(&path, None, &bytes.await?)
                    }
                }
            }
        })
        .boxed()
}

fn row(path: &PondPath, version: Option<u64>, bytes: &[u8]) -> Result<RecordBatch> {
    if i32::try_from(bytes.len()).is_err() {
        let message = format!("'{path}' has {} bytes, and a value holds 2 GiB at most", bytes.len());
        return Err(Error::new(ErrorKind::Limit, message).with_path(path));
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![path.as_str()])),
        Arc::new(UInt64Array::from(vec![version])),
        Arc::new(BinaryArray::from(vec![bytes])),
    ];
    Ok(RecordBatch::try_new(schema(), columns).map_err(DataFusionError::from)?)
}
