//! Where a family's query takes the texts of its captures from: globs, and lists of `VALUES`.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, ScalarValue, TableReference};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, lit};
use datafusion::sql::parser::Statement as SqlStatement;
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, Ident, Query, SetExpr, TableAlias, TableFactor, Value,
    ValueWithSpan, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use parking_lot::Mutex;
use tinyfs::{Glob, PondPath};

use crate::catalog::calls::call;
use crate::catalog::chosen::Chosen;
use crate::catalog::family::Supplier;
use crate::catalog::fold::fold_lists;
use crate::catalog::own_name::POND;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::is_host_name;

/// A relation in a family's plan whose rows belong to members: those with a member's texts in these columns.
#[derive(Debug, Clone)]
pub(crate) struct CaptureSource {
    /// The name of its scan, or its alias.
    name: TableReference,
    /// Captures, by their place in the family's name, and the columns that hold them.
    pub(crate) columns: Vec<(usize, String)>,
    /// Whether it is a list of `VALUES`.
    pub(crate) is_list: bool,
}

impl CaptureSource {
    /// The source that a node of a plan is.
    pub(crate) fn of<'a>(sources: &'a [Self], node: &LogicalPlan) -> Option<&'a Self> {
        let name = match node {
            LogicalPlan::TableScan(scan) => &scan.table_name,
            LogicalPlan::SubqueryAlias(alias) => &alias.alias,
            _ => return None,
        };
        sources.iter().find(|source| source.name == *name)
    }

    /// A capture's column in the plan of the source, as text.
    pub(crate) fn text(plan: &LogicalPlan, column: &str) -> Result<Expr> {
        let (qualifier, field) = plan.schema().qualified_field_with_unqualified_name(column)?;
        let value = Expr::Column(Column::new(qualifier.cloned(), field.name().clone()));
        Ok(if *field.data_type() == DataType::Utf8View { value } else { cast(value, DataType::Utf8View) })
    }
}

/// What the planner of a family's query tells of the captures.
#[derive(Debug)]
pub(crate) struct FamilyFrame {
    path: PondPath,
    captures: Vec<Arc<str>>,
    /// The members that are planned, where not all are.
    chosen: Option<Chosen>,
    sources: Mutex<Vec<CaptureSource>>,
}

impl FamilyFrame {
    pub(crate) fn new(path: &PondPath, captures: &[Arc<str>], chosen: Option<Chosen>) -> Self {
        Self { path: path.clone(), captures: captures.to_vec(), chosen, sources: Mutex::default() }
    }

    /// Whether some members are planned without the others.
    pub(crate) fn is_partial(&self) -> bool {
        self.chosen.is_some()
    }

    /// Whether what `glob` matched, with these texts of its captures, may belong to a member that is planned.
    pub(crate) fn reads(&self, glob: &Glob, named: &[Arc<str>]) -> bool {
        self.chosen.as_ref().is_none_or(|chosen| chosen.may_have(&self.captures, glob, named))
    }

    /// The name that the scan of a call has where its glob has captures of the family: it is bound to members, which a
    /// scan of the same call elsewhere in the plan is not.
    pub(crate) fn bind_glob(&self, glob: &Glob, call: &str) -> Option<String> {
        let columns: Vec<(usize, String)> = glob
            .capture_names()
            .iter()
            .filter_map(|name| Some((self.captures.iter().position(|capture| capture == name)?, name.to_string())))
            .collect();
        if columns.is_empty() {
            return None;
        }
        let name = format!("{}{})", call.strip_suffix(')').unwrap_or(call), self.mark_of_scans());
        self.add(CaptureSource { name: TableReference::bare(name.as_str()), columns, is_list: false });
        Some(name)
    }

    /// What the names of the scans have that are bound to members, and no text of a user's.
    pub(crate) fn mark_of_scans(&self) -> String {
        // DataFusion takes scans of one name for one: those of other members have other files.
        let members = self.chosen.as_ref().map(|chosen| format!(", members => '{}'", chosen.id())).unwrap_or_default();
        format!(", family => '{}'{members}", self.path)
    }

    /// Whether a glob has captures of the family.
    pub(crate) fn has_captures_of(&self, glob: &Glob) -> bool {
        glob.capture_names().iter().any(|name| self.captures.contains(name))
    }

    /// The sources that were found.
    pub(crate) fn sources(&self) -> Vec<CaptureSource> {
        self.sources.lock().clone()
    }

    /// Gives each list of `VALUES` that supplies a capture a name, under which it is found in the plan.
    pub(crate) fn mark_values(&self, statement: &mut SqlStatement, suppliers: &[Supplier]) -> Result<()> {
        if !suppliers.iter().any(|supplier| matches!(supplier, Supplier::Values { .. })) {
            return Ok(());
        }
        let mut lists = ValuesLists {
            captures: &self.captures,
            supplied: supplied(suppliers, &self.captures)?,
            mark: Some(self),
            found: Vec::new(),
        };
        visit(statement, &mut lists)
    }

