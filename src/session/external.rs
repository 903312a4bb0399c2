//! `CREATE EXTERNAL TABLE`: an entry that stands for files elsewhere, or that a factory makes.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::Arc;

use datafusion::sql::parser::CreateExternalTable;
use datafusion::sql::sqlparser::ast::Value;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, Tokenizer};
use parking_lot::Mutex;
use tinyfs::{
    Attributes, Definition, EntryKind, Field, InvalidOption, NewEntry, OptionType, PondPath, RemoveMode, Shape,
    Transaction,
};

use crate::catalog::{Scope, external_provider, factory_context};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{ExternalFile, TableFactory};
use crate::session::StatementResult;

/// Makes the entry, after all of it was checked: files were found and read as far as their columns, or a factory's source was reached.
pub(super) async fn table(
    scope: &Arc<Scope>,
    transaction: &Mutex<Transaction>,
    directory: &PondPath,
    path: &PondPath,
    create: &CreateExternalTable,
    sql: &str,
) -> Result<StatementResult> {
    refuse(create)?;
    let taken = transaction.lock().snapshot().find_link(path)?.map(|entry| entry.kind());
    match taken {
        None => {}
        Some(EntryKind::Dynamic | EntryKind::DynamicDirectory) if create.if_not_exists => {
            return Ok(StatementResult::Done);
        }
        Some(EntryKind::Dynamic | EntryKind::DynamicDirectory) if create.or_replace => {}
        Some(kind) => {
            let message = format!("'{path}' exists already: it is a {}", kind.as_str());
            return Err(Error::new(ErrorKind::AlreadyExists, message).with_path(path));
        }
    }
    let [location] = create.locations.as_slice() else {
        return Err(Error::new(ErrorKind::Syntax, "an external table has one LOCATION; a glob is many files"));
    };
    let given = options(create, sql)?;
    let new = match scope.factories().get(&create.file_type.to_lowercase()) {
        Some(factory) => made(scope, factory, directory, path, given, location, sql).await?,
        None => {
            let file = described(scope, directory, path, given, create, location, sql)?;
            // It is found, and read as far as its columns.
            let snapshot = transaction.lock().snapshot();
            let _ = external_provider(scope, &snapshot, path, &file).await?;
            NewEntry::Dynamic(file.to_text()?.into())
        }
    };
    place(&mut transaction.lock(), path, taken, new)?;
    Ok(StatementResult::Done)
}

/// The files that an entry stands for.
fn described(
    scope: &Arc<Scope>,
    directory: &PondPath,
    path: &PondPath,
    given: BTreeMap<String, String>,
    create: &CreateExternalTable,
    location: &str,
    sql: &str,
) -> Result<ExternalFile> {
    let format = &create.file_type;
    ExternalFile::check_options(format, &given).map_err(|refused| {
        let half = if refused.is_name { Half::Name } else { Half::Value };
        placed_at(refused.error, sql, &Field::Option(refused.name), half)
    })?;
    let file = ExternalFile::try_new(format, location, given).map_err(|error| {
        let error = match error.kind() {
            ErrorKind::Unsupported if scope.factories().iter().next().is_some() => {
                Error::new(ErrorKind::Unsupported, format!("{error}; factories are {}", scope.factories().names()))
            }
            _ => error,
        };
        placed(error, sql, &Field::Factory)
    })?;
    if location.is_empty() {
        let message = format!("'{path}' needs a LOCATION: the files that it stands for");
        return Err(Error::new(ErrorKind::Syntax, message).with_path(path));
    }
    Ok(match file.is_on_host() {
        true => file,
        false => ExternalFile { location: directory.join(location)?.to_string(), ..file },
    })
}

/// An entry that a factory makes.
async fn made(
    scope: &Arc<Scope>,
    factory: &Arc<dyn TableFactory>,
    directory: &PondPath,
    path: &PondPath,
    options: BTreeMap<String, String>,
    location: &str,
    sql: &str,
) -> Result<NewEntry> {
    let mut given = BTreeMap::new();
    for (name, value) in options {
        let name = name.to_lowercase();
        let spec = factory.options().iter().find(|spec| spec.name == name);
        // Relative paths start from the directory that is current now.
        let value = match spec {
            Some(spec) if spec.option_type == OptionType::Path && !value.is_empty() => {
                let field = Field::Option(name.clone());
                directory.join(&value).map_err(|error| placed(error.into(), sql, &field))?.to_string()
            }
            _ => value,
        };
        let _ = given.insert(name, value);
    }
    let location = (!location.is_empty()).then(|| location.to_owned());
    let secrets = factory.options().iter().filter(|spec| spec.option_type == OptionType::Secret).map(|spec| spec.name);
    let secrets: Vec<&str> = secrets.collect();
    let definition =
        Definition::try_new(factory.as_ref(), location, given).map_err(|error| invalid(&error, factory, sql))?;
    let context = factory_context(scope, path, definition)?;
    for name in secrets {
        // One that cannot be had is told where it is named, and not as a fault of the source.
        let field = Field::Option(name.to_owned());
        let _ = context.secret(name).map_err(|error| placed(error.into(), sql, &field))?;
    }
    let reached = factory.probe(&context).await;
    reached.map_err(|error| {
        let option = error.source().and_then(|cause| cause.downcast_ref::<InvalidOption>());
        let field = option.map_or(Field::Location, |option| option.field.clone());
        placed(error.into(), sql, &field)
    })?;
    let text = context.definition.to_text()?.into();
    Ok(match context.definition.shape {
        Shape::Table => NewEntry::Dynamic(text),
        Shape::StoredDirectory | Shape::ListedDirectory => NewEntry::DynamicDirectory(text),
    })
}

