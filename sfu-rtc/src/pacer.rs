//! The pacer: in which order, and how quickly, a subscriber's packets leave.
//!
//! Bytes are budgeted at a factor times the estimate, in bursts of at most one grain, so that the packets of one
//! frame do not overrun the narrowest queue on the way, while those of one grain still leave together (and so as
//! one GSO send). Audio is charged to the budget but never waits for it.

use crate::drop_reason::DropReason;
use crate::time::{Duration, Instant};
use crate::units::{Bitrate, DataSize};
use std::collections::VecDeque;

/// What a packet is for, in the order in which packets leave.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PacketClass {
    /// Audio: late audio is lost audio.
    Audio,
    /// A retransmission: its frame waits for it already.
    Rtx,
    /// Video.
    Video,
    /// Forward error correction.
    Fec,
    /// Padding and probes.
    Padding,
}

impl PacketClass {
    const COUNT: usize = 5;
}

/// Limits of a [`Pacer`].
#[derive(Clone, PartialEq, Debug)]
pub struct PacerConfig {
    /// Pacing rate over the estimate. At 1.5 a frame leaves within two thirds of its time, and the estimator still sees
    /// its bursts spread. libwebrtc's 2.5 queues at the bottleneck what need not leave yet, and more so after a fall.
    pub factor: f64,
    /// The same while a queue stands at the bottleneck, and the estimate is less than the path carries so that it drains:
    /// at the usual factor, what waits here would keep it as it is; at 1, what waits would come late.
    pub queued_factor: f64,
    /// Longest burst. At 5 ms a timer per subscriber costs little and a queue of 5 ms harms nobody.
    pub grain: Duration,
    /// Most packets waiting, audio apart: 2 s of 10 Mbit/s. More would be too old to be of use.
    pub max_packets: usize,
    /// Most audio packets waiting: they wait only for the next drain, so this is met only when nobody drains.
    pub max_audio_packets: usize,
}

impl Default for PacerConfig {
    fn default() -> Self {
        Self {
            factor: 1.5,
            queued_factor: 1.2,
            grain: Duration::from_millis(5),
            max_packets: 2_048,
            max_audio_packets: 512,
        }
    }
}

/// Packets of a class that wait at times: room for them is made at once, so that none is looked for when repair first waits.
const USUALLY_WAITING: usize = 16;

#[derive(Debug)]
struct Queued<T> {
    size: DataSize,
    item: T,
}

/// A bounded queue per [`PacketClass`] behind one byte budget.
#[derive(Debug)]
pub struct Pacer<T> {
    config: PacerConfig,
    queues: [VecDeque<Queued<T>>; PacketClass::COUNT],
    waiting: usize,
    queued: DataSize,
    /// `None`: nothing is held back.
    rate: Option<Bitrate>,
    /// Bytes that may still leave in this burst; negative after a packet larger than what was left.
    budget: i64,
    refilled: Instant,
    /// The burst is spent: the next begins here.
    resume_at: Option<Instant>,
}

impl<T> Pacer<T> {
    /// An empty pacer that holds nothing back until [`Pacer::set_estimate`].
    pub fn new(config: PacerConfig) -> Self {
        Self {
            config,
            queues: std::array::from_fn(|_| VecDeque::new()),
            waiting: 0,
            queued: DataSize::ZERO,
            rate: None,
            budget: 0,
            refilled: Instant::ZERO,
            resume_at: None,
        }
    }

    /// Paces by a new estimate, and whether a queue stands at the bottleneck; `None` lets everything leave at once.
    pub fn set_estimate(&mut self, now: Instant, estimate: Option<Bitrate>, is_queued: bool) {
        self.set_rate(now, self.paced(estimate, is_queued));
    }

    /// The same, but no more slowly than what waits now needs to leave within `time`: for a sender whose encoder decides
    /// how much there is.
    pub fn set_estimate_within(&mut self, now: Instant, estimate: Option<Bitrate>, is_queued: bool, time: Duration) {
        let least = self.queued.per(time.max(self.config.grain));
        self.set_rate(now, self.paced(estimate, is_queued).map(|rate| rate.max(least)));
    }

    fn paced(&self, estimate: Option<Bitrate>, is_queued: bool) -> Option<Bitrate> {
        let factor = if is_queued { self.config.queued_factor.min(self.config.factor) } else { self.config.factor };
        estimate.map(|rate| rate * factor)
    }

