//! Expanding a glob over a tree.

use std::cmp::Ordering;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::node::{Body, Node, NodeId};
use crate::path::{MAX_PATH_BYTES, PondPath};
use crate::resolve::{Located, locate};
use crate::state::State;

use super::component::Component;
use super::solver::TooHard;
use super::{Bindings, Captures, Glob, Segment};

/// Bounds the time that repeated names may take in a large tree, here a few seconds.
const MAX_WALK_STEPS: usize = 50_000_000;
/// Bounds the memory that repeated names may take.
const MAX_BINDINGS: usize = 1_000_000;

/// An entry that a glob matches, of whatever kind.
#[derive(Debug, Clone)]
pub struct GlobMatch {
    /// The path that matched. It goes through symbolic links only where the entry's own path does not match.
    pub path: PondPath,
    /// The node there: what a symbolic link leads to, unless links were asked for.
    pub node: Arc<Node>,
    /// What the wildcards stand for in the path.
    pub captures: Captures,
}

/// What a glob makes of a symbolic link that its last segment matches. Links on the way are always followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkEnds {
    /// It stands for what it leads to.
    Follow,
    /// It is an entry itself.
    Keep,
}

/// All entries of a tree that `glob` matches, each once, sorted by path.
///
/// Of several paths to a node its own wins, then the smallest. Links that lead nowhere match nothing.
///
/// # Errors
/// [`InvalidGlob`](ErrorKind::InvalidGlob) when repeated names need too much backtracking.
pub(crate) fn expand(state: &State, glob: &Glob, ends: LinkEnds) -> Result<Vec<GlobMatch>> {
    let mut walk = Walk {
        state,
        glob,
        ends,
        open: BinaryHeap::new(),
        seen: HashSet::new(),
        found: HashMap::new(),
        steps: 0,
        bindings: 0,
    };
    let root = Arc::clone(state.root()?);
    if glob.0.segments.is_empty() {
        let _ = walk.found.insert(root.id, Found { linked: false, path: "/".to_owned(), node: root });
    } else {
        let chain = Arc::new(Chain { node: root.id, above: None });
        let bindings = glob.unbound();
        walk.open.push(Place { linked: false, path: "/".to_owned(), node: root, chain, segment: 0, bindings });
    }
    while let Some(place) = walk.open.pop() {
        walk.enter(&place)?;
    }
    let mut matches = Vec::with_capacity(walk.found.len());
    for Found { path, node, .. } in walk.found.into_values() {
        let path = PondPath::parse(&path)?;
        let captures = glob.matches(&path)?.ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, format!("'{path}' was found by '{glob}', which does not match it"))
        })?;
        matches.push(GlobMatch { path, node, captures });
    }
    matches.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(matches)
}

/// A directory to look into for what matches the glob from one segment on.
struct Place {
    linked: bool,
    /// Ends with `/`.
    path: String,
    node: Arc<Node>,
    chain: Arc<Chain>,
    segment: usize,
    bindings: Bindings,
}

/// The directories on the way from the root.
struct Chain {
    node: NodeId,
    above: Option<Arc<Self>>,
}

struct Found {
    linked: bool,
    path: String,
    node: Arc<Node>,
}

/// Goes through places best path first, so that the first way to a place is the one to keep: what lies below is reached by
/// the same names from each of the ways. Places are told apart by node, segment and bindings, which bounds their number
/// however many links there are.
struct Walk<'a> {
    state: &'a State,
    glob: &'a Glob,
    ends: LinkEnds,
    open: BinaryHeap<Place>,
    seen: HashSet<(NodeId, usize, Bindings)>,
    found: HashMap<NodeId, Found>,
    /// What repeated names have cost, over all entries.
    steps: usize,
    /// How often an entry matched with one more text for a name.
    bindings: usize,
}

