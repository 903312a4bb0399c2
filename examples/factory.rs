//! An application's own factory: `cargo run --example factory`. Each station is a table; a run keeps its readings in the pond.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{Int64Array, RecordBatch, StringArray};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::catalog::{MemTable, Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::physical_plan::memory::MemoryStream;
use futures::TryStreamExt;
use pondsql::factory::{
    Child, DynamicFactory, FactoryContext, LocationSpec, OptionSpec, OptionType, RunContext, Shape, TableFactory,
    TableWrite, WriteMode,
};
use pondsql::provider::SortColumn;
use pondsql::{Pond, Result, SessionOptions, StatementResult};

#[derive(Debug)]
struct Stations;

/// Names and options: what `CREATE EXTERNAL TABLE` checks, and what the directory shows.
#[async_trait]
impl DynamicFactory for Stations {
    fn name(&self) -> &'static str {
        "stations"
    }
    fn meaning(&self) -> &'static str {
        "stations that count hours"
    }
    fn shape(&self) -> Shape {
        Shape::ListedDirectory
    }
    fn location(&self) -> LocationSpec {
        LocationSpec::None
    }
    fn options(&self) -> &'static [OptionSpec] {
        const OPTIONS: &[OptionSpec] = &[OptionSpec::new("names", OptionType::Text, "with commas between").required()];
        OPTIONS
    }
    async fn list(&self, context: &FactoryContext) -> pondsql::factory::FsResult<Vec<Child>> {
        let names = context.option("names").unwrap_or_default().split(',');
        Ok(names.map(|name| Child { name: name.to_owned(), size: None, modified: None }).collect())
    }
}

/// Tables and runs.
#[async_trait]
impl TableFactory for Stations {
    async fn table(&self, _: &dyn Session, _: &FactoryContext, child: Option<&str>) -> Result<Arc<dyn TableProvider>> {
        let rows = readings(child.unwrap_or_default(), 1)?;
        Ok(Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]])?))
    }

    async fn run(&self, context: &RunContext) -> Result<RecordBatch> {
        let (mut done, mut hours) = (Vec::new(), Vec::new());
        for child in self.list(context.entry()).await? {
            let path = context.path().join(&format!("kept/{}.series", child.name))?;
            // Each station is a transaction, and goes on from where its series ends.
            let base = context.snapshot().await?;
            let next = match context.max(&base, &path, "hour").await? {
                Some(ScalarValue::Int64(Some(last))) => last + 1,
                _ => 1,
            };
            let rows = readings(&child.name, next)?;
            let stream = MemoryStream::try_new(vec![rows.clone()], rows.schema(), None)?;
            let write = TableWrite { path, mode: WriteMode::Append, order: vec![SortColumn::ascending("hour")] };
            if !context.is_dry_run() {
                let _ = context.write(&base, write, Box::pin(stream)).await?;
            }
            done.push(child.name);
            hours.push(next);
        }
        batch("station", Arc::new(StringArray::from(done)), hours)
    }
}

fn readings(station: &str, first: i64) -> Result<RecordBatch> {
    batch("station", Arc::new(StringArray::from(vec![station; 3])), (first..first + 3).collect())
}

fn batch(name: &str, names: Arc<StringArray>, hours: Vec<i64>) -> Result<RecordBatch> {
    let columns = [(name, names as _), ("hour", Arc::new(Int64Array::from(hours)) as _)];
    Ok(RecordBatch::try_from_iter(columns).map_err(datafusion::common::DataFusionError::from)?)
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let pond = Pond::builder().factory(Arc::new(Stations)).open("memory:").await?;
    let mut session = pond.session(SessionOptions::default())?;
    for sql in include_str!("factory.sql").split_terminator(";\n") {
        if let StatementResult::Rows(rows) = session.execute(sql).await? {
            println!("{sql}\n{}", pretty_format_batches(&rows.try_collect::<Vec<_>>().await?)?);
        }
    }
    Ok(())
}
