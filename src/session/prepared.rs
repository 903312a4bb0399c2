//! `PREPARE`, `EXECUTE`, `DEALLOCATE`.

use datafusion::sql::parser::Statement as SqlStatement;
use datafusion::sql::sqlparser::ast::{Ident, Statement};

use crate::error::Result;
use crate::session::{PondSession, StatementResult};

/// What a statement does with a prepared one, and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Prepared {
    Prepare(String),
    Execute(String),
    Deallocate(String),
}

impl Prepared {
    pub(super) fn of(statement: &SqlStatement) -> Option<Self> {
        let SqlStatement::Statement(statement) = statement else { return None };
        let ident =
            |name: &Ident| if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() };
        match statement.as_ref() {
            Statement::Prepare { name, .. } => Some(Self::Prepare(ident(name))),
            Statement::Execute { name: Some(name), .. } => Some(Self::Execute(name.0.last()?.as_ident().map(ident)?)),
            Statement::Deallocate { name, .. } => Some(Self::Deallocate(ident(name))),
            _ => None,
        }
    }
}

impl PondSession {
    pub(super) async fn run_prepared(
        &mut self,
        prepared: Prepared,
        statement: SqlStatement,
    ) -> Result<StatementResult> {
        match prepared {
            Prepared::Prepare(name) => {
                let result = self.plan_and_run(statement.clone()).await?;
                let _ = self.prepared.insert(name, statement);
                Ok(result)
            }
            Prepared::Execute(name) => {
                // Planned anew for what the pond is now.
                if let Some(prepare) = self.prepared.get(&name) {
                    let forget = Statement::Deallocate { name: Ident::with_quote('"', name), prepare: false };
                    let forgotten = self.plan_and_run(SqlStatement::Statement(Box::new(forget))).await;
                    // It is not there if planning it anew failed the last time.
                    drop(forgotten);
                    let _ = self.plan_and_run(prepare.clone()).await?;
                }
                self.plan_and_run(statement).await
            }
            Prepared::Deallocate(name) => {
                let _ = self.prepared.remove(&name);
                self.plan_and_run(statement).await
            }
        }
    }
}
