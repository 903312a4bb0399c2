//! Commits to Parquet rows, and rows to record batches.

use arrow::array::{
    Array, ArrayBuilder, BinaryBuilder, Int32Builder, Int64Builder, MapBuilder, MapFieldNames, RecordBatch,
    StringBuilder, TimestampMicrosecondBuilder,
};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::file::reader::ChunkReader;
use parquet::schema::types::ColumnPath;
use std::sync::Arc;
use tinyfs::{Action, Attributes, Commit, EntryKind, Hash, Operation, Part, Place, Result, WriteMode};

use crate::error::corrupt;
use crate::schema::{
    ATTRIBUTES, AUTHOR, BLAKE3, COMMIT, COMMITTED_AT, CONTENT, KIND, MAP_NAMES, MESSAGE, MODE, NAME, NODE, OP, PARENT,
    PLACE, PLACE_CONTENT, PLACE_LOG, SCHEMA, SEQ, SINCE, SIZE, TEXT, TXN, VERSION,
};
use crate::sparse::Holes;

/// The columns that a replay needs: neither the bytes nor what only people read.
pub(crate) const REPLAY: &[&str] = &[
    TXN,
    SEQ,
    COMMITTED_AT,
    OP,
    NODE,
    PARENT,
    NAME,
    KIND,
    VERSION,
    SINCE,
    MODE,
    SIZE,
    BLAKE3,
    PLACE,
    TEXT,
    ATTRIBUTES,
];
/// The columns of the history.
pub(crate) const HISTORY: &[&str] = &[TXN, SEQ, COMMITTED_AT, OP, AUTHOR, MESSAGE];
/// The columns that hold inline parts.
pub(crate) const PARTS: &[&str] = &[TXN, BLAKE3, PLACE, CONTENT];

/// Rows are handed to the writer in batches of about so many bytes.
const BATCH_BYTES: usize = 16 * 1024 * 1024;
/// How many rows are decoded at once; fewer where each may hold an inline part.
const LIGHT_ROWS: usize = 8192;
const HEAVY_ROWS: usize = 256;
/// About how long a short text is, such as a UUID.
const TEXT_BYTES: usize = 36;
/// Commits of more operations than this are compressed.
const FEW: usize = 256;

/// Record batches, decoded as they are asked for.
pub(crate) type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// A log file that is yet to be written.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) bytes: Bytes,
    /// BLAKE3 of `bytes`.
    pub(crate) hash: Hash,
    /// Where the inline parts are.
    pub(crate) holes: Holes,
    /// BLAKE3 of the bytes outside the holes.
    pub(crate) rest: Hash,
}

/// The rows of one commit, as a Parquet file. Parts in memory go into their rows.
pub(crate) fn encode(commit: &Commit) -> Result<Encoded> {
    // For a few rows, dictionaries, statistics and compression would cost more than they save.
    let properties = if commit.operations.len() > FEW {
        merged()
    } else {
        WriterProperties::builder().set_compression(Compression::UNCOMPRESSED).set_dictionary_enabled(false)
    };
    let mut bytes = Vec::new();
    let mut writer = writer(&mut bytes, properties)?;
    let mut rows = Rows::new(commit.operations.len().min(FEW) + 1);
    for (seq, operation) in commit.operations.iter().enumerate() {
        rows.operation(commit, seq, operation)?;
        if rows.bytes() > BATCH_BYTES {
            writer.write(&rows.finish()?).map_err(unwritable)?;
        }
    }
    rows.commit(commit)?;
    writer.write(&rows.finish()?).map_err(unwritable)?;
    let metadata = writer.close().map_err(unwritable)?;
    Encoded::new(bytes.into(), &metadata)
}

/// Many log files, in order, as one.
pub(crate) fn merge(files: Vec<Bytes>) -> Result<Encoded> {
    let mut bytes = Vec::new();
    let mut writer = writer(&mut bytes, merged())?;
    for file in files {
        for batch in decode(file, None)? {
            writer.write(&batch?).map_err(unwritable)?;
        }
    }
    let metadata = writer.close().map_err(unwritable)?;
    Encoded::new(bytes.into(), &metadata)
}

