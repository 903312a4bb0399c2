//! [`Pond`]: an open pond, and how it gets into a session.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::optimizer::AnalyzerRule;
use datafusion::prelude::SessionContext;
use tinyfs::{MemoryStore, PersistenceLayer, Snapshot};
use url::Url;

use crate::catalog::{DerivedPlanner, HostFiles, Keep, LazyPond, OpenPond, PondCatalog, Scope};
use crate::error::Result;
use crate::factory::built_in;
use crate::location::{Location, OpenOptions};
use crate::provider::{ByteStream, Factories, KeptFields, PondObjectStore, RunOptions, TableFactory};
use crate::session::{PondSession, SessionOptions};
use crate::udtf;

/// A pond. Cheap to clone; clones are one pond.
///
/// ```
/// # use pondsql::{OpenOptions, Pond};
/// # use datafusion::prelude::SessionContext;
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let pond = Pond::open("memory:", OpenOptions::default()).await?;
/// let ctx = SessionContext::new();
/// pond.register(&ctx, "pond")?;
/// ctx.sql("CREATE VIEW pond.\"/\".\"answer\" AS SELECT 42 AS n").await?.collect().await?;
/// let rows = ctx.sql("SELECT n FROM pond('/answer')").await?.collect().await?;
/// assert_eq!(rows[0].num_rows(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Pond(Arc<LazyPond>);

impl Pond {
    /// Opens the pond at `location`: a directory, a URL, or `memory:` for one that lives as long as the process.
    /// Where there is none, it is empty, and the first write makes it.
    ///
    /// # Errors
    /// [`Usage`](crate::ErrorKind::Usage) for a location that is none; [`Io`](crate::ErrorKind::Io) for a missing pond opened read-only;
    /// and for a place where something else is, and [`Corrupt`](crate::ErrorKind::Corrupt) from the store. With [`OpenOptions::lazy`] the last
    /// two come later.
    pub async fn open(location: &str, options: OpenOptions) -> Result<Self> {
        Self::builder().options(options).open(location).await
    }

    /// A pond with factories of the application's own.
    pub fn builder() -> PondBuilder {
        PondBuilder::default()
    }

    /// A pond on a store of one's own.
    pub fn with_store(store: Arc<dyn PersistenceLayer>) -> Self {
        Self::of_store(store, built_in())
    }

    fn of_store(store: Arc<dyn PersistenceLayer>, factories: Arc<Factories>) -> Self {
        Self(Arc::new(LazyPond::of_store(store, factories)))
    }

    /// A pond in memory that begins as this one is now, and goes its own way. Nothing is copied; bytes are read from
    /// where they are.
    ///
    /// # Errors
    /// What opening and reading this pond's log says.
    pub async fn fork(&self) -> Result<Self> {
        let snapshot = self.snapshot().await?;
        Ok(Self::of_store(Arc::new(MemoryStore::fork(snapshot)), Arc::clone(self.factories())))
    }

