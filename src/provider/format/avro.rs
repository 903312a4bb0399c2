//! Avro object container files.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result as DfResult;
use datafusion::datasource::physical_plan::FileSource;
use datafusion::datasource::table_schema::TableSchema;
use datafusion_datasource_avro::read_avro_schema_from_reader;
use datafusion_datasource_avro::source::AvroSource;
use futures::stream::BoxStream;
use object_store::{ObjectMeta, ObjectStore};

use super::avro_blocks::{blocks, header};
use super::sample::check_column_count;
use super::{Description, FormatReader, Piece, ReaderOptions, SourceFile};
use crate::error::{Error, ErrorKind, Result};

/// What each column of a schema has, and each record.
const NAME: &[u8] = b"\"name\"";

pub(super) struct Avro;

#[async_trait]
impl FormatReader for Avro {
    fn known_options(&self) -> &'static [&'static str] {
        &[]
    }

    fn check_options(&self, _options: &ReaderOptions) -> Result<()> {
        Ok(())
    }

    async fn describe(&self, file: &SourceFile<'_>, options: &ReaderOptions) -> Result<Description> {
        let header = header(file.store.as_ref(), file.meta).await?;
        // The decoder takes kilobytes for each column, so they are counted before it: each has a name, as has the record around them.
        check_column_count(header.windows(NAME.len()).filter(|bytes| *bytes == NAME).count().saturating_sub(1))?;
        // The decoder of schemas panics on some that it does not expect.
        match catch_unwind(AssertUnwindSafe(|| read_avro_schema_from_reader(&mut header.as_ref()))) {
            Ok(Ok(schema)) => {
                check_column_count(schema.fields().len())?;
                Ok(Description::of_schema(Arc::new(schema), options))
            }
            Ok(Err(error)) => Err(Error::new(ErrorKind::Corrupt, "its Avro header is not readable").with_source(error)),
            Err(_) => Err(Error::new(ErrorKind::Corrupt, "its Avro schema cannot be decoded")),
        }
    }

    fn source(&self, schema: &SchemaRef, _options: &ReaderOptions) -> DfResult<Arc<dyn FileSource>> {
        Ok(Arc::new(AvroSource::new(TableSchema::from(Arc::clone(schema)))))
    }

    fn can_split(&self, _options: &ReaderOptions) -> bool {
        false
    }

    fn pieces(&self, store: Arc<dyn ObjectStore>, meta: ObjectMeta) -> Option<BoxStream<'static, Result<Piece>>> {
        Some(blocks(store, meta))
    }
}
