//! [`Definition`]: what a pond keeps of a dynamic entry.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::options::{Field, InvalidOption};
use super::{DynamicFactory, OptionSpec};
use crate::error::{Error, ErrorKind, Result};

/// What a dynamic entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// A table.
    Table,
    /// A directory that holds what runs of the entry store in it, and nothing else. Listing it asks nobody.
    StoredDirectory,
    /// A directory that shows, beside what is stored in it, what its factory lists.
    ListedDirectory,
}

/// What a pond keeps of a dynamic entry: the text of its node. It tells its shape without the factory, which may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// The factory's name, in lower case.
    pub factory: String,
    /// What the entry is.
    pub shape: Shape,
    /// Where the source is, as it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// The options that were given, by name. Of a secret, where it is to be had.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

impl Definition {
    /// Checks a new definition completely, as far as that needs no I/O: names, types, what is required, and the factory's own rules.
    ///
    /// # Errors
    /// [`InvalidOption`]: the first thing that is wrong. A secret that is written out is refused, and not repeated.
    pub fn try_new(
        factory: &dyn DynamicFactory,
        location: Option<String>,
        options: BTreeMap<String, String>,
    ) -> Result<Self, InvalidOption> {
        let definition = Self { factory: factory.name().to_owned(), shape: factory.shape(), location, options };
        factory.location().check(factory.name(), definition.location.as_deref())?;
        check_options(factory.name(), factory.options(), &definition.options)?;
        factory.validate(&definition)?;
        Ok(definition)
    }

    /// Checks the arguments of a run.
    ///
    /// # Errors
    /// As [`try_new`](Self::try_new).
    pub fn check_arguments(
        factory: &dyn DynamicFactory,
        arguments: &BTreeMap<String, String>,
    ) -> Result<(), InvalidOption> {
        check_options(factory.name(), factory.arguments(), arguments)
    }

    /// The text to keep.
    ///
    /// # Errors
    /// None in practice: it is names and texts.
    pub fn to_text(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|error| Error::new(ErrorKind::Unsupported, "the entry cannot be written").with_source(error))
    }

    /// Reads what [`to_text`](Self::to_text) wrote; `None` for the text of an entry that no factory made.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt).
    pub fn from_text(text: &str) -> Result<Option<Self>> {
        let damaged = |error| Error::new(ErrorKind::Corrupt, "the dynamic entry is not readable").with_source(error);
        let value: serde_json::Value = serde_json::from_str(text).map_err(damaged)?;
        if value.get("factory").is_none() {
            return Ok(None);
        }
        serde_json::from_value(value).map(Some).map_err(damaged)
    }

    /// The statement that makes it at `path`.
    pub fn statement(&self, path: &str) -> String {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let name = self.factory.to_uppercase();
        let mut statement = format!("CREATE EXTERNAL TABLE {} STORED AS {name}", quoted(path));
        if let Some(location) = &self.location {
            statement.push_str(&format!(" LOCATION {}", quoted(location)));
        }
        let options = self.options.iter().map(|(name, value)| format!("{} {}", quoted(name), quoted(value)));
        let options: Vec<String> = options.collect();
        if !options.is_empty() {
            statement.push_str(&format!(" OPTIONS ({})", options.join(", ")));
        }
        statement
    }
}

