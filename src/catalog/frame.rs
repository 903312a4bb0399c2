//! The views that are being planned, for the look-ups that are made on their behalf.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::TableReference;
use parking_lot::Mutex;
use tinyfs::{Glob, PondPath};

use crate::catalog::captures::FamilyFrame;
use crate::catalog::family::Template;
use crate::catalog::findings::Findings;
use crate::catalog::own_name::POND;
use crate::catalog::scope::Scope;
use crate::catalog::view_definition::ViewInput;
use crate::error::{Error, ErrorKind, Result};

/// How deep views may refer to views.
pub(crate) const MAX_VIEW_DEPTH: usize = 64;

tokio::task_local! {
    /// The views that are being planned, outermost first.
    static PLANNING: Arc<[Frame]>;
}

/// A view that is being planned.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// Where it is looked up: paths of two ponds have nothing to do with each other.
    pub(crate) scope: Arc<Scope>,
    pub(crate) path: PondPath,
    /// Set for a family.
    pub(crate) family: Option<Arc<FamilyFrame>>,
    /// What it has been found to read.
    pub(crate) inputs: Arc<Mutex<Vec<ViewInput>>>,
    /// What it read when it was made.
    pub(crate) known: Arc<[ViewInput]>,
    /// What is found of the views that it names.
    pub(crate) findings: Arc<Findings>,
}

/// Views that read views without end, or as good as, in the words of the error that this is the source of: which members of a family are
/// planned makes no difference to that.
#[derive(Debug)]
pub(crate) struct Endless(String);

impl Endless {
    fn error(path: &PondPath, message: String) -> Error {
        Error::new(ErrorKind::Limit, message.as_str()).with_path(path).with_source(Self(message))
    }
}

impl fmt::Display for Endless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Endless {}

/// Runs `future`, which plans a view, with `frame` innermost.
///
/// # Errors
/// [`ErrorKind::Limit`] for a view that reads itself, with the chain, or one nested deeper than [`MAX_VIEW_DEPTH`].
pub(crate) async fn within<T>(frame: Frame, future: impl Future<Output = T>) -> Result<T> {
    let chain = PLANNING.try_with(Arc::clone).unwrap_or_else(|_| Arc::from([]));
    let path = &frame.path;
    if let Some(error) = cycle(&chain, &frame.scope, path) {
        return Err(error);
    }
    if let Some(outermost) = chain.first().filter(|_| chain.len() >= MAX_VIEW_DEPTH) {
        let outermost = &outermost.path;
        let message =
            format!("the view '{outermost}' reads views that read views, more than {MAX_VIEW_DEPTH} deep: at '{path}'");
        return Err(Endless::error(outermost, message));
    }
    let chain: Arc<[Frame]> = chain.iter().cloned().chain([frame]).collect();
    Ok(PLANNING.scope(chain, future).await)
}

/// The error for a view that is read once more while it is planned, with the chain from it on.
fn cycle(chain: &[Frame], scope: &Scope, path: &PondPath) -> Option<Error> {
    let is_same = |above: &Frame| above.path == *path && std::ptr::eq(Arc::as_ptr(&above.scope), scope);
    let start = chain.iter().position(is_same)?;
    let chain = chain[start..].iter().map(|frame| &frame.path).chain([path]);
    let names: Vec<String> = chain.map(|path| format!("'{path}'")).collect();
    let message = format!("the view '{path}' reads itself: {}", names.join(" → "));
    Some(Endless::error(path, message))
}

/// The error for reading `path`, if that is a view that is being planned. One that is being made is not in the pond yet, so that this
/// cannot be left to the look-up.
pub(crate) fn reads_itself(scope: &Scope, path: &PondPath) -> Option<Error> {
    PLANNING.try_with(|chain| cycle(chain, scope, path)).ok().flatten()
}

