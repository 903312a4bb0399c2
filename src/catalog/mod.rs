//! Names to tables: a pond as a catalog, its directories as schemas, its files and views as tables.

mod as_of;
mod calls;
mod captures;
mod chosen;
mod derived;
mod directory_schema;
mod family;
mod findings;
mod fold;
mod frame;
mod from_first;
mod held;
mod listed;
mod lookup;
mod now;
mod open_pond;
mod own_name;
mod parameters;
mod plan_size;
mod pond_catalog;
mod scope;
mod statement;
mod together;
mod tree;
mod unplannable;
mod view;
mod view_cache;
mod view_definition;
mod weave;
mod writer;

pub use crate::provider::HostFiles;
pub use pond_catalog::PondCatalog;

pub(crate) use as_of::snapshot_as_of;
pub(crate) use calls::called_functions;
pub(crate) use derived::{DerivedPlanner, Keep};
pub(crate) use family::{Member, Template, is_family};
pub(crate) use findings::Findings;
pub(crate) use frame::{
    check_glob, family_frame, in_view_of, kept_call, known_input, note_finding, note_input, on_behalf,
};
pub(crate) use from_first::spell_out_from_first;
pub(crate) use held::held_capture;
pub(crate) use lookup::{
    PondName, entry_provider, external_provider, factory_context, file_provider, not_a_table, plan_derived,
};
pub(crate) use now::{DeepStack, deep_as, now};
pub(crate) use open_pond::{LazyPond, OpenPond};
pub(crate) use own_name::POND;
pub(crate) use parameters::parameter_of;
pub(crate) use plan_size::check_size;
pub(crate) use scope::Scope;
pub(crate) use statement::{Recording, Statement};
pub(crate) use together::{Members, Together, together, with_texts};
pub(crate) use tree::{Tree, check_family};
pub(crate) use unplannable::{broken_table, broken_view};
pub(crate) use view::{family_suppliers, plan_view, planned_for};
pub(crate) use view_definition::{COMMENT, ViewDefinition};
