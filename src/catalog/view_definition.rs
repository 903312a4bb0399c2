//! [`ViewDefinition`]: what a pond keeps of a view beside its text.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
use tinyfs::{Attributes, PondPath};

use crate::catalog::family::Supplier;
use crate::catalog::own_name::POND;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::TableAttributes;

const DIRECTORY: &str = "directory";
const COLUMNS: &str = "columns";
/// What `COMMENT` said of an entry; files have it too.
pub(crate) const COMMENT: &str = "comment";
const INPUTS: &str = "inputs";
/// How many columns of an input a message names.
const MAX_NAMED_COLUMNS: usize = 8;

/// What a view reads: a table, or a call of `pond()`, with its columns. Tables of other ponds have the name of that in theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ViewInput {
    pub(crate) name: String,
    pub(crate) schema: SchemaRef,
}

impl ViewInput {
    /// As messages name it.
    fn quoted(&self) -> String {
        // A call of `pond()`, and a table of another pond, have quotes already.
        if self.name.starts_with('/') { format!("'{}'", self.name) } else { self.name.clone() }
    }

    /// Whether it is the `directory` of the view's own pond, or below it, as far as its name tells.
    pub(crate) fn is_below(&self, directory: &PondPath) -> bool {
        let called = self.name.strip_prefix(POND).and_then(|call| call.strip_prefix("('"));
        let rest = called.unwrap_or(&self.name).strip_prefix(directory.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '\'']))
    }
}

/// What a pond keeps of a view beside its text.
#[derive(Debug, Clone)]
pub(crate) struct ViewDefinition {
    /// The directory that was current when it was made; its text's relative names start there.
    pub(crate) directory: PondPath,
    /// New names of its columns, where `CREATE VIEW v (a, b)` gave some; else none.
    pub(crate) columns: Vec<String>,
    /// The schema it had when it was made; no columns, where its inputs did not exist yet. What it has now is found by
    /// planning.
    pub(crate) schema: SchemaRef,
    /// What `COMMENT` said of it.
    pub(crate) comment: Option<String>,
    /// What it read when it was made, to tell what has changed since.
    pub(crate) inputs: Vec<ViewInput>,
    /// For a family of views, where the texts of its captures come from.
    pub(crate) suppliers: Option<Vec<Supplier>>,
}

impl ViewDefinition {
    /// A view of which nothing is known but its text.
    pub(crate) fn new(directory: &PondPath) -> Self {
        Self {
            directory: directory.clone(),
            columns: Vec::new(),
            schema: Arc::new(Schema::empty()),
            comment: None,
            inputs: Vec::new(),
            suppliers: None,
        }
    }

    /// Whether its inputs did not exist when it was made, so that nothing is known of how they were.
    pub(crate) fn is_early(&self) -> bool {
        self.inputs.is_empty() && self.schema.fields().is_empty()
    }

    /// As a node keeps it.
    pub(crate) fn to_attributes(&self) -> Result<Attributes> {
        let unwritten =
            |error| Error::new(ErrorKind::Execution, "the view's definition cannot be written down").with_source(error);
        let mut attributes = TableAttributes { schema: Arc::clone(&self.schema), order: Vec::new() }
            .to_attributes()?
            .with(DIRECTORY, self.directory.as_str());
        if !self.columns.is_empty() {
            attributes = attributes.with(COLUMNS, serde_json::to_string(&self.columns).map_err(unwritten)?);
        }
        if let Some(comment) = &self.comment {
            attributes = attributes.with(COMMENT, comment.as_str());
        }
        if !self.inputs.is_empty() {
            let mut inputs = Vec::new();
            for input in &self.inputs {
                let columns =
                    TableAttributes { schema: Arc::clone(&input.schema), order: Vec::new() }.to_attributes()?;
                let columns: BTreeMap<&str, &str> = columns.iter().map(|(name, text)| (&**name, &**text)).collect();
                inputs.push(serde_json::json!({ "name": input.name, "columns": columns }));
            }
            attributes = attributes.with(INPUTS, serde_json::to_string(&inputs).map_err(unwritten)?);
        }
        if let Some(suppliers) = &self.suppliers {
            attributes = Supplier::keep(suppliers, &attributes)?;
        }
        Ok(attributes)
    }

