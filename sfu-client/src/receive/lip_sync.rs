//! Lips and voice of one sender together (RFC 3550 section 6.4.1): its sender reports tell when each of its streams was
//! captured, on one clock. How much later each is shown or played is compared, and what is ahead waits: pictures until
//! shortly before the sound of their time, sound as long as nearly all pictures need.

use crate::peer::{MediaKind, ReportWatch};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Pictures are shown so much before their sound: nobody notices, and they come that much sooner. ITU-R BT.1359 has
/// 45 ms as the least that is noticed.
const LEAD: i128 = 15_000_000;
/// Pictures wait for sound no longer than this, and sound for pictures.
const MOST: Duration = Duration::from_millis(400);
/// Delays that differ by more are not of one clock.
const ABSURD: i128 = 5_000_000_000;
/// A stream of which nothing was shown for so long is not waited for.
const STALE: Duration = Duration::from_secs(1);
/// Pictures of which the delay is remembered: two seconds.
const REMEMBERED: usize = 60;
/// Share of them that sound waits for.
const QUANTILE: f64 = 0.9;
/// Weight of the newest step of sound in its mean delay.
const WEIGHT: i128 = 16;

/// From capture, on the sender's clock, to display, on ours: only differences mean anything. In nanoseconds.
type Delay = i128;

/// The streams of one session.
#[derive(Clone)]
pub struct LipSync {
    epoch: Instant,
    reports: ReportWatch,
    streams: Arc<Mutex<Vec<Stream>>>,
}

struct Stream {
    mid: String,
    kind: MediaKind,
    sender: String,
    /// When it was last shown or played, and with which delay: of pictures what nearly all need, of sound what it has.
    delay: Option<(Instant, Delay)>,
}

impl LipSync {
    /// Without streams; `reports` are the connection's.
    pub fn new(reports: ReportWatch) -> Self {
        Self { epoch: Instant::now(), reports, streams: Arc::default() }
    }

    /// A stream more, of section `mid`. Until [`Self::set_senders`] says otherwise, all are of one sender.
    pub fn stream(&self, mid: &str, kind: MediaKind) -> StreamSync {
        let mut streams = self.lock();
        streams.push(Stream { mid: mid.to_owned(), kind, sender: String::new(), delay: None });
        let place = streams.len() - 1;
        StreamSync { of: self.clone(), place, kind, ssrc: None, recent: VecDeque::with_capacity(REMEMBERED) }
    }

