//! Which names in a statement are those of table functions.

use std::collections::HashSet;
use std::convert::Infallible;
use std::ops::ControlFlow;

use datafusion::sql::parser::CopyToSource;
use datafusion::sql::parser::Statement as SqlStatement;
use datafusion::sql::sqlparser::ast::{Ident, TableFactor, TableFunctionArgs, Visit, Visitor};

/// The name that a relation calls, as `pond('/x')` does, and what with; `None` for a table.
pub(crate) fn call(factor: &TableFactor) -> Option<(&Ident, &TableFunctionArgs)> {
    match factor {
        TableFactor::Table { name, args: Some(args), .. } => match name.0.as_slice() {
            [part] => Some((part.as_ident()?, args)),
            _ => None,
        },
        _ => None,
    }
}

/// The names that a statement calls with arguments, as `pond('/x')` does, in lower case. DataFusion lists them among the tables.
pub(crate) fn called_functions(statement: &SqlStatement) -> HashSet<String> {
    let mut calls = Calls::default();
    match statement {
        SqlStatement::Statement(inner) => {
            let _ = inner.visit(&mut calls);
        }
        SqlStatement::CopyTo(copied) => {
            if let CopyToSource::Query(query) = &copied.source {
                let _ = query.visit(&mut calls);
            }
        }
        SqlStatement::Explain(explain) => return called_functions(&explain.statement),
        _ => {}
    }
    calls.0
}

#[derive(Default)]
struct Calls(HashSet<String>);

impl Visitor for Calls {
    type Break = Infallible;

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Infallible> {
        if let Some((name, _)) = call(factor) {
            let _ = self.0.insert(name.value.to_lowercase());
        }
        ControlFlow::Continue(())
    }
}
