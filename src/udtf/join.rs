//! `pond_join(glob, column)`: files side by side, one row for each value of a column that any of them has.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::{Column, ScalarValue, TableReference};
use datafusion::functions_aggregate::first_last::last_value;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, lit};
use tinyfs::{EntryKind, Glob, GlobMatch, PondPath};

use crate::catalog::{Scope, broken_table, entry_provider, family_frame, now, on_behalf};
use crate::error::{Error, ErrorKind, Result};
use crate::udtf::arguments::Arguments;
use crate::udtf::data;
use crate::udtf::matches::{matches, no_match};

/// What the unnamed wildcards of a glob match in the path of a file; `None` inside an alternative that was not taken.
type Texts = Vec<Option<Arc<str>>>;

/// The columns of the files that the unnamed wildcards match with the same texts, each with the first file that has it.
type JoinScope = Vec<(String, PondPath)>;

/// The plan of a call: one scan of all files, grouped by the column and the captures. A FULL JOIN of each file with the
/// next would do the same, but read them one by one, and repeat a row for each time that a file has a value twice.
pub(super) fn plan(scope: &Arc<Scope>, directory: &PondPath, mut arguments: Arguments) -> Result<LogicalPlan> {
    let text = arguments.text()?.ok_or_else(|| arguments.error("a glob in quotes is missing"))?;
    let key = arguments.text()?.ok_or_else(|| arguments.error("the name of the column to join by is missing"))?;
    let glob = Glob::parse_relative(directory, &text)?;
    if glob.positional_count() == 0 {
        let message = format!(
            "'{glob}' needs a '*': what it matches tells apart what is joined, and is part of the columns' names"
        );
        return Err(arguments.error(message));
    }
    let name = format!("{}('{glob}', '{key}')", arguments.function());
    let mut call = Arguments::new(&scope.name);
    call.push(None, lit(glob.to_string()))?;
    call.push(Some("meta".to_owned()), lit(true))?;
    // First: it refuses a glob that matches the view that is being planned.
    let rows = data::plan(scope, directory, call)?;
    let scopes = scopes(scope, &glob, &key)?;
    let column = |name: &str| -> Result<Expr> {
        let (qualifier, field) = rows.schema().qualified_field_with_unqualified_name(name)?;
        Ok(Expr::Column(Column::new(qualifier.cloned(), field.name().clone())))
    };
    // Of a value that a file has twice, the newer version counts. Views have no versions.
    let has_versions = rows.schema().has_column_with_unqualified_name("_version");
    let newest = if has_versions { vec![column("_version")?.sort(true, true)] } else { Vec::new() };
    let mut groups = vec![column(&key)?];
    for capture in glob.capture_names() {
        groups.push(column(capture)?);
    }
    let mut values = Vec::new();
    let mut givers: BTreeMap<String, &PondPath> = BTreeMap::new();
    for (texts, columns) in &scopes {
        let mut conditions = Vec::new();
        for (number, text) in (1..).zip(texts) {
            let matched = column(&format!("_{number}"))?;
            conditions.push(match text {
                Some(text) => matched.eq(lit(ScalarValue::Utf8View(Some(text.to_string())))),
                None => matched.is_null(),
            });
        }
        let label = texts.iter().flatten().map(|text| &**text).collect::<Vec<_>>().join(".");
        for (name, path) in columns.iter().filter(|(name, _)| *name != key) {
            let joined = format!("{label}.{name}");
            // Texts and names may have dots in them.
            if let Some(other) = givers.insert(joined.clone(), path) {
                let message = format!(
                    "'{other}' and '{path}' both give a column '{joined}'; rename one of them, or give a '*' a name, such as {{place}}, which makes a column of what it matches"
                );
                return Err(arguments.error(message));
            }
            // `build` sets all of a call's parts anew: an order given to `last_value` itself would be gone.
            let mut value = last_value(column(name)?, Vec::new()).order_by(newest.clone());
            if let Some(condition) = conjunction(conditions.clone()) {
                value = value.filter(condition);
            }
            values.push(value.build()?.alias(joined));
        }
    }
    arguments.finish()?;
    let joined = LogicalPlanBuilder::from(rows.clone()).filter(column(&key)?.is_not_null())?;
    Ok(joined.aggregate(groups, values)?.alias(TableReference::bare(name))?.build()?)
}

/// What is joined by the column `key`.
///
/// # Errors
/// [`ErrorKind::Plan`] for a file without that column, whose rows would be nowhere.
fn scopes(scope: &Arc<Scope>, glob: &Glob, key: &str) -> Result<BTreeMap<Texts, JoinScope>> {
    let tree = scope.tree_now()?;
    let mut scopes: BTreeMap<Texts, JoinScope> = BTreeMap::new();
    let family = family_frame();
    for GlobMatch { path, node, captures } in matches(scope, &tree, glob)?.iter().cloned() {
        if !matches!(node.kind(), EntryKind::File | EntryKind::View | EntryKind::Dynamic) {
            continue;
        }
        // Of a family some of whose members are planned, their files.
        if family.as_ref().is_some_and(|family| !family.reads(glob, &captures.named)) {
            continue;
        }
        let table = now(|| on_behalf(entry_provider(scope, tree.stored(), &path, &node)))?;
        if let Some(reason) = broken_table(&table) {
            return Err(Error::shared(reason));
        }
        let schema = table.schema();
        if schema.column_with_name(key).is_none() {
            let message = format!("'{path}' has no column '{key}' to join '{glob}' by");
            return Err(Error::new(ErrorKind::Plan, message).with_path(&path));
        }
        let columns = scopes.entry(captures.positional).or_default();
        for field in schema.fields() {
            if !columns.iter().any(|(name, _)| name == field.name()) {
                columns.push((field.name().clone(), path.clone()));
            }
        }
    }
    if scopes.is_empty() { Err(no_match(&tree, glob)) } else { Ok(scopes) }
}
