//! [`Replay`]: log rows back to a [`State`].

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, Int32Array, Int64Array, MapArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use chrono::{DateTime, Utc};
use tinyfs::{
    Action, Attributes, Commit, CommitInfo, EntryKind, Hash, LogEntry, NodeId, Operation, Part, Place, Result, State,
    Txn, WriteMode,
};
use uuid::Uuid;

use crate::error::corrupt;
use crate::rows::{Batches, column};
use crate::schema::{
    ATTRIBUTES, AUTHOR, BLAKE3, COMMIT, COMMITTED_AT, KIND, MESSAGE, MODE, NAME, NODE, OP, PARENT, PLACE,
    PLACE_CONTENT, PLACE_LOG, SEQ, SIZE, TEXT, TXN, VERSION,
};

/// Applies rows, in the order of the log, to a state.
#[derive(Debug)]
pub(crate) struct Replay {
    state: State,
    until: Txn,
    /// How many operations of the transaction that follows are applied already.
    applied: usize,
    interner: Interner,
}

impl Replay {
    /// Goes on from `state`, and stops after transaction `until`.
    pub(crate) fn new(state: State, until: Txn) -> Self {
        Self { state, until, applied: 0, interner: Interner::default() }
    }

    /// Applies the rows of the transactions that follow the state's, up to the last one wanted.
    ///
    /// # Errors
    /// [`Corrupt`](tinyfs::ErrorKind::Corrupt) when a row is malformed, or is not the one that must follow. The replay
    /// must then be thrown away.
    pub(crate) fn absorb(&mut self, batches: Batches) -> Result<()> {
        for batch in batches {
            let batch = batch?;
            let columns = Columns::of(&batch)?;
            for row in 0..batch.num_rows() {
                let txn = columns.head.txn(row)?;
                if txn > self.state.txn() && txn <= self.until {
                    self.row(&columns, row, txn)?;
                }
            }
        }
        Ok(())
    }

    fn row(&mut self, columns: &Columns<'_>, row: usize, txn: Txn) -> Result<()> {
        if txn != self.state.txn().next() {
            return Err(corrupt(format!("a row of transaction {txn} follows transaction {}", self.state.txn())));
        }
        if columns.head.seq(row)? != self.applied {
            return Err(corrupt(format!("a row of transaction {txn} is missing or misplaced")));
        }
        let committed_at = columns.head.committed_at(row)?;
        if columns.head.op.value(row) != COMMIT {
            // At once, because a transaction may have millions of operations.
            let operation = columns.operation(row, txn, &mut self.interner)?;
            self.state.apply_operation(&operation, txn, committed_at)?;
            self.applied += 1;
            return Ok(());
        }
        let commit = Commit { txn, committed_at, info: CommitInfo::default(), operations: Vec::new() };
        self.state = self.state.apply(&commit)?;
        self.applied = 0;
        Ok(())
    }

    /// The state after all rows.
    ///
    /// # Errors
    /// [`Corrupt`](tinyfs::ErrorKind::Corrupt) when rows are missing.
    pub(crate) fn finish(self) -> Result<State> {
        if self.applied != 0 || self.state.txn() != self.until {
            return Err(corrupt(format!(
                "the rows end within transaction {}, before transaction {}",
                self.state.txn().next(),
                self.until
            )));
        }
        Ok(self.state)
    }
}

/// The history that commit rows tell, up to `until`.
pub(crate) fn history(batches: Batches, until: Txn) -> Result<Vec<LogEntry>> {
    let mut entries = Vec::new();
    for batch in batches {
        let batch = batch?;
        let head = Head::of(&batch)?;
        let (author, message) = (column::<StringArray>(&batch, AUTHOR)?, column::<StringArray>(&batch, MESSAGE)?);
        for row in 0..batch.num_rows() {
            let txn = head.txn(row)?;
            if txn <= until && head.op.value(row) == COMMIT {
                entries.push(LogEntry {
                    txn,
                    committed_at: head.committed_at(row)?,
                    info: CommitInfo {
                        author: present(author, row, AUTHOR)?.to_owned(),
                        message: present(message, row, MESSAGE)?.to_owned(),
                    },
                    operations: head.seq(row)? as u64,
                });
            }
        }
    }
    Ok(entries)
}

