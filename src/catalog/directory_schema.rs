//! [`DirectorySchema`]: a directory as a schema of DataFusion.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{MemTable, SchemaProvider, TableProvider};
use datafusion::common::Result as DataFusionResult;
use datafusion::datasource::ViewTable;
use datafusion::logical_expr::TableType;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use tinyfs::{EntryKind, Glob, NewEntry, PondPath, RemoveMode, Transaction, TransactionOptions, WriteMode};

use crate::catalog::lookup::{PondName, is_table, table};
use crate::catalog::now::effect_now;
use crate::catalog::own_name::{POND, names_pond};
use crate::catalog::scope::Scope;
use crate::catalog::tree::{Tree, check_family};
use crate::catalog::view::{family_suppliers, parse_query, plan_view};
use crate::catalog::view_definition::ViewDefinition;
use crate::catalog::writer::commit;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{TableAttributes, WriteOptions, write_part};

/// A directory as a schema: its structured files and views are its tables. A table's name may also be a path: absolute,
/// or relative to the directory.
///
/// `register_table` and `deregister_table` are how DDL arrives under a plain `SessionContext`; each is a transaction.
#[derive(Debug)]
pub(crate) struct DirectorySchema {
    scope: Arc<Scope>,
    path: PondPath,
}

impl DirectorySchema {
    pub(crate) fn new(scope: Arc<Scope>, path: PondPath) -> Self {
        Self { scope, path }
    }

    fn target(&self, name: &str) -> Result<PondPath> {
        match PondName::parse(&self.path, name)? {
            PondName::Path(path) => Ok(path),
            PondName::Host(name) => {
                Err(Error::new(ErrorKind::ReadOnly, format!("'{name}' is a host file, which can only be read")))
            }
        }
    }

    fn names(&self) -> Result<Vec<String>> {
        let tree = self.scope.tree_now()?;
        if let Some(statement) = self.scope.statement() {
            statement.record_glob(&Glob::parse_relative(&self.path, "*")?);
        }
        let tables = tree.list(&self.path)?.into_iter().filter(|entry| is_table(&entry.node));
        Ok(tables.filter_map(|entry| entry.path.name().map(str::to_owned)).collect())
    }

