//! How much video is sent where no directive asks for less: what the path to the server carries, by our own estimate, less
//! what else is sent over it. Down at once; up again when there has been more room for a while. Of several encodings the
//! largest are given up first.

use crate::peer::UplinkUse;
use crate::send::RunningEncoding;
use sfu_rtc::units::{Bitrate, DataSize};
use std::time::{Duration, Instant};

/// How often the path is looked at: as often as feedback comes.
pub(super) const TICK: Duration = Duration::from_millis(50);
/// Weight of a tick in the means of what is sent, which comes in packets.
const WEIGHT: f64 = 0.0625;
/// Room counts as more from this much on, once it has been that much for so long.
const MORE: f64 = 1.1;
const FOR: Duration = Duration::from_secs(1);
/// Pictures keep coming, however narrow the path is.
const LEAST: Bitrate = Bitrate::from_kbps(16);
/// An encoding is sent where there is room for this share of its bitrate, and again where there is room for that one: with
/// less, the next smaller one looks better.
const KEPT: f64 = 0.5;
const TAKEN_AGAIN: f64 = 0.75;

/// Fits video to the path.
#[derive(Default)]
pub(crate) struct UplinkFit {
    sent_before: Option<(Instant, UplinkUse)>,
    /// What is sent beside video, and video with and without headers, in bit/s.
    rates: Option<[f64; 3]>,
    room: Room,
    /// Encodings that are sent, smallest first.
    sent: usize,
}

impl UplinkFit {
    /// Tells the encodings, smallest first, what there is room for.
    pub(super) fn fit(&mut self, now: Instant, path: UplinkUse, encodings: &[RunningEncoding]) {
        let Some(room) = self.room(now, path) else { return };
        let wanted: Vec<Bitrate> = encodings.iter().map(|encoding| encoding.control.wanted()).collect();
        let shares = share_out(room, &wanted, self.sent);
        self.sent = shares.iter().rposition(|share| *share > Bitrate::ZERO).map_or(0, |last| last + 1);
        for (encoding, share) in encodings.iter().zip(shares) {
            encoding.control.set_room(share);
        }
    }

    /// What there is room for in all; `None` while nothing is known of the path. To be asked each [`TICK`].
    pub(crate) fn room(&mut self, now: Instant, path: UplinkUse) -> Option<Bitrate> {
        self.measure(now, path);
        let [now_only, lasting] = [path.estimate?, path.sustained?].map(|rate| self.payloads(rate));
        // What is held back while a queue drains is there again as soon as that is gone.
        Some(self.room.update(now, lasting).min(now_only).max(LEAST))
    }

    fn measure(&mut self, now: Instant, path: UplinkUse) {
        let before = self.sent_before.replace((now, path));
        let Some((at, before)) = before.filter(|(at, _)| now > *at) else { return };
        let rate = |left: DataSize, before| ((left - before).as_bytes() * 8) as f64 / (now - at).as_secs_f64();
        let rates = [
            rate(path.beside_video, before.beside_video),
            rate(path.video.0, before.video.0),
            rate(path.video.1, before.video.1),
        ];
        let means = self.rates.get_or_insert(rates);
        means.iter_mut().zip(rates).for_each(|(mean, rate)| *mean += (rate - *mean) * WEIGHT);
    }

    /// What of the estimate is for the payloads of video.
    fn payloads(&self, estimate: Bitrate) -> Bitrate {
        let [beside, video, payloads] = self.rates.unwrap_or_default();
        let share = if video > 0.0 { payloads / video } else { 1.0 };
        let left = estimate.saturating_sub(Bitrate::from_bps(beside as u64));
        // Headers take their share of what is less, and no more than they do of what is more: packets become larger first.
        (left * share).max(left.saturating_sub(Bitrate::from_bps((video - payloads).max(0.0) as u64)))
    }
}

/// What there is room for, with hysteresis.
#[derive(Default)]
struct Room {
    current: Option<Bitrate>,
    /// There was less room at some time: before, the path is being found out, and the estimate only rises.
    has_fallen: bool,
    /// Since when there is more, and the least of it.
    more: Option<(Instant, Bitrate)>,
}

