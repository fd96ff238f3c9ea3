//! A worker that has little to do runs as soon as there is something to do.
//!
//! The kernel lets a usual thread finish its slice of some milliseconds before another gets the core: a flood of
//! requests to the control plane would make each packet so much later. A real-time thread takes the core at once. One
//! that never sleeps would leave the control plane, and whoever else shares the core, nothing; so a worker that is busy
//! is a usual thread.

use sfu_net::priority::set_realtime;

/// Busy share of time below which a worker is real time ...
const BELOW: f32 = 0.5;
/// ... until it is above this.
const UNTIL: f32 = 0.7;

/// Whether the calling thread is real time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Realtime {
    /// The configuration or the system does not want it.
    Never,
    No,
    Yes,
}

impl Realtime {
    /// For a thread that has just begun.
    pub(super) fn start(wanted: bool) -> Self {
        if !wanted {
            return Self::Never;
        }
        match set_realtime(true) {
            Ok(()) => Self::Yes,
            Err(error) => {
                tracing::info!(%error, "media threads are not real time; see media.realtime");
                Self::Never
            }
        }
    }

    /// Follows a measurement of the thread's load.
    pub(super) fn update(&mut self, busy: f32) {
        let next = self.after(busy);
        if next == *self {
            return;
        }
        *self = next;
        if let Err(error) = set_realtime(next == Self::Yes) {
            tracing::warn!(%error, "media.realtime");
            *self = Self::Never;
        }
    }

    fn after(self, busy: f32) -> Self {
        match self {
            Self::No if busy < BELOW => Self::Yes,
            Self::Yes if busy > UNTIL => Self::No,
            same => same,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_worker_is_a_usual_thread() {
        let follow = |begin: Realtime| {
            [0.6, 0.71, 0.6, 0.49, 0.6].into_iter().scan(begin, |state, busy| {
                *state = state.after(busy);
                Some(*state)
            })
        };
        use Realtime::{Never, No, Yes};
        assert_eq!(follow(Yes).collect::<Vec<_>>(), [Yes, No, No, Yes, Yes]);
        assert!(follow(Never).all(|state| state == Never));
    }
}
