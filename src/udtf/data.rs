//! `pond(glob)`: the rows of every file that a glob matches, as one table.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, DFSchema, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::{EmptyRelation, Expr, LogicalPlan, LogicalPlanBuilder, Union};
use tinyfs::{Captures, EntryKind, Glob, GlobMatch, PondPath};

use crate::catalog::{
    Findings, HostFiles, Member, OpenPond, Scope, Tree, check_glob, entry_provider, external_provider, family_frame,
    file_provider, in_view_of, kept_call, known_input, not_a_table, note_finding, note_input, now, on_behalf,
    plan_derived, snapshot_as_of, with_texts,
};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{
    DynamicEntry, ExternalFile, FileTable, FileVersion, HostRequest, Inspector, Origin, SchemaMerge, TableScanSpec,
    Wanted, failure_among, host_table, is_host_name, reader_options,
};
use crate::udtf::arguments::Arguments;
use crate::udtf::matches::{matches, no_match};
use crate::udtf::members;

/// The columns that `meta => true` adds to a view's rows: what a view has of them.
const VIEW_META: &[&str] = &["_path", "_name"];

/// What a call of `pond()` asks for.
#[derive(Debug)]
pub(super) struct Request {
    version: FileVersion,
    as_of: Option<String>,
    meta: bool,
    /// The format and the reader's options, where they are given.
    format: Option<String>,
    options: Vec<(String, String)>,
    /// The call, written the same way each time: the name of the scan.
    pub(super) name: String,
}

/// The plan of a call.
pub(super) fn plan(scope: &Arc<Scope>, directory: &PondPath, mut arguments: Arguments) -> Result<LogicalPlan> {
    let text = arguments.text()?.ok_or_else(|| arguments.error("a path or glob in quotes is missing"))?;
    let request = Request::take(&mut arguments, &text)?;
    if is_host_name(&text) {
        arguments.finish()?;
        return host_plan(scope, &text, &request);
    }
    let glob = Glob::parse_relative(directory, &text)?;
    // In quotes: the function's name may have the text in it.
    let name = request.name.replacen(&format!("'{text}'"), &format!("'{glob}'"), 1);
    let mut request = Request { name, ..request };
    arguments.finish()?;
    let call = request.name.clone();
    if request.as_of.is_none() {
        check_glob(scope, &glob)?;
    }
    let input = kept_call(scope, &call);
    if in_view_of(scope) == Some(false) {
        note_finding(scope, Findings::note_others);
    }
    let family = family_frame();
    if let Some(bound) = family.as_ref().and_then(|family| family.bind_glob(&glob, &call)) {
        request.name = bound;
    }
    let tree = match &request.as_of {
        None => scope.tree_now()?,
        Some(as_of) => scope.tree_of(now(|| async { snapshot_as_of(&scope.snapshot().await?, as_of).await })?),
    };
    let found = matches(scope, &tree, &glob)?;
    // Of a family some of whose members are planned, their files.
    let is_read = |entry: &&GlobMatch| family.as_ref().is_none_or(|family| family.reads(&glob, &entry.captures.named));
    // A directory that a wildcard happens to match is no mistake; one that was named is.
    let (files, others): (Vec<GlobMatch>, Vec<GlobMatch>) = found
        .iter()
        .filter(is_read)
        .cloned()
        .partition(|entry| matches!(entry.node.kind(), EntryKind::File | EntryKind::View | EntryKind::Dynamic));
    if files.is_empty() && others.is_empty() {
        // Of a family's globs, one may match nothing for a time.
        return match known_input(&input) {
            Some(schema) if request.name != call => nothing(&request.name, &schema),
            _ => Err(no_match(&tree, &glob)),
        };
    }
    if let Some(other) = others.iter().find(|entry| files.is_empty() || !entry.node.kind().holds_entries()) {
        return Err(not_a_table(&other.path, &other.node));
    }
    let plan = union(scope, &tree, &glob, files, &request)?;
    // What some members read is no news of the whole.
    if !family.is_some_and(|family| family.is_partial()) {
        note_input(&input, plan.schema().inner());
    }
    Ok(plan)
}

