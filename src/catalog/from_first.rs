//! `FROM t` without `SELECT`.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as SqlStatement;
use datafusion::sql::sqlparser::ast::{
    Query, SelectFlavor, SelectItem, SetExpr, VisitMut, VisitorMut, WildcardAdditionalOptions,
};

/// Gives `FROM t` and `FROM t SELECT …` the form that DataFusion's planner knows: it reads the first as no columns.
pub(crate) fn spell_out_from_first(statement: &mut SqlStatement) {
    match statement {
        SqlStatement::Statement(statement) => {
            let _ = VisitMut::visit(statement.as_mut(), &mut FromFirst);
        }
        SqlStatement::Explain(explain) => spell_out_from_first(&mut explain.statement),
        SqlStatement::CopyTo(copy) => {
            if let datafusion::sql::parser::CopyToSource::Query(query) = &mut copy.source {
                let _ = VisitMut::visit(query.as_mut(), &mut FromFirst);
            }
        }
        SqlStatement::CreateExternalTable(_) | SqlStatement::Reset(_) => {}
    }
}

struct FromFirst;

impl VisitorMut for FromFirst {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        spell_out(&mut query.body);
        ControlFlow::Continue(())
    }
}

fn spell_out(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            if select.flavor == SelectFlavor::FromFirstNoSelect {
                select.projection = vec![SelectItem::Wildcard(WildcardAdditionalOptions::default())];
            }
            select.flavor = SelectFlavor::Standard;
        }
        SetExpr::SetOperation { left, right, .. } => {
            spell_out(left);
            spell_out(right);
        }
        // A nested query is visited on its own.
        _ => {}
    }
}
