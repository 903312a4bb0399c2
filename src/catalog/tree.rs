//! [`Tree`]: a pond as names see it, where each family of views shows as its members, and a dynamic directory shows what its factory lists.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tinyfs::{
    Action, Attributes, Body, Entry, EntryKind, Glob, GlobMatch, LinkEnds, Node, NodeId, Operation, PondPath, Snapshot,
    State,
};
use uuid::Uuid;

use crate::catalog::family::{Family, Member, Texts, is_family, overlap};
use crate::catalog::listed::{Listed, ListedDirectories, Lister};
use crate::error::{Error, ErrorKind, Result};

/// A snapshot in which each family of views shows as its members, and each dynamic directory what its factory lists. They are found when
/// something is asked for that may be one, and not before. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Tree(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    stored: Snapshot,
    lister: Lister,
    families: OnceLock<Vec<Family>>,
    listed: OnceLock<ListedDirectories>,
    /// By the dynamic directories that were listed for it.
    expanded: Mutex<Vec<(Vec<NodeId>, Arc<Expanded>)>>,
    /// The listing that was asked for last: who looks around in a large pond looks more than once.
    listing: Mutex<Option<Listing>>,
    /// The glob whose data was asked for last, and what it matches.
    matched: Mutex<Option<(Glob, Arc<Vec<GlobMatch>>)>>,
}

/// A glob that matches more entries than this is looked up anew each time.
const KEPT_MATCHES: usize = 100_000;

/// What a glob matches.
#[derive(Debug)]
struct Listing {
    glob: Glob,
    ends: LinkEnds,
    entries: Arc<Vec<Entry>>,
}

/// A snapshot with the members of all families in place of the families.
#[derive(Debug)]
struct Expanded {
    snapshot: Snapshot,
    /// Of each family.
    memberships: HashMap<NodeId, Membership>,
    /// The dynamic directories that could not be listed, and why.
    failed: Vec<(PondPath, Arc<Error>)>,
}

/// What has become of a family's members.
#[derive(Debug, Clone, Default)]
pub(crate) struct Membership {
    /// How many there are, those included that are not shown.
    pub(crate) all: usize,
    /// How many have an entry of their own.
    pub(crate) shown: usize,
    /// Why another has none, where that is not for something real that has its path.
    pub(crate) lost: Option<Arc<Error>>,
}

/// The tree of the newest state that was asked for.
#[derive(Debug, Default)]
pub(crate) struct TreeCache(Mutex<Option<Tree>>);

impl TreeCache {
    /// The tree of `snapshot`: the same one as long as the pond stays as it is, unless a factory may show something else by now.
    pub(crate) fn tree(&self, snapshot: Snapshot, lister: Lister) -> Tree {
        let mut newest = self.0.lock();
        match &*newest {
            Some(tree) if Arc::ptr_eq(tree.stored().state(), snapshot.state()) && tree.listed().is_empty() => {
                tree.clone()
            }
            _ => newest.insert(Tree::new(snapshot, lister)).clone(),
        }
    }
}

impl Tree {
    pub(crate) fn new(stored: Snapshot, lister: Lister) -> Self {
        let (families, listed) = (OnceLock::new(), OnceLock::new());
        Self(Arc::new(Inner {
            stored,
            lister,
            families,
            listed,
            expanded: Mutex::default(),
            listing: Mutex::default(),
            matched: Mutex::default(),
        }))
    }

    /// What is stored: families as entries of their own.
    pub(crate) fn stored(&self) -> &Snapshot {
        &self.0.stored
    }

    /// As [`Snapshot::lookup`].
    pub(crate) fn lookup(&self, path: &PondPath) -> Result<Entry> {
        self.look(path, |snapshot| snapshot.lookup(path))
    }

    /// As [`Snapshot::list`].
    pub(crate) fn list(&self, path: &PondPath) -> Result<Vec<Entry>> {
        let Some(expanded) = self.expanded_around(path, |_| true)? else { return Ok(self.stored().list(path)?) };
        let found = expanded.snapshot.list(path)?;
        expanded.check(|failed| path.starts_with(failed))?;
        Ok(found)
    }

