//! From glass to glass, and lips against voice, through a server: how late pictures and sound are that both know when they
//! were captured, by the clock that is burned into the pictures and by ticks of the same clock.

use crate::capture::{SAMPLE_RATE, Scene, Ticks};
use crate::clock::unix_now;
use crate::overlay::Overlay;
use crate::publish::PublishOptions;
use crate::publisher::Publisher;
use crate::send::{AudioSettings, VideoSettings};
use crate::signal::{JoinOptions, Target};
use crate::subscribe::SubscribeOptions;
use crate::subscriber::{Media, Subscriber};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sfu_rtc::units::Bitrate;
use std::fmt::Write;
use std::time::Duration;

/// What is not measured: by then the buffer of sound has found its delay, and the first reports have come.
pub const SETTLING: Duration = Duration::from_secs(5);
/// Sound and lips that are no further apart are together (ITU-R BT.1359: noticed from 45 ms on).
const TOGETHER: Duration = Duration::from_millis(45);
/// As loud as this it is a tick.
const LOUD: u16 = 2_000;
/// Before a tick there is at least so much silence.
const SILENCE: usize = SAMPLE_RATE as usize / 10;

/// What to send, and to which server.
#[derive(Clone, Debug)]
pub struct GlassOptions {
    /// Server and room; two join it, with their names behind this one.
    pub join: JoinOptions,
    /// Width of the pictures.
    pub width: usize,
    /// Height of the pictures.
    pub height: usize,
    /// Pictures per second.
    pub frame_rate: f64,
    /// Bitrate of the pictures.
    pub bitrate: Bitrate,
    /// How long it is measured, after [`SETTLING`].
    pub time: Duration,
}

/// How late pictures and sound were.
#[derive(Clone, PartialEq, Debug)]
pub struct GlassResult {
    /// Pictures and ticks that were seen and heard.
    pub counts: (usize, usize),
    /// From capture to display, ascending.
    pub pictures: Lateness,
    /// From capture to when it is heard.
    pub sound: Lateness,
    /// Sound behind the lips, in milliseconds; negative where it is ahead: of 5, 50 and 95 % of the ticks.
    pub behind_lips: [f64; 3],
    /// Share of the ticks that are within 45 ms of the lips, 0 to 1.
    pub together: f64,
}

/// Percentiles in milliseconds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Lateness {
    /// The earliest.
    pub least: f64,
    /// The median.
    pub p50: f64,
    /// What 95 % do not exceed.
    pub p95: f64,
}

/// Sends and watches, and measures that.
///
/// # Errors
/// Where the server cannot be reached or refuses, or next to nothing comes.
pub async fn measure(options: &GlassOptions) -> Result<GlassResult> {
    let target = |who: &str| {
        let name = format!("{}-{who}", options.join.name);
        Target::Native(JoinOptions { name, ..options.join.clone() })
    };
    let scene = Box::new(Scene::new(options.width, options.height, options.frame_rate)?);
    let settings = VideoSettings { bitrate: options.bitrate, ..Default::default() };
    let watch = SubscribeOptions { video_slots: 1, audio_slots: 1, ..SubscribeOptions::new(target("watches")) };
    let mut subscriber = Subscriber::start(watch).await?;
    let publish =
        PublishOptions::new(target("sends")).video(scene, settings).audio(Box::new(Ticks), AudioSettings::default());
    let publisher = Publisher::start(publish).await?;
    let mut meter = GlassMeter::default();
    let watching = async {
        while let Some(received) = subscriber.next().await {
            meter.take(unix_now(), &received.media);
        }
    };
    // It ends sooner where the server does; what was measured tells.
    let _ = tokio::time::timeout(SETTLING + options.time, watching).await;
    publisher.stop().await?;
    subscriber.stop().await?;
    meter.result()
}

/// Measures what is shown and played.
#[derive(Default)]
pub struct GlassMeter {
    /// When pictures were shown, and how late, in microseconds.
    pictures: Vec<(i64, i64)>,
    /// The same of ticks.
    ticks: Vec<(i64, i64)>,
    /// Samples since the last tick.
    quiet: usize,
}

impl GlassMeter {
    /// Something is shown or played at `now` of the wall clock.
    pub fn take(&mut self, now: Duration, media: &Media) {
        let micros = now.as_micros() as i64;
        match media {
            Media::Picture(picture) => {
                let overlay = Overlay::read(picture);
                self.pictures.extend(overlay.map(|overlay| (micros, overlay.age(now).as_micros() as i64)));
            }
            Media::Sound(samples) => self.hear(micros, samples),
        }
    }

    fn hear(&mut self, now: i64, samples: &[i16]) {
        for (index, sample) in samples.iter().enumerate() {
            if sample.unsigned_abs() < LOUD {
                self.quiet += 1;
                continue;
            }
            if self.quiet > SILENCE {
                let at = now + index as i64 * 1_000_000 / i64::from(SAMPLE_RATE);
                // No sound is later than the time between two ticks.
                self.ticks.push((at, at % Ticks::INTERVAL.as_micros() as i64));
            }
            self.quiet = 0;
        }
    }

