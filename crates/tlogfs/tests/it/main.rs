//! The store on a real disk: what it keeps, what it refuses, and what it makes of damage.

#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test says no by failing")]

mod support;

mod basics;
mod conformance;
mod damage;
mod faults;
mod foreign;
mod opening;
mod python;
mod speed;
mod upkeep;
