//! Round trip between us and the peer, from our sender reports and the peer's answers (RFC 3550 section 6.4.1), and from
//! our STUN checks.

use crate::time::{Duration, Instant, NtpTime};
use arrayvec::ArrayVec;

/// Sender reports remembered. All sources report at the same moment, so these span this many rounds.
const MAX_REPORTS: usize = 16;
/// Longer is no round trip but a clock that lies.
const MAX_RTT: Duration = Duration::from_secs(10);

/// Measures the round trip.
#[derive(Default, Debug)]
pub(super) struct RttMeter {
    /// Middle of the NTP time of our reports, and when they left.
    sent: ArrayVec<(u32, Instant), MAX_REPORTS>,
    smoothed: Option<Duration>,
}

impl RttMeter {
    /// A sender report leaves.
    pub(super) fn on_report_sent(&mut self, now: Instant, ntp: NtpTime) {
        let middle = ntp.middle();
        if self.sent.iter().any(|(known, _)| *known == middle) {
            return;
        }
        if self.sent.is_full() {
            self.sent.remove(0);
        }
        self.sent.push((middle, now));
    }

    /// The peer refers to our report `last_sr`, which it held for `delay` (units of 1/65536 s). The new measurement,
    /// if it is one.
    pub(super) fn on_block(&mut self, now: Instant, last_sr: u32, delay: u32) -> Option<Duration> {
        let (_, left) = self.sent.iter().find(|(middle, _)| last_sr != 0 && *middle == last_sr)?;
        let held = Duration::from_nanos((u64::from(delay) * 1_000_000_000) >> 16);
        let rtt = now.saturating_since(*left).checked_sub(held)?;
        self.on_measured(rtt).then_some(rtt)
    }

    /// The round trip was measured in another way. False where it is none.
    pub(super) fn on_measured(&mut self, rtt: Duration) -> bool {
        if rtt >= MAX_RTT {
            return false;
        }
        // An eighth of weight for the newest, as TCP smooths its round trip (RFC 6298).
        let smoothed = self.smoothed.map_or(rtt, |old| (old * 7 + rtt) / 8);
        self.smoothed = Some(smoothed);
        true
    }

    /// The round trip, smoothed.
    pub(super) fn rtt(&self) -> Option<Duration> {
        self.smoothed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_the_peer_held_it_is_taken_off() {
        let mut meter = RttMeter::default();
        let ntp = NtpTime::from_unix(Duration::from_secs(1_000));
        meter.on_report_sent(Instant::from_millis(100), ntp);
        assert_eq!(meter.on_block(Instant::from_millis(400), ntp.middle(), 1 << 14), Some(Duration::from_millis(50)));
        assert_eq!(meter.on_block(Instant::from_millis(400), 77, 0), None, "not ours");
        assert_eq!(
            meter.on_block(Instant::from_millis(400), ntp.middle(), 1 << 20),
            None,
            "held longer than it was away"
        );
        assert_eq!(meter.rtt(), Some(Duration::from_millis(50)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut meter = RttMeter::default();
        for second in 0..100 {
            meter.on_report_sent(Instant::from_millis(second * 1_000), NtpTime::from_unix(Duration::from_secs(second)));
        }
        assert_eq!(meter.sent.len(), MAX_REPORTS);
    }
}
