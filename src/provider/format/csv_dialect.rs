//! How a CSV text is laid out: where records end, and which line feeds are within values.

use std::ops::Range;

use datafusion::arrow::csv::reader::Format as Layout;
use regex::Regex;

use super::checked::Check;
use crate::error::{Error, ErrorKind, Result};

/// How the text is laid out, from the options.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    pub(super) quote: u8,
    pub(super) escape: Option<u8>,
    pub(super) comment: Option<u8>,
    pub(super) terminator: Option<u8>,
    pub(super) header: bool,
    pub(super) truncated_rows: bool,
}

/// What a walk over text finds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Walk {
    /// Where the last record that is whole ends.
    pub(super) last_record: Option<usize>,
    pub(super) newline_in_value: bool,
    /// Whether the text ends within quotes.
    pub(super) open_quote: bool,
}

/// Where in a record a byte comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    FieldStart,
    Plain,
    Quoted,
    /// Behind an escape within quotes.
    Escaped,
    /// Behind a quote within quotes: the end of the value, or half of a doubled one.
    QuoteInQuoted,
}

impl Dialect {
    /// How Arrow's reader calls it.
    pub(super) fn layout(&self, null: Option<Regex>) -> Layout {
        let mut layout = Layout::default()
            .with_header(self.header)
            .with_delimiter(self.delimiter)
            .with_quote(self.quote)
            .with_truncated_rows(self.truncated_rows);
        if let Some(escape) = self.escape {
            layout = layout.with_escape(escape);
        }
        if let Some(comment) = self.comment {
            layout = layout.with_comment(comment);
        }
        if let Some(terminator) = self.terminator {
            layout = layout.with_terminator(terminator);
        }
        // What is empty is NULL all the same.
        if let Some(null) = null.and_then(|null| Regex::new(&format!("^$|{}", null.as_str())).ok()) {
            layout = layout.with_null_regex(null);
        }
        layout
    }

    /// Where the byte behind `byte` comes: a quote counts at the start of a field, and until the next one that is not doubled.
    pub(super) fn behind(&self, at: At, byte: u8) -> At {
        match at {
            At::Escaped => At::Quoted,
            // First, for the decoder does not take a quote for an escape.
            At::Quoted if byte == self.quote => At::QuoteInQuoted,
            At::Quoted if self.escape == Some(byte) => At::Escaped,
            At::Quoted => At::Quoted,
            At::QuoteInQuoted if byte == self.quote => At::Quoted,
            At::FieldStart if byte == self.quote => At::Quoted,
            _ if byte == self.delimiter || self.ends_record(byte) => At::FieldStart,
            // A carriage return alone ends a record too, but what is cut there would have an empty record in between.
            _ if byte == b'\r' && self.terminator.is_none() => At::FieldStart,
            _ => At::Plain,
        }
    }

    /// Whether a byte outside of quotes is the end of a record.
    pub(super) fn ends_record(&self, byte: u8) -> bool {
        byte == self.terminator.unwrap_or(b'\n')
    }

    /// Finds the ends of records.
    pub(super) fn walk(&self, bytes: &[u8]) -> Walk {
        let mut found = Walk::default();
        let mut at = At::FieldStart;
        for (index, byte) in bytes.iter().copied().enumerate() {
            let is_quoted = matches!(at, At::Quoted | At::Escaped);
            found.newline_in_value |= is_quoted && matches!(byte, b'\n' | b'\r');
            if !is_quoted && self.ends_record(byte) {
                found.last_record = Some(index + 1);
            }
            at = self.behind(at, byte);
        }
        // What stands in comments is not told apart here.
        found.open_quote = self.comment.is_none() && matches!(at, At::Quoted | At::Escaped);
        found
    }
}

/// The error for a text that ends within quotes.
pub(super) fn without_end() -> Error {
    let message = "a value in quotes has no end: was it cut short? The option 'quote' says what quotes are";
    Error::new(ErrorKind::Corrupt, message)
}

/// Finds a range of a text that is cut within a value, and a text that ends within one.
///
/// The first range begins where a record does. While each one ends outside of quotes, so does the next: that all of them are cut right
/// needs no look at what is before a range.
#[derive(Debug)]
pub(super) struct CutCheck {
    dialect: Dialect,
    range: Range<u64>,
    size: u64,
    /// The place of the next byte.
    place: u64,
    at: At,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In a line that began in another range.
    Before,
    Within,
    /// All records of the range are known.
    Behind,
}

impl CutCheck {
    /// A check of the records whose first byte is in `range`, of a file of `size` bytes. The bytes begin with the one in front of it.
    pub(super) fn new(dialect: Dialect, range: Range<u64>, size: u64) -> Self {
        let state = match range.start {
            0 => State::Within,
            _ => State::Before,
        };
        Self { dialect, place: range.start.saturating_sub(1), range, size, at: At::FieldStart, state }
    }

