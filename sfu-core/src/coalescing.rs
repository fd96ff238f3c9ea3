//! How long packets wait so that what is for one subscriber leaves together.
//!
//! A message costs most of what a packet costs, so packets that leave together are cheap, and a wait gathers them. A
//! worker with time to spare lets nothing wait; the more of its time is taken, the longer the wait, as network cards
//! moderate their interrupts. So the cost of a packet falls just when that matters.

use crate::overload::Load;
use sfu_rtc::time::Duration;

/// The longest waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CoalescingConfig {
    /// For the end of a frame: below a frame's time, since a longer wait would mix frames.
    pub video: Duration,
    /// For packets of other sources, audio above all: below what a jitter buffer notices.
    pub audio: Duration,
}

impl Default for CoalescingConfig {
    fn default() -> Self {
        Self { video: Duration::from_millis(8), audio: Duration::from_millis(2) }
    }
}

/// Share of time busy up to which nothing waits ...
const BUSY_FROM: f32 = 0.2;
/// ... and from which on the wait is longest.
const BUSY_TO: f32 = 0.7;
/// Datagrams that waited so long in the socket show a worker that does not keep up, however busy it was on average: from
/// above the time that rounds may be apart ...
const AGE_FROM: Duration = Duration::from_millis(6);
/// ... to half of what [`crate::overload::OverloadConfig::max_age`] allows, before anything is shed.
const AGE_TO: Duration = Duration::from_millis(16);
/// Share of the way to the target that each measurement goes. Longer waits make less of the load, which asks for shorter
/// ones: half the way settles where the whole would swing to and fro.
const STEP: f32 = 0.5;
/// A shorter wait than this gathers nothing, and would only make the packet go out a round later.
const LEAST: f32 = 0.01;

/// The law: the wait that a measurement asks for, as a share of the longest. The more load, the longer.
fn target(load: Load) -> f32 {
    if load.busy <= BUSY_FROM {
        return 0.0;
    }
    let busy = (load.busy - BUSY_FROM) / (BUSY_TO - BUSY_FROM);
    let age = load.queue_age.saturating_sub(AGE_FROM).as_secs_f32() / (AGE_TO - AGE_FROM).as_secs_f32();
    busy.max(age).clamp(0.0, 1.0)
}

/// How long packets wait now.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct CoalescingWindow {
    /// Of the longest waits.
    share: f32,
    video: Duration,
    audio: Duration,
}

impl CoalescingWindow {
    /// Follows a measurement. To be called ten times a second: most of a step of the load is followed within two calls.
    pub(crate) fn update(&mut self, load: Load, longest: &CoalescingConfig) {
        let share = self.share + (target(load) - self.share) * STEP;
        self.share = if share < LEAST { 0.0 } else { share };
        self.video = longest.video.mul_f32(self.share);
        self.audio = longest.audio.mul_f32(self.share);
    }

    /// How long packets of a frame wait for its end.
    pub fn video(&self) -> Duration {
        self.video
    }

    /// How long all packets wait for those of other sources: rounds of the worker are so far apart.
    pub fn audio(&self) -> Duration {
        self.audio
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a worker's time is taken by.
    #[derive(Clone, Copy, Debug)]
    enum Source {
        /// Many publishers: each millisecond of waiting gathers more, most of it the first ones.
        Many,
        /// One publisher whose packets come 2.2 ms apart: the wait gathers one more each time it gets so much longer.
        Paced,
    }

    /// Busy share of a worker that has `demand` to do where nothing waits; half of that is messages, which get fewer.
    fn busy(demand: f32, source: Source, window: &CoalescingWindow) -> f32 {
        let messages = match source {
            Source::Many => (-3.0 * window.share).exp(),
            Source::Paced => 1.0 / (1.0 + (window.video.as_secs_f32() / 0.002_2).floor()),
        };
        (demand * (0.5 + 0.5 * messages)).min(1.0)
    }

    fn follow(window: &mut CoalescingWindow, demand: f32, source: Source, calls: usize) -> Vec<f32> {
        let config = CoalescingConfig::default();
        let next = |_| {
            let load = Load { busy: busy(demand, source, window), queue_age: Duration::ZERO };
            window.update(load, &config);
            window.share
        };
        (0..calls).map(next).collect()
    }

    #[test]
    fn a_step_of_the_load_is_followed_within_200_ms_and_the_window_does_not_swing() {
        for source in [Source::Many, Source::Paced] {
            for demand in [0.3, 0.4, 0.5, 0.7, 0.9, 1.1, 1.4, 2.0] {
                let mut window = CoalescingWindow::default();
                follow(&mut window, 0.1, source, 10);
                assert_eq!((window.video(), window.audio()), (Duration::ZERO, Duration::ZERO));
                let trace = follow(&mut window, demand, source, 40);
                let settled = &trace[20..];
                let mean = settled.iter().sum::<f32>() / settled.len() as f32;
                assert!(trace[1] >= 0.6 * mean, "{source:?} {demand}: {trace:?}");
                let swing = settled.iter().map(|share| (share - mean).abs()).fold(0.0, f32::max);
                assert!(swing < 0.1, "{source:?} {demand}: {trace:?}");
                let back = follow(&mut window, 0.1, source, 8);
                assert!(back[1] <= 0.3 * mean && back[7] == 0.0, "{source:?} {demand}: {back:?}");
            }
        }
    }

    #[test]
    fn who_does_not_keep_up_waits_longest() {
        let behind = Load { busy: 0.4, queue_age: Duration::from_millis(20) };
        assert_eq!(target(behind), 1.0);
        assert_eq!(target(Load { busy: 0.1, ..behind }), 0.0, "a hiccup of an idle worker is none");
    }

    proptest! {
        #[test]
        fn more_load_never_waits_less(
            loads in prop::collection::vec((0.0f32..=1.0, 0u64..40, 0.0f32..=1.0, 0u64..40), 1..20),
        ) {
            let config = CoalescingConfig::default();
            let (mut less, mut more) = (CoalescingWindow::default(), CoalescingWindow::default());
            for (busy, age, more_busy, more_age) in loads {
                let age = Duration::from_millis(age);
                less.update(Load { busy, queue_age: age }, &config);
                let busy = busy + (1.0 - busy) * more_busy;
                more.update(Load { busy, queue_age: age + Duration::from_millis(more_age) }, &config);
                prop_assert!(more.share >= less.share - 1e-6);
                prop_assert!(more.video() <= config.video && more.audio() <= config.audio);
            }
        }
    }
}
