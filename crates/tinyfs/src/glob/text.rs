//! Matching the text of a path against a whole glob.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;
use crate::path::PondPath;

use super::solver::{MAX_STEPS, TooHard};
use super::{Bindings, Captures, Glob, Segment};

/// What the wildcards of `glob` stand for in `path`.
pub(super) fn matches(glob: &Glob, path: &PondPath) -> Result<Option<Captures>> {
    let mut matcher = Matcher {
        glob,
        names: path.components().collect(),
        tried: HashMap::new(),
        failed: HashSet::new(),
        steps: 0,
        captures: Captures { named: vec![Arc::from(""); glob.0.names.len()], positional: vec![None; glob.0.positions] },
    };
    let matched = matcher.run(0, 0, &glob.unbound()).map_err(|TooHard| glob.too_hard())?;
    Ok(matched.then_some(matcher.captures))
}

struct Matcher<'a> {
    glob: &'a Glob,
    names: Vec<&'a str>,
    /// For each `**` and bindings, the lowest depth it started from: that start covered all depths from there on.
    tried: HashMap<(usize, Bindings), usize>,
    /// Segment, depth and bindings from where the rest does not match.
    failed: HashSet<(usize, usize, Bindings)>,
    steps: usize,
    captures: Captures,
}

impl Matcher<'_> {
    fn run(&mut self, mut segment: usize, mut depth: usize, bindings: &Bindings) -> Result<bool, TooHard> {
        let glob = self.glob;
        while let Some(next) = glob.0.segments.get(segment) {
            let component = match next {
                Segment::AnyDepth(position) => return self.any_depth(segment, depth, *position, bindings),
                Segment::Literal(name) => {
                    if self.names.get(depth) != Some(&&**name) {
                        return Ok(false);
                    }
                    segment += 1;
                    depth += 1;
                    continue;
                }
                Segment::Component(component) => component,
            };
            let Some(name) = self.names.get(depth).copied() else { return Ok(false) };
            let mut solutions = component.solve(name, bindings, &mut self.steps)?;
            segment += 1;
            depth += 1;
            if component.names().next().is_none() {
                let Some(solution) = solutions.pop() else { return Ok(false) };
                component.capture(name, &solution, &mut self.captures);
                continue;
            }
            for solution in solutions {
                let bound = glob.live(&component.bind(name, &solution, bindings), segment);
                let place = (segment, depth, Arc::clone(&bound));
                if self.failed.contains(&place) {
                    continue;
                }
                component.capture(name, &solution, &mut self.captures);
                if self.run(segment, depth, &bound)? {
                    return Ok(true);
                }
                let _ = self.failed.insert(place);
            }
            return Ok(false);
        }
        Ok(depth == self.names.len())
    }

    fn any_depth(
        &mut self,
        segment: usize,
        start: usize,
        position: usize,
        bindings: &Bindings,
    ) -> Result<bool, TooHard> {
        let end = self.names.len();
        if segment + 1 == self.glob.0.segments.len() {
            self.capture(position, start..end);
            return Ok(start < end);
        }
        let covered = self.tried.insert((segment, Arc::clone(bindings)), start).unwrap_or(end + 1);
        if start >= covered {
            let _ = self.tried.insert((segment, Arc::clone(bindings)), covered);
            return Ok(false);
        }
        let repeats = bindings.iter().any(Option::is_some);
        for depth in (start..covered).rev() {
            self.steps += usize::from(repeats);
            if self.steps > MAX_STEPS {
                return Err(TooHard);
            }
            if self.run(segment + 1, depth, bindings)? {
                self.capture(position, start..depth);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn capture(&mut self, position: usize, depths: Range<usize>) {
        self.captures.positional[position] = Some(Arc::from(self.names[depths].join("/")));
    }
}
