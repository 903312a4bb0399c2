//! From a name to a table.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::logical_expr::LogicalPlan;
use tinyfs::{Definition, EntryKind, FactoryContext, Node, PondPath, Snapshot};

use crate::catalog::family::{Member, is_family};
use crate::catalog::frame::{in_view, note_finding, note_table, reads_itself};
use crate::catalog::open_pond::OpenPond;
use crate::catalog::scope::Scope;
use crate::catalog::unplannable::broken_table;
use crate::catalog::view::{derived_plan, view_provider};
use crate::catalog::writer::{AutocommitWriter, StatementWriter};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{
    DynamicEntry, ExternalFile, FactoryChild, FileTable, FileTableProvider, FileVersion, HostFiles, HostRequest,
    Inspector, NotNull, TableScanSpec, TableWriter, Wanted, host_table, is_folder_name, is_host_name,
};

/// What a table name names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PondName {
    /// A file of the host, or a URL.
    Host(String),
    /// A path in the pond.
    Path(PondPath),
}

impl PondName {
    /// Reads `name` as it is understood in `directory`.
    pub(crate) fn parse(directory: &PondPath, name: &str) -> Result<Self> {
        // The URL of a path of the pond that is asked: as a table, it is what the path is.
        if let Some(path) = name.strip_prefix("pond://").filter(|path| path.starts_with('/')) {
            return Ok(Self::Path(PondPath::parse(path)?));
        }
        if is_host_name(name) { Ok(Self::Host(name.to_owned())) } else { Ok(Self::Path(directory.join(name)?)) }
    }
}

/// The table that `name` names in `directory`, if there is one.
///
/// A name without `/` that leads nowhere is `None`, since DataFusion also asks for names of table functions here. A
/// path that leads nowhere is an error that says what is near.
pub(crate) async fn table(
    scope: &Arc<Scope>,
    directory: &PondPath,
    name: &str,
) -> Result<Option<Arc<dyn TableProvider>>> {
    let path = match PondName::parse(directory, name)? {
        PondName::Path(path) => path,
        PondName::Host(name) => {
            if scope.host_files == HostFiles::Refused {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("'{name}' is a host file, and host files are switched off"),
                ));
            }
            return host_table(&scope.session_state()?, &name, &HostRequest::default()).await.map(Some);
        }
    };
    let tree = scope.tree().await?;
    let statement = scope.statement();
    // A view reads what the statement writes to, as far as it names it.
    let is_target = !in_view() && statement.as_ref().and_then(|statement| statement.target()) == Some(&path);
    let entry = match tree.lookup(&path) {
        Ok(entry) => entry,
        Err(error) if error.is_not_found() => {
            if let Some(error) = reads_itself(scope, &path).filter(|_| name.contains('/')) {
                return Err(error);
            }
            // Outside of a session's statements nobody tells what is about to be made.
            let Some(statement) = statement.filter(|_| !is_target && name.contains('/')) else { return Ok(None) };
            statement.record_read(&path);
            return Err(error);
        }
        Err(error) => return Err(error),
    };
    // Two members of one name cannot be read, and are in nobody's way.
    if is_target && Member::of(&entry.node)?.is_some_and(|member| member.check(&path).is_err()) {
        return Ok(None);
    }
    let provider = entry_provider(scope, tree.stored(), &path, &entry.node).await?;
    note_table(scope, &path, &provider.schema());
    if let Some(reason) = broken_table(&provider) {
        note_finding(scope, |findings| findings.note_broken(reason));
    }
    Ok(Some(provider))
}

/// The plan of the derived file at `path`, as the running statement sees it: a view, or a member of a family.
///
/// # Errors
/// [`ErrorKind::NotFound`]; [`ErrorKind::WrongKind`] for everything else; what planning its text says.
pub(crate) async fn plan_derived(scope: &Arc<Scope>, path: &PondPath) -> Result<LogicalPlan> {
    let entry = scope.tree().await?.lookup(path)?;
    if let Some(statement) = scope.statement() {
        statement.record_read(path);
    }
    if entry.kind() != EntryKind::View || is_family(&entry.node) {
        return Err(not_a_table(path, &entry.node));
    }
    derived_plan(scope, path, &entry.node).await
}

