//! `CREATE TABLE`, `CREATE SCHEMA`, `CREATE SYMLINK`.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::Column;
use datafusion::logical_expr::{DdlStatement, Expr, LogicalPlan, LogicalPlanBuilder, SortExpr};
use datafusion::physical_plan::{ExecutionPlanProperties, execute_stream};
use datafusion::sql::parser::Statement as SqlStatement;
use datafusion::sql::sqlparser::ast::{self, CreateTable, Statement};
use parking_lot::Mutex;
use tinyfs::{EntryKind, NewEntry, PondPath, RemoveMode, Transaction, WriteMode};

use crate::catalog::{OpenPond, Statement as Running};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{SortColumn, TableAttributes, WriteOptions, check_storable, physical_order, write_part};
use crate::session::{PondSession, StatementResult};

/// What a `CREATE` does about an entry that has the name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    Refuse,
    Keep,
    Replace,
}

impl Existing {
    pub(super) fn new(or_replace: bool, if_not_exists: bool) -> Result<Self> {
        match (or_replace, if_not_exists) {
            (true, true) => Err(Error::new(ErrorKind::Syntax, "OR REPLACE and IF NOT EXISTS do not go together")),
            (true, false) => Ok(Self::Replace),
            (false, true) => Ok(Self::Keep),
            (false, false) => Ok(Self::Refuse),
        }
    }
}

/// `CREATE TABLE path (…) [ORDER BY …]`, `CREATE TABLE path [ORDER BY …] AS …`.
pub(super) async fn table(
    session: &PondSession,
    pond: &OpenPond,
    transaction: &Mutex<Transaction>,
    path: &PondPath,
    create: &CreateTable,
    running: &Running,
) -> Result<StatementResult> {
    let existing = Existing::new(create.or_replace, create.if_not_exists)?;
    let taken = kind_at(transaction, path)?;
    match (taken, existing) {
        (None, _) => {}
        (Some(EntryKind::File), Existing::Keep) => return Ok(StatementResult::Done),
        (Some(EntryKind::File), Existing::Replace) => {}
        (Some(kind), _) => return Err(exists(path, kind, "table")),
    }
    check_columns(create)?;
    if let Some(query) = &create.query {
        session.check_names(&SqlStatement::Statement(Box::new(Statement::Query(query.clone()))), running)?;
    }
    let order = order_by(create)?;
    let plain = CreateTable { order_by: None, or_replace: false, if_not_exists: false, ..create.clone() };
    let statement = SqlStatement::Statement(Box::new(Statement::CreateTable(plain)));
    let plan = session.plan(statement).await?;
    let LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(plan)) = plan else {
        return Err(Error::new(ErrorKind::Unsupported, format!("this CREATE TABLE is not one for a pond: {create}")));
    };
    if let Some((column, _)) = plan.column_defaults.first() {
        let message = format!("the column '{column}' has a DEFAULT, and files keep none");
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    if !plan.constraints.is_empty() {
        return Err(Error::new(ErrorKind::Unsupported, "files keep no PRIMARY KEY and no UNIQUE"));
    }
    let input = session.bind_parameters(Arc::unwrap_or_clone(plan.input))?;
    let declared = if create.query.is_some() { Declared::ByQuery } else { Declared::Columns };
    let schema = not_null(&file_schema(input.schema().inner(), declared)?, create);
    check_storable(&schema).map_err(|error| {
        Error::new(error.kind(), format!("cannot create '{path}': {error}")).with_path(path).with_source(error)
    })?;
    for column in &order {
        if schema.index_of(&column.column).is_err() {
            return Err(Error::new(
                ErrorKind::Plan,
                format!("ORDER BY: there is no column '{}' in '{path}'", column.column),
            ));
        }
    }
    {
        let mut transaction = transaction.lock();
        if taken.is_some() {
            transaction.remove(path, RemoveMode::Empty)?;
        }
        let attributes = TableAttributes { schema: Arc::clone(&schema), order: order.clone() }.to_attributes()?;
        transaction.create(path, NewEntry::File, attributes)?;
    }
    if create.query.is_none() {
        return Ok(StatementResult::Done);
    }
    fill(session, pond, transaction, path, Filling { input, schema, order }).await?;
    Ok(StatementResult::Done)
}

/// What a new table is filled with.
struct Filling {
    input: LogicalPlan,
    /// The columns as they are declared: the rows must keep to NOT NULL.
    schema: SchemaRef,
    order: Vec<SortColumn>,
}

