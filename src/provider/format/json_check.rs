//! A look at JSON before the decoder, which leaves out keys that are no columns, and holds a value of any length.

use std::borrow::Cow;
use std::collections::HashMap;

use datafusion::arrow::datatypes::{DataType, Fields};

use super::checked::{Check, check_length};
use crate::error::{Error, ErrorKind, Result};

/// The node of values of which nothing is known.
const ANY: usize = 0;
/// How many levels a record may have.
const MAX_DEPTH: usize = 128;

/// What is known of a value's keys.
#[derive(Debug)]
enum Node {
    /// Nothing: any are fine.
    Any,
    /// The keys of an object, and the nodes of their values.
    Object(HashMap<Box<[u8]>, usize>),
    /// The node of each value of a list.
    List(usize),
}

/// An object or a list that has not ended yet.
#[derive(Debug, Clone, Copy)]
struct Open {
    node: usize,
    is_object: bool,
}

/// Finds keys that are no columns, and records that are too long. Of text that is no JSON it finds anything or nothing: the decoder refuses that.
#[derive(Debug)]
pub(super) struct JsonCheck {
    nodes: Vec<Node>,
    /// The node of a value outside of everything.
    root: usize,
    /// How many levels are around each record.
    base: usize,
    open: Vec<Open>,
    /// The node of the value that comes next.
    next: usize,
    /// Whether a text that comes next is a key.
    at_key: bool,
    in_text: bool,
    escaped: bool,
    /// The key so far.
    key: Vec<u8>,
    /// How long the record is so far, and the longest one before it.
    length: usize,
    longest: usize,
    /// Whether what comes first, up to the end of its line, belongs to another range.
    skip_line: bool,
}

impl JsonCheck {
    /// A check of a value a line, or of one array of values. Where `fields` are given there are no other keys.
    pub(super) fn new(lines: bool, fields: Option<&Fields>) -> Self {
        let mut nodes = vec![Node::Any];
        let record = fields.map_or(ANY, |fields| object(&mut nodes, fields));
        let root = match lines {
            true => record,
            false => add(&mut nodes, Node::List(record)),
        };
        Self {
            nodes,
            root,
            base: usize::from(!lines),
            open: Vec::new(),
            next: root,
            at_key: false,
            in_text: false,
            escaped: false,
            key: Vec::new(),
            length: 0,
            longest: 0,
            skip_line: false,
        }
    }

    /// The same, where the first line belongs to another range.
    pub(super) fn behind_a_line(self) -> Self {
        Self { skip_line: true, ..self }
    }

    /// Looks at a text, from its next byte on; how many bytes of it are there.
    fn text(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            let step = if self.escaped || *byte == b'\\' {
                self.escaped = !self.escaped;
                1
            } else if *byte == b'"' {
                self.in_text = false;
                if self.at_key {
                    self.at_key = false;
                    self.end_key()?;
                }
                return Ok(at + 1);
            } else {
                bytes[at..].iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(bytes.len() - at)
            };
            if self.at_key {
                self.key.extend_from_slice(&bytes[at..at + step]);
            }
            at += step;
        }
        Ok(at)
    }

    fn end_key(&mut self) -> Result<()> {
        let node = self.open.last().map_or(ANY, |open| open.node);
        let Some(Node::Object(known)) = self.nodes.get(node) else {
            self.next = ANY;
            return Ok(());
        };
        let key = unescaped(&self.key);
        match known.get(&*key) {
            Some(next) => {
                self.next = *next;
                Ok(())
            }
            None => {
                let message = format!(
                    "the key '{}' comes first behind the records that the columns were taken from: a larger \
                     schema_infer_max_rec looks further, ignore_unknown_keys=true leaves such keys out",
                    String::from_utf8_lossy(&key).escape_debug()
                );
                Err(Error::new(ErrorKind::Unsupported, message))
            }
        }
    }

    /// Looks at a byte outside of texts.
    fn outside(&mut self, byte: u8) -> Result<()> {
        match byte {
            b'"' => {
                self.in_text = true;
                self.key.clear();
            }
            b'{' | b'[' => {
                let is_object = byte == b'{';
                if self.open.len() >= self.base + MAX_DEPTH {
                    let message = format!("its values nest more than {MAX_DEPTH} levels deep");
                    return Err(Error::new(ErrorKind::Limit, message));
                }
                self.open.push(Open { node: self.next, is_object });
                self.at_key = is_object;
                self.next = self.of_list();
            }
            b'}' | b']' => {
                let _ = self.open.pop();
                self.at_key = false;
                if self.open.is_empty() {
                    self.next = self.root;
                }
                self.end_record();
            }
            b',' => {
                self.at_key = self.open.last().is_some_and(|open| open.is_object);
                self.next = self.of_list();
            }
            b'\n' => self.end_record(),
            _ => {}
        }
        Ok(())
    }

    /// Outside of records none goes on.
    fn end_record(&mut self) {
        if self.open.len() <= self.base {
            self.longest = self.longest.max(self.length);
            self.length = 0;
        }
    }

    /// The node of a value of the innermost list.
    fn of_list(&self) -> usize {
        match self.open.last().and_then(|open| self.nodes.get(open.node)) {
            Some(Node::List(values)) => *values,
            _ => ANY,
        }
    }
}

