//! The name of a pond in the texts of its own views.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::catalog::{CatalogProvider, CatalogProviderList};
use datafusion::sql::parser::Statement as SqlStatement;
use datafusion::sql::sqlparser::ast::{ObjectNamePart, visit_relations};

use crate::catalog::calls::called_functions;

/// What a view calls the pond that it is in, whatever that is registered as: `pond."/a"."t"`, `pond('/a/*')`, `pond_ls()`.
///
/// A pond does not know under which names it will be registered, and its views must be read under all of them.
pub(crate) const POND: &str = "pond";

/// The catalogs of a session for the text of a view, in which [`POND`] is the view's own.
#[derive(Debug)]
pub(crate) struct CatalogsInView {
    /// The name under which the pond of the view is registered.
    pub(crate) own: String,
    pub(crate) all: Arc<dyn CatalogProviderList>,
}

impl CatalogProviderList for CatalogsInView {
    fn register_catalog(&self, name: String, catalog: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        self.all.register_catalog(name, catalog)
    }

    fn catalog_names(&self) -> Vec<String> {
        self.all.catalog_names()
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        self.all.catalog(if name == POND { &self.own } else { name })
    }
}

/// Whether a statement names something of [`POND`]: a table in that catalog, or what may be one of its functions, as far as the name tells.
pub(crate) fn names_pond(statement: &SqlStatement) -> bool {
    let is_function =
        |name: &String| name.strip_prefix(POND).is_some_and(|suffix| suffix.is_empty() || suffix.starts_with('_'));
    if called_functions(statement).iter().any(is_function) {
        return true;
    }
    let SqlStatement::Statement(statement) = statement else { return false };
    let found = visit_relations(&**statement, |name| match name.0.as_slice() {
        [ObjectNamePart::Identifier(catalog), _, _] if catalog.value.to_lowercase() == POND => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}