/// No rows, with the columns that a call once had.
fn nothing(name: &str, schema: &SchemaRef) -> Result<LogicalPlan> {
    let schema = Arc::new(DFSchema::try_from(Arc::clone(schema))?);
    let empty = LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema });
    Ok(LogicalPlanBuilder::from(empty).alias(TableReference::bare(name))?.build()?)
}

impl Request {
    fn take(arguments: &mut Arguments, text: &str) -> Result<Self> {
        let mut name = format!("{}('{text}'", arguments.function());
        let version = match arguments.named_number("version")? {
            None => FileVersion::Latest,
            Some(version) => {
                name.push_str(&format!(", version => {version}"));
                FileVersion::Number(version)
            }
        };
        let as_of = arguments.named_text_or_number("as_of")?;
        if let Some(as_of) = &as_of {
            name.push_str(&format!(", as_of => '{as_of}'"));
        }
        let meta = arguments.named_flag("meta")? == Some(true);
        if meta {
            name.push_str(", meta => true");
        }
        let format = arguments.named_text("format")?;
        if let Some(format) = &format {
            name.push_str(&format!(", format => '{format}'"));
        }
        let mut options = Vec::new();
        for option in reader_options() {
            if let Some(value) = arguments.named_any(option)? {
                name.push_str(&format!(", {option} => '{value}'"));
                options.push((option.to_owned(), value));
            }
        }
        name.push(')');
        Ok(Self { version, as_of, meta, format, options, name })
    }

    /// The same of host files.
    fn host(&self) -> HostRequest {
        let version = match self.version {
            FileVersion::Latest => None,
            FileVersion::Number(number) => Some(number),
        };
        HostRequest {
            format: self.format.clone(),
            options: self.options.clone(),
            version,
            as_of: self.as_of.clone(),
            meta: self.meta,
        }
    }

    fn reads_history(&self) -> bool {
        self.as_of.is_some() || self.version != FileVersion::Latest
    }
}