    /// As [`Snapshot::glob`], for those who read what is found: a directory that cannot be listed, and that the glob reaches into, is an error.
    pub(crate) fn glob(&self, glob: &Glob) -> Result<Arc<Vec<GlobMatch>>> {
        if let Some((_, found)) = self.0.matched.lock().as_ref().filter(|(known, _)| known == glob) {
            return Ok(Arc::clone(found));
        }
        let found = match self.expanded_for(glob)? {
            None => self.stored().glob(glob)?,
            Some(expanded) => {
                expanded.check(|failed| glob.reaches_below(failed))?;
                expanded.snapshot.glob(glob)?
            }
        };
        let found = Arc::new(found);
        *self.0.matched.lock() = (found.len() <= KEPT_MATCHES).then(|| (glob.clone(), Arc::clone(&found)));
        Ok(found)
    }

    /// As [`Snapshot::glob_entries`]. Where links are kept, the entries are for a listing: a directory that cannot be listed shows what is
    /// stored in it, unless it is the one that was asked for.
    pub(crate) fn glob_entries(&self, glob: &Glob, ends: LinkEnds) -> Result<Arc<Vec<Entry>>> {
        let mut kept = self.0.listing.lock();
        if let Some(known) = kept.as_ref().filter(|known| known.glob == *glob && known.ends == ends) {
            return Ok(Arc::clone(&known.entries));
        }
        // The old one need not be there beside the new one.
        *kept = None;
        let found = match self.expanded_for(glob)? {
            None => self.stored().glob_entries(glob, ends)?,
            Some(expanded) => {
                match ends {
                    LinkEnds::Keep => expanded.check(|failed| glob.base().starts_with(failed))?,
                    LinkEnds::Follow => expanded.check(|failed| glob.reaches_below(failed))?,
                }
                expanded.snapshot.glob_entries(glob, ends)?
            }
        };
        let entries = Arc::new(found);
        *kept = Some(Listing { glob: glob.clone(), ends, entries: Arc::clone(&entries) });
        Ok(entries)
    }

    /// The snapshot with members for what lies around `path`, at it or above or below; what is stored, where no member does.
    pub(crate) fn around(&self, path: &PondPath) -> Result<Snapshot> {
        let expanded = self.expanded_around(path, |_| true)?;
        Ok(expanded.map_or_else(|| self.stored().clone(), |expanded| expanded.snapshot.clone()))
    }

    /// What has become of the members of a family.
    pub(crate) fn membership(&self, family: &PondPath, id: NodeId) -> Result<Membership> {
        let expanded = self.expanded_around(family, |_| true)?;
        Ok(expanded.and_then(|expanded| expanded.memberships.get(&id).cloned()).unwrap_or_default())
    }

    /// The families of views that `glob` matches by their own paths, with the captures in them.
    pub(crate) fn families_at(&self, glob: &Glob) -> Result<Vec<Entry>> {
        let mut found = Vec::new();
        for family in self.families() {
            if glob.matches(&family.path)?.is_some() {
                found.push(Entry { path: family.path.clone(), node: Arc::clone(&family.node) });
            }
        }
        Ok(found)
    }

    /// Whether there are directories whose factories show entries.
    pub(crate) fn shows_listed(&self) -> bool {
        !self.listed().is_empty()
    }

    /// The families with members around `path`, and those that their globs may read.
    pub(crate) fn families_around(&self, path: &PondPath) -> Vec<&Family> {
        let mut found: Vec<&Family> = self.near(path).collect();
        let mut at = 0;
        while let Some(reader) = found.get(at).copied() {
            for read in self.families() {
                let is_known = found.iter().any(|known| known.node.id == read.node.id);
                if !is_known && (self.has_symlinks() || reader.may_read(read)) {
                    found.push(read);
                }
            }
            at += 1;
        }
        found
    }

    fn near(&self, path: &PondPath) -> impl Iterator<Item = &Family> {
        // A link may lead from anywhere to anywhere.
        self.families().iter().filter(|family| self.has_symlinks() || overlap(family.base(), path))
    }

    fn has_symlinks(&self) -> bool {
        self.stored().state().has_symlinks()
    }

