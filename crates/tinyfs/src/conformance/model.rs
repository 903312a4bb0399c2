//! A pond beside a plain map: whatever is done to both, they hold the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::ErrorKind;
use crate::glob::Glob;
use crate::node::{Attributes, Body, Node, WriteMode};
use crate::snapshot::Snapshot;
use crate::transaction::{NewEntry, RemoveMode, Savepoint, Transaction};

use super::StoreFactory;
use super::pond::{Store, begin, begin_newest, committed, compacted, part, path, read_part};

/// One thing to do to a pond.
///
/// Directories, files and what is below them have names of `a`, `b`, `c`; links have names of `s`, `t` and lead to the former, so
/// that no path goes through a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Makes a directory.
    MakeDirectory(String),
    /// Makes a file without versions.
    Create(String),
    /// Makes a link to the second path.
    Link(String, String),
    /// Adds a version that appends this many bytes.
    Append(String, usize),
    /// Adds a version that replaces with this many bytes.
    Replace(String, usize),
    /// Lets parts stand for the versions of the content; if the number is odd, for those only that have none yet.
    Compact(String, u64),
    /// Removes an entry if it holds nothing.
    Remove(String),
    /// Removes an entry with all below it.
    RemoveAll(String),
    /// Moves an entry.
    Rename(String, String),
    /// Marks a place to go back to.
    Mark,
    /// Goes back to the mark of this transaction, if there is one.
    BackToMark,
    /// Commits, and begins anew.
    Commit,
    /// Drops the transaction, and begins anew.
    Rollback,
    /// Drops the transaction, and begins anew through another handle.
    Reopen,
}

impl Step {
    /// The step that `choice` stands for; any number stands for one.
    pub fn pick(choice: u64) -> Self {
        let mut dice = Dice(choice);
        match dice.below(36) {
            0..=3 => Self::MakeDirectory(dice.path(Names::Plain)),
            4..=8 => Self::Create(dice.path(Names::Plain)),
            9..=10 => Self::Link(dice.path(Names::Links), dice.path(Names::Plain)),
            11..=15 => Self::Append(dice.any_path(), dice.size()),
            16..=18 => Self::Replace(dice.any_path(), dice.size()),
            19 => Self::Remove(dice.any_path()),
            20 => Self::RemoveAll(dice.any_path()),
            21..=23 => {
                let names = dice.names();
                Self::Rename(dice.path(names), dice.path(names))
            }
            24 => Self::Mark,
            25 => Self::BackToMark,
            26..=29 => Self::Commit,
            30 => Self::Rollback,
            31..=34 => Self::Compact(dice.any_path(), dice.next()),
            _ => Self::Reopen,
        }
    }

    /// `count` steps; the same for the same seed, always.
    pub fn sequence(seed: u64, count: usize) -> Vec<Self> {
        let mut dice = Dice(seed);
        (0..count).map(|_| Self::pick(dice.next())).collect()
    }
}

/// Does the steps to a new pond and to a map, and compares them after each; at the end also all states that were committed.
///
/// # Panics
/// When they differ, with the steps up to there.
pub async fn run_model(factory: &dyn StoreFactory, steps: &[Step]) {
    let mut store = factory.create().await;
    let mut transaction = begin_newest(&store).await;
    let mut model = Tree::new();
    let mut mark: Option<(Savepoint, Tree)> = None;
    let mut states: Vec<(Snapshot, Tree)> = vec![(transaction.base().clone(), Tree::new())];
    for (index, step) in steps.iter().enumerate() {
        let done = || format!("after {:#?}", &steps[..=index]);
        let last = |states: &[(Snapshot, Tree)]| states[states.len() - 1].clone();
        match step {
            Step::Mark => mark = Some((transaction.savepoint(), model.clone())),
            Step::BackToMark => {
                if let Some((savepoint, tree)) = mark.take() {
                    transaction.roll_back_to(savepoint);
                    model = tree;
                }
            }
            Step::Commit => {
                mark = None;
                if !transaction.is_empty() {
                    let (before, _) = last(&states);
                    let after = committed(transaction).await;
                    assert_eq!(after.txn(), before.txn().next(), "a commit takes the number that follows, {}", done());
                    states.push((after, model.clone()));
                }
                transaction = begin(last(&states).0);
            }
            Step::Rollback | Step::Reopen => {
                mark = None;
                if *step == Step::Reopen {
                    store = factory.reopen(&store).await;
                }
                let (before, tree) = last(&states);
                model = tree;
                transaction = begin_newest(&store).await;
                assert_eq!(transaction.base().txn(), before.txn(), "nothing is committed by others, {}", done());
            }
            change => {
                let outcome = perform(&mut transaction, &store, change, index).await;
                let expected = model.perform(change, index);
                assert_eq!(outcome, expected, "a step ends as in the model, {}", done());
            }
        }
        assert_eq!(read(&transaction.snapshot()).await, model, "the pond holds what the model holds, {}", done());
    }
    drop(transaction);
    store.settle().await.unwrap_or_else(|error| panic!("the store settles: {error}"));
    let again = factory.reopen(&store).await;
    for (snapshot, model) in states {
        assert_eq!(read(&snapshot).await, model, "an old snapshot never changes, after {steps:#?}");
        let then = Snapshot::at(Arc::clone(&again), snapshot.txn()).await.expect("every transaction can be asked for");
        assert_eq!(read(&then).await, model, "another handle sees the same at transaction {}, {steps:#?}", then.txn());
    }
}

