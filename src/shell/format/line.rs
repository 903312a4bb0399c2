//! One line for each value, as `name = value`.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::cells::Cells;
use super::{PrintError, Printer};

/// One line for each value, an empty line between rows.
#[derive(Default)]
pub(super) struct Line {
    names: Vec<String>,
    begun: bool,
}

impl Printer for Line {
    fn start(&mut self, schema: &SchemaRef, _: &mut dyn Write) -> Result<(), PrintError> {
        let width = schema.fields().iter().map(|field| field.name().chars().count()).fold(0, usize::max);
        self.names = schema.fields().iter().map(|field| format!("{:>width$}", field.name())).collect();
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), PrintError> {
        let mut cells = Cells::new(batch)?;
        for row in 0..cells.rows() {
            if std::mem::replace(&mut self.begun, true) {
                out.write_all(b"\n")?;
            }
            for (column, name) in self.names.iter().enumerate() {
                writeln!(out, "{name} = {}", cells.get(row, column)?.unwrap_or("NULL"))?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut dyn Write) -> Result<(), PrintError> {
        Ok(())
    }
}
