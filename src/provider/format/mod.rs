//! The formats that files are read in: [`FORMATS`] has them all, each is one file here.
//!
//! To add one: write a [`FormatReader`] in a file of its own, and a line for it in [`FORMATS`].

mod arrow;
mod arrow_gate;
mod avro;
mod avro_blocks;
mod checked;
mod compression;
mod csv;
mod csv_dialect;
mod csv_times;
mod delta;
mod delta_stats;
mod detect;
mod json;
mod json_check;
mod json_escapes;
mod options;
mod parquet;
mod sample;
#[cfg(test)]
mod tests;
mod unpack;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::{ColumnStatistics, Result as DfResult};
use datafusion::datasource::physical_plan::FileSource;
use futures::stream::BoxStream;
use object_store::{ObjectMeta, ObjectStore};

use self::checked::Check;
pub(crate) use self::checked::{CheckedStore, Text};
pub(crate) use self::compression::{name as compression_name, without_extension};
pub(crate) use self::delta::{DeltaFile, DeltaVersion, is_delta, parse_as_of, read_log};
pub(crate) use self::detect::{Wanted, by_name, detect, known_extensions};
pub(crate) use self::options::ReaderOptions;
pub(crate) use self::parquet::checked_footer;
pub(crate) use self::sample::check_column_count;
pub(crate) use self::unpack::UnpackedStore;
use crate::error::{Error, ErrorKind, Result};

/// Every format, by precedence where contents are looked at.
const FORMATS: &[Format] = &[
    Format { name: "parquet", extensions: &["parquet", "parq"], magic: &[b"PAR1", b"PARE"], reader: &parquet::Parquet },
    Format {
        name: "arrow",
        extensions: &["arrow", "arrows", "feather", "ipc"],
        magic: &[b"ARROW1", b"\xff\xff\xff\xff"],
        reader: &arrow::Arrow,
    },
    Format { name: "avro", extensions: &["avro"], magic: &[b"Obj\x01"], reader: &avro::Avro },
    Format { name: "csv", extensions: &["csv"], magic: &[], reader: &csv::Csv { delimiter: b',' } },
    Format { name: "tsv", extensions: &["tsv", "tab"], magic: &[], reader: &csv::Csv { delimiter: b'\t' } },
    Format { name: "json", extensions: &["json", "ndjson", "jsonl"], magic: &[], reader: &json::Json },
];

/// One format.
pub(crate) struct Format {
    /// What it is called in `format => '…'`, `STORED AS`, and the attributes of versions.
    pub(crate) name: &'static str,
    /// The extensions of its files, in lower case.
    extensions: &'static [&'static str],
    /// What its files begin with; none where they begin with anything.
    magic: &'static [&'static [u8]],
    /// What reads it.
    pub(crate) reader: &'static dyn FormatReader,
}

/// What a format must tell, and make, so that its files are tables.
#[async_trait]
pub(crate) trait FormatReader: Send + Sync {
    /// The options that it has.
    fn known_options(&self) -> &'static [&'static str];

    /// Checks the values of options that are known to be known.
    ///
    /// # Errors
    /// [`Usage`](ErrorKind::Usage), naming the option and what it may be.
    fn check_options(&self, options: &ReaderOptions) -> Result<()>;

    /// Looks at a file: its columns, and what else it tells without being read as a whole. Memory is bounded, whatever the file claims.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) for a file that is not of the format, saying what is wrong but not of which file; [`Io`](ErrorKind::Io).
    async fn describe(&self, file: &SourceFile<'_>, options: &ReaderOptions) -> Result<Description>;

    /// DataFusion's own source for files that have exactly these columns. It is never asked for other columns or in another order than
    /// by a projection.
    fn source(&self, schema: &SchemaRef, options: &ReaderOptions) -> DfResult<Arc<dyn FileSource>>;

    /// Whether several partitions can each read a range of one file.
    fn can_split(&self, options: &ReaderOptions) -> bool;

    /// Whether it is cut at line feeds, of which some may be within values: what looks at a range finds that out where it ends.
    fn cuts_at_lines(&self) -> bool {
        false
    }

    /// The pieces that a file is read in, for a source that is to see one at a time; `None` where it sees the file.
    fn pieces(&self, _store: Arc<dyn ObjectStore>, _meta: ObjectMeta) -> Option<BoxStream<'static, Result<Piece>>> {
        None
    }

    /// What looks at a text before the source reads it; `None` where there is nothing that it must not read.
    ///
    /// # Errors
    /// [`Usage`](ErrorKind::Usage) for options, as [`check_options`](Self::check_options).
    fn check(&self, _text: &Text<'_>) -> Result<Option<Box<dyn Check>>> {
        Ok(None)
    }

    /// A store that gives the lines of a file in `store`, or of a range of it, as a file of their own, for a source that would take some of
    /// what is in them for something else; `None` where the source reads the file itself.
    fn spelled(
        &self,
        _store: &Arc<dyn ObjectStore>,
        _meta: &ObjectMeta,
        _range: Option<Range<u64>>,
    ) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    /// How much of a file to read at once, for a source that holds all of the range that it is asked for in memory.
    fn range_bytes(&self, _options: &ReaderOptions) -> Option<u64> {
        None
    }

    /// Whether the source holds in memory what it asks for at once, until it has read all of it.
    fn holds_bytes(&self, _options: &ReaderOptions) -> bool {
        false
    }
}