    /// Looks at bytes of which the first is the next one of the range.
    fn within(&mut self, bytes: &[u8]) -> Result<()> {
        // Which goes on to the end of the file.
        let is_last = self.range.end >= self.size;
        let is_outside = matches!(self.at, At::FieldStart | At::Plain);
        let end = self.place.saturating_add(bytes.len() as u64);
        // Nearly all text.
        if is_outside && (is_last || end < self.range.end) && !bytes.contains(&self.dialect.quote) {
            if let Some(byte) = bytes.last() {
                self.at = self.dialect.behind(At::Plain, *byte);
            }
            self.place = end;
            return Ok(());
        }
        for byte in bytes.iter().copied() {
            if !is_last && byte == b'\n' && self.place + 1 >= self.range.end {
                self.state = State::Behind;
                if matches!(self.at, At::Quoted | At::Escaped) {
                    let message = "a value in quotes goes on behind the end of its line, at which the file is cut to be \
                                   read by several threads: the option newlines_in_values=true reads it in one piece";
                    return Err(Error::new(ErrorKind::Unsupported, message));
                }
                return Ok(());
            }
            self.at = self.dialect.behind(self.at, byte);
            self.place += 1;
        }
        match self.at {
            At::Quoted | At::Escaped if self.place >= self.size => Err(without_end()),
            _ => Ok(()),
        }
    }
}

impl Check for CutCheck {
    fn look(&mut self, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;
        if self.state == State::Before {
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                self.place += rest.len() as u64;
                return Ok(());
            };
            self.place += end as u64 + 1;
            rest = &rest[end + 1..];
            // No record begins in the range.
            self.state = if self.place >= self.range.end { State::Behind } else { State::Within };
        }
        match self.state {
            State::Within => self.within(rest),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialect() -> Dialect {
        Dialect {
            delimiter: b',',
            quote: b'"',
            escape: None,
            comment: None,
            terminator: None,
            header: true,
            truncated_rows: false,
        }
    }

    #[test]
    fn records_end_outside_of_quotes() {
        let walk = |text: &str, escape: Option<u8>| {
            let found = Dialect { escape, ..dialect() }.walk(text.as_bytes());
            (found.last_record, found.newline_in_value)
        };
        assert_eq!(walk("a,b\n1,2\n3,", None), (Some(8), false));
        assert_eq!(walk("a\n\"x\ny\"\n", None), (Some(8), true));
        assert_eq!(walk("a\n\"x \"\" \ny", None), (Some(2), true));
        assert_eq!(walk("a\n5\" pipe\nb\n", None), (Some(12), false));
        assert_eq!(walk("a\n\"x\\\"\ny\"\nz", Some(b'\\')), (Some(10), true));
        assert_eq!(walk("no end", None), (None, false));
        // An escape that is the quote is none: quotes are doubled all the same.
        assert_eq!(walk("a\n\"x\"\n\"y\"\"\"\nz", Some(b'"')), (Some(12), false));
        // A carriage return ends a record.
        assert_eq!(walk("a\r\"x\ny\"\r\n", None), (Some(9), true));
        let open = |text: &str| dialect().walk(text.as_bytes()).open_quote;
        assert!(open("a\n\"x\ny") && open("a\n\"") && open("a\n\"x\"\""));
        assert!(!open("a\n\"x\"") && !open("a\n\"x\"\"\"\n") && !open("a\n5\""));
    }

    /// Whether a text may be cut into ranges at these places, and be read so many bytes at once.
    fn can_cut(text: &str, cuts: &[u64], step: usize) -> bool {
        let size = text.len() as u64;
        let starts = std::iter::once(0).chain(cuts.iter().copied());
        let ends = cuts.iter().copied().chain([size]);
        starts.zip(ends).all(|(start, end)| {
            let bytes = &text.as_bytes()[start.saturating_sub(1) as usize..];
            let mut check = CutCheck::new(dialect(), start..end, size);
            bytes.chunks(step).try_for_each(|bytes| check.look(bytes)).is_ok()
        })
    }

    #[test]
    fn a_cut_within_a_value_is_found_by_the_range_in_front_of_it() {
        let text = "a,b\n1,\"x\"\n2,\"p\n7,8\n\"\"9\"\n3,5\" pipe\n4,\"\"\n";
        let (begins, ends) = (text.find("\"p").unwrap() as u64, text.find("\"\n3").unwrap() as u64);
        for step in [1, 2, 5, 100] {
            for cut in 1..text.len() as u64 {
                // The line feed that a cut moves to is the first one from the byte in front of it on.
                let moved = text[cut as usize - 1..].find('\n').unwrap() as u64 + cut - 1;
                assert_eq!(can_cut(text, &[cut], step), !(begins..ends).contains(&moved), "{cut} {step}");
            }
            assert!(can_cut(text, &[4, 5, 6, 10], step));
            // Two cuts within the value, of which the text in between has no quote.
            assert!(!can_cut(text, &[begins + 2, begins + 5], step));
        }
    }

    #[test]
    fn a_value_without_an_end_is_found_by_the_last_range() {
        let last = |text: &str, start: u64, step: usize| {
            let mut check = CutCheck::new(dialect(), start..text.len() as u64, text.len() as u64);
            let bytes = &text.as_bytes()[start.saturating_sub(1) as usize..];
            bytes.chunks(step).try_for_each(|bytes| check.look(bytes)).map_err(|error| error.to_string())
        };
        let error = Err(without_end().to_string());
        for step in [1, 2, 5, 100] {
            for start in [0, 3] {
                for text in ["a\n1\n\"x\n2\n", "a\n1\n2\n\"", "a\n1\n\"x\"\""] {
                    assert_eq!(last(text, start, step), error, "{text} {start} {step}");
                }
                for text in ["a\n1\n\"x\n2\"\n", "a\n1\n2", "a\n1\n\"x\"", "a\n1\n5\""] {
                    assert_eq!(last(text, start, step), Ok(()), "{text} {start} {step}");
                }
            }
        }
    }
}