    fn families(&self) -> &[Family] {
        self.0.families.get_or_init(|| families(self.stored().state()))
    }

    fn listed(&self) -> &ListedDirectories {
        self.0.listed.get_or_init(|| ListedDirectories::of(self.stored().state(), &self.0.lister))
    }

    fn look(&self, path: &PondPath, look: impl Fn(&Snapshot) -> tinyfs::Result<Entry>) -> Result<Entry> {
        let error = match look(self.stored()) {
            // What is stored hides members, so it is the answer. Nothing else needs the members.
            Ok(entry) => return Ok(entry),
            Err(error) => error,
        };
        if !matches!(error.kind(), tinyfs::ErrorKind::NotFound | tinyfs::ErrorKind::NotADirectory) {
            return Err(error.into());
        }
        let Some(expanded) = self.expanded_around(path, |_| true)? else { return Err(error.into()) };
        match look(&expanded.snapshot) {
            Ok(entry) => Ok(entry),
            Err(error) => {
                expanded.check(|failed| path.starts_with(failed))?;
                match self.memberless(path, &expanded) {
                    Some(note) if error.is_not_found() => Err(Error::from(error).with_note(&note)),
                    _ => Err(error.into()),
                }
            }
        }
    }

    /// What to say where nothing is found at or below `path`: of a family that would have members there, and has none at all.
    ///
    /// # Errors
    /// What finding members says.
    pub(crate) fn without_members(&self, path: &PondPath) -> Result<Option<String>> {
        Ok(self.expanded_around(path, |_| true)?.and_then(|expanded| self.memberless(path, &expanded)))
    }

    fn memberless(&self, path: &PondPath, expanded: &Expanded) -> Option<String> {
        let has_none = |family: &&Family| expanded.memberships.get(&family.node.id).is_some_and(|found| found.all == 0);
        let family = self.near(path).filter(|family| path.starts_with(family.base())).find(has_none)?;
        let globs: Vec<String> = family.globs().map(|glob| format!("'{glob}'")).collect();
        Some(format!("the family '{}' has no members now: they come from {}", family.path, globs.join(" and ")))
    }

    fn expanded_for(&self, glob: &Glob) -> Result<Option<Arc<Expanded>>> {
        self.expanded_around(&glob.base(), |directory| glob.reaches_below(directory))
    }

    /// The tree with what lies around `path`, at it or above or below: members of families, and what is shown in those dynamic directories
    /// that are `wanted`. `None` where that is what is stored.
    fn expanded_around(&self, path: &PondPath, wanted: impl Fn(&PondPath) -> bool) -> Result<Option<Arc<Expanded>>> {
        let is_near = |listed: &Listed| self.has_symlinks() || overlap(&listed.path, path) && wanted(&listed.path);
        let families = self.families_around(path);
        let is_read = |listed: &Listed| {
            !families.is_empty() && self.has_symlinks()
                || families.iter().any(|family| family.globs().any(|glob| glob.reaches_below(&listed.path)))
        };
        let directories = self.listed().iter().filter(|listed| is_near(listed) || is_read(listed));
        let directories: Vec<NodeId> = directories.map(|listed| listed.node.id).collect();
        if directories.is_empty() && self.near(path).next().is_none() {
            return Ok(None);
        }
        let mut known = self.0.expanded.lock();
        if let Some((_, expanded)) = known.iter().find(|(listed, _)| *listed == directories) {
            return Ok(Some(Arc::clone(expanded)));
        }
        let expanded = Arc::new(expand(self.stored(), self.families(), self.listed(), &directories)?);
        known.push((directories, Arc::clone(&expanded)));
        Ok(Some(expanded))
    }
}

impl Expanded {
    /// Fails if a directory could not be listed that `matters`.
    fn check(&self, matters: impl Fn(&PondPath) -> bool) -> Result<()> {
        match self.failed.iter().find(|(path, _)| matters(path)) {
            Some((_, error)) => Err(Error::shared(error)),
            None => Ok(()),
        }
    }
}

