//! How much one participant may ask of the room, over time. It outlives the session: who leaves and joins again under
//! the same identity goes on with what is left.

use super::error::ControlError;
use super::lock;
use super::rate::Rate;
use crate::config::LimitsConfig;
use sfu_rtc::time::{Duration, Instant};
use std::fmt;
use std::sync::Mutex;

/// After this time without use a budget is whole again, and can be forgotten.
pub(super) const WHOLE_AGAIN: Duration = Duration::from_secs(5);

/// A data message counts as so many bytes at least: that is what it costs to hand a small one on.
const LEAST_DATA: usize = 512;

/// What one participant may still ask for.
pub(crate) struct Budget(Mutex<Rates>);

struct Rates {
    changes: Rate,
    data: Rate,
    copies: Rate,
}

impl Budget {
    pub(super) fn new(limits: &LimitsConfig, now: Instant) -> Self {
        Self(Mutex::new(Rates {
            changes: Rate::new(limits.changes_per_second, now),
            data: Rate::new(limits.data_bytes_per_second, now),
            copies: Rate::new(limits.data_copies_bytes_per_second, now),
        }))
    }

    /// Pays for something that others are told of.
    pub(crate) fn change(&self, now: Instant) -> Result<(), ControlError> {
        if lock(&self.0).changes.take(1, now) {
            return Ok(());
        }
        Err(ControlError::too_fast("Too many changes in a short time (limits.changes_per_second); slow down."))
    }

    /// Pays for a data message of so many bytes to so many; the room pays for the copies, too.
    pub(super) fn data(&self, bytes: usize, copies: usize, room: &mut Rate, now: Instant) -> Result<(), ControlError> {
        let rates = &mut *lock(&self.0);
        let bytes = bytes.max(LEAST_DATA);
        let all = bytes.saturating_mul(copies);
        let refused = [
            (&rates.data, bytes, "limits.data_bytes_per_second"),
            (&rates.copies, all, "limits.data_copies_bytes_per_second"),
            (&*room, all, "limits.room_data_bytes_per_second"),
        ];
        if let Some((_, _, limit)) = refused.into_iter().find(|(rate, amount, _)| !rate.has(*amount, now)) {
            let text = format!("Too much data in a short time ({limit}); slow down.");
            return Err(ControlError::too_fast(text));
        }
        rates.data.take(bytes, now);
        rates.copies.take(all, now);
        room.take(all, now);
        Ok(())
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Budget")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_count_for_the_sender_and_for_the_room_and_a_refusal_costs_nothing() {
        let now = Instant::from_millis(1_000);
        let limits = LimitsConfig {
            data_bytes_per_second: 10_000,
            data_copies_bytes_per_second: 100_000,
            ..LimitsConfig::default()
        };
        let (mut room, other) = (Rate::new(150_000, now), Budget::new(&limits, now));
        let budget = Budget::new(&limits, now);
        let sent =
            |budget: &Budget, room: &mut Rate| (0..100).filter(|_| budget.data(1_000, 50, room, now).is_ok()).count();
        // 4 seconds' worth of 100,000 bytes, then what the room has left of 600,000.
        assert_eq!((sent(&budget, &mut room), sent(&other, &mut room)), (8, 4));
        assert!(budget.data(1_000, 0, &mut room, now).is_ok(), "nobody hears it, which costs the room nothing");
        assert_eq!((0..100).filter(|_| budget.data(1_000, 0, &mut room, now).is_ok()).count(), 31);
    }

    #[test]
    fn messages_of_nothing_count_too() {
        let now = Instant::from_millis(1_000);
        let limits = LimitsConfig { data_copies_bytes_per_second: 512 * 100, ..LimitsConfig::default() };
        let (mut room, budget) = (Rate::new(u32::MAX, now), Budget::new(&limits, now));
        assert_eq!((0..100).filter(|_| budget.data(0, 100, &mut room, now).is_ok()).count(), 4);
    }

    #[test]
    fn changes_have_a_rate() {
        let now = Instant::from_millis(1_000);
        let budget = Budget::new(&LimitsConfig { changes_per_second: 2, ..LimitsConfig::default() }, now);
        assert_eq!((0..100).filter(|_| budget.change(now).is_ok()).count(), 8);
        assert_eq!((0..100).filter(|_| budget.change(now + Duration::from_secs(1)).is_ok()).count(), 2);
    }
}
