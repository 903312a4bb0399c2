//! [`Solver`]: how the wildcards of one component match one name.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::ops::Range;

use super::Bindings;
use super::component::{Role, Token};

/// How many choices a match may make for the sake of repeated names; those that come without them are few.
pub(super) const MAX_STEPS: usize = 1_000_000;

/// One way to match. Ranges are of the name that was matched.
#[derive(Debug)]
pub(super) struct Solution {
    /// By the glob's index; `None` for a name of another component or one that was bound before.
    pub(super) names: Vec<Option<Range<usize>>>,
    /// Of this component only.
    pub(super) positions: Vec<Option<Range<usize>>>,
}

/// More than [`MAX_STEPS`].
#[derive(Debug)]
pub(super) struct TooHard;

/// Tries wildcards from left to right, the longest text first.
///
/// What has been tried from a place in the tokens and the text need not be tried again, as long as the same names are bound
/// to the same texts. That makes the time proportional to tokens times text where no name repeats.
pub(super) struct Solver<'a> {
    tokens: &'a [Token],
    text: &'a str,
    bindings: &'a Bindings,
    first_position: usize,
    /// Whether to go on after the first solution.
    all: bool,
    /// Whether a name is bound, so that the same is tried for other texts too.
    repeats: bool,
    memo: Memo,
    names: Vec<Option<Range<usize>>>,
    positions: Vec<Option<Range<usize>>>,
    taken: Vec<Taken<'a>>,
    steps: &'a mut usize,
    found: Vec<Solution>,
    distinct: HashSet<Vec<&'a str>>,
}

/// Alternatives, which of them was taken, and what it took.
type Taken<'a> = (&'a [Vec<Token>], usize, Range<usize>);

/// What has been tried under the present bindings.
struct Memo {
    /// For each star, the lowest offset it started from: that start covered all ends from there on.
    stars: Vec<usize>,
    /// Where other choices started: token and offset.
    choices: HashSet<(usize, usize)>,
    /// Where alternatives ended: token and offset.
    ends: HashSet<(usize, usize)>,
}

impl Memo {
    fn new(text: &str, tokens: usize) -> Self {
        Self { stars: vec![text.len() + 1; tokens], choices: HashSet::new(), ends: HashSet::new() }
    }
}

impl<'a> Solver<'a> {
    pub(super) fn new(
        tokens: &'a [Token],
        text: &'a str,
        bindings: &'a Bindings,
        first_position: usize,
        positions: usize,
        steps: &'a mut usize,
    ) -> Self {
        Self {
            tokens,
            text,
            bindings,
            first_position,
            all: false,
            repeats: bindings.iter().any(Option::is_some),
            memo: Memo::new(text, tokens.len()),
            names: vec![None; bindings.len()],
            positions: vec![None; positions],
            taken: Vec::new(),
            steps,
            found: Vec::new(),
            distinct: HashSet::new(),
        }
    }

    /// The best solution, if there is one.
    pub(super) fn first(mut self) -> Result<Vec<Solution>, TooHard> {
        let _ = self.run(0, 0)?;
        Ok(self.found)
    }

    /// The best solution for each combination of texts of the shared names.
    pub(super) fn all(mut self) -> Result<Vec<Solution>, TooHard> {
        self.all = true;
        let _ = self.run(0, 0)?;
        Ok(self.found)
    }

    /// Matches the tokens from `token` on against the text from `offset` on. True means stop.
    fn run(&mut self, mut token: usize, mut offset: usize) -> Result<bool, TooHard> {
        let tokens = self.tokens;
        while let Some(next) = tokens.get(token) {
            let end = match next {
                Token::Star(position) => return self.star(token, offset, Slot::Position(*position)),
                Token::Alternatives(alternatives) => return self.alternatives(token, offset, alternatives),
                Token::Name(name, role) => match (self.bound(*name), role) {
                    (Some(text), _) => self.rest(offset).starts_with(text).then_some(offset + text.len()),
                    (None, Role::Free) => return self.star(token, offset, Slot::Name(*name)),
                    (None, Role::Tied | Role::Shared) => return self.choose(token, offset, *name),
                },
                simple => simple_end(simple, self.rest(offset)).map(|length| offset + length),
            };
            let Some(end) = end else { return Ok(false) };
            offset = end;
            token += 1;
        }
        if offset == self.text.len() { self.keep() } else { Ok(false) }
    }

    fn star(&mut self, token: usize, start: usize, slot: Slot) -> Result<bool, TooHard> {
        let covered = self.memo.stars[token];
        if start >= covered {
            return Ok(false);
        }
        self.memo.stars[token] = start;
        for end in (start..covered).rev().filter(|end| self.text.is_char_boundary(*end)) {
            self.step()?;
            match slot {
                Slot::Name(name) => self.names[name] = Some(start..end),
                Slot::Position(position) => self.positions[position - self.first_position] = Some(start..end),
            }
            if self.run(token + 1, end)? {
                return Ok(true);
            }
        }
        if let Slot::Name(name) = slot {
            self.names[name] = None;
        }
        Ok(false)
    }

