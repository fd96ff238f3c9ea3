//! What is known of a received stream, and reported on it: which packets came (RFC 3550 appendices A.1 and A.3), and how
//! evenly (appendix A.8). [`SeqNo::extend`] extends sequence numbers.

use crate::drop_reason::DropReason;
use crate::ids::{SeqNo, Ssrc};
use crate::rtcp::ReportBlock;
use crate::time::{Duration, Instant, NtpTime};

/// A stream is taken to have restarted where its numbers leap further than loss explains: MAX_DROPOUT of RFC 3550
/// appendix A.1. Receivers give up at a few hundred.
pub const MAX_DROPOUT: u64 = 3_000;

/// Timestamps that leap further from the time of arrival than a packet is late in any network are those of a source that
/// began anew, and no jitter.
pub const MAX_DELAY_CHANGE: Duration = Duration::from_secs(1);

/// Words of the window in which duplicates are known.
const WINDOW_WORDS: usize = 32;
/// Numbers that it covers: more than four seconds of 5 Mbit/s, so no repair comes later.
const WINDOW: u64 = WINDOW_WORDS as u64 * 64;

/// Which sequence numbers arrived, and what a receiver report says of them.
#[derive(Debug)]
pub struct Reception {
    /// Bit `n % WINDOW` tells of number `n`, for the `WINDOW` numbers up to the highest.
    seen: [u64; WINDOW_WORDS],
    first: SeqNo,
    highest: SeqNo,
    received: u64,
    reported_expected: u64,
    reported_received: u64,
    jitter: Jitter,
    last_report: Option<(NtpTime, Instant)>,
    /// Something arrived since the last report.
    active: bool,
}

impl Reception {
    /// A stream that begins with `first`, which is still to be handed in.
    pub fn new(first: SeqNo) -> Self {
        Self {
            seen: [0; WINDOW_WORDS],
            first,
            highest: SeqNo(first.0.saturating_sub(1)),
            received: 0,
            reported_expected: 0,
            reported_received: 0,
            jitter: Jitter::default(),
            last_report: None,
            active: false,
        }
    }

    /// Highest number seen.
    pub fn highest(&self) -> SeqNo {
        self.highest
    }

    /// Records a number; refuses one that was seen before or lies too far back to tell.
    pub fn admit(&mut self, seq: SeqNo) -> Result<(), DropReason> {
        if seq > self.highest {
            let steps = (seq.0 - self.highest.0).min(WINDOW);
            for n in (seq.0 + 1 - steps)..=seq.0 {
                self.seen[word(n)] &= !bit(n);
            }
            self.highest = seq;
        } else if seq.0 + WINDOW <= self.highest.0 {
            return Err(DropReason::OutOfWindow);
        } else if self.seen[word(seq.0)] & bit(seq.0) != 0 {
            return Err(DropReason::Duplicate);
        }
        self.seen[word(seq.0)] |= bit(seq.0);
        self.first = self.first.min(seq);
        self.received += 1;
        self.active = true;
        Ok(())
    }

    /// Takes a packet that came on its own account (not again) into the jitter.
    pub fn on_timing(&mut self, arrival: Instant, timestamp: u32, clock_rate: u32) {
        self.jitter.on_packet(arrival, timestamp, clock_rate);
    }

    /// The stream's sender report arrived.
    pub fn on_sender_report(&mut self, now: Instant, ntp: NtpTime) {
        self.last_report = Some((ntp, now));
    }

    /// Packets received, each once.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Packets that did not come.
    pub fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }

    /// The block for the next receiver report; `None` where nothing came since the last.
    pub fn take_report(&mut self, now: Instant, ssrc: Ssrc) -> Option<ReportBlock> {
        if !std::mem::take(&mut self.active) {
            return None;
        }
        let expected = self.expected() - self.reported_expected.min(self.expected());
        let received = self.received - self.reported_received;
        let lost = expected.saturating_sub(received);
        (self.reported_expected, self.reported_received) = (self.expected(), self.received);
        let (last_sr, delay) = match self.last_report {
            None => (0, 0),
            Some((ntp, at)) => (ntp.middle(), ((now - at).as_nanos() * 65_536 / 1_000_000_000) as u32),
        };
        Some(ReportBlock {
            ssrc,
            fraction_lost: (lost * 256).checked_div(expected).unwrap_or(0).min(255) as u8,
            cumulative_lost: self.lost().min(0x7f_ffff) as i32,
            highest_seq: self.highest.0 as u32,
            jitter: self.jitter.ticks() as u32,
            last_sr,
            delay_since_last_sr: delay,
        })
    }

    fn expected(&self) -> u64 {
        (self.highest.0 + 1).saturating_sub(self.first.0)
    }
}