/// One scan for all files, and the plan of each view, united by name.
fn union(
    scope: &Arc<Scope>,
    tree: &Tree,
    glob: &Glob,
    entries: Vec<GlobMatch>,
    request: &Request,
) -> Result<LogicalPlan> {
    let pond = scope.open_now()?;
    let mut files = Vec::new();
    let mut plans = Vec::new();
    let mut families: BTreeMap<PondPath, Vec<(GlobMatch, Member)>> = BTreeMap::new();
    // DataFusion's own union would refuse a conflict of types too, but not say between which files.
    let mut merge = SchemaMerge::default();
    let wanted = request.host().wanted()?;
    let (mut failures, mut views) = (Vec::new(), Vec::new());
    for entry in entries {
        if let Some(member) = Member::of(&entry.node)? {
            families.entry(member.path.clone()).or_default().push((entry, member));
        } else if entry.node.kind() != EntryKind::File {
            let plan = view_plan(scope, tree, glob, &entry, request)?;
            merge.add(plan.schema().inner(), || Origin { name: entry.path.to_string(), version: None })?;
            plans.push(plan);
            views.push(entry.path);
        } else if request.host().is_delta() {
            let message = format!("'{}' is in the pond, and a Delta table is read outside of it alone", entry.path);
            return Err(Error::new(ErrorKind::Unsupported, message).with_path(&entry.path));
        } else {
            let table = if FileTable::is_described(&entry.node, request.version, &wanted) {
                // The metadata are those of each version; else merged parts do as well.
                let open = if request.meta { FileTable::by_version } else { FileTable::try_new };
                open(entry.path, &entry.node, request.version, &pond.attributes)?
            } else {
                match look_at(scope, &pond, &entry, request, &wanted) {
                    Ok(table) => table,
                    Err(error) => {
                        failures.push(error);
                        continue;
                    }
                }
            };
            merge.add(table.schema(), || Origin { name: table.path().to_string(), version: None })?;
            files.push((table, captures(entry.captures, request)));
        }
    }
    if let Some(failure) = failure_among(failures, files.iter().map(|(table, _)| table.path()).chain(&views)) {
        return Err(failure);
    }
    for (path, found) in families {
        let plan = members::plan(scope, tree, glob, &found, request)?;
        merge.add(plan.schema().inner(), || Origin { name: path.to_string(), version: None })?;
        plans.push(plan);
    }
    if !files.is_empty() {
        let mut capture_columns = glob.capture_names().to_vec();
        if request.meta {
            capture_columns.extend((1..=glob.positional_count()).map(|number| Arc::from(format!("_{number}"))));
        }
        let spec = TableScanSpec { files, capture_columns, meta: request.meta, ..TableScanSpec::default() };
        let provider = file_provider(&pond, spec)?;
        plans.insert(0, scan(&request.name, provider)?);
    }
    if plans.len() <= 1 {
        return plans.pop().ok_or_else(|| no_match(tree, glob));
    }
    let merged = merge.schema();
    let plans = plans.into_iter().map(|plan| with_nested(plan, &merged)).collect::<Result<Vec<_>>>()?;
    // Not by the builder, which unites two at a time: a thousand would nest as deeply.
    let united = LogicalPlan::Union(Union::try_new_by_name(plans.into_iter().map(Arc::new).collect())?);
    // Captures stand behind all columns of the files, those included that only a later view has.
    let is_added = |column: &Column| {
        let name = column.name.as_str();
        glob.capture_names().iter().any(|capture| &**capture == name) || (request.meta && name.starts_with('_'))
    };
    let (added, own): (Vec<Column>, Vec<Column>) = united.schema().columns().into_iter().partition(is_added);
    let columns = own.into_iter().chain(added).map(Expr::Column);
    Ok(LogicalPlanBuilder::from(united)
        .project(columns)?
        .alias(TableReference::bare(request.name.as_str()))?
        .build()?)
}

/// The plan with its columns of structs in the types of `merged`: DataFusion's union would match the fields of structs by their places.
fn with_nested(plan: LogicalPlan, merged: &Schema) -> Result<LogicalPlan> {
    let wider = |field: &Field| {
        let to = merged.field_with_name(field.name()).ok()?.data_type();
        (to.is_nested() && to != field.data_type()).then(|| to.clone())
    };
    if plan.schema().fields().iter().all(|field| wider(field).is_none()) {
        return Ok(plan);
    }
    let columns = plan.schema().iter().map(|(qualifier, field)| {
        let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
        match wider(field) {
            Some(to) => Expr::Cast(Cast::new(Box::new(column), to)).alias_qualified(qualifier.cloned(), field.name()),
            None => column,
        }
    });
    let columns: Vec<Expr> = columns.collect();
    Ok(LogicalPlanBuilder::from(plan).project(columns)?.build()?)
}

/// A file of which some bytes have to be looked at.
fn look_at(
    scope: &Arc<Scope>,
    pond: &OpenPond,
    entry: &GlobMatch,
    request: &Request,
    wanted: &Wanted,
) -> Result<FileTable> {
    let state = scope.session_state()?;
    now(|| async {
        let inspector = Inspector { session: &state, objects: &pond.objects, cache: &pond.attributes };
        FileTable::open(entry.path.clone(), &entry.node, request.version, wanted, &inspector).await
    })
}

/// The texts of a file's capture columns: the named ones, and with metadata the others too.
fn captures(captures: Captures, request: &Request) -> Vec<Option<Arc<str>>> {
    let named = captures.named.into_iter().map(Some);
    if request.meta { named.chain(captures.positional).collect() } else { named.collect() }
}

