//! The values of `$name` in statements.

use std::collections::HashMap;

use datafusion::common::{ParamValues, ScalarValue};
use datafusion::logical_expr::LogicalPlan;

use crate::error::Result;
use crate::session::PondSession;

impl PondSession {
    pub(crate) fn bind_parameters(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        if self.options.parameters.is_empty() || plan.get_parameter_names()?.is_empty() {
            return Ok(plan);
        }
        let values: HashMap<String, ScalarValue> =
            self.options.parameters.iter().map(|(name, text)| (name.clone(), parameter(text))).collect();
        Ok(plan.with_param_values(ParamValues::from(values))?)
    }
}

/// The value that the text of a parameter looks like.
fn parameter(text: &str) -> ScalarValue {
    if let Ok(number) = text.parse::<i64>() {
        return ScalarValue::Int64(Some(number));
    }
    match text {
        "true" => ScalarValue::Boolean(Some(true)),
        "false" => ScalarValue::Boolean(Some(false)),
        // `inf` and `nan` are words before they are numbers.
        _ if text.contains(|c: char| c.is_ascii_digit()) => match text.parse::<f64>() {
            Ok(number) => ScalarValue::Float64(Some(number)),
            Err(_) => ScalarValue::Utf8(Some(text.to_owned())),
        },
        _ => ScalarValue::Utf8(Some(text.to_owned())),
    }
}