/// Checks options or arguments against what there are: names, types, and those that must be.
///
/// # Errors
/// [`InvalidOption`]. Of a name that is not known, the nearest that is.
fn check_options(factory: &str, specs: &[OptionSpec], given: &BTreeMap<String, String>) -> Result<(), InvalidOption> {
    for (name, value) in given {
        match specs.iter().find(|spec| spec.name == name) {
            Some(spec) => spec.check(value)?,
            None => return Err(super::options::unknown(factory, specs, name)),
        }
    }
    match specs.iter().find(|spec| spec.required && !given.contains_key(spec.name)) {
        Some(spec) => {
            let message = format!("{} needs the option '{}': {}", factory.to_uppercase(), spec.name, spec.meaning);
            Err(InvalidOption { field: Field::Factory, message })
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::factory::{LocationSpec, OptionType};

    #[derive(Debug)]
    struct Weather;

    impl DynamicFactory for Weather {
        fn name(&self) -> &'static str {
            "weather"
        }
        fn meaning(&self) -> &'static str {
            "a test"
        }
        fn shape(&self) -> Shape {
            Shape::StoredDirectory
        }
        fn location(&self) -> LocationSpec {
            LocationSpec::Required("the root of the service")
        }
        fn options(&self) -> &'static [OptionSpec] {
            const OPTIONS: &[OptionSpec] = &[
                OptionSpec::new("station", OptionType::Text, "the station").required(),
                OptionSpec::new("page_limit", OptionType::Whole, "how many rows a page has"),
                OptionSpec::new("key", OptionType::Secret, "the key of the service"),
                OptionSpec::new("from", OptionType::Time, "the first reading"),
                OptionSpec::new("every", OptionType::Duration, "how often"),
                OptionSpec::new("fast", OptionType::Flag, "whether"),
                OptionSpec::new("shape", OptionType::Json, "what else"),
            ];
            OPTIONS
        }
    }

    fn made(location: Option<&str>, options: &[(&str, &str)]) -> Result<Definition, InvalidOption> {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Definition::try_new(&Weather, location.map(str::to_owned), options)
    }

    #[test]
    fn what_is_wrong_is_told_with_the_option() {
        for (options, field, says) in [
            (
                &[("station", "a"), ("pagelimit", "1")][..],
                Field::Option("pagelimit".into()),
                "WEATHER has no option 'pagelimit'; did you mean 'page_limit'?",
            ),
            (
                &[("station", "a"), ("zzz", "1")],
                Field::Option("zzz".into()),
                "WEATHER has no option 'zzz'; it has 'station', 'page_limit', 'key', 'from', 'every', 'fast', 'shape'",
            ),
            (
                &[("station", "a"), ("page_limit", "-1")],
                Field::Option("page_limit".into()),
                "the option 'page_limit' is a whole number, not '-1'",
            ),
            (
                &[("station", "a"), ("key", "hunter2")],
                Field::Option("key".into()),
                "the option 'key' is a secret: write 'env:NAME' or 'file:PATH' for where it is to be had, never itself",
            ),
            (
                &[("station", "a"), ("from", "yesterday")],
                Field::Option("from".into()),
                "the option 'from' is a time as RFC 3339 has it, such as '2024-05-30T00:00:00Z', not 'yesterday'",
            ),
            (
                &[("station", "a"), ("every", "1x")],
                Field::Option("every".into()),
                "the option 'every' is a duration, such as '15m' or '1h30m', not '1x'",
            ),
            (
                &[("station", "a"), ("fast", "maybe")],
                Field::Option("fast".into()),
                "the option 'fast' is true or false, not 'maybe'",
            ),
            (&[("page_limit", "1")], Field::Factory, "WEATHER needs the option 'station': the station"),
        ] {
            let error = made(Some("x"), options).unwrap_err();
            assert_eq!((error.field, error.message.as_str()), (field, says));
        }
        let error = made(Some("x"), &[("station", "a"), ("shape", "{")]).unwrap_err();
        assert!(error.message.starts_with("the option 'shape' is not JSON: "), "{}", error.message);
        let error = made(None, &[("station", "a")]).unwrap_err();
        assert_eq!(
            (error.field, error.message.as_str()),
            (Field::Factory, "WEATHER needs a LOCATION: the root of the service")
        );
    }

    #[test]
    fn a_definition_reads_back_and_tells_its_statement() {
        let definition = made(Some("http://h/"), &[("station", "it's"), ("key", "env:KEY")]).unwrap();
        assert_eq!(Definition::from_text(&definition.to_text().unwrap()).unwrap(), Some(definition.clone()));
        assert_eq!(
            definition.statement("/w"),
            "CREATE EXTERNAL TABLE '/w' STORED AS WEATHER LOCATION 'http://h/' OPTIONS ('key' 'env:KEY', 'station' 'it''s')"
        );
        assert_eq!(Definition::from_text(r#"{"format":"csv","location":"x"}"#).unwrap(), None);
        for damaged in ["", "{", r#"{"factory":1}"#, r#"{"factory":"a","shape":"b"}"#] {
            assert_eq!(Definition::from_text(damaged).unwrap_err().kind(), ErrorKind::Corrupt, "{damaged}");
        }
    }
}