/// Streams the query's rows into the first version.
async fn fill(
    session: &PondSession,
    pond: &OpenPond,
    transaction: &Mutex<Transaction>,
    path: &PondPath,
    filling: Filling,
) -> Result<()> {
    let Filling { mut input, schema, order } = filling;
    if !order.is_empty() {
        let sort = order
            .iter()
            .map(|by| SortExpr::new(Expr::Column(Column::from_name(&by.column)), !by.descending, by.nulls_first));
        input = LogicalPlanBuilder::from(input).sort(sort)?.build()?;
    }
    let physical = session.context().state().create_physical_plan(&input).await;
    let physical = physical.map_err(|error| session.explained(error.into()))?;
    // Partitions are merged as they come, so that only the order of a single one is the order of the file.
    let single = physical.output_partitioning().partition_count() == 1;
    let order = if single { physical_order(&physical) } else { Vec::new() };
    let stream = session.explained_rows(execute_stream(physical, session.context().task_ctx())?);
    let options = WriteOptions { schema: Some(schema), order };
    let written = write_part(stream, &pond.store, options).await?;
    if written.rows > 0 {
        let _ = transaction.lock().write(path, WriteMode::Append, written.part, written.attributes)?;
    }
    Ok(())
}

/// `CREATE SCHEMA path`.
pub(super) fn schema(transaction: &mut Transaction, path: &PondPath, if_not_exists: bool) -> Result<StatementResult> {
    match transaction.snapshot().find_link(path)? {
        Some(entry) if entry.kind() == EntryKind::Directory && if_not_exists => return Ok(StatementResult::Done),
        Some(entry) => return Err(exists(path, entry.kind(), "directory")),
        None => {}
    }
    transaction.create_directory(path)?;
    Ok(StatementResult::Done)
}

/// `CREATE SYMLINK path TO target`.
pub(super) fn symlink(transaction: &mut Transaction, path: &PondPath, target: &str) -> Result<StatementResult> {
    let directory = path.parent().ok_or_else(|| exists(path, EntryKind::Directory, "symlink"))?;
    // Only checked: it is kept as it was written, and need not exist.
    let _ = directory.join(target)?;
    transaction.create(path, NewEntry::Symlink(target.into()), tinyfs::Attributes::default())?;
    Ok(StatementResult::Done)
}

/// Refuses what a column of a file cannot be, and DataFusion's planner passes over.
fn check_columns(create: &CreateTable) -> Result<()> {
    for column in &create.columns {
        for option in &column.options {
            if !matches!(option.option, ast::ColumnOption::Null | ast::ColumnOption::NotNull) {
                let message = format!(
                    "the column '{}' is '{}'; columns of files are NULL or NOT NULL",
                    column.name, option.option
                );
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        }
    }
    Ok(())
}

/// Whether a column may be declared NOT NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Declared {
    /// As the columns of the statement say.
    Columns,
    /// By a query, whose constants are never NULL though nobody meant the column to refuse it.
    ByQuery,
}

pub(super) fn file_schema(schema: &SchemaRef, declared: Declared) -> Result<SchemaRef> {
    if schema.fields().is_empty() {
        return Err(Error::new(ErrorKind::Plan, "a table needs a column"));
    }
    let mut names = HashSet::new();
    if let Some(field) = schema.fields().iter().find(|field| !names.insert(field.name())) {
        let message = format!("two columns have the name '{}'; give one another name with AS", field.name());
        return Err(Error::new(ErrorKind::Plan, message));
    }
    let fields = schema.fields().iter().map(|field| {
        let field = field.as_ref().clone().with_metadata(std::collections::HashMap::new());
        if declared == Declared::ByQuery { field.with_nullable(true) } else { field }
    });
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

/// The schema with NOT NULL where the statement's columns say so.
fn not_null(schema: &SchemaRef, create: &CreateTable) -> SchemaRef {
    let refuses_null = |column: &ast::ColumnDef| {
        column.options.iter().any(|option| matches!(option.option, ast::ColumnOption::NotNull))
    };
    let fields = schema.fields().iter().enumerate().map(|(at, field)| {
        let refuses = create.columns.get(at).is_some_and(refuses_null);
        if refuses { field.as_ref().clone().with_nullable(false) } else { field.as_ref().clone() }
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn order_by(create: &CreateTable) -> Result<Vec<SortColumn>> {
    let expressions: Vec<&ast::Expr> = create.order_by.iter().flatten().collect();
    expressions
        .into_iter()
        .map(|expression| match expression {
            ast::Expr::Identifier(name) => Ok(SortColumn::ascending(identifier(name))),
            other => Err(Error::new(
                ErrorKind::Unsupported,
                format!("a table is kept in the order of columns, not of '{other}'"),
            )),
        })
        .collect()
}

pub(super) fn identifier(name: &ast::Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

pub(super) fn kind_at(transaction: &Mutex<Transaction>, path: &PondPath) -> Result<Option<EntryKind>> {
    Ok(transaction.lock().snapshot().find_link(path)?.map(|entry| entry.kind()))
}

pub(super) fn exists(path: &PondPath, kind: EntryKind, wanted: &str) -> Error {
    let hint = match (kind, wanted) {
        (EntryKind::File, "table") => "; INSERT INTO adds to it, CREATE OR REPLACE TABLE replaces it",
        (EntryKind::View, "view") => "; CREATE OR REPLACE VIEW replaces it",
        _ => "",
    };
    let kind = if kind == EntryKind::File { "file" } else { kind.as_str() };
    Error::new(ErrorKind::AlreadyExists, format!("'{path}' exists already: it is a {kind}{hint}")).with_path(path)
}
