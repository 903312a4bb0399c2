//! What files tell of themselves that nobody has described: columns, and, where they are small, statistics.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::Session;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue};
use datafusion::functions_aggregate::min_max::{MaxAccumulator, MinAccumulator};
use datafusion::logical_expr::Accumulator;
use datafusion::physical_plan::execute_stream;
use futures::TryStreamExt;
use object_store::ObjectStore;
use tinyfs::{Attributes, Part, PondPath, Txn, Version, WriteMode};

use super::attribute_cache::AttributeCache;
use super::attributes::PartAttributes;
use super::format::{PartFormat, SourceFile, Wanted, detect};
use super::object_store::PondObjectStore;
use super::part_observer::{PartObserver, kept_bounds};
use super::scan::{PartStore, ScanRequest, plan_scan};
use super::scan_part::{PartOrigin, ScanColumns, ScanPart};
use super::schema_text;
use super::stats_text::{MAX_BOUND_BYTES, keeps_bounds};
use crate::error::{Error, ErrorKind, Result};

/// The largest file that is read as a whole for its statistics when it is stored.
const OBSERVED_BYTES: u64 = 64 << 20;
/// Where reading it for them ends, whatever it unpacks to.
const OBSERVED_MEMORY: usize = 512 << 20;

/// Looks at versions of files in a pond.
pub(crate) struct Inspector<'a> {
    pub(crate) session: &'a dyn Session,
    pub(crate) objects: &'a Arc<PondObjectStore>,
    pub(crate) cache: &'a AttributeCache,
}

impl Inspector<'_> {
    /// What is known of the bytes of a version after a look at them; `None` for bytes that are no table.
    ///
    /// # Errors
    /// What is wrong with the bytes, naming path and version.
    pub(crate) async fn version(
        &self,
        path: &PondPath,
        version: &Version,
        wanted: &Wanted,
    ) -> Result<Option<Arc<PartAttributes>>> {
        if let Some(known) = self.cache.inspected(path, version, wanted) {
            return Ok(Some(known));
        }
        let lease = self.objects.lease(path, version);
        let store: Arc<dyn ObjectStore> = Arc::clone(self.objects) as _;
        let file = SourceFile { store: &store, meta: &lease.meta(), session: self.session, whole: false };
        let found = describe_file(&file, path.name().unwrap_or_default(), wanted).await.map_err(|error| {
            if error.path().is_some() || error.kind() == ErrorKind::Usage {
                return error;
            }
            let message = format!("cannot read '{path}' version {}", version.number);
            Error::new(error.kind(), message).with_path(path).with_version(version.number).with_source(error)
        })?;
        Ok(found.map(|found| self.cache.keep_inspected(path, version, wanted, found)))
    }
}

/// What is kept with bytes that are about to be stored at `path`: what a table needs to know, or nothing where they are none. They are read as is `wanted`.
///
/// # Errors
/// [`Io`](ErrorKind::Io), and what the store says. Bytes that are not what their name promises are stored all the same, as bytes.
pub(crate) async fn describe_stored(
    session: &dyn Session,
    objects: &Arc<PondObjectStore>,
    path: &PondPath,
    part: &Part,
    wanted: &Wanted,
) -> Result<Attributes> {
    match describe_as(session, objects, path, part, wanted).await {
        Ok(attributes) => Ok(attributes.unwrap_or_default()),
        Err(error) if is_of_the_session(&error) => Err(error),
        Err(error) => {
            tracing::debug!(%path, %error, "stored as bytes");
            Ok(Attributes::default())
        }
    }
}

/// Whether an error says nothing of the bytes.
fn is_of_the_session(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Io | ErrorKind::Cancelled)
}

