//! `COPY … TO`: what is a path in the pond becomes files there, everything else is the host's or another store's.

mod format;
mod host;
mod pond;
mod rows;

use datafusion::arrow::datatypes::Schema;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::dml::CopyTo;
use datafusion::sql::parser::Statement as SqlStatement;
use tinyfs::PondPath;

use crate::catalog::HostFiles;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{check_json, check_storable, is_host_name};
use crate::session::PondSession;
use crate::session::names::Names;

pub(super) use host::run;
#[cfg(feature = "shell")]
pub(crate) use host::write_file as write_host_file;
pub(super) use pond::into_pond;

/// What the URL of a path in a pond begins with.
const SCHEME: &str = "pond://";

/// Whether a target is a path in a pond: one that begins with `/` always is, and a bare name is one here as everywhere.
pub(super) fn is_pond_target(target: &str) -> bool {
    target.starts_with(SCHEME) || !is_host_name(target)
}

/// The path that a path or URL in the pond names.
///
/// # Errors
/// [`NotFound`](ErrorKind::NotFound) for a URL of another pond.
pub(super) fn pond_path(target: &str, names: &Names) -> Result<PondPath> {
    let Some(rest) = target.strip_prefix(SCHEME) else { return Ok(names.directory.join(target)?) };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    if !host.is_empty() && host != names.catalog {
        let message = format!("'{target}' is in the pond '{host}', and there is none of that name here");
        return Err(Error::new(ErrorKind::NotFound, message));
    }
    Ok(PondPath::root().join(path)?)
}

/// Makes a `COPY` to elsewhere than the pond, or the explanation of any, what DataFusion understands by it.
///
/// # Errors
/// [`Unsupported`](ErrorKind::Unsupported) for a host file where host files are off, and for the name of a format that is not written.
pub(super) fn prepare(statement: &mut SqlStatement, names: &Names, host_files: HostFiles) -> Result<()> {
    let copy = match statement {
        SqlStatement::CopyTo(copy) => copy,
        SqlStatement::Explain(explain) => return prepare(&mut explain.statement, names, host_files),
        _ => return Ok(()),
    };
    if is_pond_target(&copy.target) {
        let path = pond_path(&copy.target, names)?;
        format::spell_out(copy, format::Default::Parquet)?;
        copy.target = format!("{SCHEME}{path}");
        return Ok(());
    }
    format::spell_out(copy, format::Default::None)?;
    if host_files == HostFiles::Refused {
        let message = format!("'{}' is a host file, and host files are switched off", copy.target);
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    Ok(())
}

/// Refuses a tree whose files would have no column, for all of them would be in the names of directories.
fn check_partitions(session: &PondSession, copied: &CopyTo) -> Result<()> {
    const KEEP: &str = "keep_partition_by_columns";
    let columns = copied.input.schema().fields().len();
    let keeps = session.context().copied_config().options().execution.keep_partition_by_columns
        || copied.options.keys().any(|option| option.to_ascii_lowercase().ends_with(KEEP));
    if copied.partition_by.is_empty() || copied.partition_by.len() < columns || keeps {
        return Ok(());
    }
    let message =
        "PARTITIONED BY has every column, and the files need one that is not in the names of their directories";
    Err(Error::new(ErrorKind::Plan, message))
}

/// Refuses columns that the format of the files has no place for, before the query runs: DataFusion's writers find out with the first rows. So
/// they do with none at all, or write lines of nothing. And options that the one for Arrow would not look at.
fn check_types(copied: &CopyTo) -> Result<()> {
    let schema = copied.input.schema().as_arrow();
    if schema.fields().is_empty() {
        return Err(Error::new(ErrorKind::Plan, "a file needs a column"));
    }
    // Those that the files are parted by are text, in the names of directories.
    let written = schema.fields().iter().filter(|field| !copied.partition_by.contains(field.name()));
    let written = Schema::new(written.cloned().collect::<Vec<_>>());
    match copied.file_type.get_ext().as_str() {
        "parquet" => check_storable(&written),
        "json" => check_json(&written),
        "arrow" => match copied.options.keys().find_map(|option| option.strip_prefix("format.")) {
            Some(option) => {
                let message = format!("a file of Arrow IPC is written without the option '{option}'");
                Err(Error::new(ErrorKind::Usage, message))
            }
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// The error for a file that could not be finished. DataFusion keeps what the disk said to itself: its writers of text say of their last bytes
/// no more than that this was a bug of its own. So that is no source of the error.
fn unfinished(name: &str, error: Error) -> Error {
    if !error.to_string().contains("Error encountered while finalizing writes") {
        return error;
    }
    tracing::debug!(%error, "what DataFusion says of a file that could not be finished");
    let message = format!(
        "cannot write '{name}': a file could not be finished; the disk may be full, or the name of a directory too long"
    );
    Error::new(ErrorKind::Io, message)
}

/// Refuses to explain a `COPY` by running it, which would go past [`run`].
pub(super) fn refuse_analyze(plan: &LogicalPlan) -> Result<()> {
    match plan {
        LogicalPlan::Analyze(analyze) if matches!(analyze.input.as_ref(), LogicalPlan::Copy(_)) => {
            let message = "EXPLAIN ANALYZE of a COPY is not available: explain its query, or use EXPLAIN COPY";
            Err(Error::new(ErrorKind::Unsupported, message))
        }
        _ => Ok(()),
    }
}
