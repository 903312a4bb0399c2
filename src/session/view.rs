//! `CREATE VIEW`, `COMMENT ON`.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{self, CreateView};
use parking_lot::Mutex;
use tinyfs::{Attributes, EntryKind, NewEntry, PondPath, Transaction};

use crate::catalog::{COMMENT, Scope, ViewDefinition, check_family, family_suppliers, parameter_of, plan_view};
use crate::error::{Error, ErrorKind, Result};
use crate::session::create::{Declared, Existing, exists, file_schema, identifier, kind_at};
use crate::session::shown;

/// `CREATE VIEW path [(columns)] [COMMENT = text] AS query`; a path with captures makes a family. Returns what to warn of.
///
/// # Errors
/// What planning says, except that an input does not exist yet: that is a warning.
pub(super) async fn create(
    scope: &Arc<Scope>,
    transaction: &Mutex<Transaction>,
    directory: &PondPath,
    path: &PondPath,
    create: &CreateView,
    query: &str,
) -> Result<Vec<String>> {
    if create.materialized || create.temporary {
        return Err(Error::new(ErrorKind::Unsupported, "a view in a pond is neither MATERIALIZED nor TEMPORARY"));
    }
    if !matches!(create.options, ast::CreateTableOptions::None) {
        return Err(Error::new(ErrorKind::Unsupported, "a view in a pond has no WITH and no OPTIONS"));
    }
    if let Some(name) = parameter_of(&create.query) {
        let message = format!(
            "the view '{path}' cannot have the parameter {name}: it keeps its text, and no values; write the value out"
        );
        return Err(Error::new(ErrorKind::Unsupported, message).with_path(path));
    }
    let existing = Existing::new(create.or_replace, create.if_not_exists)?;
    let taken = kind_at(transaction, path)?;
    match (taken, existing) {
        (None, _) | (Some(EntryKind::View), Existing::Replace) => {}
        (Some(EntryKind::View), Existing::Keep) => return Ok(Vec::new()),
        (Some(kind), _) => return Err(exists(path, kind, "view")),
    }
    let columns = create.columns.iter().map(|column| identifier(&column.name)).collect();
    let comment = match (&create.comment, taken) {
        (Some(comment), _) => Some(comment.clone()),
        // It belongs to the name, not to the text.
        (None, Some(_)) => {
            transaction.lock().snapshot().lookup(path)?.node.attributes.get(COMMENT).map(ToString::to_string)
        }
        (None, None) => None,
    };
    let suppliers = family_suppliers(scope, path, query, directory)?;
    let draft = ViewDefinition { columns, comment, suppliers, ..ViewDefinition::new(directory) };
    let (definition, warning) = match plan_view(scope, path, query, &draft).await {
        Ok(planned) => {
            let schema = file_schema(planned.plan.schema().inner(), Declared::Columns)?;
            (ViewDefinition { schema, inputs: planned.inputs, ..draft }, None)
        }
        Err(error) if error.is_missing() => (draft, Some(error.to_string())),
        Err(error) => return Err(error),
    };
    let attributes = definition.to_attributes()?;
    let mut transaction = transaction.lock();
    if taken.is_some() {
        transaction.update(path, Some(query.into()), attributes)?;
    } else {
        transaction.create(path, NewEntry::View(query.into()), attributes)?;
    }
    let warning = warning.map(|reason| format!("{reason}; the view is made, and can be read once that exists"));
    Ok(warning.into_iter().chain(check_family(&transaction.snapshot(), path)?).collect())
}

/// `COMMENT ON VIEW path IS text`; `COMMENT ON TABLE` for a file, and for what `CREATE EXTERNAL TABLE` made. Without a text, none is left.
pub(super) fn comment(
    scope: &Scope,
    transaction: &mut Transaction,
    path: &PondPath,
    wanted: EntryKind,
    text: Option<&str>,
    if_exists: bool,
) -> Result<()> {
    let node = match transaction.snapshot().lookup_link(path) {
        Ok(entry) => entry.node,
        Err(error) => {
            let advice = |family: &PondPath| format!("COMMENT ON VIEW '{family}' is about them all");
            return match shown::change_error(scope, transaction, path, advice)? {
                Some(shown) => Err(shown),
                None if error.is_not_found() && if_exists => Ok(()),
                None => Err(error.into()),
            };
        }
    };
    let is_external = matches!(node.kind(), EntryKind::Dynamic | EntryKind::DynamicDirectory);
    if node.kind() != wanted && !(wanted == EntryKind::File && is_external) {
        let message = format!("'{path}' is a {}, and COMMENT ON says {}", node.kind().as_str(), wanted.as_str());
        return Err(Error::new(ErrorKind::WrongKind, message).with_path(path));
    }
    let others = node.attributes.iter().filter(|(name, _)| &***name != COMMENT);
    let attributes: Attributes = others.map(|(name, value)| (Arc::clone(name), Arc::clone(value))).collect();
    let attributes = match text {
        Some(text) => attributes.with(COMMENT, text),
        None => attributes,
    };
    let text = node.text().map(Arc::clone);
    Ok(transaction.update(path, text, attributes)?)
}
