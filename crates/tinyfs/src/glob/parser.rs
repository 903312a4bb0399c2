//! [`Parser`]: from the text of a glob to its segments.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::path::{MAX_PATH_BYTES, check_name};

use super::component::{Class, Component, Role, Token};
use super::{Segment, escape, invalid};

/// Bounds the depth of recursion when matching.
const MAX_WILDCARDS: usize = 256;

/// A segment and its text in the glob's normal form.
type Sourced = (Segment, String);

/// What a text says.
pub(super) struct Parsed {
    pub(super) segments: Vec<Sourced>,
    pub(super) names: Vec<Arc<str>>,
    pub(super) positions: usize,
}

/// Reads one text, character by character.
pub(super) struct Parser<'a> {
    text: &'a str,
    chars: Vec<char>,
    at: usize,
    names: Vec<Arc<str>>,
    positions: usize,
    wildcards: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, chars: text.chars().collect(), at: 0, names: Vec::new(), positions: 0, wildcards: 0 }
    }

    /// The segments of the text, which follow those of the directory that it is seen from.
    pub(super) fn parse(mut self, mut segments: Vec<Sourced>) -> Result<Parsed> {
        if self.text.len() > MAX_PATH_BYTES {
            return Err(self.error(0, "it is longer than 4096 bytes"));
        }
        while self.at < self.chars.len() {
            if self.peek() == Some('/') {
                self.at += 1;
                continue;
            }
            let start = self.at;
            let positions = self.positions;
            let segment = self.segment(positions)?;
            let source: String = self.chars[start..self.at].iter().collect();
            match (source.as_str(), segment) {
                (".", _) => {}
                ("..", _) => match segments.pop() {
                    Some((Segment::Literal(_), _)) => {}
                    Some(_) => return Err(self.error(start, "'..' cannot follow a component with a wildcard")),
                    None => return Err(self.error(start, "'..' leads above the root of the pond")),
                },
                (_, Segment::Literal(name)) => {
                    check_name(&name).map_err(|error| self.error(start, "not a name").with_source(error))?;
                    let source = escape(&name);
                    segments.push((Segment::Literal(name), source));
                }
                (_, segment) => segments.push((segment, source)),
            }
        }
        Ok(Parsed { segments, names: self.names, positions: self.positions })
    }

    fn segment(&mut self, first_position: usize) -> Result<Segment> {
        let whole = self.chars[self.at..].iter().take_while(|c| **c != '/').count();
        if self.chars[self.at..self.at + whole] == ['*', '*'] {
            self.at += 2;
            return Ok(Segment::AnyDepth(self.position(self.at)?));
        }
        let mut tokens = Vec::new();
        while let Some(c) = self.peek().filter(|c| *c != '/') {
            if c == '{' {
                let token = self.braces()?;
                tokens.push(token);
            } else {
                self.simple(c, &mut tokens)?;
            }
        }
        if let [Token::Literal(text)] = tokens.as_slice() {
            return Ok(Segment::Literal(Arc::from(text.as_str())));
        }
        Ok(Segment::Component(Component::new(tokens, first_position, self.positions - first_position)))
    }

    /// Anything but braces.
    fn simple(&mut self, c: char, tokens: &mut Vec<Token>) -> Result<()> {
        let start = self.at;
        self.at += 1;
        let literal = match c {
            '*' if self.peek() == Some('*') => return Err(self.error(start, "'**' must be a whole component")),
            '*' => {
                let position = self.position(start)?;
                tokens.push(Token::Star(position));
                return Ok(());
            }
            '?' => {
                tokens.push(Token::One);
                return Ok(());
            }
            '[' => {
                let class = self.class(start)?;
                match class.only() {
                    Some(c) => c,
                    None => {
                        tokens.push(Token::Class(class));
                        return Ok(());
                    }
                }
            }
            '\0' => return Err(self.error(start, "it holds a NUL character")),
            c => c,
        };
        match tokens.last_mut() {
            Some(Token::Literal(text)) => text.push(literal),
            _ => tokens.push(Token::Literal(literal.into())),
        }
        Ok(())
    }

    fn class(&mut self, start: usize) -> Result<Class> {
        let negated = self.peek() == Some('!');
        if negated {
            self.at += 1;
        }
        let mut ranges = Vec::new();
        loop {
            let low_at = self.at;
            let low = self.class_char(start)?;
            if low == ']' && !ranges.is_empty() {
                return Ok(Class { negated, ranges });
            }
            let is_range = self.peek() == Some('-') && self.chars.get(self.at + 1).is_some_and(|c| *c != ']');
            if !is_range {
                ranges.push((low, low));
                continue;
            }
            self.at += 1;
            let high = self.class_char(start)?;
            if low > high {
                return Err(self.error(low_at, &format!("the range '{low}-{high}' is not in order")));
            }
            ranges.push((low, high));
        }
    }

    fn class_char(&mut self, start: usize) -> Result<char> {
        match self.peek() {
            None | Some('/') => Err(self.error(start, "'[' is not closed (a ']' at its start is literal)")),
            Some('\0') => Err(self.error(self.at, "it holds a NUL character")),
            Some(c) => {
                self.at += 1;
                Ok(c)
            }
        }
    }

    fn braces(&mut self) -> Result<Token> {
        let start = self.at;
        self.at += 1;
        let mut alternatives = Vec::new();
        let mut tokens = Vec::new();
        loop {
            match self.peek() {
                None | Some('/') => return Err(self.error(start, "'{' is not closed")),
                Some('{') => return Err(self.error(self.at, "braces cannot hold braces")),
                Some(c @ (',' | '}')) => {
                    self.at += 1;
                    alternatives.push(std::mem::take(&mut tokens));
                    if c == '}' {
                        break;
                    }
                }
                Some(c) => self.simple(c, &mut tokens)?,
            }
        }
        self.count(start)?;
        if alternatives.len() > 1 {
            return Ok(Token::Alternatives(alternatives));
        }
        let name: String = self.chars[start + 1..self.at - 1].iter().collect();
        if name.is_empty() {
            return Err(self.error(start, "'{}' is empty"));
        }
        if name.starts_with(|c: char| c.is_ascii_digit())
            || !name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric())
        {
            let why = "neither a name (letters, digits and '_', no digit first) nor alternatives with ','";
            return Err(self.error(start, &format!("'{{{name}}}' is {why}")));
        }
        let index = self.names.iter().position(|known| **known == *name).unwrap_or_else(|| {
            self.names.push(Arc::from(name.as_str()));
            self.names.len() - 1
        });
        Ok(Token::Name(index, Role::Free))
    }

    fn position(&mut self, at: usize) -> Result<usize> {
        self.count(at)?;
        self.positions += 1;
        Ok(self.positions - 1)
    }

    fn count(&mut self, at: usize) -> Result<()> {
        self.wildcards += 1;
        if self.wildcards > MAX_WILDCARDS { Err(self.error(at, "more than 256 wildcards")) } else { Ok(()) }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn error(&self, offset: usize, why: &str) -> Error {
        invalid(self.text, offset, why)
    }
}
