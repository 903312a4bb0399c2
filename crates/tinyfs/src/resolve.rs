//! From a path to a node, through symbolic links.

use std::ops::Bound;
use std::sync::Arc;

use crate::MAX_SYMLINKS;
use crate::error::{Error, ErrorKind, Result};
use crate::node::{Body, Node};
use crate::path::{PondPath, check_name};
use crate::state::State;

/// In a larger directory only names with the wanted first letter are compared, and this many at most.
const MAX_COMPARED_NAMES: usize = 10_000;
const MAX_SUGGESTIONS: usize = 3;

/// Where a path leads.
#[derive(Debug)]
pub(crate) enum Located {
    /// To a node.
    Found {
        /// The node's own path, through no link.
        path: PondPath,
        /// The node.
        node: Arc<Node>,
    },
    /// Nowhere.
    Missing(Missing),
}

/// How far a path leads before it ends.
#[derive(Debug)]
pub(crate) struct Missing {
    /// The deepest directory on the way, by its own path.
    pub(crate) directory: PondPath,
    /// That directory.
    pub(crate) node: Arc<Node>,
    /// What it does not hold: the first name, then the rest of the way. None when a link's target is such that nothing
    /// could be made there.
    pub(crate) names: Vec<Arc<str>>,
    /// The last link that was followed: its own path and its target.
    pub(crate) link: Option<(PondPath, Arc<str>)>,
}

/// The node that `path` leads to, and the node's own path.
///
/// Links on the way are followed; one at the end only if `follow_last`.
///
/// # Errors
/// - [`NotFound`](ErrorKind::NotFound): a name, or the target of a link, does not exist.
/// - [`NotADirectory`](ErrorKind::NotADirectory): something on the way holds no entries.
/// - [`SymlinkLoop`](ErrorKind::SymlinkLoop): more than [`MAX_SYMLINKS`] links on the way.
pub(crate) fn resolve(state: &State, path: &PondPath, follow_last: bool) -> Result<(PondPath, Arc<Node>)> {
    match locate(state, path, follow_last)? {
        Located::Found { path, node } => Ok((path, node)),
        Located::Missing(missing) => Err(missing.into_error(path)),
    }
}

/// As [`resolve`], for callers to whom a missing entry is no error: what exists of the way is told, and no suggestions
/// are searched.
///
/// # Errors
/// As [`resolve`], but never [`NotFound`](ErrorKind::NotFound).
pub(crate) fn locate(state: &State, path: &PondPath, follow_last: bool) -> Result<Located> {
    let mut walk = Walk {
        state,
        wanted: path,
        stack: vec![Arc::clone(state.root()?)],
        pending: path.components().rev().map(Arc::from).collect(),
        links: 0,
        link: None,
    };
    while let Some(name) = walk.pending.pop() {
        if let Some(missing) = walk.step(name, follow_last)? {
            return Ok(Located::Missing(missing));
        }
    }
    let path = real_path(&walk.stack)?;
    let node = walk.stack.pop().ok_or_else(above_root)?;
    Ok(Located::Found { path, node })
}

/// A walk down the tree as the kernel of an operating system does it: `..` in a link's target leaves the directory
/// that was really entered, not the one that the text names.
struct Walk<'a> {
    state: &'a State,
    wanted: &'a PondPath,
    /// The nodes from the root to where we are; all but the last are directories.
    stack: Vec<Arc<Node>>,
    /// The names still to go, last first.
    pending: Vec<Arc<str>>,
    links: usize,
    link: Option<(PondPath, Arc<str>)>,
}

