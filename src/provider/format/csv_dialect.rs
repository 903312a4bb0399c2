//! How a CSV text is laid out: where records end, and which line feeds are within values.

use std::fmt;
use std::ops::Range;

use datafusion::arrow::csv::reader::Format as Layout;
use regex::Regex;

use super::checked::{Check, MAX_RECORD};
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
    /// In which line the value begins within whose quotes the text ends, from 1 on.
    pub(super) open_quote: Option<u64>,
}

/// Where in a record a byte comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// Of the first field, where a comment may begin as well.
    RecordStart,
    /// Of another one.
    FieldStart,
    Plain,
    Quoted,
    /// Behind an escape within quotes.
    Escaped,
    /// Behind a quote within quotes: the end of the value, or half of a doubled one.
    QuoteInQuoted,
    Comment,
}

impl At {
    /// Whether a field begins here.
    pub(super) fn is_start(self) -> bool {
        matches!(self, Self::RecordStart | Self::FieldStart)
    }

    fn is_within_quotes(self) -> bool {
        matches!(self, Self::Quoted | Self::Escaped)
    }
}

impl Dialect {
    /// How Arrow's reader calls it.
    ///
    /// # Errors
    /// [`Usage`](ErrorKind::Usage) where what is NULL is no expression together with an empty text, which is as well.
    pub(super) fn layout(&self, null: Option<&Regex>) -> Result<Layout> {
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
        if let Some(null) = null {
            let text = format!("^$|{}", null.as_str());
            let null = Regex::new(&text).map_err(|error| {
                Error::new(ErrorKind::Usage, format!("'{text}' cannot tell what is NULL")).with_source(error)
            })?;
            layout = layout.with_null_regex(null);
        }
        Ok(layout)
    }

    /// Where the byte behind `byte` comes: a quote counts at the start of a field, and until the next one that is not doubled.
    pub(super) fn behind(&self, at: At, byte: u8) -> At {
        match at {
            // Whatever else ends a record.
            At::Comment if byte == b'\n' => At::RecordStart,
            At::Comment => At::Comment,
            At::RecordStart if self.comment == Some(byte) => At::Comment,
            At::Escaped => At::Quoted,
            // First, for the decoder does not take a quote for an escape.
            At::Quoted if byte == self.quote => At::QuoteInQuoted,
            At::Quoted if self.escape == Some(byte) => At::Escaped,
            At::Quoted => At::Quoted,
            At::QuoteInQuoted if byte == self.quote => At::Quoted,
            At::RecordStart | At::FieldStart if byte == self.quote => At::Quoted,
            _ if byte == self.delimiter => At::FieldStart,
            _ if self.ends_record(byte) => At::RecordStart,
            // A carriage return alone ends a record too, but what is cut there would have an empty record in between.
            _ if byte == b'\r' && self.terminator.is_none() => At::RecordStart,
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
        let mut quotes = Quotes::new(*self);
        for (index, byte) in bytes.iter().copied().enumerate() {
            found.newline_in_value |= quotes.at.is_within_quotes() && matches!(byte, b'\n' | b'\r');
            quotes.step(byte);
            if quotes.at == At::RecordStart && self.ends_record(byte) {
                found.last_record = Some(index + 1);
            }
        }
        found.open_quote = quotes.open();
        found
    }
}

/// Where a value begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In this line, from 1 on.
    Line(u64),
    /// At this byte of a text of which only a range is read.
    Byte(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "in line {line}"),
            Self::Byte(byte) => write!(f, "at byte {byte}"),
        }
    }
}

/// The error for a text that ends within the quotes of a value.
pub(super) fn without_end(begin: Place) -> Error {
    let message = format!(
        "a value in quotes that begins {begin} has no end: was it cut short? The option 'quote' says what quotes are"
    );
    Error::new(ErrorKind::Corrupt, message)
}

/// Where in a text the quotes are.
#[derive(Debug)]
struct Quotes {
    dialect: Dialect,
    at: At,
    /// The line of the next byte.
    line: u64,
    /// The line in which the last quotes began.
    begin: u64,
}

