//! The table half of a pond: what a structured file offers a query, and how rows become a version.
//!
//! A [`FileTable`] is what one file offers, known from attributes alone. A [`FileTableProvider`] is a table over the parts of one
//! file, a series or a glob; its scan is DataFusion's own. A [`PondObjectStore`] gives that scan the bytes. A [`PartSink`] turns the
//! rows of an `INSERT` into a part and hands it to a [`TableWriter`]. Host files and URLs are [`host_table`]s.
//!
//! Nothing here knows of catalogs, sessions or statements.

mod attribute_cache;
mod attributes;
mod derived;
mod describe;
mod encode;
mod external;
mod factory;
mod file_content;
mod file_table;
mod folder;
mod folder_reader;
mod footer;
mod format;
mod grouping;
mod held_store;
mod host;
mod host_delta;
mod host_listing;
mod inspect;
mod kept_fields;
mod listed_for;
mod merged_source;
mod object_path;
mod object_store;
mod order_on_demand;
mod parquet_depth;
mod parquet_gate;
mod parquet_pages;
mod parquet_source;
mod part_observer;
mod part_writer;
mod pruning;
mod read_only;
mod scan;
mod scan_part;
mod schema_merge;
mod schema_text;
mod sink;
mod spill;
mod staged_parts;
mod stats_text;
mod struct_fields;
mod table_provider;
#[cfg(test)]
mod tests;
mod unchanged_store;
mod virtual_columns;

pub use attribute_cache::AttributeCache;
pub use attributes::{PARQUET, PartAttributes, SortColumn, TableAttributes};
pub(crate) use derived::with_changes;
pub use derived::{Content, DerivedFile, DerivedFiles, Inputs, Sources, open_bytes};
pub use describe::describe_parquet;
pub use encode::{ByteStream, Encoding, FileEncoding, encode};
pub(crate) use encode::{check_json, conform, has_seconds, in_milliseconds, without_dictionaries};
pub use external::ExternalFile;
pub use factory::{
    DynamicEntry, Factories, FactoryChild, Progress, RunContext, RunOptions, StoreFiles, TableFactory, TableWrite,
    Written,
};
pub(crate) use factory::{Put, PutOptions};
pub use file_table::{FilePart, FileTable, FileVersion};
pub(crate) use folder_reader::FolderReader;
pub(crate) use format::{Wanted, compression_name, known_extensions, reader_options, without_extension};
pub use host::{HostFiles, HostRequest, host_table, is_host_name};
pub(crate) use host::{expand_home, is_folder_name, is_url};
pub(crate) use inspect::{Inspector, describe_as, describe_stored, failure_among};
pub use kept_fields::KeptFields;
pub(crate) use object_path::undo_escapes;
pub use object_store::{PartLease, PondObjectStore};
pub use order_on_demand::OrderOnDemand;
pub use parquet_gate::{PARQUET_TAIL, check_metadata, check_parquet, read_parquet_footer};
pub use part_writer::{WriteOptions, WrittenPart, write_part};
pub(crate) use schema_merge::{Origin, SchemaMerge};
pub(crate) use schema_text::check_storable;
pub use sink::{PartSink, TableWriter, physical_order};
pub use staged_parts::StagedParts;
pub use table_provider::{FileTableProvider, NotNull, TableScanSpec};
