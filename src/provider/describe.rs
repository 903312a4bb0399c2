//! [`describe_parquet`]: the attributes of a Parquet file that this program did not write.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use datafusion::common::ColumnStatistics;
use datafusion::common::stats::Precision;
use datafusion::datasource::physical_plan::parquet::Int96Coercer;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::parquet::arrow::parquet_to_arrow_schema;
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::metadata::ParquetMetaData;
use tinyfs::{Part, PersistenceLayer};

use super::attributes::PartAttributes;
use super::parquet_gate::{PARQUET_TAIL, check_metadata, check_parquet, decode_footer};
use super::part_observer::kept_bounds;
use super::sink::stored_schema;
use crate::error::{Error, ErrorKind, Result};

/// Reads the footer of a Parquet file that was stored as a part: what a table needs to know of it.
///
/// Less is taken on trust than of our own parts: no order, and no bounds of floats, whose NaN a footer leaves out.
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt) when it is no Parquet file, or a broken one; [`Unsupported`](ErrorKind::Unsupported) for an encrypted one or a type
/// that cannot be kept.
pub async fn describe_parquet(store: &Arc<dyn PersistenceLayer>, part: &Part) -> Result<PartAttributes> {
    let head = store.read_part(part, 0..part.size.min(4)).await?;
    let tail = store.read_part(part, part.size.saturating_sub(PARQUET_TAIL)..part.size).await?;
    let footer = check_parquet(part.size, &head, &tail)?;
    let metadata = decode_footer(&store.read_part(part, footer).await?)?;
    check_metadata(&metadata, part.size)?;
    let described = of_footer(&metadata)?;
    let _ = super::schema_text::encode(&described.schema)?;
    Ok(described)
}

/// What a footer that was checked says of its file.
pub(crate) fn of_footer(metadata: &ParquetMetaData) -> Result<PartAttributes> {
    let broken =
        |error: ParquetError| Error::new(ErrorKind::Corrupt, "the Parquet footer is not readable").with_source(error);
    let file = metadata.file_metadata();
    let read = parquet_to_arrow_schema(file.schema_descr(), file.key_value_metadata()).map_err(broken)?;
    // Times of 96 bits reach from year 1 to 9999 and beyond: as nanoseconds, most of them would wrap around.
    let in_micros = Int96Coercer::new(file.schema_descr(), &read, &TimeUnit::Microsecond).coerce();
    let in_nanos = stored_schema(&Arc::new(read));
    let mut columns = statistics(metadata, &in_nanos).map_err(Error::from_datafusion)?;
    let schema = in_micros.map_or_else(|| Arc::clone(&in_nanos), |micros| stored_schema(&Arc::new(micros)));
    for (at, column) in columns.iter_mut().enumerate() {
        if schema.field(at).data_type() != in_nanos.field(at).data_type() {
            *column = ColumnStatistics::new_unknown().with_null_count(column.null_count);
        }
    }
    let rows =
        metadata.row_groups().iter().map(|group| u64::try_from(group.num_rows())).sum::<std::result::Result<u64, _>>();
    let rows = rows
        .map_err(|error| Error::new(ErrorKind::Corrupt, "a row group has a negative row count").with_source(error))?;
    Ok(PartAttributes::new(schema, rows)?.with_columns(columns))
}

fn statistics(metadata: &ParquetMetaData, schema: &SchemaRef) -> datafusion::common::Result<Vec<ColumnStatistics>> {
    let read = DFParquetMetadata::statistics_from_parquet_metadata(metadata, schema)?;
    // Leaves and columns are the same only in a flat schema.
    let flat = metadata.file_metadata().schema_descr().num_columns() == schema.fields().len();
    let complete = |at: usize| {
        metadata.row_groups().iter().all(|group| {
            group.column(at).statistics().is_some_and(|statistics| {
                let nulls = statistics.null_count_opt();
                let all_null = nulls.is_some_and(|nulls| i64::try_from(nulls) == Ok(group.num_rows()));
                nulls.is_some()
                    && (all_null || (statistics.min_bytes_opt().is_some() && statistics.max_bytes_opt().is_some()))
            })
        })
    };
    Ok(read
        .column_statistics
        .into_iter()
        .enumerate()
        .map(|(at, column)| {
            if !flat || !complete(at) {
                return ColumnStatistics::new_unknown();
            }
            let data_type = schema.field(at).data_type();
            let float = matches!(data_type, DataType::Float16 | DataType::Float32 | DataType::Float64);
            let nulls = match column.null_count {
                Precision::Exact(nulls) => Precision::Exact(nulls),
                _ => Precision::Absent,
            };
            kept_bounds(data_type, &column, float).with_null_count(nulls)
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    use tinyfs::MemoryStore;

    use super::*;
    use crate::provider::{WriteOptions, write_part};

    async fn stored(store: &Arc<dyn PersistenceLayer>, bytes: Bytes) -> Part {
        let mut writer = store.create_part().await.unwrap();
        writer.write(bytes).await.unwrap();
        writer.finish().await.unwrap()
    }

    #[tokio::test]
    async fn a_footer_with_any_byte_changed_is_described_or_refused() {
        let store: Arc<dyn PersistenceLayer> = Arc::new(MemoryStore::new());
        let batch = RecordBatch::try_from_iter([
            ("k", Arc::new(Int64Array::from(vec![Some(1), None, Some(3)])) as ArrayRef),
            ("s", Arc::new(StringArray::from(vec!["a", "b", "c"])) as ArrayRef),
            ("x", Arc::new(Float64Array::from(vec![1.5, 2.5, f64::NAN])) as ArrayRef),
        ])
        .unwrap();
        let rows = Box::pin(RecordBatchStreamAdapter::new(batch.schema(), futures::stream::iter([Ok(batch)])));
        let part = write_part(rows, &store, WriteOptions::default()).await.unwrap().part;
        let whole = store.read_part(&part, 0..part.size).await.unwrap().to_vec();
        assert_eq!(describe_parquet(&store, &part).await.unwrap().rows(), Some(3));
        let end = whole.len() - 8;
        let footer = u32::from_le_bytes(whole[end..end + 4].try_into().unwrap()) as usize;
        let (mut refused, mut tried) = (0, 0);
        for at in end - footer..end {
            for flip in [0x01, 0x10, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                let part = stored(&store, Bytes::from(bytes)).await;
                tried += 1;
                if let Err(error) = describe_parquet(&store, &part).await {
                    refused += 1;
                    let kinds = [ErrorKind::Corrupt, ErrorKind::Unsupported, ErrorKind::Execution];
                    assert!(kinds.contains(&error.kind()), "byte {at}, {flip:#x}: {:?} {error}", error.kind());
                }
            }
        }
        assert!(refused > tried / 4, "{refused} of {tried}");
    }
}
