//! Ending a run before its time, so that what was measured until then is kept.

use std::cell::RefCell;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::sleep;

/// Whether, and why, the run is to end early.
#[derive(Default)]
pub(super) struct Stop {
    reason: RefCell<Option<String>>,
    changed: Notify,
}

impl Stop {
    /// Ends the run; the first reason counts.
    pub(super) fn stop(&self, reason: &str) {
        self.reason.borrow_mut().get_or_insert_with(|| reason.to_owned());
        self.changed.notify_waiters();
    }

    /// Whether the run is to end.
    pub(super) fn is_stopped(&self) -> bool {
        self.reason.borrow().is_some()
    }

    /// Why the run ended early, if it did.
    pub(super) fn reason(&self) -> Option<String> {
        self.reason.borrow().clone()
    }

    /// Returns once the run is to end.
    pub(super) async fn stopped(&self) {
        let changed = self.changed.notified();
        if !self.is_stopped() {
            changed.await;
        }
    }

    /// Sleeps, but not past the end.
    pub(super) async fn sleep(&self, time: Duration) {
        tokio::select! {
            () = sleep(time) => {}
            () = self.stopped() => {}
        }
    }

    /// Stops at the first Ctrl-C; returns at the second, for those who will not wait.
    pub(super) async fn watch_ctrl_c(&self) {
        for _ in 0..2 {
            if tokio::signal::ctrl_c().await.is_err() {
                // Without a handler Ctrl-C ends the process, as ever.
                std::future::pending::<()>().await;
            }
            self.stop("interrupted");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_sleeps_is_woken_and_the_first_reason_stays() {
        let stop = Stop::default();
        tokio::join!(stop.sleep(Duration::from_secs(3_600)), async {
            stop.stop("first");
            stop.stop("second");
        });
        stop.sleep(Duration::from_secs(3_600)).await;
        assert_eq!(stop.reason().as_deref(), Some("first"));
    }
}
