//! Markdown and HTML tables, streamed.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::cells::{Cells, is_number};
use super::{PrintError, Printer};

/// A Markdown table. Columns are not padded: that would need all rows first.
pub(super) struct Markdown;

impl Printer for Markdown {
    fn start(&mut self, schema: &SchemaRef, out: &mut dyn Write) -> Result<(), PrintError> {
        for field in schema.fields() {
            write!(out, "| {} ", in_markdown(field.name()))?;
        }
        writeln!(out, "|")?;
        for field in schema.fields() {
            write!(out, "| {} ", if is_number(field.data_type()) { "---:" } else { "---" })?;
        }
        Ok(writeln!(out, "|")?)
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), PrintError> {
        let mut cells = Cells::new(batch)?;
        for row in 0..cells.rows() {
            for column in 0..cells.columns() {
                write!(out, "| {} ", in_markdown(cells.get(row, column)?.unwrap_or("NULL")))?;
            }
            writeln!(out, "|")?;
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut dyn Write) -> Result<(), PrintError> {
        Ok(())
    }
}

/// An HTML table.
pub(super) struct Html;

impl Printer for Html {
    fn start(&mut self, schema: &SchemaRef, out: &mut dyn Write) -> Result<(), PrintError> {
        write!(out, "<table>\n<thead><tr>")?;
        for field in schema.fields() {
            write!(out, "<th>{}</th>", in_html(field.name()))?;
        }
        Ok(writeln!(out, "</tr></thead>\n<tbody>")?)
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), PrintError> {
        let mut cells = Cells::new(batch)?;
        for row in 0..cells.rows() {
            out.write_all(b"<tr>")?;
            for column in 0..cells.columns() {
                match cells.get(row, column)? {
                    Some(text) => write!(out, "<td>{}</td>", in_html(text))?,
                    None => out.write_all(b"<td><i>NULL</i></td>")?,
                }
            }
            out.write_all(b"</tr>\n")?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), PrintError> {
        Ok(out.write_all(b"</tbody>\n</table>\n")?)
    }
}

fn in_markdown(text: &str) -> String {
    in_html(text).replace('\\', "\\\\").replace('|', "\\|").replace("\r\n", "<br>").replace(['\n', '\r'], "<br>")
}

fn in_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
