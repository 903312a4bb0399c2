//! The name of a pond in the texts of its own views.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::catalog::{CatalogProvider, CatalogProviderList};
use datafusion::sql::sqlparser::ast::{ObjectName, ObjectNamePart, Statement, visit_relations};

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

/// Whether a function of this name is one of a pond that is called `catalog`, as far as the name tells.
fn is_function_of(catalog: &str, name: &str) -> bool {
    let name = name.to_lowercase();
    name.strip_prefix(&catalog.to_lowercase()).is_some_and(|suffix| suffix.is_empty() || suffix.starts_with('_'))
}

/// Whether a statement names something of [`POND`].
pub(crate) fn names_pond(statement: &Statement) -> bool {
    let of_pond = |name: &ObjectName| match name.0.as_slice() {
        [ObjectNamePart::Identifier(function)] => is_function_of(POND, &function.value),
        [ObjectNamePart::Identifier(catalog), _, _] => catalog.value.to_lowercase() == POND,
        _ => false,
    };
    let found =
        visit_relations(
            statement,
            |name| {
                if of_pond(name) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            },
        );
    found.is_break()
}
