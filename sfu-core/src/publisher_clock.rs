//! Clocks of publishers, and the sender reports that we make from theirs.
//!
//! A sender report (RFC 3550 section 6.4.1) says which wall-clock time a stream's timestamp belongs to; a receiver
//! plays audio and video in step by it. A publisher's reports are on its own clock, which has nothing to do with
//! ours or with that of the next publisher on the same slot. Ours are therefore on our clock: per publisher, the
//! offset between the clocks is taken from its reports, as the smallest seen (the least time on the way), and is
//! the same for all its streams. So streams of one publisher stay in step exactly, streams of several are comparable,
//! and the round trip that a subscriber's report gives is measured on one clock.

use sfu_rtc::time::{Duration, Instant, NtpTime, WallClock};

/// How fast the offset may grow again: clocks of computers drift by less than 100 parts per million; twice that.
const DRIFT_PER_SECOND: f64 = 200e-6;
/// An offset that grows by more than this is a clock that was set.
const CLOCK_WAS_SET: Duration = Duration::from_secs(2);

/// Nanoseconds since 1900.
type NtpNanos = i128;

fn nanos(ntp: NtpTime) -> NtpNanos {
    let fraction = (i128::from(ntp.0 & 0xffff_ffff) * 1_000_000_000) >> 32;
    i128::from(ntp.0 >> 32) * 1_000_000_000 + fraction
}

/// How far a publisher's clock is from ours.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct PublisherClock {
    /// Our time less the publisher's, time on the way included; with when it was learned.
    offset: Option<(i128, Instant)>,
}

impl PublisherClock {
    /// A sender report that says `ntp` arrived.
    pub(crate) fn on_sender_report(&mut self, now: Instant, clock: &WallClock, ntp: NtpTime) {
        let seen = nanos(clock.ntp(now)) - nanos(ntp);
        let offset = match self.offset {
            None => seen,
            Some((offset, at)) => {
                let drift = ((now - at).as_nanos() as f64 * DRIFT_PER_SECOND) as i128;
                let was_set = (seen - offset).unsigned_abs() > CLOCK_WAS_SET.as_nanos();
                if was_set { seen } else { seen.min(offset + drift) }
            }
        };
        self.offset = Some((offset, now));
    }

    /// For another worker: nanoseconds from the publisher's clock to ours, and when that was learned.
    pub(crate) fn offset(&self) -> Option<(i64, Instant)> {
        let (offset, learned) = self.offset?;
        // 64 bits of NTP are 4.3e18 nanoseconds, either way.
        Some((i64::try_from(offset).ok()?, learned))
    }

    /// As another worker sent it.
    pub(crate) fn from_offset(offset: i64, learned: Instant) -> Self {
        Self { offset: Some((i128::from(offset), learned)) }
    }

    /// The publisher's time when ours is `now`.
    fn theirs(&self, now: Instant, clock: &WallClock) -> Option<NtpNanos> {
        self.offset.map(|(offset, _)| nanos(clock.ntp(now)) - offset)
    }
}

/// Which time of the publisher's clock a timestamp of one of its streams belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamClock {
    ntp: NtpNanos,
    rtp: u32,
    clock_rate: u32,
}

impl StreamClock {
    /// From the stream's sender report.
    pub(crate) fn new(ntp: NtpTime, rtp: u32, clock_rate: u32) -> Self {
        Self { ntp: nanos(ntp), rtp, clock_rate }
    }

    /// The timestamp of this stream at the instant to which `timestamp` belongs in `other`, a stream of the same
    /// publisher.
    pub(crate) fn translate(&self, other: &Self, timestamp: u32) -> u32 {
        let ticks = i64::from(timestamp.wrapping_sub(other.rtp) as i32);
        let ticks = ticks * i64::from(self.clock_rate) / i64::from(other.clock_rate.max(1));
        self.timestamp_at(other.ntp).wrapping_add(ticks as u32)
    }

