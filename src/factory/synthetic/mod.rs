//! `SYNTHETIC`: series that are computed, for demonstrations and tests.

mod series;
mod table;
mod wave;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use tinyfs::{Definition, DynamicFactory, FactoryContext, InvalidOption, LocationSpec, OptionSpec, OptionType, Shape};

use self::series::Series;
use self::table::SyntheticTable;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::TableFactory;

/// Makes a table of waves and noise over time: the same rows each time, however it is read.
#[derive(Debug)]
pub(super) struct Synthetic;

#[async_trait]
impl DynamicFactory for Synthetic {
    fn name(&self) -> &'static str {
        "synthetic"
    }

    fn meaning(&self) -> &'static str {
        "a series that is computed"
    }

    fn shape(&self) -> Shape {
        Shape::Table
    }

    fn location(&self) -> LocationSpec {
        LocationSpec::None
    }

    fn options(&self) -> &'static [OptionSpec] {
        const OPTIONS: &[OptionSpec] = &[
            OptionSpec::new("start", OptionType::Time, "the time of the first row").required(),
            OptionSpec::new("end", OptionType::Time, "the time that no row is after; one may be at it").required(),
            OptionSpec::new("interval", OptionType::Duration, "the time from row to row, above 0").required(),
            OptionSpec::new("columns", OptionType::Json, "names and components; see docs/synthetic.md").required(),
            OptionSpec::new("seed", OptionType::Whole, "what noise is made from; 0 where it is not given"),
        ];
        OPTIONS
    }

    fn validate(&self, definition: &Definition) -> Result<(), InvalidOption> {
        Series::try_new(definition).map(|_| ())
    }
}

#[async_trait]
impl TableFactory for Synthetic {
    async fn table(
        &self,
        _session: &dyn Session,
        context: &FactoryContext,
        _child: Option<&str>,
    ) -> Result<Arc<dyn TableProvider>> {
        let series = Series::try_new(&context.definition)
            .map_err(|error| Error::new(ErrorKind::Corrupt, error.to_string()).with_path(&context.path))?;
        Ok(Arc::new(SyntheticTable::new(series)))
    }
}
