//! [`ReaderOptions`]: how a file is read, as names and texts.

use std::collections::BTreeMap;

use datafusion::datasource::file_format::file_compression_type::FileCompressionType;

use crate::error::{Error, ErrorKind, Result};

/// The option that every format of text has.
pub(crate) const COMPRESSION: &str = "compression";
/// How many records are looked at for the types of columns.
pub(crate) const INFERRED_RECORDS: &str = "schema_infer_max_rec";

/// Options of a reader, by name. What is not set is the format's default.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct ReaderOptions(BTreeMap<Box<str>, Box<str>>);

impl ReaderOptions {
    /// Options as a statement gives them: `format.` in front of a name is left out, as are differences of case; `has_header` is `header`.
    ///
    /// # Errors
    /// [`Usage`](ErrorKind::Usage) for a name that is given twice.
    pub(crate) fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let mut options = Self::default();
        for (given, value) in pairs {
            let lower = given.to_ascii_lowercase();
            let name = match lower.strip_prefix("format.").unwrap_or(&lower) {
                "has_header" => "header",
                name => name,
            };
            if options.0.insert(name.into(), value.into()).is_some() {
                return Err(Error::new(ErrorKind::Usage, format!("the option '{given}' is given twice")));
            }
        }
        Ok(options)
    }

    /// Reads what [`to_text`](Self::to_text) wrote.
    pub(crate) fn from_text(text: &str) -> Result<Self> {
        let pairs = serde_json::from_str(text).map_err(|error| {
            Error::new(ErrorKind::Corrupt, "the options of the reader are not readable").with_source(error)
        })?;
        Ok(Self(pairs))
    }

    /// Writes them down.
    pub(crate) fn to_text(&self) -> Result<String> {
        serde_json::to_string(&self.0)
            .map_err(|error| Error::new(ErrorKind::Unsupported, "the options cannot be written").with_source(error))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(AsRef::as_ref)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(AsRef::as_ref)
    }

    /// These, with `name` set.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<Box<str>>) -> Self {
        let _ = self.0.insert(name.into(), value.into());
        self
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>> {
        match self.get(name).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(self.wrong(name, "true or false")),
        }
    }

    /// One character of ASCII; a tab may be written `\t`.
    pub(crate) fn character(&self, name: &str) -> Result<Option<u8>> {
        match self.get(name).map(str::as_bytes) {
            None => Ok(None),
            Some(b"\\t") => Ok(Some(b'\t')),
            Some(b"\\n") => Ok(Some(b'\n')),
            Some(b"\\r") => Ok(Some(b'\r')),
            Some([one]) if one.is_ascii() => Ok(Some(*one)),
            Some(_) => Err(self.wrong(name, "one character")),
        }
    }

    /// The same, where an empty text says that there is none.
    pub(crate) fn character_if_any(&self, name: &str) -> Result<Option<u8>> {
        if self.get(name).is_some_and(str::is_empty) { Ok(None) } else { self.character(name) }
    }

    /// A whole number above 0.
    pub(crate) fn number(&self, name: &str) -> Result<Option<usize>> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.parse() {
            Ok(number) if number > 0 => Ok(Some(number)),
            _ => Err(self.wrong(name, "a whole number above 0")),
        }
    }

    /// How the file is compressed.
    pub(crate) fn compression(&self) -> Result<FileCompressionType> {
        match self.get(COMPRESSION) {
            None => Ok(FileCompressionType::UNCOMPRESSED),
            Some(text) if text.eq_ignore_ascii_case("uncompressed") || text.eq_ignore_ascii_case("none") => {
                Ok(FileCompressionType::UNCOMPRESSED)
            }
            Some("") => Err(self.wrong(COMPRESSION, "gzip, bzip2, xz, zstd or uncompressed")),
            Some(text) => text.parse().map_err(|_| self.wrong(COMPRESSION, "gzip, bzip2, xz, zstd or uncompressed")),
        }
    }

    /// The error for a value that is not possible.
    pub(crate) fn wrong(&self, name: &str, possible: &str) -> Error {
        let value = self.get(name).unwrap_or_default();
        Error::new(ErrorKind::Usage, format!("the option '{name}' is {possible}, not '{value}'"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(name: &str, value: &str) -> ReaderOptions {
        ReaderOptions::from_pairs([(name.to_owned(), value.to_owned())]).unwrap()
    }

    #[test]
    fn names_are_read_as_people_write_them() {
        assert_eq!(options("format.HAS_HEADER", "False").flag("header").unwrap(), Some(false));
        let twice = [("header", "true"), ("has_header", "true")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(ReaderOptions::from_pairs(twice).unwrap_err().kind(), ErrorKind::Usage);
    }

    #[test]
    fn values_that_are_not_possible_are_refused() {
        assert_eq!(options("delimiter", "\\t").character("delimiter").unwrap(), Some(b'\t'));
        assert_eq!(options("escape", "").character_if_any("escape").unwrap(), None);
        assert_eq!(options("escape", "^").character_if_any("escape").unwrap(), Some(b'^'));
        let error = options("quote", "").character("quote").unwrap_err();
        assert_eq!(error.to_string(), "the option 'quote' is one character, not ''");
        let error = options("delimiter", ";;").character("delimiter").unwrap_err();
        assert_eq!(error.to_string(), "the option 'delimiter' is one character, not ';;'");
        assert!(options("header", "1").flag("header").is_err());
        assert!(options(INFERRED_RECORDS, "0").number(INFERRED_RECORDS).is_err());
        assert!(options(COMPRESSION, "lzma").compression().is_err());
        assert_eq!(options(COMPRESSION, "GZIP").compression().unwrap(), FileCompressionType::GZIP);
    }

    #[test]
    fn texts_read_back() {
        let all = options("delimiter", "\"").with("quote", "\\");
        assert_eq!(ReaderOptions::from_text(&all.to_text().unwrap()).unwrap(), all);
    }
}
