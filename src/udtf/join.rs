//! `pond_join(glob, column)`: files side by side, one row for each value of a column that any of them has.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::{Column, ScalarValue, TableReference};
use datafusion::functions_aggregate::first_last::last_value;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, lit};
use tinyfs::{EntryKind, Glob, GlobMatch, PondPath};

use crate::catalog::{Scope, entry_provider, family_frame, now, on_behalf};
use crate::error::Result;
use crate::udtf::arguments::Arguments;
use crate::udtf::data;
use crate::udtf::matches::{matches, no_match};

/// The columns of the files that one text of the glob's unnamed wildcards matches.
#[derive(Debug, Default)]
struct JoinScope {
    texts: Vec<Option<Arc<str>>>,
    columns: Vec<String>,
}

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
    let failed = |message: String| arguments.error(message);
    let scopes = scopes(scope, &glob)?;
    if let Some((label, _)) = scopes.iter().find(|(_, found)| !found.columns.contains(&key)) {
        return Err(failed(format!("the files '{label}' of '{glob}' have no column '{key}'")));
    }
    let mut call = Arguments::new(&scope.name);
    call.push(None, lit(glob.to_string()))?;
    call.push(Some("meta".to_owned()), lit(true))?;
    let rows = data::plan(scope, directory, call)?;
    let column = |name: &str| -> Result<Expr> {
        let (qualifier, field) = rows.schema().qualified_field_with_unqualified_name(name)?;
        Ok(Expr::Column(Column::new(qualifier.cloned(), field.name().clone())))
    };
    // Of a value that a file has twice, the newer version counts. Views have no versions.
    let newest = column("_version").ok().map(|version| version.sort(true, true));
    let mut groups = vec![column(&key)?];
    for capture in glob.capture_names() {
        groups.push(column(capture)?);
    }
    let mut values = Vec::new();
    for (label, found) in &scopes {
        let mut conditions = Vec::new();
        for (number, text) in (1..).zip(&found.texts) {
            let text = lit(ScalarValue::Utf8View(text.as_ref().map(ToString::to_string)));
            conditions.push(column(&format!("_{number}"))?.eq(text));
        }
        for name in found.columns.iter().filter(|name| **name != key) {
            // `build` sets all of a call's parts anew: an order given to `last_value` itself would be gone.
            let mut value = last_value(column(name)?, Vec::new()).order_by(newest.iter().cloned().collect());
            if let Some(condition) = conjunction(conditions.clone()) {
                value = value.filter(condition);
            }
            values.push(value.build()?.alias(format!("{label}.{name}")));
        }
    }
    arguments.finish()?;
    let joined = LogicalPlanBuilder::from(rows.clone()).filter(column(&key)?.is_not_null())?;
    Ok(joined.aggregate(groups, values)?.alias(TableReference::bare(name))?.build()?)
}

/// What is joined, by the text of the unnamed wildcards.
fn scopes(scope: &Arc<Scope>, glob: &Glob) -> Result<BTreeMap<String, JoinScope>> {
    let tree = scope.tree_now()?;
    let mut scopes: BTreeMap<String, JoinScope> = BTreeMap::new();
    let family = family_frame();
    for GlobMatch { path, node, captures } in matches(scope, &tree, glob)?.iter().cloned() {
        if !matches!(node.kind(), EntryKind::File | EntryKind::View | EntryKind::Dynamic) {
            continue;
        }
        // Of a family some of whose members are planned, their files.
        if family.as_ref().is_some_and(|family| !family.reads(glob, &captures.named)) {
            continue;
        }
        let schema = now(|| on_behalf(entry_provider(scope, tree.stored(), &path, &node)))?.schema();
        let texts: Vec<&str> = captures.positional.iter().flatten().map(|text| &**text).collect();
        let found = scopes.entry(texts.join(".")).or_default();
        for field in schema.fields() {
            if !found.columns.contains(field.name()) {
                found.columns.push(field.name().clone());
            }
        }
        found.texts = captures.positional;
    }
    if scopes.is_empty() { Err(no_match(&tree, glob)) } else { Ok(scopes) }
}
