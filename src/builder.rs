//! [`SessionStateBuilderExt`]: a pond in a session that is being built.

use std::sync::Arc;

use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_optimizer::PhysicalOptimizerRule;

use crate::catalog::{HostFiles, PondCatalog, Scope};
use crate::error::Result;
use crate::pond::Pond;
use crate::provider::{KeptFields, OrderOnDemand};
use crate::udtf;

/// What a pond adds to DataFusion's [`SessionStateBuilder`].
///
/// ```
/// # use datafusion::execution::session_state::SessionStateBuilder;
/// # use datafusion::prelude::SessionContext;
/// use pondsql::{OpenOptions, Pond, SessionStateBuilderExt};
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let pond = Pond::open("memory:", OpenOptions::default()).await?;
/// let state = SessionStateBuilder::new_with_default_features().with_pond(&pond, "pond")?.build();
/// let ctx = SessionContext::new_with_state(state);
/// ctx.sql("CREATE TABLE pond.\"/\".\"t\" AS SELECT 42 AS n").await?.collect().await?;
/// assert_eq!(ctx.sql("SELECT n FROM pond('/t')").await?.count().await?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait SessionStateBuilderExt: Sized {
    /// Makes `pond` the catalog `name`, with the table functions that [`Pond::register`] names. Beyond that, the session
    /// sorts and groups the pond's series as a [`PondSession`](crate::PondSession) does: a context that is there already
    /// takes no rules for physical plans.
    ///
    /// To be called last: views of the pond see the functions that are there now, and the tables of the session whenever
    /// they were made. The store under `pond:///` is not registered; [`Pond::object_store`] makes one.
    ///
    /// # Errors
    /// What opening the pond says, if it was opened lazily.
    fn with_pond(self, pond: &Pond, name: &str) -> Result<Self>;
}

impl SessionStateBuilderExt for SessionStateBuilder {
    fn with_pond(self, pond: &Pond, name: &str) -> Result<Self> {
        let mut state = self.build();
        let scope = Arc::new(Scope::new(pond.lazy(), name, HostFiles::Allowed));
        let opened = scope.open_now()?;
        let url = opened.objects.url()?;
        let _ = state.runtime_env().register_object_store(url.as_ref(), Arc::clone(&opened.objects) as _);
        let _ = state.catalog_list().register_catalog(name.to_owned(), Arc::new(PondCatalog::new(Arc::clone(&scope))));
        for function in udtf::functions(&scope) {
            state.register_udtf(function.name(), Arc::clone(function.function()));
        }
        // Once, however many ponds there are.
        if !state.analyzer().rules.iter().any(|rule| rule.name() == KeptFields.name()) {
            let _ = state.add_analyzer_rule(Arc::new(KeptFields));
        }
        scope.attach_built(state.clone(), udtf::planner);
        state.register_relation_planner(udtf::planner(scope))?;
        Ok(with_order_on_demand(Self::new_from_existing(state)))
    }
}

/// The builder with the rule of [`OrderOnDemand`], before all others.
pub(crate) fn with_order_on_demand(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    let rules = &mut builder.physical_optimizers().get_or_insert_default().rules;
    if !rules.iter().any(|rule| rule.name() == OrderOnDemand.name()) {
        rules.insert(0, Arc::new(OrderOnDemand));
    }
    builder
}
