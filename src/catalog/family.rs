//! [`Family`]: a view with captures in its name, which stands for one derived file for each text that they match.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tinyfs::{Attributes, EntryKind, Glob, Node, NodeId, PondPath, Snapshot};
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};

/// The attribute of a view that makes it a family: where the texts of its captures come from.
const FAMILY: &str = "family";
/// The attribute of a member: its family's node and path, and the texts of its captures. Members are stored nowhere.
const MEMBER: &str = "member";

/// The texts that stand for the captures of a family, in their order in its name.
pub(crate) type Texts = Vec<Arc<str>>;

/// A path with captures: `/hourly/{site}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    components: Vec<Vec<Piece>>,
    captures: Vec<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Capture(usize),
}

impl Template {
    /// Reads the path of a view; `None` where it has no braces.
    ///
    /// # Errors
    /// [`ErrorKind::Syntax`] for braces that are no captures, and for other wildcards beside them.
    pub(crate) fn parse(path: &PondPath) -> Result<Option<Self>> {
        if !path.as_str().contains(['{', '}']) {
            return Ok(None);
        }
        let refuse = || {
            let message = format!(
                "'{path}' cannot name a family of views: beside its captures, such as {{site}}, it can have neither braces nor wildcards"
            );
            Error::new(ErrorKind::Syntax, message).with_path(path)
        };
        let glob = Glob::parse(path.as_str())?;
        let captures = glob.capture_names().to_vec();
        let mut components = Vec::new();
        for component in path.components() {
            let mut pieces = Vec::new();
            let mut rest = component;
            while let Some((text, after)) = rest.split_once('{') {
                let (name, after) = after.split_once('}').ok_or_else(refuse)?;
                let capture = captures.iter().position(|capture| **capture == *name).ok_or_else(refuse)?;
                pieces.extend((!text.is_empty()).then(|| Piece::Text(text.to_owned())));
                pieces.push(Piece::Capture(capture));
                rest = after;
            }
            pieces.extend((!rest.is_empty()).then(|| Piece::Text(rest.to_owned())));
            components.push(pieces);
        }
        let mut texts = components.iter().flatten().filter_map(|piece| match piece {
            Piece::Text(text) => Some(text),
            Piece::Capture(_) => None,
        });
        if texts.any(|text| text.contains(['*', '?', '[', '{', '}'])) {
            return Err(refuse());
        }
        Ok(Some(Self { components, captures }))
    }

    /// The names in braces, each once.
    pub(crate) fn captures(&self) -> &[Arc<str>] {
        &self.captures
    }

    /// The path of the member with these texts; `None` where they make no name, such as the empty text alone.
    pub(crate) fn member(&self, texts: &[Arc<str>]) -> Option<PondPath> {
        let mut path = PondPath::root();
        for pieces in &self.components {
            let mut name = String::new();
            for piece in pieces {
                match piece {
                    Piece::Text(text) => name.push_str(text),
                    Piece::Capture(capture) => name.push_str(texts.get(*capture)?),
                }
            }
            path = path.child(&name).ok()?;
        }
        Some(path)
    }

    /// A path that only globs match which match the members whatever their texts are.
    pub(crate) fn any_member(&self) -> Option<PondPath> {
        let texts: Texts = self.captures.iter().map(|_| Arc::from("\u{1}any")).collect();
        self.member(&texts)
    }

    /// Whether the names that this makes are such as `other` makes, or lie below such names: the one may make what the
    /// other makes, then.
    pub(crate) fn runs_into(&self, other: &Self) -> bool {
        let is_same = |pieces: (&Piece, &Piece)| match pieces {
            (Piece::Text(one), Piece::Text(two)) => one == two,
            (Piece::Capture(_), Piece::Capture(_)) => true,
            _ => false,
        };
        let mut both = self.components.iter().zip(&other.components);
        self.components.len() >= other.components.len()
            && both.all(|(one, two)| one.len() == two.len() && one.iter().zip(two).all(is_same))
    }