/// The columns that every row has.
struct Head<'a> {
    txn: &'a Int64Array,
    seq: &'a Int32Array,
    committed_at: &'a TimestampMicrosecondArray,
    op: &'a StringArray,
}

impl<'a> Head<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self> {
        Ok(Self {
            txn: column(batch, TXN)?,
            seq: column(batch, SEQ)?,
            committed_at: column(batch, COMMITTED_AT)?,
            op: column(batch, OP)?,
        })
    }

    fn txn(&self, row: usize) -> Result<Txn> {
        Ok(Txn(natural(self.txn.value(row), TXN)?))
    }

    fn seq(&self, row: usize) -> Result<usize> {
        usize::try_from(self.seq.value(row)).map_err(|_| malformed(SEQ, &self.seq.value(row).to_string()))
    }

    fn committed_at(&self, row: usize) -> Result<DateTime<Utc>> {
        let micros = self.committed_at.value(row);
        DateTime::from_timestamp_micros(micros).ok_or_else(|| malformed(COMMITTED_AT, &micros.to_string()))
    }
}

struct Columns<'a> {
    head: Head<'a>,
    node: &'a StringArray,
    parent: &'a StringArray,
    name: &'a StringArray,
    kind: &'a StringArray,
    version: &'a Int64Array,
    mode: &'a StringArray,
    size: &'a Int64Array,
    blake3: &'a StringArray,
    place: &'a StringArray,
    text: &'a StringArray,
    attributes: &'a MapArray,
    keys: &'a StringArray,
    values: &'a StringArray,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self> {
        let attributes = column::<MapArray>(batch, ATTRIBUTES)?;
        let strings = |array: &'a dyn Array| {
            array.as_any().downcast_ref::<StringArray>().ok_or_else(|| corrupt("attributes are not text"))
        };
        Ok(Self {
            head: Head::of(batch)?,
            node: column(batch, NODE)?,
            parent: column(batch, PARENT)?,
            name: column(batch, NAME)?,
            kind: column(batch, KIND)?,
            version: column(batch, VERSION)?,
            mode: column(batch, MODE)?,
            size: column(batch, SIZE)?,
            blake3: column(batch, BLAKE3)?,
            place: column(batch, PLACE)?,
            text: column(batch, TEXT)?,
            attributes,
            keys: strings(attributes.keys())?,
            values: strings(attributes.values())?,
        })
    }

    fn operation(&self, row: usize, txn: Txn, interner: &mut Interner) -> Result<Operation> {
        let text = self.text.is_valid(row).then(|| interner.text(self.text.value(row)));
        let action = match self.head.op.value(row) {
            "create" => {
                let kind = present(self.kind, row, KIND)?;
                let kind = EntryKind::parse(kind).ok_or_else(|| malformed(KIND, kind))?;
                Action::Create { kind, text, attributes: self.attributes(row, interner)? }
            }
            "write" => {
                let mode = present(self.mode, row, MODE)?;
                Action::Write {
                    version: natural(value(self.version, row, VERSION)?, VERSION)?,
                    mode: WriteMode::parse(mode).ok_or_else(|| malformed(MODE, mode))?,
                    part: self.part(row, txn)?,
                    attributes: self.attributes(row, interner)?,
                }
            }
            "update" => Action::Update { text, attributes: self.attributes(row, interner)? },
            "remove" => Action::Remove,
            "rename" => Action::Rename,
            other => return Err(malformed(OP, other)),
        };
        Ok(Operation {
            node: node(self.node, row, NODE)?,
            parent: node(self.parent, row, PARENT)?,
            name: interner.text(present(self.name, row, NAME)?),
            action,
        })
    }

    fn part(&self, row: usize, txn: Txn) -> Result<Part> {
        let hash = present(self.blake3, row, BLAKE3)?;
        let place = match present(self.place, row, PLACE)? {
            PLACE_LOG => Place::Log(txn),
            PLACE_CONTENT => Place::Content,
            other => return Err(malformed(PLACE, other)),
        };
        Ok(Part {
            hash: Hash::from_hex(hash).map_err(|error| malformed(BLAKE3, hash).with_source(error))?,
            size: natural(value(self.size, row, SIZE)?, SIZE)?,
            place,
        })
    }

    fn attributes(&self, row: usize, interner: &mut Interner) -> Result<Attributes> {
        if !self.attributes.is_valid(row) {
            return Err(corrupt(format!("column {ATTRIBUTES} is null where it must not be")));
        }
        let offsets = self.attributes.value_offsets();
        let bound = |index: usize| usize::try_from(offsets[index]).map_err(|_| corrupt("a negative offset"));
        interner.attributes(self.keys, self.values, bound(row)?..bound(row + 1)?)
    }
}

