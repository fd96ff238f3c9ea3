//! Further copies of what was sent again, each longer behind the one before: what is lost, is lost in bursts, and some of
//! them are long.

use sfu_rtc::loss::RECURRENCE;
use sfu_rtc::time::{Duration, Instant};
use std::collections::VecDeque;

/// From the first to the second copy; from each further one to the next it is twice as long. Lossy episodes of radio links
/// last about as long as a frame. How many of them last longer is measured at this distance.
const COPY_SPACING: Duration = RECURRENCE;
/// Copies of one subscriber that wait at once; of more, the newest are not sent.
const MAX_WAITING: usize = 256;

/// When the last of so many copies leaves, from the first on.
pub(super) fn last_copy_after(copies: u8) -> Duration {
    COPY_SPACING * ((1 << copies.saturating_sub(1).min(8)) - 1)
}

/// A packet that is to be sent once more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PendingCopy {
    /// Section of the slot.
    pub(crate) section: u16,
    /// Its number on the subscriber's wire.
    pub(crate) seq: u16,
    /// How often it is to be sent, this time included.
    pub(crate) times: u8,
    /// How often it was sent again before.
    pub(crate) sent: u8,
}

/// The copies of one subscriber that wait.
#[derive(Default, Debug)]
pub(crate) struct Copies(VecDeque<(Instant, PendingCopy)>);

impl Copies {
    /// A packet was sent again at `now`.
    pub(crate) fn push(&mut self, now: Instant, copy: PendingCopy) {
        if copy.times > 0 && self.0.len() < MAX_WAITING {
            let due = now + COPY_SPACING * (1 << copy.sent.saturating_sub(1).min(8));
            let behind = self.0.partition_point(|(other, _)| *other <= due);
            self.0.insert(behind, (due, copy));
        }
    }

    /// The next one that is due.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<PendingCopy> {
        self.0.pop_front_if(|(due, _)| *due <= now).map(|(_, copy)| copy)
    }

    /// When the next one is due; [`Instant::NEVER`] where none waits.
    pub(crate) fn due(&self) -> Instant {
        self.0.front().map_or(Instant::NEVER, |(due, _)| *due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_leave_apart_and_no_more_than_fit_wait() {
        let mut copies = Copies::default();
        assert_eq!(copies.due(), Instant::NEVER);
        let (begin, copy) = (Instant::from_millis(100), PendingCopy { section: 2, seq: 7, times: 2, sent: 1 });
        copies.push(begin, copy);
        copies.push(begin, PendingCopy { times: 0, ..copy });
        assert_eq!((copies.due(), copies.pop(begin)), (begin + COPY_SPACING, None));
        assert_eq!((copies.pop(copies.due()), copies.pop(copies.due())), (Some(copy), None));
        let waits = [1, 2, 3].map(|sent| {
            copies.push(begin, PendingCopy { sent, ..copy });
            let due = copies.due();
            copies.pop(due);
            (due - begin).as_millis()
        });
        assert_eq!(waits, [25, 50, 100], "each is longer behind the one before");
        assert_eq!([1, 2, 3, 4].map(|copies| last_copy_after(copies).as_millis()), [0, 25, 75, 175]);
        copies.push(begin, PendingCopy { sent: 3, ..copy });
        copies.push(begin, PendingCopy { sent: 1, ..copy });
        assert_eq!([1, 3].map(|_| copies.pop(begin + COPY_SPACING * 4).map(|copy| copy.sent)), [Some(1), Some(3)]);
        (0..1_000).for_each(|_| copies.push(begin, copy));
        let sent = std::iter::from_fn(|| copies.pop(begin + COPY_SPACING)).count();
        assert_eq!(sent, MAX_WAITING);
    }
}