    /// Tells whose each stream is; `sender` is asked by section.
    pub fn set_senders(&self, sender: impl Fn(&str) -> String) {
        for stream in &mut *self.lock() {
            let sender = sender(&stream.mid);
            if sender != stream.sender {
                (stream.sender, stream.delay) = (sender, None);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Stream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One stream's part.
pub struct StreamSync {
    of: LipSync,
    place: usize,
    kind: MediaKind,
    ssrc: Option<u32>,
    /// Delays of pictures, oldest first.
    recent: VecDeque<Delay>,
}

impl StreamSync {
    /// What comes next is of the stream `ssrc`.
    pub(super) fn on_packet(&mut self, ssrc: u32) {
        self.ssrc = Some(ssrc);
    }

    /// When to show the picture of `timestamp`, which could be shown at `ready`.
    pub(super) fn show_at(&mut self, timestamp: u32, ready: Instant) -> Instant {
        let Some(delay) = self.delay(timestamp, ready) else { return ready };
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(delay);
        let needed = quantile(&self.recent);
        let sound = self.exchange(ready, needed);
        ready + sound.map_or(Duration::ZERO, |sound| wait(sound - LEAD - delay))
    }

    /// Sound of `timestamp` is played at `now`: by how much it is to be played later, or could be sooner, for pictures.
    /// `None` where there are none to wait for.
    pub(super) fn on_sound(&mut self, timestamp: u32, now: Instant) -> Option<Offset> {
        let delay = self.delay(timestamp, now)?;
        let before = self.of.lock()[self.place].delay.map(|(_, before)| before);
        let mean = before.filter(|before| (delay - before).abs() < ABSURD);
        let mean = mean.map_or(delay, |mean| mean + (delay - mean) / WEIGHT);
        let pictures = self.exchange(now, mean)?;
        let ahead = pictures - delay;
        Some(if ahead > 0 { Offset::Later(wait(ahead)) } else { Offset::Sooner(wait(-ahead)) })
    }

    /// From capture to `shown`.
    fn delay(&self, timestamp: u32, shown: Instant) -> Option<Delay> {
        let clock = self.of.reports.clock(self.ssrc?)?;
        let captured = clock.captured(timestamp, self.kind.clock_rate());
        let shown = shown.saturating_duration_since(self.of.epoch).as_nanos();
        Some(i128::try_from(shown).ok()? - captured)
    }

    /// Tells the others this stream's delay, and returns the longest of those of the other kind.
    fn exchange(&self, now: Instant, delay: Delay) -> Option<Delay> {
        let mut streams = self.of.lock();
        streams[self.place].delay = Some((now, delay));
        let sender = &streams[self.place].sender;
        let others = streams.iter().filter(|other| other.kind != self.kind && other.sender == *sender);
        let fresh = others.filter_map(|other| other.delay.filter(|(at, _)| now.saturating_duration_since(*at) < STALE));
        fresh.map(|(_, other)| other).filter(|other| (other - delay).abs() < ABSURD).max()
    }
}

/// By how much sound could be played at another time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Offset {
    /// It is ahead of the pictures.
    Later(Duration),
    /// The pictures do not need it to wait for so long.
    Sooner(Duration),
}

fn wait(nanos: i128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX)).min(MOST)
}

fn quantile(delays: &VecDeque<Delay>) -> Delay {
    let mut sorted: Vec<Delay> = delays.iter().copied().collect();
    sorted.sort_unstable();
    let at = (sorted.len().saturating_sub(1) as f64 * QUANTILE) as usize;
    sorted.get(at).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtcp::sender_report::SenderReport;

    const SOUND: u32 = 1;
    const PICTURE: u32 = 2;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// A stream of each kind, whose timestamp zero was captured at the same time.
    fn streams() -> (LipSync, StreamSync, StreamSync) {
        let reports = ReportWatch::default();
        for ssrc in [SOUND, PICTURE] {
            reports.on_sender_report(&SenderReport { ssrc, ntp_time: 100 << 32, rtp_time: 0, ..Default::default() });
        }
        let sync = LipSync::new(reports);
        let mut sound = sync.stream("0", MediaKind::Audio);
        let mut picture = sync.stream("1", MediaKind::Video);
        sound.on_packet(SOUND);
        picture.on_packet(PICTURE);
        (sync, sound, picture)
    }

    #[test]
    fn pictures_wait_until_shortly_before_their_sound() {
        let (sync, mut sound, mut picture) = streams();
        let zero = sync.epoch + ms(1_000);
        assert_eq!(picture.show_at(0, zero + ms(66)), zero + ms(66), "no sound is known");
        assert_eq!(sound.on_sound(4_800, zero + ms(205)), Some(Offset::Sooner(ms(39))));
        assert_eq!(picture.show_at(9_000, zero + ms(166)), zero + ms(190));
        assert_eq!(picture.show_at(18_000, zero + ms(295)), zero + ms(295), "it is late by itself");
        // Sound that stopped long ago is not waited for.
        assert_eq!(picture.show_at(180_000, zero + ms(2_066)), zero + ms(2_066));
    }

    #[test]
    fn sound_waits_for_pictures_that_come_later() {
        let (sync, mut sound, mut picture) = streams();
        let zero = sync.epoch + ms(1_000);
        for number in 0..60 {
            // One in twenty is later still.
            let late = if number % 20 == 7 { 600 } else { 180 };
            picture.show_at(number * 3_000, zero + ms(u64::from(number) * 1_000 / 30 + late));
        }
        let heard = sound.on_sound(96_000, zero + ms(2_060));
        assert!(matches!(heard, Some(Offset::Later(time)) if time.abs_diff(ms(120)) < ms(1)), "{heard:?}");
    }

    #[test]
    fn another_sender_or_another_clock_is_not_waited_for() {
        let (sync, mut sound, mut picture) = streams();
        let zero = sync.epoch + ms(1_000);
        sync.set_senders(|mid| format!("sender {mid}"));
        picture.show_at(0, zero + ms(300));
        assert_eq!(sound.on_sound(0, zero + ms(300)), None);
        sync.set_senders(|_| "ada".to_owned());
        picture.show_at(0, zero + ms(300));
        assert_eq!(sound.on_sound(0, zero + ms(300)), Some(Offset::Sooner(Duration::ZERO)));
        assert_eq!(sound.on_sound(0, zero + ms(9_000)), None);
        sound.on_packet(3);
        assert_eq!(sound.on_sound(0, zero + ms(300)), None, "a stream without a report");
    }
}
