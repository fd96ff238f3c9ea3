//! How much of a core publishing takes: what is done to pictures before they are coded, and coding them, in one thread.
//!
//! Times are the thread's own, so that others on the machine do not count; whether pictures were late tells the clock.

use super::clip::Clip;
use crate::encode::{EffortMode, EncoderConfig, RateMode, VideoEncoder};
use crate::frame::VideoFrame;
use crate::overlay::Overlay;
use crate::peer::VideoCodec;
use crate::preprocess::{PreprocessConfig, Preprocessor};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sfu_rtc::units::Bitrate;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What to measure.
#[derive(Clone, Debug)]
pub struct SpeedOptions {
    /// Codec.
    pub codec: VideoCodec,
    /// Files instead of the generated scenes: Y4M in their own size, all else by ffmpeg.
    pub files: Vec<PathBuf>,
    /// Only scenes whose name contains this.
    pub scene: String,
    /// Width of the pictures.
    pub width: usize,
    /// Height of the pictures.
    pub height: usize,
    /// Pictures per second.
    pub frame_rate: f64,
    /// Bitrate to keep.
    pub bitrate: Bitrate,
    /// Pictures of each clip.
    pub pictures: u32,
    /// Times that each clip is measured: of each picture's times the least counts, each stage by itself.
    pub passes: u32,
}

impl Default for SpeedOptions {
    fn default() -> Self {
        Self {
            codec: VideoCodec::H264,
            files: Vec::new(),
            scene: String::new(),
            width: 1280,
            height: 720,
            frame_rate: 30.0,
            bitrate: Bitrate::from_kbps(1_500),
            pictures: 1_000,
            passes: 1,
        }
    }
}

/// Stages, in their order.
pub const STAGES: [&str; 4] = ["denoise", "light", "overlay", "encode"];

/// Times of the stages of one picture.
type Times = [Duration; STAGES.len()];

/// What one picture took.
#[derive(Clone, Copy, Debug)]
struct Taken {
    /// Of the processor, stage by stage.
    stages: Times,
    /// By the clock, all stages together.
    elapsed: Duration,
}

impl Taken {
    /// The less of both.
    fn least(self, other: Self) -> Self {
        let stages = std::array::from_fn(|stage| self.stages[stage].min(other.stages[stage]));
        Self { stages, elapsed: self.elapsed.min(other.elapsed) }
    }
}

/// What came of one clip.
#[derive(Clone, Debug)]
pub struct SpeedResult {
    /// Clip.
    pub clip: String,
    /// Codec.
    pub codec: VideoCodec,
    /// Width and height of its pictures.
    pub size: (usize, usize),
    /// Pictures.
    pub pictures: usize,
    /// Of these noise was taken from, and these were brightened.
    pub treated: (u64, u64),
    /// Processor time per picture of each stage, in the mean.
    pub stages: Times,
    /// The slowest picture of each stage.
    pub slowest_stages: Times,
    /// Processor time per picture of all, and of the slowest one.
    pub time: (Duration, Duration),
    /// Which one that was.
    pub slowest: u32,
    /// Share of a core, where pictures come in their rate.
    pub share: f64,
    /// Share of pictures that took longer by the clock than from one to the next.
    pub late: f64,
    /// Changes of the encoder's effort.
    pub effort_changes: u64,
}

/// Publishes every clip without a network.
///
/// # Errors
/// Where a clip cannot be read, the options make no sense, or a codec fails.
pub fn measure(options: &SpeedOptions, mut progress: impl FnMut(&SpeedResult)) -> Result<Vec<SpeedResult>> {
    ensure!((1..=1_000_000).contains(&options.pictures), "between 1 and 1000000 pictures can be measured");
    ensure!((1..=100).contains(&options.passes), "between 1 and 100 passes can be made");
    let mut results = Vec::new();
    for clip in Clip::list(&options.files, &options.scene) {
        let (mut first, mut taken) = run(options, &clip)?;
        for _ in 1..options.passes {
            let (_, again) = run(options, &clip)?;
            taken.iter_mut().zip(again).for_each(|(least, again)| *least = least.least(again));
        }
        first.sum(&taken, options.frame_rate);
        progress(&first);
        results.push(first);
    }
    Ok(results)
}

fn run(options: &SpeedOptions, clip: &Clip) -> Result<(SpeedResult, Vec<Taken>)> {
    let mut source = clip.open(options.width, options.height, options.frame_rate)?;
    let (width, height) = source.size();
    let (frame_rate, bitrate) = (options.frame_rate, options.bitrate);
    let config = EncoderConfig { width, height, frame_rate, bitrate, ..Default::default() };
    let mut encoder = VideoEncoder::new(options.codec, config, RateMode::default(), EffortMode::default())?;
    // One after the other, as a single one does it.
    let mut denoise = Preprocessor::new(PreprocessConfig { denoise: true, low_light: false });
    let mut light = Preprocessor::new(PreprocessConfig { denoise: false, low_light: true });
    let mut picture = VideoFrame::new(width, height)?;
    let mut taken = Vec::new();
    for number in 0..options.pictures {
        if !source.draw(number, &mut picture)? {
            break;
        }
        let elapsed = Duration::from_secs_f64(f64::from(number) / frame_rate);
        let begun = Instant::now();
        let stages = [
            timed(|| denoise.process(&mut picture)).0,
            timed(|| light.process(&mut picture)).0,
            timed(|| Overlay::new(1, number, elapsed).draw(&mut picture)).0,
            {
                let (time, encoded) = timed(|| encoder.encode(&picture, elapsed));
                encoded.with_context(|| format!("picture {number} of {}", clip.name()))?;
                time
            },
        ];
        taken.push(Taken { stages, elapsed: begun.elapsed() });
    }
    let result = SpeedResult {
        clip: clip.name(),
        codec: options.codec,
        size: (width, height),
        pictures: taken.len(),
        treated: (denoise.stats().denoised, light.stats().brightened),
        stages: Times::default(),
        slowest_stages: Times::default(),
        time: (Duration::ZERO, Duration::ZERO),
        slowest: 0,
        share: 0.0,
        late: 0.0,
        effort_changes: encoder.stats().effort_changes,
    };
    Ok((result, taken))
}

