//! From the text of one statement to what the session does about it.

use std::ops::ControlFlow;

use datafusion::common::DataFusionError;
use datafusion::config::SqlParserOptions;
use datafusion::sql::parser::{CopyToStatement, CreateExternalTable, DFParserBuilder, Statement as SqlStatement};
use datafusion::sql::sqlparser::ast::{
    AlterTableOperation, CommentObject, CreateTable, CreateView, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, ObjectName, ObjectType, Query, RenameTableNameKind, SchemaName, SetExpr, ShowCreateObject,
    Statement, TableFactor, TableObject, TransactionAccessMode, TransactionMode, UnaryOperator, Use, Value, Visit,
    Visitor,
};
use datafusion::sql::sqlparser::dialect::{GenericDialect, dialect_from_str};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, Tokenizer};

use tinyfs::{EntryKind, PondPath};

use crate::catalog::spell_out_from_first;
use crate::error::{Error, ErrorKind, Result, may_hold_secret};
use crate::session::copy::is_pond_target;
use crate::session::names::Names;
use crate::session::transaction::Access;

/// A statement, by what the session does about it.
#[derive(Debug, Clone)]
pub(crate) enum PondStatement {
    Begin(Access),
    Commit,
    Rollback,
    /// `USE '/d'`.
    Use(ObjectName),
    CreateSymlink {
        link: ObjectName,
        target: String,
    },
    /// The text of the query is kept as it was written.
    CreateView {
        create: Box<CreateView>,
        query: String,
    },
    /// `COMMENT ON VIEW`, `COMMENT ON TABLE`; without a text, `IS NULL`.
    Comment {
        kind: EntryKind,
        name: ObjectName,
        text: Option<String>,
        if_exists: bool,
    },
    CreateTable(Box<CreateTable>),
    /// With the text of the statement, to tell places in it.
    CreateExternal {
        create: Box<CreateExternalTable>,
        sql: String,
    },
    /// `CALL pond_run('/p', name => value)`.
    Run {
        path: String,
        arguments: Vec<(String, Value)>,
    },
    CreateSchema {
        name: ObjectName,
        if_not_exists: bool,
    },
    Drop {
        kind: DropKind,
        names: Vec<ObjectName>,
        if_exists: bool,
        cascade: bool,
    },
    Rename {
        from: ObjectName,
        to: ObjectName,
    },
    ShowCreate(ObjectName),
    /// `OPTIMIZE '/glob'`.
    Optimize(String),
    /// A change of the rows of `target`.
    Write {
        statement: Box<SqlStatement>,
        target: ObjectName,
    },
    /// `COPY … TO` a path in the pond.
    CopyIn(Box<CopyToStatement>),
    /// Everything that changes nothing in the pond.
    Read(Box<SqlStatement>),
}

/// What `DROP` was said to drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DropKind {
    Table,
    View,
    Schema,
}

/// Parses exactly one statement; a `;` may follow.
///
/// # Errors
/// [`ErrorKind::Syntax`], with line and column; [`ErrorKind::Unsupported`] for what a pond refuses.
pub(crate) fn parse(sql: &str, options: &SqlParserOptions) -> Result<PondStatement> {
    // To read the tokens takes as long as to parse them, and nearly no statement is one of these.
    let begins =
        |words: &[&str]| first_word(sql).is_none_or(|first| words.iter().any(|word| first.eq_ignore_ascii_case(word)));
    if (begins(OWN) || begins(NOT_YET))
        && let Some(own) = parse_own(sql)?
    {
        return Ok(own);
    }
    let dialect = dialect_from_str(options.dialect)
        .ok_or_else(|| Error::new(ErrorKind::Usage, format!("there is no SQL dialect '{}'", options.dialect)))?;
    let located = if begins(&["CREATE"]) { with_location(sql) } else { None };
    let mut parser = DFParserBuilder::new(located.as_deref().unwrap_or(sql))
        .with_dialect(dialect.as_ref())
        .with_recursion_limit(options.recursion_limit.get())
        .build()?;
    let mut statements = parser.parse_statements().map_err(|error| match inserts_by_name(sql) {
        true => {
            let message = "INSERT … BY NAME is not there yet; INSERT INTO '/t' (a, b) SELECT … names the columns";
            Error::new(ErrorKind::Unsupported, message)
        }
        false => without_values(error, sql),
    })?;
    let statement =
        statements.pop_front().ok_or_else(|| Error::new(ErrorKind::Syntax, "there is no statement in the text"))?;
    if !statements.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "the text holds more than one statement"));
    }
    classify(statement, sql)
}

