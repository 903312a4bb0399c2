//! [`Connection`]: a session, as sqllogictest sees a database.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use datafusion::error::DataFusionError;
use futures::TryStreamExt;
use sqllogictest::{AsyncDB, DBOutput};

use super::cells::{ColumnType, column_types, rows};
use crate::error::CAUSED_BY;
use crate::shell::command::Command;
use crate::shell::splitter::{Piece, PieceKind, Splitter};
use crate::{Error, ErrorKind, PondSession, StatementResult};

/// One session of a suite.
pub(super) struct Connection {
    session: PondSession,
    /// Whether the record that runs wants the number of changed rows as such.
    count_rows: Arc<AtomicBool>,
}

impl Connection {
    pub(super) fn new(session: PondSession, count_rows: Arc<AtomicBool>) -> Self {
        Self { session, count_rows }
    }

    async fn run_piece(&mut self, piece: &Piece) -> Result<DBOutput<ColumnType>, Error> {
        let sql = match piece.kind {
            PieceKind::Sql => piece.text.clone(),
            PieceKind::Command => match Command::parse(&piece.text).map_err(usage)? {
                Command::ChangeDirectory(path) => {
                    self.session.set_current_directory(&path).await?;
                    return Ok(DBOutput::StatementComplete(0));
                }
                Command::Put { host, pond, read } => {
                    let file = tokio::fs::File::open(&host).await?;
                    let _ = self.session.put(file, &pond, read).await?;
                    return Ok(DBOutput::StatementComplete(0));
                }
                command => command.sql().ok_or_else(|| usage("this command has no result to compare".to_owned()))?,
            },
        };
        match self.session.execute(&sql).await? {
            StatementResult::Done => Ok(DBOutput::StatementComplete(0)),
            StatementResult::Count(count) if self.count_rows.load(Ordering::Relaxed) => {
                Ok(DBOutput::StatementComplete(count))
            }
            StatementResult::Count(count) => {
                Ok(DBOutput::Rows { types: vec![ColumnType::Integer], rows: vec![vec![count.to_string()]] })
            }
            StatementResult::Rows(stream) => {
                let types = column_types(&stream.schema());
                let batches: Vec<RecordBatch> = stream.try_collect().await?;
                let rows = rows(&batches).map_err(DataFusionError::from)?;
                if types.is_empty() && rows.is_empty() {
                    return Ok(DBOutput::StatementComplete(0));
                }
                Ok(DBOutput::Rows { types, rows })
            }
        }
    }
}

#[async_trait]
impl AsyncDB for Connection {
    type Error = ConnectionError;
    type ColumnType = ColumnType;

    /// Runs the statements of a record; what the last one gives counts.
    async fn run(&mut self, sql: &str) -> Result<DBOutput<ColumnType>, ConnectionError> {
        let mut splitter = Splitter::new();
        splitter.push(sql);
        let mut output = DBOutput::StatementComplete(0);
        while let Some(piece) = splitter.next_piece().or_else(|| splitter.finish()) {
            output = self.run_piece(&piece).await.map_err(|error| ConnectionError::new(&error))?;
        }
        Ok(output)
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &'static str {
        "pondsql"
    }

    async fn sleep(duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

fn usage(message: String) -> Error {
    Error::new(ErrorKind::Usage, message)
}

/// An error as suites expect it: what comes from DataFusion is told as DataFusion's own runner tells it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct ConnectionError(String);

impl ConnectionError {
    pub(super) fn new(error: &Error) -> Self {
        let text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            if let Some(cause) = cause.downcast_ref::<DataFusionError>() {
                let theirs = cause.strip_backtrace();
                // An error of this crate that passed through DataFusion, or a message replaced by a better one, is ours.
                // The parser's message is shown with its own quotes in theirs, and is the same all the same.
                let same = match cause.find_root() {
                    DataFusionError::External(_) => theirs.replace(CAUSED_BY, ": ") == text,
                    DataFusionError::SQL(..) => true,
                    _ => holds(&theirs, &text),
                };
                if same {
                    return Self(format!("DataFusion error: {theirs}"));
                }
            }
            source = cause.source();
        }
        Self(text)
    }
}

/// Whether the words of `text` are in `whole`, however the lines are broken.
fn holds(whole: &str, text: &str) -> bool {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    words(whole).contains(&words(text))
}
