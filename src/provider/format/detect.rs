//! Which format a file has: by what it begins with, then by its name.

use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use object_store::ObjectStoreExt;

use super::csv::NULL_REGEX;
use super::options::COMPRESSION;
use super::unpack::unpacked;
use super::{FORMATS, Format, PartFormat, ReaderOptions, SourceFile, compression, format_named, wanted_format};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::encode::Encoding;

/// How much of a file is looked at.
const HEAD: u64 = 512;

/// What is asked for by whoever reads a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Wanted {
    /// The format, where it was named.
    pub(crate) format: Option<&'static Format>,
    /// The options that were given.
    pub(crate) options: ReaderOptions,
}

impl Wanted {
    /// What a user names: a format, and options as [`ReaderOptions::from_pairs`] reads them.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) for a format that there is not; [`Usage`](ErrorKind::Usage) for an option that is given twice.
    pub(crate) fn try_new(format: Option<&str>, options: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        Ok(Self { format: format.map(wanted_format).transpose()?, options: ReaderOptions::from_pairs(options)? })
    }

    /// How a file is read that was written in this encoding, whatever its name is.
    pub(crate) fn of_written(encoding: Encoding) -> Self {
        Self { format: format_named(encoding.format()), options: ReaderOptions::default() }
    }

    /// How a CSV file is read that was written with these options of `COPY`.
    ///
    /// # Errors
    /// [`Usage`](ErrorKind::Usage) for an option that is given twice.
    pub(crate) fn of_written_csv(options: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let read = options.into_iter().filter_map(|(given, value)| {
            let lower = given.to_ascii_lowercase();
            match lower.strip_prefix("format.").unwrap_or(&lower) {
                "header" | "has_header" | "delimiter" | "quote" | "escape" | "terminator" => Some((given, value)),
                "null_value" if !value.is_empty() => {
                    Some((NULL_REGEX.to_owned(), format!("^{}$", regex::escape(&value))))
                }
                // The rest is how values were written, and is seen in them.
                _ => None,
            }
        });
        Ok(Self { format: format_named("csv"), options: ReaderOptions::from_pairs(read)? })
    }
}

/// The format of the file `name`; `None` for bytes that neither their beginning nor their name tells of.
///
/// # Errors
/// [`Unsupported`](ErrorKind::Unsupported) for a compressed file of a format that is only read as it is; [`Corrupt`](ErrorKind::Corrupt) for one
/// that is only named as if it were compressed; [`Usage`](ErrorKind::Usage) for options that the format does not have; [`Io`](ErrorKind::Io).
pub(crate) async fn detect(file: &SourceFile<'_>, name: &str, wanted: &Wanted) -> Result<Option<PartFormat>> {
    let head = match file.meta.size {
        0 => bytes::Bytes::new(),
        size => file.store.get_range(&file.meta.location, 0..size.min(HEAD)).await?,
    };
    let compressed = match wanted.options.get(COMPRESSION) {
        Some(_) => wanted.options.compression()?,
        None => compression::by_content(&head),
    };
    if wanted.options.get(COMPRESSION).is_none()
        && !compressed.is_compressed()
        && compression::without_extension(name).1.is_compressed()
        && !is_text(&head)
    {
        let message = "its name says that it is compressed, and its bytes are not: was it cut short? \
                       Where they are as they should be, the option 'compression' is 'uncompressed'";
        return Err(Error::new(ErrorKind::Corrupt, message));
    }
    let beginning = if compressed.is_compressed() { inner_head(&head, compressed).await } else { head };
    let format = match wanted.format {
        Some(format) => Some(format),
        None => by_content(&beginning).or_else(|| by_name(name)),
    };
    let Some(format) = format else { return Ok(None) };
    let mut options = wanted.options.clone();
    if compressed.is_compressed() {
        if !format.reader.known_options().contains(&COMPRESSION) {
            let message = format!(
                "a compressed {} file is not read: it is compressed within itself, or has to be unpacked",
                format.name
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        options = options.with(COMPRESSION, compression::name(compressed));
    }
    format.check_options(&options)?;
    Ok(Some(PartFormat { format, options }))
}

/// The extensions that are known, for messages.
pub(crate) fn known_extensions() -> String {
    let all: Vec<_> = FORMATS.iter().flat_map(|format| format.extensions).map(|known| format!(".{known}")).collect();
    format!("{}; those of text also with .gz, .bz2, .xz or .zst behind", all.join(", "))
}

fn by_content(head: &[u8]) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.magic.iter().any(|magic| head.starts_with(magic)))
}

/// Whether this is the beginning of a text of lines, as of a file that was unpacked and kept its name.
fn is_text(head: &[u8]) -> bool {
    let cut_within_character = |error: std::str::Utf8Error| error.error_len().is_none() && head.len() as u64 == HEAD;
    head.contains(&b'\n')
        && head.iter().all(|byte| !byte.is_ascii_control() || byte.is_ascii_whitespace())
        && std::str::from_utf8(head).map_or_else(cut_within_character, |_| true)
}

pub(crate) fn by_name(name: &str) -> Option<&'static Format> {
    let (file, _) = compression::without_extension(name);
    let (_, extension) = file.rsplit_once('.')?;
    FORMATS.iter().find(|format| format.extensions.contains(&extension))
}

/// The first bytes of what is compressed. Nothing is said of bytes that cannot be unpacked: the reader does.
async fn inner_head(head: &bytes::Bytes, compression: FileCompressionType) -> bytes::Bytes {
    use futures::StreamExt;
    let mut stream = unpacked(futures::stream::iter([Ok(head.clone())]).boxed(), compression);
    stream.next().await.and_then(std::result::Result::ok).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_by_name() {
        let format = |name| by_name(name).map(|format| format.name);
        assert_eq!(format("a.CSV"), Some("csv"));
        assert_eq!(format("a.b.tsv.gz"), Some("tsv"));
        assert_eq!(format("a.jsonl.zst"), Some("json"));
        assert_eq!(format("a.parquet"), Some("parquet"));
        assert_eq!(format("a.feather"), Some("arrow"));
        for name in ["a", "a.gz", "a.txt", "csv", ""] {
            assert_eq!(format(name), None, "{name}");
        }
    }

    #[test]
    fn formats_by_content() {
        let format = |head: &[u8]| by_content(head).map(|format| format.name);
        assert_eq!(format(b"PAR1\x15"), Some("parquet"));
        assert_eq!(format(b"ARROW1\0\0"), Some("arrow"));
        assert_eq!(format(b"Obj\x01"), Some("avro"));
        assert_eq!(format(b"id,name\n"), None);
    }

    #[test]
    fn text_under_the_name_of_a_compressed_file() {
        assert!(is_text(b"id,name\r\n1,\xc3\xa9\n"));
        for head in [&b""[..], b"BZh91A", b"(", b"\x1f", b"\x1f\x8b\n", b"\xfd7zXZ\n", b"a\n\xc3"] {
            assert!(!is_text(head), "{head:?}");
        }
        let long = format!("{:x<511}\u{e9}", "a\n");
        assert!(is_text(&long.as_bytes()[..512]), "a character may be cut where the look ends");
    }
}
