//! [`Settings`]: what an entry's `LOCATION` and `OPTIONS` say.

use std::collections::BTreeSet;

use reqwest::Url;
use tinyfs::{Definition, Field, InvalidOption, parse_time};

use super::address::Guard;

/// The service is younger: a reading from before is one whose clock was lost.
pub(super) const DEFAULT_START: i64 = 946_684_800;
/// The longest id of a device that names a directory.
const MAX_ID: usize = 64;

/// Where the service is, who asks it, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    /// The service's root, ending in `/`.
    pub(super) root: Url,
    pub(super) client_id: String,
    pub(super) devices: Devices,
    /// The first second that is asked for.
    pub(super) start: i64,
    /// How many pages of a device one run reads; `None`: all.
    pub(super) page_limit: Option<u64>,
    pub(super) addresses: Addresses,
}

/// The devices of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Devices {
    /// All that the service lists.
    All,
    /// These, by their ids.
    These(BTreeSet<String>),
}

/// Which addresses the service, and what it redirects to, may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Addresses {
    /// Those of the public internet.
    Public,
    /// Those of this machine and its networks too.
    Any,
}

impl Addresses {
    pub(super) fn guard(self) -> Guard {
        match self {
            Self::Public => Guard::public(),
            Self::Any => Guard::any(),
        }
    }
}

impl Settings {
    /// Reads them. Names and types of the options have been checked, and that those which must be are there.
    ///
    /// # Errors
    /// What is wrong, and with which option; never a part of the location that may be secret.
    pub(super) fn parse(definition: &Definition) -> Result<Self, InvalidOption> {
        let option = |name: &str| definition.options.get(name).map(String::as_str);
        let addresses = match option("allow_private") {
            Some("true") => Addresses::Any,
            _ => Addresses::Public,
        };
        let client_id = option("client_id").filter(|id| !id.is_empty());
        Ok(Self {
            root: root(definition.location.as_deref().unwrap_or_default(), addresses)?,
            client_id: client_id
                .ok_or_else(|| InvalidOption::of("client_id", "the option 'client_id' is empty"))?
                .to_owned(),
            devices: option("devices").map_or(Ok(Devices::All), devices)?,
            start: option("start").map_or(Ok(DEFAULT_START), start)?,
            page_limit: option("page_limit").map(page_limit).transpose()?,
            addresses,
        })
    }
}