/// Puts the entry where it belongs. A directory that is defined anew keeps what is stored in it.
fn place(transaction: &mut Transaction, path: &PondPath, taken: Option<EntryKind>, new: NewEntry) -> Result<()> {
    match (taken, &new) {
        (Some(EntryKind::DynamicDirectory), NewEntry::DynamicDirectory(text)) => {
            let attributes = transaction.snapshot().lookup_link(path)?.node.attributes.clone();
            return Ok(transaction.update(path, Some(Arc::clone(text)), attributes)?);
        }
        (Some(_), _) => transaction.remove(path, RemoveMode::Empty)?,
        (None, _) => {}
    }
    Ok(transaction.create(path, new, Attributes::default())?)
}

/// Which half of an option something is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    Name,
    Value,
}

/// The error for a definition, with its place in the statement: what is wrong with an option that there is, is its value.
fn invalid(error: &InvalidOption, factory: &Arc<dyn TableFactory>, sql: &str) -> Error {
    let is_option = |name: &str| factory.options().iter().any(|spec| spec.name == name);
    let half = match &error.field {
        Field::Option(name) if !is_option(name) => Half::Name,
        _ => Half::Value,
    };
    Error::new(ErrorKind::Usage, format!("{error}{}", told(sql, &error.field, half)))
}

/// An error, with the place in the statement of what it is about.
fn placed(error: Error, sql: &str, field: &Field) -> Error {
    placed_at(error, sql, field, Half::Value)
}

fn placed_at(error: Error, sql: &str, field: &Field, half: Half) -> Error {
    let message = format!("{error}{}", told(sql, field, half));
    Error::new(error.kind(), message).with_source(error)
}

/// The place of a field in a statement, in words.
fn told(sql: &str, field: &Field, half: Half) -> String {
    match find(sql, field, half) {
        Some(at) => format!(" (line {}, column {})", at.line, at.column),
        None => String::new(),
    }
}

fn find(sql: &str, field: &Field, half: Half) -> Option<Location> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().ok()?;
    let is_word = |token: &Token, text: &str| matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text));
    let after = |text: &'static str| tokens.iter().skip_while(move |token| !is_word(&token.token, text)).skip(1);
    let value =
        |token: &&datafusion::sql::sqlparser::tokenizer::TokenWithSpan| !matches!(token.token, Token::Whitespace(_));
    let found = match field {
        Field::Factory => after("stored").filter(value).nth(1),
        Field::Location => after("location").find(value),
        Field::Option(name) => {
            let is_name = |token: &Token| match token {
                Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) => text.eq_ignore_ascii_case(name),
                Token::Word(word) => word.value.eq_ignore_ascii_case(name),
                _ => false,
            };
            // A value may be the same text as a name.
            let begins = |token: &Token| matches!(token, Token::LParen | Token::Comma);
            let all: Vec<_> = after("options").filter(value).collect();
            all.windows(3).find_map(|three| match three {
                [before, name, value] if begins(&before.token) && is_name(&name.token) => match half {
                    Half::Name => Some(*name),
                    Half::Value => Some(*value),
                },
                _ => None,
            })
        }
    };
    found.map(|token| token.span.start)
}

fn refuse(create: &CreateExternalTable) -> Result<()> {
    let refused = [
        (!create.columns.is_empty(), "columns: they are those of the files"),
        (!create.constraints.is_empty(), "constraints"),
        (!create.table_partition_cols.is_empty(), "PARTITIONED BY: write '{name}' in the LOCATION of pond()"),
        (!create.order_exprs.is_empty(), "WITH ORDER"),
        (create.unbounded, "UNBOUNDED"),
        (create.temporary, "TEMPORARY"),
    ];
    match refused.into_iter().find(|(given, _)| *given) {
        Some((_, what)) => {
            Err(Error::new(ErrorKind::Unsupported, format!("an external table of a pond has no {what}")))
        }
        None => Ok(()),
    }
}

fn options(create: &CreateExternalTable, sql: &str) -> Result<BTreeMap<String, String>> {
    let mut options = BTreeMap::new();
    for (name, value) in &create.options {
        let at = |half| told(sql, &Field::Option(name.clone()), half);
        let text = match value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) | Value::EscapedStringLiteral(text) => {
                text.clone()
            }
            Value::Number(number, _) => number.clone(),
            Value::Boolean(flag) => flag.to_string(),
            // Not shown: it may be a secret.
            _ => {
                let message = format!("the option '{name}' is a text, a number, true or false{}", at(Half::Value));
                return Err(Error::new(ErrorKind::Syntax, message));
            }
        };
        if options.insert(name.clone(), text).is_some() {
            let message = format!("the option '{name}' is given twice{}", at(Half::Name));
            return Err(Error::new(ErrorKind::Usage, message));
        }
    }
    Ok(options)
}
