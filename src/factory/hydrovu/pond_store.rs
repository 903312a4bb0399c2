//! [`PondStore`]: the readings' place in the pond, `devices/{id}/{name}.series` and `locations` below the entry.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{Array, ArrayRef, Float64Array, RecordBatch, StringArray, new_empty_array};
use datafusion::arrow::compute::concat;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::{SessionContext, cast, ident};
use futures::stream;
use parking_lot::Mutex;
use tinyfs::{EntryKind, PondPath, Snapshot, WriteMode};

use super::merge::{Rows, TIME};
use super::model::{Gps, Location};
use super::store::{SERIES, Store, series_name};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{FileTableProvider, RunContext, SortColumn, TableScanSpec, TableWrite};

const DEVICES: &str = "devices";
const LOCATIONS: &str = "locations";
/// How often the locations are tried when another run is first.
const MAX_ATTEMPTS: u32 = 20;

/// What a run writes to.
#[derive(Debug)]
pub(super) struct PondStore<'a> {
    context: &'a RunContext,
    /// What each device's readings continue. Where somebody else has written to the series since, nothing is.
    bases: Mutex<HashMap<String, Snapshot>>,
}

impl<'a> PondStore<'a> {
    pub(super) fn new(context: &'a RunContext) -> Self {
        Self { context, bases: Mutex::default() }
    }

    fn directory(&self, device: &str) -> Result<PondPath> {
        Ok(self.context.path().child(DEVICES)?.child(device)?)
    }

    /// The last second of all series of a device: its name may have changed, and its series with it.
    async fn end_in(&self, snapshot: &Snapshot, device: &str) -> Result<Option<i64>> {
        let entries = match snapshot.list(&self.directory(device)?) {
            Ok(entries) => entries,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut end = None;
        for entry in entries {
            let is_series = entry.path.name().is_some_and(|name| name.ends_with(SERIES));
            if entry.kind() != EntryKind::File || !is_series {
                continue;
            }
            let Some(last) = self.context.max(snapshot, &entry.path, TIME).await? else { continue };
            let seconds = DataType::Timestamp(TimeUnit::Second, Some("+00:00".into()));
            match last.cast_to(&seconds)? {
                ScalarValue::TimestampSecond(Some(last), _) => end = end.max(Some(last)),
                _ => {
                    let message = format!("the column '{TIME}' has no last time");
                    return Err(Error::new(ErrorKind::WrongKind, message).with_path(&entry.path));
                }
            }
        }
        Ok(end)
    }
}

#[async_trait]
impl Store for PondStore<'_> {
    async fn series_end(&self, device: &str) -> Result<Option<i64>> {
        let snapshot = self.context.snapshot().await?;
        let end = self.end_in(&snapshot, device).await?;
        let _ = self.bases.lock().insert(device.to_owned(), snapshot);
        Ok(end)
    }

    async fn append(&self, device: &Location, rows: Rows) -> Result<()> {
        let Some((_, last)) = rows.times() else { return Ok(()) };
        if self.context.is_dry_run() {
            return Ok(());
        }
        let base = self.bases.lock().get(&device.id).cloned();
        let path = self.directory(&device.id)?.child(&series_name(&device.name))?;
        let base = base.ok_or_else(|| {
            Error::new(ErrorKind::Conflict, "another run has added to the series meanwhile").with_path(&path)
        })?;
        let schema = Arc::clone(rows.schema());
        let batches = stream::iter(rows.map(|batch| batch.map_err(DataFusionError::from)));
        let batches = Box::pin(RecordBatchStreamAdapter::new(schema, batches));
        let write =
            TableWrite { path: path.clone(), mode: WriteMode::Append, order: vec![SortColumn::ascending(TIME)] };
        let _ = self.context.write(&base, write, batches).await?;
        // What comes next continues these rows, and nothing that came between. These rows are there in any case.
        let snapshot = self.context.snapshot().await?;
        let is_end = self.end_in(&snapshot, &device.id).await? == Some(last);
        let mut bases = self.bases.lock();
        let _ = if is_end { bases.insert(device.id.clone(), snapshot) } else { bases.remove(&device.id) };
        Ok(())
    }