fn classify(mut statement: SqlStatement, sql: &str) -> Result<PondStatement> {
    if selects_into(&statement) {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "SELECT … INTO is not available; use CREATE TABLE '/name' AS SELECT …",
        ));
    }
    spell_out_from_first(&mut statement);
    if let SqlStatement::Explain(explain) = &statement
        && explain.options.analyze
        && let SqlStatement::Statement(inner) = explain.statement.as_ref()
        && target(inner).is_some()
    {
        let message = "EXPLAIN ANALYZE would run the INSERT; EXPLAIN shows its plan";
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    let statement = match statement {
        SqlStatement::Statement(statement) => *statement,
        SqlStatement::CopyTo(copy) if is_pond_target(&copy.target) => return Ok(PondStatement::CopyIn(Box::new(copy))),
        SqlStatement::CreateExternalTable(create) => {
            return Ok(PondStatement::CreateExternal { create: Box::new(create), sql: sql.to_owned() });
        }
        other => return Ok(PondStatement::Read(Box::new(other))),
    };
    Ok(match statement {
        Statement::StartTransaction { modes, statements, .. } if statements.is_empty() => {
            let read_only = modes.contains(&TransactionMode::AccessMode(TransactionAccessMode::ReadOnly));
            PondStatement::Begin(if read_only { Access::ReadOnly } else { Access::ReadWrite })
        }
        Statement::Commit { .. } => PondStatement::Commit,
        Statement::Rollback { savepoint: None, .. } => PondStatement::Rollback,
        Statement::Use(Use::Object(name) | Use::Schema(name)) => PondStatement::Use(name),
        Statement::CreateView(create) => {
            let query = view_query(sql)?;
            PondStatement::CreateView { create: Box::new(create), query }
        }
        Statement::Comment { object_type, object_name, comment, if_exists } => {
            let kind = match object_type {
                CommentObject::View => EntryKind::View,
                CommentObject::Table => EntryKind::File,
                other => {
                    return Err(Error::new(ErrorKind::Unsupported, format!("a pond keeps no COMMENT ON {other}")));
                }
            };
            PondStatement::Comment { kind, name: object_name, text: comment, if_exists }
        }
        Statement::CreateTable(create) => PondStatement::CreateTable(Box::new(create)),
        Statement::CreateSchema { schema_name: SchemaName::Simple(name), if_not_exists, .. } => {
            PondStatement::CreateSchema { name, if_not_exists }
        }
        Statement::Drop { object_type, if_exists, names, cascade, .. } => {
            let kind = match object_type {
                ObjectType::Table => DropKind::Table,
                ObjectType::View => DropKind::View,
                ObjectType::Schema => DropKind::Schema,
                other => return Err(Error::new(ErrorKind::Unsupported, format!("a pond has no {other} to drop"))),
            };
            PondStatement::Drop { kind, names, if_exists, cascade }
        }
        Statement::AlterTable(alter) => match alter.operations.as_slice() {
            [AlterTableOperation::RenameTable { table_name: RenameTableNameKind::To(to) }] => {
                PondStatement::Rename { from: alter.name, to: to.clone() }
            }
            _ => {
                let message = "of ALTER TABLE only RENAME TO is available";
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        },
        Statement::ShowCreate { obj_type: ShowCreateObject::Table | ShowCreateObject::View, obj_name } => {
            PondStatement::ShowCreate(obj_name)
        }
        Statement::Call(function) => run_call(function)?,
        Statement::Update(_) | Statement::Delete(_) | Statement::Truncate(_) | Statement::Merge(_) => {
            let word = sql.split_whitespace().next().unwrap_or("this").to_uppercase();
            let message = format!(
                "{word} is not available yet; INSERT OVERWRITE '/t' SELECT … FROM '/t' replaces the rows of a file"
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        Statement::Prepare { statement, .. } if target(&statement).is_some() => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "only queries can be prepared; run the INSERT itself, with $name parameters",
            ));
        }
        Statement::Set(set) if set.to_string().to_lowercase().starts_with("set pond.") => {
            let message =
                format!("'{set}' is not available yet; the option --as-of, and as_of => … in pond(), show the past");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        statement => match target(&statement) {
            Some(target) => {
                PondStatement::Write { statement: Box::new(SqlStatement::Statement(Box::new(statement))), target }
            }
            None => PondStatement::Read(Box::new(SqlStatement::Statement(Box::new(statement)))),
        },
    })
}

/// `CALL pond_run('/p' [, name => value…])`.
fn run_call(function: Function) -> Result<PondStatement> {
    let name = function.name.to_string();
    if !name.eq_ignore_ascii_case("pond_run") {
        let message = format!("there is no procedure '{name}'; CALL pond_run('/p') runs a dynamic entry");
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    let wrong = |what: String| Error::new(ErrorKind::Syntax, format!("pond_run(): {what}"));
    let FunctionArguments::List(list) = function.args else {
        return Err(wrong("the path of a dynamic entry is missing".to_owned()));
    };
    let (mut path, mut arguments) = (None, Vec::new());
    for argument in list.args {
        let (name, value) = match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => (None, value),
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. } => (Some(name.value), value),
            FunctionArg::ExprNamed { name: Expr::Identifier(name), arg: FunctionArgExpr::Expr(value), .. } => {
                (Some(name.value), value)
            }
            other => return Err(wrong(format!("'{other}' is no argument"))),
        };
        let value =
            constant(value).ok_or_else(|| wrong("an argument is a text, a number, true or false".to_owned()))?;
        match (name, &path) {
            (None, None) if arguments.is_empty() => path = Some(text(&value)),
            (None, _) => return Err(wrong(format!("{value} has no name; write name => {value}"))),
            (Some(name), _) => arguments.push((name.to_lowercase(), value)),
        }
    }
    let path = path.ok_or_else(|| wrong("the path of a dynamic entry is missing".to_owned()))?;
    Ok(PondStatement::Run { path, arguments })
}

