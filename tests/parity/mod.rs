//! The same statements over a pond and over plain DataFusion on the same Parquet files give the same rows.
//!
//! The statements are in the `.sql` files beside this one. The tables are files of several versions, with NULLs and with replaced
//! content; a glob over files that lack columns and have narrower types; and a glob with a capture. DataFusion reads the parts as they are stored.
//!
//! Rows are compared in their order where the statement has `ORDER BY`, as multisets elsewhere. Floats may differ by 1e-9 of
//! their size: the order in which parts are added up is nobody's promise.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::sqlparser::ast;
use futures::TryStreamExt;
use pondsql::{Pond, PondSession, SessionOptions, StatementResult};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// The statements.
const SUITES: &[&str] = &[
    include_str!("aggregates.sql"),
    include_str!("joins.sql"),
    include_str!("windows.sql"),
    include_str!("subqueries.sql"),
];

/// How many statements there must be.
const LEAST: usize = 200;

const COLUMNS: &str = "temp, dewp, humid, wind_dir, wind_speed, wind_gust, pressure";

/// What makes the tables, after the weather.
const TABLES: &[&str] = &[
    "CREATE TABLE airports AS SELECT * FROM './sql/data/nycflights13/airports.csv'",
    "CREATE TABLE '/r/a' AS SELECT value::INT AS id, 's' || (value % 7) AS site, (value % 13)::INT AS value \
     FROM generate_series(1, 60)",
    "CREATE TABLE '/r/b' AS SELECT 'note ' || (value % 5) AS note, value::BIGINT AS id, value * 0.5 AS value, \
     CASE WHEN value % 4 = 0 THEN NULL ELSE 's' || (value % 7) END AS site FROM generate_series(61, 120)",
    "CREATE TABLE '/r/c' AS SELECT value::INT AS id, 'note ' || (value % 3) AS note FROM generate_series(121, 150)",
    "CREATE VIEW readings AS SELECT * FROM pond('/r/*')",
    "CREATE TABLE events (id BIGINT, at TIMESTAMP, kind TEXT, amount DOUBLE, price DECIMAL(10, 2), flag BOOLEAN) ORDER BY at",
    "INSERT INTO events VALUES (1, '2013-01-01', 'gone', 1, 1, true)",
];

/// The rows of `events` from one number to another.
fn events(from: u32, to: u32) -> String {
    format!(
        "SELECT value, to_timestamp(1356998400 + value * 3600), CASE WHEN value % 11 = 0 THEN NULL \
         ELSE 'k' || (value % 4) END, (value * 37 % 101)::DOUBLE, (value * 7 % 50)::DECIMAL(10, 2) / 4, \
         CASE value % 3 WHEN 0 THEN true WHEN 1 THEN false END FROM generate_series({from}, {to})"
    )
}

/// Asserts that there are enough statements, and no two that are the same.
pub(crate) fn check_count() -> Result<()> {
    let all: Vec<&str> = SUITES.iter().flat_map(|text| statements(text)).collect();
    let different: BTreeSet<&&str> = all.iter().collect();
    if different.len() < LEAST || different.len() != all.len() {
        return Err(format!("{} statements, {} of them different, and not {LEAST}", all.len(), different.len()).into());
    }
    Ok(())
}

fn statements(text: &str) -> impl Iterator<Item = &str> {
    text.split(";\n").map(str::trim).filter(|statement| !statement.is_empty())
}