/// What a table needs to know of bytes that are about to be stored at `path`, read as is `wanted`; `None` where nothing tells their format.
///
/// A small file is read as a whole, so that its rows are counted, and its columns have bounds.
///
/// # Errors
/// [`Io`](ErrorKind::Io); what is wrong with the bytes or the options, without the path.
pub(crate) async fn describe_as(
    session: &dyn Session,
    objects: &Arc<PondObjectStore>,
    path: &PondPath,
    part: &Part,
    wanted: &Wanted,
) -> Result<Option<Attributes>> {
    let version = Version {
        number: 0,
        mode: WriteMode::Replace,
        part: part.clone(),
        txn: Txn::default(),
        modified: chrono::DateTime::UNIX_EPOCH,
        attributes: Attributes::default(),
    };
    let lease = objects.lease(path, &version);
    let store: Arc<dyn ObjectStore> = Arc::clone(objects) as _;
    let small = part.size <= OBSERVED_BYTES;
    let file = SourceFile { store: &store, meta: &lease.meta(), session, whole: small };
    let Some(described) = describe_file(&file, path.name().unwrap_or_default(), wanted).await? else {
        return Ok(None);
    };
    let attributes = match small && described.rows().is_none() {
        false => described,
        true => {
            let origin = PartOrigin::Pond { path: path.clone(), version: Arc::new(version) };
            match observe(session, &PartStore::Pond(Arc::clone(objects)), origin, &described).await {
                Ok(Some(observed)) => observed.with_seen(described.seen()),
                Ok(None) => described,
                Err(error) if is_of_the_session(&error) => return Err(error),
                Err(error) => {
                    tracing::debug!(%path, %error, "no statistics");
                    described
                }
            }
        }
    };
    attributes.to_attributes().map(Some)
}

