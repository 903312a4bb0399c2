//! What makes dynamic entries: the factories that are built in, and what an application needs for one of its own.
//!
//! A factory has two halves, [`DynamicFactory`] for names, bytes and configuration, and [`TableFactory`] for tables and runs.
//! `examples/factory.rs` in the repository is a whole one. [`Pond::builder`](crate::Pond::builder) takes it.

mod directory;
#[cfg(feature = "hydrovu")]
mod hydrovu;
mod synthetic;

use std::sync::Arc;

use crate::provider::Factories;

pub use crate::provider::{
    Factories as FactorySet, Progress, RunContext, RunOptions, TableFactory, TableWrite, Written,
};
pub use tinyfs::{
    Bytestream, Child, Definition, DynamicFactory, FactoryContext, Field, InvalidOption, LocationSpec, OptionSpec,
    OptionType, Outside, PondPath, Result as FsResult, Secret, SecretSource, Shape, WriteMode, parse_duration,
    parse_time,
};

/// Every factory that is built in, each in a folder of its own here.
///
/// To add one: write a [`TableFactory`], and a line for it here.
fn all() -> Vec<Arc<dyn TableFactory>> {
    vec![
        Arc::new(directory::Directory),
        #[cfg(feature = "hydrovu")]
        Arc::new(hydrovu::HydroVu::default()),
        Arc::new(synthetic::Synthetic),
    ]
}

/// The factories that are built in.
pub(crate) fn built_in() -> Arc<Factories> {
    Arc::new(Factories::trusted(all()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names_and_each_comes_once() {
        let all = all().into_iter().try_fold(Factories::new(), Factories::with).unwrap();
        assert_eq!(all.names(), built_in().names());
    }
}