impl Walk<'_> {
    fn enter(&mut self, place: &Place) -> Result<()> {
        let Some(entries) = place.node.entries() else { return Ok(()) };
        if !self.seen.insert((place.node.id, place.segment, Arc::clone(&place.bindings))) {
            return Ok(());
        }
        match &self.glob.0.segments[place.segment] {
            Segment::Literal(name) => match entries.get(name) {
                Some(id) => self.arrive(place, name, *id, &place.bindings),
                None => Ok(()),
            },
            Segment::Component(component) => {
                let (prefix, complete) = component.prefix(&place.bindings);
                if complete {
                    return match entries.get_key_value(prefix.as_str()) {
                        Some((name, id)) => self.test(place, component, name, *id),
                        None => Ok(()),
                    };
                }
                let from = entries.range::<_, str>((Bound::Included(prefix.as_str()), Bound::Unbounded));
                for (name, id) in from.take_while(|(name, _)| name.starts_with(&prefix)) {
                    self.test(place, component, name, *id)?;
                }
                Ok(())
            }
            Segment::AnyDepth(_) => self.descend(place, entries),
        }
    }

    fn test(&mut self, place: &Place, component: &Component, name: &str, id: NodeId) -> Result<()> {
        let mut steps = 0;
        let solutions = component.solve(name, &place.bindings, &mut steps).map_err(|TooHard| self.glob.too_hard())?;
        self.steps += steps;
        self.bindings += solutions.len().saturating_sub(1);
        if self.steps > MAX_WALK_STEPS || self.bindings > MAX_BINDINGS {
            return Err(self.glob.too_hard());
        }
        for solution in solutions {
            let bound = component.bind(name, &solution, &place.bindings);
            self.arrive(place, name, id, &self.glob.live(&bound, place.segment + 1))?;
        }
        Ok(())
    }

    /// The entry matches the segment of `place`: it is a result, or where the next segment goes on.
    fn arrive(&mut self, place: &Place, name: &str, id: NodeId, bindings: &Bindings) -> Result<()> {
        let next = place.segment + 1;
        if next == self.glob.0.segments.len() {
            if let Some(found) = self.end(place, name, id)? {
                self.keep(found);
            }
            return Ok(());
        }
        let Some(found) = self.follow(place, name, id)? else { return Ok(()) };
        if found.node.kind().holds_entries() {
            self.open.push(place.below(found, next, Arc::clone(bindings)));
        }
        Ok(())
    }

    fn descend(&mut self, place: &Place, entries: &imbl::OrdMap<Arc<str>, NodeId>) -> Result<()> {
        let last = place.segment + 1 == self.glob.0.segments.len();
        if !last {
            self.enter(&Place {
                linked: place.linked,
                path: place.path.clone(),
                node: Arc::clone(&place.node),
                chain: Arc::clone(&place.chain),
                segment: place.segment + 1,
                bindings: Arc::clone(&place.bindings),
            })?;
        }
        for (name, id) in entries {
            let kept = if last && self.ends == LinkEnds::Keep { self.end(place, name, *id)? } else { None };
            let is_kept = kept.is_some();
            if let Some(link) = kept {
                self.keep(link);
            }
            let Some(found) = self.follow(place, name, *id)? else { continue };
            let is_directory = found.node.kind().holds_entries();
            if is_directory && place.chain.holds(found.node.id) {
                continue;
            }
            if is_directory {
                let below = Found { linked: found.linked, path: found.path.clone(), node: Arc::clone(&found.node) };
                self.open.push(place.below(below, place.segment, Arc::clone(&place.bindings)));
            }
            if last && !is_kept {
                self.keep(found);
            }
        }
        Ok(())
    }

    /// The entry as a result.
    fn end(&self, place: &Place, name: &str, id: NodeId) -> Result<Option<Found>> {
        let own = self.state.node(id).filter(|node| matches!(node.body, Body::Symlink(_)));
        match (self.ends, own) {
            (LinkEnds::Keep, Some(node)) => {
                Ok(Some(Found { linked: place.linked, path: format!("{}{name}", place.path), node: Arc::clone(node) }))
            }
            _ => self.follow(place, name, id),
        }
    }

    /// What an entry leads to, through links.
    fn follow(&self, place: &Place, name: &str, id: NodeId) -> Result<Option<Found>> {
        let mut path = String::with_capacity(place.path.len() + name.len() + 1);
        path.push_str(&place.path);
        path.push_str(name);
        // Links can spell longer paths than a path may be; nothing could open such a result.
        if path.len() > MAX_PATH_BYTES {
            return Ok(None);
        }
        let node = self
            .state
            .node(id)
            .ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("the node of entry '{path}' is gone")))?;
        if !matches!(node.body, Body::Symlink(_)) {
            return Ok(Some(Found { linked: place.linked, path, node: Arc::clone(node) }));
        }
        match locate(self.state, &PondPath::parse(&path)?, true) {
            Ok(Located::Found { node, .. }) => Ok(Some(Found { linked: true, path, node })),
            Ok(Located::Missing(_)) => Ok(None),
            Err(error) if matches!(error.kind(), ErrorKind::NotADirectory | ErrorKind::SymlinkLoop) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn keep(&mut self, found: Found) {
        match self.found.entry(found.node.id) {
            Entry::Vacant(entry) => {
                let _ = entry.insert(found);
            }
            Entry::Occupied(mut entry) => {
                let old = entry.get();
                if (found.linked, &found.path) < (old.linked, &old.path) {
                    let _ = entry.insert(found);
                }
            }
        }
    }
}

impl Place {
    fn below(&self, found: Found, segment: usize, bindings: Bindings) -> Self {
        let chain = Arc::new(Chain { node: found.node.id, above: Some(Arc::clone(&self.chain)) });
        let mut path = found.path;
        path.push('/');
        Self { linked: found.linked, path, node: found.node, chain, segment, bindings }
    }
}

impl Chain {
    fn holds(&self, node: NodeId) -> bool {
        let mut at = Some(self);
        while let Some(link) = at {
            if link.node == node {
                return true;
            }
            at = link.above.as_deref();
        }
        false
    }
}

/// The best place is the greatest: paths through no link first, then the smallest.
impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.linked, &other.path, other.segment).cmp(&(self.linked, &self.path, self.segment))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Place {}
