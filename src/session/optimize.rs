//! `OPTIMIZE`: small parts of a file are merged into sorted, well-sized ones, which stand for them from then on.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{Column, DataFusionError, Result as DfResult};
use datafusion::datasource::provider_as_source;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use datafusion::physical_plan::execute_stream;
use datafusion::physical_plan::memory::MemoryStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::SessionContext;
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use tinyfs::{Attributes, EntryKind, Glob, GlobMatch, Node, Part, PondPath, Transaction, Version, Versions};

use crate::catalog::{OpenPond, file_provider, not_a_table};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{FileTable, PartAttributes, SortColumn, TableScanSpec, WriteOptions, write_part};
use crate::session::{PondSession, StatementResult};
use crate::udtf::no_match;

/// Parts are made of about so many bytes: a row group of the writer. Half of it is good enough to be left alone.
const PART_BYTES: u64 = 128 << 20;

/// Optimizes every file that `glob` matches; one row for each, also where there was nothing to do.
///
/// # Errors
/// [`ErrorKind::NotFound`] when nothing matches; [`ErrorKind::WrongKind`] for a path that is no table; what reading and writing say.
pub(super) async fn files(
    session: &PondSession,
    pond: &OpenPond,
    transaction: &Arc<Mutex<Transaction>>,
    glob: &Glob,
) -> Result<StatementResult> {
    let snapshot = transaction.lock().snapshot();
    let found = snapshot.glob(glob)?;
    if found.is_empty() {
        let tree = session.scope().tree_of(snapshot);
        return Err(match tree.glob(glob)?.first() {
            Some(shown) => {
                let message = format!("'{}' is not stored in the pond, so there is nothing to optimize", shown.path);
                Error::new(ErrorKind::WrongKind, message).with_path(&shown.path)
            }
            None => no_match(&tree, glob),
        });
    }
    let named = glob.as_path().is_some();
    let mut reports = Vec::new();
    for GlobMatch { path, node, .. } in found {
        if node.kind() == EntryKind::File && (named || FileTable::is_table(&node)) {
            reports.push(file(session, pond, transaction, path, &node).await?);
        } else if named {
            return Err(not_a_table(&path, &node));
        }
    }
    Ok(StatementResult::Rows(Box::pin(rows(&reports)?)))
}

/// What became of a file: how many parts a scan of it reads, and their bytes.
struct Report {
    path: PondPath,
    before: (u64, u64),
    after: (u64, u64),
}

async fn file(
    session: &PondSession,
    pond: &OpenPond,
    transaction: &Arc<Mutex<Transaction>>,
    path: PondPath,
    node: &Arc<Node>,
) -> Result<Report> {
    let runs = node.versions().map(runs).unwrap_or_default();
    let before = total(runs.iter().flat_map(|run| &run.parts).map(|part| part.part.size));
    let mut after = before;
    for run in worthwhile(runs) {
        let merged = merge(session, pond, &path, node, &run).await?;
        let (old, new) =
            (total(run.parts.iter().map(|part| part.part.size)), total(merged.iter().map(|(part, _)| part.size)));
        after = (after.0 - old.0 + new.0, after.1 - old.1 + new.1);
        transaction.lock().compact(&path, run.first, run.last, merged)?;
    }
    Ok(Report { path, before, after })
}

/// Parts of the content that stand for versions which only together may be stood for.
#[derive(Debug)]
struct Run {
    first: u64,
    last: u64,
    parts: Vec<Arc<Version>>,
}

impl Run {
    fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.part.size).sum()
    }
}

/// The content of a file, in order.
fn runs(versions: &Versions) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for part in versions.compacted_at(versions.len() as u64) {
        if let Some(run) = runs.last_mut()
            && run.last == part.number
        {
            // Only parts that stand for the same versions share a number.
            run.parts.push(part);
            continue;
        }
        let compaction = versions.compactions().iter().find(|compaction| compaction.last == part.number);
        let first = compaction.map_or(part.number, |compaction| compaction.first);
        runs.push(Run { first, last: part.number, parts: vec![part] });
    }
    runs
}

/// Neighbours that are small, as one each.
fn worthwhile(runs: Vec<Run>) -> Vec<Run> {
    let mut merged: Vec<Run> = Vec::new();
    let mut grows = false;
    for run in runs {
        // Files in other formats are left as somebody stored them.
        let ours = run.parts.iter().all(|part| PartAttributes::is_counted_parquet(&part.attributes));
        let small = ours && run.bytes() < PART_BYTES / 2;
        match merged.last_mut() {
            Some(last) if grows && small => {
                last.last = run.last;
                last.parts.extend(run.parts);
            }
            _ if small => merged.push(run),
            _ => {}
        }
        grows = small;
    }
    merged.retain(|run| run.parts.len() > 1);
    merged
}

