//! [`OptionSpec`]: what an option of a factory is called, and what may be its value.

use std::fmt;

use super::secret::SecretSource;
use super::values::{parse_duration, parse_time};
use crate::path::PondPath;

/// What may be the value of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionType {
    /// Any text.
    Text,
    /// A whole number from 0.
    Whole,
    /// A number.
    Number,
    /// `true` or `false`.
    Flag,
    /// A time as RFC 3339 has it.
    Time,
    /// A length of time: `15m`, `1h30m`.
    Duration,
    /// JSON.
    Json,
    /// A path in the pond.
    Path,
    /// `env:NAME` or `file:PATH`: where a secret is to be had. The secret itself is refused.
    Secret,
}

impl OptionType {
    /// The word that users see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Whole => "whole number",
            Self::Number => "number",
            Self::Flag => "true or false",
            Self::Time => "time",
            Self::Duration => "duration",
            Self::Json => "JSON",
            Self::Path => "path",
            Self::Secret => "secret",
        }
    }
}

/// One option of a factory, or one argument of its runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionSpec {
    /// What it is called.
    pub name: &'static str,
    /// What may be its value.
    pub option_type: OptionType,
    /// Whether it must be given.
    pub required: bool,
    /// What it means, in a few words.
    pub meaning: &'static str,
}

impl OptionSpec {
    /// An option that may be left out.
    pub const fn new(name: &'static str, option_type: OptionType, meaning: &'static str) -> Self {
        Self { name, option_type, required: false, meaning }
    }

    /// This, but it must be given.
    #[must_use]
    pub const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    /// Checks a value.
    ///
    /// # Errors
    /// [`InvalidOption`], with the value, unless it may be a secret.
    pub fn check(&self, value: &str) -> Result<(), InvalidOption> {
        let expected = match self.option_type {
            OptionType::Text => return Ok(()),
            OptionType::Whole if value.parse::<u64>().is_ok() => return Ok(()),
            OptionType::Whole => "a whole number",
            OptionType::Number if value.parse::<f64>().is_ok_and(f64::is_finite) => return Ok(()),
            OptionType::Number => "a number",
            OptionType::Flag if matches!(value, "true" | "false") => return Ok(()),
            OptionType::Flag => "true or false",
            OptionType::Time if parse_time(value).is_some() => return Ok(()),
            OptionType::Time => "a time as RFC 3339 has it, such as '2024-05-30T00:00:00Z'",
            OptionType::Duration if parse_duration(value).is_some() => return Ok(()),
            OptionType::Duration => "a duration, such as '15m' or '1h30m'",
            OptionType::Json => {
                return match serde_json::from_str::<serde_json::Value>(value) {
                    Ok(_) => Ok(()),
                    Err(error) => Err(self.invalid(format!("the option '{}' is not JSON: {error}", self.name))),
                };
            }
            OptionType::Path if PondPath::parse(value).is_ok() => return Ok(()),
            OptionType::Path => "a path in the pond, such as '/archive'",
            OptionType::Secret if SecretSource::parse(value).is_some() => return Ok(()),
            OptionType::Secret => {
                let message = format!(
                    "the option '{}' is a secret: write 'env:NAME' or 'file:PATH' for where it is to be had, never itself",
                    self.name
                );
                return Err(self.invalid(message));
            }
        };
        Err(self.invalid(format!("the option '{}' is {expected}, not '{value}'", self.name)))
    }

    /// The error for this option.
    pub fn invalid(&self, message: impl Into<String>) -> InvalidOption {
        InvalidOption::of(self.name, message)
    }
}

/// What a `LOCATION` means to a factory. The text says what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocationSpec {
    /// It has none.
    None,
    /// It must be given.
    Required(&'static str),
}

impl LocationSpec {
    pub(super) fn check(self, factory: &str, given: Option<&str>) -> Result<(), InvalidOption> {
        let name = factory.to_uppercase();
        match (self, given) {
            (Self::None, Some(_)) => {
                let message = format!("{name} has no LOCATION");
                Err(InvalidOption { field: Field::Location, message })
            }
            (Self::Required(meaning), None) => {
                let message = format!("{name} needs a LOCATION: {meaning}");
                Err(InvalidOption { field: Field::Factory, message })
            }
            _ => Ok(()),
        }
    }
}

/// What of a definition is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// The definition as a whole.
    Factory,
    /// Its location.
    Location,
    /// The option of this name.
    Option(String),
}

/// What is wrong with a definition, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidOption {
    /// What of it is wrong.
    pub field: Field,
    /// Why, in one line.
    pub message: String,
}

impl InvalidOption {
    /// The option `name` is wrong.
    pub fn of(name: &str, message: impl Into<String>) -> Self {
        Self { field: Field::Option(name.to_owned()), message: message.into() }
    }
}

impl fmt::Display for InvalidOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for InvalidOption {}

/// The error for a name that no spec has.
pub(super) fn unknown(factory: &str, specs: &[OptionSpec], name: &str) -> InvalidOption {
    let factory = factory.to_uppercase();
    let lower = name.to_lowercase();
    let nearest = specs
        .iter()
        .map(|spec| (strsim::osa_distance(spec.name, &lower), spec.name))
        .filter(|(distance, _)| *distance <= lower.chars().count().div_ceil(3).max(1))
        .min();
    let hint = match (nearest, specs) {
        (Some((_, nearest)), _) => format!("; did you mean '{nearest}'?"),
        (None, []) => "; it has none".to_owned(),
        (None, specs) => {
            let known: Vec<String> = specs.iter().map(|spec| format!("'{}'", spec.name)).collect();
            format!("; it has {}", known.join(", "))
        }
    };
    InvalidOption::of(name, format!("{factory} has no option '{name}'{hint}"))
}