fn constant(value: Expr) -> Option<Value> {
    match value {
        Expr::Value(value) => Some(value.value),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match constant(*expr)? {
            Value::Number(number, long) => Some(Value::Number(format!("-{number}"), long)),
            _ => None,
        },
        // A double-quoted text.
        Expr::Identifier(name) if name.quote_style.is_some() => Some(Value::SingleQuotedString(name.value)),
        _ => None,
    }
}

/// A constant as a text.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) | Value::EscapedStringLiteral(text) => {
            text.clone()
        }
        Value::Boolean(flag) => flag.to_string(),
        other => other.to_string(),
    }
}

/// A `CREATE EXTERNAL TABLE` without `LOCATION`, with an empty one at its end: DataFusion demands it, and some factories have none.
fn with_location(sql: &str) -> Option<String> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().ok()?;
    let is_word = |token: &Token, keyword| matches!(token, Token::Word(word) if word.quote_style.is_none() && word.keyword == keyword);
    let mut tokens = tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).peekable();
    let _ = tokens.next_if(|token| is_word(&token.token, Keyword::CREATE))?;
    if tokens.next_if(|token| is_word(&token.token, Keyword::OR)).is_some() {
        let _ = tokens.next_if(|token| is_word(&token.token, Keyword::REPLACE))?;
    }
    let _ = tokens.next_if(|token| is_word(&token.token, Keyword::EXTERNAL))?;
    let mut depth = 0_usize;
    let mut end = sql.len();
    for token in tokens {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::SemiColon if depth == 0 => {
                end = byte_offset(sql, token.span.start)?;
                break;
            }
            word if depth == 0 && is_word(word, Keyword::LOCATION) => return None,
            _ => {}
        }
    }
    // On a line of its own, for a comment may stand before it; what is told of places before it stays right.
    Some(format!("{}\nLOCATION ''{}", &sql[..end], &sql[end..]))
}