async fn perform(transaction: &mut Transaction, store: &Store, step: &Step, index: usize) -> Result<(), ErrorKind> {
    let done = match step {
        Step::MakeDirectory(at) => transaction.create_directory(&path(at)),
        Step::Create(at) => transaction.create(&path(at), NewEntry::File, Attributes::default()),
        Step::Link(at, to) => {
            transaction.create(&path(at), NewEntry::Symlink(Arc::from(to.as_str())), Attributes::default())
        }
        Step::Append(at, size) | Step::Replace(at, size) => {
            let part = part(store, &bytes(*size, index)).await;
            transaction.write(&path(at), mode(step), part, Attributes::default()).map(|_| ())
        }
        Step::Compact(at, choice) => compact(transaction, at, *choice).await,
        Step::Remove(at) => transaction.remove(&path(at), RemoveMode::Empty),
        Step::RemoveAll(at) => transaction.remove(&path(at), RemoveMode::Recursive),
        Step::Rename(from, to) => transaction.rename(&path(from), &path(to)),
        Step::Mark | Step::BackToMark | Step::Commit | Step::Rollback | Step::Reopen => Ok(()),
    };
    done.map_err(|error| error.kind())
}

/// Does nothing to a file without content.
async fn compact(transaction: &mut Transaction, at: &str, choice: u64) -> crate::error::Result<()> {
    let entry = transaction.snapshot().lookup(&path(at))?;
    let Some(versions) = entry.node.versions() else { return super::pond::compact(transaction, at, 1, 1).await };
    let last = versions.len() as u64;
    let Some(first) = versions.content().first().map(|version| version.number) else { return Ok(()) };
    let done = versions.compactions().last().map_or(0, |compaction| compaction.last);
    let first = if choice % 2 == 1 && done < last { first.max(done + 1) } else { first };
    super::pond::compact(transaction, at, first, last).await
}

fn mode(step: &Step) -> WriteMode {
    if matches!(step, Step::Replace(..)) { WriteMode::Replace } else { WriteMode::Append }
}

