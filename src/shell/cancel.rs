//! [`Cancel`]: Ctrl-C stops the statement that runs.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::sync::Notify;

use super::exit::ExitStatus;

/// What Ctrl-C does: the first stops the running statement, a second one the program. With nothing running, the first ends it.
///
/// Signals are received on a thread of their own: a query whose operators never yield would keep the runtime's workers
/// from ever looking.
#[derive(Debug, Default)]
pub(crate) struct Cancel {
    running: AtomicBool,
    requested: AtomicBool,
    notify: Notify,
}

impl Cancel {
    /// Starts to listen.
    ///
    /// # Errors
    /// When no thread or signal handler can be had.
    pub(crate) fn install() -> io::Result<Arc<Self>> {
        let cancel = Arc::new(Self::default());
        let listener = Arc::clone(&cancel);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                while tokio::signal::ctrl_c().await.is_ok() {
                    listener.interrupt();
                }
            });
        })?;
        Ok(cancel)
    }

    /// Runs `work` to its end, or drops it at Ctrl-C and returns `None`. An earlier Ctrl-C counts until it is forgotten, so
    /// that none is lost between two statements of a script.
    pub(crate) async fn unless_cancelled<F: Future>(&self, work: F) -> Option<F::Output> {
        self.running.store(true, Ordering::SeqCst);
        let output = tokio::select! {
            biased;
            () = self.cancelled() => None,
            output = work => Some(output),
        };
        self.running.store(false, Ordering::SeqCst);
        output
    }

    /// Starts anew, with the next input of the prompt.
    pub(crate) fn forget(&self) {
        self.requested.store(false, Ordering::SeqCst);
    }

    fn interrupt(&self) {
        let again = self.requested.swap(true, Ordering::SeqCst);
        if again || !self.running.load(Ordering::SeqCst) {
            std::process::exit(i32::from(ExitStatus::Cancelled as u8));
        }
        self.notify.notify_waiters();
    }

    async fn cancelled(&self) {
        loop {
            let mut notified = std::pin::pin!(self.notify.notified());
            // Registered before the flag is read, so that no interrupt falls between the two.
            notified.as_mut().enable();
            if self.requested.load(Ordering::SeqCst) {
                return;
            }
            notified.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_interrupt_stops_what_runs_and_only_that() {
        let cancel = Arc::new(Cancel::default());
        let other = Arc::clone(&cancel);
        let stopped = cancel
            .unless_cancelled(async {
                other.interrupt();
                std::future::pending::<()>().await;
            })
            .await;
        assert_eq!(stopped, None);
        assert_eq!(cancel.unless_cancelled(async { 7 }).await, None);
        cancel.forget();
        assert_eq!(cancel.unless_cancelled(async { 7 }).await, Some(7));
    }
}
