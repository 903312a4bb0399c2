//! [`Retry`]: when a request is made again.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// How often and after how long.
#[derive(Debug, Clone)]
pub(super) struct Retry {
    /// How often a request is made, with the first time.
    pub(super) attempts: u32,
    /// The wait after the first; each next is twice as long.
    pub(super) first: Duration,
    /// The longest wait.
    pub(super) longest: Duration,
    /// The longest wait that the service may ask for; beyond, the request fails, and a later run goes on.
    pub(super) longest_wait: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 6,
            first: Duration::from_millis(500),
            longest: Duration::from_secs(30),
            longest_wait: Duration::from_secs(300),
        }
    }
}

impl Retry {
    /// How long to wait after the attempt of this number, the first being 1; `None`: do not try again.
    pub(super) fn delay(&self, attempt: u32, asked: Option<Duration>) -> Option<Duration> {
        if attempt >= self.attempts {
            return None;
        }
        let doubled = self.first.saturating_mul(1_u32.checked_shl(attempt - 1).unwrap_or(u32::MAX));
        let backoff = jittered(doubled.min(self.longest));
        match asked {
            // Who asks for no wait at all would otherwise see all attempts at once.
            Some(asked) => (asked <= self.longest_wait).then_some(asked.max(backoff)),
            None => Some(backoff),
        }
    }
}

/// Between half of it and all of it, so that those who failed together do not come back together.
fn jittered(delay: Duration) -> Duration {
    let random = uuid::Uuid::new_v4().as_bytes()[0];
    delay / 2 + (delay / 2).mul_f64(f64::from(random) / 255.0)
}

/// What `Retry-After` asks for: seconds, or a time.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let time = DateTime::parse_from_rfc2822(text).ok()?.with_timezone(&Utc);
    // A time that has passed asks for nothing.
    Some((time - Utc::now()).to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_end() {
        let retry = Retry { attempts: 5, ..Retry::default() };
        let bounds = [(250, 500), (500, 1_000), (1_000, 2_000), (2_000, 4_000)];
        for (attempt, (least, most)) in (1..).zip(bounds) {
            let delay = retry.delay(attempt, None).unwrap();
            assert!(delay >= Duration::from_millis(least) && delay <= Duration::from_millis(most), "{delay:?}");
        }
        assert_eq!(retry.delay(5, None), None);
        let forever = Retry { attempts: u32::MAX, ..Retry::default() };
        assert!(forever.delay(1_000, None).unwrap() <= forever.longest);
    }

    #[test]
    fn the_service_says_how_long() {
        let retry = Retry::default();
        assert_eq!(retry.delay(1, Some(Duration::from_secs(7))), Some(Duration::from_secs(7)));
        assert_eq!(retry.delay(1, Some(Duration::from_secs(301))), None);
        let delay = retry.delay(2, Some(Duration::ZERO)).unwrap();
        assert!(delay >= Duration::from_millis(500) && delay <= Duration::from_secs(1), "{delay:?}");
        let asked = |text: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]));
        assert_eq!(asked("120"), Some(Duration::from_secs(120)));
        assert_eq!(asked("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert!(asked("Wed, 21 Oct 2099 07:28:00 GMT").unwrap() > Duration::from_secs(3600));
        assert_eq!(asked("soon"), None);
        assert_eq!(asked("-1"), None);
    }
}
