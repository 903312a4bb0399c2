//! JSON and NDJSON: nested values stay JSON, NULL is kept as `null`.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::json::WriterBuilder;
use arrow::json::writer::{JsonArray, JsonFormat, LineDelimited, Writer};

use super::{PrintError, Printer};

/// arrow's JSON writer, emptied into the output after each batch.
pub(super) struct Json<F: JsonFormat> {
    writer: Writer<Vec<u8>, F>,
    end: &'static [u8],
}

impl Json<JsonArray> {
    pub(super) fn array() -> Self {
        Self { writer: WriterBuilder::new().with_explicit_nulls(true).build(Vec::new()), end: b"\n" }
    }
}

impl Json<LineDelimited> {
    pub(super) fn lines() -> Self {
        Self { writer: WriterBuilder::new().with_explicit_nulls(true).build(Vec::new()), end: b"" }
    }
}

impl<F: JsonFormat> Printer for Json<F> {
    fn start(&mut self, _: &SchemaRef, _: &mut dyn Write) -> Result<(), PrintError> {
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), PrintError> {
        self.writer.write(batch)?;
        let buffer = self.writer.get_mut();
        out.write_all(buffer)?;
        buffer.clear();
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), PrintError> {
        self.writer.finish()?;
        out.write_all(self.writer.get_ref())?;
        Ok(out.write_all(self.end)?)
    }
}