    fn mark(&self, body: &mut Box<SetExpr>, columns: &[(usize, usize)]) -> Result<()> {
        let number = self.sources.lock().len();
        let name = format!("values({number}, family => '{}')", self.path);
        let template = Parser::parse_sql(&GenericDialect {}, "SELECT * FROM (VALUES (1)) AS v")
            .map_err(|error| Error::new(ErrorKind::Syntax, "VALUES").with_source(error))?;
        let Some(datafusion::sql::sqlparser::ast::Statement::Query(mut outer)) = template.into_iter().next() else {
            return Ok(());
        };
        if let SetExpr::Select(select) = outer.body.as_mut()
            && let Some(from) = select.from.first_mut()
            && let TableFactor::Derived { subquery, alias: Some(alias), .. } = &mut from.relation
        {
            std::mem::swap(&mut subquery.body, body);
            alias.name = Ident::with_quote('"', name.as_str());
            *body = outer.body;
            let columns = columns.iter().map(|(capture, at)| (*capture, format!("column{}", at + 1))).collect();
            self.add(CaptureSource { name: TableReference::bare(name.as_str()), columns, is_list: true });
        }
        Ok(())
    }

    fn add(&self, source: CaptureSource) {
        let mut sources = self.sources.lock();
        if !sources.iter().any(|known| known.name == source.name) {
            sources.push(source);
        }
    }
}

/// What supplies the captures in a family's query: its globs, and, for those that no glob has, its lists of `VALUES` with
/// a column of the name.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for a glob over files of the host, and for values that are neither texts nor whole numbers.
pub(crate) fn suppliers(
    statement: &SqlStatement,
    function: &str,
    directory: &PondPath,
    captures: &[Arc<str>],
) -> Result<Vec<Supplier>> {
    let mut statement = statement.clone();
    let mut globs = Globs { function, directory, captures, found: Vec::new() };
    visit(&mut statement, &mut globs)?;
    let mut found: Vec<Supplier> = globs.found.iter().map(|glob| Supplier::Glob(glob.to_string())).collect();
    let supplied = supplied(&found, captures)?;
    let mut lists = ValuesLists { captures, supplied, mark: None, found: Vec::new() };
    visit(&mut statement, &mut lists)?;
    found.extend(lists.found);
    Ok(found)
}

/// The plan of one member: each source has that member's rows only.
pub(crate) fn bind(plan: &LogicalPlan, sources: &[CaptureSource], texts: &[Arc<str>]) -> Result<LogicalPlan> {
    if sources.is_empty() {
        return Ok(plan.clone());
    }
    let bound = plan.clone().transform_down_with_subqueries(|node| {
        let Some(source) = CaptureSource::of(sources, &node) else { return Ok(Transformed::no(node)) };
        let mut filtered = LogicalPlanBuilder::from(node.clone());
        for (capture, column) in &source.columns {
            let Some(text) = texts.get(*capture) else { continue };
            let text = lit(ScalarValue::Utf8View(Some(text.to_string())));
            filtered = filtered.filter(CaptureSource::text(&node, column)?.eq(text))?;
        }
        // What is below has the same name, and is bound by this.
        Ok(Transformed::new(filtered.build()?, true, TreeNodeRecursion::Jump))
    })?;
    let lists: Vec<CaptureSource> = sources.iter().filter(|source| source.is_list).cloned().collect();
    if lists.is_empty() { Ok(bound.data) } else { fold_lists(&bound.data, &lists, texts) }
}

/// For each capture, whether a glob supplies it.
fn supplied(suppliers: &[Supplier], captures: &[Arc<str>]) -> Result<Vec<bool>> {
    let mut supplied = vec![false; captures.len()];
    for supplier in suppliers {
        let Supplier::Glob(text) = supplier else { continue };
        for name in Glob::parse(text)?.capture_names() {
            if let Some(at) = captures.iter().position(|capture| capture == name) {
                supplied[at] = true;
            }
        }
    }
    Ok(supplied)
}

fn visit(statement: &mut SqlStatement, visitor: &mut impl VisitorMut<Break = Error>) -> Result<()> {
    let SqlStatement::Statement(statement) = statement else { return Ok(()) };
    match VisitMut::visit(statement.as_mut(), visitor) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Calls of `pond()` with captures of the family.
struct Globs<'a> {
    /// The name under which the pond is registered, which its functions have beside their own.
    function: &'a str,
    directory: &'a PondPath,
    captures: &'a [Arc<str>],
    found: Vec<Glob>,
}

impl Globs<'_> {
    /// Whether this is the name of a function that reads files by glob: `pond`, or `pond_join`.
    fn reads_files(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        let is_of = |catalog: &str| name.strip_prefix(catalog).is_some_and(|suffix| matches!(suffix, "" | "_join"));
        is_of(POND) || is_of(&self.function.to_lowercase())
    }
}