/// Writes the rows of a run anew, in the file's order.
async fn merge(
    session: &PondSession,
    pond: &OpenPond,
    path: &PondPath,
    node: &Arc<Node>,
    run: &Run,
) -> Result<Vec<(Part, Attributes)>> {
    let table = FileTable::of_parts(path.clone(), node, &run.parts, &pond.attributes)?;
    let uncounted = || Error::new(ErrorKind::Corrupt, format!("'{path}' does not tell its rows")).with_path(path);
    let (schema, order) = (Arc::clone(table.schema()), order(&table));
    let expected = table.rows().ok_or_else(uncounted)?;
    let spec = TableScanSpec { files: vec![(table, Vec::new())], ..TableScanSpec::default() };
    let scan = LogicalPlanBuilder::scan(path.as_str(), provider_as_source(file_provider(pond, spec)?), None)?;
    let stream = if order.is_empty() {
        in_turn(session.context(), scan).await?
    } else {
        let by = order
            .iter()
            .map(|by| Expr::Column(Column::new_unqualified(&by.column)).sort(!by.descending, by.nulls_first));
        session.stream(&scan.sort(by.collect::<Vec<_>>())?.build()?).await?
    };
    let source = Arc::new(tokio::sync::Mutex::new(Source { stream, rest: None }));
    let count = ((run.bytes() + PART_BYTES / 2) / PART_BYTES).max(1);
    let (mut parts, mut written) = (Vec::new(), 0);
    for number in 1..=count {
        // The last one takes all that is left.
        let rows = if number == count { u64::MAX } else { expected.div_ceil(count) };
        let portion = portion(&source, &schema, rows);
        let options = WriteOptions { schema: Some(Arc::clone(&schema)), order: order.clone() };
        let part = write_part(portion, &pond.store, options).await?;
        written += part.rows;
        parts.push((part.part, part.attributes));
    }
    if written != expected {
        let message = format!("'{path}' was not optimized: {written} rows were read where {expected} should be");
        return Err(Error::new(ErrorKind::Corrupt, message).with_path(path));
    }
    Ok(parts)
}

/// The declared order; without one, that in which all parts are.
fn order(table: &FileTable) -> Vec<SortColumn> {
    if !table.order().is_empty() {
        return table.order().to_vec();
    }
    let mut orders =
        table.parts().iter().filter(|part| part.attributes.rows() != Some(0)).map(|part| &part.attributes.order);
    let Some(first) = orders.next() else { return Vec::new() };
    if orders.all(|order| order == first) { first.clone() } else { Vec::new() }
}

/// The rows in the order of the parts: one after the other.
async fn in_turn(context: &SessionContext, scan: LogicalPlanBuilder) -> Result<SendableRecordBatchStream> {
    let mut state = context.state();
    state.config_mut().options_mut().execution.target_partitions = 1;
    let plan = state.create_physical_plan(&scan.build()?).await?;
    Ok(execute_stream(plan, Arc::new(TaskContext::from(&state)))?)
}

/// Rows that are cut into portions.
struct Source {
    stream: SendableRecordBatchStream,
    /// What the portion before had no room for.
    rest: Option<RecordBatch>,
}

impl Source {
    async fn next(&mut self) -> Option<DfResult<RecordBatch>> {
        match self.rest.take() {
            Some(batch) => Some(Ok(batch)),
            None => self.stream.next().await,
        }
    }

    /// The next rows, at most so many.
    async fn take(&mut self, rows: u64) -> Option<DfResult<RecordBatch>> {
        let batch = match self.next().await? {
            Ok(batch) => batch,
            error => return Some(error),
        };
        match usize::try_from(rows) {
            Ok(rows) if rows < batch.num_rows() => {
                self.rest = Some(batch.slice(rows, batch.num_rows() - rows));
                Some(Ok(batch.slice(0, rows)))
            }
            _ => Some(Ok(batch)),
        }
    }
}