impl Check for JsonCheck {
    fn look(&mut self, bytes: &[u8]) -> Result<()> {
        let mut at = 0;
        if self.skip_line {
            let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return Ok(()) };
            self.skip_line = false;
            at = end + 1;
        }
        while let Some(byte) = bytes.get(at) {
            let step = if self.in_text {
                self.text(&bytes[at..])?
            } else {
                self.outside(*byte)?;
                1
            };
            self.length = self.length.saturating_add(step);
            at += step;
        }
        check_length(self.longest.max(self.length))
    }
}

fn add(nodes: &mut Vec<Node>, node: Node) -> usize {
    nodes.push(node);
    nodes.len() - 1
}

/// The node of an object with these fields.
fn object(nodes: &mut Vec<Node>, fields: &Fields) -> usize {
    let keys =
        fields.iter().map(|field| (Box::<[u8]>::from(field.name().as_bytes()), of_type(nodes, field.data_type())));
    let keys: HashMap<Box<[u8]>, usize> = keys.collect();
    add(nodes, Node::Object(keys))
}

fn of_type(nodes: &mut Vec<Node>, data_type: &DataType) -> usize {
    match data_type {
        DataType::Struct(fields) => object(nodes, fields),
        DataType::List(values) => {
            let values = of_type(nodes, values.data_type());
            add(nodes, Node::List(values))
        }
        _ => ANY,
    }
}

/// A key as it is meant.
fn unescaped(key: &[u8]) -> Cow<'_, [u8]> {
    if !key.contains(&b'\\') {
        return Cow::Borrowed(key);
    }
    let quoted = [b"\"".as_slice(), key, b"\""].concat();
    match serde_json::from_slice::<String>(&quoted) {
        Ok(text) => Cow::Owned(text.into_bytes()),
        Err(_) => Cow::Borrowed(key),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::datatypes::Field;

    use super::*;
    use crate::provider::format::checked::MAX_RECORD;

    fn fields() -> Fields {
        let b = Fields::from(vec![Field::new("x", DataType::Int64, true)]);
        let c = Field::new_list_field(DataType::Struct(b.clone()), true);
        Fields::from(vec![
            Field::new("a", DataType::Utf8View, true),
            Field::new("b", DataType::Struct(b), true),
            Field::new("c", DataType::List(Arc::new(c)), true),
            Field::new("\u{e9}\"", DataType::Null, true),
        ])
    }

    /// The key that is not known, looking at so many bytes at once.
    fn unknown(mut check: JsonCheck, text: &str, step: usize) -> Option<String> {
        let found = text.as_bytes().chunks(step).try_for_each(|bytes| check.look(bytes));
        found.err().map(|error| error.to_string().split('\'').nth(1).unwrap().to_owned())
    }

    #[test]
    fn keys_that_are_no_columns_are_found() {
        let values = [
            (r#"{"a":"{\"q\":1}","b":{"x":1},"c":[{"x":2},{}],"\u00e9\"":null}"#, None),
            (r#"{"a": null}  {"b" : {"x":1}, "c": []}"#, None),
            (r#"{"a":1} {"q":1}"#, Some("q")),
            (r#"{"b":{"a":1}}"#, Some("a")),
            (r#"{"c":[{"x":[{"z":1}]},{"y":1}]}"#, Some("y")),
            (r#"{"a":{"z":{"y":1}},"\u0062":{"\u0078x":1}}"#, Some("xx")),
            (r#"{"a":"\\","x":1}"#, Some("x")),
        ];
        for (text, key) in values {
            for step in [1, 2, 3, 7, 100] {
                let lines = unknown(JsonCheck::new(true, Some(&fields())), text, step);
                assert_eq!(lines.as_deref(), key, "{text}, {step}");
                let array = format!(" [{} ]", text.replace("} {", "}, {").replace("}  {", "},{"));
                let array = unknown(JsonCheck::new(false, Some(&fields())), &array, step);
                assert_eq!(array.as_deref(), key, "{text}, {step}");
                assert_eq!(unknown(JsonCheck::new(true, None), text, step), None);
            }
        }
    }

    #[test]
    fn a_range_begins_behind_a_line() {
        let check = || JsonCheck::new(true, Some(&fields())).behind_a_line();
        assert_eq!(unknown(check(), "\"q\":1}}\n{\"a\":1}\n", 3), None);
        assert_eq!(unknown(check(), "\n{\"r\":1}\n", 3).as_deref(), Some("r"));
    }

    #[test]
    fn a_record_has_a_longest() {
        for (lines, begins, between) in [(true, "", "\n"), (false, "[", ",")] {
            let mut check = JsonCheck::new(lines, None);
            let half = "x".repeat(MAX_RECORD / 2);
            check.look(begins.as_bytes()).unwrap();
            for _ in 0..2 {
                check.look(format!("{{\"a\":\"{half}\"}}{between}").as_bytes()).unwrap();
            }
            check.look(format!("{{\"a\":[{{}},\"{half}").as_bytes()).unwrap();
            let error = check.look(half.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Limit);
            assert_eq!(error.to_string(), "a record of it is longer than 64 MiB");
        }
    }

    #[test]
    fn a_record_has_a_depth() {
        let deep = |levels: usize| JsonCheck::new(true, None).look("[{\"a\":".repeat(levels / 2).as_bytes());
        deep(128).unwrap();
        let error = deep(130).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::Limit, "its values nest more than 128 levels deep")
        );
    }
}