    /// Reads what a node keeps.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] for attributes that [`to_attributes`](Self::to_attributes) never made.
    pub(crate) fn from_attributes(attributes: &Attributes, path: &PondPath) -> Result<Self> {
        let corrupt = |what: &str| {
            Error::new(ErrorKind::Corrupt, format!("the view '{path}' is damaged: {what}")).with_path(path)
        };
        let directory = attributes.get(DIRECTORY).ok_or_else(|| corrupt("its directory is missing"))?;
        let columns = match attributes.get(COLUMNS) {
            Some(text) => serde_json::from_str(text).map_err(|error| corrupt("its column names").with_source(error))?,
            None => Vec::new(),
        };
        let inputs = match attributes.get(INPUTS) {
            Some(text) => read_inputs(text).map_err(|error| corrupt("its inputs").with_source(error))?,
            None => Vec::new(),
        };
        let table = TableAttributes::parse(attributes)?.ok_or_else(|| corrupt("its schema is missing"))?;
        Ok(Self {
            directory: PondPath::parse(directory)?,
            columns,
            schema: table.schema,
            comment: attributes.get(COMMENT).map(ToString::to_string),
            inputs,
            suppliers: Supplier::read(attributes, path)?,
        })
    }
}

fn read_inputs(text: &str) -> Result<Vec<ViewInput>> {
    #[derive(serde::Deserialize)]
    struct InputText {
        name: String,
        columns: BTreeMap<String, String>,
    }
    let corrupt = |what: &str| Error::new(ErrorKind::Corrupt, what);
    let inputs: Vec<InputText> =
        serde_json::from_str(text).map_err(|error| corrupt("they are not written as inputs are").with_source(error))?;
    let read = |input: InputText| -> Result<ViewInput> {
        let attributes: Attributes = input.columns.into_iter().collect();
        let table = TableAttributes::parse(&attributes)?.ok_or_else(|| corrupt("one has no schema"))?;
        Ok(ViewInput { name: input.name, schema: table.schema })
    };
    inputs.into_iter().map(read).collect()
}

/// One change of a view's inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// In words.
    pub(crate) text: String,
    /// Whether a column has another type; else it is gone.
    pub(crate) is_of_type: bool,
}

/// What has changed of a view's inputs.
pub(crate) fn changes(known: &[ViewInput], found: &[ViewInput]) -> Vec<Change> {
    let mut changes = Vec::new();
    for input in found {
        let Some(before) = known.iter().find(|known| known.name == input.name) else { continue };
        let name = input.quoted();
        for field in before.schema.fields() {
            let was = field.data_type();
            let column = field.name();
            let (text, is_of_type) = match input.schema.field_with_name(column) {
                Ok(now) if is_same(now.data_type(), was) => continue,
                Ok(now) => {
                    let now = now.data_type();
                    let text =
                        format!("the column '{column}' of {name} was {was} when the view was made, and is {now} now");
                    (text, true)
                }
                Err(_) => (format!("the column '{column}' of {name} is gone since the view was made"), false),
            };
            changes.push(Change { text, is_of_type });
        }
    }
    changes
}

/// What an [early](ViewDefinition::is_early) view reads now, in words.
pub(crate) fn present(found: &[ViewInput]) -> Option<String> {
    let inputs: Vec<String> = found
        .iter()
        .filter(|input| !input.schema.fields().is_empty())
        .map(|input| {
            let fields = input.schema.fields();
            let named = fields.iter().take(MAX_NAMED_COLUMNS);
            let mut columns: Vec<String> =
                named.map(|field| format!("'{}' {}", field.name(), field.data_type())).collect();
            if fields.len() > MAX_NAMED_COLUMNS {
                columns.push(format!("{} more", fields.len() - MAX_NAMED_COLUMNS));
            }
            format!("{} has {}", input.quoted(), columns.join(", "))
        })
        .collect();
    if inputs.is_empty() {
        return None;
    }
    Some(format!("it was made before its inputs were there, and now {}", inputs.join("; ")))
}

/// Whether two types are one to a user: there are several ways to hold text.
fn is_same(one: &DataType, other: &DataType) -> bool {
    let is_text = |data_type: &DataType| matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let is_bytes =
        |data_type: &DataType| matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView);
    one == other || (is_text(one) && is_text(other)) || (is_bytes(one) && is_bytes(other))
}
