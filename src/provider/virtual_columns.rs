//! Columns that a scan adds to those of the files: captures of a glob, and where a row comes from.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, TimeUnit};
use datafusion::common::ScalarValue;

use super::scan_part::{PartOrigin, ScanPart};
use crate::error::{Error, ErrorKind, Result};

/// One column that has one value for all rows of a part. DataFusion calls it a partition column: filters on it prune parts without opening any.
#[derive(Debug, Clone)]
pub(crate) struct VirtualColumn {
    pub(crate) field: FieldRef,
    source: Source,
}

/// Which metadata columns there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meta {
    None,
    /// All of them.
    Pond,
    /// Those that a file outside of a pond has: no version and no transaction.
    Host,
}

#[derive(Debug, Clone, Copy)]
enum Source {
    /// The capture at this place in the file's list.
    Capture(usize),
    Path,
    Name,
    Version,
    Txn,
    Modified,
}

impl VirtualColumn {
    /// Named captures, then the metadata columns `_path` to `_modified`, then captures named `_1`, `_2`, ….
    ///
    /// # Errors
    /// [`Plan`](ErrorKind::Plan) when one has the name of a column of the files.
    pub(crate) fn all(file_schema: &Schema, captures: &[Arc<str>], meta: Meta) -> Result<Vec<Self>> {
        let capture = |(at, name): (usize, &Arc<str>)| Self::new(name, DataType::Utf8View, true, Source::Capture(at));
        let (positional, named): (Vec<_>, Vec<_>) =
            captures.iter().enumerate().partition(|(_, name)| is_positional(name));
        let mut columns: Vec<Self> = named.into_iter().map(capture).collect();
        let modified = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let meta_columns = [
            Self::new("_path", DataType::Utf8View, false, Source::Path),
            Self::new("_name", DataType::Utf8View, false, Source::Name),
            Self::new("_version", DataType::UInt64, false, Source::Version),
            Self::new("_txn", DataType::UInt64, false, Source::Txn),
            Self::new("_modified", modified, false, Source::Modified),
        ];
        columns.extend(meta_columns.into_iter().filter(|column| match meta {
            Meta::None => false,
            Meta::Pond => true,
            Meta::Host => !matches!(column.source, Source::Version | Source::Txn),
        }));
        columns.extend(positional.into_iter().map(capture));
        for (at, column) in columns.iter().enumerate() {
            let name = column.field.name();
            let what = if matches!(column.source, Source::Capture(_)) { "capture" } else { "metadata column" };
            if file_schema.column_with_name(name).is_some() {
                let advice = match column.source {
                    Source::Capture(_) => format!("rename the capture, as in '{{{name}_}}'"),
                    _ => "read the files without meta => true, or rename the column in a view".to_owned(),
                };
                return Err(Error::new(
                    ErrorKind::Plan,
                    format!("the {what} '{name}' has the name of the column '{name}' of the files: {advice}"),
                ));
            }
            if columns[..at].iter().any(|other| other.field.name() == name) {
                return Err(Error::new(
                    ErrorKind::Plan,
                    format!("two captures or metadata columns are named '{name}'"),
                ));
            }
        }
        Ok(columns)
    }

    fn new(name: &str, data_type: DataType, nullable: bool, source: Source) -> Self {
        Self { field: Arc::new(Field::new(name, data_type, nullable)), source }
    }

    /// The column's value for all rows of `part`.
    pub(crate) fn value(&self, part: &ScanPart) -> ScalarValue {
        let text = |text: &str| ScalarValue::Utf8View(Some(text.to_owned()));
        match self.source {
            Source::Capture(at) => {
                ScalarValue::Utf8View(part.captures.get(at).and_then(Option::as_ref).map(ToString::to_string))
            }
            Source::Path => text(match &part.origin {
                PartOrigin::Pond { path, .. } => path.as_str(),
                PartOrigin::Host { label, .. } => label,
            }),
            Source::Name => text(match &part.origin {
                PartOrigin::Pond { path, .. } => path.name().unwrap_or_default(),
                PartOrigin::Host { meta, .. } => meta.location.filename().unwrap_or_default(),
            }),
            Source::Version => ScalarValue::UInt64(part.version().map(|version| version.number)),
            Source::Txn => ScalarValue::UInt64(part.version().map(|version| version.txn.0)),
            Source::Modified => {
                let modified = match &part.origin {
                    PartOrigin::Pond { version, .. } => version.modified,
                    PartOrigin::Host { meta, .. } => meta.last_modified,
                };
                ScalarValue::TimestampMicrosecond(Some(modified.timestamp_micros()), Some("UTC".into()))
            }
        }
    }
}

fn is_positional(name: &str) -> bool {
    name.strip_prefix('_')
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()))
}