impl Walk<'_> {
    fn step(&mut self, name: Arc<str>, follow_last: bool) -> Result<Option<Missing>> {
        let here = self.stack.last().ok_or_else(above_root)?;
        let Some(entries) = here.entries() else {
            let at = real_path(&self.stack)?;
            let message =
                format!("cannot reach '{}': '{at}' is a {}, not a directory", self.wanted, here.kind().as_str());
            return Err(Error::new(ErrorKind::NotADirectory, message).with_path(self.wanted));
        };
        if &*name == ".." {
            if self.stack.len() == 1 {
                return self.missing(Vec::new()).map(Some);
            }
            let _ = self.stack.pop();
            return Ok(None);
        }
        let Some(id) = entries.get(&name) else {
            let mut names = vec![name];
            names.extend(self.pending.drain(..).rev());
            // Only a link's target can hold `..` or what is no name; there is nothing that could be made then.
            if names.iter().any(|name| check_name(name).is_err()) {
                names.clear();
            }
            return self.missing(names).map(Some);
        };
        let node = self.state.node(*id).map(Arc::clone).ok_or_else(|| lost(self.wanted, &name))?;
        match &node.body {
            Body::Symlink(target) if follow_last || !self.pending.is_empty() => self.follow(&name, target),
            _ => {
                self.stack.push(node);
                Ok(None)
            }
        }
    }

    fn follow(&mut self, name: &str, target: &Arc<str>) -> Result<Option<Missing>> {
        self.links += 1;
        let link = real_path(&self.stack)?.child(name)?;
        if self.links > MAX_SYMLINKS {
            let message =
                format!("'{}' goes through more than {MAX_SYMLINKS} symbolic links, the last '{link}'", self.wanted);
            return Err(Error::new(ErrorKind::SymlinkLoop, message).with_path(self.wanted));
        }
        self.link = Some((link, Arc::clone(target)));
        if target.is_empty() {
            return self.missing(Vec::new()).map(Some);
        }
        if target.starts_with('/') {
            self.stack.truncate(1);
        }
        let names = target.split('/').rev().filter(|name| !name.is_empty() && *name != ".");
        self.pending.extend(names.map(Arc::from));
        Ok(None)
    }

    fn missing(&self, names: Vec<Arc<str>>) -> Result<Missing> {
        let node = Arc::clone(self.stack.last().ok_or_else(above_root)?);
        Ok(Missing { directory: real_path(&self.stack)?, node, names, link: self.link.clone() })
    }
}

impl Missing {
    /// The error of kind [`NotFound`](ErrorKind::NotFound) for the path that led here.
    pub(crate) fn into_error(self, wanted: &PondPath) -> Error {
        let mut message = format!("no entry '{wanted}'");
        if let Some((link, target)) = &self.link {
            message.push_str(&format!(": the link '{link}' leads to '{target}'"));
        }
        match self.names.first() {
            Some(name) => message.push_str(&format!(": {}", nearest(&self.directory, &self.node, name))),
            None => message.push_str(", which is nowhere in the pond"),
        }
        Error::new(ErrorKind::NotFound, message).with_path(wanted)
    }
}

/// Tells which entries of `directory` are nearest to `name`, as half a sentence: `'/locs' has 'BDock'`.
pub(crate) fn nearest(directory: &PondPath, node: &Node, name: &str) -> String {
    let Some(entries) = node.entries() else {
        return format!("'{directory}' is a {}", node.kind().as_str());
    };
    if entries.is_empty() {
        return format!("'{directory}' is empty");
    }
    let names = if entries.len() <= MAX_SUGGESTIONS {
        entries.keys().collect()
    } else if entries.len() <= MAX_COMPARED_NAMES {
        similar(entries.keys(), name)
    } else {
        let first: String = name.chars().take(1).collect();
        let same = entries.range::<_, str>((Bound::Included(first.as_str()), Bound::Unbounded)).map(|(name, _)| name);
        similar(same.take_while(|name| name.starts_with(&first)).take(MAX_COMPARED_NAMES), name)
    };
    if names.is_empty() {
        return format!("'{directory}' has nothing like '{name}'");
    }
    let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    format!("'{directory}' has {}", quoted.join(", "))
}

fn similar<'a>(names: impl Iterator<Item = &'a Arc<str>>, wanted: &str) -> Vec<&'a Arc<str>> {
    let wanted = wanted.to_lowercase();
    let length = wanted.chars().count();
    let limit = length.div_ceil(3).max(1);
    let mut ranked: Vec<(usize, &Arc<str>)> = names
        .filter_map(|name| {
            let lower = name.to_lowercase();
            // `temp` for `temp.series`: an ending left out is as near as one wrong letter.
            if lower.starts_with(&wanted) {
                return Some((1, name));
            }
            let apart = lower.chars().count().abs_diff(length);
            if apart > limit {
                return None;
            }
            let distance = strsim::osa_distance(&lower, &wanted);
            (distance <= limit).then_some((distance, name))
        })
        .collect();
    ranked.sort();
    ranked.into_iter().take(MAX_SUGGESTIONS).map(|(_, name)| name).collect()
}

