//! `HYDROVU`: the readings of water instruments, from the HydroVu web service.

mod address;
mod device;
mod http;
mod merge;
mod model;
mod pond_store;
mod report;
mod retry;
mod run;
mod service;
mod settings;
mod skips;
mod store;
#[cfg(test)]
mod tests;
mod token;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::catalog::{Session, TableProvider};
use tinyfs::{Definition, DynamicFactory, FactoryContext, InvalidOption, LocationSpec, OptionSpec, OptionType, Shape};

use self::pond_store::PondStore;
use self::run::{Run, RunOptions};
use self::service::Service;
use self::settings::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{RunContext, TableFactory};

const CLIENT: &str = "client_id";
const SECRET: &str = "client_secret";
/// How often signing in is tried when an entry is made.
const PROBES: u32 = 2;

/// A directory of devices' readings. A run fetches what is new; all else looks at what is stored, and asks nobody.
#[derive(Debug, Default)]
pub(super) struct HydroVu {
    options: RunOptions,
}

#[async_trait]
impl DynamicFactory for HydroVu {
    fn name(&self) -> &'static str {
        "hydrovu"
    }

    fn meaning(&self) -> &'static str {
        "readings of water instruments, from the HydroVu web service"
    }

    fn shape(&self) -> Shape {
        Shape::StoredDirectory
    }

    fn location(&self) -> LocationSpec {
        LocationSpec::Required("the service's root, such as 'https://www.hydrovu.com'")
    }

    fn options(&self) -> &'static [OptionSpec] {
        const OPTIONS: &[OptionSpec] = &[
            OptionSpec::new(CLIENT, OptionType::Text, "the client's name").required(),
            OptionSpec::new(SECRET, OptionType::Secret, "the client's secret").required(),
            OptionSpec::new("devices", OptionType::Text, "ids with commas, or 'all', as where it is not given"),
            OptionSpec::new(
                "start",
                OptionType::Time,
                "the first time to fetch; 2000-01-01T00:00:00Z where it is not given",
            ),
            OptionSpec::new(
                "page_limit",
                OptionType::Whole,
                "how many pages of a device a run goes on; no limit where it is not given",
            ),
            OptionSpec::new(
                "allow_private",
                OptionType::Flag,
                "whether http and private addresses may be used; 'false' where it is not given",
            ),
        ];
        OPTIONS
    }

    fn validate(&self, definition: &Definition) -> Result<(), InvalidOption> {
        Settings::parse(definition).map(|_| ())
    }

    /// Signs in.
    async fn probe(&self, context: &FactoryContext) -> tinyfs::Result<()> {
        context.outside.check_host(context.location())?;
        let settings = settings(context)?;
        let mut options = self.options.http.clone();
        // Somebody waits for it: what cannot be reached is told soon.
        options.retry.attempts = options.retry.attempts.min(PROBES);
        let service = Service::try_new(&settings, options, &secret(context)?).map_err(lowered)?;
        service.sign_in().await.map_err(|error| match error.kind() {
            // The service is there, and does not know the client.
            ErrorKind::Usage => tinyfs::Error::new(tinyfs::ErrorKind::Unsupported, "cannot sign in")
                .with_source(InvalidOption::of(CLIENT, error.to_string())),
            _ => lowered(error),
        })
    }
}

#[async_trait]
impl TableFactory for HydroVu {
    async fn table(
        &self,
        _session: &dyn Session,
        context: &FactoryContext,
        _child: Option<&str>,
    ) -> Result<Arc<dyn TableProvider>> {
        let message = format!("'{}' is a directory of series, not a table", context.path);
        Err(Error::new(ErrorKind::WrongKind, message).with_path(&context.path))
    }

    async fn run(&self, context: &RunContext) -> Result<RecordBatch> {
        context.outside().check_host(context.entry().location())?;
        let settings = settings(context.entry())?;
        let run = Run::try_new(settings, self.options.clone(), &secret(context.entry())?)?;
        let results = run.run(&PondStore::new(context)).await?;
        report::report(&results, context.is_dry_run())
    }
}

fn settings(context: &FactoryContext) -> tinyfs::Result<Settings> {
    Settings::parse(&context.definition)
        .map_err(|error| tinyfs::Error::new(tinyfs::ErrorKind::Corrupt, error.to_string()).with_path(&context.path))
}

fn secret(context: &FactoryContext) -> tinyfs::Result<tinyfs::Secret> {
    let missing = || tinyfs::Error::new(tinyfs::ErrorKind::Corrupt, format!("the option '{SECRET}' is missing"));
    context.secret(SECRET)?.ok_or_else(missing)
}

/// An error for the layer below, which knows fewer kinds.
fn lowered(error: Error) -> tinyfs::Error {
    let kind = match error.kind() {
        ErrorKind::NotFound => tinyfs::ErrorKind::NotFound,
        ErrorKind::Usage | ErrorKind::Unsupported => tinyfs::ErrorKind::Unsupported,
        _ => tinyfs::ErrorKind::Io,
    };
    tinyfs::Error::new(kind, error.to_string()).with_source(error)
}
