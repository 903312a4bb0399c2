//! Expanding a glob over a tree.

use std::cmp::Ordering;
use std::collections::hash_map::Entry as Slot;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::node::{Body, Node, NodeId};
use crate::path::{MAX_PATH_BYTES, PondPath};
use crate::resolve::{Located, locate};
use crate::snapshot::Entry;
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
pub enum LinkEnds {
    /// It stands for what it leads to.
    Follow,
    /// It is an entry itself.
    Keep,
}

/// All entries of a tree that `glob` matches, each once, sorted by path, with what the wildcards stand for.
///
/// # Errors
/// As [`entries`].
pub(crate) fn expand(state: &State, glob: &Glob) -> Result<Vec<GlobMatch>> {
    let captured = |Entry { path, node }| {
        let captures = glob.matches(&path)?.ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, format!("'{path}' was found by '{glob}', which does not match it"))
        })?;
        Ok(GlobMatch { path, node, captures })
    };
    entries(state, glob, LinkEnds::Follow)?.into_iter().map(captured).collect()
}

/// All entries of a tree that `glob` matches, each once, sorted by path.
///
/// Of several paths to a node its own wins, then the smallest. Links that lead nowhere match nothing.
///
/// # Errors
/// [`InvalidGlob`](ErrorKind::InvalidGlob) when repeated names need too much backtracking.
pub(crate) fn entries(state: &State, glob: &Glob, ends: LinkEnds) -> Result<Vec<Entry>> {
    let ways = if !state.has_symlinks() && glob.has_one_way() { Ways::One } else { Ways::Many };
    let mut walk = Walk {
        state,
        glob,
        ends,
        ways,
        open: BinaryHeap::new(),
        seen: HashSet::new(),
        found: Vec::new(),
        best: HashMap::new(),
        text: String::new(),
        steps: 0,
        bindings: 0,
    };
    let root = Arc::clone(state.root()?);
    if glob.0.segments.is_empty() {
        walk.found.push(Found { linked: false, path: PondPath::root(), node: root });
    } else {
        let chain = Arc::new(Chain { node: root.id, above: None });
        let depth = 0;
        let bindings = glob.unbound();
        walk.open.push(Place { linked: false, path: "/".to_owned(), node: root, chain, depth, segment: 0, bindings });
    }
    while let Some(place) = walk.open.pop() {
        walk.enter(&place)?;
    }
    let mut entries: Vec<Entry> = walk.found.into_iter().map(|Found { path, node, .. }| Entry { path, node }).collect();
    // They are sorted already, or nearly so, which a stable sort makes use of.
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

/// In how many ways the walk may come to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ways {
    One,
    Many,
}

/// A directory to look into for what matches the glob from one segment on.
struct Place {
    linked: bool,
    /// Ends with `/`.
    path: String,
    node: Arc<Node>,
    chain: Arc<Chain>,
    /// How many directories are above it.
    depth: usize,
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
    path: PondPath,
    node: Arc<Node>,
}

/// How deep a walk goes into directories at once, in the order of their entries; what is deeper waits for its turn.
const MAX_RECURSION: usize = 32;

/// Goes through places best path first, so that the first way to a place is the one to keep: what lies below is reached by
/// the same names from each of the ways. Places are told apart by node, segment and bindings, which bounds their number
/// however many links there are.
struct Walk<'a> {
    state: &'a State,
    glob: &'a Glob,
    ends: LinkEnds,
    ways: Ways,
    open: BinaryHeap<Place>,
    seen: HashSet<(NodeId, usize, Bindings)>,
    found: Vec<Found>,
    /// Where each node is in `found`, if there are many ways to it.
    best: HashMap<NodeId, usize>,
    /// Where paths are put together.
    text: String,
    /// What repeated names have cost, over all entries.
    steps: usize,
    /// How often an entry matched with one more text for a name.
    bindings: usize,
}

impl Walk<'_> {
    fn enter(&mut self, place: &Place) -> Result<()> {
        let Some(entries) = place.node.entries() else { return Ok(()) };
        if self.ways == Ways::Many && !self.seen.insert((place.node.id, place.segment, Arc::clone(&place.bindings))) {
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
            self.go_on(place.below(found, next, Arc::clone(bindings)))?;
        }
        Ok(())
    }

    /// Looks into a place, now or later: where there is one way only, it need not be the best.
    fn go_on(&mut self, place: Place) -> Result<()> {
        if self.ways == Ways::One && place.depth < MAX_RECURSION {
            return self.enter(&place);
        }
        self.open.push(place);
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
                depth: place.depth,
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
            let below = is_directory.then(|| {
                let below = Found { linked: found.linked, path: found.path.clone(), node: Arc::clone(&found.node) };
                place.below(below, place.segment, Arc::clone(&place.bindings))
            });
            if last && !is_kept {
                self.keep(found);
            }
            if let Some(below) = below {
                self.go_on(below)?;
            }
        }
        Ok(())
    }

    /// The entry as a result.
    fn end(&mut self, place: &Place, name: &str, id: NodeId) -> Result<Option<Found>> {
        let state = self.state;
        let own = || state.node(id).filter(|node| matches!(node.body, Body::Symlink(_)));
        match (self.ends, if state.has_symlinks() { own() } else { None }) {
            (LinkEnds::Keep, Some(node)) => {
                let Some(path) = self.path(place, name) else { return Ok(None) };
                Ok(Some(Found { linked: place.linked, path, node: Arc::clone(node) }))
            }
            _ => self.follow(place, name, id),
        }
    }

    /// What an entry leads to, through links.
    fn follow(&mut self, place: &Place, name: &str, id: NodeId) -> Result<Option<Found>> {
        let Some(path) = self.path(place, name) else { return Ok(None) };
        let node = self
            .state
            .node(id)
            .ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("the node of entry '{path}' is gone")))?;
        if !matches!(node.body, Body::Symlink(_)) {
            return Ok(Some(Found { linked: place.linked, path, node: Arc::clone(node) }));
        }
        match locate(self.state, &path, true) {
            Ok(Located::Found { node, .. }) => Ok(Some(Found { linked: true, path, node })),
            Ok(Located::Missing(_)) => Ok(None),
            Err(error) if matches!(error.kind(), ErrorKind::NotADirectory | ErrorKind::SymlinkLoop) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The path of an entry; nothing for one that links spell longer than a path may be, which nothing could open.
    fn path(&mut self, place: &Place, name: &str) -> Option<PondPath> {
        self.text.clear();
        self.text.push_str(&place.path);
        self.text.push_str(name);
        (self.text.len() <= MAX_PATH_BYTES).then(|| PondPath::of_entry(&self.text))
    }

    fn keep(&mut self, found: Found) {
        if self.ways == Ways::One {
            self.found.push(found);
            return;
        }
        match self.best.entry(found.node.id) {
            Slot::Vacant(slot) => {
                let _ = slot.insert(self.found.len());
                self.found.push(found);
            }
            Slot::Occupied(slot) => {
                let old = &mut self.found[*slot.get()];
                if (found.linked, &found.path) < (old.linked, &old.path) {
                    *old = found;
                }
            }
        }
    }
}

impl Place {
    fn below(&self, found: Found, segment: usize, bindings: Bindings) -> Self {
        let chain = Arc::new(Chain { node: found.node.id, above: Some(Arc::clone(&self.chain)) });
        let path = format!("{}/", found.path);
        Self { linked: found.linked, path, node: found.node, chain, depth: self.depth + 1, segment, bindings }
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
