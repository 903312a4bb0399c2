//! `pond_factories()`: what can stand in `STORED AS` beside formats, and with which options.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanBuilder, RecordBatch, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::DataFusionError;
use futures::stream::{self, StreamExt};
use tinyfs::{DynamicFactory, LocationSpec};

use crate::error::Result;
use crate::udtf::SystemTable;
use crate::udtf::system_table::{Batches, GlobArgument, Rows, Source, Subject};

pub(super) const TABLE: SystemTable =
    SystemTable { glob: GlobArgument::None, subject: Subject::Contents, schema, rows: Rows::Whole(rows) };

/// What stands for the location among the options.
const LOCATION: &str = "LOCATION";

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("name", DataType::Utf8, false),
        Field::new("option", DataType::Utf8, true),
        Field::new("type", DataType::Utf8, true),
        Field::new("required", DataType::Boolean, true),
        Field::new("meaning", DataType::Utf8, false),
    ]))
}

fn rows(source: Source) -> Batches {
    stream::once(async move { list(&source) }).boxed()
}

/// One row says what a factory is for, and one each what its location, options, and the arguments of its runs mean.
fn list(source: &Source) -> Result<RecordBatch> {
    let (mut name, mut option, mut kind) = (StringBuilder::new(), StringBuilder::new(), StringBuilder::new());
    let (mut required, mut meaning) = (BooleanBuilder::new(), StringBuilder::new());
    for factory in source.scope.factories().iter() {
        let factory: &dyn DynamicFactory = factory.as_ref();
        let mut row = |what: Option<String>, of_type: Option<&str>, is_required: Option<bool>, means: &str| {
            name.append_value(factory.name());
            option.append_option(what);
            kind.append_option(of_type);
            required.append_option(is_required);
            meaning.append_value(means);
        };
        row(None, None, None, factory.meaning());
        if let LocationSpec::Required(means) = factory.location() {
            row(Some(LOCATION.to_owned()), Some("text"), Some(true), means);
        }
        for spec in factory.options() {
            row(Some(spec.name.to_owned()), Some(spec.option_type.as_str()), Some(spec.required), spec.meaning);
        }
        for spec in factory.arguments() {
            let called = format!("pond_run: {}", spec.name);
            row(Some(called), Some(spec.option_type.as_str()), Some(spec.required), spec.meaning);
        }
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(name.finish()),
        Arc::new(option.finish()),
        Arc::new(kind.finish()),
        Arc::new(required.finish()),
        Arc::new(meaning.finish()),
    ];
    Ok(RecordBatch::try_new(schema(), columns).map_err(DataFusionError::from)?)
}
