//! Statements that change the pond.

use std::sync::Arc;

use datafusion::sql::parser::{CopyToStatement, Statement as SqlStatement};
use parking_lot::Mutex;
use tinyfs::{EntryKind, Glob, PondPath, Transaction};

use crate::catalog::{DeepStack, OpenPond, Recording, Statement as Running, Tree};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::is_host_name;
use crate::session::parser::{PondStatement, inserts_literals, reads_target};
use crate::session::transaction::{Access, commit, message};
use crate::session::{PondSession, StatementResult, copy, create, drop, external, optimize, rename, view};

/// How often a statement outside `BEGIN` is run again when another transaction was first. Each time somebody else made
/// progress, so this ends only under contention that no waiting would cure.
const MAX_ATTEMPTS: u32 = 1_000;

impl PondSession {
    /// Makes the changes of one statement: in the open transaction, which is as it was before where that fails, or in one of its own.
    pub(super) async fn write(&mut self, statement: &PondStatement, sql: &str) -> Result<StatementResult> {
        self.check_writable()?;
        if let Some(open) = &self.transaction {
            let (pond, transaction) = (open.pond.clone(), Arc::clone(&open.transaction));
            let savepoint = transaction.lock().savepoint();
            let result = self.change_deep(statement, sql, &pond, &transaction).await;
            match &result {
                Ok(_) => {
                    if let Some(open) = &mut self.transaction {
                        open.statements.push(message(sql));
                    }
                }
                Err(_) => transaction.lock().roll_back_to(savepoint),
            }
            return result;
        }
        let pond = self.pond.opened().await?.clone();
        let mut attempts = 0;
        let warned = self.warnings.lock().len();
        loop {
            attempts += 1;
            let transaction = self.start(&pond, Access::ReadWrite).await?;
            let result = self.change_deep(statement, sql, &pond, &transaction).await?;
            match commit(transaction, self.info(sql)).await {
                Ok(()) => return Ok(result),
                Err(error) => {
                    // What this attempt warned of has not come to be.
                    self.warnings.lock().truncate(warned);
                    if error.kind() != ErrorKind::Conflict || attempts >= MAX_ATTEMPTS {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Makes the changes of one statement in `transaction`, on a stack that is deep enough for it.
    async fn change_deep(
        &self,
        statement: &PondStatement,
        sql: &str,
        pond: &OpenPond,
        transaction: &Arc<Mutex<Transaction>>,
    ) -> Result<StatementResult> {
        let work = self.change(statement, pond, transaction);
        match statement {
            PondStatement::Write { statement, .. } if inserts_literals(statement) => {
                DeepStack::with_text(sql, work).await
            }
            _ => DeepStack::new(work).await,
        }
    }

    async fn change(
        &self,
        statement: &PondStatement,
        pond: &OpenPond,
        transaction: &Arc<Mutex<Transaction>>,
    ) -> Result<StatementResult> {
        self.register_objects(pond)?;
        let names = self.names()?;
        let running = |target: Option<PondPath>| {
            Arc::new(Running::new(self.scope(), pond.clone(), Arc::clone(transaction), Recording::On, target))
        };
        let bind = |target| self.scope().bind(running(target));
        match statement {
            PondStatement::Write { statement, target } => {
                let path = names.path(target)?;
                let running = Running::new(
                    self.scope(),
                    pond.clone(),
                    Arc::clone(transaction),
                    Recording::On,
                    Some(path.clone()),
                );
                check_target(running.tree(), &path)?;
                self.check_names(statement, &running)?;
                if reads_target(statement, &names, &path) {
                    running.record_read(&path);
                }
                let _bound = self.scope().bind(Arc::new(running));
                let rows = self.insert(SqlStatement::clone(statement)).await.map_err(|error| match error.kind() {
                    // DataFusion says which column of the values, but not of which table.
                    ErrorKind::Execution if !error.to_string().contains(path.as_str()) => {
                        Error::new(ErrorKind::Execution, format!("cannot write to '{path}'"))
                            .with_path(&path)
                            .with_source(error)
                    }
                    _ => error,
                })?;
                Ok(StatementResult::Count(rows))
            }
            PondStatement::CopyIn(copied) => {
                // What is copied may be what is replaced, so that naming it is to read it.
                let running = running(None);
                self.check_names(&SqlStatement::CopyTo(CopyToStatement::clone(copied)), &running)?;
                let _bound = self.scope().bind(running);
                copy::into_pond(self, pond, transaction, copied).await.map(StatementResult::Count)
            }
            PondStatement::CreateTable(table) => {
                let path = names.path(&table.name)?;
                let running = running(Some(path.clone()));
                let _bound = self.scope().bind(Arc::clone(&running));
                create::table(self, pond, transaction, &path, table, &running).await
            }
            PondStatement::CreateView { create, query } => {
                let path = names.path(&create.name)?;
                let _bound = bind(Some(path.clone()));
                let warnings = view::create(self.scope(), transaction, &names.directory, &path, create, query).await?;
                self.warnings.lock().extend(warnings);
                Ok(StatementResult::Done)
            }
            PondStatement::Comment { kind, name, text, if_exists } => {
                let path = names.path(name)?;
                view::comment(self.scope(), &mut transaction.lock(), &path, *kind, text.as_deref(), *if_exists)?;
                Ok(StatementResult::Done)
            }
            PondStatement::CreateExternal { create, sql } => {
                let path = names.path(&create.name)?;
                let _bound = bind(Some(path.clone()));
                external::table(self.scope(), transaction, &names.directory, &path, create, sql).await
            }
            PondStatement::CreateSchema { name, if_not_exists } => {
                create::schema(&mut transaction.lock(), &names.directory(name)?, *if_not_exists)
            }
            PondStatement::CreateSymlink { link, target } => {
                create::symlink(&mut transaction.lock(), &names.path(link)?, target)
            }
            PondStatement::Drop { kind, names: dropped, if_exists, cascade } => {
                drop::entries(self.scope(), &mut transaction.lock(), &names, *kind, dropped, *if_exists, *cascade)
            }
            PondStatement::Rename { from, to } => {
                let (from, to) = (names.path(from)?, names.path(to)?);
                let mut transaction = transaction.lock();
                rename::check(self.scope(), &transaction, &from, &to)?;
                transaction.rename(&from, &to)?;
                let left_behind = rename::left_behind(&transaction.snapshot(), &from, &to)?;
                let of_names = rename::warnings(&transaction.snapshot(), &to)?;
                self.warnings.lock().extend(left_behind.into_iter().chain(of_names));
                Ok(StatementResult::Done)
            }
            PondStatement::Optimize(glob) => {
                if is_host_name(glob) {
                    let message = format!("'{glob}' is a host file: OPTIMIZE is for files that are stored in the pond");
                    return Err(Error::new(ErrorKind::ReadOnly, message));
                }
                optimize::files(self, pond, transaction, &Glob::parse_relative(&names.directory, glob)?).await
            }
            other => Err(Error::new(ErrorKind::Unsupported, format!("{other:?} changes nothing"))),
        }
    }
}

/// Refuses a target that is no file, before DataFusion says that it implements no such thing.
fn check_target(tree: &Tree, path: &PondPath) -> Result<()> {
    let kind = tree.lookup(path)?.kind();
    if kind == EntryKind::File {
        return Ok(());
    }
    let what = match kind {
        EntryKind::Dynamic => "table that is made outside of the pond",
        kind => kind.as_str(),
    };
    let message = format!("'{path}' is a {what}; rows can be written to files only");
    Err(Error::new(ErrorKind::WrongKind, message).with_path(path))
}
