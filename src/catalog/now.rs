//! Waiting inside synchronous traits, and deep recursion inside futures.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::FutureExt;

use crate::error::{Error, ErrorKind, Result};

/// Planning recurses once per nesting level of a statement, with large frames in debug builds.
const PLANNING_STACK: usize = 128 * 1024 * 1024;
/// Below this much free stack a future is polled on one of its own.
const RED_ZONE: usize = PLANNING_STACK / 2;

/// What parsing and planning a text take at all, and for each byte of it at most: frames are ten times as large in debug builds.
const BASE: usize = 512 * 1024;
const PER_BYTE: usize = if cfg!(debug_assertions) { 64 * 1024 } else { 8 * 1024 };

/// The result of a future, for DataFusion's synchronous traits.
///
/// Nearly always it is ready at once, since look-ups are answered from memory. Where it is not (another process's
/// commits are looked for, a host file is read), a thread with a runtime of its own waits for it: the caller may be the
/// only thread of a current-thread runtime, on which `block_on` panics and `block_in_place` is refused.
pub(crate) fn now<T, F>(make: impl Fn() -> F) -> Result<T>
where
    T: Send,
    F: Future<Output = Result<T>> + Send,
{
    // What waits for the disk needs a runtime even to begin.
    if tokio::runtime::Handle::try_current().is_ok()
        && let Some(result) = DeepStack::new(make()).now_or_never()
    {
        return result;
    }
    wait(make())
}

/// As [`now`], for what changes the pond: it is never begun, dropped and begun again.
pub(crate) fn effect_now<T: Send>(future: impl Future<Output = Result<T>> + Send) -> Result<T> {
    wait(future)
}

fn wait<T: Send>(future: impl Future<Output = Result<T>> + Send) -> Result<T> {
    std::thread::scope(|threads| {
        let waiting = threads.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(DeepStack::new(future))
        });
        waiting.join().unwrap_or_else(|_| Err(Error::new(ErrorKind::Execution, "a look-up panicked")))
    })
}

/// Runs `work`, which recurses through the text of one statement, as parsing does, on a stack large enough for it: it nests no deeper
/// than the text is long, and a short one needs no stack of its own.
pub(crate) fn deep_as<T>(text: &str, work: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(needed_for(text), PLANNING_STACK, work)
}

/// What the text of a statement asks of the stack at most.
fn needed_for(text: &str) -> usize {
    BASE.saturating_add(text.len().saturating_mul(PER_BYTE)).min(RED_ZONE)
}

/// A future that is polled on such a stack. A new one is mapped for each poll, which is not free: it is for what plans, not
/// for what then waits for the disk.
pub(crate) struct DeepStack<F> {
    future: Pin<Box<F>>,
    /// With so much free, the caller's stack does.
    needed: usize,
}

impl<F: Future> DeepStack<F> {
    pub(crate) fn new(future: F) -> Self {
        Self { future: Box::pin(future), needed: RED_ZONE }
    }

    /// For what plans the statement `text` alone, and no view: a plan nests no deeper than what it is of.
    pub(crate) fn with_text(text: &str, future: F) -> Self {
        Self { future: Box::pin(future), needed: needed_for(text) }
    }
}

impl<F: Future> Future for DeepStack<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let needed = self.needed;
        let future = self.future.as_mut();
        stacker::maybe_grow(needed, PLANNING_STACK, move || future.poll(context))
    }
}