/// Runs all statements over `pond`, which is empty, and over its parts, which go to `directory`.
pub(crate) async fn run(pond: &Pond, directory: &Path) -> Result<()> {
    let options = SessionOptions { target_partitions: Some(2), ..SessionOptions::default() };
    let mut session = pond.session(options)?;
    fill(&mut session).await?;
    let plain = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    for (table, parts) in [("weather", 12), ("airports", 1), ("readings", 3), ("events", 3), ("stations", 3)] {
        mirror(&mut session, &plain, directory, table, parts).await?;
    }
    let mut failures = Vec::new();
    for statement in SUITES.iter().flat_map(|text| statements(text)) {
        let ours = answer(&mut session, statement).await;
        let theirs = async { Ok::<_, Box<dyn Error>>(plain.sql(statement).await?.collect().await?) };
        let difference = match (ours, theirs.await) {
            (Ok(ours), Ok(theirs)) => compare(&ours, &theirs, is_ordered(statement)?)?,
            (Err(ours), Ok(_)) => Some(format!("an error over the pond only: {ours}")),
            (_, Err(theirs)) => Some(format!("not a statement of DataFusion: {theirs}")),
        };
        failures.extend(difference.map(|difference| format!("{statement}\n    {difference}")));
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n").into()) }
}

async fn fill(session: &mut PondSession) -> Result<()> {
    let columns = COLUMNS.split(", ").map(|name| format!("{name} DOUBLE")).collect::<Vec<_>>().join(", ");
    let numbers =
        COLUMNS.split(", ").map(|name| format!("nullif({name}, 'NA')::DOUBLE")).collect::<Vec<_>>().join(", ");
    let rest = "time_hour TIMESTAMP, month BIGINT, day BIGINT, hour BIGINT, precip DOUBLE, visib DOUBLE";
    answer(session, &format!("CREATE TABLE weather (origin TEXT, {columns}, {rest}) ORDER BY time_hour")).await?;
    // Two rows of a clock that was turned back have the same time, and stay out.
    let csv = "CREATE TABLE csv AS SELECT * FROM './sql/data/nycflights13/weather.csv' \
               WHERE day <= 5 AND NOT (month = 11 AND day = 3)";
    answer(session, csv).await?;
    for month in 1..=12 {
        let weather = format!(
            "INSERT INTO weather SELECT origin, {numbers}, time_hour, month, day, hour, precip, visib \
             FROM csv WHERE month = {month}"
        );
        answer(session, &weather).await?;
    }
    for sql in TABLES {
        answer(session, sql).await?;
    }
    answer(session, &format!("INSERT OVERWRITE events {}", events(40, 90))).await?;
    answer(session, &format!("INSERT INTO events {}", events(91, 130))).await?;
    answer(session, &format!("INSERT INTO events {}", events(131, 140))).await?;
    for origin in ["EWR", "JFK", "LGA"] {
        // One of them has no gusts, and one has its columns in another order.
        let columns = match origin {
            "EWR" => "temp, time_hour",
            "JFK" => "wind_gust, temp, time_hour",
            _ => "time_hour, temp, wind_gust",
        };
        let table = format!("CREATE TABLE '/by/{origin}/w' AS SELECT {columns} FROM weather WHERE origin = '{origin}'");
        answer(session, &table).await?;
    }
    answer(session, "CREATE VIEW stations AS SELECT * FROM pond('/by/{origin}/w')").await?;
    Ok(())
}

async fn answer(session: &mut PondSession, sql: &str) -> Result<Vec<RecordBatch>> {
    match session.execute(sql).await? {
        StatementResult::Rows(rows) => Ok(rows.try_collect().await?),
        StatementResult::Done | StatementResult::Count(_) => Ok(Vec::new()),
    }
}

/// Makes the parts of a table a table of DataFusion's own.
async fn mirror(
    session: &mut PondSession,
    plain: &SessionContext,
    directory: &Path,
    table: &str,
    parts: usize,
) -> Result<()> {
    let directory = directory.join(table);
    let has_capture = table == "stations";
    let glob = match table {
        "stations" => "/by/*/w",
        "readings" => "/r/*",
        file => file,
    };
    let mut written = 0;
    for batch in answer(session, &format!("SELECT path, version, content FROM pond_read('{glob}')")).await? {
        let (paths, contents) = (batch.column(0).as_string::<i32>(), batch.column(2).as_binary::<i32>());
        for row in 0..batch.num_rows() {
            let place = match paths.value(row).split('/').nth(2) {
                Some(origin) if has_capture => directory.join(format!("origin={origin}")),
                _ => directory.clone(),
            };
            std::fs::create_dir_all(&place)?;
            std::fs::write(place.join(format!("{written:03}.parquet")), contents.value(row))?;
            written += 1;
        }
    }
    if written != parts {
        return Err(format!("'{table}' has {written} parts and not {parts}").into());
    }
    let StatementResult::Rows(rows) = session.execute(&format!("SELECT * FROM {table} LIMIT 0")).await? else {
        return Err(format!("'{table}' is no table").into());
    };
    let mut options = ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension(".parquet");
    let mut schema = rows.schema();
    if has_capture {
        options = options.with_table_partition_cols(vec![("origin".to_owned(), DataType::Utf8View)]);
        let own: Vec<usize> = (0..schema.fields().len()).filter(|at| schema.field(*at).name() != "origin").collect();
        schema = SchemaRef::from(schema.project(&own)?);
    }
    let url = ListingTableUrl::parse(format!("{}/", directory.display()))?;
    let config = ListingTableConfig::new(url).with_listing_options(options).with_schema(schema);
    let _ = plain.register_table(table, Arc::new(ListingTable::try_new(config)?))?;
    Ok(())
}

/// Whether the statement itself, and not a part of it, is ordered.
fn is_ordered(sql: &str) -> Result<bool> {
    match DFParser::parse_sql(sql)?.pop_front() {
        Some(Statement::Statement(statement)) => match statement.as_ref() {
            ast::Statement::Query(query) => Ok(query.order_by.is_some()),
            other => Err(format!("{other} is no query").into()),
        },
        _ => Err(format!("{sql} is no query").into()),
    }
}

/// One value: floats as what they are, everything else as text.
#[derive(Debug, Clone, PartialEq)]
enum Cell {
    Float(f64),
    Text(String),
}

impl Cell {
    fn agrees(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Float(a), Self::Float(b)) => {
                a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
            }
            _ => self == other,
        }
    }

    /// By which rows are sorted, rough enough that floats which agree are alike.
    fn key(&self) -> String {
        match self {
            Self::Float(value) => format!("{:.5e}", if value.abs() < 1e-9 { 0.0 } else { *value }),
            Self::Text(text) => text.clone(),
        }
    }
}