impl Room {
    fn update(&mut self, now: Instant, found: Bitrate) -> Bitrate {
        let current = *self.current.get_or_insert(found);
        if found < current * MORE {
            self.more = None;
            self.has_fallen |= found < current;
            self.current = Some(found.min(current));
        } else if self.has_fallen {
            let (since, least) = self.more.unwrap_or((now, found));
            self.more = Some((since, least.min(found)));
            if now.saturating_duration_since(since) >= FOR {
                (self.current, self.more) = (Some(least.min(found)), None);
            }
        } else {
            self.current = Some(found);
        }
        self.current.unwrap_or(found)
    }
}

/// What each encoding may take, smallest first; zero where it is given up. Nothing is taken of those that nobody wants. The
/// smallest that is wanted is sent in any case; so many were sent before.
fn share_out(room: Bitrate, wanted: &[Bitrate], sent: usize) -> Vec<Bitrate> {
    let smallest = wanted.iter().position(|wanted| *wanted > Bitrate::ZERO).unwrap_or(0);
    let (mut left, mut is_full) = (room, false);
    let share = |(at, wanted): (usize, &Bitrate)| {
        if *wanted == Bitrate::ZERO {
            // Once somebody wants it, there is this for it until the next look.
            return left.max(LEAST);
        }
        let least = *wanted * if at < sent { KEPT } else { TAKEN_AGAIN };
        is_full |= at > smallest && left < least;
        if is_full {
            return Bitrate::ZERO;
        }
        let share = left.min(*wanted);
        left = left.saturating_sub(share);
        share
    };
    wanted.iter().enumerate().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kbps(rate: u64) -> Bitrate {
        Bitrate::from_kbps(rate)
    }

    #[test]
    fn room_falls_at_once_and_rises_after_a_second_of_more() {
        let (mut room, begun) = (Room::default(), Instant::now());
        let mut at = |millis: u64, found| room.update(begun + Duration::from_millis(millis), kbps(found)).as_kbps();
        assert_eq!([at(0, 600), at(100, 1_000), at(200, 1_050), at(300, 1_500)], [600, 1_000, 1_000, 1_500]);
        assert_eq!([at(400, 300), at(500, 280)], [300, 280]);
        // A tenth more is none; what is more for less than a second neither.
        assert_eq!([at(600, 300), at(2_000, 300), at(2_100, 400), at(2_500, 290), at(3_200, 400)], [280; 5]);
        assert_eq!([at(4_100, 350), at(4_200, 500), at(4_300, 500), at(5_400, 450)], [280, 350, 350, 450]);
    }

    #[test]
    fn what_is_sent_beside_video_takes_its_room() {
        let (mut fit, begun) = (UplinkFit::default(), Instant::now());
        assert_eq!(fit.payloads(kbps(300)), kbps(300));
        for tick in 0..50u64 {
            // 100 kbit/s, and video of which a fifth is headers.
            let bytes = |each: u64| DataSize::from_bytes(each * tick);
            let path =
                UplinkUse { beside_video: bytes(625), video: (bytes(1_250), bytes(1_000)), ..Default::default() };
            fit.measure(begun + TICK * tick as u32, path);
        }
        assert_eq!(fit.payloads(kbps(300)).as_kbps(), 160);
        assert_eq!(fit.payloads(kbps(50)), Bitrate::ZERO);
    }

    #[test]
    fn encodings_are_given_up_from_the_largest_on() {
        let wanted = [kbps(150), kbps(500), kbps(1_500)];
        let share =
            |room, sent| share_out(kbps(room), &wanted, sent).iter().map(|rate| rate.as_kbps()).collect::<Vec<_>>();
        assert_eq!(share(5_000, 3), [150, 500, 1_500]);
        assert_eq!(share(1_450, 3), [150, 500, 800]);
        assert_eq!(share(1_450, 2), [150, 500, 0], "taken again later than given up");
        assert_eq!(share(1_300, 3), [150, 500, 0]);
        assert_eq!(share(300, 3), [150, 0, 0]);
        assert_eq!(share(20, 0), [20, 0, 0]);
        // The smallest that somebody wants is sent in any case.
        let wanted = [kbps(0), kbps(0), kbps(1_500)];
        assert_eq!(share_out(kbps(100), &wanted, 1)[2], kbps(100));
    }
}
