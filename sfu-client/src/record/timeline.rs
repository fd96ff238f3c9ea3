//! When what was received is to be shown: one time for all streams of a call.
//!
//! A stream's timestamps say how its frames stand to each other; which time of the call they belong to is told by the
//! server's sender reports, all on its clock, so that lips and voice stay together. Until a stream has one, and where
//! its timestamps jump, its time is when it came.

use crate::peer::SenderClock;
use std::time::Duration;

/// A stream whose time is further than this from when it came has jumped.
const JUMP: i64 = 5_000_000_000;

/// The call's time zero on the server's clock, once it is known: nanoseconds since 1900.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Origin(Option<i128>);

/// The time of one stream.
#[derive(Clone, Debug)]
pub(super) struct StreamTime {
    clock_rate: u32,
    /// Without a report: a timestamp and its time.
    anchor: Option<(u32, i64)>,
}

impl StreamTime {
    pub(super) fn new(clock_rate: u32) -> Self {
        Self { clock_rate, anchor: None }
    }

    /// The time in nanoseconds of the frame with this timestamp, which came at `arrival`.
    pub(super) fn at(
        &mut self,
        origin: &mut Origin,
        timestamp: u32,
        arrival: Duration,
        clock: Option<SenderClock>,
    ) -> i64 {
        let arrival = i64::try_from(arrival.as_nanos()).unwrap_or(i64::MAX);
        let is_near = |time: &i64| (time - arrival).abs() < JUMP;
        if let Some(clock) = clock {
            let sent = clock.captured(timestamp, self.clock_rate);
            let origin = *origin.0.get_or_insert(sent - i128::from(arrival));
            if let Some(time) = i64::try_from(sent - origin).ok().filter(is_near) {
                self.anchor = Some((timestamp, time));
                return time;
            }
        }
        let anchored = self.anchor.map(|(before, time)| time + self.since(before, timestamp)).filter(is_near);
        let time = anchored.unwrap_or(arrival);
        self.anchor = Some((timestamp, time));
        time
    }

    /// Nanoseconds between two timestamps that are within half of their circle.
    fn since(&self, before: u32, timestamp: u32) -> i64 {
        i64::from(timestamp.wrapping_sub(before) as i32) * 1_000_000_000 / i64::from(self.clock_rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn streams_are_in_step_by_the_servers_clock_however_they_came() {
        let mut origin = Origin::default();
        let (mut sound, mut picture) = (StreamTime::new(48_000), StreamTime::new(90_000));
        // Both of these timestamps belong to second 100.
        let sound_clock = Some(SenderClock { ntp: 100 << 32, rtp: u32::MAX - 10 });
        let picture_clock = Some(SenderClock { ntp: 100 << 32, rtp: 5_000 });
        let zero = sound.at(&mut origin, u32::MAX - 10, ms(40), sound_clock);
        assert_eq!(zero, 40 * MS);
        // Both a second later; the picture took 300 ms longer.
        let said = sound.at(&mut origin, 48_000 - 11, ms(1_040), sound_clock);
        let seen = picture.at(&mut origin, 95_000, ms(1_340), picture_clock);
        assert_eq!((said, seen), (1_040 * MS, 1_040 * MS));
    }

    #[test]
    fn without_a_report_timestamps_count_from_the_first_arrival() {
        let (mut origin, mut stream) = (Origin::default(), StreamTime::new(90_000));
        let at = [(4_294_966_000, 100, 100), (2_000 - 1_296, 180, 122), (9_000 + 704, 250, 222)];
        for (timestamp, arrival, expected) in at {
            let time = stream.at(&mut origin, timestamp, ms(arrival), None);
            assert_eq!(time / MS, expected, "{timestamp}");
        }
    }

    #[test]
    fn a_jump_of_timestamps_is_none_of_time() {
        let (mut origin, mut stream) = (Origin::default(), StreamTime::new(90_000));
        let clock = Some(SenderClock { ntp: 1 << 32, rtp: 0 });
        assert_eq!(stream.at(&mut origin, 0, ms(50), clock), 50 * MS);
        assert_eq!(stream.at(&mut origin, 3_000_000_000, ms(90), clock), 90 * MS, "before its report");
        assert_eq!(stream.at(&mut origin, 3_000_000_900, ms(300), clock), 100 * MS, "on from there");
        // A pause in which the clock went on.
        let clock = Some(SenderClock { ntp: 61 << 32, rtp: 7 });
        assert_eq!(stream.at(&mut origin, 7, ms(60_200), clock), 60_050 * MS);
    }
}
