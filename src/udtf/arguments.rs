//! [`Arguments`] of a table function: constants, by position and by name.

use std::collections::BTreeMap;

use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;

use crate::error::{Error, ErrorKind, Result};

/// What a table function was called with. Each reader takes its argument out; [`finish`](Self::finish) refuses what is left.
#[derive(Debug)]
pub(crate) struct Arguments {
    function: String,
    positional: Vec<ScalarValue>,
    named: BTreeMap<String, ScalarValue>,
    taken: Vec<&'static str>,
}

impl Arguments {
    pub(crate) fn new(function: &str) -> Self {
        Self { function: function.to_owned(), positional: Vec::new(), named: BTreeMap::new(), taken: Vec::new() }
    }

    /// Adds an argument, evaluated: `'/a' || '/b'` is a constant, a column is not.
    pub(crate) fn push(&mut self, name: Option<String>, value: Expr) -> Result<()> {
        let shown = value.to_string();
        let simplifier = ExprSimplifier::new(SimplifyContext::builder().build());
        let schema = DFSchema::empty();
        let value = simplifier.coerce(value, &schema).and_then(|value| simplifier.simplify(value))?;
        let Expr::Literal(value, _) = value else {
            return Err(self.error(format!("'{shown}' is not a constant")));
        };
        match name {
            None if !self.named.is_empty() => {
                Err(self.error(format!("the argument '{shown}' without a name follows one with a name")))
            }
            None => {
                self.positional.push(value);
                Ok(())
            }
            Some(name) => match self.named.insert(name.clone(), value) {
                Some(_) => Err(self.error(format!("the argument '{name}' is given twice"))),
                None => Ok(()),
            },
        }
    }

    /// The text at position 0.
    pub(crate) fn text(&mut self) -> Result<Option<String>> {
        if self.positional.is_empty() {
            return Ok(None);
        }
        let value = self.positional.remove(0);
        match value.try_as_str() {
            Some(Some(text)) => Ok(Some(text.to_owned())),
            _ => Err(self.error(format!("the first argument is a path or glob in quotes, not '{value}'"))),
        }
    }

    /// The text named `name`.
    pub(crate) fn named_text(&mut self, name: &'static str) -> Result<Option<String>> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => match value.try_as_str() {
                Some(Some(text)) => Ok(Some(text.to_owned())),
                _ => Err(self.error(format!("'{name}' is a text, not '{value}'"))),
            },
        }
    }

    /// The text, number or truth value named `name`, as text.
    pub(crate) fn named_any(&mut self, name: &'static str) -> Result<Option<String>> {
        match self.take(name) {
            None => Ok(None),
            Some(value) if value.is_null() => Err(self.error(format!("'{name}' is NULL"))),
            Some(value) => match value.try_as_str() {
                Some(Some(text)) => Ok(Some(text.to_owned())),
                _ => Ok(Some(value.to_string())),
            },
        }
    }

    /// The whole number named `name`, not negative.
    pub(crate) fn named_number(&mut self, name: &'static str) -> Result<Option<u64>> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => match value {
                ScalarValue::Int64(Some(number)) if number >= 0 => Ok(Some(number.unsigned_abs())),
                ScalarValue::UInt64(Some(number)) => Ok(Some(number)),
                value => Err(self.error(format!("'{name}' is a whole number, not '{value}'"))),
            },
        }
    }

    /// The truth value named `name`.
    pub(crate) fn named_flag(&mut self, name: &'static str) -> Result<Option<bool>> {
        match self.take(name) {
            None => Ok(None),
            Some(ScalarValue::Boolean(Some(flag))) => Ok(Some(flag)),
            Some(value) => Err(self.error(format!("'{name}' is true or false, not '{value}'"))),
        }
    }

    /// A text or whole number named `name`, as text.
    pub(crate) fn named_text_or_number(&mut self, name: &'static str) -> Result<Option<String>> {
        match self.named.get(name) {
            Some(ScalarValue::Int64(_) | ScalarValue::UInt64(_)) => {
                Ok(self.named_number(name)?.map(|number| number.to_string()))
            }
            _ => self.named_text(name),
        }
    }

    /// Refuses arguments that nothing has asked for.
    pub(crate) fn finish(self) -> Result<()> {
        if let Some(value) = self.positional.first() {
            return Err(self.error(format!("there is one argument too many: '{value}'")));
        }
        if let Some(name) = self.named.keys().next() {
            let known = match self.taken.as_slice() {
                [] => "it has no named arguments".to_owned(),
                names => {
                    format!("it has {}", names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", "))
                }
            };
            return Err(self.error(format!("there is no argument '{name}'; {known}")));
        }
        Ok(())
    }

    /// An error of this call.
    pub(crate) fn error(&self, message: impl std::fmt::Display) -> Error {
        Error::new(ErrorKind::Plan, format!("{}(): {message}", self.function))
    }

    /// The function's name, for the name of its scan.
    pub(crate) fn function(&self) -> &str {
        &self.function
    }

    fn take(&mut self, name: &'static str) -> Option<ScalarValue> {
        self.taken.push(name);
        self.named.remove(name)
    }
}
