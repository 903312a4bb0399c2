//! Times and durations, as options write them.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// Reads a time as RFC 3339 has it.
pub fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc())
}

/// Reads a length of time: whole numbers with units, as `15m`, `1h30m` or `250ms`. The units are `d`, `h`, `m`, `s`, `ms` and `us`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut micros: u64 = 0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let factor: u64 = match unit {
            "us" => 1,
            "ms" => 1_000,
            "s" => 1_000_000,
            "m" | "min" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000,
            _ => return None,
        };
        micros = micros.checked_add(number.parse::<u64>().ok()?.checked_mul(factor)?)?;
        rest = after.trim_start();
    }
    Some(Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, micros) in
            [("15m", 900_000_000), ("1h30m", 5_400_000_000), ("1d 2us", 86_400_000_002), ("0s", 0), ("250ms", 250_000)]
        {
            assert_eq!(parse_duration(text), Some(Duration::from_micros(micros)), "{text}");
        }
        for text in ["", " ", "1", "m", "-15m", "1.5h", "1 h", "1y", "99999999999999999999s", "9999999999999d"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(parse_time("2024-05-30T02:00:00+02:00"), parse_time("2024-05-30T00:00:00Z"));
        assert!(parse_time("2024-05-30T00:00:00Z").is_some());
        for text in ["", "2024-05-30", "2024-05-30T00:00:00", "2024-13-30T00:00:00Z", "yesterday"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }
}