/// What a file tells of itself; `None` for bytes that are no table.
///
/// # Errors
/// What is wrong with it, without its name.
pub(crate) async fn describe_file(
    file: &SourceFile<'_>,
    name: &str,
    wanted: &Wanted,
) -> Result<Option<PartAttributes>> {
    let Some(PartFormat { format, options }) = detect(file, name, wanted).await? else { return Ok(None) };
    let description = format.reader.describe(file, &options).await?;
    let schema = schema_text::without_metadata(&description.schema);
    let mut names = std::collections::HashSet::new();
    if let Some(field) = schema.fields().iter().find(|field| !names.insert(field.name())) {
        let message = format!("it has two columns named '{}'", field.name());
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    let format = PartFormat { format, options: description.options };
    let attributes = PartAttributes::of_format(format, schema, description.rows)?.with_seen(description.seen);
    Ok(Some(match description.columns {
        Some(columns) => attributes.with_columns(columns),
        None => attributes,
    }))
}

/// Reads all of a part for its statistics; `None` where that is too much.
async fn observe(
    session: &dyn Session,
    store: &PartStore,
    origin: PartOrigin,
    described: &PartAttributes,
) -> Result<Option<PartAttributes>> {
    let schema = &described.schema;
    let part = ScanPart {
        origin,
        attributes: Arc::new(described.clone()),
        captures: Arc::new([]),
        values: Arc::new([]),
        others: 0,
    };
    let columns = ScanColumns { file: Arc::clone(schema), virtuals: Vec::new(), table: Arc::clone(schema) };
    let request = ScanRequest { projection: None, filters: &[], limit: None };
    let plan = plan_scan(session, store, &columns, vec![part], request).await?;
    let mut rows = execute_stream(plan, session.task_ctx())?;
    let mut observer = PartObserver::new(schema, Vec::new());
    let mut bounds =
        schema.fields().iter().map(|field| Bounds::try_new(field.data_type())).collect::<Result<Vec<_>>>()?;
    let mut memory = 0_usize;
    while let Some(batch) = rows.try_next().await? {
        memory = memory.saturating_add(batch.get_array_memory_size());
        if memory > OBSERVED_MEMORY {
            return Ok(None);
        }
        observer.observe(&batch)?;
        for (bounds, column) in bounds.iter_mut().zip(batch.columns()) {
            if let Bounds::Kept { min, max } = bounds {
                min.update_batch(std::slice::from_ref(column))?;
                max.update_batch(std::slice::from_ref(column))?;
            }
        }
    }
    let mut statistics = Vec::with_capacity(bounds.len());
    for (at, (bounds, field)) in bounds.into_iter().zip(schema.fields()).enumerate() {
        let nan = observer.saw_nan_in(field.name());
        let column = kept_bounds(field.data_type(), &bounds.finish()?, nan);
        statistics.push(column.with_null_count(Precision::Exact(observer.nulls(at))));
    }
    observer.finish_with(described.format.clone(), statistics).map(Some)
}

/// The smallest and the largest value of a column.
enum Bounds {
    Kept {
        min: MinAccumulator,
        max: MaxAccumulator,
    },
    /// Of a type whose bounds are not kept.
    Dropped,
}

impl Bounds {
    fn try_new(data_type: &DataType) -> Result<Self> {
        if !keeps_bounds(data_type) {
            return Ok(Self::Dropped);
        }
        Ok(Self::Kept { min: MinAccumulator::try_new(data_type)?, max: MaxAccumulator::try_new(data_type)? })
    }

    fn finish(self) -> Result<ColumnStatistics> {
        let mut column = ColumnStatistics::new_unknown();
        if let Self::Kept { mut min, mut max } = self {
            let (min, max) = (min.evaluate()?, max.evaluate()?);
            let short =
                |value: &ScalarValue| value.try_as_str().flatten().is_none_or(|text| text.len() <= MAX_BOUND_BYTES);
            if short(&min) && short(&max) {
                column.min_value = Precision::Exact(min);
                column.max_value = Precision::Exact(max);
            }
        }
        Ok(column)
    }
}

/// How many of the files that are fine a message names.
const NAMED_AS_FINE: usize = 3;

/// The first failure, which says of the other files that they failed too, or names them as `fine`.
pub(crate) fn failure_among(failures: Vec<Error>, fine: impl IntoIterator<Item: fmt::Display>) -> Option<Error> {
    let more = failures.len().saturating_sub(1);
    let first = failures.into_iter().next()?;
    let mut fine = fine.into_iter();
    let mut names: Vec<String> = fine.by_ref().take(NAMED_AS_FINE).map(|name| format!("'{name}'")).collect();
    let unnamed = fine.count();
    let all = 1 + more + names.len() + unnamed;
    if unnamed > 0 {
        names.push(format!("{unnamed} more"));
    }
    let last = names.pop();
    let fine = match (names.is_empty(), last) {
        (_, None) => None,
        (true, Some(only)) => Some(only),
        (false, Some(last)) => Some(format!("{} and {last}", names.join(", "))),
    };
    let others = match (more, fine) {
        (0, None) => return Some(first),
        (0, Some(fine)) if all == 2 => format!("the other file is fine: {fine}"),
        (0, Some(fine)) => format!("the other files are fine: {fine}"),
        (more, None) => format!("{more} more of {all} files cannot be read either"),
        (more, Some(fine)) => format!("{more} more of {all} files cannot be read either; fine: {fine}"),
    };
    Some(first.with_note(&others))
}

/// The failure of one file while rows are read, beside `others` that nobody has read to the end.
pub(crate) fn failure_beside(failure: Error, others: usize) -> Error {
    match (others, failure.kind()) {
        // There are none, or it is not the file that fails.
        (0, _) | (_, ErrorKind::Limit | ErrorKind::Cancelled) => failure,
        (1, _) => failure.with_note("the other file was not checked"),
        (others, _) => failure.with_note(&format!("the other files, {others}, were not checked")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_fine_are_named() {
        let said = |failed: usize, fine: &[&str]| {
            let failures = (0..failed).map(|at| Error::new(ErrorKind::Corrupt, format!("{at} is broken"))).collect();
            failure_among(failures, fine).map(|error| error.to_string())
        };
        assert_eq!(said(0, &["a"]), None);
        for (failed, fine, says) in [
            (1, ["a"].as_slice(), "0 is broken (the other file is fine: 'a')"),
            (1, &["a", "b", "c"], "0 is broken (the other files are fine: 'a', 'b' and 'c')"),
            (1, &["a", "b", "c", "d", "e"], "0 is broken (the other files are fine: 'a', 'b', 'c' and 2 more)"),
            (3, &["a", "b"], "0 is broken (2 more of 5 files cannot be read either; fine: 'a' and 'b')"),
            (2, &[], "0 is broken (1 more of 2 files cannot be read either)"),
        ] {
            let said = said(failed, fine).unwrap();
            assert!(said.starts_with(says), "{said}");
        }
        assert_eq!(said(1, &[]).as_deref(), Some("0 is broken"));
    }
}
