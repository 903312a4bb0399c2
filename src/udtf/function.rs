//! The table functions as DataFusion lists them.

use std::sync::Arc;

use datafusion::catalog::{TableFunction, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::Result as DataFusionResult;

use crate::catalog::Scope;
use crate::error::{Error, ErrorKind};
use crate::udtf::suffixes;

/// Stands in DataFusion's list of functions, so that `SHOW FUNCTIONS` and completion know the name. The calls themselves
/// never come here: [`planner`](crate::udtf::planner()) takes them first.
#[derive(Debug)]
struct Listed {
    name: String,
}

impl TableFunctionImpl for Listed {
    fn call_with_args(&self, _args: TableFunctionArgs<'_, '_>) -> DataFusionResult<Arc<dyn TableProvider>> {
        let message = format!("{}() can stand in FROM only, with constants as its arguments", self.name);
        Err(Error::new(ErrorKind::Unsupported, message).into())
    }
}

/// All of them, for registration.
pub(crate) fn functions(scope: &Scope) -> Vec<Arc<TableFunction>> {
    suffixes()
        .map(|suffix| {
            let name = format!("{}{suffix}", scope.name);
            Arc::new(TableFunction::new(name.clone(), Arc::new(Listed { name })))
        })
        .collect()
}
