//! [`Cells`]: the values of a batch as text.

use arrow::array::{Array, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// The values of a batch as text: numbers in full, times in ISO 8601, nested values as `[1, 2]` and `{a: 1}`.
pub(super) struct Cells<'a> {
    columns: Vec<(ArrayFormatter<'a>, Option<NullBuffer>)>,
    rows: usize,
    text: String,
}

impl<'a> Cells<'a> {
    pub(super) fn new(batch: &'a RecordBatch) -> Result<Self, ArrowError> {
        // A value that cannot be shown is an error: its place must not hold a message.
        let options = FormatOptions::new().with_display_error(false);
        let columns = batch
            .columns()
            .iter()
            .map(|column| Ok((ArrayFormatter::try_new(column.as_ref(), &options)?, column.logical_nulls())))
            .collect::<Result<_, ArrowError>>()?;
        Ok(Self { columns, rows: batch.num_rows(), text: String::new() })
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn columns(&self) -> usize {
        self.columns.len()
    }

    /// The text of a value; `None` for NULL.
    pub(super) fn get(&mut self, row: usize, column: usize) -> Result<Option<&str>, ArrowError> {
        let (formatter, nulls) = &self.columns[column];
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return Ok(None);
        }
        self.text.clear();
        formatter.value(row).write(&mut self.text)?;
        Ok(Some(&self.text))
    }
}

/// Whether a column of this type is aligned to the right.
pub(super) fn is_number(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_number(values),
        other => other.is_numeric(),
    }
}