    /// Paces at exactly `rate`, as a probe wants it; `None` lets everything leave at once.
    pub(crate) fn set_rate(&mut self, now: Instant, rate: Option<Bitrate>) {
        if rate == self.rate {
            return;
        }
        // What was earned until now was earned at the old rate.
        if let Some(old) = self.rate {
            self.refill(now, old);
        }
        self.rate = rate;
        if rate.is_some() {
            self.make_room();
        }
        let Some(rate) = rate else {
            (self.resume_at, self.budget) = (None, 0);
            return;
        };
        self.budget = self.budget.min(bytes(rate.in_duration(self.config.grain)));
        // A wait was computed at the old rate: at a higher one it is over sooner.
        if let Some(at) = self.resume_at.filter(|at| *at > now) {
            let debt = DataSize::from_bytes(self.budget.min(0).unsigned_abs());
            self.resume_at = Some(at.min(now + self.config.grain.max(rate.time_for(debt))));
        }
    }

    /// From now on packets may have to wait.
    fn make_room(&mut self) {
        for class in [PacketClass::Rtx, PacketClass::Video, PacketClass::Fec] {
            let queue = &mut self.queues[class as usize];
            if queue.capacity() == 0 {
                queue.reserve_exact(USUALLY_WAITING);
            }
        }
    }

    /// Takes a packet of `size` bytes. Refuses it where its queue is full.
    pub fn push(&mut self, class: PacketClass, size: DataSize, item: T) -> Result<(), DropReason> {
        let audio = &self.queues[PacketClass::Audio as usize];
        let full = match class {
            PacketClass::Audio => audio.len() >= self.config.max_audio_packets,
            _ => self.waiting - audio.len() >= self.config.max_packets,
        };
        if full {
            return Err(DropReason::QueueFull);
        }
        self.queues[class as usize].push_back(Queued { size, item });
        self.waiting += 1;
        self.queued += size;
        Ok(())
    }

    /// The next packet that may leave at `now`.
    pub fn pop(&mut self, now: Instant) -> Option<T> {
        if self.waiting == 0 {
            return None;
        }
        if let Some(audio) = self.pop_audio(now) {
            return Some(audio);
        }
        if !self.may_burst(now) {
            return None;
        }
        let next = self.queues.iter_mut().find_map(VecDeque::pop_front)?;
        Some(self.release(now, next))
    }

    /// The next audio packet.
    pub(crate) fn pop_audio(&mut self, now: Instant) -> Option<T> {
        let audio = self.queues[PacketClass::Audio as usize].pop_front()?;
        Some(self.release(now, audio))
    }

    /// Whether a packet of `size` bytes may leave now without waiting here; it is then charged as if it had.
    pub fn pass(&mut self, now: Instant, class: PacketClass, size: DataSize) -> bool {
        let goes_before = &self.queues[..=class as usize];
        if self.waiting > 0 && goes_before.iter().any(|queue| !queue.is_empty()) {
            return false;
        }
        if class != PacketClass::Audio && !self.may_burst(now) {
            return false;
        }
        self.charge(now, size);
        true
    }

