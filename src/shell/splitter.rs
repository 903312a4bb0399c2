//! [`Splitter`]: cuts a script into statements as its text arrives.
//!
//! A `;` ends a statement only where sqlparser's tokenizer sees one: not in a comment, a string, a quoted identifier or a
//! dollar-quoted body. The tokenizer itself wants the whole text and gives up at the first bad token; this is a scanner of
//! one character at a time, so that standard input runs as it arrives and a broken statement does not take the rest with it.
//! A property test holds it to the tokenizer's answer.

use std::collections::VecDeque;

#[cfg(test)]
mod tests;

/// Where a statement starts in its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Bytes before it.
    pub byte: u64,
    /// Its line, from 1.
    pub line: u64,
    /// Its column in characters, from 1.
    pub column: u64,
}

/// What a [`Piece`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PieceKind {
    /// A statement of SQL, without its `;`.
    Sql,
    /// A backslash command: `\` at the start of a statement, up to the end of the line.
    Command,
}

/// One statement or backslash command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Statement or command.
    pub kind: PieceKind,
    /// Its text, from its first token; comments before that and space after it are left out.
    pub text: String,
    /// Where the text starts.
    pub position: Position,
}

/// Cuts text that arrives in chunks, cut anywhere, into statements.
///
/// ```
/// use pondsql::shell::splitter::Splitter;
/// let mut splitter = Splitter::new();
/// splitter.push("DELETE FROM t -- purge old rows;\nWHERE a = ';'; SELE");
/// assert_eq!(splitter.next_piece().unwrap().text, "DELETE FROM t -- purge old rows;\nWHERE a = ';'");
/// assert_eq!(splitter.next_piece(), None);
/// splitter.push("CT 1");
/// assert_eq!(splitter.finish().unwrap().text, "SELECT 1");
/// ```
#[derive(Debug)]
pub struct Splitter {
    /// The statement so far, from its first token.
    text: String,
    /// Where that token is; `None` before it.
    start: Option<Position>,
    /// A `-` or `/` before the first token: an operator that starts a statement, or half of a comment's mark.
    held: Option<(char, Position)>,
    state: State,
    here: Position,
    ready: VecDeque<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Normal,
    Word,
    /// After a letter that may introduce a string: `b r n q e u x`.
    Prefix(char),
    /// After `nq`.
    NationalQ,
    /// After `u&`.
    UnicodeAnd,
    Quoted {
        quote: char,
        backslash: bool,
    },
    /// After a quote inside quotes: the end, or the first of a doubled one.
    QuoteEnd {
        quote: char,
        backslash: bool,
    },
    Escape {
        quote: char,
    },
    /// After `r` and this many quotes.
    RawOpen {
        quote: char,
        count: u8,
    },
    RawTriple {
        quote: char,
        run: u8,
    },
    /// After `q'`.
    DelimitedOpen,
    Delimited {
        close: char,
    },
    DelimitedEnd {
        close: char,
    },
    Dot,
    Integer {
        zero: bool,
    },
    Hexadecimal,
    Fraction,
    /// After a number's `e`, which may also begin a word.
    ExponentMark,
    ExponentSign(char),
    Exponent,
    Dash,
    Slash,
    Pipe,
    LineComment,
    BlockComment {
        depth: u32,
        previous: Option<char>,
    },
    /// After `$` and a tag.
    Dollar {
        tag: String,
    },
    DollarBody {
        delimiter: String,
        from: usize,
    },
    Command,
    /// After a `#` that is the very first character.
    Hash,
}

impl Default for Splitter {
    fn default() -> Self {
        Self::new()
    }
}

impl Splitter {
    /// A splitter at the start of a source, line 1.
    pub fn new() -> Self {
        Self {
            text: String::new(),
            start: None,
            held: None,
            state: State::Normal,
            here: Position { byte: 0, line: 1, column: 1 },
            ready: VecDeque::new(),
        }
    }

    /// Takes the next characters of the source.
    pub fn push(&mut self, text: &str) {
        for c in text.chars() {
            self.step(c);
            self.here.byte += c.len_utf8() as u64;
            if c == '\n' {
                self.here.line += 1;
                self.here.column = 1;
            } else {
                self.here.column += 1;
            }
        }
    }

    /// The next complete statement or command, if one has arrived.
    pub fn next_piece(&mut self) -> Option<Piece> {
        self.ready.pop_front()
    }

    /// Ends the source: what is left is the last statement, without its `;`. Complete ones come first, so call until `None`.
    pub fn finish(&mut self) -> Option<Piece> {
        if self.state == State::Command {
            self.emit(PieceKind::Command);
        } else {
            self.release();
            self.emit(PieceKind::Sql);
        }
        self.ready.pop_front()
    }