    fn timestamp_at(&self, ntp: NtpNanos) -> u32 {
        let ticks = (ntp - self.ntp) * i128::from(self.clock_rate) / 1_000_000_000;
        self.rtp.wrapping_add(ticks as u32)
    }
}

/// Where a received stream's timestamps stand now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewestTimestamp {
    pub(crate) timestamp: u32,
    pub(crate) arrival: Instant,
    pub(crate) clock_rate: u32,
}

/// The received stream's timestamp for the present, as our sender report to a subscriber needs it. Before the
/// publisher's first report, the newest packet's arrival stands for the time of its capture.
pub(crate) fn timestamp_now(
    now: Instant,
    clock: &WallClock,
    publisher: &PublisherClock,
    stream: Option<&StreamClock>,
    newest: &NewestTimestamp,
) -> u32 {
    if let (Some(stream), Some(theirs)) = (stream, publisher.theirs(now, clock)) {
        return stream.timestamp_at(theirs);
    }
    let elapsed = (now - newest.arrival).as_nanos() * u128::from(newest.clock_rate) / 1_000_000_000;
    newest.timestamp.wrapping_add(elapsed as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    /// NTP time of a publisher whose clock is 100 s behind ours.
    fn theirs(ms: u64) -> NtpTime {
        NtpTime::from_unix(Duration::from_millis(900_000 + ms))
    }

    const CLOCK: WallClock = WallClock::new(Instant::ZERO, Duration::from_secs(1_000));

    #[test]
    fn audio_and_video_stay_in_step() {
        let mut publisher = PublisherClock::default();
        // Both streams show timestamp 0 at their time 0. Their reports take 30 and 80 ms on the way.
        publisher.on_sender_report(ms(1_030), &CLOCK, theirs(1_000));
        let video = StreamClock::new(theirs(1_000), 90_000, 90_000);
        publisher.on_sender_report(ms(2_080), &CLOCK, theirs(2_000));
        let audio = StreamClock::new(theirs(2_000), 96_000, 48_000);
        let stale = NewestTimestamp { timestamp: 5, arrival: ms(0), clock_rate: 90_000 };
        let at = |stream| timestamp_now(ms(3_030), &CLOCK, &publisher, Some(stream), &stale);
        let (video, audio) = (f64::from(at(&video)) / 90_000.0, f64::from(at(&audio)) / 48_000.0);
        assert!((video - 3.0).abs() < 0.001 && (video - audio).abs() < 0.000_1, "{video} {audio}");
    }

    #[test]
    fn without_reports_the_arrival_counts() {
        let newest = NewestTimestamp { timestamp: u32::MAX, arrival: ms(500), clock_rate: 90_000 };
        let now = timestamp_now(ms(600), &CLOCK, &PublisherClock::default(), None, &newest);
        assert_eq!(now, 9_000 - 1);
    }

    #[test]
    fn layers_translate_over_the_wrap() {
        let low = StreamClock::new(theirs(0), u32::MAX - 100, 90_000);
        let high = StreamClock::new(theirs(500), 7, 90_000);
        assert_eq!(low.translate(&high, 7), (u32::MAX - 100).wrapping_add(45_000));
        assert_eq!(high.translate(&low, u32::MAX - 100), 7_u32.wrapping_sub(45_000));
    }

    #[test]
    fn a_clock_that_was_set_is_learned_anew() {
        let mut publisher = PublisherClock::default();
        publisher.on_sender_report(ms(1_000), &CLOCK, theirs(1_000));
        publisher.on_sender_report(ms(2_000), &CLOCK, theirs(12_000));
        let stream = StreamClock::new(theirs(12_000), 0, 1_000);
        let newest = NewestTimestamp { timestamp: 0, arrival: ms(0), clock_rate: 1_000 };
        // To the millisecond; NTP fractions round down.
        assert_eq!(timestamp_now(ms(2_101), &CLOCK, &publisher, Some(&stream), &newest).div_ceil(10), 10);
    }
}
