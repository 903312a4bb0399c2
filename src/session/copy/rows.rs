//! Rows on their way to DataFusion's writers, which take some for what they are not, and others not at all.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::{DataFusionError, Result as DataFusionResult, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::logical_expr::dml::CopyTo;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::StreamExt;
use futures::stream;
use parking_lot::Mutex;

use crate::error::{Error, ErrorKind, Result};
use crate::provider::{conform, has_seconds, in_milliseconds, without_dictionaries};
use crate::session::PondSession;

/// The same `COPY`, whose rows are what its writer can write.
///
/// It fails at a NULL in a column that its files are parted by. DataFusion would name the directory after what the column happens to hold in
/// that place, mostly an empty text or a 0, and the row would be one of those. Arrow IPC gets values for dictionaries: a file has one
/// dictionary, and those of a query change. And Parquet gets milliseconds for seconds, which it has no times of.
///
/// The rows pass by on their way to the writer: a function around the columns would take their order away from the planner.
///
/// # Errors
/// What planning the query says.
pub(super) async fn as_written(session: &PondSession, mut copied: CopyTo) -> Result<CopyTo> {
    let format = copied.file_type.get_ext();
    let (is_arrow, is_parquet) = (format == "arrow", format == "parquet");
    let given = copied.input.schema().as_arrow();
    let is_other =
        (is_arrow && without_dictionaries(given).fields() != given.fields()) || (is_parquet && has_seconds(given));
    if copied.partition_by.is_empty() && !is_other {
        return Ok(copied);
    }
    let rows = session.stream(&copied.input).await?;
    let rows = if is_parquet { in_milliseconds(rows) } else { rows };
    let schema = if is_arrow { without_dictionaries(&rows.schema()) } else { rows.schema() };
    let columns: Vec<usize> = copied.partition_by.iter().filter_map(|name| schema.index_of(name).ok()).collect();
    let written = Arc::clone(&schema);
    let checked = rows.map(move |batch| {
        let batch = batch?;
        match columns.iter().find(|at| batch.column(**at).logical_null_count() > 0) {
            Some(at) => Err(DataFusionError::from(is_null(batch.schema_ref().field(*at).name()))),
            None if is_arrow => Ok(conform(&batch, &written)?),
            None => Ok(batch),
        }
    });
    let checked: SendableRecordBatchStream = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), checked));
    let once = Once { schema: Arc::clone(&schema), rows: Mutex::new(Some(checked)) };
    let table = StreamingTable::try_new(schema, vec![Arc::new(once)])?;
    let name = TableReference::bare("rows");
    copied.input = Arc::new(LogicalPlanBuilder::scan(name, provider_as_source(Arc::new(table)), None)?.build()?);
    Ok(copied)
}

fn is_null(column: &str) -> Error {
    let message = format!(
        "PARTITIONED BY found NULL in the column '{column}', and no directory has such a name: leave these rows out, or use \
         coalesce(\"{column}\", …), with '__HIVE_DEFAULT_PARTITION__' for programs that take that for NULL"
    );
    Error::new(ErrorKind::Execution, message)
}

/// Rows that are read once.
struct Once {
    schema: SchemaRef,
    rows: Mutex<Option<SendableRecordBatchStream>>,
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl PartitionStream for Once {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        self.rows.lock().take().unwrap_or_else(|| {
            let again: DataFusionResult<RecordBatch> =
                Err(DataFusionError::Internal("the rows of a COPY were asked for twice".to_owned()));
            Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream::iter([again])))
        })
    }
}
