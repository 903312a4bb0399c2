//! [`Scope`]: what names are looked up in, for one registration of a pond.

use std::future::Future;
use std::sync::{Arc, OnceLock, Weak};

use datafusion::catalog::{CatalogProviderList, MemoryCatalogProviderList};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::planner::RelationPlanner;
use parking_lot::RwLock;
use tinyfs::{PondPath, Snapshot};

use crate::catalog::listed::Lister;
use crate::catalog::now::now;
use crate::catalog::open_pond::{LazyPond, OpenPond};
use crate::catalog::own_name::{CatalogsInView, POND};
use crate::catalog::statement::Statement;
use crate::catalog::tree::Tree;
use crate::catalog::view_cache::{Circumstances, ViewCache};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{Factories, HostFiles, StoreFiles};

/// What names are looked up in: a pond under the name of a catalog, and, while a session runs a statement, that
/// statement's transaction. Shared by the catalog, its schemas and its table functions.
#[derive(Debug)]
pub(crate) struct Scope {
    /// The name of the catalog, and of the table function.
    pub(crate) name: String,
    pub(crate) host_files: HostFiles,
    /// What factories reach outside of the pond.
    pub(crate) outside: Arc<StoreFiles>,
    pub(crate) views: ViewCache,
    pond: Arc<LazyPond>,
    session: OnceLock<Session>,
    statement: RwLock<Option<Arc<Statement>>>,
}

tokio::task_local! {
    /// Set while a file is planned apart from the session's statement: what is looked up in which scope.
    static PINNED: (Arc<Scope>, Arc<Statement>);
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
    pub(crate) fn new(pond: Arc<LazyPond>, name: &str, host_files: HostFiles) -> Self {
        Self {
            name: name.to_owned(),
            host_files,
            outside: Arc::new(StoreFiles::new(host_files)),
            views: ViewCache::default(),
            pond,
            session: OnceLock::new(),
            statement: RwLock::new(None),
        }
    }

    /// Tells which session this belongs to: views are planned with its functions and settings.
    pub(crate) fn attach(&self, session: Weak<RwLock<SessionState>>) {
        if let Some(state) = session.upgrade() {
            self.outside.attach(state.read().runtime_env());
        }
        // A second registration in the same session finds it set, to the same.
        let _ = self.session.set(Session::Context(session));
    }

    /// As [`attach`](Self::attach), to a session that is being built and was `before` so far.
    pub(crate) fn attach_built(&self, mut before: SessionState, planner: MakePlanner) {
        self.outside.attach(before.runtime_env());
        let catalogs = Arc::downgrade(before.catalog_list());
        before.register_catalog_list(Arc::new(MemoryCatalogProviderList::new()));
        let _ = self.session.set(Session::Built { before: Box::new(before), catalogs, planner });
    }

    /// The session's state as it is now; without a session, DataFusion's defaults.
    ///
    /// Not to be called from the synchronous traits of the catalog: DataFusion holds the session's lock there.
    pub(crate) fn session_state(self: &Arc<Self>) -> Result<SessionState> {
        match self.session.get() {
            Some(Session::Context(session)) => Ok(session.upgrade().ok_or_else(|| self.ended())?.read().clone()),
            Some(Session::Built { before, catalogs, planner }) => {
                let mut state = SessionState::clone(before);
                state.register_catalog_list(catalogs.upgrade().ok_or_else(|| self.ended())?);
                let _ = state.register_relation_planner(planner(Arc::clone(self)));
                Ok(state)
            }
            None => Ok(SessionStateBuilder::new_with_default_features().build()),
        }
    }

    /// What plans of views depend on beside the pond, as it is now.
    pub(crate) fn circumstances(&self) -> Result<Circumstances> {
        match self.session.get() {
            Some(Session::Context(session)) => {
                let state = session.upgrade().ok_or_else(|| self.ended())?;
                let circumstances = Circumstances::of(&state.read());
                Ok(circumstances)
            }
            Some(Session::Built { before, .. }) => Ok(Circumstances::of(before)),
            None => Ok(Circumstances::default()),
        }
    }

    fn ended(&self) -> Error {
        Error::new(ErrorKind::Usage, format!("the session of catalog '{}' has ended", self.name))
    }

    /// The session's state as the text of a view made in `directory` is planned with it, for a statement the same each time.
    pub(crate) fn session_in(self: &Arc<Self>, directory: &PondPath) -> Result<Arc<SessionState>> {
        let statement = self.statement();
        if let Some(known) = statement.as_ref().and_then(|statement| statement.session_of(directory)) {
            return Ok(known);
        }
        let mut state = self.session_state()?;
        let catalog = &mut state.config_mut().options_mut().catalog;
        catalog.default_catalog.clone_from(&self.name);
        directory.as_str().clone_into(&mut catalog.default_schema);
        if self.name != POND {
            let all = Arc::clone(state.catalog_list());
            state.register_catalog_list(Arc::new(CatalogsInView { own: self.name.clone(), all }));
        }
        let state = Arc::new(state);
        if let Some(statement) = statement {
            statement.keep_session(directory, &state);
        }
        Ok(state)
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

    /// The factories of the pond's dynamic entries.
    pub(crate) fn factories(&self) -> &Arc<Factories> {
        self.pond.factories()
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

    /// As [`snapshot`](Self::snapshot), with families of views as their members.
    pub(crate) async fn tree(&self) -> Result<Tree> {
        match self.statement() {
            Some(statement) => Ok(statement.tree().clone()),
            None => Ok(self.pond.opened().await?.trees.tree(self.pond.snapshot().await?, self.lister())),
        }
    }

    /// The tree of a snapshot that is not that of the statement.
    pub(crate) fn tree_of(&self, snapshot: Snapshot) -> Tree {
        Tree::new(snapshot, self.lister())
    }

    /// What asks factories what they show.
    pub(crate) fn lister(&self) -> Lister {
        Lister { factories: Arc::clone(self.factories()), outside: Arc::clone(&self.outside) }
    }

    /// As [`tree`](Self::tree), for synchronous callers.
    pub(crate) fn tree_now(&self) -> Result<Tree> {
        now(|| self.tree())
    }

    /// As [`open`](Self::open), for synchronous callers.
    pub(crate) fn open_now(&self) -> Result<OpenPond> {
        now(|| self.open())
    }
}

impl Drop for Bound<'_> {
    fn drop(&mut self) {
        *self.0.statement.write() = None;
    }
}