impl VisitorMut for Globs<'_> {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        let Some((_, args)) = call(factor).filter(|(name, _)| self.reads_files(&name.value)) else {
            return ControlFlow::Continue(());
        };
        let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))) = args.args.first() else {
            return ControlFlow::Continue(());
        };
        let Some(text) = text_of(argument) else { return ControlFlow::Continue(()) };
        let glob = if is_host_name(&text) {
            // Only its captures matter: it is refused if it has any.
            Glob::parse_relative(&PondPath::root(), text.trim_start_matches(['.', '~']))
        } else {
            Glob::parse_relative(self.directory, &text)
        };
        let glob = match glob {
            Ok(glob) => glob,
            // Planning will say so.
            Err(_) => return ControlFlow::Continue(()),
        };
        if glob.capture_names().iter().any(|name| self.captures.contains(name)) {
            if is_host_name(&text) {
                let message =
                    format!("'{text}' is a glob over files of the host, which cannot supply the captures of a family");
                return ControlFlow::Break(Error::new(ErrorKind::Unsupported, message));
            }
            if !self.found.contains(&glob) {
                self.found.push(glob);
            }
        }
        ControlFlow::Continue(())
    }
}

/// Lists of `VALUES` with a column that is named like a capture that no glob has.
struct ValuesLists<'a> {
    captures: &'a [Arc<str>],
    supplied: Vec<bool>,
    mark: Option<&'a FamilyFrame>,
    found: Vec<Supplier>,
}

impl VisitorMut for ValuesLists<'_> {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        match factor {
            TableFactor::Derived { subquery, alias: Some(alias), .. } => flow(self.list(&mut subquery.body, alias)),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        for cte in query.with.iter_mut().flat_map(|with| &mut with.cte_tables) {
            flow(self.list(&mut cte.query.body, &cte.alias))?;
        }
        ControlFlow::Continue(())
    }
}

impl ValuesLists<'_> {
    fn list(&mut self, body: &mut Box<SetExpr>, alias: &TableAlias) -> Result<()> {
        let SetExpr::Values(values) = body.as_ref() else { return Ok(()) };
        let columns: Vec<(usize, usize)> = alias
            .columns
            .iter()
            .enumerate()
            .filter_map(|(at, column)| {
                let name = identifier(&column.name);
                let capture = self.captures.iter().position(|capture| **capture == *name)?;
                (!self.supplied[capture]).then_some((capture, at))
            })
            .collect();
        if columns.is_empty() {
            return Ok(());
        }
        if let Some(frame) = self.mark {
            return frame.mark(body, &columns);
        }
        for (capture, at) in &columns {
            let column: Vec<&SqlExpr> = values.rows.iter().filter_map(|row| row.content.get(*at)).collect();
            check_numbers(&self.captures[*capture], &column)?;
        }
        let mut rows = Vec::new();
        for row in &values.rows {
            let texts = columns.iter().map(|(capture, at)| {
                row.content.get(*at).and_then(text_of).ok_or_else(|| {
                    let name = &self.captures[*capture];
                    let message = format!("the VALUES of {{{name}}} must be texts or whole numbers, written out");
                    Error::new(ErrorKind::Unsupported, message)
                })
            });
            rows.push(texts.collect::<Result<Vec<_>>>()?);
        }
        self.found.push(Supplier::Values { captures: columns.into_iter().map(|(capture, _)| capture).collect(), rows });
        Ok(())
    }
}

fn flow(result: Result<()>) -> ControlFlow<Error> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

/// Refuses texts that are not those of the numbers which a column of a list makes of all its values if one is a number:
/// its members would have no rows.
fn check_numbers(name: &str, column: &[&SqlExpr]) -> Result<()> {
    let is_number = |value: &&SqlExpr| matches!(value, SqlExpr::Value(ValueWithSpan { value: Value::Number(..), .. }));
    if !column.iter().any(is_number) {
        return Ok(());
    }
    let is_same = |text: &str| text.parse::<i64>().is_ok_and(|number| number.to_string() == text);
    match column.iter().filter_map(|value| text_of(value)).find(|text| !is_same(text)) {
        Some(text) => {
            let message = format!(
                "the VALUES of {{{name}}} have numbers among them, and '{text}' is not the text of one; put quotes around all of them"
            );
            Err(Error::new(ErrorKind::Unsupported, message))
        }
        None => Ok(()),
    }
}

fn text_of(expression: &SqlExpr) -> Option<String> {
    let SqlExpr::Value(ValueWithSpan { value, .. }) = expression else { return None };
    match value {
        Value::SingleQuotedString(text) => Some(text.clone()),
        Value::Number(digits, _) => digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.clone()),
        _ => None,
    }
}

fn identifier(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}
