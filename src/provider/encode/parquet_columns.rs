//! How the columns of a Parquet file are best written down, as its first rows tell.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch};
use datafusion::arrow::compute::concat;
use datafusion::arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::ScalarValue;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, Encoding};
use datafusion::parquet::errors::{ParquetError, Result as ParquetResult};
use datafusion::parquet::file::metadata::ColumnChunkMetaData;
use datafusion::parquet::file::properties::{DEFAULT_DICTIONARY_PAGE_SIZE_LIMIT, WriterProperties};
use datafusion::parquet::schema::types::ColumnPath;

/// How many values of a column tell whether they repeat.
const SAMPLE: usize = 4096;
/// The most values of a column that are written to see how large they become.
const TRIED: usize = 8192;

/// How a file of `schema` is written that begins with the rows of `first`.
///
/// # Errors
/// What writing some of them fails with.
pub(super) fn properties(schema: &Schema, first: &[RecordBatch]) -> ParquetResult<WriterProperties> {
    let mut properties = WriterProperties::builder().set_compression(Compression::SNAPPY);
    for (at, field) in schema.fields().iter().enumerate() {
        let column: Vec<&ArrayRef> = first.iter().map(|batch| batch.column(at)).collect();
        if !outgrows_dictionary(&column)? {
            continue;
        }
        let path = ColumnPath::from(vec![field.name().clone()]);
        properties = properties.set_column_dictionary_enabled(path.clone(), false);
        let values = beginning(&column)?;
        let plain = written(field, &values, Encoding::PLAIN)?;
        let is_smaller = |steps: &ColumnChunkMetaData| steps.compressed_size() * 4 < plain.compressed_size() * 3;
        if has_steps(field.data_type()) && is_smaller(&written(field, &values, Encoding::DELTA_BINARY_PACKED)?) {
            properties = properties.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
        // Snappy takes its time for these, and every reader's, for less than a twentieth of the bytes.
        } else if plain.compressed_size() * 20 > plain.uncompressed_size() * 19 {
            properties = properties.set_column_compression(path, Compression::UNCOMPRESSED);
        }
    }
    Ok(properties.build())
}

/// Whether values are written as whole numbers, and so may be as the steps between them, as every reader of today knows them: times that
/// follow each other become a hundredth of what they are, before Snappy has anything to do.
fn has_steps(data_type: &DataType) -> bool {
    use DataType::{Date32, Duration, Int32, Int64, Time32, Time64, Timestamp, UInt32, UInt64};
    matches!(data_type, Int32 | Int64 | UInt32 | UInt64 | Date32 | Time32(_) | Time64(_) | Timestamp(..) | Duration(_))
}

/// Some of a column's first values.
fn beginning(column: &[&ArrayRef]) -> ParquetResult<ArrayRef> {
    let mut rows = 0;
    let mut arrays: Vec<&dyn Array> = Vec::new();
    for array in column {
        arrays.push(*array);
        rows += array.len();
        if rows >= TRIED {
            break;
        }
    }
    Ok(concat(&arrays)?.slice(0, rows.min(TRIED)))
}

/// What some values of a column become in a file, without a dictionary.
fn written(field: &FieldRef, values: &ArrayRef, encoding: Encoding) -> ParquetResult<ColumnChunkMetaData> {
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).set_dictionary_enabled(false);
    let properties = properties.set_encoding(encoding);
    let schema = Arc::new(Schema::new(vec![Arc::clone(field)]));
    let rows = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::clone(values)])?;
    let mut writer = ArrowWriter::try_new(io::sink(), schema, Some(properties.build()))?;
    writer.write(&rows)?;
    Ok(writer.close()?.row_group(0).column(0).clone())
}

/// Whether so few values of a column come twice that a dictionary of them would be given up as too large, after the work of
/// looking each of them up. Told by a sample.
fn outgrows_dictionary(column: &[&ArrayRef]) -> ParquetResult<bool> {
    let rows: usize = column.iter().map(|array| array.len()).sum();
    let Some(first) = column.first().filter(|_| rows >= SAMPLE) else { return Ok(false) };
    let Some(width) = first.data_type().primitive_width().filter(|width| *width >= 4) else {
        return Ok(false);
    };
    let step = rows / SAMPLE;
    let (mut seen, mut values) = (HashSet::with_capacity(SAMPLE), 0);
    let (mut arrays, mut before) = (column.iter().copied().peekable(), 0);
    let mut noise = 1_u64;
    for sample in 0..SAMPLE {
        // Not evenly: rows that come in rounds would never show the same value.
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let row = sample * step + usize::try_from(noise >> 33).unwrap_or_default() % step;
        while arrays.peek().is_some_and(|array| before + array.len() <= row) {
            before += arrays.next().map_or(0, |array| array.len());
        }
        let Some(array) = arrays.peek() else { return Ok(false) };
        // No dictionary holds NULL.
        if array.is_null(row - before) {
            continue;
        }
        values += 1;
        let value = ScalarValue::try_from_array(array, row - before);
        let _ = seen.insert(value.map_err(|error| ParquetError::External(Box::new(error)))?);
    }
    // How many of so many values would come twice if there were just as many different ones as a dictionary holds.
    let expected = values * values / (2 * DEFAULT_DICTIONARY_PAGE_SIZE_LIMIT / width);
    Ok(values - seen.len() < expected)
}
