//! [`Clock`]: the time, handed in so that tests can choose it.

use std::fmt::Debug;

use chrono::{DateTime, SubsecRound, Utc};

/// Tells the time of a commit.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Now, in whole microseconds: what the log keeps.
    fn now(&self) -> DateTime<Utc>;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now().trunc_subsecs(6)
    }
}