/// A file that a reader looks at.
pub(crate) struct SourceFile<'a> {
    pub(crate) store: &'a Arc<dyn ObjectStore>,
    pub(crate) meta: &'a ObjectMeta,
    pub(crate) session: &'a dyn Session,
    /// Whether a text is small enough to take its columns from all of it.
    pub(crate) whole: bool,
}

/// A piece of a file that is a file itself, of which a decoder finds the end.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) bytes: Bytes,
    /// How many rows it says it has: one batch.
    pub(crate) rows: usize,
}

/// What a reader tells of a file.
#[derive(Debug)]
pub(crate) struct Description {
    /// The columns as the source reads them, each name once.
    pub(crate) schema: SchemaRef,
    /// How many rows, where the file tells it and can be believed.
    pub(crate) rows: Option<u64>,
    /// Statistics of the columns, where the file tells them.
    pub(crate) columns: Option<Vec<ColumnStatistics>>,
    /// The options that it was looked at with, and those that were found out.
    pub(crate) options: ReaderOptions,
    pub(crate) seen: Seen,
}

/// How much of a file was looked at, as far as there is anything that [`FormatReader::check`] would find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Seen {
    /// Its beginning, or where it says what it has.
    #[default]
    Sample,
    /// All of it: there is nothing to be found, however it is cut.
    Whole,
}

impl Description {
    /// The columns alone.
    pub(crate) fn of_schema(schema: SchemaRef, options: &ReaderOptions) -> Self {
        Self { schema, rows: None, columns: None, options: options.clone(), seen: Seen::Sample }
    }
}

/// How the bytes of a part are read: the format and its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartFormat {
    pub(crate) format: &'static Format,
    pub(crate) options: ReaderOptions,
}

impl PartFormat {
    /// The format's name.
    pub(crate) fn name(&self) -> &'static str {
        self.format.name
    }
}

impl Default for PartFormat {
    /// Parquet, which statements write.
    fn default() -> Self {
        Self { format: &FORMATS[0], options: ReaderOptions::default() }
    }
}

impl Format {
    /// Whether this is Parquet, which DataFusion merges by name and prunes inside of files.
    pub(crate) fn is_parquet(&self) -> bool {
        self.name == FORMATS[0].name
    }

    /// Checks that options are known and have values that are possible.
    ///
    /// # Errors
    /// [`Usage`](ErrorKind::Usage), naming the option and those that are known, or its possible values.
    pub(crate) fn check_options(&self, options: &ReaderOptions) -> Result<()> {
        let known = self.reader.known_options();
        if let Some(name) = options.names().find(|name| !known.contains(name)) {
            let message = match known {
                [] => format!("the format '{}' has no options, and none '{name}'", self.name),
                known => {
                    format!("the format '{}' has no option '{name}'; it has {}", self.name, known.join(", "))
                }
            };
            return Err(Error::new(ErrorKind::Usage, message));
        }
        self.reader.check_options(options)
    }
}

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Format {}

impl std::hash::Hash for Format {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Whether a format has an option.
pub(crate) fn known_to(format: &Format, option: &str) -> bool {
    format.reader.known_options().contains(&option)
}

/// Checks the value of an option with each format that has it.
///
/// # Errors
/// [`Usage`](ErrorKind::Usage).
pub(crate) fn check_known(options: &ReaderOptions) -> Result<()> {
    let all_known = |format: &&Format| options.names().all(|name| known_to(format, name));
    FORMATS.iter().filter(all_known).try_for_each(|format| format.reader.check_options(options))
}

/// Whether a name in `STORED AS` is that of a format.
pub(crate) fn is_format(name: &str) -> bool {
    name.eq_ignore_ascii_case("delta") || wanted_format(name).is_ok()
}

/// Each option that any format's reader has, once.
pub(crate) fn reader_options() -> impl Iterator<Item = &'static str> {
    let known: BTreeSet<_> = FORMATS.iter().flat_map(|format| format.reader.known_options()).copied().collect();
    known.into_iter()
}

/// The format of this name.
pub(crate) fn format_named(name: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.name == name)
}

/// The format that a user names, in any case; `ndjson` is another name of `json`.
///
/// # Errors
/// [`Unsupported`](ErrorKind::Unsupported), naming those there are.
pub(crate) fn wanted_format(name: &str) -> Result<&'static Format> {
    let lower = name.to_ascii_lowercase();
    let by_name = |format: &&Format| format.name == lower || format.extensions.contains(&lower.as_str());
    FORMATS.iter().find(by_name).ok_or_else(|| {
        let known: Vec<_> = FORMATS.iter().map(|format| format.name).collect();
        let known = known.join(", ");
        Error::new(
            ErrorKind::Unsupported,
            format!("there is no format '{name}'; there are {known}, and delta for a directory of the host"),
        )
    })
}
