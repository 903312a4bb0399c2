//! Which files a listing is for, told to a store that has work to do for each file it lists.
//!
//! A listing tells sizes, and has no other filter than a prefix. The size of a derived file is known when its bytes are made: who is about to
//! throw most of a listing away says so here, and a store that looks makes the rest alone. One that does not look lists all, as ever.

use std::cell::Cell;
use std::sync::Arc;

use object_store::path::Path;

/// Tells of a file's place whether it is wanted.
pub(super) type Wanted = dyn Fn(&Path) -> bool + Send + Sync;

tokio::task_local! {
    static WANTED: Cell<Option<Arc<Wanted>>>;
}

/// Runs `begin`, which begins a listing that only wants some files.
pub(super) fn begin_listing<T>(wanted: Arc<Wanted>, begin: impl FnOnce() -> T) -> T {
    WANTED.sync_scope(Cell::new(Some(wanted)), begin)
}

/// Runs `listing`, which only wants some files.
pub(super) async fn listing<T>(wanted: Arc<Wanted>, listing: impl Future<Output = T>) -> T {
    WANTED.scope(Cell::new(Some(wanted)), listing).await
}

/// What the listing that begins is for; `None` for everything. Taken away, for what it makes may list too.
pub(super) fn take() -> Option<Arc<Wanted>> {
    WANTED.try_with(Cell::take).ok().flatten()
}
