//! The views that are being planned, for the look-ups that are made on their behalf.

use std::future::Future;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use parking_lot::Mutex;
use tinyfs::PondPath;

use crate::catalog::captures::FamilyFrame;
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
}

/// Runs `future`, which plans a view, with `frame` innermost.
///
/// # Errors
/// [`ErrorKind::Limit`] for a view that reads itself, with the chain, or one nested deeper than [`MAX_VIEW_DEPTH`].
pub(crate) async fn within<T>(frame: Frame, future: impl Future<Output = T>) -> Result<T> {
    let chain = PLANNING.try_with(Arc::clone).unwrap_or_else(|_| Arc::from([]));
    let path = &frame.path;
    let is_same = |above: &Frame| above.path == *path && Arc::ptr_eq(&above.scope, &frame.scope);
    if let Some(start) = chain.iter().position(is_same) {
        let chain = chain[start..].iter().map(|frame| &frame.path).chain([path]);
        let names: Vec<String> = chain.map(|path| format!("'{path}'")).collect();
        let message = format!("the view '{path}' reads itself: {}", names.join(" → "));
        return Err(Error::new(ErrorKind::Limit, message).with_path(path));
    }
    if let Some(outermost) = chain.first().filter(|_| chain.len() >= MAX_VIEW_DEPTH) {
        let outermost = &outermost.path;
        let message =
            format!("the view '{outermost}' reads views that read views, more than {MAX_VIEW_DEPTH} deep: at '{path}'");
        return Err(Error::new(ErrorKind::Limit, message).with_path(outermost));
    }
    let chain: Arc<[Frame]> = chain.iter().cloned().chain([frame]).collect();
    Ok(PLANNING.scope(chain, future).await)
}

/// Whether a view is being planned: names are then looked up on its behalf.
pub(crate) fn in_view() -> bool {
    PLANNING.try_with(|chain| !chain.is_empty()).unwrap_or(false)
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
