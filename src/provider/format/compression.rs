//! What compressed bytes look like.

use datafusion::datasource::file_format::file_compression_type::FileCompressionType;

/// Extensions that a compressed file has behind its own.
const EXTENSIONS: &[(&str, FileCompressionType)] = &[
    ("gz", FileCompressionType::GZIP),
    ("gzip", FileCompressionType::GZIP),
    ("bz2", FileCompressionType::BZIP2),
    ("xz", FileCompressionType::XZ),
    ("zst", FileCompressionType::ZSTD),
    ("zstd", FileCompressionType::ZSTD),
];

/// How bytes that begin so are compressed.
pub(super) fn by_content(head: &[u8]) -> FileCompressionType {
    if head.starts_with(&[0x1f, 0x8b, 8]) {
        return FileCompressionType::GZIP;
    }
    if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return FileCompressionType::ZSTD;
    }
    if head.starts_with(b"\xfd7zXZ\0") {
        return FileCompressionType::XZ;
    }
    // `BZh9`, then the mark of a block, or of the end where there is none.
    let block = |rest: &[u8]| rest.starts_with(b"1AY&SY") || rest.starts_with(&[0x17, 0x72, 0x45, 0x38, 0x50, 0x90]);
    match head {
        [b'B', b'Z', b'h', b'1'..=b'9', rest @ ..] if block(rest) => FileCompressionType::BZIP2,
        _ => FileCompressionType::UNCOMPRESSED,
    }
}

/// What the option `compression` says of it.
pub(crate) fn name(compression: FileCompressionType) -> &'static str {
    match compression {
        FileCompressionType::GZIP => "gzip",
        FileCompressionType::BZIP2 => "bzip2",
        FileCompressionType::XZ => "xz",
        FileCompressionType::ZSTD => "zstd",
        _ => "uncompressed",
    }
}

/// A file's name, in lower case, without the extension that says how it is compressed; and what that one says.
pub(crate) fn without_extension(file: &str) -> (String, FileCompressionType) {
    let file = file.to_ascii_lowercase();
    let known = file.rsplit_once('.').and_then(|(inner, last)| {
        let (_, compression) = EXTENSIONS.iter().find(|(extension, _)| *extension == last)?;
        Some((inner.to_owned(), *compression))
    });
    known.unwrap_or((file, FileCompressionType::UNCOMPRESSED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressed_bytes_are_told_from_text() {
        assert_eq!(by_content(b"BZh91AY&SY..."), FileCompressionType::BZIP2);
        assert_eq!(by_content(b"BZh9,name\n1,2\n"), FileCompressionType::UNCOMPRESSED);
        assert_eq!(by_content(&[0x1f, 0x8b, 8, 0]), FileCompressionType::GZIP);
        assert_eq!(by_content(b""), FileCompressionType::UNCOMPRESSED);
    }

    #[test]
    fn names_tell_the_compression_behind_the_format() {
        for (file, inner, compression) in [
            ("a.CSV.gz", "a.csv", FileCompressionType::GZIP),
            ("a.csv.bz2", "a.csv", FileCompressionType::BZIP2),
            ("a.json.xz", "a.json", FileCompressionType::XZ),
            ("a.zstd", "a", FileCompressionType::ZSTD),
            ("gz", "gz", FileCompressionType::UNCOMPRESSED),
            ("a.gz.csv", "a.gz.csv", FileCompressionType::UNCOMPRESSED),
        ] {
            assert_eq!(without_extension(file), (inner.to_owned(), compression), "{file}");
        }
    }
}