/// Interarrival jitter (RFC 3550 appendix A.8).
#[derive(Clone, Copy, Default, Debug)]
pub struct Jitter {
    /// Time of arrival less timestamp, of the last packet.
    transit: Option<u32>,
    ticks: f64,
}

impl Jitter {
    /// A packet arrived. Where its timestamp leaps, jitter goes on from there.
    pub fn on_packet(&mut self, arrival: Instant, timestamp: u32, clock_rate: u32) {
        // Only differences matter, so that the arrival may wrap as the timestamp does.
        let arrival = (u128::from(arrival.as_nanos()) * u128::from(clock_rate) / 1_000_000_000) as u32;
        let transit = arrival.wrapping_sub(timestamp);
        let Some(last) = self.transit.replace(transit) else { return };
        let change = transit.wrapping_sub(last).cast_signed().unsigned_abs();
        if u64::from(change) <= u64::from(clock_rate) * MAX_DELAY_CHANGE.as_secs() {
            self.ticks += (f64::from(change) - self.ticks) / 16.0;
        }
    }

    /// In units of the RTP clock.
    pub fn ticks(&self) -> f64 {
        self.ticks
    }
}

fn word(n: u64) -> usize {
    (n / 64) as usize % WINDOW_WORDS
}

fn bit(n: u64) -> u64 {
    1 << (n % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn reports_loss_and_nothing_while_nothing_comes() {
        let mut reception = Reception::new(SeqNo(65_530));
        for n in (65_530..65_630).filter(|n| n % 4 != 0) {
            reception.admit(SeqNo(n)).unwrap();
        }
        let now = Instant::from_millis(2_000);
        reception.on_sender_report(Instant::from_millis(1_500), NtpTime(0x1234_5678_9abc_def0));
        let block = reception.take_report(now, Ssrc(7)).unwrap();
        assert_eq!((block.fraction_lost, block.cumulative_lost, block.highest_seq), (64, 25, 65_629));
        assert_eq!((block.last_sr, block.delay_since_last_sr), (0x5678_9abc, 32_768));
        assert_eq!(reception.take_report(now, Ssrc(7)), None);
        reception.admit(SeqNo(65_532)).unwrap();
        assert_eq!(reception.take_report(now, Ssrc(7)).unwrap().cumulative_lost, 24, "repaired");
    }

    #[test]
    fn jitter_is_that_of_the_rfc() {
        let mut reception = Reception::new(SeqNo(0));
        for n in 0..200_u64 {
            reception.admit(SeqNo(n)).unwrap();
            let late = if n % 2 == 0 { 0 } else { 4 };
            reception.on_timing(Instant::from_millis(n * 20 + late), (n * 960) as u32, 48_000);
        }
        let block = reception.take_report(Instant::from_millis(5_000), Ssrc(7)).unwrap();
        assert_eq!(block.jitter, 191, "4 ms at 48 kHz, approached from below");
    }

    #[test]
    fn jitter_goes_on_where_a_source_begins_anew() {
        let jitter_with = |restart: u32| {
            let mut jitter = Jitter::default();
            for n in 0..400_u32 {
                let late = if n >= 200 && n % 2 == 1 { 2 } else { 0 };
                let timestamp = (n * 960).wrapping_add(if n < 100 { 0 } else { restart });
                jitter.on_packet(Instant::from_millis(u64::from(n * 20 + late)), timestamp, 48_000);
                assert!(n >= 200 || jitter.ticks() < 1e-6, "{n}: a leap is no jitter");
            }
            jitter.ticks()
        };
        // Older timestamps, newer ones, and those after the wrap.
        for restart in [0, 0x8000_0000, 48_000 * 3_600, 0_u32.wrapping_sub(48_000 * 3_600)] {
            assert!(
                (95.0..=96.0).contains(&jitter_with(restart)),
                "{restart}: 2 ms, of which it learns after the leap"
            );
        }
    }

    proptest! {
        #[test]
        fn every_number_is_admitted_once(steps in prop::collection::vec(-3_000_i64..600, 1..400)) {
            let mut reception = Reception::new(SeqNo(100_000));
            let (mut model, mut highest) = (HashSet::new(), 100_000_u64);
            let mut at = 100_000_u64;
            reception.admit(SeqNo(at)).unwrap();
            model.insert(at);
            for step in steps {
                at = at.wrapping_add_signed(step).max(90_000);
                let verdict = reception.admit(SeqNo(at));
                if at + WINDOW <= highest {
                    prop_assert_eq!(verdict, Err(DropReason::OutOfWindow));
                } else if !model.insert(at) {
                    prop_assert_eq!(verdict, Err(DropReason::Duplicate));
                } else {
                    prop_assert_eq!(verdict, Ok(()));
                }
                highest = highest.max(at);
            }
        }
    }
}
