//! Functions that look into DataFusion's caches, from its own shell.

use std::sync::Arc;

use datafusion::prelude::SessionContext;
use datafusion_cli::functions::{ListFilesCacheFunc, MetadataCacheFunc, ParquetMetadataFunc, StatisticsCacheFunc};

/// Adds `parquet_metadata('./host.parquet')`, `metadata_cache()`, `statistics_cache()` and `list_files_cache()`.
///
/// `parquet_metadata` opens host files itself, so it must not be added where those are off.
pub fn register_cli_functions(context: &SessionContext, host_files: bool) {
    let caches = Arc::clone(&context.runtime_env().cache_manager);
    if host_files {
        context.register_udtf("parquet_metadata", Arc::new(ParquetMetadataFunc {}));
    }
    context.register_udtf("metadata_cache", Arc::new(MetadataCacheFunc::new(Arc::clone(&caches))));
    context.register_udtf("statistics_cache", Arc::new(StatisticsCacheFunc::new(Arc::clone(&caches))));
    context.register_udtf("list_files_cache", Arc::new(ListFilesCacheFunc::new(caches)));
}
