//! What the service's answers hold.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use reqwest::{StatusCode, Url};
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::http::{Answer, shown};
use crate::error::{Error, ErrorKind, Result};

/// No token is longer.
pub(super) const MAX_TOKEN_BYTES: usize = 16 << 10;

/// The words for the ids of parameters and units.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Names {
    pub(super) parameters: BTreeMap<String, String>,
    pub(super) units: BTreeMap<String, String>,
}

impl Names {
    /// Makes them different from each other: of ids with one name, all but the first get their id to it, so that two parameters never
    /// share a column.
    pub(super) fn distinct(mut self) -> Self {
        for names in [&mut self.parameters, &mut self.units] {
            let mut ids: Vec<String> = names.keys().cloned().collect();
            ids.sort_by(|left, right| (left.len(), left).cmp(&(right.len(), right)));
            let mut seen = HashSet::new();
            for id in ids {
                let Some(name) = names.get_mut(&id) else { continue };
                if !name.is_empty() && !seen.insert(name.clone()) {
                    *name = format!("{name} ({id})");
                }
            }
        }
        self
    }
}

/// A place with an instrument: a device.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Location {
    #[serde(deserialize_with = "id")]
    pub(super) id: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) gps: Option<Gps>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Gps {
    #[serde(default)]
    pub(super) latitude: Option<f64>,
    #[serde(default)]
    pub(super) longitude: Option<f64>,
}

/// One page of a device's readings.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReadingsPage {
    #[serde(default, deserialize_with = "optional_id")]
    pub(super) location_id: Option<String>,
    pub(super) parameters: Vec<ParameterReadings>,
}

/// What a page has of one parameter.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ParameterReadings {
    #[serde(deserialize_with = "id")]
    pub(super) parameter_id: String,
    #[serde(deserialize_with = "id")]
    pub(super) unit_id: String,
    pub(super) readings: Vec<Reading>,
}

/// A value at a time, or what stands in their places.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Reading {
    /// Seconds since 1970; `None` for what is no whole number.
    #[serde(default, deserialize_with = "seconds")]
    pub(super) timestamp: Option<i64>,
    /// `None` for what is no finite number.
    #[serde(default, deserialize_with = "finite")]
    pub(super) value: Option<f64>,
}

/// What an error may call an answer's type.
const KNOWN_TYPES: &[&str] = &["application/json", "text/html", "text/plain", "text/xml", "application/xml"];

/// The JSON of an answer. Its errors do not repeat the answer: a service may put anything there, and so the secret too.
pub(super) fn parse<T: DeserializeOwned>(url: &Url, answer: &Answer) -> Result<T> {
    if answer.status != StatusCode::OK {
        return Err(Error::new(ErrorKind::Io, format!("{} answers {}", shown(url), answer.status)));
    }
    serde_json::from_slice(&answer.body).map_err(|error| {
        let what = match error.classify() {
            serde_json::error::Category::Eof => "JSON that breaks off",
            serde_json::error::Category::Data => "JSON of another shape",
            serde_json::error::Category::Syntax | serde_json::error::Category::Io => "what is not JSON",
        };
        let kind = match answer.content_type.as_deref().and_then(|kind| kind.split(';').next()).map(str::trim) {
            None => "no type",
            Some(kind) => *KNOWN_TYPES.iter().find(|known| known.eq_ignore_ascii_case(kind)).unwrap_or(&"another type"),
        };
        let place = format!("line {}, column {}", error.line(), error.column());
        Error::new(ErrorKind::Corrupt, format!("{} answers with {what} ({kind}, at {place})", shown(url)))
    })
}

/// An id, which the service writes as a number in one place and as a text in another.
fn id<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<String, D::Error> {
    optional_id(deserializer)?.ok_or_else(|| serde::de::Error::custom("an id is a number or a text"))
}