    /// A name that something else depends on: what was tried before tells nothing once its text is another.
    fn choose(&mut self, token: usize, start: usize, name: usize) -> Result<bool, TooHard> {
        if !self.memo.choices.insert((token, start)) {
            return Ok(false);
        }
        let repeats = std::mem::replace(&mut self.repeats, true);
        for end in (start..=self.text.len()).rev().filter(|end| self.text.is_char_boundary(*end)) {
            self.step()?;
            self.names[name] = Some(start..end);
            let memo = std::mem::replace(&mut self.memo, Memo::new(self.text, self.tokens.len()));
            let stop = self.run(token + 1, end)?;
            self.memo = memo;
            if stop {
                return Ok(true);
            }
        }
        self.names[name] = None;
        self.repeats = repeats;
        Ok(false)
    }

    fn alternatives(&mut self, token: usize, start: usize, alternatives: &'a [Vec<Token>]) -> Result<bool, TooHard> {
        if !self.memo.choices.insert((token, start)) {
            return Ok(false);
        }
        let mut ends: Vec<(usize, usize)> = Vec::new();
        for (index, tokens) in alternatives.iter().enumerate() {
            ends.extend(reach(tokens, self.rest(start)).into_iter().map(|length| (start + length, index)));
        }
        ends.sort_by_key(|(end, index)| (Reverse(*end), *index));
        ends.dedup_by_key(|(end, _)| *end);
        for (end, index) in ends {
            // Other starts reach the same ends.
            if !self.memo.ends.insert((token, end)) {
                continue;
            }
            self.step()?;
            let taken = self.taken.len();
            self.taken.push((alternatives, index, start..end));
            if self.run(token + 1, end)? {
                return Ok(true);
            }
            self.taken.truncate(taken);
        }
        Ok(false)
    }

    /// The captures of this component's positions, those within the alternatives that were taken included.
    fn all_positions(&self) -> Result<Vec<Option<Range<usize>>>, TooHard> {
        let mut positions = self.positions.clone();
        for (alternatives, index, range) in &self.taken {
            for token in alternatives.iter().flatten() {
                if let Token::Star(position) = token {
                    positions[position - self.first_position] = None;
                }
            }
            let tokens = alternatives[*index].as_slice();
            if !tokens.iter().any(|token| matches!(token, Token::Star(_))) {
                continue;
            }
            let text = &self.text[range.clone()];
            let mut steps = 0;
            let inner = Solver::new(tokens, text, self.bindings, self.first_position, positions.len(), &mut steps);
            let Some(solution) = inner.first()?.pop() else { continue };
            for (slot, found) in positions.iter_mut().zip(solution.positions) {
                if let Some(found) = found {
                    *slot = Some(found.start + range.start..found.end + range.start);
                }
            }
        }
        Ok(positions)
    }

    /// Keeps the present captures as a solution. True means that no other is wanted.
    fn keep(&mut self) -> Result<bool, TooHard> {
        if self.all {
            let text = self.text;
            let shared = self.tokens.iter().filter_map(|token| match token {
                Token::Name(name, Role::Shared) => self.names[*name].clone().map(|range| &text[range]),
                _ => None,
            });
            let shared: Vec<&str> = shared.collect();
            if !self.distinct.insert(shared) {
                return Ok(false);
            }
        }
        let positions = self.all_positions()?;
        self.found.push(Solution { names: self.names.clone(), positions });
        Ok(!self.all)
    }

    fn bound(&self, name: usize) -> Option<&'a str> {
        match &self.names[name] {
            Some(range) => Some(&self.text[range.clone()]),
            None => self.bindings[name].as_deref(),
        }
    }

    fn rest(&self, offset: usize) -> &'a str {
        &self.text[offset..]
    }

    /// Counts a choice that is made once for each of the texts of some name.
    fn step(&mut self) -> Result<(), TooHard> {
        if !self.repeats {
            return Ok(());
        }
        *self.steps += 1;
        if *self.steps > MAX_STEPS { Err(TooHard) } else { Ok(()) }
    }
}

#[derive(Clone, Copy)]
enum Slot {
    Name(usize),
    Position(usize),
}

/// How many bytes of `text` a token takes that leaves no choice.
fn simple_end(token: &Token, text: &str) -> Option<usize> {
    match token {
        Token::Literal(literal) => text.starts_with(literal.as_str()).then_some(literal.len()),
        Token::One => text.chars().next().map(char::len_utf8),
        Token::Class(class) => text.chars().next().filter(|c| class.holds(*c)).map(char::len_utf8),
        Token::Star(_) | Token::Name(..) | Token::Alternatives(_) => None,
    }
}

/// All lengths of text that `tokens` (literals, `?`, classes and stars) can take, ascending.
fn reach(tokens: &[Token], text: &str) -> Vec<usize> {
    let mut ends = vec![0];
    for token in tokens {
        ends = match (token, ends.first()) {
            (_, None) => break,
            (Token::Star(_), Some(first)) => (*first..=text.len()).filter(|end| text.is_char_boundary(*end)).collect(),
            _ => ends.iter().filter_map(|end| simple_end(token, &text[*end..]).map(|length| end + length)).collect(),
        };
    }
    ends
}