/// Whether a text can be the id of a device: it becomes a name of a directory and a part of a URL.
pub(super) fn is_id(text: &str) -> bool {
    (1..=MAX_ID).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn root(location: &str, addresses: Addresses) -> Result<Url, InvalidOption> {
    let wrong = |message: String| InvalidOption { field: Field::Location, message };
    let mut url = Url::parse(location)
        .map_err(|error| wrong(format!("LOCATION is not a URL: {error}; it is such as 'https://www.hydrovu.com'")))?;
    if !url.username().is_empty() || url.password().is_some() {
        let message = "LOCATION holds a name or a password: these are the options 'client_id' and 'client_secret'";
        return Err(wrong(message.to_owned()));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("LOCATION is the service's root, without '?' and '#'".to_owned()));
    }
    match (url.scheme(), addresses) {
        ("https", _) | ("http", Addresses::Any) => {}
        ("http", Addresses::Public) => {
            let message = "LOCATION is 'https://…': with 'http' the secret could be read on its way; 'allow_private' 'true' allows it";
            return Err(wrong(message.to_owned()));
        }
        (scheme, _) => return Err(wrong(format!("LOCATION is 'https://…', not '{scheme}://…'"))),
    }
    addresses.guard().check(&url).map_err(|error| wrong(format!("LOCATION: {error}")))?;
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

fn devices(text: &str) -> Result<Devices, InvalidOption> {
    if text == "all" {
        return Ok(Devices::All);
    }
    let ids: Vec<&str> = text.split(',').map(str::trim).collect();
    match ids.iter().find(|id| !is_id(id)) {
        Some(id) => Err(wrong("devices", id, "'all', or ids with commas between them")),
        None => Ok(Devices::These(ids.into_iter().map(str::to_owned).collect())),
    }
}

fn start(text: &str) -> Result<i64, InvalidOption> {
    let time = parse_time(text).ok_or_else(|| wrong("start", text, "a time"))?;
    // Of a second that has begun before it, a reading is before it too.
    match time.timestamp() + i64::from(time.timestamp_subsec_nanos() > 0) {
        seconds if seconds >= 0 => Ok(seconds),
        _ => Err(wrong("start", text, "a time since 1970")),
    }
}

fn page_limit(text: &str) -> Result<u64, InvalidOption> {
    match text.parse() {
        Ok(limit) if limit > 0 => Ok(limit),
        _ => Err(wrong("page_limit", text, "a number of pages, at least 1")),
    }
}

fn wrong(name: &str, value: &str, wanted: &str) -> InvalidOption {
    InvalidOption::of(name, format!("the option '{name}' is {wanted}, not '{value}'"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tinyfs::Shape;

    use super::*;

    fn parse(location: &str, more: &[(&str, &str)]) -> Result<Settings, InvalidOption> {
        let options: BTreeMap<_, _> = [("client_id", "me")].iter().chain(more).copied().collect();
        let options = options.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let factory = "hydrovu".to_owned();
        Settings::parse(&Definition {
            factory,
            shape: Shape::StoredDirectory,
            location: Some(location.to_owned()),
            options,
        })
    }

    #[test]
    fn what_is_left_out_has_a_meaning() {
        let settings = parse("https://www.hydrovu.com", &[]).unwrap();
        assert_eq!(settings.root.as_str(), "https://www.hydrovu.com/");
        assert_eq!((settings.client_id.as_str(), &settings.devices), ("me", &Devices::All));
        assert_eq!((settings.start, settings.page_limit), (946_684_800, None));
        assert_eq!(settings.addresses, Addresses::Public);
        let more = [("devices", "12, 7,12"), ("start", "1970-01-01T01:00:00.5+01:00"), ("page_limit", "3")];
        let settings = parse("https://a.example/below", &more).unwrap();
        assert_eq!(settings.root.join("public-api/x").unwrap().as_str(), "https://a.example/below/public-api/x");
        assert_eq!(settings.devices, Devices::These(["12".to_owned(), "7".to_owned()].into()));
        assert_eq!((settings.start, settings.page_limit), (1, Some(3)));
        let settings = parse("http://127.0.0.1:80", &[("allow_private", "true")]).unwrap();
        assert_eq!(settings.addresses, Addresses::Any);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (location, more, field, message) in [
            ("hydrovu.com", &[][..], None, "LOCATION is not a URL"),
            ("ftp://hydrovu.com", &[], None, "not 'ftp://…'"),
            ("http://hydrovu.com", &[], None, "could be read on its way"),
            ("https://me:hunter2@hydrovu.com", &[], None, "LOCATION holds a name or a password"),
            ("https://hydrovu.com?hunter2", &[], None, "without '?' and '#'"),
            ("https://127.0.0.1", &[], None, "127.0.0.1 is a private address"),
            (
                "https://h.com",
                &[("devices", "7,,8")],
                Some("devices"),
                "'devices' is 'all', or ids with commas between them, not ''",
            ),
            ("https://h.com", &[("devices", "../7")], Some("devices"), "not '../7'"),
            ("https://h.com", &[("start", "1960-01-01T00:00:00Z")], Some("start"), "'start' is a time since 1970"),
            (
                "https://h.com",
                &[("page_limit", "0")],
                Some("page_limit"),
                "'page_limit' is a number of pages, at least 1, not '0'",
            ),
            ("https://h.com", &[("client_id", "")], Some("client_id"), "the option 'client_id' is empty"),
        ] {
            let error = parse(location, more).unwrap_err();
            assert_eq!(error.field, field.map_or(Field::Location, |name| Field::Option(name.to_owned())));
            assert!(error.message.contains(message), "{error}");
            assert!(!error.message.contains("hunter2"), "{error}");
        }
    }
}
