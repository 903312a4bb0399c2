//! [`Component`]: the wildcards within one component, matched against one name.

use std::sync::Arc;

use super::solver::{Solution, Solver, TooHard};
use super::{Bindings, Captures};

/// One component of a glob that is not literal.
#[derive(Debug)]
pub(super) struct Component {
    tokens: Vec<Token>,
    first_position: usize,
    positions: usize,
    /// Whether a later component uses a name that this one binds.
    shares: bool,
}

#[derive(Debug)]
pub(super) enum Token {
    Literal(String),
    /// `?`
    One,
    Class(Class),
    /// `*`, captured at this position.
    Star(usize),
    /// `{name}`, by its index.
    Name(usize, Role),
    /// `{a,b}`, which hold no names.
    Alternatives(Vec<Vec<Self>>),
}

/// What depends on the text of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing: it is a `*` with a name.
    Free,
    /// The rest of this component.
    Tied,
    /// A later component.
    Shared,
}

/// `[a-z]` or `[!a-z]`.
#[derive(Debug)]
pub(super) struct Class {
    pub(super) negated: bool,
    pub(super) ranges: Vec<(char, char)>,
}

impl Class {
    pub(super) fn holds(&self, c: char) -> bool {
        self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != self.negated
    }

    /// The only character that it matches.
    pub(super) fn only(&self) -> Option<char> {
        match self.ranges.as_slice() {
            [(low, high)] if low == high && !self.negated => Some(*low),
            _ => None,
        }
    }
}

impl Component {
    pub(super) fn new(tokens: Vec<Token>, first_position: usize, positions: usize) -> Self {
        Self { tokens, first_position, positions, shares: false }
    }

    /// Whether a later component uses a name that this one binds.
    pub(super) fn shares(&self) -> bool {
        self.shares
    }

    /// The names that it uses, by index.
    pub(super) fn names(&self) -> impl Iterator<Item = usize> {
        self.tokens.iter().filter_map(|token| if let Token::Name(name, _) = token { Some(*name) } else { None })
    }

    /// Works out the role of each name, given which are bound before this component, number `index` of the glob.
    pub(super) fn assign_roles(&mut self, index: usize, bound: &mut [bool], last_uses: &[usize]) {
        let names: Vec<usize> = self.names().collect();
        for token in &mut self.tokens {
            let Token::Name(name, role) = token else { continue };
            if bound[*name] {
                continue;
            }
            if last_uses[*name] > index {
                *role = Role::Shared;
                self.shares = true;
            } else if names.iter().filter(|other| *other == name).count() > 1 {
                *role = Role::Tied;
            }
        }
        names.into_iter().for_each(|name| bound[name] = true);
    }

    /// The text that every match starts with, and whether that is all of it.
    pub(super) fn prefix(&self, bindings: &Bindings) -> (String, bool) {
        let mut prefix = String::new();
        for token in &self.tokens {
            match token {
                Token::Literal(text) => prefix.push_str(text),
                Token::Name(name, _) => match &bindings[*name] {
                    Some(text) => prefix.push_str(text),
                    None => return (prefix, false),
                },
                _ => return (prefix, false),
            }
        }
        (prefix, true)
    }

    /// The ways to match `text`, best first: one for each combination of texts that later components ask for, so at
    /// most one where they ask for none. `steps` counts up.
    pub(super) fn solve(&self, text: &str, bindings: &Bindings, steps: &mut usize) -> Result<Vec<Solution>, TooHard> {
        if let Some(Token::Literal(end)) = self.tokens.last()
            && !text.ends_with(end.as_str())
        {
            return Ok(Vec::new());
        }
        let solver = Solver::new(&self.tokens, text, bindings, self.first_position, self.positions, steps);
        if self.shares { solver.all() } else { solver.first() }
    }

    /// Puts the texts of `solution` where they belong.
    pub(super) fn capture(&self, text: &str, solution: &Solution, captures: &mut Captures) {
        for (name, range) in solution.names.iter().enumerate() {
            if let Some(range) = range {
                captures.named[name] = Arc::from(&text[range.clone()]);
            }
        }
        for (index, range) in solution.positions.iter().enumerate() {
            captures.positional[self.first_position + index] = range.clone().map(|range| Arc::from(&text[range]));
        }
    }

    /// The bindings after `solution`, as far as later components ask for them.
    pub(super) fn bind(&self, text: &str, solution: &Solution, bindings: &Bindings) -> Bindings {
        if !self.shares {
            return Arc::clone(bindings);
        }
        let mut bound = bindings.to_vec();
        for token in &self.tokens {
            if let Token::Name(name, Role::Shared) = token
                && let Some(range) = &solution.names[*name]
            {
                bound[*name] = Some(Arc::from(&text[range.clone()]));
            }
        }
        bound.into()
    }
}