/// The table that the entry at `path` is.
///
/// # Errors
/// [`ErrorKind::WrongKind`] for a directory, a data file, or a dynamic entry.
pub(crate) async fn entry_provider(
    scope: &Arc<Scope>,
    snapshot: &Snapshot,
    path: &PondPath,
    node: &Arc<Node>,
) -> Result<Arc<dyn TableProvider>> {
    let statement = scope.statement();
    // The target of a write is not read by being named; in a view it is.
    let is_target = !in_view() && statement.as_ref().is_some_and(|statement| statement.target() == Some(path));
    if let Some(statement) = &statement
        && !is_target
    {
        statement.record_read(path);
    }
    match node.kind() {
        EntryKind::File => {
            let pond = scope.open().await?;
            let wanted = Wanted::default();
            let table = if FileTable::is_described(node, FileVersion::Latest, &wanted) {
                FileTable::try_new(path.clone(), node, FileVersion::Latest, &pond.attributes)?
            } else {
                let state = scope.session_state()?;
                let inspector = Inspector { session: &state, objects: &pond.objects, cache: &pond.attributes };
                FileTable::open(path.clone(), node, FileVersion::Latest, &wanted, &inspector).await?
            };
            let writer: Option<Arc<dyn TableWriter>> = match statement {
                Some(statement) if is_target => Some(Arc::new(StatementWriter { statement, path: path.clone() })),
                Some(_) => None,
                None => Some(Arc::new(AutocommitWriter { base: snapshot.clone(), path: path.clone() })),
            };
            let not_null = if is_target { NotNull::LeftToSink } else { NotNull::Shown };
            file_provider(
                &pond,
                TableScanSpec { files: vec![(table, Vec::new())], writer, not_null, ..TableScanSpec::default() },
            )
        }
        EntryKind::View if !is_family(node) => view_provider(scope, path, node).await,
        EntryKind::Dynamic => match DynamicEntry::of(node, path)?.ok_or_else(|| not_a_table(path, node))? {
            DynamicEntry::File(file) => external_provider(scope, snapshot, path, &file).await,
            DynamicEntry::Made(definition) => made_provider(scope, path, node, definition).await,
        },
        _ => Err(not_a_table(path, node)),
    }
}

/// The table that an external entry at `path` stands for.
pub(crate) async fn external_provider(
    scope: &Arc<Scope>,
    snapshot: &Snapshot,
    path: &PondPath,
    file: &ExternalFile,
) -> Result<Arc<dyn TableProvider>> {
    let state = scope.session_state()?;
    if file.is_on_host() {
        if scope.host_files == HostFiles::Refused {
            let message = format!("'{path}' is a host file, '{}', and host files are switched off", file.location);
            return Err(Error::new(ErrorKind::Unsupported, message).with_path(path));
        }
        return host_table(&state, &file.location, &file.request()?).await;
    }
    let target = PondPath::parse(&file.location)?;
    if let Some(statement) = scope.statement() {
        statement.record_read(&target);
    }
    let node = snapshot.lookup(&target)?.node;
    let pond = scope.open().await?;
    let inspector = Inspector { session: &state, objects: &pond.objects, cache: &pond.attributes };
    let table = FileTable::open(target, &node, FileVersion::Latest, &file.wanted()?, &inspector).await?;
    file_provider(&pond, TableScanSpec { files: vec![(table, Vec::new())], ..TableScanSpec::default() })
}

/// The table that an entry at `path` is that a factory made, or shows in a directory.
async fn made_provider(
    scope: &Arc<Scope>,
    path: &PondPath,
    node: &Node,
    definition: Definition,
) -> Result<Arc<dyn TableProvider>> {
    let child = FactoryChild::of(node)?;
    let entry = child.as_ref().map_or_else(|| Ok(path.clone()), |child| PondPath::parse(&child.entry))?;
    let context = factory_context(scope, &entry, definition)?;
    let factory = scope.factories().of_entry(&context.definition.factory, &entry)?;
    let state = scope.session_state()?;
    let name = child.as_ref().map(|child| child.name.as_str());
    factory.table(&state, &context, name).await.map_err(|error| match error.path() {
        Some(_) => error,
        None => Error::new(error.kind(), format!("cannot read '{path}'")).with_path(path).with_source(error),
    })
}

/// What the factory of the entry at `path` is asked with.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for a source outside of the pond where those are switched off.
pub(crate) fn factory_context(scope: &Scope, path: &PondPath, definition: Definition) -> Result<FactoryContext> {
    let outside: Arc<dyn tinyfs::Outside> = Arc::clone(&scope.outside) as _;
    if let Some(location) = definition.location.as_deref().filter(|location| is_folder_name(location)) {
        outside.check_host(location).map_err(|error| error.with_path(path))?;
    }
    Ok(FactoryContext { path: path.clone(), definition: Arc::new(definition), outside })
}

/// A provider over files of the pond.
pub(crate) fn file_provider(pond: &OpenPond, spec: TableScanSpec) -> Result<Arc<dyn TableProvider>> {
    Ok(Arc::new(FileTableProvider::try_new(spec, &pond.objects)?))
}

/// The error for an entry that holds no rows.
pub(crate) fn not_a_table(path: &PondPath, node: &Node) -> Error {
    if is_family(node) {
        let message = format!("'{path}' is a family of views, not a table; pond('{path}') reads all its members");
        return Error::new(ErrorKind::WrongKind, message).with_path(path);
    }
    let kind = node.kind();
    let hint = match kind {
        EntryKind::Directory | EntryKind::DynamicDirectory => {
            format!("; list it with pond_ls('{path}/*'), or read the files in it with pond('{path}/*')")
        }
        _ => String::new(),
    };
    Error::new(ErrorKind::WrongKind, format!("'{path}' is a {}, not a table{hint}", kind.as_str())).with_path(path)
}

/// Whether an entry is listed as a table.
pub(crate) fn is_table(node: &Node) -> bool {
    match node.kind() {
        EntryKind::View => !is_family(node),
        EntryKind::Dynamic => true,
        EntryKind::File => FileTable::is_table(node),
        _ => false,
    }
}