impl Encoded {
    fn new(bytes: Bytes, metadata: &ParquetMetaData) -> Result<Self> {
        let holes = Holes::of(bytes.len() as u64, metadata)?;
        let rest = holes.leave_out(&bytes).ok_or_else(|| corrupt("the rows are not as large as they are"))?.hash();
        Ok(Self { hash: blake3::hash(&bytes), bytes, holes, rest })
    }
}

fn merged() -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        // Bytes of parts repeat seldom, and hashes never.
        .set_column_dictionary_enabled(ColumnPath::from(CONTENT), false)
        .set_column_dictionary_enabled(ColumnPath::from(BLAKE3), false)
}

fn writer(bytes: &mut Vec<u8>, properties: WriterPropertiesBuilder) -> Result<ArrowWriter<&mut Vec<u8>>> {
    // Nobody looks for a row by its columns, and the range of transactions is in the log.
    let properties = properties.set_statistics_enabled(EnabledStatistics::None).set_offset_index_disabled(true).build();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    ArrowWriter::try_new_with_options(bytes, Arc::clone(&SCHEMA), options).map_err(unwritable)
}

fn unwritable(error: impl std::error::Error + Send + Sync + 'static) -> tinyfs::Error {
    tinyfs::Error::new(tinyfs::ErrorKind::Unsupported, "the commit cannot be written as rows").with_source(error)
}

/// The rows of a log file; of the columns only those asked for, or all.
pub(crate) fn decode(file: impl ChunkReader + 'static, columns: Option<&[&str]>) -> Result<Batches> {
    let malformed =
        |error: parquet::errors::ParquetError| corrupt("it is not a Parquet file of the log").with_source(error);
    // The schema is given, so that a file with other columns or types is refused here.
    let options = ArrowReaderOptions::new().with_schema(Arc::clone(&SCHEMA));
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).map_err(malformed)?;
    let mask = match columns {
        None => ProjectionMask::all(),
        Some(names) => {
            let fields = SCHEMA.fields().iter().enumerate();
            let roots = fields.filter(|(_, field)| names.contains(&field.name().as_str())).map(|(index, _)| index);
            ProjectionMask::roots(builder.parquet_schema(), roots)
        }
    };
    let heavy = columns.is_none_or(|names| names.contains(&CONTENT));
    let rows = if heavy { HEAVY_ROWS } else { LIGHT_ROWS };
    let reader = builder.with_projection(mask).with_batch_size(rows).build().map_err(malformed)?;
    Ok(Box::new(reader.map(|batch| batch.map_err(|error| corrupt("its rows do not decode").with_source(error)))))
}