    /// Whether the text so far ends between statements: nothing is open, not even a comment.
    pub fn is_between_statements(&self) -> bool {
        self.start.is_none() && self.held.is_none() && matches!(self.state, State::Normal | State::LineComment)
    }

    /// Feeds one character. A token that ends *before* this character hands it on to the state that follows.
    fn step(&mut self, c: char) {
        while !self.accept(c) {}
    }

    /// Whether the character is used up; if not, the state has changed and it is to be looked at again.
    fn accept(&mut self, c: char) -> bool {
        match std::mem::replace(&mut self.state, State::Normal) {
            State::Normal => self.begin_token(c),
            State::Word => match c {
                c if is_word_part(c) => self.keep(c, State::Word),
                _ => false,
            },
            State::Prefix(letter) => match (letter, c) {
                ('b', '\'' | '"') | ('n', '\'') => self.keep(c, State::Quoted { quote: c, backslash: false }),
                ('e' | 'x', '\'') => self.keep(c, State::Quoted { quote: c, backslash: true }),
                ('r', '\'' | '"') => self.keep(c, State::RawOpen { quote: c, count: 1 }),
                ('n', 'q' | 'Q') => self.keep(c, State::NationalQ),
                ('q', '\'') => self.keep(c, State::DelimitedOpen),
                ('u', '&') => self.keep(c, State::UnicodeAnd),
                _ => self.again(State::Word),
            },
            State::NationalQ => match c {
                '\'' => self.keep(c, State::DelimitedOpen),
                _ => self.again(State::Word),
            },
            State::UnicodeAnd => match c {
                '\'' => self.keep(c, State::Quoted { quote: c, backslash: false }),
                _ => false,
            },
            State::Quoted { quote, backslash } => {
                if c == quote {
                    self.keep(c, State::QuoteEnd { quote, backslash })
                } else if c == '\\' && backslash {
                    self.keep(c, State::Escape { quote })
                } else {
                    self.keep(c, State::Quoted { quote, backslash })
                }
            }
            State::QuoteEnd { quote, backslash } => match c {
                c if c == quote => self.keep(c, State::Quoted { quote, backslash }),
                _ => false,
            },
            State::Escape { quote } => self.keep(c, State::Quoted { quote, backslash: true }),
            State::RawOpen { quote, count } => match (c == quote, count) {
                (true, 1) => self.keep(c, State::RawOpen { quote, count: 2 }),
                (true, _) => self.keep(c, State::RawTriple { quote, run: 0 }),
                (false, 1) => self.again(State::Quoted { quote, backslash: false }),
                (false, _) => false,
            },
            State::RawTriple { quote, run } => match (c == quote, run) {
                (true, 2) => self.keep(c, State::Normal),
                (true, _) => self.keep(c, State::RawTriple { quote, run: run + 1 }),
                (false, _) => self.keep(c, State::RawTriple { quote, run: 0 }),
            },
            State::DelimitedOpen => {
                let close = match c {
                    '[' => ']',
                    '{' => '}',
                    '<' => '>',
                    '(' => ')',
                    c => c,
                };
                self.keep(c, State::Delimited { close })
            }
            State::Delimited { close } => match c {
                c if c == close => self.keep(c, State::DelimitedEnd { close }),
                _ => self.keep(c, State::Delimited { close }),
            },
            State::DelimitedEnd { close } => match c {
                '\'' => self.keep(c, State::Normal),
                _ => self.again(State::Delimited { close }),
            },
            State::Dot => match c {
                '0'..='9' => self.keep(c, State::Fraction),
                _ => false,
            },
            State::Integer { zero } => match c {
                '0'..='9' => self.keep(c, State::Integer { zero: false }),
                'x' if zero => self.keep(c, State::Hexadecimal),
                '.' => self.keep(c, State::Fraction),
                _ => self.after_digits(c),
            },
            State::Hexadecimal => match c {
                c if c.is_ascii_hexdigit() => self.keep(c, State::Hexadecimal),
                _ => false,
            },
            State::Fraction => match c {
                '0'..='9' => self.keep(c, State::Fraction),
                _ => self.after_digits(c),
            },
            State::ExponentMark => match c {
                '0'..='9' => self.keep(c, State::Exponent),
                '+' | '-' => self.keep(c, State::ExponentSign(c)),
                _ => self.again(State::Prefix('e')),
            },
            State::ExponentSign(sign) => match c {
                '0'..='9' => self.keep(c, State::Exponent),
                // `1e-x` is a number, a word and an operator.
                _ => self.again(if sign == '-' { State::Dash } else { State::Normal }),
            },
            State::Exponent => match c {
                '0'..='9' => self.keep(c, State::Exponent),
                'L' => self.keep(c, State::Normal),
                _ => false,
            },
            State::Dash => match c {
                '-' => self.comment(c, State::LineComment),
                _ => self.operator(),
            },
            State::Slash => match c {
                '*' => self.comment(c, State::BlockComment { depth: 1, previous: None }),
                '/' => {
                    self.release();
                    self.keep(c, State::Normal)
                }
                _ => self.operator(),
            },
            State::Pipe => match c {
                '|' => self.keep(c, State::Pipe),
                '/' => self.keep(c, State::Normal),
                _ => false,
            },
            State::LineComment => self.comment(c, if c == '\n' { State::Normal } else { State::LineComment }),
            State::BlockComment { depth, previous } => {
                let next = match (previous, c, depth) {
                    (Some('*'), '/', 1) => State::Normal,
                    (Some('*'), '/', _) => State::BlockComment { depth: depth - 1, previous: None },
                    (Some('/'), '*', _) => State::BlockComment { depth: depth + 1, previous: None },
                    _ => State::BlockComment { depth, previous: Some(c) },
                };
                self.comment(c, next)
            }
            State::Dollar { mut tag } => {
                if c == '$' {
                    let from = self.text.len() + 1;
                    self.keep(c, State::DollarBody { delimiter: format!("${tag}$"), from })
                } else if c.is_alphanumeric() || c == '_' {
                    tag.push(c);
                    self.keep(c, State::Dollar { tag })
                } else {
                    false
                }
            }
            State::DollarBody { delimiter, from } => {
                self.text.push(c);
                if !self.text[from..].ends_with(&delimiter) {
                    self.state = State::DollarBody { delimiter, from };
                }
                true
            }
            State::Command => {
                if c == '\n' {
                    self.emit(PieceKind::Command);
                    true
                } else {
                    self.keep(c, State::Command)
                }
            }
            State::Hash => match c {
                '!' => {
                    self.text.clear();
                    self.start = None;
                    self.comment(c, State::LineComment)
                }
                _ => self.again(State::Word),
            },
        }
    }