    /// The pond as it is now, looking for other processes' commits first.
    ///
    /// # Errors
    /// What opening and reading the log says.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        self.0.snapshot().await
    }

    /// A session with SQL, transactions and one snapshot per statement. Sessions of one pond are independent.
    ///
    /// # Errors
    /// [`Usage`](crate::ErrorKind::Usage) for options that do not go together.
    pub fn session(&self, options: SessionOptions) -> Result<PondSession> {
        PondSession::try_new(self, options)
    }

    /// Makes the pond the catalog `name` of `ctx`, and registers the table functions `name`, `name_join`, `name_ls`, `name_versions`,
    /// `name_schema`, `name_log`, `name_read` and `name_factories`. Files are objects under `pond://name/`, where the name can stand in a URL; under `pond:///`
    /// for the name `pond`. Each is read there as [`PondObjectStore`] says.
    ///
    /// In the texts of its views `pond`, `pond()`, `pond_ls()` and so on mean this pond too, also where another one is registered as `pond`.
    ///
    /// Statements go through `ctx.sql` then, each look-up seeing the newest state; transactions and one snapshot
    /// per statement are what a [`PondSession`] has.
    ///
    /// # Errors
    /// What opening the pond says, if it was opened lazily.
    pub fn register(&self, ctx: &SessionContext, name: &str) -> Result<()> {
        let scope = Arc::new(Scope::new(self.lazy(), name, HostFiles::Allowed));
        scope.attach(ctx.state_weak_ref());
        let opened = scope.open_now()?;
        let _ = ctx.register_object_store(opened.objects.url()?.as_ref(), Arc::clone(&opened.objects) as _);
        if let Some(url) = catalog_url(name) {
            let files = DerivedPlanner::new(Arc::clone(&scope), opened.clone(), Keep::Theirs);
            let _ = ctx.register_object_store(&url, Arc::new(opened.objects.with_derived(Arc::new(files))));
        }
        let _ = ctx.register_catalog(name, Arc::new(PondCatalog::new(Arc::clone(&scope))));
        // Once, however many ponds there are.
        if !ctx.state().analyzer().rules.iter().any(|rule| rule.name() == KeptFields.name()) {
            ctx.add_analyzer_rule(Arc::new(KeptFields));
        }
        ctx.register_relation_planner(udtf::planner(Arc::clone(&scope)))?;
        for function in udtf::functions(&scope) {
            ctx.register_udtf(function.name(), Arc::clone(function.function()));
        }
        Ok(())
    }

    /// The pond's files as objects, for programs that read bytes: stored files as they are, tables of several parts and views as
    /// [`PondObjectStore`] says. Views are planned in a session of the store's own.
    ///
    /// # Errors
    /// What opening the pond says.
    pub async fn object_store(&self) -> Result<Arc<PondObjectStore>> {
        let opened = self.opened().await?.clone();
        let session = self.session(SessionOptions::default())?;
        Ok(session.objects(&opened, Keep::Own(session.context().clone())))
    }

    /// The bytes of the file at `path`, as [`PondSession::read`] gives them in a session of their own.
    ///
    /// # Errors
    /// As [`PondSession::read`].
    pub async fn read(&self, path: &str) -> Result<ByteStream> {
        self.session(SessionOptions::default())?.read(path).await
    }

    /// Runs the dynamic entry at `path`, as `CALL pond_run` does, in a session of its own: one row for each thing that was done. Dropping the
    /// future stops it; what was done until then stays.
    ///
    /// # Errors
    /// As [`PondSession::run_entry`].
    pub async fn run(&self, path: &str, options: RunOptions) -> Result<RecordBatch> {
        self.session(SessionOptions::default())?.run_entry(path, options).await
    }

    /// The factories that make its dynamic entries.
    pub fn factories(&self) -> &Arc<Factories> {
        self.0.factories()
    }

    /// Waits for work in the background. A program calls it before it exits.
    ///
    /// # Errors
    /// What the store says.
    pub async fn close(&self) -> Result<()> {
        self.0.settle().await
    }

    pub(crate) fn lazy(&self) -> Arc<LazyPond> {
        Arc::clone(&self.0)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.0.is_open()
    }

    pub(crate) async fn opened(&self) -> Result<&OpenPond> {
        self.0.opened().await
    }
}

/// Opens a pond with factories beside those that are built in.
#[derive(Debug, Default)]
pub struct PondBuilder {
    options: OpenOptions,
    factories: Vec<Arc<dyn TableFactory>>,
}

impl PondBuilder {
    /// Sets how it is opened.
    #[must_use]
    pub fn options(mut self, options: OpenOptions) -> Self {
        self.options = options;
        self
    }

    /// Adds a factory, for `CREATE EXTERNAL TABLE … STORED AS` its name.
    #[must_use]
    pub fn factory(mut self, factory: Arc<dyn TableFactory>) -> Self {
        self.factories.push(factory);
        self
    }

    /// The pond on a store of one's own; see [`Pond::with_store`].
    ///
    /// # Errors
    /// [`Usage`](crate::ErrorKind::Usage) for a factory whose name is taken.
    pub fn with_store(self, store: Arc<dyn PersistenceLayer>) -> Result<Pond> {
        Ok(Pond::of_store(store, self.all_factories()?))
    }

    fn all_factories(&self) -> Result<Arc<Factories>> {
        let mut own = self.factories.iter().map(Arc::clone);
        Ok(Arc::new(own.try_fold(Factories::clone(&built_in()), Factories::with)?))
    }

    /// Opens the pond; see [`Pond::open`].
    ///
    /// # Errors
    /// As there, and [`Usage`](crate::ErrorKind::Usage) for a factory whose name is taken.
    pub async fn open(self, location: &str) -> Result<Pond> {
        let location = Location::parse(location)?;
        let factories = self.all_factories()?;
        let is_lazy = self.options.lazy;
        let pond = Pond(Arc::new(LazyPond::new(location, self.options, factories)));
        if !is_lazy {
            let _ = pond.opened().await?;
        }
        Ok(pond)
    }
}

/// Where the files of a pond that is registered as `name` are objects; `None` for a name that is no host of a URL.
pub(crate) fn catalog_url(name: &str) -> Option<Url> {
    let host = if name == "pond" { "" } else { name };
    // A host that reads back as another one would be somebody else's.
    Url::parse(&format!("pond://{host}")).ok().filter(|url| url.host_str().unwrap_or_default() == host)
}

impl fmt::Debug for Pond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pond").field("location", self.0.location()).finish_non_exhaustive()
    }
}