    /// Texts with the names of their captures, for messages.
    fn described<'a>(&self, texts: impl Iterator<Item = (usize, &'a Arc<str>)>) -> String {
        let described = texts.filter_map(|(at, text)| Some(format!("{{{}}} = '{text}'", self.captures.get(at)?)));
        described.collect::<Vec<_>>().join(", ")
    }

    /// The directory that all members lie below.
    fn base(&self) -> Option<PondPath> {
        let literal = self.components.iter().map_while(|pieces| match pieces.as_slice() {
            [Piece::Text(text)] => Some(text.as_str()),
            _ => None,
        });
        literal.into_iter().try_fold(PondPath::root(), |path, name| path.child(name).ok())
    }
}

/// Where texts of captures come from, as it is kept with the family's node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Supplier {
    /// What a glob in the text matches.
    Glob(String),
    /// The rows of a `VALUES` in the text, in the columns that are named like captures.
    Values {
        /// The captures, by their place in the family's name.
        captures: Vec<usize>,
        /// A text for each of them.
        rows: Vec<Vec<String>>,
    },
}

impl Supplier {
    /// Puts the suppliers of a family among its attributes.
    pub(crate) fn keep(suppliers: &[Self], attributes: &Attributes) -> Result<Attributes> {
        Ok(attributes.with(FAMILY, to_json(&suppliers)?))
    }

    /// Reads them; `None` for a view that is no family.
    pub(crate) fn read(attributes: &Attributes, path: &PondPath) -> Result<Option<Vec<Self>>> {
        attributes.get(FAMILY).map(|text| from_json(text, path)).transpose()
    }
}

/// What a member is a member of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// The family's node.
    pub(crate) family: NodeId,
    /// The family's path, with the captures in it.
    pub(crate) path: PondPath,
    /// What stands for the captures.
    pub(crate) texts: Texts,
    /// The family, and the texts, of another member that has the same path.
    also: Option<(PondPath, Texts)>,
}

/// A [`Member`] as an attribute.
#[derive(Serialize, Deserialize)]
struct MemberText {
    family: String,
    path: String,
    texts: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    also: Option<(String, Vec<String>)>,
}

impl Member {
    /// Reads the attributes of a node; `None` for everything that is no member of a family.
    pub(crate) fn of(node: &Node) -> Result<Option<Self>> {
        let Some(text) = node.attributes.get(MEMBER) else { return Ok(None) };
        let MemberText { family, path, texts, also } = from_json(text, &PondPath::root())?;
        let family = Uuid::parse_str(&family).map_err(|error| {
            Error::new(ErrorKind::Corrupt, format!("the family '{path}' is damaged")).with_source(error)
        })?;
        let read = |texts: Vec<String>| -> Texts { texts.into_iter().map(Arc::from).collect() };
        let also = match also {
            Some((path, texts)) => Some((PondPath::parse(&path)?, read(texts))),
            None => None,
        };
        Ok(Some(Self { family: NodeId(family), path: PondPath::parse(&path)?, texts: read(texts), also }))
    }

    /// Refuses to read the member at `path` where another one has that path too: nobody could tell whose rows these are.
    ///
    /// # Errors
    /// [`ErrorKind::Plan`], with the texts of both.
    pub(crate) fn check(&self, path: &PondPath) -> Result<()> {
        let Some((other, others)) = &self.also else { return Ok(()) };
        let described = |family: &PondPath, texts: &Texts| -> Result<String> {
            Ok(Template::parse(family)?
                .map(|template| template.described(texts.iter().enumerate()))
                .unwrap_or_default())
        };
        let (one, two) = (described(&self.path, &self.texts)?, described(other, others)?);
        let message = if self.path == *other {
            format!(
                "'{path}' is two members of the family '{other}', that of {one} and that of {two}; captures that are names of their own, with '/' between them, keep such members apart"
            )
        } else {
            format!(
                "'{path}' is a member of two families, of '{}' with {one} and of '{other}' with {two}; ALTER TABLE '{other}' RENAME TO '…' gives that one other names",
                self.path
            )
        };
        Err(Error::new(ErrorKind::Plan, message).with_path(path))
    }
}

