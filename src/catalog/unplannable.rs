//! [`UnplannableView`]: a view that cannot be planned now.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Expr, LogicalPlan, TableType};
use datafusion::physical_plan::ExecutionPlan;

use crate::catalog::plan_size::Sum;
use crate::error::{Error, Result};

/// Why a plan cannot be run, if it reads a view that cannot be planned. Not left to the scan of it, which the optimiser
/// drops where it sees that no row passes.
pub(crate) fn broken_view(plan: &LogicalPlan) -> Result<Option<Error>> {
    let mut reason = None;
    let _ = Sum::new(|node| {
        if reason.is_none()
            && let LogicalPlan::TableScan(scan) = node
            && let Some(why) = broken_table(&source_as_provider(&scan.source)?)
        {
            reason = Some(Error::shared(why));
        }
        Ok(usize::from(reason.is_some()))
    })
    .over(plan)?;
    Ok(reason)
}

/// Why a table cannot be read, if it is a view that cannot be planned.
pub(crate) fn broken_table(table: &Arc<dyn TableProvider>) -> Option<&Arc<Error>> {
    table.downcast_ref::<UnplannableView>().map(|view| &view.reason)
}

/// A view that cannot be planned now: it shows the schema it once had, and says why when it is read.
#[derive(Debug)]
pub(crate) struct UnplannableView {
    pub(crate) text: Arc<str>,
    pub(crate) schema: SchemaRef,
    pub(crate) reason: Arc<Error>,
}

#[async_trait]
impl TableProvider for UnplannableView {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn get_table_definition(&self) -> Option<&str> {
        Some(&self.text)
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        _projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> datafusion::common::Result<Arc<dyn ExecutionPlan>> {
        Err(Error::shared(&self.reason).into())
    }
}
