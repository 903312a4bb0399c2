//! Parquet files and Arrow IPC streams.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::{PrintError, Printer};

/// One Parquet file, emptied into the output row group by row group.
#[derive(Default)]
pub(super) struct Parquet {
    writer: Option<ArrowWriter<Vec<u8>>>,
}

impl Printer for Parquet {
    fn start(&mut self, schema: &SchemaRef, _: &mut dyn Write) -> Result<(), PrintError> {
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
        let writer = ArrowWriter::try_new(Vec::new(), SchemaRef::clone(schema), Some(properties));
        self.writer = Some(writer.map_err(ArrowError::from)?);
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), PrintError> {
        if let Some(writer) = &mut self.writer {
            writer.write(batch).map_err(ArrowError::from)?;
            // The writer counts offsets itself, so its buffer can be emptied at any time.
            out.write_all(writer.inner())?;
            writer.inner_mut().clear();
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), PrintError> {
        match self.writer.take() {
            Some(writer) => Ok(out.write_all(&writer.into_inner().map_err(ArrowError::from)?)?),
            None => Ok(()),
        }
    }
}

/// One Arrow IPC stream.
#[derive(Default)]
pub(super) struct ArrowStream {
    writer: Option<StreamWriter<Vec<u8>>>,
}

impl Printer for ArrowStream {
    fn start(&mut self, schema: &SchemaRef, _: &mut dyn Write) -> Result<(), PrintError> {
        self.writer = Some(StreamWriter::try_new(Vec::new(), schema)?);
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), PrintError> {
        if let Some(writer) = &mut self.writer {
            writer.write(batch)?;
            out.write_all(writer.get_ref())?;
            writer.get_mut().clear();
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), PrintError> {
        match self.writer.take() {
            Some(writer) => Ok(out.write_all(&writer.into_inner()?)?),
            None => Ok(()),
        }
    }
}