/// The rows of a view, or of an external file, with the glob's captures as columns.
fn view_plan(
    scope: &Arc<Scope>,
    tree: &Tree,
    glob: &Glob,
    entry: &GlobMatch,
    request: &Request,
) -> Result<LogicalPlan> {
    let state = own_state(entry, request)?;
    if state.is_none() {
        check_no_history(&entry.path, entry.node.kind(), request)?;
    }
    let plan = if let Some(file) = state {
        let provider = now(|| on_behalf(external_provider(scope, tree.stored(), &entry.path, &file)))?;
        scan(entry.path.as_str(), provider)?
    } else if entry.node.kind() == EntryKind::View {
        let plan = now(|| on_behalf(plan_derived(scope, &entry.path)))?;
        LogicalPlanBuilder::from(plan).alias(TableReference::bare(entry.path.as_str()))?.build()?
    } else {
        let provider = now(|| on_behalf(entry_provider(scope, tree.stored(), &entry.path, &entry.node)))?;
        scan(entry.path.as_str(), provider)?
    };
    let own = plan.schema().columns();
    let extra = extra_columns(glob, entry, request);
    check_names(&own, extra.iter().map(|(name, _)| name), &entry.path)?;
    let plan = with_texts(plan, &extra)?;
    Ok(LogicalPlanBuilder::from(plan).alias(TableReference::bare(request.name.as_str()))?.build()?)
}

/// The external table in the state that a call asks for, where it has states of its own.
fn own_state(entry: &GlobMatch, request: &Request) -> Result<Option<ExternalFile>> {
    if !request.reads_history() {
        return Ok(None);
    }
    let host = request.host();
    Ok(match DynamicEntry::of(&entry.node, &entry.path)? {
        Some(DynamicEntry::File(file)) => file.in_state(host.version, host.as_of.as_deref()),
        _ => None,
    })
}

pub(super) fn check_no_history(path: &PondPath, kind: EntryKind, request: &Request) -> Result<()> {
    if request.reads_history() {
        let what = match kind {
            EntryKind::Dynamic => "table outside of the pond",
            kind => kind.as_str(),
        };
        let message = format!("'{path}' is a {what}, which has no versions; read its inputs with 'version' or 'as_of'");
        return Err(Error::new(ErrorKind::Unsupported, message).with_path(path));
    }
    Ok(())
}

/// The columns that a call adds to those of a view: captures, with metadata its path and name, and the other captures.
pub(super) fn extra_columns(glob: &Glob, entry: &GlobMatch, request: &Request) -> Vec<(String, Option<Arc<str>>)> {
    let named = glob.capture_names().iter().zip(&entry.captures.named);
    let mut extra: Vec<_> = named.map(|(name, text)| (name.to_string(), Some(Arc::clone(text)))).collect();
    if request.meta {
        let texts = [entry.path.as_str(), entry.path.name().unwrap_or("/")];
        extra.extend(VIEW_META.iter().zip(texts).map(|(name, text)| ((*name).to_owned(), Some(Arc::from(text)))));
        extra.extend((1..).zip(&entry.captures.positional).map(|(number, text)| (format!("_{number}"), text.clone())));
    }
    extra
}

/// Refuses a column that a call adds where a view has one of that name.
pub(super) fn check_names<'a>(
    own: &[Column],
    mut added: impl Iterator<Item = &'a String>,
    path: &PondPath,
) -> Result<()> {
    match added.find(|name| own.iter().any(|column| column.name == **name)) {
        Some(name) => {
            let message = format!("'{path}' has a column '{name}' already; give the capture another name");
            Err(Error::new(ErrorKind::Plan, message).with_path(path))
        }
        None => Ok(()),
    }
}

fn scan(name: &str, provider: Arc<dyn TableProvider>) -> Result<LogicalPlan> {
    Ok(LogicalPlanBuilder::scan(TableReference::bare(name), provider_as_source(provider), None)?.build()?)
}

fn host_plan(scope: &Arc<Scope>, text: &str, request: &Request) -> Result<LogicalPlan> {
    if scope.host_files == HostFiles::Refused {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("'{text}' is a host file, and host files are switched off"),
        ));
    }
    let state = scope.session_state()?;
    let host = request.host();
    let provider = now(|| host_table(&state, text, &host))?;
    scan(&request.name, provider)
}
