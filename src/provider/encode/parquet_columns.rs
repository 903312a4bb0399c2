//! How the columns of a Parquet file are best written down, as its first rows tell.

use std::collections::HashSet;

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::Schema;
use datafusion::common::ScalarValue;
use datafusion::parquet::basic::Compression;
use datafusion::parquet::file::properties::{DEFAULT_DICTIONARY_PAGE_SIZE_LIMIT, WriterProperties};
use datafusion::parquet::schema::types::ColumnPath;

/// How many values of a column tell whether they repeat.
const SAMPLE: usize = 4096;

/// How a file of `schema` is written that begins with the rows of `first`.
pub(super) fn properties(schema: &Schema, first: &[RecordBatch]) -> WriterProperties {
    let mut properties = WriterProperties::builder().set_compression(Compression::SNAPPY);
    for (at, field) in schema.fields().iter().enumerate() {
        let column: Vec<&ArrayRef> = first.iter().map(|batch| batch.column(at)).collect();
        if !outgrows_dictionary(&column) {
            continue;
        }
        let path = ColumnPath::from(vec![field.name().clone()]);
        properties = properties.set_column_dictionary_enabled(path, false);
    }
    properties.build()
}

/// Whether so few values of a column come twice that a dictionary of them would be given up as too large, after the work of
/// looking each of them up. Told by a sample.
fn outgrows_dictionary(column: &[&ArrayRef]) -> bool {
    let rows: usize = column.iter().map(|array| array.len()).sum();
    let Some(first) = column.first().filter(|_| rows >= SAMPLE) else { return false };
    let Some(width) = first.data_type().primitive_width().filter(|width| *width >= 4) else {
        return false;
    };
    let step = rows / SAMPLE;
    let mut seen = HashSet::with_capacity(SAMPLE);
    let (mut arrays, mut before) = (column.iter().copied().peekable(), 0);
    let mut noise = 1_u64;
    for sample in 0..SAMPLE {
        // Not evenly: rows that come in rounds would never show the same value.
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let row = sample * step + usize::try_from(noise >> 33).unwrap_or_default() % step;
        while arrays.peek().is_some_and(|array| before + array.len() <= row) {
            before += arrays.next().map_or(0, |array| array.len());
        }
        let Some(array) = arrays.peek() else { return false };
        let Ok(value) = ScalarValue::try_from_array(array, row - before) else { return false };
        let _ = seen.insert(value);
    }
    // How many of so many values would come twice if there were just as many different ones as a dictionary holds.
    let expected = SAMPLE * SAMPLE / (2 * DEFAULT_DICTIONARY_PAGE_SIZE_LIMIT / width);
    SAMPLE - seen.len() < expected
}
