//! The columns of the log.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use deltalake_core::kernel::StructType;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel;
use tinyfs::Result;

use crate::error::corrupt;

pub(crate) const TXN: &str = "txn";
pub(crate) const SEQ: &str = "seq";
pub(crate) const COMMITTED_AT: &str = "committed_at";
pub(crate) const OP: &str = "op";
pub(crate) const NODE: &str = "node";
pub(crate) const PARENT: &str = "parent";
pub(crate) const NAME: &str = "name";
pub(crate) const KIND: &str = "kind";
pub(crate) const VERSION: &str = "version";
pub(crate) const MODE: &str = "mode";
pub(crate) const SIZE: &str = "size";
pub(crate) const BLAKE3: &str = "blake3";
pub(crate) const PLACE: &str = "place";
pub(crate) const CONTENT: &str = "content";
pub(crate) const TEXT: &str = "text";
pub(crate) const ATTRIBUTES: &str = "attributes";
pub(crate) const AUTHOR: &str = "author";
pub(crate) const MESSAGE: &str = "message";

/// The word of [`OP`] in the row that ends a transaction.
pub(crate) const COMMIT: &str = "commit";
/// The word of [`PLACE`] for bytes that are in the row itself.
pub(crate) const PLACE_LOG: &str = "log";
/// The word of [`PLACE`] for bytes that are a file below `_content`.
pub(crate) const PLACE_CONTENT: &str = "content";

/// The names inside [`ATTRIBUTES`], as the Parquet format wants them.
pub(crate) const MAP_NAMES: [&str; 3] = ["key_value", "key", "value"];

/// Every column: name, type, whether it may be null, and what it means. The meaning is kept with the table, so that
/// any Delta reader shows it.
const COLUMNS: [(&str, Type, Null, &str); 18] = [
    (TXN, Type::Long, Null::Never, "Transaction, from 1; the version of the Delta table that it made"),
    (SEQ, Type::Integer, Null::Never, "Place in the transaction, from 0; in a commit row the number of rows before it"),
    (COMMITTED_AT, Type::Timestamp, Null::Never, "When the transaction was committed"),
    (OP, Type::Text, Null::Never, "create, write, update, remove, rename; or commit, the last row of a transaction"),
    (NODE, Type::Text, Null::Maybe, "Id (UUID) of the entry that changed; null in commit rows"),
    (PARENT, Type::Text, Null::Maybe, "Id of the directory that holds the entry after the change"),
    (NAME, Type::Text, Null::Maybe, "Name of the entry there after the change"),
    (KIND, Type::Text, Null::Maybe, "create: directory, file, symlink, view or dynamic"),
    (VERSION, Type::Long, Null::Maybe, "write: number of the file's version, from 1"),
    (MODE, Type::Text, Null::Maybe, "write: append to or replace the content before"),
    (SIZE, Type::Long, Null::Maybe, "write: number of bytes"),
    (BLAKE3, Type::Text, Null::Maybe, "write: BLAKE3 of the bytes, in hex"),
    (PLACE, Type::Text, Null::Maybe, "write: log if the bytes are in this row, content if in _content/<xx>/<blake3>"),
    (TEXT, Type::Text, Null::Maybe, "create, update: target of a symlink, query of a view, configuration"),
    (ATTRIBUTES, Type::Map, Null::Maybe, "create, write, update: what the layers above keep"),
    (AUTHOR, Type::Text, Null::Maybe, "commit: who"),
    (MESSAGE, Type::Text, Null::Maybe, "commit: why"),
    // Last, so that in each row group nothing follows it, and a replay reads around it in few pieces.
    (CONTENT, Type::Binary, Null::Maybe, "write: the bytes, where place is log"),
];

#[derive(Clone, Copy)]
enum Type {
    Long,
    Integer,
    Timestamp,
    Text,
    Binary,
    Map,
}

#[derive(Clone, Copy, PartialEq)]
enum Null {
    Never,
    Maybe,
}

impl Type {
    fn arrow(self) -> DataType {
        match self {
            Self::Long => DataType::Int64,
            Self::Integer => DataType::Int32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Text => DataType::Utf8,
            Self::Binary => DataType::Binary,
            Self::Map => {
                let [entry, key, value] = MAP_NAMES;
                let fields =
                    Fields::from(vec![Field::new(key, DataType::Utf8, false), Field::new(value, DataType::Utf8, true)]);
                DataType::Map(Arc::new(Field::new(entry, DataType::Struct(fields), false)), false)
            }
        }
    }
}

/// The schema of every log file.
pub(crate) static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let fields = COLUMNS.map(|(name, kind, null, _)| Field::new(name, kind.arrow(), null == Null::Maybe));
    Arc::new(Schema::new(fields.to_vec()))
});

/// The schema as Delta's metadata spells it, with the columns' meanings as comments.
pub(crate) fn delta_schema() -> Result<String> {
    let fields = COLUMNS.map(|(name, kind, null, meaning)| {
        Field::new(name, kind.arrow(), null == Null::Maybe)
            .with_metadata([("comment".to_owned(), meaning.to_owned())].into())
    });
    let schema: StructType = (&Schema::new(fields.to_vec()))
        .try_into_kernel()
        .map_err(|error| corrupt("the log's schema has no Delta form").with_source(error))?;
    serde_json::to_string(&schema).map_err(|error| corrupt("the log's schema has no JSON form").with_source(error))
}