    async fn keep_locations(&self, locations: &[Location]) -> Result<()> {
        let table = table(locations)?;
        let mut done = self.replace_locations(&table).await;
        for _ in 1..MAX_ATTEMPTS {
            // Another run has written them: what is there now is looked at, and mostly it is the same.
            if !done.as_ref().is_err_and(|error| error.kind() == ErrorKind::Conflict) {
                break;
            }
            done = self.replace_locations(&table).await;
        }
        done
    }

    fn progress(&self, device: &str, pages: u64, rows: u64, held: usize) {
        self.context.progress(&format!("{device}: {pages} pages, {rows} rows written, {held} readings to write"));
    }
}

impl PondStore<'_> {
    /// Stores the locations, unless they are there.
    async fn replace_locations(&self, table: &RecordBatch) -> Result<()> {
        let path = self.context.path().child(LOCATIONS)?;
        let snapshot = self.context.snapshot().await?;
        if self.context.is_dry_run()
            || kept(self.context, &snapshot, &path).await?.is_some_and(|kept| kept.columns() == table.columns())
        {
            return Ok(());
        }
        let write = TableWrite { path, mode: WriteMode::Replace, order: Vec::new() };
        let schema = table.schema();
        let rows = Box::pin(RecordBatchStreamAdapter::new(schema, stream::iter([Ok(table.clone())])));
        let _ = self.context.write(&snapshot, write, rows).await?;
        Ok(())
    }
}

/// The locations that are kept, as [`table`] makes them; `None` for a table of other columns, and where there is none.
async fn kept(context: &RunContext, snapshot: &Snapshot, path: &PondPath) -> Result<Option<RecordBatch>> {
    let Some(table) = context.table(snapshot, path)? else { return Ok(None) };
    let schema = locations_schema();
    if table.schema().fields().iter().map(|field| field.name()).ne(schema.fields().iter().map(|field| field.name())) {
        return Ok(None);
    }
    let spec = TableScanSpec { files: vec![(table, Vec::new())], ..TableScanSpec::default() };
    let provider = FileTableProvider::try_new(spec, &context.objects)?;
    let columns =
        schema.fields().iter().map(|field| cast(ident(field.name()), field.data_type().clone()).alias(field.name()));
    let rows = SessionContext::new_with_state(context.session().clone())
        .read_table(Arc::new(provider))?
        .select(columns.collect::<Vec<_>>())?
        .sort_by(vec![ident("id")])?;
    let batches = rows.collect().await?;
    let columns = (0..schema.fields().len()).map(|index| {
        let arrays: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(index).as_ref()).collect();
        if arrays.is_empty() { Ok(new_empty_array(schema.field(index).data_type())) } else { concat(&arrays) }
    });
    let columns = columns.collect::<std::result::Result<Vec<_>, _>>().map_err(DataFusionError::from)?;
    // A cast may leave NULL where the schema has none.
    if schema.fields().iter().zip(&columns).any(|(field, column)| !field.is_nullable() && column.null_count() > 0) {
        return Ok(None);
    }
    Ok(Some(RecordBatch::try_new(schema, columns).map_err(DataFusionError::from)?))
}

/// The devices as rows, by id.
fn table(locations: &[Location]) -> Result<RecordBatch> {
    let mut locations: Vec<&Location> = locations.iter().collect();
    locations.sort_by(|left, right| left.id.cmp(&right.id));
    let place = |number: fn(&Gps) -> Option<f64>| -> ArrayRef {
        let numbers = locations.iter().map(|location| location.gps.as_ref().and_then(number));
        Arc::new(numbers.map(|number| number.filter(|number| number.is_finite())).collect::<Float64Array>())
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(locations.iter().map(|location| &location.id))),
        Arc::new(StringArray::from_iter_values(locations.iter().map(|location| &location.name))),
        Arc::new(locations.iter().map(|location| location.description.as_deref()).collect::<StringArray>()),
        place(|gps| gps.latitude),
        place(|gps| gps.longitude),
    ];
    RecordBatch::try_new(locations_schema(), columns).map_err(|error| DataFusionError::from(error).into())
}

fn locations_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Utf8, false),
        Field::new("name", DataType::Utf8, false),
        Field::new("description", DataType::Utf8, true),
        Field::new("latitude", DataType::Float64, true),
        Field::new("longitude", DataType::Float64, true),
    ]))
}