fn families(state: &State) -> Vec<Family> {
    let read = |node: &Arc<Node>| Family::read(node, state.path_of(node.id)?);
    let mut found: Vec<Family> = state
        .views()
        .filter(|node| is_family(node))
        .filter_map(|node| {
            // It stays an entry under its own name then, and reading that says what is wrong.
            let family = read(node).inspect_err(|error| tracing::warn!(%error, "a family of views cannot be read"));
            family.ok().flatten()
        })
        .collect();
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

/// Checks a view that was just made: where it is a family, that each capture is supplied, and that its own globs do not
/// match its members, which would make ever more of them. Returns what to warn of: another family of such names.
///
/// # Errors
/// [`ErrorKind::Plan`], [`ErrorKind::Limit`].
pub(crate) fn check_family(snapshot: &Snapshot, path: &PondPath) -> Result<Option<String>> {
    let entry = snapshot.lookup_link(path)?;
    let Some(family) = Family::read(&entry.node, entry.path)? else { return Ok(None) };
    family.check_values()?;
    let Some(member) = family.template().any_member() else { return Ok(None) };
    for glob in family.globs() {
        if glob.matches(&member)?.is_some() {
            let message = format!("the family '{path}' reads itself: its glob '{glob}' matches its own members");
            return Err(Error::new(ErrorKind::Limit, message).with_path(path));
        }
    }
    let families = families(snapshot.state());
    let others = families.iter().filter(|other| other.node.id != family.node.id);
    for other in others {
        let (one, two) = (family.template(), other.template());
        if one.runs_into(two) || two.runs_into(one) {
            let (path, other) = (&family.path, &other.path);
            return Ok(Some(format!(
                "members of the family '{path}' may stand in the way of those of the family '{other}', and cannot be read then; give one of them names of its own"
            )));
        }
    }
    Ok(None)
}

fn expand(
    stored: &Snapshot,
    families: &[Family],
    listed: &ListedDirectories,
    directories: &[NodeId],
) -> Result<Expanded> {
    let mut bare = without_families(stored.state(), families)?;
    let failed = listed.graft(&mut bare, directories)?;
    let mut snapshot = Snapshot::new(Arc::new(bare.clone()), Arc::clone(stored.store()));
    let mut known: Vec<BTreeSet<Texts>> = vec![BTreeSet::new(); families.len()];
    let is_layered = stored.state().has_symlinks()
        || families.iter().any(|reader| families.iter().any(|read| reader.may_read(read)));
    let mut memberships = HashMap::new();
    // Families that read members of families: one round for each layer.
    let rounds = if is_layered { families.len() + 1 } else { 1 };
    for round in 1..=rounds {
        let found = families.iter().map(|family| family.texts(&snapshot)).collect::<Result<Vec<_>>>()?;
        if found == known {
            break;
        }
        if round > families.len() && is_layered {
            tracing::warn!("families of views match their own members; those of {rounds} rounds are shown");
        }
        known = found;
        let (state, found) = with_members(&bare, families, &known)?;
        memberships = found;
        snapshot = Snapshot::new(Arc::new(state), Arc::clone(stored.store()));
    }
    // Of the last round: the others make what it makes once more.
    for error in memberships.values().filter_map(|membership| membership.lost.as_ref()) {
        tracing::warn!(%error, "a member of a family is not shown");
    }
    Ok(Expanded { snapshot, memberships, failed })
}

/// The tree without the families, and without the directories that only their names need: `/r/{site}` of `/r/{site}/{res}`.
fn without_families(state: &State, families: &[Family]) -> Result<State> {
    let mut state = State::clone(state);
    for family in families {
        let mut doomed = Arc::clone(&family.node);
        loop {
            let parent = doomed.parent;
            let operation =
                Operation { node: doomed.id, parent, name: Arc::clone(&doomed.name), action: Action::Remove };
            state.apply_operation(&operation, doomed.txn, doomed.modified)?;
            let Some(above) = state.node(parent).map(Arc::clone) else { break };
            let is_left_over = matches!(&above.body, Body::Directory(entries) if entries.is_empty());
            if above.id == NodeId::ROOT || !is_left_over || !above.name.contains('{') {
                break;
            }
            doomed = above;
        }
    }
    Ok(state)
}

fn with_members(
    bare: &State,
    families: &[Family],
    texts: &[BTreeSet<Texts>],
) -> Result<(State, HashMap<NodeId, Membership>)> {
    let mut state = bare.clone();
    let mut memberships = HashMap::new();
    for (family, texts) in families.iter().zip(texts) {
        let mut membership = Membership { all: texts.len(), ..Membership::default() };
        for texts in texts {
            let added = match family.template().member(texts) {
                Some(path) => add_member(&mut state, bare, family, &path, texts)?,
                None => Added::Lost(family.nameless(texts)),
            };
            match added {
                Added::Shown => membership.shown += 1,
                Added::Hidden => {}
                Added::Lost(error) => {
                    let _ = membership.lost.get_or_insert_with(|| Arc::new(error));
                }
            }
        }
        let _ = memberships.insert(family.node.id, membership);
    }
    Ok((state, memberships))
}

/// What becomes of a member.
enum Added {
    /// It has an entry.
    Shown,
    /// Something else has its path: what is real, or a member that says so when it is read.
    Hidden,
    /// It has none, and nothing in its place says why.
    Lost(Error),
}

/// Adds one member, unless something real, or a member of a family before this one, has its path or stands in its way.
fn add_member(state: &mut State, bare: &State, family: &Family, path: &PondPath, texts: &Texts) -> Result<Added> {
    let mut parent = NodeId::ROOT;
    let mut here = PondPath::root();
    let last = path.components().count().saturating_sub(1);
    for (depth, name) in path.components().enumerate() {
        let node = Arc::clone(state.node(parent).ok_or_else(|| lost(&here))?);
        let Some(entries) = node.entries() else { return Ok(in_the_way(bare, family, path, &node, &here)) };
        here = here.child(name)?;
        if let Some(id) = entries.get(name) {
            parent = *id;
            if depth == last {
                return taken(state, bare, family, path, texts, parent);
            }
            continue;
        }
        let (kind, text, attributes) = if depth == last {
            (EntryKind::View, family.node.text().map(Arc::clone), family.member_attributes(texts)?)
        } else {
            (EntryKind::Directory, None, Attributes::default())
        };
        let node = virtual_id(family.node.id, &here);
        let action = Action::Create { kind, text, attributes };
        let operation = Operation { node, parent, name: Arc::from(name), action };
        state.apply_operation(&operation, family.node.txn, family.node.modified)?;
        parent = node;
    }
    Ok(Added::Shown)
}

/// The entry `id` has the path of a member. Where that is a member too, it is told of this one.
fn taken(
    state: &mut State,
    bare: &State,
    family: &Family,
    path: &PondPath,
    texts: &Texts,
    id: NodeId,
) -> Result<Added> {
    let node = Arc::clone(state.node(id).ok_or_else(|| lost(path))?);
    if Member::of(&node)?.is_none() {
        return Ok(in_the_way(bare, family, path, &node, path));
    }
    let attributes = family.shared_attributes(&node.attributes, texts)?;
    let action = Action::Update { text: node.text().map(Arc::clone), attributes };
    let operation = Operation { node: id, parent: node.parent, name: Arc::clone(&node.name), action };
    state.apply_operation(&operation, node.txn, node.modified)?;
    Ok(Added::Hidden)
}

/// The entry at `there` keeps the member at `path` from being shown.
fn in_the_way(bare: &State, family: &Family, path: &PondPath, node: &Node, there: &PondPath) -> Added {
    if bare.node(node.id).is_some() {
        return Added::Hidden;
    }
    let (kind, family) = (node.kind().as_str(), &family.path);
    let message = format!(
        "'{path}' of the family '{family}' cannot be shown: another family makes '{there}' a {kind}; give one of them names of its own"
    );
    Added::Lost(Error::new(ErrorKind::Plan, message).with_path(path))
}

/// The same for the same member in every state, and like no stored node's.
pub(super) fn virtual_id(family: NodeId, path: &PondPath) -> NodeId {
    let mut hasher = blake3::Hasher::new();
    let _ = hasher.update(family.0.as_bytes()).update(path.as_str().as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    NodeId(Uuid::from_bytes(bytes))
}

fn lost(path: &PondPath) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the directory of '{path}' is gone")).with_path(path)
}