impl Quotes {
    fn new(dialect: Dialect) -> Self {
        Self { dialect, at: At::RecordStart, line: 1, begin: 1 }
    }

    fn step(&mut self, byte: u8) {
        let next = self.dialect.behind(self.at, byte);
        if next == At::Quoted && self.at.is_start() {
            self.begin = self.line;
        }
        self.line += u64::from(self.dialect.ends_record(byte));
        self.at = next;
    }

    /// Goes on to the next byte that may end a value within whose quotes the text is; how many bytes there are before it.
    fn skip(&mut self, bytes: &[u8]) -> usize {
        if self.at != At::Quoted {
            return 0;
        }
        let Dialect { quote, escape, .. } = self.dialect;
        let within = bytes.iter().position(|byte| *byte == quote || escape == Some(*byte)).unwrap_or(bytes.len());
        self.line += self.lines(&bytes[..within]);
        within
    }

    fn lines(&self, bytes: &[u8]) -> u64 {
        bytes.iter().filter(|byte| self.dialect.ends_record(**byte)).count() as u64
    }

    /// The line in which a value begins that has not ended.
    fn open(&self) -> Option<u64> {
        self.at.is_within_quotes().then_some(self.begin)
    }
}

/// Finds a value in quotes that goes on to the end of a text, of which all is read in one piece.
#[derive(Debug)]
pub(super) struct QuoteCheck {
    quotes: Quotes,
    /// How long the value is so far, within whose quotes the text is.
    length: usize,
}

impl QuoteCheck {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { quotes: Quotes::new(dialect), length: 0 }
    }

    /// Looks at bytes of which none can be within quotes or a comment; `false` where some can.
    fn plain(&mut self, bytes: &[u8]) -> bool {
        let quotes = &mut self.quotes;
        let is_plain = matches!(quotes.at, At::RecordStart | At::FieldStart | At::Plain)
            && quotes.dialect.comment.is_none()
            && !bytes.contains(&quotes.dialect.quote);
        if is_plain && let Some(byte) = bytes.last() {
            quotes.line += quotes.lines(bytes);
            quotes.at = quotes.dialect.behind(At::Plain, *byte);
        }
        is_plain
    }
}

impl Check for QuoteCheck {
    fn look(&mut self, bytes: &[u8]) -> Result<()> {
        // Nearly all text.
        if self.plain(bytes) {
            return Ok(());
        }
        let mut rest = bytes;
        while let Some((byte, behind)) = rest.split_first() {
            let within = self.quotes.skip(rest);
            if within > 0 {
                self.length = self.length.saturating_add(within);
                rest = &rest[within..];
                continue;
            }
            self.quotes.step(*byte);
            self.length = if self.quotes.open().is_some() { self.length.saturating_add(1) } else { 0 };
            rest = behind;
        }
        match self.quotes.open() {
            // The decoder would hold it all.
            Some(line) if self.length > MAX_RECORD => {
                let message = format!(
                    "a value in quotes that begins in line {line} is longer than {} MiB: has it no end? The option \
                     'quote' says what quotes are",
                    MAX_RECORD >> 20
                );
                Err(Error::new(ErrorKind::Limit, message))
            }
            _ => Ok(()),
        }
    }