/// A column of a batch.
pub(crate) fn column<'a, A: Array + 'static>(batch: &'a RecordBatch, name: &str) -> Result<&'a A> {
    batch
        .column_by_name(name)
        .and_then(|column| column.as_any().downcast_ref::<A>())
        .ok_or_else(|| corrupt(format!("column {name} is missing or of another type")))
}

/// Builds a batch, row by row.
struct Rows {
    txn: Int64Builder,
    seq: Int32Builder,
    committed_at: TimestampMicrosecondBuilder,
    op: StringBuilder,
    node: StringBuilder,
    parent: StringBuilder,
    name: StringBuilder,
    kind: StringBuilder,
    version: Int64Builder,
    since: Int64Builder,
    mode: StringBuilder,
    size: Int64Builder,
    blake3: StringBuilder,
    place: StringBuilder,
    content: BinaryBuilder,
    text: StringBuilder,
    attributes: MapBuilder<StringBuilder, StringBuilder>,
    author: StringBuilder,
    message: StringBuilder,
    attribute_bytes: usize,
}

/// What differs between the kinds of rows; absent is null.
#[derive(Default)]
struct Details<'a> {
    kind: Option<EntryKind>,
    text: Option<&'a str>,
    attributes: Option<&'a Attributes>,
    since: Option<u64>,
    write: Option<(u64, WriteMode, &'a Part)>,
}

impl Rows {
    /// For so many rows at first: builders begin with room for a thousand, in twenty columns.
    fn new(rows: usize) -> Self {
        let texts = || StringBuilder::with_capacity(rows, rows * TEXT_BYTES);
        let [entry, key, value] = MAP_NAMES.map(str::to_owned);
        let names = MapFieldNames { entry, key, value };
        Self {
            txn: Int64Builder::with_capacity(rows),
            seq: Int32Builder::with_capacity(rows),
            committed_at: TimestampMicrosecondBuilder::with_capacity(rows).with_timezone("UTC"),
            op: texts(),
            node: texts(),
            parent: texts(),
            name: texts(),
            kind: texts(),
            version: Int64Builder::with_capacity(rows),
            since: Int64Builder::with_capacity(rows),
            mode: texts(),
            size: Int64Builder::with_capacity(rows),
            blake3: texts(),
            place: texts(),
            content: BinaryBuilder::with_capacity(rows, 0),
            text: texts(),
            attributes: MapBuilder::new(Some(names), texts(), texts()),
            author: texts(),
            message: texts(),
            attribute_bytes: 0,
        }
    }

    fn operation(&mut self, commit: &Commit, seq: usize, operation: &Operation) -> Result<()> {
        self.head(commit, seq, operation.action.as_str())?;
        self.node.append_value(operation.node.to_string());
        self.parent.append_value(operation.parent.to_string());
        self.name.append_value(&operation.name);
        let details = match &operation.action {
            Action::Create { kind, text, attributes } => {
                Details { kind: Some(*kind), text: text.as_deref(), attributes: Some(attributes), ..Details::default() }
            }
            Action::Write { version, mode, part, attributes } => {
                Details { write: Some((*version, *mode, part)), attributes: Some(attributes), ..Details::default() }
            }
            Action::Compact { first, last, mode, part, attributes } => Details {
                since: Some(*first),
                write: Some((*last, *mode, part)),
                attributes: Some(attributes),
                ..Details::default()
            },
            Action::Update { text, attributes } => {
                Details { text: text.as_deref(), attributes: Some(attributes), ..Details::default() }
            }
            Action::Remove | Action::Rename => Details::default(),
        };
        self.details(&details)?;
        self.author.append_null();
        self.message.append_null();
        Ok(())
    }

    fn commit(&mut self, commit: &Commit) -> Result<()> {
        self.head(commit, commit.operations.len(), COMMIT)?;
        self.node.append_null();
        self.parent.append_null();
        self.name.append_null();
        self.details(&Details::default())?;
        self.author.append_value(&commit.info.author);
        self.message.append_value(&commit.info.message);
        Ok(())
    }

    fn head(&mut self, commit: &Commit, seq: usize, op: &str) -> Result<()> {
        self.txn.append_value(number(commit.txn.0)?);
        self.seq.append_value(i32::try_from(seq).map_err(unwritable)?);
        self.committed_at.append_value(commit.committed_at.timestamp_micros());
        self.op.append_value(op);
        Ok(())
    }

    fn details(&mut self, details: &Details<'_>) -> Result<()> {
        self.kind.append_option(details.kind.map(EntryKind::as_str));
        self.text.append_option(details.text);
        self.since.append_option(details.since.map(number).transpose()?);
        if let Some(attributes) = details.attributes {
            for (name, value) in attributes.iter() {
                self.attribute_bytes += name.len() + value.len();
                self.attributes.keys().append_value(name);
                self.attributes.values().append_value(value);
            }
        }
        self.attributes.append(details.attributes.is_some()).map_err(unwritable)?;
        let Some((version, mode, part)) = details.write else {
            self.version.append_null();
            self.mode.append_null();
            self.size.append_null();
            self.blake3.append_null();
            self.place.append_null();
            self.content.append_null();
            return Ok(());
        };
        self.version.append_value(number(version)?);
        self.mode.append_value(mode.as_str());
        self.size.append_value(number(part.size)?);
        self.blake3.append_value(part.hash.to_hex());
        let bytes = match &part.place {
            Place::Memory(bytes) => Some(bytes),
            Place::Log(_) | Place::Content => None,
        };
        self.place.append_value(if bytes.is_some() { PLACE_LOG } else { PLACE_CONTENT });
        self.content.append_option(bytes);
        Ok(())
    }

    /// About how large the rows are that are not finished: what can be large at all.
    fn bytes(&self) -> usize {
        self.content.values_slice().len()
            + self.text.values_slice().len()
            + self.name.values_slice().len()
            + 256 * self.txn.len()
            + self.attribute_bytes
    }

    /// The rows so far; the builder starts anew.
    fn finish(&mut self) -> Result<RecordBatch> {
        self.attribute_bytes = 0;
        RecordBatch::try_new(
            Arc::clone(&SCHEMA),
            vec![
                Arc::new(self.txn.finish()),
                Arc::new(self.seq.finish()),
                Arc::new(self.committed_at.finish()),
                Arc::new(self.op.finish()),
                Arc::new(self.node.finish()),
                Arc::new(self.parent.finish()),
                Arc::new(self.name.finish()),
                Arc::new(self.kind.finish()),
                Arc::new(self.version.finish()),
                Arc::new(self.since.finish()),
                Arc::new(self.mode.finish()),
                Arc::new(self.size.finish()),
                Arc::new(self.blake3.finish()),
                Arc::new(self.place.finish()),
                Arc::new(self.text.finish()),
                Arc::new(self.attributes.finish()),
                Arc::new(self.author.finish()),
                Arc::new(self.message.finish()),
                Arc::new(self.content.finish()),
            ],
        )
        .map_err(unwritable)
    }
}

fn number(value: u64) -> Result<i64> {
    i64::try_from(value).map_err(unwritable)
}

#[cfg(test)]
mod tests {
    use arrow::array::BinaryArray;
    use tinyfs::{CommitInfo, NodeId, Txn};

    use super::*;

    fn commit(parts: usize) -> Commit {
        let write = |index: usize| {
            let bytes = Bytes::from(vec![(index % 251) as u8; 1000]);
            let part =
                Part { hash: blake3::hash(&bytes), size: bytes.len() as u64, place: Place::Memory(bytes.clone()) };
            let attributes = Attributes::from_iter([("index", index.to_string())]);
            let action = Action::Write { version: 1, mode: WriteMode::Append, part, attributes };
            Operation { node: NodeId::unique(), parent: NodeId::ROOT, name: format!("f{index}").into(), action }
        };
        let operations = (0..parts).map(write).collect();
        Commit { txn: Txn(1), committed_at: Default::default(), info: CommitInfo::default(), operations }
    }

    /// The rows of a commit, two to a row group.
    fn in_groups(parts: usize) -> Encoded {
        let commit = commit(parts);
        let mut bytes = Vec::new();
        let mut writer = writer(&mut bytes, merged().set_max_row_group_row_count(Some(2))).unwrap();
        let mut rows = Rows::new(1);
        for (seq, operation) in commit.operations.iter().enumerate() {
            rows.operation(&commit, seq, operation).unwrap();
        }
        rows.commit(&commit).unwrap();
        writer.write(&rows.finish().unwrap()).unwrap();
        let metadata = writer.close().unwrap();
        Encoded::new(bytes.into(), &metadata).unwrap()
    }

    #[test]
    fn each_row_group_ends_with_its_parts() {
        for (encoded, groups) in [(encode(&commit(1)).unwrap(), 1), (in_groups(1), 1), (in_groups(6), 4)] {
            let text = encoded.holes.to_text();
            assert_eq!(text.matches('[').count(), 1 + groups, "{text}");
            let rest = encoded.holes.leave_out(&encoded.bytes).unwrap();
            let rows = |columns| {
                let batches = decode(rest.clone(), Some(columns))?;
                batches.map(|batch| Ok(batch?.num_rows())).sum::<Result<usize>>()
            };
            let expected: usize =
                decode(encoded.bytes.clone(), None).unwrap().map(|rows| rows.unwrap().num_rows()).sum();
            assert_eq!((rows(REPLAY).unwrap(), rows(HISTORY).unwrap()), (expected, expected));
            assert!(rows(PARTS).is_err(), "the parts are not there");
        }
    }

    #[test]
    fn a_merge_keeps_rows_and_parts() {
        let merged = merge(vec![in_groups(6).bytes, encode(&commit(300)).unwrap().bytes]).unwrap();
        let mut sizes = Vec::new();
        for batch in decode(merged.bytes, None).unwrap() {
            let batch = batch.unwrap();
            let contents: &BinaryArray = column(&batch, CONTENT).unwrap();
            sizes.extend(contents.iter().map(|bytes| bytes.map_or(0, |bytes| bytes.len())));
        }
        assert_eq!((sizes.len(), sizes.iter().sum::<usize>()), (308, 306_000));
        assert!(merged.holes.bytes() > 100);
    }
}
