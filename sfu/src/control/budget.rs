//! How much one participant may ask of the room, over time. It outlives the session: who leaves and joins again under
//! the same identity goes on with what is left.

use super::error::ControlError;
use super::rate::Rate;
use crate::config::LimitsConfig;
use crate::lock::lock;
use sfu_rtc::time::{Duration, Instant};
use std::fmt;
use std::sync::Mutex;

/// Offers and subscriptions come many at once and then seldom, so that bursts of them may be worth many seconds of their
/// rates. Our page offers its 29 slots one by one where a room fills slowly, and its own media beside them.
const OFFERS_BURST_SECONDS: u32 = 40;
/// Who scrolls through a large grid changes all of its slots with each page.
const SUBSCRIPTIONS_BURST_SECONDS: u32 = 20;

/// After this time without use a budget is whole again, and can be forgotten.
pub(super) const WHOLE_AGAIN: Duration = Duration::from_secs(OFFERS_BURST_SECONDS as u64 + 1);

/// A data message counts as so many bytes at least: that is what it costs to hand a small one on.
const LEAST_DATA: usize = 512;

/// What one participant may still ask for.
pub(crate) struct Budget(Mutex<Rates>);

struct Rates {
    changes: Rate,
    offers: Rate,
    subscriptions: Rate,
    data: Rate,
    copies: Rate,
}

impl Budget {
    pub(super) fn new(limits: &LimitsConfig, now: Instant) -> Self {
        let rate = |per_second, seconds| Rate::with_burst(per_second, f64::from(seconds), now);
        Self(Mutex::new(Rates {
            changes: Rate::new(limits.changes_per_second, now),
            offers: rate(limits.offers_per_second, OFFERS_BURST_SECONDS),
            subscriptions: rate(limits.subscriptions_per_second, SUBSCRIPTIONS_BURST_SECONDS),
            data: Rate::new(limits.data_bytes_per_second, now),
            copies: Rate::new(limits.data_copies_bytes_per_second, now),
        }))
    }

    /// Pays for something that others are told of.
    pub(crate) fn change(&self, now: Instant) -> Result<(), ControlError> {
        pay(&mut lock(&self.0).changes, "changes", "limits.changes_per_second", now)
    }

    /// Pays for an offer: a change that costs more than others, and so has a lower rate of its own.
    pub(super) fn offer(&self, now: Instant) -> Result<(), ControlError> {
        let rates = &mut *lock(&self.0);
        // Nothing is taken where either refuses.
        if rates.changes.has(1, now) {
            pay(&mut rates.offers, "offers", "limits.offers_per_second", now)?;
        }
        pay(&mut rates.changes, "changes", "limits.changes_per_second", now)
    }

    /// Pays for something else in a slot, or the same otherwise.
    pub(super) fn subscription(&self, now: Instant) -> Result<(), ControlError> {
        pay(&mut lock(&self.0).subscriptions, "subscriptions", "limits.subscriptions_per_second", now)
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

fn pay(rate: &mut Rate, what: &str, limit: &str, now: Instant) -> Result<(), ControlError> {
    if rate.take(1, now) {
        return Ok(());
    }
    Err(ControlError::too_fast(format!("Too many {what} in a short time ({limit}); slow down.")))
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

    #[test]
    fn offers_are_changes_and_have_a_rate_of_their_own() {
        let now = Instant::from_millis(1_000);
        let limits = LimitsConfig { changes_per_second: 15, offers_per_second: 1, ..LimitsConfig::default() };
        let budget = Budget::new(&limits, now);
        assert_eq!((0..100).filter(|_| budget.offer(now).is_ok()).count(), 40);
        assert!(budget.offer(now).unwrap_err().message.contains("limits.offers_per_second"));
        assert_eq!((0..100).filter(|_| budget.change(now).is_ok()).count(), 20, "refused offers cost nothing");
        let later = now + Duration::from_secs(2);
        (0..30).for_each(|_| budget.change(later).unwrap());
        assert!(budget.offer(later).unwrap_err().message.contains("limits.changes_per_second"));
        let later = later + Duration::from_secs(1);
        assert_eq!((0..100).filter(|_| budget.offer(later).is_ok()).count(), 3);
    }

    #[test]
    fn subscriptions_have_a_rate() {
        let now = Instant::from_millis(1_000);
        let budget = Budget::new(&LimitsConfig { subscriptions_per_second: 2, ..LimitsConfig::default() }, now);
        assert_eq!((0..100).filter(|_| budget.subscription(now).is_ok()).count(), 40);
        let error = budget.subscription(now).unwrap_err();
        assert!(error.retry && error.message.contains("limits.subscriptions_per_second"), "{error:?}");
    }

    #[test]
    fn what_is_forgotten_was_whole_again() {
        let now = Instant::from_millis(1_000);
        let limits = LimitsConfig::default();
        let budget = Budget::new(&limits, now);
        let spend = |now| {
            let offers = (0..100).filter(|_| budget.offer(now).is_ok()).count();
            (offers, (0..1_000).filter(|_| budget.subscription(now).is_ok()).count())
        };
        // Both bursts are whole, though changes bound the offers too.
        let at_first = spend(now);
        assert_eq!(spend(now + WHOLE_AGAIN), at_first);
    }
}