    /// What was measured after [`SETTLING`].
    ///
    /// # Errors
    /// Where that is too little.
    pub fn result(&self) -> Result<GlassResult> {
        let (first, _) = *self.pictures.first().context("no picture with a clock was seen")?;
        let settled = first + SETTLING.as_micros() as i64;
        let late = |all: &[(i64, i64)]| {
            let mut late: Vec<i64> = all.iter().filter(|(at, _)| *at > settled).map(|(_, late)| *late).collect();
            late.sort_unstable();
            late
        };
        let (pictures, sound) = (late(&self.pictures), late(&self.ticks));
        let mut apart: Vec<i64> =
            self.ticks.iter().filter(|(at, _)| *at > settled).map(|(at, late)| late - self.lips(*at)).collect();
        apart.sort_unstable();
        ensure!(
            pictures.len() >= 20 && apart.len() >= 4,
            "too little came: {} pictures, {} ticks",
            pictures.len(),
            apart.len()
        );
        let together = apart.iter().filter(|apart| apart.unsigned_abs() <= TOGETHER.as_micros() as u64).count();
        Ok(GlassResult {
            counts: (pictures.len(), apart.len()),
            pictures: Lateness::of(&pictures),
            sound: Lateness::of(&sound),
            behind_lips: [0.05, 0.5, 0.95].map(|share| percentile(&apart, share)),
            together: together as f64 / apart.len() as f64,
        })
    }

    /// How late the picture was that was seen at this time.
    fn lips(&self, at: i64) -> i64 {
        let seen = self.pictures.partition_point(|(shown, _)| *shown <= at).saturating_sub(1);
        self.pictures[seen].1
    }
}

impl Lateness {
    fn of(sorted: &[i64]) -> Self {
        let [least, p50, p95] = [0.0, 0.5, 0.95].map(|share| percentile(sorted, share));
        Self { least, p50, p95 }
    }

    fn to_json(self) -> Value {
        json!({ "least_ms": self.least, "p50_ms": self.p50, "p95_ms": self.p95 })
    }
}

/// In milliseconds, of what ascends, in microseconds.
fn percentile(sorted: &[i64], share: f64) -> f64 {
    let at = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
    sorted.get(at).map_or(f64::NAN, |micros| *micros as f64 / 1_000.0)
}

impl GlassResult {
    /// For programs.
    pub fn to_json(&self) -> Value {
        let [p5, p50, p95] = self.behind_lips;
        json!({
            "event": "lab_glass",
            "pictures": self.counts.0,
            "ticks": self.counts.1,
            "picture": self.pictures.to_json(),
            "sound": self.sound.to_json(),
            "sound_behind_lips": { "p5_ms": p5, "p50_ms": p50, "p95_ms": p95 },
            "together": self.together,
        })
    }
}

/// For people, below lines of names.
pub fn table(result: &GlassResult) -> String {
    let mut out = format!("{:<26}{:>8}{:>11}{:>10}{:>10}\n", "", "count", "least ms", "p50 ms", "p95 ms");
    let lines = [("picture", result.counts.0, result.pictures), ("sound", result.counts.1, result.sound)];
    for (name, count, Lateness { least, p50, p95 }) in lines {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{name:<26}{count:>8}{least:>11.1}{p50:>10.1}{p95:>10.1}");
    }
    let [p5, p50, p95] = result.behind_lips;
    let _ =
        writeln!(out, "{:<26}{:>8}{p5:>+11.1}{p50:>+10.1}{p95:>+10.1}", "sound behind the lips (p5)", result.counts.1);
    let _ = writeln!(out, "within {} ms of the lips: {:.0} %", TOGETHER.as_millis(), result.together * 100.0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::VideoFrame;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Pictures that are late by `picture`, and ticks that are late by `sound`, in milliseconds.
    fn measured(picture: u64, sound: u64) -> Result<GlassResult> {
        let (mut meter, begun) = (GlassMeter::default(), 1_000_000);
        let mut frame = VideoFrame::new(320, 180).unwrap();
        for step in 0..1_000 {
            let now = ms(begun + step * 10);
            if step % 4 == 0 {
                Overlay::new(1, step as u32, now - ms(picture)).draw(&mut frame);
                meter.take(now, &Media::Picture(frame.clone()));
            }
            let ticks = (begun + step * 10 - sound).is_multiple_of(Ticks::INTERVAL.as_millis() as u64);
            meter.take(now, &Media::Sound(vec![if ticks { 10_000 } else { 0 }; SAMPLE_RATE as usize / 100]));
        }
        meter.result()
    }

    #[test]
    fn lips_and_voice_are_compared_when_they_are_seen_and_heard() {
        let result = measured(70, 110).unwrap();
        assert_eq!((result.pictures.p50, result.sound.p95, result.together), (70.0, 110.0, 1.0));
        assert_eq!(result.behind_lips, [40.0; 3]);
        assert_eq!((result.counts, result.to_json()["ticks"].as_u64()), ((124, 10), Some(10)));
        let result = measured(70, 10).unwrap();
        assert_eq!((result.behind_lips, result.together), ([-60.0; 3], 0.0));
        assert!(table(&result).contains("-60.0"));
    }

    #[test]
    fn what_saw_nothing_says_so() {
        assert!(GlassMeter::default().result().is_err());
    }
}
