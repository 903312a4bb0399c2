//! CSV and TSV.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::cells::Cells;
use super::{PrintError, Printer};

/// Values between delimiters, quoted as in RFC 4180 where they must be.
///
/// Not arrow's CSV writer: that one writes NULL and the empty string alike.
pub(super) struct Delimited {
    delimiter: char,
}

impl Delimited {
    pub(super) fn new(delimiter: char) -> Self {
        Self { delimiter }
    }

    fn write(&self, column: usize, text: Option<&str>, out: &mut dyn Write) -> std::io::Result<()> {
        if column > 0 {
            write!(out, "{}", self.delimiter)?;
        }
        match text {
            None => Ok(()),
            Some(text) if text.is_empty() || text.contains([self.delimiter, '"', '\n', '\r']) => {
                write!(out, "\"{}\"", text.replace('"', "\"\""))
            }
            Some(text) => out.write_all(text.as_bytes()),
        }
    }
}

impl Printer for Delimited {
    fn start(&mut self, schema: &SchemaRef, out: &mut dyn Write) -> Result<(), PrintError> {
        for (column, field) in schema.fields().iter().enumerate() {
            self.write(column, Some(field.name()), out)?;
        }
        Ok(out.write_all(b"\n")?)
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), PrintError> {
        let mut cells = Cells::new(batch)?;
        for row in 0..cells.rows() {
            for column in 0..cells.columns() {
                self.write(column, cells.get(row, column)?, out)?;
            }
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut dyn Write) -> Result<(), PrintError> {
        Ok(())
    }
}
