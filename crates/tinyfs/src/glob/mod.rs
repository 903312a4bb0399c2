//! [`Glob`]: a path with wildcards, and what they stand for.

mod component;
mod parser;
mod solver;
mod text;
mod walk;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::path::PondPath;

use component::Component;
use parser::Parser;
pub use walk::{GlobMatch, LinkEnds};
pub(crate) use walk::{entries, expand};

/// A path with wildcards, parsed.
///
/// | text | matches | captured |
/// |---|---|---|
/// | `*` | any text within one component, the empty text too | by position |
/// | `?` | one character | |
/// | `[a-z_]`, `[!a-z]` | one character of the class, or one outside it; a `]` at its start is literal | |
/// | `{a,b*}` | one of the alternatives, which may hold `*`, `?` and classes | each `*` by position |
/// | `{name}` | as `*`; the same name twice matches the same text | by name |
/// | `**` | a whole component only: any number of directories; at the end, one or more components | by position |
///
/// A class of one character stands for that character: `[*]` is a literal `*`. A leading dot is nothing special. Where
/// several readings match, earlier wildcards take the longest text; of alternatives that take the same text, the first.
///
/// `//`, `.` and `..` are resolved as in a [`PondPath`]; two globs are equal when the text is the same after that. A clone is cheap.
///
/// ```
/// use tinyfs::{Glob, PondPath};
/// let glob = Glob::parse("/locs/{site}/*.series")?;
/// let captures = glob.matches(&PondPath::parse("/locs/BDock/temp.series")?)?.unwrap();
/// assert_eq!(&*captures.named[0], "BDock");
/// assert_eq!(captures.positional[0].as_deref(), Some("temp"));
/// # Ok::<(), tinyfs::Error>(())
/// ```
#[derive(Clone)]
pub struct Glob(Arc<Inner>);

struct Inner {
    text: String,
    segments: Vec<Segment>,
    names: Vec<Arc<str>>,
    /// For each name, the last segment that uses it.
    last_uses: Vec<usize>,
    positions: usize,
    path: Option<PondPath>,
    base: PondPath,
}

/// What a glob says about one component of a path, or about any number of them.
#[derive(Debug)]
enum Segment {
    Literal(Arc<str>),
    Component(Component),
    /// `**`; captured at this position.
    AnyDepth(usize),
}

/// What the wildcards of a [`Glob`] stand for in one path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Captures {
    /// The text of each `{name}`, in the order of [`Glob::capture_names`].
    pub named: Vec<Arc<str>>,
    /// The text of each `*` and `**`, in order; `None` inside an alternative that was not taken.
    pub positional: Vec<Option<Arc<str>>>,
}

/// What names are bound to, for those that a later segment uses again.
type Bindings = Arc<[Option<Arc<str>>]>;

impl Glob {
    /// Reads an absolute glob.
    ///
    /// # Errors
    /// [`InvalidGlob`](ErrorKind::InvalidGlob), with the place and what is wrong there.
    pub fn parse(text: &str) -> Result<Self> {
        if !text.starts_with('/') {
            return Err(invalid(text, 0, "a glob starts with '/'"));
        }
        Self::build(Parser::new(text).parse(Vec::new())?, text)
    }