    fn begin_token(&mut self, c: char) -> bool {
        match c {
            ';' => {
                self.emit(PieceKind::Sql);
                true
            }
            '\\' if self.start.is_none() => self.keep(c, State::Command),
            '#' if self.here.byte == 0 => self.keep(c, State::Hash),
            '-' => self.hold(c, State::Dash),
            '/' => self.hold(c, State::Slash),
            '|' => self.keep(c, State::Pipe),
            '\'' | '"' | '`' => self.keep(c, State::Quoted { quote: c, backslash: false }),
            '$' => self.keep(c, State::Dollar { tag: String::new() }),
            '.' => self.keep(c, State::Dot),
            '0' => self.keep(c, State::Integer { zero: true }),
            '1'..='9' => self.keep(c, State::Integer { zero: false }),
            'b' | 'B' | 'r' | 'R' | 'n' | 'N' | 'q' | 'Q' | 'e' | 'E' | 'u' | 'U' | 'x' | 'X' => {
                self.keep(c, State::Prefix(c.to_ascii_lowercase()))
            }
            c if c.is_alphabetic() || matches!(c, '_' | '#' | '@') => self.keep(c, State::Word),
            c if c.is_whitespace() => self.comment(c, State::Normal),
            _ => self.keep(c, State::Normal),
        }
    }

    fn after_digits(&mut self, c: char) -> bool {
        match c {
            'e' | 'E' => self.keep(c, State::ExponentMark),
            'L' => self.keep(c, State::Normal),
            _ => false,
        }
    }

    /// Adds a character of a token.
    fn keep(&mut self, c: char, state: State) -> bool {
        self.start.get_or_insert(self.here);
        self.text.push(c);
        self.state = state;
        true
    }

    /// Adds a character that may turn out to be a comment's first.
    fn hold(&mut self, c: char, state: State) -> bool {
        if self.start.is_none() {
            self.held = Some((c, self.here));
        } else {
            self.text.push(c);
        }
        self.state = state;
        true
    }

    /// Adds a character of a comment or of space: kept inside a statement, dropped before it.
    fn comment(&mut self, c: char, state: State) -> bool {
        self.held = None;
        if self.start.is_some() {
            self.text.push(c);
        }
        self.state = state;
        true
    }

    fn again(&mut self, state: State) -> bool {
        self.state = state;
        false
    }

    fn operator(&mut self) -> bool {
        self.release();
        false
    }

    fn release(&mut self) {
        if let Some((c, position)) = self.held.take() {
            self.start = Some(position);
            self.text.push(c);
        }
    }

    fn emit(&mut self, kind: PieceKind) {
        self.state = State::Normal;
        if let Some(position) = self.start.take() {
            let mut text = std::mem::take(&mut self.text);
            text.truncate(text.trim_end().len());
            self.ready.push_back(Piece { kind, text, position });
        }
    }
}

fn is_word_part(c: char) -> bool {
    c.is_alphabetic() || c.is_ascii_digit() || matches!(c, '@' | '$' | '#' | '_')
}