/// Lets equal texts share one allocation: a million files with one schema have it once.
///
/// It lives as long as its replay.
#[derive(Debug, Default)]
struct Interner {
    texts: HashSet<Arc<str>>,
    attributes: HashMap<u64, Attributes>,
    hasher: RandomState,
    /// The last ones that were made. Neighbours in the log often differ in one text only.
    last: Attributes,
}

/// How many texts, and how many attributes, are remembered. Most are of one version alone, such as its statistics, and to
/// remember a million of them would cost more than to keep one in many thousands of the others twice.
const REMEMBERED: usize = 32 * 1024;

impl Interner {
    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        if self.texts.len() == REMEMBERED {
            self.texts.clear();
        }
        let text: Arc<str> = Arc::from(text);
        let _ = self.texts.insert(Arc::clone(&text));
        text
    }

    fn attributes(&mut self, keys: &StringArray, values: &StringArray, range: Range<usize>) -> Result<Attributes> {
        if range.clone().any(|index| values.is_null(index)) {
            return Err(corrupt("an attribute is null"));
        }
        let same = |known: &&Attributes| {
            range.len() == known.iter().len()
                && known
                    .iter()
                    .zip(range.clone())
                    .all(|((key, value), index)| &**key == keys.value(index) && &**value == values.value(index))
        };
        if let Some(known) = Some(&self.last).filter(same) {
            return Ok(known.clone());
        }
        let mut hasher = self.hasher.build_hasher();
        for index in range.clone() {
            hasher.write(keys.value(index).as_bytes());
            hasher.write_u8(0xff);
            hasher.write(values.value(index).as_bytes());
            hasher.write_u8(0xff);
        }
        let hash = hasher.finish();
        if let Some(known) = self.attributes.get(&hash).filter(same) {
            return Ok(known.clone());
        }
        let last = self.last.clone();
        let mut before = last.iter();
        let made: Attributes = range
            .map(|index| {
                let (key, value) = (keys.value(index), values.value(index));
                match before.next() {
                    Some((known, text)) if &**known == key && &**text == value => (Arc::clone(known), Arc::clone(text)),
                    Some((known, _)) if &**known == key => (Arc::clone(known), self.text(value)),
                    _ => (self.text(key), self.text(value)),
                }
            })
            .collect();
        if self.attributes.len() == REMEMBERED {
            self.attributes.clear();
        }
        let _ = self.attributes.insert(hash, made.clone());
        self.last = made.clone();
        Ok(made)
    }
}

fn present<'a>(column: &'a StringArray, row: usize, name: &str) -> Result<&'a str> {
    if column.is_null(row) {
        return Err(corrupt(format!("column {name} is null where it must not be")));
    }
    Ok(column.value(row))
}

fn value(column: &Int64Array, row: usize, name: &str) -> Result<i64> {
    if column.is_null(row) {
        return Err(corrupt(format!("column {name} is null where it must not be")));
    }
    Ok(column.value(row))
}

fn natural(value: i64, name: &str) -> Result<u64> {
    u64::try_from(value).map_err(|_| malformed(name, &value.to_string()))
}

fn node(column: &StringArray, row: usize, name: &str) -> Result<NodeId> {
    let text = present(column, row, name)?;
    Ok(NodeId(Uuid::parse_str(text).map_err(|error| malformed(name, text).with_source(error))?))
}

fn malformed(column: &str, text: &str) -> tinyfs::Error {
    corrupt(format!("column {column} holds '{text}'"))
}