    fn kind(&self, tree: &Tree, name: &str) -> Result<Option<TableType>> {
        let PondName::Path(path) = PondName::parse(&self.path, name)? else { return Ok(Some(TableType::Base)) };
        if let Some(statement) = self.scope.statement() {
            statement.record_read(&path);
        }
        match tree.lookup(&path) {
            Ok(entry) if !is_table(&entry.node) => Ok(None),
            Ok(entry) if entry.kind() == EntryKind::View => Ok(Some(TableType::View)),
            Ok(_) => Ok(Some(TableType::Base)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Refuses the text of a view that names the catalog `pond` where that is not the pond of the view: DataFusion has planned it with the
    /// one, and it would be read from the other.
    fn check_text(&self, path: &PondPath, text: &str) -> Result<()> {
        if self.scope.name == POND {
            return Ok(());
        }
        let state = self.scope.session_state()?;
        if !names_pond(&parse_query(&state, text)?) || state.catalog_list().catalog(POND).is_none() {
            return Ok(());
        }
        let name = &self.scope.name;
        let message = format!(
            "'{path}' cannot be made: in the text of a view, '{POND}' is the pond that it is in, which is '{name}' here, and another is registered as '{POND}'; name the tables of '{name}' by that name"
        );
        Err(Error::new(ErrorKind::Plan, message).with_path(path))
    }

    async fn register(&self, path: &PondPath, provider: &Arc<dyn TableProvider>) -> Result<()> {
        let snapshot = self.scope.snapshot().await?;
        let mut transaction = Transaction::begin(snapshot.clone(), TransactionOptions::default());
        if let Some(view) = provider.downcast_ref::<ViewTable>() {
            let (text, columns) = query_text(view)?;
            let draft = ViewDefinition { columns, schema: provider.schema(), ..ViewDefinition::new(&self.path) };
            let suppliers = family_suppliers(&self.scope, path, &text, &self.path)?;
            let draft = ViewDefinition { suppliers, ..draft };
            self.check_text(path, &text)?;
            // It was planned with the application's defaults, and is read with the pond's: the two must mean the same.
            let planned = plan_view(&self.scope, path, &text, &draft).await?;
            let names =
                |schema: &SchemaRef| schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
            if names(planned.plan.schema().inner()) != names(&provider.schema()) {
                let message = format!(
                    "'{path}' would have other columns when it is read from the pond; name its tables with catalog and schema"
                );
                return Err(Error::new(ErrorKind::Plan, message).with_path(path));
            }
            let definition = ViewDefinition { inputs: planned.inputs, ..draft };
            transaction.create(path, NewEntry::View(text.into()), definition.to_attributes()?)?;
            if let Some(warning) = check_family(&transaction.snapshot(), path)? {
                tracing::warn!("{warning}");
            }
            return commit(transaction, &format!("CREATE VIEW {path}")).await;
        }
        if !provider.is::<MemTable>() {
            let message =
                format!("only views and tables of rows can be put into a pond, so '{path}' cannot be registered");
            return Err(Error::new(ErrorKind::Unsupported, message).with_path(path));
        }
        let attributes = TableAttributes { schema: provider.schema(), order: Vec::new() }.to_attributes()?;
        transaction.create(path, NewEntry::File, attributes)?;
        // DataFusion has collected the rows already; a context of our own streams them out, since the caller's is locked.
        let context = SessionContext::new();
        let rows = context.read_table(Arc::clone(provider))?;
        let written = write_part(rows.execute_stream().await?, snapshot.store(), WriteOptions::default()).await?;
        if written.rows > 0 {
            let _ = transaction.write(path, WriteMode::Append, written.part, written.attributes)?;
        }
        commit(transaction, &format!("CREATE TABLE {path}")).await
    }
}

#[async_trait]
impl SchemaProvider for DirectorySchema {
    fn table_names(&self) -> Vec<String> {
        // The trait has no way to fail; see `PondCatalog::schema_names`.
        self.names()
            .inspect_err(|error| tracing::warn!(%error, path = %self.path, "the directory cannot be listed"))
            .unwrap_or_default()
    }

    async fn table(&self, name: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        Ok(table(&self.scope, &self.path, name).await?)
    }

    async fn table_type(&self, name: &str) -> DataFusionResult<Option<TableType>> {
        let tree = self.scope.tree().await?;
        Ok(self.kind(&tree, name)?)
    }

    fn register_table(
        &self,
        name: String,
        provider: Arc<dyn TableProvider>,
    ) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        let path = self.target(&name)?;
        effect_now(self.register(&path, &provider))?;
        Ok(None)
    }

    fn deregister_table(&self, name: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        let path = self.target(name)?;
        let removed = effect_now(async {
            let Some(provider) = table(&self.scope, &self.path, name).await? else { return Ok(None) };
            let mut transaction = Transaction::begin(self.scope.snapshot().await?, TransactionOptions::default());
            transaction.remove(&path, RemoveMode::Empty)?;
            commit(transaction, &format!("DROP {path}")).await?;
            Ok(Some(provider))
        })?;
        Ok(removed)
    }

    fn table_exist(&self, name: &str) -> bool {
        let kind = self.scope.tree_now().and_then(|tree| self.kind(&tree, name));
        kind.inspect_err(|error| tracing::warn!(%error, name, "the table cannot be looked up"))
            .is_ok_and(|kind| kind.is_some())
    }
}

/// The query of a view that DataFusion planned, and the names it gives its columns: DataFusion hands over the whole
/// `CREATE VIEW` statement.
fn query_text(view: &ViewTable) -> Result<(String, Vec<String>)> {
    let missing = || Error::new(ErrorKind::Unsupported, "a view without its SQL text cannot be kept in a pond");
    let definition = view.definition().ok_or_else(missing)?;
    let statements = Parser::parse_sql(&GenericDialect {}, definition)
        .map_err(|error| Error::new(ErrorKind::Syntax, "the view's text cannot be read").with_source(error))?;
    match statements.first() {
        Some(SqlStatement::CreateView(create)) => {
            let columns = create.columns.iter().map(|column| match column.name.quote_style {
                Some(_) => column.name.value.clone(),
                None => column.name.value.to_lowercase(),
            });
            Ok((create.query.to_string(), columns.collect()))
        }
        Some(query @ SqlStatement::Query(_)) => Ok((query.to_string(), Vec::new())),
        _ => Err(missing()),
    }
}