/// What differs, if anything does.
fn compare(ours: &[RecordBatch], theirs: &[RecordBatch], ordered: bool) -> Result<Option<String>> {
    let (mut own, mut others) = (rows(ours)?, rows(theirs)?);
    if !ordered {
        for rows in [&mut own, &mut others] {
            rows.sort_by_cached_key(|row| row.iter().map(Cell::key).collect::<Vec<_>>());
        }
    }
    let types = |batches: &[RecordBatch]| {
        let fields = batches.first().map(RecordBatch::schema);
        fields.map(|schema| schema.fields().iter().map(|field| field.data_type().clone()).collect::<Vec<_>>())
    };
    if let (Some(own), Some(others)) = (types(ours), types(theirs))
        && own != others
    {
        return Ok(Some(format!("types {own:?}, and not {others:?}")));
    }
    if own.len() != others.len() {
        return Ok(Some(format!("{} rows, and not {}", own.len(), others.len())));
    }
    let differs = |(own, other): &(&Vec<Cell>, &Vec<Cell>)| {
        own.len() != other.len() || !own.iter().zip(*other).all(|(own, other)| own.agrees(other))
    };
    let difference = own.iter().zip(&others).find(differs);
    Ok(difference.map(|(own, other)| format!("{own:?}, and not {other:?}")))
}

fn rows(batches: &[RecordBatch]) -> Result<Vec<Vec<Cell>>> {
    let options = FormatOptions::new().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
        let start = rows.len();
        rows.resize(start + batch.num_rows(), Vec::with_capacity(batch.num_columns()));
        for column in batch.columns() {
            let floats = (*column.data_type() == DataType::Float64).then(|| column.as_primitive::<Float64Type>());
            let texts = ArrayFormatter::try_new(column.as_ref(), &options)?;
            for row in 0..batch.num_rows() {
                rows[start + row].push(match floats {
                    Some(floats) if floats.is_valid(row) => Cell::Float(floats.value(row)),
                    _ => Cell::Text(texts.value(row).to_string()),
                });
            }
        }
    }
    Ok(rows)
}
