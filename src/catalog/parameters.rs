//! Parameters such as `$name` in the text of a view, which keeps no values for them.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Query, Value, ValueWithSpan, visit_expressions};

/// The first parameter of a query, as it is written there.
pub(crate) fn parameter_of(query: &Query) -> Option<String> {
    let found = visit_expressions(query, |expression| match expression {
        Expr::Value(ValueWithSpan { value: Value::Placeholder(name), .. }) => ControlFlow::Break(name.clone()),
        _ => ControlFlow::Continue(()),
    });
    match found {
        ControlFlow::Break(name) => Some(name),
        ControlFlow::Continue(()) => None,
    }
}
