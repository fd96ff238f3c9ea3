//! What a slot sends, by class of frame.

use super::planner::ClassLoad;
use crate::frame_class::{CLASSES, FrameClass, FrameClassifier, damage};
use sfu_rtc::codec::FrameFacts;
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::units::DataSize;

/// Time after which what was sent counts half: some frames of each temporal layer are in it.
const HALF_LIFE: Duration = Duration::from_secs(2);
/// Keyframes come at least so often per second, or are taken to: the next one is to find its plan made.
const MIN_KEYFRAMES: f64 = 0.1;
/// By how much a keyframe has more packets than the mean frame, until one was seen.
const KEYFRAME_FACTOR: f64 = 5.0;

/// What is sent now.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Load {
    pub(crate) classes: [ClassLoad; CLASSES],
    pub(crate) frame_interval: Duration,
    pub(crate) packet_size: DataSize,
}

/// Classifies the packets of one slot, and counts them.
#[derive(Clone, Default, Debug)]
pub(crate) struct LoadMeter {
    classifier: FrameClassifier,
    frame: Option<u32>,
    frames: [f64; CLASSES],
    packets: [f64; CLASSES],
    bytes: f64,
    /// The highest temporal layer.
    temporal: u8,
    /// The time that was counted, older time counting less, up to `counted`.
    seconds: f64,
    counted: Option<Instant>,
    is_new: bool,
}

impl LoadMeter {
    /// A packet is sent.
    pub(crate) fn on_packet(&mut self, now: Instant, frame: &FrameFacts, timestamp: u32, bytes: usize) -> FrameClass {
        let class = self.classifier.classify(frame, timestamp);
        self.counted.get_or_insert(now);
        self.is_new = true;
        if self.frame.replace(timestamp) != Some(timestamp) {
            self.frames[class.index()] += 1.0;
        }
        self.packets[class.index()] += 1.0;
        self.bytes += bytes as f64;
        self.temporal = self.temporal.max(frame.temporal);
        class
    }

    /// The class of a packet that was sent before.
    pub(crate) fn class_of(&self, frame: &FrameFacts, timestamp: u32) -> FrameClass {
        self.classifier.class_of(frame, timestamp)
    }

    /// What was sent of late; `None` where nothing was since it was asked last. A lost frame of the base layer is damage
    /// until the picture is refreshed.
    pub(crate) fn load(&mut self, now: Instant, refresh: Duration) -> Option<Load> {
        if !std::mem::take(&mut self.is_new) {
            *self = Self { classifier: self.classifier, ..Self::default() };
            return None;
        }
        let elapsed = (now - self.counted.replace(now)?).as_secs_f64();
        self.seconds += elapsed;
        let (frames, packets): (f64, f64) = (self.frames.iter().sum(), self.packets.iter().sum());
        if self.seconds <= 0.0 || frames < 1.0 {
            return None;
        }
        let frame_interval = Duration::from_nanos((self.seconds / frames * 1e9) as u64);
        let layers = self.temporal + 1;
        let mut classes = FrameClass::ALL.map(|class| {
            let (frames, packets) = (self.frames[class.index()], self.packets[class.index()]);
            ClassLoad {
                frames: frames / self.seconds,
                packets: if frames > 0.0 { packets / frames } else { 0.0 },
                damage: damage(class, frame_interval, layers, refresh),
            }
        });
        let key = &mut classes[FrameClass::Key.index()];
        key.frames = key.frames.max(MIN_KEYFRAMES);
        key.packets = if key.packets > 0.0 { key.packets } else { packets / frames * KEYFRAME_FACTOR };
        let load = Load { classes, frame_interval, packet_size: DataSize::from_bytes((self.bytes / packets) as u64) };
        self.forget(elapsed);
        Some(load)
    }

    fn forget(&mut self, elapsed: f64) {
        let keep = 0.5_f64.powf(elapsed / HALF_LIFE.as_secs_f64());
        self.frames.iter_mut().chain(&mut self.packets).for_each(|count| *count *= keep);
        self.bytes *= keep;
        self.seconds *= keep;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 30 frames per second of four packets, every second of the base layer, and planned five times per second.
    fn run(meter: &mut LoadMeter, frames: std::ops::Range<u64>, key: impl Fn(u64) -> bool) -> Option<Load> {
        let mut load = None;
        for n in frames {
            let now = Instant::from_nanos(n * 33_333_333);
            let temporal = (n % 2) as u8;
            for _ in 0..4 {
                let facts = FrameFacts { keyframe: key(n), temporal, ..FrameFacts::default() };
                meter.on_packet(now, &facts, n as u32 * 3_000, 1_000);
            }
            if n % 6 == 5 {
                load = meter.load(now, Duration::from_millis(500));
            }
        }
        load
    }

    #[test]
    fn frames_and_packets_are_counted_by_class() {
        let mut meter = LoadMeter::default();
        let load = run(&mut meter, 0..300, |n| n == 0).unwrap();
        let [key, base, enhancement, discardable] = load.classes;
        assert!((14.5..15.6).contains(&base.frames) && (14.5..15.6).contains(&enhancement.frames), "{load:?}");
        assert_eq!(
            (base.packets.round(), base.damage, enhancement.packets.round()),
            (4.0, Duration::from_millis(500), 4.0)
        );
        assert_eq!(discardable.frames, 0.0);
        assert!(key.frames >= MIN_KEYFRAMES && key.packets > 0.0, "the next keyframe is reckoned with: {key:?}");
        assert!((32..=34).contains(&load.frame_interval.as_millis()));
        assert_eq!(load.packet_size, DataSize::from_bytes(1_000));
    }

    #[test]
    fn after_a_pause_it_begins_anew() {
        let mut meter = LoadMeter::default();
        assert!(run(&mut meter, 0..60, |_| false).is_some());
        assert_eq!(meter.load(Instant::from_millis(3_000), Duration::ZERO), None);
        let load = run(&mut meter, 3_000..3_060, |_| false).unwrap();
        let frames: f64 = load.classes[1..].iter().map(|class| class.frames).sum();
        assert!((29.0..32.0).contains(&frames), "{frames}");
    }
}