fn bytes(size: usize, index: usize) -> Vec<u8> {
    format!("{index}.").into_bytes().into_iter().cycle().take(size).collect()
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum ModelEntry {
    Directory,
    File(Vec<(WriteMode, Vec<u8>)>),
    Link(String),
}

/// The model: entries by path, the root left out.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tree(BTreeMap<String, ModelEntry>);

impl Tree {
    fn new() -> Self {
        Self(BTreeMap::new())
    }

    fn perform(&mut self, step: &Step, index: usize) -> Result<(), ErrorKind> {
        match step {
            Step::MakeDirectory(at) => self.create(at, ModelEntry::Directory),
            Step::Create(at) => self.create(at, ModelEntry::File(Vec::new())),
            Step::Link(at, to) => self.create(at, ModelEntry::Link(to.clone())),
            Step::Append(at, size) | Step::Replace(at, size) => {
                let target = match self.get(at)? {
                    ModelEntry::Link(target) => target.clone(),
                    _ => at.clone(),
                };
                let _ = self.get(&target)?;
                match self.0.get_mut(&target) {
                    Some(ModelEntry::File(versions)) => versions.push((mode(step), bytes(*size, index))),
                    _ => return Err(ErrorKind::NotAFile),
                }
                Ok(())
            }
            Step::Compact(at, _) => {
                let target = match self.get(at)? {
                    ModelEntry::Link(target) => target,
                    _ => at,
                };
                match self.get(target)? {
                    ModelEntry::File(_) => Ok(()),
                    _ => Err(ErrorKind::NotAFile),
                }
            }
            Step::Remove(at) => {
                let _ = self.get(at)?;
                if self.below(at).next().is_some() {
                    return Err(ErrorKind::NotEmpty);
                }
                let _ = self.0.remove(at);
                Ok(())
            }
            Step::RemoveAll(at) => {
                let _ = self.get(at)?;
                let _ = self.take(at);
                Ok(())
            }
            Step::Rename(from, to) => {
                let _ = self.get(from)?;
                if to == from || to.starts_with(&format!("{from}/")) {
                    return Err(ErrorKind::InvalidPath);
                }
                self.room_for(to)?;
                for (at, entry) in self.take(from) {
                    let _ = self.0.insert(format!("{to}{}", &at[from.len()..]), entry);
                }
                Ok(())
            }
            Step::Mark | Step::BackToMark | Step::Commit | Step::Rollback | Step::Reopen => Ok(()),
        }
    }

    fn create(&mut self, at: &str, entry: ModelEntry) -> Result<(), ErrorKind> {
        self.room_for(at)?;
        let _ = self.0.insert(at.to_owned(), entry);
        Ok(())
    }

    /// Checks that nothing has this path, and makes the directories above it.
    fn room_for(&mut self, at: &str) -> Result<(), ErrorKind> {
        match self.get(at) {
            Ok(_) => return Err(ErrorKind::AlreadyExists),
            Err(ErrorKind::NotFound) => {}
            Err(kind) => return Err(kind),
        }
        for above in above(at) {
            let _ = self.0.entry(above.to_owned()).or_insert(ModelEntry::Directory);
        }
        Ok(())
    }

    fn get(&self, at: &str) -> Result<&ModelEntry, ErrorKind> {
        for above in above(at) {
            match self.0.get(above) {
                Some(ModelEntry::Directory) => {}
                Some(_) => return Err(ErrorKind::NotADirectory),
                None => return Err(ErrorKind::NotFound),
            }
        }
        self.0.get(at).ok_or(ErrorKind::NotFound)
    }

    fn below(&self, at: &str) -> impl Iterator<Item = &String> {
        let prefix = format!("{at}/");
        self.0.keys().filter(move |key| key.starts_with(&prefix))
    }

    fn take(&mut self, at: &str) -> Vec<(String, ModelEntry)> {
        let keys: Vec<String> = self.below(at).cloned().chain([at.to_owned()]).collect();
        keys.into_iter().filter_map(|key| self.0.remove_entry(&key)).collect()
    }
}

/// The paths of the directories above, the root left out.
fn above(at: &str) -> impl Iterator<Item = &str> {
    at.match_indices('/').skip(1).map(|(slash, _)| &at[..slash])
}

/// What the pond holds, by walking its directories; a glob must find the same.
async fn read(snapshot: &Snapshot) -> Tree {
    let mut tree = Tree::new();
    let mut waiting = vec![path("/")];
    while let Some(directory) = waiting.pop() {
        for entry in snapshot.list(&directory).unwrap_or_else(|error| panic!("a directory can be listed: {error}")) {
            let at = entry.path.to_string();
            if entry.node.kind().holds_entries() {
                waiting.push(entry.path);
            }
            let _ = tree.0.insert(at, read_node(snapshot, &entry.node).await);
        }
    }
    let all = Glob::parse("/**").expect("the suite uses valid globs");
    let found = snapshot.glob(&all).unwrap_or_else(|error| panic!("a glob can be expanded: {error}"));
    let found: Vec<String> = found.into_iter().map(|entry| entry.path.to_string()).collect();
    let real = tree.0.iter().filter(|(_, entry)| !matches!(entry, ModelEntry::Link(_)));
    assert_eq!(found, real.map(|(at, _)| at.clone()).collect::<Vec<_>>(), "a glob finds all that is not a link");
    tree
}

async fn read_node(snapshot: &Snapshot, node: &Node) -> ModelEntry {
    match &node.body {
        Body::Directory(_) => ModelEntry::Directory,
        Body::Symlink(target) => ModelEntry::Link(target.to_string()),
        Body::File(versions) => {
            let (mut all, mut content) = (Vec::new(), Vec::new());
            for version in versions.iter() {
                let bytes = read_part(snapshot.store(), &version.part).await;
                if version.mode == WriteMode::Replace {
                    content.clear();
                }
                content.extend_from_slice(&bytes);
                all.push((version.mode, bytes));
            }
            assert_eq!(compacted(snapshot, versions).await, content, "compactions hold what their versions hold");
            ModelEntry::File(all)
        }
        Body::View(_) | Body::Dynamic(_) | Body::DynamicDirectory { .. } => panic!("no step makes such an entry"),
    }
}

#[derive(Clone, Copy)]
enum Names {
    Plain,
    Links,
}

/// Numbers that look random and are the same in each run (SplitMix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        let index = self.below(from.len() as u64);
        from.iter().zip(0..).find_map(|(text, at)| (at == index).then_some(*text)).expect("the list is not empty")
    }

    fn names(&mut self) -> Names {
        if self.below(4) == 0 { Names::Links } else { Names::Plain }
    }

    fn any_path(&mut self) -> String {
        let names = self.names();
        self.path(names)
    }

    fn path(&mut self, names: Names) -> String {
        let mut path = String::new();
        for _ in 0..self.below(3) {
            path.push('/');
            path.push_str(self.pick(&["a", "b", "c"]));
        }
        path.push('/');
        path.push_str(match names {
            Names::Plain => self.pick(&["a", "b", "c"]),
            Names::Links => self.pick(&["s", "t"]),
        });
        path
    }

    /// Mostly small; now and then more than a store keeps with its log.
    fn size(&mut self) -> usize {
        match self.below(16) {
            0 => 70_000,
            1 => 0,
            size => usize::try_from(size).expect("it is small"),
        }
    }
}
