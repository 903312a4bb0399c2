//! [`Chosen`]: members of a family that are planned apart from the others.

use std::sync::Arc;

use tinyfs::{Glob, NodeId};
use uuid::Uuid;

use crate::catalog::family::Texts;

/// Members of a family whose files are read without those of the others: these may not go together with them, or may be
/// no tables.
#[derive(Debug, Clone)]
pub(crate) struct Chosen {
    id: NodeId,
    texts: Vec<Texts>,
}

impl Chosen {
    pub(crate) fn new(family: NodeId, texts: Vec<Texts>) -> Self {
        let mut hasher = blake3::Hasher::new();
        let _ = hasher.update(family.0.as_bytes());
        for text in texts.iter().flatten() {
            // With its length, so that no two lists of texts are the same bytes.
            let _ = hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self { id: NodeId(Uuid::from_bytes(bytes)), texts }
    }

    /// The same for the same members, and like no node's.
    pub(crate) fn id(&self) -> NodeId {
        self.id
    }

    /// Whether what a glob matched may belong to one of them: `named` are the texts of its captures, `captures` those of the family.
    pub(crate) fn may_have(&self, captures: &[Arc<str>], glob: &Glob, named: &[Arc<str>]) -> bool {
        let bound: Vec<(usize, &Arc<str>)> = glob
            .capture_names()
            .iter()
            .zip(named)
            .filter_map(|(name, text)| Some((captures.iter().position(|capture| capture == name)?, text)))
            .collect();
        self.texts.iter().any(|texts| bound.iter().all(|(capture, text)| texts.get(*capture) == Some(*text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Texts {
        texts.iter().map(|text| Arc::from(*text)).collect()
    }

    #[test]
    fn members_have_what_agrees_in_the_captures_that_both_have() {
        let captures = texts(&["site", "res"]);
        let chosen = Chosen::new(NodeId::ROOT, vec![texts(&["a", "1h"]), texts(&["b", "1d"])]);
        let has = |glob: &str, named: &[&str]| chosen.may_have(&captures, &Glob::parse(glob).unwrap(), &texts(named));
        assert!(has("/l/{site}", &["a"]) && has("/l/{site}", &["b"]) && !has("/l/{site}", &["c"]));
        assert!(has("/l/{res}/{site}", &["1h", "a"]) && !has("/l/{res}/{site}", &["1d", "a"]));
        assert!(has("/l/{site}/{other}", &["a", "any"]) && has("/l/*", &[]));
    }

    #[test]
    fn other_members_have_another_id() {
        let id = |texts: Vec<Texts>| Chosen::new(NodeId::ROOT, texts).id();
        assert_eq!(id(vec![texts(&["a", "b"])]), id(vec![texts(&["a", "b"])]));
        assert_ne!(id(vec![texts(&["a", "b"])]), id(vec![texts(&["ab", ""])]));
        assert_ne!(id(vec![texts(&["a"])]), NodeId::ROOT);
    }
}
