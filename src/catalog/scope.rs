//! [`Scope`]: what names are looked up in, for one registration of a pond.

use std::future::Future;
use std::sync::{Arc, OnceLock, Weak};

use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use parking_lot::RwLock;
use tinyfs::Snapshot;

use crate::catalog::now::now;
use crate::catalog::statement::Statement;
use crate::catalog::view::ViewCache;
use crate::error::{Error, ErrorKind, Result};
use crate::pond::{OpenPond, Pond};

/// Whether names such as `./x.csv` may reach the host's files and URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostFiles {
    /// They may, for reading.
    #[default]
    Allowed,
    /// They are refused.
    Refused,
}

/// What names are looked up in: a pond under the name of a catalog, and, while a session runs a statement, that
/// statement's transaction. Shared by the catalog, its schemas and its table functions.
#[derive(Debug)]
pub(crate) struct Scope {
    /// The name of the catalog, and of the table function.
    pub(crate) name: String,
    pub(crate) host_files: HostFiles,
    pub(crate) views: ViewCache,
    pond: Pond,
    /// The session that this is registered in; weak, since that holds the catalog that holds this.
    session: OnceLock<Weak<RwLock<SessionState>>>,
    statement: RwLock<Option<Arc<Statement>>>,
}

tokio::task_local! {
    /// Set while a file is planned apart from the session's statement: what is looked up in which scope.
    static PINNED: (Arc<Scope>, Arc<Statement>);
}

/// While it lives, names are looked up in a statement's transaction.
#[derive(Debug)]
pub(crate) struct Bound<'a>(&'a Scope);

impl Scope {
    pub(crate) fn new(pond: &Pond, name: &str, host_files: HostFiles) -> Self {
        Self {
            name: name.to_owned(),
            host_files,
            views: ViewCache::default(),
            pond: pond.clone(),
            session: OnceLock::new(),
            statement: RwLock::new(None),
        }
    }

    /// Tells which session this belongs to: views are planned with its functions and settings.
    pub(crate) fn attach(&self, session: Weak<RwLock<SessionState>>) {
        // A second registration in the same session finds it set, to the same.
        let _ = self.session.set(session);
    }

    /// The session's state as it is now; without a session, DataFusion's defaults.
    ///
    /// Not to be called from the synchronous traits of the catalog: DataFusion holds the session's lock there.
    pub(crate) fn session_state(&self) -> Result<SessionState> {
        match self.session.get() {
            Some(session) => match session.upgrade() {
                Some(state) => Ok(state.read().clone()),
                None => Err(Error::new(ErrorKind::Usage, format!("the session of catalog '{}' has ended", self.name))),
            },
            None => Ok(SessionStateBuilder::new_with_default_features().build()),
        }
    }

    /// Looks names up in `statement` until the result is dropped.
    pub(crate) fn bind(&self, statement: Arc<Statement>) -> Bound<'_> {
        *self.statement.write() = Some(statement);
        Bound(self)
    }

    /// Looks names up in `statement` on behalf of `work` alone, whatever statement the session runs meanwhile.
    pub(crate) async fn pinned<F: Future>(self: &Arc<Self>, statement: Arc<Statement>, work: F) -> F::Output {
        PINNED.scope((Arc::clone(self), statement), work).await
    }

    /// The statement that is being planned, where a session says so.
    pub(crate) fn statement(&self) -> Option<Arc<Statement>> {
        let pinned =
            PINNED.try_with(|(scope, statement)| std::ptr::eq(Arc::as_ptr(scope), self).then(|| Arc::clone(statement)));
        pinned.ok().flatten().or_else(|| self.statement.read().clone())
    }

    /// The pond that the statement works on.
    pub(crate) async fn open(&self) -> Result<OpenPond> {
        match self.statement() {
            Some(statement) => Ok(statement.pond().clone()),
            None => self.pond.opened().await.cloned(),
        }
    }

    /// What names are looked up in: the statement's snapshot, else the newest.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot> {
        match self.statement() {
            Some(statement) => Ok(statement.snapshot().clone()),
            None => self.pond.snapshot().await,
        }
    }

    /// As [`open`](Self::open), for synchronous callers.
    pub(crate) fn open_now(&self) -> Result<OpenPond> {
        now(|| self.open())
    }

    /// As [`snapshot`](Self::snapshot), for synchronous callers.
    pub(crate) fn snapshot_now(&self) -> Result<Snapshot> {
        now(|| self.snapshot())
    }
}

impl Drop for Bound<'_> {
    fn drop(&mut self) {
        *self.0.statement.write() = None;
    }
}
