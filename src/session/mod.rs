//! Sessions: SQL on a pond, one snapshot a statement, transactions over everything.

mod bytes;
mod create;
mod drop;
mod limits;
mod names;
mod options;
mod parser;
mod pond_session;
mod result;
mod show;
mod transaction;

<<<<<<< HEAD
pub use options::SessionOptions;
pub use pond_session::PondSession;
pub use result::StatementResult;
pub use transaction::TransactionStatus;

pub use limits::{MAX_CHAINED_OPERATORS, MAX_STATEMENT_BYTES, MAX_UNION_ARMS};
=======
use bytes::Bytes;
use datafusion::catalog::CatalogProviderList;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::TryStreamExt;
use futures::stream::BoxStream;
use tokio::io::AsyncRead;

/// Result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "a stand-in")]
pub enum ErrorKind {
    NotFound,
    AlreadyExists,
    WrongKind,
    Syntax,
    Plan,
    TypeConflict,
    Conflict,
    ReadOnly,
    Unsupported,
    Corrupt,
    Io,
    Limit,
    Cancelled,
    Execution,
    Usage,
}

/// Error.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// New.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }
    /// Kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        let kind = match &error {
            DataFusionError::SQL(..) => ErrorKind::Syntax,
            DataFusionError::Plan(_) => ErrorKind::Plan,
            _ => ErrorKind::Execution,
        };
        Self { kind, message: error.strip_backtrace(), source: Some(Box::new(error)) }
    }
}

/// Open.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "a stand-in")]
pub struct OpenOptions {
    pub read_only: bool,
}

/// Session.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "a stand-in")]
pub struct SessionOptions {
    pub host_files: bool,
    pub memory_limit: Option<usize>,
    pub read_only: bool,
    pub author: String,
    pub parameters: BTreeMap<String, String>,
    pub as_of: Option<String>,
    pub target_partitions: Option<usize>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            host_files: true,
            memory_limit: None,
            read_only: false,
            author: String::new(),
            parameters: BTreeMap::new(),
            as_of: None,
            target_partitions: None,
        }
    }
}

/// Pond.
#[derive(Debug, Clone)]
pub struct Pond {
    catalogs: Arc<dyn CatalogProviderList>,
}

impl Pond {
    /// Open.
    #[expect(clippy::unused_async, clippy::needless_pass_by_value, reason = "a stand-in")]
    pub async fn open(_: &str, _: OpenOptions) -> Result<Self> {
        Ok(Self { catalogs: SessionContext::new().state_ref().read_arc_catalogs() })
    }
    /// Fork.
    pub async fn fork(&self) -> Result<Self> {
        Self::open("memory:", OpenOptions::default()).await
    }
    /// Session.
    #[expect(clippy::needless_pass_by_value, reason = "a stand-in")]
    pub fn session(&self, options: SessionOptions) -> Result<PondSession> {
        let mut config =
            SessionConfig::new().with_information_schema(true).with_create_default_catalog_and_schema(false);
        if let Some(n) = options.target_partitions {
            config = config.with_target_partitions(n);
        }
        let state = SessionStateBuilder::new_with_default_features()
            .with_config(config)
            .with_catalog_list(Arc::clone(&self.catalogs))
            .build();
        Ok(PondSession {
            context: SessionContext::new_with_state(state),
            status: TransactionStatus::None,
            directory: "/".into(),
        })
    }
    /// Close.
    #[expect(clippy::unused_async, reason = "a stand-in")]
    pub async fn close(&self) -> Result<()> {
        Ok(())
    }
}

trait ReadCatalogs {
    fn read_arc_catalogs(&self) -> Arc<dyn CatalogProviderList>;
}
impl<T: std::ops::Deref> ReadCatalogs for T {
    fn read_arc_catalogs(&self) -> Arc<dyn CatalogProviderList> {
        Arc::clone(SessionContext::new().state().catalog_list())
    }
}

/// Status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "a stand-in")]
pub enum TransactionStatus {
    None,
    Active,
    Failed,
}

/// Result.
#[expect(missing_docs, missing_debug_implementations, reason = "a stand-in")]
pub enum StatementResult {
    Done,
    Count(u64),
    Rows(SendableRecordBatchStream),
}

/// Session.
#[expect(missing_debug_implementations, reason = "a stand-in")]
pub struct PondSession {
    context: SessionContext,
    status: TransactionStatus,
    directory: String,
}

#[expect(missing_docs, reason = "a stand-in")]
impl PondSession {
    pub async fn execute(&mut self, statement: &str) -> Result<StatementResult> {
        match statement.to_ascii_uppercase().as_str() {
            "BEGIN" => {
                self.status = TransactionStatus::Active;
                return Ok(StatementResult::Done);
            }
            "COMMIT" | "ROLLBACK" => {
                self.status = TransactionStatus::None;
                return Ok(StatementResult::Done);
            }
            _ => {}
        }
        let frame = self.context.sql(statement).await?;
        Ok(match frame.logical_plan() {
            LogicalPlan::Dml(_) => {
                let batches = frame.collect().await?;
                let count = arrow::array::AsArray::as_primitive::<arrow::datatypes::UInt64Type>(batches[0].column(0));
                StatementResult::Count(count.value(0))
            }
            LogicalPlan::Ddl(_) | LogicalPlan::EmptyRelation(_) if frame.schema().fields().is_empty() => {
                StatementResult::Done
            }
            _ => StatementResult::Rows(frame.execute_stream().await?),
        })
    }
    pub fn transaction_status(&self) -> TransactionStatus {
        self.status
    }
    pub fn current_directory(&self) -> String {
        self.directory.clone()
    }
    pub fn set_current_directory(&mut self, path: &str) -> Result<()> {
        self.directory = path.to_owned();
        Ok(())
    }
    #[expect(clippy::unused_async, reason = "a stand-in")]
    pub async fn put(&mut self, _: impl AsyncRead + Send + Unpin, _: &str) -> Result<u64> {
        Err(Error::new(ErrorKind::Unsupported, "no files here"))
    }
    #[expect(clippy::unused_async, reason = "a stand-in")]
    pub async fn read(&mut self, path: &str) -> Result<BoxStream<'static, Result<Bytes>>> {
        let _ = futures::stream::empty::<Result<Bytes>>().try_next();
        Err(Error::new(ErrorKind::NotFound, format!("nothing at {path}")))
    }
}
>>>>>>> shell
