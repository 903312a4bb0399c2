//! Aligned tables for people.

use std::collections::VecDeque;
use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use comfy_table::{Cell, CellAlignment, ContentArrangement};

use super::cells::{Cells, is_number};
use super::{PrintError, Printer, View};

/// The rows a terminal is shown from each end of a long result.
const SHOWN_AT_EACH_END: usize = 20;

/// The lines around the cells.
#[derive(Clone, Copy)]
pub(super) enum Frame {
    /// `+---+`, as DataFusion prints tables.
    Ascii,
    /// Box-drawing characters.
    Box,
}

impl Frame {
    fn preset(self) -> &'static str {
        match self {
            Self::Ascii => "||--+-++|    ++++++",
            Self::Box => "││──├─┼┤│    ┬┴┌┐└┘",
        }
    }
}

/// A table whose columns are as wide as their widest value: it is printed when all rows are known.
///
/// For a terminal it keeps the first and the last rows only, so that any result fits in memory and on the screen; anything
/// else gets all of them.
pub(super) struct Table {
    frame: Frame,
    view: View,
    names: Vec<String>,
    numbers: Vec<bool>,
    head: Vec<Vec<String>>,
    tail: VecDeque<Vec<String>>,
    rows: usize,
}

impl Table {
    pub(super) fn new(frame: Frame, view: View) -> Self {
        Self { frame, view, names: Vec::new(), numbers: Vec::new(), head: Vec::new(), tail: VecDeque::new(), rows: 0 }
    }

    fn keep(&mut self, row: Vec<String>) {
        self.rows += 1;
        if !self.view.terminal || self.head.len() < SHOWN_AT_EACH_END {
            self.head.push(row);
        } else {
            if self.tail.len() == SHOWN_AT_EACH_END {
                self.tail.pop_front();
            }
            self.tail.push_back(row);
        }
    }

    fn cells(&self, row: Vec<String>) -> Vec<Cell> {
        let align = |number: &bool| if *number { CellAlignment::Right } else { CellAlignment::Left };
        row.into_iter().zip(&self.numbers).map(|(text, number)| Cell::new(text).set_alignment(align(number))).collect()
    }
}

impl Printer for Table {
    fn start(&mut self, schema: &SchemaRef, _: &mut dyn Write) -> Result<(), PrintError> {
        self.names = schema.fields().iter().map(|field| visible(field.name())).collect();
        self.numbers = schema.fields().iter().map(|field| is_number(field.data_type())).collect();
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, _: &mut dyn Write) -> Result<(), PrintError> {
        let mut cells = Cells::new(batch)?;
        // Of a batch in the middle of a long result, a terminal shows nothing: do not format what is thrown away.
        let skip = if self.view.terminal { SHOWN_AT_EACH_END.saturating_sub(self.head.len()) } else { usize::MAX };
        let last = cells.rows().saturating_sub(SHOWN_AT_EACH_END);
        for row in 0..cells.rows() {
            if row >= skip && row < last {
                self.rows += 1;
                continue;
            }
            let texts = (0..cells.columns())
                .map(|column| Ok(cells.get(row, column)?.map_or_else(|| "NULL".to_owned(), visible)))
                .collect::<Result<_, PrintError>>()?;
            self.keep(texts);
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), PrintError> {
        let shown = self.head.len() + self.tail.len();
        if !self.names.is_empty() {
            let mut table = comfy_table::Table::new();
            table.load_preset(self.frame.preset());
            table.set_content_arrangement(if self.view.terminal {
                ContentArrangement::Dynamic
            } else {
                ContentArrangement::Disabled
            });
            let names = std::mem::take(&mut self.names);
            let gap = vec!["…".to_owned(); names.len()];
            table.set_header(self.cells(names));
            for row in std::mem::take(&mut self.head) {
                table.add_row(self.cells(row));
            }
            if shown < self.rows {
                table.add_row(self.cells(gap));
            }
            for row in std::mem::take(&mut self.tail) {
                table.add_row(self.cells(row));
            }
            for line in table.lines() {
                writeln!(out, "{}", line.trim_end())?;
            }
        }
        let rows = self.rows;
        if shown < rows {
            writeln!(out, "({rows} rows, {shown} shown)")?;
        } else if self.view.terminal && !self.view.quiet {
            writeln!(out, "({rows} row{})", if rows == 1 { "" } else { "s" })?;
        }
        Ok(())
    }
}

/// Text whose control characters are shown rather than obeyed; lines stay lines.
fn visible(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}
