//! [`Output`]: standard output, as a sequence of results.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt64Array};
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;

use super::failure::Cause;
use super::format::{Format, PrintError, Printer, View};
use crate::{Error, ErrorKind};

/// Where results go.
///
/// When the reader goes away (`pondsql … | head`), printing stops and nothing is an error: statements that follow still run,
/// because they may write.
pub(crate) struct Output {
    writer: Box<dyn Write>,
    closed: bool,
    results: usize,
    view: View,
    pub(crate) format: Format,
}

impl Output {
    pub(crate) fn new(writer: Box<dyn Write>, format: Format, view: View) -> Self {
        Self { writer, closed: false, results: 0, view, format }
    }

    /// Prints a result as it arrives.
    pub(crate) async fn print_stream(&mut self, mut stream: SendableRecordBatchStream) -> Result<(), Cause> {
        if self.closed {
            return Ok(());
        }
        let mut printer = self.start_result()?;
        let started = printer.start(&stream.schema(), &mut self.writer);
        if !self.went_well(started)? {
            return Ok(());
        }
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(Error::from)?;
            let printed = printer.batch(&batch, &mut self.writer);
            if !self.went_well(printed)? {
                return Ok(());
            }
        }
        let finished = printer.finish(&mut self.writer);
        self.went_well(finished)?;
        self.flush()
    }

    /// Prints the number of rows that a statement changed, as a table of one row.
    pub(crate) fn print_count(&mut self, count: u64) -> Result<(), Cause> {
        if self.closed {
            return Ok(());
        }
        let column: ArrayRef = Arc::new(UInt64Array::from(vec![count]));
        let batch = RecordBatch::try_from_iter([("count", column)]).map_err(|error| value_error(&error))?;
        let mut printer = self.start_result()?;
        let printed = print_all(printer.as_mut(), &batch, &mut self.writer);
        self.went_well(printed)?;
        self.flush()
    }

    /// Writes bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Cause> {
        if !self.closed {
            let written = self.writer.write_all(bytes);
            self.went_well(written.map_err(PrintError::from))?;
        }
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> Result<(), Cause> {
        if !self.closed {
            let flushed = self.writer.flush();
            self.went_well(flushed.map_err(PrintError::from))?;
        }
        Ok(())
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    fn start_result(&mut self) -> Result<Box<dyn Printer>, Cause> {
        if self.format.is_binary() && self.view.terminal {
            return Err(Cause::Usage("a terminal cannot show this format: redirect the output".to_owned()));
        }
        if self.results > 0 {
            if self.format.is_binary() {
                return Err(Cause::Usage("this format holds one result, and this is the second".to_owned()));
            }
            if self.format.is_machine() {
                self.write(b"\n")?;
            }
        }
        self.results += 1;
        Ok(self.format.printer(self.view))
    }

    /// Whether the reader is still there.
    fn went_well(&mut self, outcome: Result<(), PrintError>) -> Result<bool, Cause> {
        match outcome {
            Ok(()) => Ok(true),
            Err(PrintError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(false)
            }
            Err(PrintError::Output(source)) => {
                // Nothing more will go through, the flush at the end included.
                self.closed = true;
                Err(Cause::Host { action: "cannot write the results".to_owned(), source })
            }
            Err(PrintError::Value(error)) => Err(value_error(&error)),
        }
    }
}

fn print_all(printer: &mut dyn Printer, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), PrintError> {
    printer.start(&batch.schema(), out)?;
    printer.batch(batch, out)?;
    printer.finish(out)
}

fn value_error(error: &arrow::error::ArrowError) -> Cause {
    Cause::Pond(Error::new(ErrorKind::Execution, format!("a value cannot be printed in this format: {error}")))
}
