//! Parquet.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result as DfResult;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::datasource::physical_plan::{FileSource, ParquetSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::parquet::file::metadata::PageIndexPolicy;

use super::{Description, FormatReader, ReaderOptions, SourceFile};
use crate::error::{Error, Result};
use crate::provider::describe::of_footer;
use crate::provider::parquet_gate::{check_metadata, check_parquet_object};

pub(super) struct Parquet;

#[async_trait]
impl FormatReader for Parquet {
    fn known_options(&self) -> &'static [&'static str] {
        &[]
    }

    fn check_options(&self, _options: &ReaderOptions) -> Result<()> {
        Ok(())
    }

    async fn describe(&self, file: &SourceFile<'_>, options: &ReaderOptions) -> Result<Description> {
        check_parquet_object(file.store.as_ref(), file.meta).await?;
        let cache = file.session.runtime_env().cache_manager.get_file_metadata_cache();
        // The scan finds the footer in the cache; where its page index lies is not known to be sane yet.
        let footer = DFParquetMetadata::new(file.store.as_ref(), file.meta)
            .with_file_metadata_cache(Some(cache))
            .with_page_index_policy(Some(PageIndexPolicy::Skip));
        let metadata = footer.fetch_metadata().await.map_err(|error| {
            let error = Error::from_datafusion(error);
            Error::new(error.kind(), "the Parquet footer is not readable").with_source(error)
        })?;
        check_metadata(&metadata, file.meta.size)?;
        let described = of_footer(&metadata)?;
        Ok(Description {
            rows: described.rows(),
            columns: Some(described.statistics()?.column_statistics.clone()),
            ..Description::of_schema(described.schema, options)
        })
    }

    fn source(&self, schema: &SchemaRef, _options: &ReaderOptions) -> DfResult<Arc<dyn FileSource>> {
        Ok(Arc::new(ParquetSource::new(TableSchema::from(Arc::clone(schema)))))
    }

    fn can_split(&self, _options: &ReaderOptions) -> bool {
        true
    }
}