/// Whether a node is a family itself, which is no table; its members are.
pub(crate) fn is_family(node: &Node) -> bool {
    node.attributes.get(FAMILY).is_some() && node.attributes.get(MEMBER).is_none()
}

/// A family as it is in one state of a pond.
#[derive(Debug, Clone)]
pub(crate) struct Family {
    pub(crate) node: Arc<Node>,
    pub(crate) path: PondPath,
    template: Template,
    base: PondPath,
    sources: Vec<Source>,
}

#[derive(Debug, Clone)]
enum Source {
    /// With the family's capture, if any, for each of the glob's.
    Glob(Glob, Vec<Option<usize>>),
    Values(Relation),
}

/// Texts of some of a family's captures.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Relation {
    captures: Vec<usize>,
    rows: BTreeSet<Texts>,
}

impl Family {
    /// The family that a view at `path` is; `None` for a plain view.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`]; [`ErrorKind::Plan`] where nothing supplies one of the captures.
    pub(crate) fn read(node: &Arc<Node>, path: PondPath) -> Result<Option<Self>> {
        let Some(suppliers) = Supplier::read(&node.attributes, &path)? else { return Ok(None) };
        let damaged = || Error::new(ErrorKind::Corrupt, format!("the family '{path}' has no captures"));
        let template = Template::parse(&path)?.ok_or_else(damaged)?;
        let base = template.base().ok_or_else(damaged)?;
        let mut sources = Vec::new();
        for supplier in suppliers {
            sources.push(match supplier {
                Supplier::Glob(text) => {
                    let glob = Glob::parse(&text)?;
                    let index = |name: &Arc<str>| template.captures.iter().position(|capture| **capture == **name);
                    let captures = glob.capture_names().iter().map(index).collect();
                    Source::Glob(glob, captures)
                }
                Supplier::Values { captures, rows } => {
                    let mut order: Vec<usize> = (0..captures.len()).collect();
                    order.sort_by_key(|at| captures[*at]);
                    let sorted = |row: Vec<String>| {
                        order.iter().filter_map(|at| row.get(*at).map(|text| Arc::from(text.as_str()))).collect()
                    };
                    let rows = rows.into_iter().map(sorted).collect();
                    Source::Values(Relation { captures: order.iter().map(|at| captures[*at]).collect(), rows })
                }
            });
        }
        let family = Self { node: Arc::clone(node), path, template, base, sources };
        for (at, capture) in family.template.captures.iter().enumerate() {
            if !family.sources.iter().any(|source| source.captures().contains(&at)) {
                let message = format!(
                    "nothing supplies the capture {{{capture}}} of '{}': a glob in its query must have it, or a VALUES with a column named '{capture}'",
                    family.path
                );
                return Err(Error::new(ErrorKind::Plan, message).with_path(&family.path));
            }
        }
        Ok(Some(family))
    }

    /// The path with captures.
    pub(crate) fn template(&self) -> &Template {
        &self.template
    }

    /// The directory that all members lie below.
    pub(crate) fn base(&self) -> &PondPath {
        &self.base
    }

    /// The globs that tell which members there are.
    pub(crate) fn globs(&self) -> impl Iterator<Item = &Glob> {
        self.sources.iter().filter_map(|source| match source {
            Source::Glob(glob, _) => Some(glob),
            Source::Values(_) => None,
        })
    }

    /// Whether a glob of this family may match members of `other`, as far as their texts say.
    pub(crate) fn may_read(&self, other: &Self) -> bool {
        self.globs().any(|glob| overlap(&glob.base(), &other.base))
    }

