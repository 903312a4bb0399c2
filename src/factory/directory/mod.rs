//! `DIRECTORY`: a folder of the host, or of an object store, as a directory of tables.

mod copy;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::catalog::{Session, TableProvider};
use tinyfs::{
    Bytestream, Child, Definition, DynamicFactory, FactoryContext, Glob, InvalidOption, LocationSpec, OptionSpec,
    OptionType, PondPath, Shape,
};

use crate::error::{Error, ErrorKind, Result};
use crate::provider::{FolderReader, RunContext, TableFactory};

const PATTERN: &str = "pattern";
const FORMAT: &str = "format";
const INTO: &str = "into";

/// Shows each file of a folder as a table, as it is now; a run copies what is new into the pond.
#[derive(Debug)]
pub(super) struct Directory;

#[async_trait]
impl DynamicFactory for Directory {
    fn name(&self) -> &'static str {
        "directory"
    }

    fn meaning(&self) -> &'static str {
        "a folder whose files are tables"
    }

    fn shape(&self) -> Shape {
        Shape::ListedDirectory
    }

    fn location(&self) -> LocationSpec {
        LocationSpec::Required("the folder, as './data', '~/data', or a URL")
    }

    fn options(&self) -> &'static [OptionSpec] {
        const OPTIONS: &[OptionSpec] = &[
            OptionSpec::new(
                PATTERN,
                OptionType::Text,
                "a glob that names of files match, such as '*.csv'; '**/*' for all depths; '*' where it is not given",
            ),
            OptionSpec::new(INTO, OptionType::Path, "the directory that a run copies new files to"),
            OptionSpec::new(
                FORMAT,
                OptionType::Text,
                "the format of all files, where it is not told by content and name",
            ),
            OptionSpec::new("delimiter", OptionType::Text, "of CSV: what is between fields"),
            OptionSpec::new("header", OptionType::Flag, "of CSV: whether the first line has names"),
            OptionSpec::new("quote", OptionType::Text, "of CSV: what is around fields"),
            OptionSpec::new("escape", OptionType::Text, "of CSV: what is before a quote in a field"),
            OptionSpec::new("comment", OptionType::Text, "of CSV: what a line begins with that is none"),
            OptionSpec::new("terminator", OptionType::Text, "of CSV: what is between records"),
            OptionSpec::new("null_regex", OptionType::Text, "of CSV: what a field matches that is NULL"),
            OptionSpec::new("truncated_rows", OptionType::Flag, "of CSV: whether records may lack fields at their end"),
            OptionSpec::new("newlines_in_values", OptionType::Flag, "of CSV: whether fields in quotes hold line feeds"),
            OptionSpec::new("newline_delimited", OptionType::Flag, "of JSON: whether each line is a record"),
            OptionSpec::new(
                "ignore_unknown_keys",
                OptionType::Flag,
                "of JSON: whether keys are left out that come behind the records that tell the columns",
            ),
            OptionSpec::new("compression", OptionType::Text, "of text: gzip, bzip2, xz, zstd or uncompressed"),
            OptionSpec::new(
                "schema_infer_max_rec",
                OptionType::Whole,
                "of text: how many records tell the types of columns",
            ),
        ];
        OPTIONS
    }

    fn validate(&self, definition: &Definition) -> Result<(), InvalidOption> {
        if let Some(pattern) = definition.options.get(PATTERN) {
            let why = match Glob::parse_relative(&PondPath::root(), pattern) {
                _ if pattern.starts_with('/') => Some("it is below the folder".to_owned()),
                Ok(_) => None,
                Err(error) => Some(error.to_string()),
            };
            if let Some(why) = why {
                let message =
                    format!("the option '{PATTERN}' is a glob of names below the folder, not '{pattern}': {why}");
                return Err(InvalidOption::of(PATTERN, message));
            }
        }
        reader(definition).check().map_err(|(option, error)| InvalidOption::of(&option, error.to_string()))
    }

    async fn probe(&self, context: &FactoryContext) -> tinyfs::Result<()> {
        self.list(context).await.map(|_| ())
    }

    async fn list(&self, context: &FactoryContext) -> tinyfs::Result<Vec<Child>> {
        context.outside.list(context.location(), context.option(PATTERN).unwrap_or("*")).await
    }

    async fn open(&self, context: &FactoryContext, child: &str) -> tinyfs::Result<Option<Bytestream>> {
        context.outside.open(context.location(), child).await.map(Some)
    }
}

#[async_trait]
impl TableFactory for Directory {
    async fn table(
        &self,
        session: &dyn Session,
        context: &FactoryContext,
        child: Option<&str>,
    ) -> Result<Arc<dyn TableProvider>> {
        let Some(name) = child else {
            let message = format!("'{}' is a folder, not a table", context.path);
            return Err(Error::new(ErrorKind::WrongKind, message).with_path(&context.path));
        };
        reader(&context.definition).table(session, context.location(), name).await
    }

    async fn run(&self, context: &RunContext) -> Result<RecordBatch> {
        copy::new_files(self, context).await
    }
}

/// How the files are read: by the options that are no other's.
fn reader(definition: &Definition) -> FolderReader {
    let is_reader = |name: &str| !matches!(name, PATTERN | INTO | FORMAT);
    let options = definition.options.iter().filter(|(name, _)| is_reader(name));
    FolderReader {
        format: definition.options.get(FORMAT).cloned(),
        options: options.map(|(name, value)| (name.clone(), value.clone())).collect(),
    }
}
