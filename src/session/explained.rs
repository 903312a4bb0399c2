//! Errors of running a statement, with what has changed of the views that it reads.

use std::sync::Arc;

use datafusion::common::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::TryStreamExt;

use crate::error::Error;
use crate::provider::with_changes;
use crate::session::PondSession;

impl PondSession {
    /// The rows of the statement that was planned; where computing one fails, the error also tells what has changed of its views.
    pub(super) fn explained_rows(&self, rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let changes = self.changes();
        if changes.is_empty() {
            return rows;
        }
        let schema = rows.schema();
        let rows = rows.map_err(move |cause| DataFusionError::from(with_changes(Error::from(cause), &changes)));
        Box::pin(RecordBatchStreamAdapter::new(schema, rows))
    }

    /// The same of an error: what is constant is computed before there are rows.
    pub(super) fn explained(&self, error: Error) -> Error {
        with_changes(error, &self.changes())
    }

    fn changes(&self) -> Vec<Arc<str>> {
        self.scope().statement().map(|running| running.findings().changes()).unwrap_or_default()
    }
}
