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
use object_store::ObjectStoreExt;

use super::sample::check_column_count;
use super::{Description, FormatReader, ReaderOptions, SourceFile};
use crate::error::{Error, ErrorKind, Result};

const MAGIC: &[u8] = b"Obj\x01";
/// How much of a file is looked at for its header; eight times as much, and so on, where that is not enough.
const FIRST_LOOK: u64 = 64 << 10;
/// The longest header.
const MAX_HEADER: u64 = 16 << 20;

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
        let size = file.meta.size;
        let mut look = FIRST_LOOK;
        loop {
            let end = size.min(look);
            let bytes = match end {
                0 => bytes::Bytes::new(),
                end => file.store.get_range(&file.meta.location, 0..end).await?,
            };
            if !bytes.starts_with(MAGIC) {
                return Err(Error::new(ErrorKind::Corrupt, "not an Avro file: it does not start with 'Obj' and 1"));
            }
            // The decoder of schemas panics on some that it does not expect.
            let read = catch_unwind(AssertUnwindSafe(|| read_avro_schema_from_reader(&mut bytes.as_ref())));
            match read {
                Ok(Ok(schema)) => {
                    check_column_count(schema.fields().len())?;
                    return Ok(Description::of_schema(Arc::new(schema), options));
                }
                Ok(Err(_)) if end < size.min(MAX_HEADER) => look *= 8,
                Ok(Err(error)) => {
                    return Err(Error::new(ErrorKind::Corrupt, "its Avro header is not readable").with_source(error));
                }
                Err(_) => return Err(Error::new(ErrorKind::Corrupt, "its Avro schema cannot be decoded")),
            }
        }
    }

    fn source(&self, schema: &SchemaRef, _options: &ReaderOptions) -> DfResult<Arc<dyn FileSource>> {
        Ok(Arc::new(AvroSource::new(TableSchema::from(Arc::clone(schema)))))
    }

    fn can_split(&self, _options: &ReaderOptions) -> bool {
        false
    }

    fn holds_file(&self, _options: &ReaderOptions) -> bool {
        true
    }
}
