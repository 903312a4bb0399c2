//! [`Scope`]: what names are looked up in, for one registration of a pond.

use std::sync::{Arc, OnceLock, Weak};

use datafusion::catalog::{CatalogProviderList, MemoryCatalogProviderList};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::planner::RelationPlanner;
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
    session: OnceLock<Session>,
    statement: RwLock<Option<Arc<Statement>>>,
}

/// The session that views are planned in. Nothing strong leads back to it, since it holds the catalog that holds this.
#[derive(Debug)]
enum Session {
    /// As it is now.
    Context(Weak<RwLock<SessionState>>),
    /// As it was built, before this registration.
    Built { before: Box<SessionState>, catalogs: Weak<dyn CatalogProviderList>, planner: MakePlanner },
}

/// Makes the planner of a scope's table functions, which are a layer above.
pub(crate) type MakePlanner = fn(Arc<Scope>) -> Arc<dyn RelationPlanner>;

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
        let _ = self.session.set(Session::Context(session));
    }

    /// As [`attach`](Self::attach), to a session that is being built and was `before` so far.
    pub(crate) fn attach_built(&self, mut before: SessionState, planner: MakePlanner) {
        let catalogs = Arc::downgrade(before.catalog_list());
        before.register_catalog_list(Arc::new(MemoryCatalogProviderList::new()));
        let _ = self.session.set(Session::Built { before: Box::new(before), catalogs, planner });
    }

    /// The session's state as it is now; without a session, DataFusion's defaults.
    ///
    /// Not to be called from the synchronous traits of the catalog: DataFusion holds the session's lock there.
    pub(crate) fn session_state(self: &Arc<Self>) -> Result<SessionState> {
        let ended = || Error::new(ErrorKind::Usage, format!("the session of catalog '{}' has ended", self.name));
        match self.session.get() {
            Some(Session::Context(session)) => Ok(session.upgrade().ok_or_else(ended)?.read().clone()),
            Some(Session::Built { before, catalogs, planner }) => {
                let mut state = SessionState::clone(before);
                state.register_catalog_list(catalogs.upgrade().ok_or_else(ended)?);
                let _ = state.register_relation_planner(planner(Arc::clone(self)));
                Ok(state)
            }
            None => Ok(SessionStateBuilder::new_with_default_features().build()),
        }
    }

    /// Looks names up in `statement` until the result is dropped.
    pub(crate) fn bind(&self, statement: Arc<Statement>) -> Bound<'_> {
        *self.statement.write() = Some(statement);
        Bound(self)
    }

    /// The statement that is being planned, where a session says so.
    pub(crate) fn statement(&self) -> Option<Arc<Statement>> {
        self.statement.read().clone()
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
