//! A poll that stays awake for a moment after something came.
//!
//! On loopback the sender pays for waking a receiver that sleeps, and on a virtual machine that is an interrupt of
//! another processor: a third of a microsecond per packet, which no server pays for receivers elsewhere. Trains of
//! packets come tens of microseconds apart, so a thread that does not fall asleep between two of them costs the server
//! what remote receivers would.

use mio::{Events, Poll, Registry};
use std::io;
use std::time::{Duration, Instant};

/// How long it stays awake: longer than the pauses within the fan-out of a frame, shorter than those between frames.
const AWAKE: Duration = Duration::from_micros(200);
/// Rests between two looks, so that the kernel's locks and a sibling of the processor's core are left alone.
const RESTS: u32 = 64;

/// An epoll that does not fall asleep at once.
pub(crate) struct WakefulPoll {
    poll: Poll,
    awake_until: Option<Instant>,
    idle: Duration,
}

impl WakefulPoll {
    /// # Errors
    /// Where the system has no more file descriptors.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { poll: Poll::new()?, awake_until: None, idle: Duration::ZERO })
    }

    /// Where sources of events are registered.
    pub(crate) fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// Waits for events, for `timeout` at most.
    ///
    /// # Errors
    /// Where a signal interrupts it.
    pub(crate) fn poll(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let begun = Instant::now();
        let patience = self.awake_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(begun));
        let awake = timeout.map_or(patience, |timeout| timeout.min(patience));
        loop {
            self.poll.poll(events, Some(Duration::ZERO))?;
            let looked = Instant::now();
            if !events.is_empty() {
                self.awake_until = Some(looked + AWAKE);
                return Ok(());
            }
            if looked - begun >= awake {
                self.idle += looked - begun;
                break;
            }
            (0..RESTS).for_each(|_| std::hint::spin_loop());
        }
        let rest = timeout.map(|timeout| timeout.saturating_sub(begun.elapsed()));
        if rest == Some(Duration::ZERO) {
            return Ok(());
        }
        self.poll.poll(events, rest)?;
        self.awake_until = Some(Instant::now() + AWAKE);
        Ok(())
    }

    /// Time that it was awake and nothing came, since the last call: CPU time that was not needed.
    pub(crate) fn take_idle(&mut self) -> Duration {
        std::mem::take(&mut self.idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Token, Waker};

    #[test]
    fn it_tells_what_comes_and_ends_in_time() {
        let mut poll = WakefulPoll::new().unwrap();
        let waker = Waker::new(poll.registry(), Token(7)).unwrap();
        let mut events = Events::with_capacity(4);
        for _ in 0..3 {
            waker.wake().unwrap();
            poll.poll(&mut events, None).unwrap();
            assert!(events.iter().any(|event| event.token() == Token(7)));
            let begun = Instant::now();
            poll.poll(&mut events, Some(Duration::from_millis(5))).unwrap();
            assert!(events.is_empty() && begun.elapsed() >= Duration::from_millis(5));
        }
        assert!(poll.take_idle() > Duration::ZERO && poll.take_idle() == Duration::ZERO);
    }
}
