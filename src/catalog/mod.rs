//! Names to tables: a pond as a catalog, its directories as schemas, its files and views as tables.

mod as_of;
mod directory_schema;
mod from_first;
mod lookup;
mod now;
mod pond_catalog;
mod scope;
mod statement;
mod view;
mod writer;

pub use pond_catalog::PondCatalog;
pub use scope::HostFiles;

pub(crate) use as_of::snapshot_as_of;
pub(crate) use from_first::spell_out_from_first;
pub(crate) use lookup::{PondName, entry_provider, external_provider, file_provider, not_a_table};
pub(crate) use now::{DeepStack, now};
pub(crate) use scope::Scope;
pub(crate) use statement::{Recording, Statement};
pub(crate) use view::{ViewDefinition, plan_view};