/// The next `rows` rows.
fn portion(source: &Arc<tokio::sync::Mutex<Source>>, schema: &SchemaRef, rows: u64) -> SendableRecordBatchStream {
    let batches = stream::unfold((Arc::clone(source), rows), |(source, left)| async move {
        if left == 0 {
            return None;
        }
        let batch = source.lock().await.take(left).await?;
        let taken = batch.as_ref().map_or(left, |batch| batch.num_rows() as u64);
        Some((batch, (source, left - taken)))
    });
    let stream: SendableRecordBatchStream = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(schema), batches));
    stream
}

/// How many there are, and their sum.
fn total(sizes: impl Iterator<Item = u64>) -> (u64, u64) {
    sizes.fold((0, 0), |(count, sum), size| (count + 1, sum + size))
}

fn rows(reports: &[Report]) -> Result<MemoryStream> {
    let counts = ["parts_before", "parts_after", "bytes_before", "bytes_after"];
    let fields = counts.map(|name| Field::new(name, DataType::UInt64, false));
    let path = Field::new("path", DataType::Utf8, false);
    let schema = Arc::new(Schema::new(std::iter::once(path).chain(fields).collect::<Vec<_>>()));
    let numbers = |of: fn(&Report) -> u64| Arc::new(UInt64Array::from_iter_values(reports.iter().map(of))) as ArrayRef;
    let columns = vec![
        Arc::new(StringArray::from_iter_values(reports.iter().map(|report| report.path.as_str()))) as ArrayRef,
        numbers(|report| report.before.0),
        numbers(|report| report.after.0),
        numbers(|report| report.before.1),
        numbers(|report| report.after.1),
    ];
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).map_err(DataFusionError::from)?;
    Ok(MemoryStream::try_new(vec![batch], schema, None)?)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chrono::DateTime;
    use datafusion::arrow::array::AsArray;
    use datafusion::arrow::datatypes::UInt64Type;
    use tinyfs::{Place, Txn, WriteMode};

    use super::*;

    fn run(first: u64, last: u64, megabytes: &[u64]) -> Run {
        let part = |size: &u64| {
            let hash = tinyfs::Hash::from_bytes([0; 32]);
            let part = Part { hash, size: size << 20, place: Place::Memory(Bytes::new()) };
            let (mode, modified) = (WriteMode::Append, DateTime::default());
            let attributes = Attributes::from_iter([("format", "parquet"), ("rows", "1")]);
            Arc::new(Version { number: last, mode, part, txn: Txn(1), modified, attributes })
        };
        Run { first, last, parts: megabytes.iter().map(part).collect() }
    }

    #[tokio::test]
    async fn rows_are_cut_into_portions() {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::UInt64, false)]));
        let batch = |numbers: std::ops::Range<u64>| {
            RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(UInt64Array::from_iter_values(numbers))]).unwrap()
        };
        let batches = vec![batch(0..4), batch(4..5), batch(5..10)];
        let stream = Box::pin(MemoryStream::try_new(batches, Arc::clone(&schema), None).unwrap());
        let source = Arc::new(tokio::sync::Mutex::new(Source { stream, rest: None }));
        let mut told = Vec::new();
        for rows in [3, 1, 3, u64::MAX, 5] {
            let portion: Vec<_> = portion(&source, &schema, rows).map(|batch| batch.unwrap()).collect().await;
            let numbers =
                portion.iter().flat_map(|batch| batch.column(0).as_primitive::<UInt64Type>().values().to_vec());
            told.push(numbers.collect::<Vec<_>>());
        }
        assert_eq!(told, [vec![0, 1, 2], vec![3], vec![4, 5, 6], vec![7, 8, 9], vec![]]);
    }

    #[test]
    fn small_neighbours_go_together() {
        let told = |runs| worthwhile(runs).iter().map(|run| (run.first, run.last, run.parts.len())).collect::<Vec<_>>();
        assert_eq!(told(vec![]), []);
        assert_eq!(told(vec![run(1, 1, &[1])]), []);
        assert_eq!(told(vec![run(1, 1, &[1]), run(2, 2, &[2])]), [(1, 2, 2)]);
        assert_eq!(told(vec![run(1, 9, &[100]), run(10, 10, &[1])]), []);
        let parts = vec![
            run(1, 1, &[1]),
            run(2, 2, &[1]),
            run(3, 9, &[128, 40]),
            run(10, 12, &[30]),
            run(13, 13, &[1]),
            run(14, 14, &[64]),
            run(15, 15, &[1]),
        ];
        assert_eq!(told(parts), [(1, 2, 2), (10, 13, 2)]);
    }
}