    fn end(&mut self) -> Result<()> {
        self.quotes.open().map_or(Ok(()), |line| Err(without_end(Place::Line(line))))
    }
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
    /// Where the last quotes began.
    begin: u64,
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
        Self { dialect, place: range.start.saturating_sub(1), range, size, at: At::RecordStart, begin: 0, state }
    }

    /// Looks at bytes of which the first is the next one of the range.
    fn within(&mut self, bytes: &[u8]) -> Result<()> {
        // Which goes on to the end of the file.
        let is_last = self.range.end >= self.size;
        let is_outside = matches!(self.at, At::RecordStart | At::FieldStart | At::Plain);
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
                if self.at.is_within_quotes() {
                    let message = "a value in quotes goes on behind the end of its line, at which the file is cut to be \
                                   read by several threads: the option newlines_in_values=true reads it in one piece";
                    return Err(Error::new(ErrorKind::Unsupported, message));
                }
                return Ok(());
            }
            let next = self.dialect.behind(self.at, byte);
            if next == At::Quoted && self.at.is_start() {
                self.begin = self.place;
            }
            self.at = next;
            self.place += 1;
        }
        match self.at.is_within_quotes() && self.place >= self.size {
            true => Err(without_end(Place::Byte(self.begin))),
            false => Ok(()),
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
        assert_eq!([open("a\n\"x\ny"), open("a\n1\n\""), open("\"x\"\"")], [Some(2), Some(3), Some(1)]);
        assert_eq!([open("a\n\"x\""), open("a\n\"x\"\"\"\n"), open("a\n5\"")], [None; 3]);
    }

    #[test]
    fn quotes_in_comments_are_none() {
        let dialect = Dialect { comment: Some(b'#'), ..dialect() };
        let text = "# a \"b\na,#\"\n#\"\n1,\"#\n";
        let walk = |text: &str| dialect.walk(text.as_bytes());
        assert_eq!(walk(text), Walk { last_record: Some(15), newline_in_value: true, open_quote: Some(4) });
        assert_eq!(walk(&text[..15]), Walk { last_record: Some(15), ..Walk::default() });
        // A comment ends with its line, whatever ends a record.
        let dialect = Dialect { terminator: Some(b';'), ..dialect };
        assert_eq!(dialect.walk(b"a;#\";\"\n1;\"2").last_record, Some(9));
        assert_eq!(dialect.walk(b"a;#\";\"\n1;\"2").open_quote, Some(4));
    }

    #[test]
    fn a_value_that_goes_on_to_the_end_is_found_in_one_piece() {
        let look = |text: &str, step: usize, comment: Option<u8>| {
            let mut check = QuoteCheck::new(Dialect { comment, ..dialect() });
            text.as_bytes().chunks(step).try_for_each(|bytes| check.look(bytes)).and_then(|()| check.end())
        };
        for step in [1, 2, 5, 100] {
            for (text, comment, line) in [
                ("a,b\n1,2\n3,\"x\n4,y\n", None, 3),
                ("\"", None, 1),
                ("a\n\"x\n\"\n\"\"\"\n", None, 4),
                ("a\n# \"\n\"x\n", Some(b'#'), 3),
            ] {
                let error = look(text, step, comment).unwrap_err().to_string();
                assert_eq!(error, without_end(Place::Line(line)).to_string(), "{text} {step}");
            }
            for (text, comment) in
                [("a,b\n1,\"x\ny\"\n5\",z", None), ("a\n\"\"\"\"", None), ("# \"\na\n1\n", Some(b'#'))]
            {
                assert!(look(text, step, comment).is_ok(), "{text} {step}");
            }
        }
        let mut check = QuoteCheck::new(dialect());
        check.look(b"a\n1\n\"").unwrap();
        let line = [vec![b'x'; MAX_RECORD / 2 - 1], vec![b'\n']].concat();
        check.look(&line).unwrap();
        let error = check.look(&line).unwrap_err();
        let says = "a value in quotes that begins in line 3 is longer than 64 MiB: has it no end? The option 'quote' says what \
                    quotes are";
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Limit, says));
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
        for step in [1, 2, 5, 100] {
            for start in [0, 3] {
                for (text, begin) in [("a\n1\n\"x\n2\n", 4), ("a\n1\n2\n\"", 6), ("a\n1\n\"x\"\"", 4)] {
                    let error = Err(without_end(Place::Byte(begin)).to_string());
                    assert_eq!(last(text, start, step), error, "{text} {start} {step}");
                }
                for text in ["a\n1\n\"x\n2\"\n", "a\n1\n2", "a\n1\n\"x\"", "a\n1\n5\""] {
                    assert_eq!(last(text, start, step), Ok(()), "{text} {start} {step}");
                }
            }
        }
    }
}
