//! What a worker leaves out when it is past its limit, so that what is left stays quick.
//!
//! The level of shedding is one number. Its whole part is the stage, and its fraction the share of subscribers that the
//! stage concerns, so that the load follows the level without jumps: a controller that could only switch whole stages
//! would swing between too much and too little. In this order: retransmissions, upper layers, video of those who do
//! not speak, video of those who do. Never audio.

use sfu_rtc::time::Duration;

/// What a worker's thread measured over a short while.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Load {
    /// Share of the time that the thread was not waiting for work, 0 to 1.
    pub busy: f32,
    /// How long the datagram had waited in the socket that had waited longest.
    pub queue_age: Duration,
}

/// When to shed, and how eagerly.
#[derive(Clone, PartialEq, Debug)]
pub struct OverloadConfig {
    /// Packets that wait longer than this before they are sent say that the worker is past its limit. A frame's
    /// fan-out to two thousand subscribers takes this long.
    pub max_age: Duration,
    /// Share of time busy above which more is shed: what is left is for bursts.
    pub busy_high: f32,
    /// Share of time busy below which less is shed.
    pub busy_low: f32,
}

impl Default for OverloadConfig {
    fn default() -> Self {
        Self { max_age: Duration::from_millis(30), busy_high: 0.95, busy_low: 0.8 }
    }
}

/// What is shed, by stage; each includes those before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub enum Stage {
    /// Nothing.
    #[default]
    Nothing,
    /// Retransmissions.
    Repair,
    /// Layers above the lowest.
    UpperLayers,
    /// Video of those who do not speak.
    Video,
    /// Video of those who speak.
    SpeakersVideo,
}

/// Level at which everything but audio is shed.
const MAX_LEVEL: f32 = 4.0;
/// Steps per call while packets wait too long: the last stage is reached within two seconds.
const STEP_UP: f32 = 0.35;
/// Largest step back: from the last stage to nothing within a second.
const STEP_DOWN: f32 = 0.4;

/// Calls in a row that make it more than the burst of a keyframe, which those request whose video comes back.
const LASTING: u32 = 3;

/// Finds the level, call by call.
#[derive(Clone, Default, Debug)]
pub(crate) struct Shedder {
    level: f32,
    /// Calls in a row that found too much to do.
    strained: u32,
}

impl Shedder {
    /// Takes in a measurement; `age` is how long packets waited inside the worker. To be called ten times a second.
    pub(crate) fn update(&mut self, load: Load, age: Duration, config: &OverloadConfig) {
        let late = load.queue_age + age > config.max_age && load.busy > config.busy_low;
        let strained = late || load.busy > config.busy_high;
        self.strained = if strained { self.strained + 1 } else { 0 };
        let step = if strained && self.strained < LASTING {
            0.0
        } else if late {
            STEP_UP
        } else if strained {
            load.busy - config.busy_low
        } else if load.busy < config.busy_low {
            // As much as the time that is left allows.
            -(config.busy_high - load.busy).min(STEP_DOWN)
        } else {
            0.0
        };
        self.level = (self.level + step).clamp(0.0, MAX_LEVEL);
    }

    pub(crate) fn level(&self) -> Level {
        Level(self.level)
    }
}

/// How much is shed, 0 to 4.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub(crate) struct Level(pub(crate) f32);

impl Level {
    /// The highest stage that concerns anybody.
    pub(crate) fn stage(self) -> Stage {
        match self.0 {
            level if level <= 0.0 => Stage::Nothing,
            level if level <= 1.0 => Stage::Repair,
            level if level <= 2.0 => Stage::UpperLayers,
            level if level <= 3.0 => Stage::Video,
            _ => Stage::SpeakersVideo,
        }
    }

    /// What the subscriber at `place` in its table is not sent of a video whose publisher speaks or not.
    pub(crate) fn for_subscriber(self, place: usize, speaks: bool) -> Shed {
        // Multiples of the golden ratio fall evenly whatever range of places is in use.
        const GOLDEN: f64 = 0.618_033_988_749_894_9;
        let place = (place as f64 * GOLDEN).fract() as f32;
        let concerns = |stage: f32| place < self.0 - stage;
        if concerns(3.0) || (!speaks && concerns(2.0)) {
            Shed::Video
        } else if concerns(1.0) {
            Shed::UpperLayers
        } else if concerns(0.0) {
            Shed::Repair
        } else {
            Shed::Nothing
        }
    }
}

/// What one subscriber is not sent of one video.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(crate) enum Shed {
    #[default]
    Nothing,
    Repair,
    UpperLayers,
    Video,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker whose video for everybody would take `demand` of its time; what is busy, and late, at a level.
    fn run(shedder: &mut Shedder, demand: f32, calls: usize) -> f32 {
        let config = OverloadConfig::default();
        let mut busy = 0.0;
        for _ in 0..calls {
            let subscribers = 200;
            let served =
                (0..subscribers).filter(|place| shedder.level().for_subscriber(*place, true) < Shed::Video).count();
            let wanted = 0.1 + demand * served as f32 / subscribers as f32;
            busy = wanted.min(1.0);
            let age = if wanted > 1.0 { config.max_age * 2 } else { Duration::ZERO };
            shedder.update(Load { busy, queue_age: Duration::ZERO }, age, &config);
        }
        busy
    }

    #[test]
    fn an_overload_settles_below_the_limit_and_is_over_within_two_seconds() {
        let mut shedder = Shedder::default();
        let busy = run(&mut shedder, 1.5, 50);
        assert_eq!(shedder.level().stage(), Stage::SpeakersVideo);
        assert!((0.75..=0.97).contains(&busy), "{busy}");
        let before = shedder.level();
        run(&mut shedder, 1.5, 20);
        assert!((before.0 - shedder.level().0).abs() < 0.15, "it does not swing");
        run(&mut shedder, 0.6, 20);
        assert_eq!(shedder.level().stage(), Stage::Nothing);
    }

    #[test]
    fn a_busy_worker_that_keeps_up_sheds_nothing() {
        let mut shedder = Shedder::default();
        run(&mut shedder, 0.8, 100);
        assert_eq!(shedder.level(), Level(0.0));
    }

    #[test]
    fn a_short_hiccup_of_an_idle_worker_sheds_nothing() {
        let mut shedder = Shedder::default();
        let hiccup = Load { busy: 0.3, queue_age: Duration::from_millis(80) };
        shedder.update(hiccup, Duration::ZERO, &OverloadConfig::default());
        assert_eq!(shedder.level(), Level(0.0));
    }

    #[test]
    fn speakers_come_last_and_shares_are_even() {
        let count = |level: f32, speaks, shed| {
            (0..1_000).filter(|place| Level(level).for_subscriber(*place, speaks) == shed).count()
        };
        assert!((480..520).contains(&count(0.5, true, Shed::Repair)));
        assert!((480..520).contains(&count(2.5, false, Shed::Video)));
        assert_eq!(count(2.5, true, Shed::Video), 0);
        assert_eq!(count(2.5, true, Shed::UpperLayers), 1_000);
        assert_eq!(count(4.0, true, Shed::Video), 1_000);
    }
}