/// The processor time of `work` in this thread, where the system tells it.
fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begun = thread_time();
    let result = work();
    (thread_time().saturating_sub(begun), result)
}

#[cfg(unix)]
fn thread_time() -> Duration {
    use nix::time::{ClockId, clock_gettime};
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

#[cfg(not(unix))]
fn thread_time() -> Duration {
    use std::sync::LazyLock;
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    BEGUN.elapsed()
}

impl SpeedResult {
    fn sum(&mut self, taken: &[Taken], frame_rate: f64) {
        let count = taken.len().max(1) as u32;
        for (stage, (mean, slowest)) in self.stages.iter_mut().zip(&mut self.slowest_stages).enumerate() {
            *mean = taken.iter().map(|taken| taken.stages[stage]).sum::<Duration>() / count;
            *slowest = taken.iter().map(|taken| taken.stages[stage]).max().unwrap_or_default();
        }
        let totals = taken.iter().map(|taken| taken.stages.iter().sum::<Duration>());
        let (slowest, number) = totals.clone().zip(0..).max().unwrap_or_default();
        self.time = (totals.sum::<Duration>() / count, slowest);
        self.slowest = number;
        self.share = self.time.0.as_secs_f64() * frame_rate;
        let late = taken.iter().filter(|taken| taken.elapsed.as_secs_f64() > 1.0 / frame_rate).count();
        self.late = late as f64 / f64::from(count);
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let stages = STAGES.iter().zip(self.stages.iter().zip(&self.slowest_stages));
        let stages = stages.map(|(name, (mean, slowest))| {
            ((*name).to_owned(), json!({ "ms": millis(*mean), "slowest_ms": millis(*slowest) }))
        });
        json!({
            "event": "lab_speed",
            "clip": self.clip,
            "codec": self.codec.name(),
            "width": self.size.0,
            "height": self.size.1,
            "pictures": self.pictures,
            "denoised": self.treated.0,
            "brightened": self.treated.1,
            "stages": stages.collect::<serde_json::Map<_, _>>(),
            "ms": millis(self.time.0),
            "slowest_ms": millis(self.time.1),
            "slowest": self.slowest,
            "share": self.share,
            "late": self.late,
            "effort_changes": self.effort_changes,
        })
    }
}

/// A line for each result, below a line of names. Stages are the mean and the slowest in ms of the processor.
pub fn table(results: &[SpeedResult]) -> String {
    let mut out = format!("{:<6}{:<16}{:>10}{:>9}{:>9}", "codec", "clip", "size", "denoised", "lighter");
    for name in STAGES {
        // Writing to a string does not fail.
        let _ = write!(out, "{name:>14}");
    }
    let _ =
        writeln!(out, "{:>8}{:>9}{:>6}{:>8}{:>8}{:>9}", "all ms", "slowest", "which", "core %", "late %", "efforts");
    for result in results {
        let size = format!("{}x{}", result.size.0, result.size.1);
        let (denoised, lighter) = result.treated;
        let _ = write!(out, "{:<6}{:<16}{size:>10}{denoised:>9}{lighter:>9}", result.codec.name(), result.clip);
        for (mean, slowest) in result.stages.iter().zip(&result.slowest_stages) {
            let _ = write!(out, "{:>14}", format!("{:.2}..{:.1}", millis(*mean), millis(*slowest)));
        }
        let (mean, slowest) = (millis(result.time.0), millis(result.time.1));
        let (share, late) = (result.share * 100.0, result.late * 100.0);
        let (which, changes) = (result.slowest, result.effort_changes);
        let _ = writeln!(out, "{mean:>8.2}{slowest:>9.1}{which:>6}{share:>8.1}{late:>8.1}{changes:>9}");
    }
    out
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_take_of_the_processor_does_not_count() {
        let (time, ()) = timed(|| std::thread::sleep(Duration::from_millis(50)));
        assert!(cfg!(not(unix)) || time < Duration::from_millis(50), "{time:?}");
        let (time, _) = timed(|| (0..2_000_000).fold(1_u64, |sum, n| std::hint::black_box(sum.wrapping_mul(n | 1))));
        assert!(time > Duration::ZERO);
    }

    #[test]
    fn every_clip_is_measured() {
        let options = SpeedOptions {
            scene: "dark".to_owned(),
            width: 320,
            height: 180,
            pictures: 12,
            passes: 2,
            ..Default::default()
        };
        let mut lines = 0;
        let results = measure(&options, |_| lines += 1).unwrap();
        let [result] = &results[..] else { panic!("{results:?}") };
        assert_eq!((lines, result.pictures, result.treated.1), (1, 12, 12));
        let stages = result.stages.iter().sum::<Duration>();
        assert!(result.time.1 >= result.time.0 && stages <= result.time.0 + Duration::from_micros(1), "{result:?}");
        assert!((result.slowest as usize) < result.pictures && (0.0..=1.0).contains(&result.late), "{result:?}");
        assert_eq!(table(&results).lines().count(), 2);
        assert_eq!(result.to_json()["width"], 320);
        assert!(measure(&SpeedOptions { pictures: 0, ..Default::default() }, |_| ()).is_err());
        assert!(measure(&SpeedOptions { passes: 0, ..Default::default() }, |_| ()).is_err());
    }
}
