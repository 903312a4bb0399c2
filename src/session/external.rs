//! `CREATE EXTERNAL TABLE`: an entry that stands for files elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::sql::parser::CreateExternalTable;
use datafusion::sql::sqlparser::ast::Value;
use parking_lot::Mutex;
use tinyfs::{Attributes, EntryKind, NewEntry, PondPath, RemoveMode, Transaction};

use crate::catalog::{Scope, external_provider};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::ExternalFile;
use crate::session::StatementResult;

/// Makes the entry, after the files were found and read as far as their columns.
pub(super) async fn table(
    scope: &Arc<Scope>,
    transaction: &Mutex<Transaction>,
    directory: &PondPath,
    path: &PondPath,
    create: &CreateExternalTable,
) -> Result<StatementResult> {
    refuse(create)?;
    let taken = match transaction.lock().snapshot().lookup_link(path) {
        Ok(entry) => Some(entry.kind()),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error.into()),
    };
    match taken {
        None => {}
        Some(EntryKind::Dynamic) if create.if_not_exists => return Ok(StatementResult::Done),
        Some(EntryKind::Dynamic) if create.or_replace => {}
        Some(kind) => {
            let message = format!("'{path}' exists already: it is a {}", kind.as_str());
            return Err(Error::new(ErrorKind::AlreadyExists, message).with_path(path));
        }
    }
    let [location] = create.locations.as_slice() else {
        return Err(Error::new(ErrorKind::Syntax, "an external table has one LOCATION; a glob is many files"));
    };
    let file = ExternalFile::try_new(&create.file_type, location, options(create)?)?;
    let file = match file.is_on_host() {
        true => file,
        false => ExternalFile { location: directory.join(location)?.to_string(), ..file },
    };
    let snapshot = transaction.lock().snapshot();
    let _ = external_provider(scope, &snapshot, path, &file).await?;
    let mut transaction = transaction.lock();
    if taken.is_some() {
        transaction.remove(path, RemoveMode::Empty)?;
    }
    transaction.create(path, NewEntry::Dynamic(file.to_text()?.into()), Attributes::default())?;
    Ok(StatementResult::Done)
}

fn refuse(create: &CreateExternalTable) -> Result<()> {
    let refused = [
        (!create.columns.is_empty(), "columns: they are those of the files"),
        (!create.constraints.is_empty(), "constraints"),
        (!create.table_partition_cols.is_empty(), "PARTITIONED BY: write '{name}' in the LOCATION of pond()"),
        (!create.order_exprs.is_empty(), "WITH ORDER"),
        (create.unbounded, "UNBOUNDED"),
        (create.temporary, "TEMPORARY"),
    ];
    match refused.into_iter().find(|(given, _)| *given) {
        Some((_, what)) => {
            Err(Error::new(ErrorKind::Unsupported, format!("an external table of a pond has no {what}")))
        }
        None => Ok(()),
    }
}

fn options(create: &CreateExternalTable) -> Result<BTreeMap<String, String>> {
    let mut options = BTreeMap::new();
    for (name, value) in &create.options {
        let text = match value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) | Value::EscapedStringLiteral(text) => {
                text.clone()
            }
            Value::Number(number, _) => number.clone(),
            Value::Boolean(flag) => flag.to_string(),
            other => {
                let message = format!("the option '{name}' is a text, a number, true or false, not {other}");
                return Err(Error::new(ErrorKind::Syntax, message));
            }
        };
        if options.insert(name.clone(), text).is_some() {
            return Err(Error::new(ErrorKind::Usage, format!("the option '{name}' is given twice")));
        }
    }
    Ok(options)
}