    /// Reads a glob as seen from `directory`, whose own characters are literal. An absolute glob stands for itself.
    ///
    /// # Errors
    /// As [`Glob::parse`].
    pub fn parse_relative(directory: &PondPath, text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(invalid(text, 0, "it is empty"));
        }
        if text.starts_with('/') {
            return Self::parse(text);
        }
        let base = directory.components().map(|name| (Segment::Literal(Arc::from(name)), escape(name))).collect();
        Self::build(Parser::new(text).parse(base)?, text)
    }

    /// Matches exactly this path, whatever characters it holds.
    pub fn literal(path: &PondPath) -> Self {
        let segments: Vec<Segment> = path.components().map(|name| Segment::Literal(Arc::from(name))).collect();
        let text = if path.is_root() { "/".to_owned() } else { escape(path.as_str()) };
        let base = path.parent().unwrap_or_else(PondPath::root);
        Self(Arc::new(Inner {
            text,
            segments,
            names: Vec::new(),
            last_uses: Vec::new(),
            positions: 0,
            path: Some(path.clone()),
            base,
        }))
    }

    fn build(parsed: parser::Parsed, typed: &str) -> Result<Self> {
        let parser::Parsed { segments, names, positions } = parsed;
        let mut text: String = segments.iter().flat_map(|(_, source)| ["/", source]).collect();
        if text.is_empty() {
            text.push('/');
        }
        let mut segments: Vec<Segment> = segments.into_iter().map(|(segment, _)| segment).collect();
        let mut last_uses = vec![0; names.len()];
        for (index, segment) in segments.iter().enumerate() {
            if let Segment::Component(component) = segment {
                component.names().for_each(|name| last_uses[name] = index);
            }
        }
        let mut bound = vec![false; names.len()];
        for (index, segment) in segments.iter_mut().enumerate() {
            if let Segment::Component(component) = segment {
                component.assign_roles(index, &mut bound, &last_uses);
            }
        }
        let literal: Vec<&str> = segments
            .iter()
            .map_while(|segment| if let Segment::Literal(name) = segment { Some(&**name) } else { None })
            .collect();
        let prefix = PondPath::parse(&format!("/{}", literal.join("/"))).map_err(|error| {
            Error::new(ErrorKind::InvalidGlob, format!("'{typed}' is not a glob")).with_source(error)
        })?;
        let (path, base) = if literal.len() == segments.len() {
            let base = prefix.parent().unwrap_or_else(PondPath::root);
            (Some(prefix), base)
        } else {
            (None, prefix)
        };
        Ok(Self(Arc::new(Inner { text, segments, names, last_uses, positions, path, base })))
    }

    /// The text, normalised.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// The one path that this matches, when it has no wildcard.
    pub fn as_path(&self) -> Option<PondPath> {
        self.0.path.clone()
    }

    /// The distinct names in braces, in the order in which they first appear.
    pub fn capture_names(&self) -> &[Arc<str>] {
        &self.0.names
    }

    /// How many `*` and `**` there are.
    pub fn positional_count(&self) -> usize {
        self.0.positions
    }

    /// The longest directory that every match lies below, as far as the text tells.
    pub fn base(&self) -> PondPath {
        self.0.base.clone()
    }

    /// Whether something below `directory` may match, as far as literal names and the number of names tell.
    pub fn reaches_below(&self, directory: &PondPath) -> bool {
        let mut names = directory.components();
        for segment in &self.0.segments {
            match (segment, names.next()) {
                (Segment::AnyDepth(_), _) | (_, None) => return true,
                (Segment::Literal(literal), Some(name)) if **literal != *name => return false,
                _ => {}
            }
        }
        false
    }

    /// What the wildcards stand for if `path` matches. Looks at the text only, at no tree.
    ///
    /// # Errors
    /// [`InvalidGlob`](ErrorKind::InvalidGlob) when repeated names need too much backtracking.
    pub fn matches(&self, path: &PondPath) -> Result<Option<Captures>> {
        text::matches(self, path)
    }

    /// `bindings` without the names that no segment from `index` on uses, so that what can differ no more is equal.
    fn live(&self, bindings: &Bindings, index: usize) -> Bindings {
        let dead = |(name, text): (usize, &Option<Arc<str>>)| text.is_some() && self.0.last_uses[name] < index;
        if !bindings.iter().enumerate().any(dead) {
            return Arc::clone(bindings);
        }
        let keep = |(name, text): (usize, &Option<Arc<str>>)| text.clone().filter(|_| self.0.last_uses[name] >= index);
        bindings.iter().enumerate().map(keep).collect()
    }

    /// Whether there is at most one way to match a path segment by segment, so that a walk along a tree without links comes
    /// to no node twice.
    fn has_one_way(&self) -> bool {
        let depths = self.0.segments.iter().filter(|segment| matches!(segment, Segment::AnyDepth(_))).count();
        let shares = |segment: &Segment| matches!(segment, Segment::Component(component) if component.shares());
        depths <= 1 && !self.0.segments.iter().any(shares)
    }

    fn unbound(&self) -> Bindings {
        vec![None; self.0.names.len()].into()
    }

    fn too_hard(&self) -> Error {
        let message = format!("'{self}' needs too much backtracking: use fewer repeated names");
        Error::new(ErrorKind::InvalidGlob, message)
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.text)
    }
}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for Glob {}

impl Hash for Glob {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text.hash(state);
    }
}

impl std::str::FromStr for Glob {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

/// The text of a glob that matches `text` only.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | '{') {
            escaped.extend(['[', c, ']']);
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// The error for a text that is not a glob because of what stands at character `offset`, counted from 0.
fn invalid(text: &str, offset: usize, why: &str) -> Error {
    let shown: String = text.chars().flat_map(char::escape_debug).collect();
    Error::new(ErrorKind::InvalidGlob, format!("'{shown}' is not a glob: at offset {offset}: {why}"))
}

#[cfg(test)]
mod tests;
