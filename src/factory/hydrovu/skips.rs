//! [`Skips`]: the readings that are not stored, counted by reason.

use std::fmt;

use chrono::{DateTime, SecondsFormat};

/// How many readings were left out, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Skips {
    /// Before what was asked for; with the first such time.
    before: Count<i64>,
    /// In the future; with the first such time.
    future: Count<i64>,
    /// Without a time in whole seconds.
    no_time: u64,
    /// Without a finite number.
    no_number: u64,
    /// Of a parameter that the service has no name for; with the first such id.
    parameter: Count<String>,
    /// Of a unit that the service has no name for; with the first such id.
    unit: Count<String>,
    /// At a time that the parameter has a reading of already.
    duplicate: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Count<T> {
    count: u64,
    first: Option<T>,
}

impl<T> Count<T> {
    fn add(&mut self, count: u64, first: impl FnOnce() -> T) {
        self.count += count;
        if count > 0 {
            let _ = self.first.get_or_insert_with(first);
        }
    }
}

impl Skips {
    pub(super) fn before(&mut self, time: i64) {
        self.before.add(1, || time);
    }

    pub(super) fn future(&mut self, time: i64) {
        self.future.add(1, || time);
    }

    pub(super) fn no_time(&mut self) {
        self.no_time += 1;
    }

    pub(super) fn no_number(&mut self) {
        self.no_number += 1;
    }

    pub(super) fn parameter(&mut self, id: &str, count: u64) {
        self.parameter.add(count, || shown(id));
    }

    pub(super) fn unit(&mut self, id: &str, count: u64) {
        self.unit.add(count, || shown(id));
    }

    pub(super) fn duplicates(&mut self, count: u64) {
        self.duplicate += count;
    }

    /// All of them.
    pub(super) fn total(&self) -> u64 {
        self.before.count
            + self.future.count
            + self.no_time
            + self.no_number
            + self.parameter.count
            + self.unit.count
            + self.duplicate
    }

    /// Adds those of another answer.
    pub(super) fn add(&mut self, other: Self) {
        merge(&mut self.before, other.before);
        merge(&mut self.future, other.future);
        merge(&mut self.parameter, other.parameter);
        merge(&mut self.unit, other.unit);
        self.no_time += other.no_time;
        self.no_number += other.no_number;
        self.duplicate += other.duplicate;
    }
}

fn merge<T>(into: &mut Count<T>, from: Count<T>) {
    into.count += from.count;
    if into.first.is_none() {
        into.first = from.first;
    }
}

/// An id of the service, fit for a message.
fn shown(id: &str) -> String {
    id.chars().filter(|c| !c.is_control()).take(40).collect()
}

/// Such as `3 readings skipped: 1 before the start (1970-01-01T00:00:07Z), 2 without a number`; nothing if there are none.
impl fmt::Display for Skips {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.total();
        if total == 0 {
            return Ok(());
        }
        let time = |first: &Option<i64>| first.map(time_text).unwrap_or_default();
        let text = |first: &Option<String>| first.clone().unwrap_or_default();
        let reasons = [
            (self.before.count, "before the start", time(&self.before.first)),
            (self.future.count, "in the future", time(&self.future.first)),
            (self.no_time, "without a time", String::new()),
            (self.no_number, "without a number", String::new()),
            (self.parameter.count, "of an unknown parameter", text(&self.parameter.first)),
            (self.unit.count, "of an unknown unit", text(&self.unit.first)),
            (self.duplicate, "at a time that has one", String::new()),
        ];
        write!(f, "{total} reading{} skipped:", if total == 1 { "" } else { "s" })?;
        let mut separator = "";
        for (count, reason, example) in reasons.iter().filter(|(count, ..)| *count > 0) {
            write!(f, "{separator} {count} {reason}")?;
            if !example.is_empty() {
                write!(f, " ({example})")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

/// A second since 1970 as RFC 3339, or as a number where no calendar has it.
pub(super) fn time_text(seconds: i64) -> String {
    match DateTime::from_timestamp(seconds, 0) {
        Some(time) => time.to_rfc3339_opts(SecondsFormat::Secs, true),
        None => format!("second {seconds}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_in_words() {
        let mut skips = Skips::default();
        assert_eq!(skips.to_string(), "");
        skips.before(7);
        assert_eq!(skips.to_string(), "1 reading skipped: 1 before the start (1970-01-01T00:00:07Z)");
        skips.future(i64::MAX);
        skips.parameter("9\n9", 2);
        skips.parameter("98", 0);
        let mut more = Skips::default();
        more.before(8);
        more.no_number();
        skips.add(more);
        assert_eq!(skips.total(), 6);
        assert_eq!(
            skips.to_string(),
            "6 readings skipped: 2 before the start (1970-01-01T00:00:07Z), 1 in the future (second 9223372036854775807), \
             1 without a number, 2 of an unknown parameter (99)"
        );
    }
}
