//! Arrow IPC: files, which have a footer, and streams, which have none.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result as DfResult;
use datafusion::datasource::physical_plan::{ArrowSource, FileSource};
use datafusion::datasource::table_schema::TableSchema;

use super::arrow_gate::{Layout, look};
use super::sample::check_column_count;
use super::{Description, FormatReader, ReaderOptions, SourceFile};
use crate::error::Result;
use crate::provider::schema_text::without_metadata;

/// Set to `stream` where the file is one; found out, never given.
const LAYOUT: &str = "layout";
const STREAM: &str = "stream";
/// The batches that begin in so many bytes are read at once.
const RANGE: u64 = 16 << 20;

pub(super) struct Arrow;

#[async_trait]
impl FormatReader for Arrow {
    fn known_options(&self) -> &'static [&'static str] {
        &[]
    }

    fn check_options(&self, _options: &ReaderOptions) -> Result<()> {
        Ok(())
    }

    async fn describe(&self, file: &SourceFile<'_>, options: &ReaderOptions) -> Result<Description> {
        let (schema, layout) = look(file).await?;
        check_column_count(schema.fields().len())?;
        let description = Description::of_schema(without_metadata(&Arc::new(schema)), options);
        Ok(match layout {
            Layout::File => description,
            Layout::Stream => Description { options: description.options.with(LAYOUT, STREAM), ..description },
        })
    }

    fn source(&self, schema: &SchemaRef, options: &ReaderOptions) -> DfResult<Arc<dyn FileSource>> {
        let columns = TableSchema::from(Arc::clone(schema));
        Ok(Arc::new(match is_stream(options) {
            true => ArrowSource::new_stream_file_source(columns),
            false => ArrowSource::new_file_source(columns),
        }))
    }

    fn can_split(&self, options: &ReaderOptions) -> bool {
        !is_stream(options)
    }

    fn range_bytes(&self, options: &ReaderOptions) -> Option<u64> {
        (!is_stream(options)).then_some(RANGE)
    }

    fn holds_bytes(&self, _options: &ReaderOptions) -> bool {
        true
    }
}

fn is_stream(options: &ReaderOptions) -> bool {
    options.get(LAYOUT) == Some(STREAM)
}
