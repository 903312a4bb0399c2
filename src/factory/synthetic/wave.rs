//! [`Component`]: one term of a column, as a function of time and row.

use std::f64::consts::TAU;

use serde::Deserialize;
use tinyfs::parse_duration;

/// A column: the sum of its components.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) components: Vec<Component>,
}

/// One term. Times are counted from the first row.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Component {
    /// `offset + amplitude * sin(2π t / period + phase)`.
    Sine(Wave),
    /// From `offset - amplitude` up, and from half a period on down again.
    Triangle(Wave),
    /// `offset + amplitude` for half a period, then `offset - amplitude`.
    Square(Wave),
    /// `offset + slope * t`.
    Line(Line),
    /// Evenly spread from `-amplitude` to `amplitude`, by the seed and the number of the row.
    Noise(Noise),
}

/// What comes again each period.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wave {
    amplitude: f64,
    period: Period,
    #[serde(default)]
    offset: f64,
    /// An angle: 2π is one period.
    #[serde(default)]
    phase: f64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    /// How much it rises in a second.
    slope: f64,
    #[serde(default)]
    offset: f64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Noise {
    amplitude: f64,
}

/// A length of time above 0, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Period(i64);

impl TryFrom<String> for Period {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let period = parse_duration(&text).and_then(|period| i64::try_from(period.as_micros()).ok());
        match period {
            Some(micros) if micros > 0 => Ok(Self(micros)),
            _ => Err(format!("a period is a duration above 0, such as '24h', not '{text}'")),
        }
    }
}

/// Where a value is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Microseconds since the first row.
    pub(super) micros: i64,
    /// The number of the row, from 0.
    pub(super) row: u64,
    /// Tells the noise of one column from that of another.
    pub(super) seed: u64,
}

impl Column {
    /// The value in one row.
    pub(super) fn value(&self, place: Place) -> f64 {
        let components = self.components.iter().zip(0_u64..);
        components.map(|(component, at)| component.value(Place { seed: mix(place.seed, at), ..place })).sum()
    }
}

impl Component {
    fn value(&self, place: Place) -> f64 {
        match self {
            Self::Sine(wave) => wave.offset + wave.amplitude * (TAU * wave.turn(place.micros)).sin(),
            Self::Triangle(wave) => {
                let turn = wave.turn(place.micros);
                let height = if turn < 0.5 { 4.0 * turn - 1.0 } else { 3.0 - 4.0 * turn };
                wave.offset + wave.amplitude * height
            }
            Self::Square(wave) => {
                let height = if wave.turn(place.micros) < 0.5 { 1.0 } else { -1.0 };
                wave.offset + wave.amplitude * height
            }
            Self::Line(line) => line.offset + line.slope * (place.micros as f64 / 1e6),
            // The upper 53 bits, which a float holds without rounding, as a number from -1 to 1.
            Self::Noise(noise) => {
                let unit = (mix(place.seed, place.row) >> 11) as f64 / (1_u64 << 53) as f64;
                noise.amplitude * (2.0 * unit - 1.0)
            }
        }
    }
}

impl Wave {
    /// How much of a period has passed, from 0 to 1. The whole periods are left out in whole numbers, so that the last year's waves are
    /// those of the first.
    fn turn(&self, micros: i64) -> f64 {
        let Period(period) = self.period;
        (micros.rem_euclid(period) as f64 / period as f64 + self.phase / TAU).rem_euclid(1.0)
    }
}

/// Mixes two numbers into one that looks like chance: the finaliser of SplitMix64. Fixed for good, since it decides what a seed means.
pub(super) fn mix(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(components: &str, micros: &[i64]) -> Vec<f64> {
        let text = format!(r#"{{"name": "a", "components": [{components}]}}"#);
        let column: Column = serde_json::from_str(&text).unwrap();
        micros.iter().map(|micros| column.value(Place { micros: *micros, row: 0, seed: 0 })).collect()
    }

    fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
        }
    }

    #[test]
    fn waves_at_the_quarters_of_a_period() {
        let quarters = [0, 1_000_000, 2_000_000, 3_000_000, 4_000_000, 4_000_000_000_000_001_000];
        let wave = |kind: &str| format!(r#"{{"type": "{kind}", "amplitude": 5, "period": "4s", "offset": 15}}"#);
        close(&values(&wave("sine"), &quarters[..5]), &[15.0, 20.0, 15.0, 10.0, 15.0]);
        close(&values(&wave("triangle"), &quarters[..5]), &[10.0, 15.0, 20.0, 15.0, 10.0]);
        close(&values(&wave("square"), &quarters[..5]), &[20.0, 20.0, 10.0, 10.0, 20.0]);
        let late = values(&wave("sine"), &quarters[5..]);
        assert_eq!(late, values(&wave("sine"), &[1_000]), "waves do not wear out");
        let shifted = r#"{"type": "sine", "amplitude": 5, "period": "4s", "phase": 1.5707963267948966}"#;
        close(&values(shifted, &quarters[..4]), &[5.0, 0.0, -5.0, 0.0]);
    }

    #[test]
    fn components_add_up() {
        let line = r#"{"type": "line", "slope": 0.5, "offset": 1}"#;
        close(&values(line, &[0, 10_000_000]), &[1.0, 6.0]);
        close(&values(&format!("{line}, {line}"), &[10_000_000]), &[12.0]);
    }

    #[test]
    fn noise_is_spread_evenly_and_of_the_seed() {
        let column: Column =
            serde_json::from_str(r#"{"name": "a", "components": [{"type": "noise", "amplitude": 2}]}"#).unwrap();
        let noise = |row, seed| column.value(Place { micros: 0, row, seed });
        let all: Vec<f64> = (0..10_000).map(|row| noise(row, 7)).collect();
        assert!(all.iter().all(|value| value.abs() <= 2.0));
        let mean = all.iter().sum::<f64>() / 10_000.0;
        let square = all.iter().map(|value| value * value).sum::<f64>() / 10_000.0;
        assert!(mean.abs() < 0.05 && (square - 4.0 / 3.0).abs() < 0.05, "{mean} {square}");
        assert_eq!(noise(3, 7), all[3]);
        assert_ne!(noise(3, 8), all[3]);
        // What a seed means stays.
        assert_eq!(mix(7, 0), 7_191_089_600_892_374_487);
    }

    #[test]
    fn wrong_components_are_told() {
        for (text, says) in [
            (
                r#"{"type": "cosine"}"#,
                "unknown variant `cosine`, expected one of `sine`, `triangle`, `square`, `line`, `noise`",
            ),
            (r#"{"type": "sine", "amplitude": 1}"#, "missing field `period`"),
            (
                r#"{"type": "sine", "amplitude": 1, "period": "0s"}"#,
                "a period is a duration above 0, such as '24h', not '0s'",
            ),
            (r#"{"type": "line", "slope": 1, "phase": 1}"#, "unknown field `phase`, expected `slope` or `offset`"),
            (r#"{"type": "noise", "amplitude": "1"}"#, "invalid type: string \"1\", expected f64"),
        ] {
            let error = serde_json::from_str::<Component>(text).unwrap_err().to_string();
            assert!(error.starts_with(says), "{error}");
        }
    }
}
