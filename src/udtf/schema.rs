//! `pond_schema(glob)`: the columns of tables.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanBuilder, RecordBatch, StringBuilder, UInt64Builder};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::DataFusionError;
use futures::stream::{self, StreamExt};
use tinyfs::{Entry, EntryKind};

use crate::error::Result;
use crate::provider::{FileTable, FileVersion};
use crate::udtf::SystemTable;
use crate::udtf::system_table::{Batches, GlobArgument, Rows, Source, Subject};

pub(super) const TABLE: SystemTable =
    SystemTable { glob: GlobArgument::Required, subject: Subject::Columns, schema, rows: Rows::Whole(rows) };

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("path", DataType::Utf8, false),
        Field::new("column_name", DataType::Utf8, false),
        Field::new("data_type", DataType::Utf8, false),
        Field::new("nullable", DataType::Boolean, false),
        Field::new("ordinal", DataType::UInt64, false),
    ]))
}

fn rows(source: Source) -> Batches {
    stream::once(async move { list(&source) }).boxed()
}

fn list(source: &Source) -> Result<RecordBatch> {
    let (mut path, mut column, mut data_type) = (StringBuilder::new(), StringBuilder::new(), StringBuilder::new());
    let (mut nullable, mut ordinal) = (BooleanBuilder::new(), UInt64Builder::new());
    for entry in source.matches.iter() {
        let Some(schema) = schema_of(source, entry)? else { continue };
        for (field, number) in schema.fields().iter().zip(1u64..) {
            path.append_value(entry.path.as_str());
            column.append_value(field.name());
            data_type.append_value(field.data_type().to_string());
            nullable.append_value(field.is_nullable());
            ordinal.append_value(number);
        }
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(path.finish()),
        Arc::new(column.finish()),
        Arc::new(data_type.finish()),
        Arc::new(nullable.finish()),
        Arc::new(ordinal.finish()),
    ];
    Ok(RecordBatch::try_new(schema(), columns).map_err(DataFusionError::from)?)
}

/// The schema of a table. What holds no rows has none.
fn schema_of(source: &Source, entry: &Entry) -> Result<Option<SchemaRef>> {
    match entry.node.kind() {
        EntryKind::File if FileTable::is_table(&entry.node) => {
            let table =
                FileTable::try_new(entry.path.clone(), &entry.node, FileVersion::Latest, &source.pond.attributes)?;
            Ok(Some(Arc::clone(table.schema())))
        }
        EntryKind::View | EntryKind::Dynamic => Ok(source.view_schemas.get(&entry.node.id).map(Arc::clone)),
        _ => Ok(None),
    }
}