    /// When [`Pacer::pop`] will have a packet; the past means now.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.waiting == 0 {
            None
        } else if !self.queues[PacketClass::Audio as usize].is_empty() {
            Some(Instant::ZERO)
        } else {
            Some(self.resume_at.unwrap_or(Instant::ZERO))
        }
    }

    /// When the next burst begins, where one is not possible now; for who has something to send that does not wait here.
    pub(crate) fn next_burst(&self) -> Option<Instant> {
        self.resume_at
    }

    /// Size of what [`Pacer::pop`] gives next.
    pub fn next_size(&self) -> Option<DataSize> {
        self.queues.iter().find_map(VecDeque::front).map(|next| next.size)
    }

    /// How many packets wait.
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// How many bytes wait.
    pub fn queued(&self) -> DataSize {
        self.queued
    }

    /// Drops what waits in `class` and is not to be kept; how many packets.
    pub(crate) fn retain(&mut self, class: PacketClass, mut keep: impl FnMut(&T) -> bool) -> usize {
        let queue = &mut self.queues[class as usize];
        let (before, mut dropped) = (queue.len(), DataSize::ZERO);
        queue.retain(|waiting| {
            let kept = keep(&waiting.item);
            dropped += if kept { DataSize::ZERO } else { waiting.size };
            kept
        });
        let count = before - queue.len();
        self.waiting -= count;
        self.queued = self.queued - dropped;
        count
    }

    /// How long what waits takes to leave; nothing where nothing is held back.
    pub(crate) fn drain_time(&self) -> Duration {
        self.rate.map_or(Duration::ZERO, |rate| rate.time_for(self.queued))
    }

    /// Drops all that waits.
    pub fn clear(&mut self) {
        self.queues.iter_mut().for_each(VecDeque::clear);
        self.waiting = 0;
        self.queued = DataSize::ZERO;
    }

    fn release(&mut self, now: Instant, queued: Queued<T>) -> T {
        self.waiting -= 1;
        self.queued = self.queued - queued.size;
        self.charge(now, queued.size);
        queued.item
    }

    /// A packet leaves that did not wait here.
    pub(crate) fn charge(&mut self, now: Instant, size: DataSize) {
        let Some(rate) = self.rate else { return };
        self.refill(now, rate);
        self.budget -= bytes(size);
        if self.budget <= 0 {
            self.wait_for_debt(now, rate);
        }
    }

    fn may_burst(&mut self, now: Instant) -> bool {
        let Some(rate) = self.rate else { return true };
        if self.resume_at.is_some_and(|at| now < at) {
            return false;
        }
        self.resume_at = None;
        self.refill(now, rate);
        // After a wait of a grain the budget is at least nothing, and one packet may always overdraw it; unless the
        // rate fell during the wait.
        if self.budget < 0 {
            self.wait_for_debt(now, rate);
            return false;
        }
        true
    }

    fn wait_for_debt(&mut self, now: Instant, rate: Bitrate) {
        let debt = DataSize::from_bytes(self.budget.unsigned_abs());
        self.resume_at = Some(now + self.config.grain.max(rate.time_for(debt)));
    }

    fn refill(&mut self, now: Instant, rate: Bitrate) {
        let burst = bytes(rate.in_duration(self.config.grain));
        let earned = bytes(rate.in_duration(now.saturating_since(self.refilled)));
        self.budget = self.budget.saturating_add(earned).min(burst);
        self.refilled = now;
    }
}

