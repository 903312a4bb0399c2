//! [`StatementResult`].

use std::fmt;

use datafusion::execution::SendableRecordBatchStream;

/// What a statement gives.
pub enum StatementResult {
    /// Nothing to show: DDL, `SET`, `BEGIN`.
    Done,
    /// How many rows an `INSERT`, `UPDATE` or `DELETE` wrote or removed.
    Count(u64),
    /// Rows, computed while they are read.
    Rows(SendableRecordBatchStream),
}

impl fmt::Debug for StatementResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("Done"),
            Self::Count(count) => f.debug_tuple("Count").field(count).finish(),
            Self::Rows(rows) => f.debug_tuple("Rows").field(&rows.schema()).finish(),
        }
    }
}