    /// The texts of all members, as `snapshot` has them.
    ///
    /// Sources of the same captures are united. Of the others, one whose captures another has too adds nothing; the rest
    /// are joined, so that each text of `{site}` goes with each of `{res}`.
    pub(crate) fn texts(&self, snapshot: &Snapshot) -> Result<BTreeSet<Texts>> {
        let mut relations: Vec<Relation> = Vec::new();
        for source in &self.sources {
            let relation = source.relation(snapshot)?;
            match relations.iter_mut().find(|known| known.captures == relation.captures) {
                Some(known) => known.rows.extend(relation.rows),
                None => relations.push(relation),
            }
        }
        let covers = |one: &Relation, other: &Relation| {
            one.captures.len() > other.captures.len() && other.captures.iter().all(|at| one.captures.contains(at))
        };
        let maximal = relations.iter().filter(|one| !relations.iter().any(|other| covers(other, one)));
        let none = Relation { captures: Vec::new(), rows: BTreeSet::from([Vec::new()]) };
        Ok(maximal.fold(none, |joined, relation| joined.join(relation)).rows)
    }

    /// The attributes of a member.
    pub(crate) fn member_attributes(&self, texts: &Texts) -> Result<Attributes> {
        let member = MemberText {
            family: self.node.id.to_string(),
            path: self.path.to_string(),
            texts: texts.iter().map(ToString::to_string).collect(),
            also: None,
        };
        Ok(self.node.attributes.with(MEMBER, to_json(&member)?))
    }

    /// The attributes of a member that has the path of this family's member with these texts: who reads it is told.
    pub(crate) fn shared_attributes(&self, member: &Attributes, texts: &Texts) -> Result<Attributes> {
        let Some(text) = member.get(MEMBER) else { return Ok(member.clone()) };
        let mut shared: MemberText = from_json(text, &self.path)?;
        if shared.also.is_none() {
            shared.also = Some((self.path.to_string(), texts.iter().map(ToString::to_string).collect()));
        }
        Ok(member.with(MEMBER, to_json(&shared)?))
    }

    /// The error for texts that make no member.
    pub(crate) fn nameless(&self, texts: &Texts) -> Error {
        self.no_name(&self.template.described(texts.iter().enumerate()))
    }

    fn no_name(&self, texts: &str) -> Error {
        let path = &self.path;
        let message = format!(
            "{texts} makes no member of the family '{path}': a name is not empty, is not '.' or '..', has no '/', and has 255 bytes at most"
        );
        Error::new(ErrorKind::Plan, message).with_path(path)
    }

    /// Refuses texts in lists of `VALUES` that make no member, whatever the other captures are.
    ///
    /// # Errors
    /// As [`nameless`](Self::nameless).
    pub(crate) fn check_values(&self) -> Result<()> {
        for source in &self.sources {
            let Source::Values(Relation { captures, rows }) = source else { continue };
            for row in rows {
                let mut texts: Texts = self.template.captures.iter().map(|_| Arc::from("any")).collect();
                for (capture, text) in captures.iter().zip(row) {
                    texts[*capture] = Arc::clone(text);
                }
                if self.template.member(&texts).is_none() {
                    return Err(self.no_name(&self.template.described(captures.iter().copied().zip(row))));
                }
            }
        }
        Ok(())
    }
}

impl Source {
    fn captures(&self) -> Vec<usize> {
        match self {
            Self::Glob(_, captures) => {
                captures.iter().flatten().copied().collect::<BTreeSet<_>>().into_iter().collect()
            }
            Self::Values(relation) => relation.captures.clone(),
        }
    }

    fn relation(&self, snapshot: &Snapshot) -> Result<Relation> {
        let (glob, places) = match self {
            Self::Values(relation) => return Ok(relation.clone()),
            Self::Glob(glob, places) => (glob, places),
        };
        let captures = self.captures();
        let mut rows = BTreeSet::new();
        for found in snapshot.glob(glob)? {
            if !matches!(found.node.kind(), EntryKind::File | EntryKind::View | EntryKind::Dynamic) {
                continue;
            }
            let texts: BTreeMap<usize, Arc<str>> =
                places.iter().zip(found.captures.named).filter_map(|(place, text)| Some(((*place)?, text))).collect();
            let _ = rows.insert(texts.into_values().collect());
        }
        Ok(Relation { captures, rows })
    }
}

