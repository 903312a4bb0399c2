//! How results are printed: one `Printer` for each [`Format`].

mod binary;
mod cells;
mod delimited;
mod json;
mod line;
mod markup;
mod table;

#[cfg(test)]
mod tests;

use std::io::{self, Write};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use clap::ValueEnum;

/// A way to print results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns in ASCII frames; on a terminal, long results are cut.
    Table,
    /// As table, framed with box-drawing characters.
    Box,
    /// One line for each value.
    Line,
    /// Comma-separated, with a header. NULL is nothing, an empty string is `""`.
    Csv,
    /// As csv, with tabs.
    Tsv,
    /// One JSON array of objects.
    Json,
    /// One JSON object a line.
    Ndjson,
    /// A Markdown table.
    Markdown,
    /// An HTML table.
    Html,
    /// One Parquet file.
    Parquet,
    /// One Arrow IPC stream.
    Arrow,
}

impl Format {
    /// Whether results are meant for programs: complete, and an empty line apart.
    pub fn is_machine(self) -> bool {
        !matches!(self, Self::Table | Self::Box)
    }

    /// Whether results are bytes rather than text: no terminal can show them, and only one fits a stream.
    pub fn is_binary(self) -> bool {
        matches!(self, Self::Parquet | Self::Arrow)
    }

    pub(crate) fn printer(self, view: View) -> Box<dyn Printer> {
        match self {
            Self::Table => Box::new(table::Table::new(table::Frame::Ascii, view)),
            Self::Box => Box::new(table::Table::new(table::Frame::Box, view)),
            Self::Line => Box::new(line::Line::default()),
            Self::Csv => Box::new(delimited::Delimited::new(',')),
            Self::Tsv => Box::new(delimited::Delimited::new('\t')),
            Self::Json => Box::new(json::Json::array()),
            Self::Ndjson => Box::new(json::Json::lines()),
            Self::Markdown => Box::new(markup::Markdown),
            Self::Html => Box::new(markup::Html),
            Self::Parquet => Box::new(binary::Parquet::default()),
            Self::Arrow => Box::new(binary::ArrowStream::default()),
        }
    }
}

/// Who looks at the results.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    /// A terminal: tables fit its width, long ones are cut, and rows are counted.
    pub(crate) terminal: bool,
    /// No row counts.
    pub(crate) quiet: bool,
}

/// Writes one result, batch by batch.
pub(crate) trait Printer {
    /// What comes before the rows. Called once, first.
    fn start(&mut self, schema: &SchemaRef, out: &mut dyn Write) -> Result<(), PrintError>;
    /// The next rows.
    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), PrintError>;
    /// What comes after the rows. Called once, last.
    fn finish(&mut self, out: &mut dyn Write) -> Result<(), PrintError>;
}

/// Why a result was not printed.
#[derive(Debug)]
pub(crate) enum PrintError {
    /// The output took no more.
    Output(io::Error),
    /// A value has no form in this format.
    Value(ArrowError),
}

impl From<io::Error> for PrintError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<ArrowError> for PrintError {
    fn from(error: ArrowError) -> Self {
        Self::Value(error)
    }
}