/// The error of the parser. Where the text that it did not expect may be a secret, that is left out.
fn without_values(error: DataFusionError, sql: &str) -> Error {
    let error = Error::from_datafusion(error);
    if !may_hold_secret(sql) {
        return error;
    }
    let text = error.to_string();
    match (text.find("found: "), text.rfind(" at Line: ")) {
        (Some(found), Some(at)) if found < at => {
            Error::new(error.kind(), format!("{}found: another text{}", &text[..found], &text[at..]))
        }
        _ => error,
    }
}

fn selects_into(statement: &SqlStatement) -> bool {
    let SqlStatement::Statement(statement) = statement else { return false };
    let Statement::Query(query) = statement.as_ref() else { return false };
    fn any(body: &SetExpr) -> bool {
        match body {
            SetExpr::Select(select) => select.into.is_some(),
            SetExpr::SetOperation { left, right, .. } => any(left) || any(right),
            SetExpr::Query(query) => any(&query.body),
            _ => false,
        }
    }
    any(&query.body)
}

/// The table that a statement changes the rows of.
fn target(statement: &Statement) -> Option<ObjectName> {
    match statement {
        Statement::Insert(insert) => match &insert.table {
            TableObject::TableName(name) => Some(name.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a write also reads its target, however it is spelt there: then a change of the target by another transaction
/// matters. A CTE of the same name counts too, which only makes the transaction more careful.
pub(crate) fn reads_target(statement: &SqlStatement, names: &Names, target: &PondPath) -> bool {
    let SqlStatement::Statement(statement) = statement else { return true };
    let Statement::Insert(insert) = statement.as_ref() else { return true };
    let Some(source) = &insert.source else { return false };
    datafusion::sql::sqlparser::ast::visit_relations(source, |name| {
        let is_target = names.path(name).is_ok_and(|path| path == *target);
        if is_target { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .is_break()
}

/// Whether a statement is an `INSERT` with neither a `FROM` nor a query within: no view is planned for it, and its plan nests no deeper
/// than its text.
pub(crate) fn inserts_literals(statement: &SqlStatement) -> bool {
    struct Reads {
        queries: usize,
    }

    impl Visitor for Reads {
        type Break = ();

        fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
            self.queries += 1;
            if self.queries > 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }

        fn pre_visit_table_factor(&mut self, _table: &TableFactor) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }

    let SqlStatement::Statement(statement) = statement else { return false };
    let Statement::Insert(insert) = statement.as_ref() else { return false };
    insert.source.as_ref().is_some_and(|source| source.visit(&mut Reads { queries: 0 }).is_continue())
}

/// The words that statements begin with which only a pond has.
const OWN: &[&str] = &["CREATE", "OPTIMIZE"];
/// Statements that a later version will have, which DataFusion would take for mistyped.
const NOT_YET: &[&str] = &["ATTACH", "DETACH", "SAVEPOINT", "SUMMARIZE", "VACUUM"];

/// The word that a text begins with; none where a comment, or no word at all, comes first.
fn first_word(sql: &str) -> Option<&str> {
    let text = sql.trim_start();
    let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
    (end > 0).then(|| &text[..end])
}

/// `CREATE SYMLINK '/a' TO '/b'` and `OPTIMIZE '/glob'`, which DataFusion does not know.
fn parse_own(sql: &str) -> Result<Option<PondStatement>> {
    let is_word = |parser: &Parser<'_>, at, text: &str| matches!(&parser.peek_nth_token(at).token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text));
    let Ok(mut parser) = DFParserBuilder::new(sql).with_dialect(&GenericDialect {}).build() else { return Ok(None) };
    let parser = &mut parser.parser;
    let syntax = |error| Error::from_datafusion(DataFusionError::SQL(Box::new(error), None));
    let (statement, form) = if is_word(parser, 0, "create") && is_word(parser, 1, "symlink") {
        let _ = (parser.next_token(), parser.next_token());
        let link = parser.parse_object_name(false).map_err(syntax)?;
        let _ = parser.expect_keyword(Keyword::TO).map_err(syntax)?;
        let target = parser.parse_identifier().map_err(syntax)?.value;
        (PondStatement::CreateSymlink { link, target }, "CREATE SYMLINK '/a' TO '/b'")
    } else if is_word(parser, 0, "optimize") {
        let _ = parser.next_token();
        let glob = parser.parse_identifier().map_err(syntax)?.value;
        (PondStatement::Optimize(glob), "OPTIMIZE '/glob'")
    } else if let Some(word) = NOT_YET.iter().find(|word| is_word(parser, 0, word)) {
        return Err(Error::new(ErrorKind::Unsupported, format!("{word} is not there yet")));
    } else {
        return Ok(None);
    };
    let _ = parser.consume_token(&Token::SemiColon);
    match parser.peek_token().token {
        Token::EOF => Ok(Some(statement)),
        other => Err(Error::new(ErrorKind::Syntax, format!("{form} ends there, but '{other}' follows"))),
    }
}

/// Whether a statement is an `INSERT` with `BY NAME` behind its target.
fn inserts_by_name(sql: &str) -> bool {
    let Ok(mut parser) = DFParserBuilder::new(sql).with_dialect(&GenericDialect {}).build() else { return false };
    let parser = &mut parser.parser;
    if !parser.parse_keyword(Keyword::INSERT) {
        return false;
    }
    let _ = parser.parse_one_of_keywords(&[Keyword::INTO, Keyword::OVERWRITE]);
    let _ = parser.parse_keyword(Keyword::INTO);
    let _ = parser.parse_keyword(Keyword::TABLE);
    parser.parse_object_name(false).is_ok() && parser.parse_keywords(&[Keyword::BY, Keyword::NAME])
}

/// The text behind the `AS` of a `CREATE VIEW`, as it was written, comments included.
fn view_query(sql: &str) -> Result<String> {
    let lost = || Error::new(ErrorKind::Syntax, "CREATE VIEW lacks its AS");
    let tokens = Tokenizer::new(&GenericDialect {}, sql)
        .tokenize_with_location()
        .map_err(|error| Error::new(ErrorKind::Syntax, "the view's text cannot be read").with_source(error))?;
    let mut depth = 0usize;
    for token in &tokens {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::Word(word) if depth == 0 && word.keyword == Keyword::AS => {
                let start = byte_offset(sql, token.span.end).ok_or_else(lost)?;
                let text = sql[start..].trim();
                return Ok(text.strip_suffix(';').unwrap_or(text).trim_end().to_owned());
            }
            _ => {}
        }
    }
    Err(lost())
}

/// The tokenizer counts lines and columns from 1, columns in characters.
fn byte_offset(text: &str, at: Location) -> Option<usize> {
    let line = usize::try_from(at.line).ok()?.checked_sub(1)?;
    let column = usize::try_from(at.column).ok()?.checked_sub(1)?;
    let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = &text[start..];
    Some(start + rest.char_indices().nth(column).map_or(rest.len(), |(index, _)| index))
}

#[cfg(test)]
mod tests;