impl Relation {
    fn join(&self, other: &Self) -> Self {
        let captures: BTreeSet<usize> = self.captures.iter().chain(&other.captures).copied().collect();
        let mut rows = BTreeSet::new();
        for one in &self.rows {
            let known: BTreeMap<usize, &Arc<str>> = self.captures.iter().copied().zip(one).collect();
            for two in &other.rows {
                let mut all = known.clone();
                let agrees = other.captures.iter().zip(two).all(|(at, text)| *all.entry(*at).or_insert(text) == text);
                if agrees {
                    let _ = rows.insert(all.into_values().map(Arc::clone).collect());
                }
            }
        }
        Self { captures: captures.into_iter().collect(), rows }
    }
}

/// Whether what lies below one of two directories may lie below the other.
pub(crate) fn overlap(one: &PondPath, other: &PondPath) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

fn to_json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::new(ErrorKind::Execution, "the family cannot be written down").with_source(error))
}

fn from_json<T: for<'a> Deserialize<'a>>(text: &str, path: &PondPath) -> Result<T> {
    serde_json::from_str(text).map_err(|error| {
        Error::new(ErrorKind::Corrupt, format!("the family '{path}' is damaged")).with_path(path).with_source(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Result<Option<Template>> {
        Template::parse(&PondPath::parse(text).unwrap())
    }

    fn texts(texts: &[&str]) -> Texts {
        texts.iter().map(|text| Arc::from(*text)).collect()
    }

    #[test]
    fn a_template_makes_paths() {
        let one = template("/r/{site}/x-{res}.{site}").unwrap().unwrap();
        assert_eq!(one.captures(), texts(&["site", "res"]).as_slice());
        assert_eq!(one.member(&texts(&["a", "1h"])).unwrap().as_str(), "/r/a/x-1h.a");
        assert_eq!(one.base().unwrap().as_str(), "/r");
        assert_eq!(one.member(&texts(&["", "1h"])), None);
        assert_eq!(one.member(&texts(&["a/b", "1h"])), None);
        assert_eq!(template("/plain").unwrap(), None);
        for wrong in ["/a/{b,c}", "/a/{b", "/a/b}", "/a/{b}*", "/a/{}", "/a/{1x}", "/a/{b}?"] {
            assert_eq!(template(wrong).unwrap_err().kind(), ErrorKind::Syntax, "{wrong}");
        }
    }

    #[test]
    fn templates_run_into_each_other() {
        let runs = |one: &str, two: &str| template(one).unwrap().unwrap().runs_into(&template(two).unwrap().unwrap());
        assert!(runs("/all/{site}", "/all/{other}") && runs("/all/{other}", "/all/{site}"));
        assert!(runs("/r/{site}/{res}", "/r/{place}") && !runs("/r/{place}", "/r/{site}/{res}"));
        assert!(!runs("/all/{site}", "/some/{site}") && !runs("/all/{site}", "/all/x-{site}"));
    }

    #[test]
    fn relations_join_on_what_they_share() {
        let relation = |captures: &[usize], rows: &[&[&str]]| Relation {
            captures: captures.to_vec(),
            rows: rows.iter().map(|row| texts(row)).collect(),
        };
        let sites = relation(&[0], &[&["a"], &["b"]]);
        assert_eq!(
            sites.join(&relation(&[1], &[&["1h"], &["1d"]])).rows,
            relation(&[0, 1], &[&["a", "1d"], &["a", "1h"], &["b", "1d"], &["b", "1h"]]).rows
        );
        assert_eq!(
            sites.join(&relation(&[0, 1], &[&["b", "x"], &["c", "y"]])).rows,
            relation(&[0, 1], &[&["b", "x"]]).rows
        );
    }
}