/// As [`reads_itself`], for what a glob will match once that view is there, or members of that family are.
///
/// # Errors
/// That.
pub(crate) fn check_glob(scope: &Scope, glob: &Glob) -> Result<()> {
    let chain = PLANNING.try_with(Arc::clone).unwrap_or_else(|_| Arc::from([]));
    for (at, frame) in chain.iter().enumerate() {
        let path = match &frame.family {
            // A glob that supplies members is checked when the family is made.
            Some(family) if at + 1 == chain.len() && family.has_captures_of(glob) => continue,
            Some(_) => Template::parse(&frame.path)?.and_then(|template| template.any_member()),
            None => Some(frame.path.clone()),
        };
        if let Some(path) = path
            && glob.matches(&path)?.is_some()
            && let Some(error) = cycle(&chain, scope, &frame.path)
        {
            return Err(error);
        }
    }
    Ok(())
}

/// Whether a view is being planned: names are then looked up on its behalf.
pub(crate) fn in_view() -> bool {
    PLANNING.try_with(|chain| !chain.is_empty()).unwrap_or(false)
}

/// Notes what is found of a view: with the view that is being planned and names it, else with the statement.
pub(crate) fn note_finding(scope: &Scope, note: impl FnOnce(&Findings)) {
    let view = PLANNING.try_with(|chain| chain.last().map(|frame| Arc::clone(&frame.findings))).ok().flatten();
    match (view, scope.statement()) {
        (Some(view), _) => note(view.as_ref()),
        (None, Some(statement)) => note(statement.findings()),
        // Outside of a session's statements there is nobody to tell.
        (None, None) => {}
    }
}

/// The views that are being planned, outermost first.
pub(crate) fn views_in_planning() -> Vec<PondPath> {
    PLANNING.try_with(|chain| chain.iter().map(|frame| frame.path.clone()).collect()).unwrap_or_default()
}

/// Whether the view that is being planned is one of this pond; `None` where none is.
pub(crate) fn in_view_of(scope: &Scope) -> Option<bool> {
    let is_of = |chain: &Arc<[Frame]>| Some(std::ptr::eq(Arc::as_ptr(&chain.last()?.scope), scope));
    PLANNING.try_with(is_of).ok().flatten()
}

/// The family whose query is being planned.
pub(crate) fn family_frame() -> Option<Arc<FamilyFrame>> {
    PLANNING.try_with(|chain| chain.last().and_then(|frame| frame.family.clone())).ok().flatten()
}

/// Notes that the view that is being planned reads the table at `path`.
pub(crate) fn note_table(scope: &Scope, path: &PondPath, schema: &SchemaRef) {
    match (in_view_of(scope), path.parent(), path.name()) {
        // Another pond has paths of its own.
        (Some(false), Some(directory), Some(name)) => {
            let table = TableReference::full(scope.name.as_str(), directory.as_str(), name);
            note_input(&table.to_quoted_string(), schema);
        }
        _ => note_input(path.as_str(), schema),
    }
}

/// What a view that is being planned keeps a call of `pond()` as: its own pond may be read under another name later.
pub(crate) fn kept_call(scope: &Scope, call: &str) -> String {
    match in_view_of(scope) {
        Some(false) => call.to_owned(),
        _ => call.replacen(&scope.name, POND, 1),
    }
}

/// Notes what the view that is being planned reads.
pub(crate) fn note_input(name: &str, schema: &SchemaRef) {
    let note = |chain: &Arc<[Frame]>| {
        let Some(frame) = chain.last() else { return };
        let mut inputs = frame.inputs.lock();
        if !inputs.iter().any(|input| input.name == name) {
            inputs.push(ViewInput { name: name.to_owned(), schema: Arc::clone(schema) });
        }
    };
    // Outside of a view there is nobody to tell.
    let _ = PLANNING.try_with(note);
}

/// The columns that an input had when the view that is being planned was made.
pub(crate) fn known_input(name: &str) -> Option<SchemaRef> {
    let known = |chain: &Arc<[Frame]>| {
        let frame = chain.last()?;
        Some(Arc::clone(&frame.known.iter().find(|input| input.name == name)?.schema))
    };
    PLANNING.try_with(known).ok().flatten()
}

/// A look-up on behalf of the views that are being planned here, wherever it is then polled.
pub(crate) fn on_behalf<F: Future>(future: F) -> impl Future<Output = F::Output> {
    PLANNING.scope(PLANNING.try_with(Arc::clone).unwrap_or_else(|_| Arc::from([])), future)
}