fn bytes(size: DataSize) -> i64 {
    i64::try_from(size.as_bytes()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: DataSize = DataSize::from_bytes(1_000);

    fn pacer(kbps: u64) -> Pacer<u32> {
        let mut pacer = Pacer::new(PacerConfig { factor: 1.0, ..PacerConfig::default() });
        pacer.set_estimate(Instant::ZERO, Some(Bitrate::from_kbps(kbps)), false);
        pacer
    }

    fn drain(pacer: &mut Pacer<u32>, now: Instant) -> Vec<u32> {
        std::iter::from_fn(|| pacer.pop(now)).collect()
    }

    #[test]
    fn what_need_not_wait_passes_and_is_charged() {
        let now = Instant::from_millis(100);
        let mut pacer = pacer(800);
        // A burst of 5 ms is 500 bytes: one packet overdraws it.
        assert!(pacer.pass(now, PacketClass::Video, PACKET));
        assert!(!pacer.pass(now, PacketClass::Video, PACKET), "the burst is spent");
        assert!(pacer.pass(now, PacketClass::Audio, PACKET), "audio never waits");
        pacer.push(PacketClass::Video, PACKET, 1).unwrap();
        let later = now + Duration::from_secs(1);
        assert!(!pacer.pass(later, PacketClass::Video, PACKET), "nothing overtakes what waits");
        assert!(pacer.pass(later, PacketClass::Rtx, PACKET), "but what goes before it");
    }

    #[test]
    fn classes_leave_in_their_order() {
        let mut pacer = Pacer::new(PacerConfig::default());
        let classes =
            [PacketClass::Padding, PacketClass::Fec, PacketClass::Video, PacketClass::Rtx, PacketClass::Audio];
        for (i, class) in classes.into_iter().enumerate() {
            pacer.push(class, PACKET, i as u32).unwrap();
        }
        assert_eq!(drain(&mut pacer, Instant::ZERO), [4, 3, 2, 1, 0]);
        assert!(pacer.is_empty() && pacer.queued() == DataSize::ZERO);
    }

    #[test]
    fn without_an_estimate_nothing_waits() {
        let mut pacer = Pacer::new(PacerConfig::default());
        (0..1_000).for_each(|i| pacer.push(PacketClass::Video, PACKET, i).unwrap());
        assert_eq!(drain(&mut pacer, Instant::ZERO).len(), 1_000);
    }

    #[test]
    fn the_rate_is_kept_and_bursts_are_one_grain() {
        let mut pacer = pacer(8_000); // 1 kB per ms
        (0..200).for_each(|i| pacer.push(PacketClass::Video, PACKET, i).unwrap());
        let (mut sent, mut now) = (0, Instant::from_millis(1_000));
        while !pacer.is_empty() {
            let burst = drain(&mut pacer, now).len();
            assert!((1..=6).contains(&burst), "{burst}");
            sent += burst;
            let next = pacer.poll_timeout();
            now = next.unwrap_or(now).max(now);
        }
        assert_eq!(sent, 200);
        let took = now - Instant::from_millis(1_000);
        assert!((180..=205).contains(&took.as_millis()), "{took:?}");
    }

    #[test]
    fn audio_overtakes_a_spent_budget() {
        let mut pacer = pacer(80);
        (0..10).for_each(|i| pacer.push(PacketClass::Video, PACKET, i).unwrap());
        let now = Instant::from_millis(500);
        assert_eq!(drain(&mut pacer, now), [0]);
        pacer.push(PacketClass::Audio, DataSize::from_bytes(100), 77).unwrap();
        assert_eq!(pacer.poll_timeout(), Some(Instant::ZERO));
        assert_eq!(drain(&mut pacer, now), [77]);
        assert!(pacer.poll_timeout().unwrap() > now);
    }

    #[test]
    fn a_full_queue_refuses_but_still_takes_audio() {
        let mut pacer = Pacer::new(PacerConfig { max_packets: 3, max_audio_packets: 2, ..PacerConfig::default() });
        (0..3).for_each(|i| pacer.push(PacketClass::Video, PACKET, i).unwrap());
        assert_eq!(pacer.push(PacketClass::Rtx, PACKET, 9), Err(DropReason::QueueFull));
        (0..2).for_each(|i| pacer.push(PacketClass::Audio, PACKET, i).unwrap());
        assert_eq!(pacer.push(PacketClass::Audio, PACKET, 9), Err(DropReason::QueueFull));
        pacer.clear();
        assert!(pacer.is_empty() && pacer.poll_timeout().is_none());
    }

    #[test]
    fn when_the_estimate_falls_the_wait_grows() {
        let mut pacer = pacer(800);
        (0..10).for_each(|i| pacer.push(PacketClass::Video, PACKET, i).unwrap());
        let now = Instant::from_millis(500);
        // A burst of 500 bytes: one packet overdraws it by as much again, which 8 kbit/s take half a second to repay.
        assert_eq!(drain(&mut pacer, now), [0]);
        pacer.set_estimate(now, Some(Bitrate::from_kbps(8)), false);
        let due = pacer.poll_timeout().unwrap();
        assert!(due > now && drain(&mut pacer, due).is_empty());
        assert!(pacer.poll_timeout().unwrap() > due, "never due without a packet to give");
    }

    #[test]
    fn when_the_estimate_rises_the_wait_ends_sooner() {
        let mut pacer = pacer(8);
        (0..10).for_each(|i| pacer.push(PacketClass::Video, PACKET, i).unwrap());
        let now = Instant::from_millis(500);
        // At 8 kbit/s the debt of one packet takes a second, at 8 Mbit/s a millisecond.
        assert_eq!(drain(&mut pacer, now), [0]);
        assert!(pacer.poll_timeout().unwrap() > now + Duration::from_millis(500));
        pacer.set_estimate(now, Some(Bitrate::from_kbps(8_000)), false);
        let due = pacer.poll_timeout().unwrap();
        assert!(due > now && due <= now + Duration::from_millis(5), "{due:?}");
        assert!(!drain(&mut pacer, due).is_empty());
    }

    #[test]
    fn what_is_not_to_be_kept_goes() {
        let mut pacer = pacer(80);
        (0..10).for_each(|i| pacer.push(PacketClass::Video, PACKET, i).unwrap());
        pacer.push(PacketClass::Rtx, PACKET, 77).unwrap();
        assert_eq!(pacer.drain_time(), Duration::from_millis(1_100));
        assert_eq!(pacer.retain(PacketClass::Video, |i| *i >= 7), 7);
        assert_eq!((pacer.len(), pacer.drain_time()), (4, Duration::from_millis(400)));
        pacer.set_estimate(Instant::ZERO, None, false);
        assert_eq!(drain(&mut pacer, Instant::ZERO), [77, 7, 8, 9]);
        assert_eq!(pacer.drain_time(), Duration::ZERO);
    }

    #[test]
    fn when_the_estimate_goes_what_waited_leaves() {
        let mut pacer = pacer(80);
        (0..10).for_each(|i| pacer.push(PacketClass::Video, PACKET, i).unwrap());
        let now = Instant::from_millis(500);
        drain(&mut pacer, now);
        pacer.set_estimate(now, None, false);
        assert_eq!(drain(&mut pacer, now).len(), 9);
    }
}
