//! `SHOW CREATE TABLE`.

use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, Fields, Schema, TimeUnit};
use datafusion::common::DataFusionError;
use datafusion::physical_plan::memory::MemoryStream;
use tinyfs::{EntryKind, PondPath};

use crate::catalog::{COMMENT, Member, Tree, ViewDefinition, not_a_table};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{AttributeCache, DynamicEntry, FactoryChild, FileTable, FileVersion};
use crate::session::StatementResult;

/// One row: the path, and a statement that would make what is there.
pub(super) fn create_statement(tree: &Tree, path: &PondPath) -> Result<StatementResult> {
    let node = tree.lookup(path)?.node;
    // Of a member of a family, the family.
    let made = Member::of(&node)?.map_or_else(|| path.clone(), |member| member.path);
    // Of what a factory shows, the directory.
    let made = FactoryChild::of(&node)?.map_or_else(|| Ok(made), |child| PondPath::parse(&child.entry))?;
    let quoted = literal(made.as_str());
    let comment = node.attributes.get(COMMENT).map(|text| literal(text));
    let comment_on_table = |comment: Option<String>| {
        comment.map(|text| format!("; COMMENT ON TABLE {quoted} IS {text}")).unwrap_or_default()
    };
    let statement = match node.kind() {
        EntryKind::View => {
            let definition = ViewDefinition::from_attributes(&node.attributes, path)?;
            let columns = match definition.columns.as_slice() {
                [] => String::new(),
                names => format!(" ({})", names.iter().map(|name| quote(name)).collect::<Vec<_>>().join(", ")),
            };
            let text =
                node.text().ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("the view '{path}' has no text")))?;
            let comment = comment.map(|text| format!(" COMMENT = {text}")).unwrap_or_default();
            // Where the text's relative names start.
            let begin = match definition.directory.is_root() {
                true => String::new(),
                false => format!("USE {}; ", literal(definition.directory.as_str())),
            };
            format!("{begin}CREATE VIEW {quoted}{columns}{comment} AS {text}")
        }
        EntryKind::File => {
            let table = FileTable::try_new(path.clone(), &node, FileVersion::Latest, &AttributeCache::default())?;
            let order = match table.declared().map(|declared| declared.order.as_slice()) {
                None | Some([]) => String::new(),
                Some(order) => {
                    format!(" ORDER BY ({})", order.iter().map(|by| quote(&by.column)).collect::<Vec<_>>().join(", "))
                }
            };
            format!("{}{}", create_table(&quoted, table.schema().fields(), &order), comment_on_table(comment))
        }
        EntryKind::Dynamic | EntryKind::DynamicDirectory => {
            let entry = DynamicEntry::of(&node, path)?.ok_or_else(|| not_a_table(path, &node))?;
            format!("{}{}", entry.statement(made.as_str()), comment_on_table(comment))
        }
        _ => return Err(not_a_table(path, &node)),
    };
    let schema = Arc::new(Schema::new(vec![
        Field::new("path", DataType::Utf8, false),
        Field::new("create_statement", DataType::Utf8, false),
    ]));
    let columns =
        vec![Arc::new(StringArray::from(vec![path.as_str()])) as _, Arc::new(StringArray::from(vec![statement])) as _];
    let batch =
        RecordBatch::try_new(Arc::clone(&schema), columns).map_err(DataFusionError::from).map_err(Error::from)?;
    Ok(StatementResult::Rows(Box::pin(MemoryStream::try_new(vec![batch], schema, None)?)))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The statement that makes a file of these columns: as a list of them, or where SQL has no name for a type as the columns of a query.
fn create_table(quoted: &str, fields: &Fields, order: &str) -> String {
    let types: Vec<_> = fields.iter().map(|field| sql_type(field.data_type())).collect();
    if types.iter().all(Option::is_some) {
        let columns = fields.iter().zip(types.iter().flatten()).map(|(field, name)| {
            let not_null = if field.is_nullable() { "" } else { " NOT NULL" };
            format!("{} {name}{not_null}", quote(field.name()))
        });
        return format!("CREATE TABLE {quoted} ({}){order}", columns.collect::<Vec<_>>().join(", "));
    }
    let columns = fields.iter().zip(types).map(|(field, name)| {
        let value = name.map_or_else(
            || format!("arrow_cast(NULL, {})", literal(&field.data_type().to_string())),
            |name| format!("CAST(NULL AS {name})"),
        );
        format!("{value} AS {}", quote(field.name()))
    });
    let columns = columns.collect::<Vec<_>>().join(", ");
    // The columns of a query take NULL, and nothing in the statement can say otherwise.
    let refuse: Vec<_> = fields.iter().filter(|field| !field.is_nullable()).map(|field| quote(field.name())).collect();
    let lost = match refuse.as_slice() {
        [] => String::new(),
        names => format!(
            " /* NOT NULL, which this cannot say: {} */",
            names.join(", ").replace("*/", "* /").replace("/*", "/ *")
        ),
    };
    format!("CREATE TABLE {quoted}{order} AS SELECT {columns} WHERE false{lost}")
}

/// The SQL name of a column's type, where there is one that makes just this type. Strings and bytes are stored as views, whatever they were.
fn sql_type(data_type: &DataType) -> Option<String> {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 => Some("VARCHAR".to_owned()),
        DataType::LargeBinary | DataType::BinaryView => Some("BYTEA".to_owned()),
        other => planned_type(other),
    }
}

/// The SQL name that the planner makes just this type of.
fn planned_type(data_type: &DataType) -> Option<String> {
    // No part of a type can be NOT NULL.
    let part = |field: &Field| if field.is_nullable() { planned_type(field.data_type()) } else { None };
    let element = |field: &Field| if field.name() == Field::LIST_FIELD_DEFAULT_NAME { part(field) } else { None };
    let name = match data_type {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::UInt8 => "TINYINT UNSIGNED".to_owned(),
        DataType::UInt16 => "SMALLINT UNSIGNED".to_owned(),
        DataType::UInt32 => "INT UNSIGNED".to_owned(),
        DataType::UInt64 => "BIGINT UNSIGNED".to_owned(),
        DataType::Float32 => "REAL".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Utf8View => "VARCHAR".to_owned(),
        DataType::Binary => "BYTEA".to_owned(),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Time64(TimeUnit::Nanosecond) => "TIME".to_owned(),
        DataType::Timestamp(unit, None) => {
            let digits = match unit {
                TimeUnit::Second => 0,
                TimeUnit::Millisecond => 3,
                TimeUnit::Microsecond => 6,
                TimeUnit::Nanosecond => 9,
            };
            format!("TIMESTAMP({digits})")
        }
        DataType::Decimal128(precision, scale) if *scale >= 0 => format!("DECIMAL({precision}, {scale})"),
        // Up to there it would be one of 128 bits.
        DataType::Decimal256(precision, scale) if *precision > DECIMAL128_MAX_PRECISION && *scale >= 0 => {
            format!("DECIMAL({precision}, {scale})")
        }
        DataType::List(inner) => format!("{}[]", element(inner)?),
        DataType::FixedSizeList(inner, size) => format!("{}[{size}]", element(inner)?),
        DataType::Struct(fields) if !fields.is_empty() => {
            let fields = fields.iter().map(|field| Some(format!("{} {}", quote(field.name()), part(field)?)));
            let fields = fields.collect::<Option<Vec<_>>>()?.join(", ");
            // What follows a `>>` is taken for that of the inner type.
            let space = if fields.ends_with('>') { " " } else { "" };
            format!("STRUCT<{fields}{space}>")
        }
        _ => return None,
    };
    Some(name)
}