fn optional_id<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<String>, D::Error> {
    Ok(match deserializer.deserialize_any(Scalar)? {
        Value::Text(text) => Some(text),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(_) | Value::Other => None,
    })
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<i64>, D::Error> {
    Ok(match deserializer.deserialize_any(Scalar)? {
        Value::Integer(number) => i64::try_from(number).ok(),
        // Beyond 2^53 a float is not the number that was written.
        Value::Float(number) if number.fract() == 0.0 && number.abs() < 9e15 => Some(number as i64),
        Value::Text(_) | Value::Float(_) | Value::Other => None,
    })
}

fn finite<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<f64>, D::Error> {
    Ok(match deserializer.deserialize_any(Scalar)? {
        Value::Integer(number) => Some(number as f64),
        Value::Float(number) => Some(number).filter(|number| number.is_finite()),
        Value::Text(_) | Value::Other => None,
    })
}

/// Any JSON value, as far as a number or a text is of interest.
enum Value {
    Integer(i128),
    Float(f64),
    Text(String),
    Other,
}

struct Scalar;

impl<'de> Visitor<'de> for Scalar {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_i64<E>(self, number: i64) -> std::result::Result<Value, E> {
        Ok(Value::Integer(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> std::result::Result<Value, E> {
        Ok(Value::Integer(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> std::result::Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> std::result::Result<Value, E> {
        // What is longer is no id.
        Ok(if text.len() <= 256 { Value::Text(text.to_owned()) } else { Value::Other })
    }

    fn visit_bool<E>(self, _: bool) -> std::result::Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> std::result::Result<Value, A::Error> {
        while items.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn answer(body: &'static str) -> Answer {
        let content_type = Some("text/html; charset=utf-8".to_owned());
        Answer { status: StatusCode::OK, next_page: None, content_type, body: Bytes::from_static(body.as_bytes()) }
    }

    fn url() -> Url {
        Url::parse("https://a.example/x?y=1").unwrap()
    }

    #[test]
    fn readings_of_all_kinds() {
        let body = r#"{"locationId": 12, "more": 1, "parameters": [{"parameterId": "1", "unitId": 2, "customParameter": false, "readings": [
            {"timestamp": 7, "value": 1.5}, {"timestamp": 8.0, "value": 2}, {"timestamp": 9, "value": "NaN"}, {"timestamp": 10, "value": null},
            {"timestamp": 11}, {"value": 3}, {"timestamp": "12", "value": [1, {"a": 2}]}, {"timestamp": 13.5, "value": {"b": []}}]}]}"#;
        let page: ReadingsPage = parse(&url(), &answer(body)).unwrap();
        assert_eq!(page.location_id.as_deref(), Some("12"));
        let [parameter] = page.parameters.as_slice() else { panic!("{page:?}") };
        assert_eq!((parameter.parameter_id.as_str(), parameter.unit_id.as_str()), ("1", "2"));
        let readings: Vec<_> = parameter.readings.iter().map(|reading| (reading.timestamp, reading.value)).collect();
        let expected = [
            (Some(7), Some(1.5)),
            (Some(8), Some(2.0)),
            (Some(9), None),
            (Some(10), None),
            (Some(11), None),
            (None, Some(3.0)),
            (None, None),
            (None, None),
        ];
        assert_eq!(readings, expected);
    }

    #[test]
    fn names_of_two_ids_differ() {
        let map =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(id, name)| ((*id).to_owned(), (*name).to_owned())).collect();
        let parameters = map(&[("10", "Temperature"), ("9", "Temperature"), ("1", "DO"), ("2", ""), ("3", "")]);
        let names = Names { parameters, units: map(&[("1", "C")]) }.distinct();
        assert_eq!(
            names.parameters,
            map(&[("10", "Temperature (10)"), ("9", "Temperature"), ("1", "DO"), ("2", ""), ("3", "")])
        );
        assert_eq!(names.units, map(&[("1", "C")]));
    }

    #[test]
    fn errors_do_not_repeat_the_answer() {
        for (body, message) in [
            ("<html>hunter2</html>", "answers with what is not JSON (text/html, at line 1, column 1)"),
            ("{\"parameters\": [{\"hunter2", "answers with JSON that breaks off"),
            ("{\"parameters\": \"hunter2\"}", "answers with JSON of another shape"),
            ("{\"parameters\": [{\"parameterId\": [], \"unitId\": 1, \"readings\": []}]}", "JSON of another shape"),
            (
                "{\"parameters\": [{\"parameterId\": 1, \"unitId\": 1, \"readings\": [{\"value\": NaN}]}]}",
                "what is not JSON",
            ),
            ("", "breaks off"),
        ] {
            let error = parse::<ReadingsPage>(&url(), &answer(body)).unwrap_err().to_string();
            assert!(error.contains(message) && error.starts_with("https://a.example/x "), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