fn real_path(stack: &[Arc<Node>]) -> Result<PondPath> {
    let mut text = String::new();
    for node in stack.iter().skip(1) {
        text.push('/');
        text.push_str(&node.name);
    }
    PondPath::parse(if text.is_empty() { "/" } else { &text })
}

fn lost(path: &PondPath, name: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the node of entry '{name}' is gone, on the way to '{path}'"))
        .with_path(path)
}

fn above_root() -> Error {
    Error::new(ErrorKind::Corrupt, "a walk left the root directory")
}

/// Builds trees for the tests of this crate.
#[cfg(test)]
pub(crate) mod tree {
    use super::*;
    use crate::clock::{Clock, SystemClock};
    use crate::log::{Action, Operation};
    use crate::node::{Attributes, EntryKind, NodeId, Txn};

    /// A tree of these entries, parents made as needed: `/dir/`, `/file`, `/link -> target`.
    pub(crate) fn tree(entries: &[&str]) -> State {
        let now = SystemClock.now();
        let mut state = State::empty(now);
        for entry in entries {
            let (path, target) = entry.split_once(" -> ").map_or((*entry, None), |(path, to)| (path, Some(to)));
            let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
            let mut parent = NodeId::ROOT;
            for (depth, name) in names.iter().enumerate() {
                let Body::Directory(held) = &state.node(parent).unwrap().body else { panic!("{path}") };
                if let Some(id) = held.get(*name) {
                    parent = *id;
                    continue;
                }
                let kind = match target {
                    _ if depth + 1 < names.len() || path.ends_with('/') => EntryKind::Directory,
                    Some(_) => EntryKind::Symlink,
                    None => EntryKind::File,
                };
                let text = (kind == EntryKind::Symlink).then(|| Arc::from(target.unwrap()));
                let action = Action::Create { kind, text, attributes: Attributes::default() };
                let node = NodeId::unique();
                let operation = Operation { node, parent, name: Arc::from(*name), action };
                state.apply_operation(&operation, Txn(1), now).unwrap();
                parent = node;
            }
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use super::tree::tree;
    use super::*;
    use crate::node::EntryKind;

    fn real(state: &State, path: &str) -> String {
        let (path, node) = resolve(state, &PondPath::parse(path).unwrap(), true).unwrap();
        assert_eq!(state.path_of(node.id).unwrap(), path);
        path.as_str().to_owned()
    }

    fn error(state: &State, path: &str) -> (ErrorKind, String) {
        let error = resolve(state, &PondPath::parse(path).unwrap(), true).unwrap_err();
        assert_eq!(error.path().unwrap().as_str(), path);
        (error.kind(), error.to_string())
    }

    #[test]
    fn links_lead_to_real_paths() {
        let state = tree(&[
            "/a/b/c/f",
            "/a/up -> ..",
            "/a/here -> ./b//c/",
            "/abs -> /a/b",
            "/twice -> abs/c",
            "/a/b/out -> ../../abs/c/../c/f",
            "/x/deep -> /a/b/c",
            "/x/physical -> deep/../out",
        ]);
        for (path, expected) in [
            ("/", "/"),
            ("/a/b/c/f", "/a/b/c/f"),
            ("/a/up", "/"),
            ("/a/up/a/up/a/b", "/a/b"),
            ("/a/here/f", "/a/b/c/f"),
            ("/abs", "/a/b"),
            ("/twice/f", "/a/b/c/f"),
            ("/abs/out", "/a/b/c/f"),
            // `..` leaves the directory that the link leads to, not the one that holds the link.
            ("/x/physical", "/a/b/c/f"),
        ] {
            assert_eq!(real(&state, path), expected, "{path}");
        }
    }

    #[test]
    fn the_last_link_is_followed_on_request() {
        let state = tree(&["/d/f", "/l -> d", "/d/m -> f"]);
        let path = PondPath::parse("/l/m").unwrap();
        let (unfollowed, node) = resolve(&state, &path, false).unwrap();
        assert_eq!((unfollowed.as_str(), node.kind()), ("/d/m", EntryKind::Symlink));
        let (followed, node) = resolve(&state, &path, true).unwrap();
        assert_eq!((followed.as_str(), node.kind()), ("/d/f", EntryKind::File));
    }

    #[test]
    fn not_found_names_what_is_near() {
        let state = tree(&[
            "/locs/BDock/a",
            "/locs/Pier",
            "/locs/Other",
            "/locs/Quay",
            "/t/temp.series",
            "/t/tamp",
            "/t/x",
            "/t/y",
            "/t/temq",
            "/t/teqm",
            "/e/",
        ]);
        for (path, message) in [
            ("/locs/BDok", "no entry '/locs/BDok': '/locs' has 'BDock'"),
            ("/locs/bdock/a/b", "no entry '/locs/bdock/a/b': '/locs' has 'BDock'"),
            ("/locs/zzzzzz", "no entry '/locs/zzzzzz': '/locs' has nothing like 'zzzzzz'"),
            ("/e/x", "no entry '/e/x': '/e' is empty"),
            ("/lcos", "no entry '/lcos': '/' has 'e', 'locs', 't'"),
            ("/t/temp", "no entry '/t/temp': '/t' has 'tamp', 'temp.series', 'temq'"),
        ] {
            assert_eq!(error(&state, path), (ErrorKind::NotFound, message.to_owned()));
        }
    }

    #[test]
    fn a_dangling_link_says_where_it_leads() {
        let state = tree(&["/d/l -> gone/x", "/d/up -> ../../x"]);
        let found = error(&state, "/d/l");
        assert_eq!(
            found,
            (ErrorKind::NotFound, "no entry '/d/l': the link '/d/l' leads to 'gone/x': '/d' has 'l', 'up'".to_owned())
        );
        let found = error(&state, "/d/up");
        assert_eq!(
            found,
            (
                ErrorKind::NotFound,
                "no entry '/d/up': the link '/d/up' leads to '../../x', which is nowhere in the pond".to_owned()
            )
        );
    }

    #[test]
    fn what_is_missing_is_told() {
        let state = tree(&["/d/x/", "/l -> d"]);
        let path = PondPath::parse("/l/new/deep/f").unwrap();
        let Located::Missing(missing) = locate(&state, &path, true).unwrap() else { panic!("it exists") };
        assert_eq!(missing.directory.as_str(), "/d");
        assert_eq!(state.path_of(missing.node.id).unwrap().as_str(), "/d");
        assert_eq!(missing.names, [Arc::from("new"), Arc::from("deep"), Arc::from("f")]);
        let state = tree(&["/l -> gone/../x"]);
        let found = locate(&state, &PondPath::parse("/l/f").unwrap(), true).unwrap();
        assert!(matches!(found, Located::Missing(missing) if missing.names.is_empty()));
    }

    #[test]
    fn a_file_is_no_directory() {
        let state = tree(&["/d/f", "/l -> d/f"]);
        for path in ["/d/f/x", "/l/x/y"] {
            let message = format!("cannot reach '{path}': '/d/f' is a file, not a directory");
            assert_eq!(error(&state, path), (ErrorKind::NotADirectory, message));
        }
    }

    #[test]
    fn loops_end() {
        let mut entries = vec!["/self -> self".to_owned(), "/a -> b".to_owned(), "/b -> a".to_owned()];
        entries.push("/l0/".to_owned());
        entries.extend((1..=41).map(|i| format!("/l{i} -> l{}", i - 1)));
        let state = tree(&entries.iter().map(String::as_str).collect::<Vec<_>>());
        for path in ["/self", "/a", "/b/x", "/l41"] {
            let (kind, message) = error(&state, path);
            assert_eq!(kind, ErrorKind::SymlinkLoop);
            assert!(message.starts_with(&format!("'{path}' goes through more than 40 symbolic links")), "{message}");
        }
        assert_eq!(real(&state, "/l40"), "/l0");
    }

    #[test]
    fn a_large_directory_is_searched_by_first_letter() {
        let mut entries: Vec<String> = (0..MAX_COMPARED_NAMES).map(|i| format!("/d/a{i:05}")).collect();
        entries.push("/d/sensor".to_owned());
        let state = tree(&entries.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(error(&state, "/d/sensr").1, "no entry '/d/sensr': '/d' has 'sensor'");
    }
}
