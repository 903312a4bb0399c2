//! Parquet.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result as DfResult;
use datafusion::datasource::physical_plan::parquet::CachedParquetMetaData;
use datafusion::datasource::physical_plan::{FileSource, ParquetSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::cache::cache_manager::{CachedFileMetadataEntry, FileMetadataCache};
use datafusion::parquet::file::metadata::ParquetMetaData;
use object_store::{ObjectMeta, ObjectStore};

use super::{Description, FormatReader, ReaderOptions, SourceFile};
use crate::error::Result;
use crate::provider::describe::of_footer;
use crate::provider::parquet_gate::{check_metadata, read_parquet_footer};

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
        let cache = file.session.runtime_env().cache_manager.get_file_metadata_cache();
        let metadata = checked_footer(cache.as_ref(), file.store.as_ref(), file.meta).await?;
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

/// The footer of a file, without its page index, of which nobody knows yet where it lies; checked, and kept in `cache`, where the scan and the next
/// statement find it.
///
/// # Errors
/// As those of [`read_parquet_footer`] and [`check_metadata`].
pub(crate) async fn checked_footer(
    cache: &FileMetadataCache,
    store: &dyn ObjectStore,
    meta: &ObjectMeta,
) -> Result<Arc<ParquetMetaData>> {
    let footer = footer(cache, store, meta).await?;
    check_metadata(&footer, meta.size)?;
    Ok(footer)
}

async fn footer(cache: &FileMetadataCache, store: &dyn ObjectStore, meta: &ObjectMeta) -> Result<Arc<ParquetMetaData>> {
    let location = &meta.location;
    if let Some(kept) = cache.get(location)
        && kept.is_valid_for(meta)
        && let Some(known) = kept.file_metadata.as_any().downcast_ref::<CachedParquetMetaData>()
    {
        return Ok(Arc::clone(known.parquet_metadata()));
    }
    let metadata = Arc::new(read_parquet_footer(store, meta).await?);
    let kept = Arc::new(CachedParquetMetaData::new(Arc::clone(&metadata)));
    let _ = cache.put(location, CachedFileMetadataEntry::new(meta.clone(), kept));
    Ok(metadata)
}
