//! Rate control without a network: encode clips with ours and with the codec's own, and see how even the bits are, what
//! the pictures look like and what they cost.

mod table;
mod windows;

use super::clip::Clip;
use super::quality::ssim;
use crate::decode::H264Decoder;
use crate::encode::{Effort, EffortMode, EncoderStats, H264Config, RateControlConfig, RateMode, VideoEncoder};
use crate::frame::VideoFrame;
use anyhow::{Context, Result, ensure};
use sfu_rtc::units::Bitrate;
use std::path::PathBuf;
use std::time::{Duration, Instant};
pub use table::table;
pub use windows::{Deviation, deviation};

/// What to measure.
#[derive(Clone, Debug)]
pub struct RateOptions {
    /// Files to encode instead of the generated scenes: Y4M in their own size, all else by ffmpeg.
    pub files: Vec<PathBuf>,
    /// Only scenes whose name contains this.
    pub scene: String,
    /// Only this control, where it is not empty.
    pub control: String,
    /// Width of the pictures.
    pub width: usize,
    /// Height of the pictures.
    pub height: usize,
    /// Pictures per second.
    pub frame_rate: f64,
    /// Bitrate to keep.
    pub bitrate: Bitrate,
    /// How much the encoder tries.
    pub effort: Effort,
    /// Seconds of each clip.
    pub seconds: u32,
    /// Seconds from one wanted keyframe to the next; 0: only the first.
    pub keyframe_seconds: u32,
    /// Times that each clip is encoded: of each picture's times the least counts.
    pub passes: u32,
}

impl Default for RateOptions {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            scene: String::new(),
            control: String::new(),
            width: 640,
            height: 360,
            frame_rate: 30.0,
            bitrate: Bitrate::from_kbps(360),
            effort: Effort::Low,
            seconds: 10,
            keyframe_seconds: 0,
            passes: 1,
        }
    }
}

/// Controls, by name: ours with all keyframes spread, ours with keyframes whole, ours that may skip, the codec's own,
/// the codec's own that may skip.
pub const CONTROLS: [&str; 5] = ["own", "own-whole", "own-skip", "codec", "codec-skip"];

fn mode(control: &str) -> RateMode {
    let own = RateControlConfig::default();
    match control {
        "own" => RateMode::Own(own),
        "own-whole" => RateMode::Own(RateControlConfig { spread_keyframes: false, ..own }),
        "own-skip" => RateMode::Own(RateControlConfig { skip: true, ..own }),
        _ => RateMode::Codec,
    }
}

/// What came of one clip and one control.
#[derive(Clone, Debug)]
pub struct RateResult {
    /// Clip.
    pub clip: String,
    /// Control.
    pub control: &'static str,
    /// What was to be kept.
    pub target: Bitrate,
    /// Bits per second, over all.
    pub bitrate: f64,
    /// Whole seconds after the first, against the target.
    pub seconds: Deviation,
    /// Whole half seconds after the first second, against the target.
    pub halves: Deviation,
    /// Any second after the first, wherever it begins.
    pub sliding: Deviation,
    /// The largest picture that is no keyframe, in mean pictures.
    pub largest_delta: f64,
    /// The largest keyframe, in mean pictures.
    pub largest_keyframe: f64,
    /// Keyframes.
    pub keyframes: u32,
    /// The mean of all pictures, of luma, in dB.
    pub psnr: f64,
    /// The mean of all pictures.
    pub ssim: f64,
    /// What the encoder did.
    pub stats: EncoderStats,
    /// Time per picture in the mean, and of the slowest.
    pub time: (Duration, Duration),
}

/// Encodes every clip with every control.
///
/// # Errors
/// Where a clip cannot be read, the options make no sense, or a codec fails.
pub fn measure(options: &RateOptions, mut progress: impl FnMut(&RateResult)) -> Result<Vec<RateResult>> {
    ensure!((2..=3_600).contains(&options.seconds), "between 2 and 3600 seconds can be measured");
    ensure!((1..=100).contains(&options.passes), "between 1 and 100 passes can be made");
    let mut results = Vec::new();
    for clip in Clip::list(&options.files, &options.scene) {
        for control in CONTROLS.into_iter().filter(|name| options.control.is_empty() || *name == options.control) {
            let result = run(options, &clip, control)?;
            progress(&result);
            results.push(result);
        }
    }
    Ok(results)
}

fn run(options: &RateOptions, clip: &Clip, control: &'static str) -> Result<RateResult> {
    let mut first = encode(options, clip, control, true)?;
    for _ in 1..options.passes {
        let pass = encode(options, clip, control, false)?;
        for (least, time) in first.times.iter_mut().zip(pass.times) {
            *least = time.min(*least);
        }
    }
    let rate = first.frame_rate;
    let target = options.bitrate.as_bps() as f64;
    let mean = target / rate;
    let per = |seconds: f64| (rate * seconds).round().max(1.0) as usize;
    let sizes: Vec<f64> = first.pictures.iter().map(|(bits, _)| *bits).collect();
    let largest = |keyframe| {
        let sizes = first.pictures.iter().filter(|(_, is_keyframe)| *is_keyframe == keyframe).map(|(bits, _)| *bits);
        sizes.fold(0.0, f64::max) / mean
    };
    let count = sizes.len().max(1) as f64;
    Ok(RateResult {
        clip: clip.name(),
        control,
        target: options.bitrate,
        bitrate: sizes.iter().sum::<f64>() * rate / count,
        seconds: deviation(&sizes, per(1.0), per(1.0), per(1.0), mean),
        halves: deviation(&sizes, per(1.0), per(0.5), per(0.5), mean),
        sliding: deviation(&sizes, per(1.0), per(1.0), 1, mean),
        largest_delta: largest(false),
        largest_keyframe: largest(true),
        keyframes: first.pictures.iter().filter(|(_, keyframe)| *keyframe).count() as u32,
        psnr: first.psnr / count,
        ssim: first.ssim / count,
        stats: first.stats,
        time: (
            first.times.iter().sum::<Duration>() / count as u32,
            first.times.iter().max().copied().unwrap_or_default(),
        ),
    })
}

/// One pass.
struct Pass {
    frame_rate: f64,
    /// Bits, and whether it was a keyframe; 0 bits of what was left out.
    pictures: Vec<(f64, bool)>,
    times: Vec<Duration>,
    /// Sums.
    psnr: f64,
    ssim: f64,
    stats: EncoderStats,
}

fn encode(options: &RateOptions, clip: &Clip, control: &'static str, mark: bool) -> Result<Pass> {
    let mut source = clip.open(options.width, options.height, options.frame_rate)?;
    let (width, height) = source.size();
    let frame_rate = source.frame_rate();
    let config = H264Config {
        width,
        height,
        frame_rate,
        bitrate: options.bitrate,
        skip_frames: control == "codec-skip",
        ..Default::default()
    };
    let mut encoder = VideoEncoder::new(config, mode(control), EffortMode::Fixed(options.effort))?;
    let mut decoder = H264Decoder::new()?;
    let mut picture = VideoFrame::new(width, height)?;
    let mut shown: Option<VideoFrame> = None;
    let stats = EncoderStats::default();
    let mut pass = Pass { frame_rate, pictures: Vec::new(), times: Vec::new(), psnr: 0.0, ssim: 0.0, stats };
    let keyframe_every = (f64::from(options.keyframe_seconds) * frame_rate) as u32;
    for number in 0..(f64::from(options.seconds) * frame_rate) as u32 {
        if !source.draw(number, &mut picture)? {
            break;
        }
        if keyframe_every > 0 && number % keyframe_every == 0 {
            encoder.force_keyframe();
        }
        let elapsed = Duration::from_secs_f64(f64::from(number) / frame_rate);
        let begun = Instant::now();
        let encoded = encoder.encode(&picture, elapsed)?;
        pass.times.push(begun.elapsed());
        let bits = encoded.as_ref().map_or(0.0, |encoded| encoded.data.len() as f64 * 8.0);
        pass.pictures.push((bits, encoded.as_ref().is_some_and(|encoded| encoded.keyframe)));
        if !mark {
            continue;
        }
        if let Some(encoded) = encoded {
            let decoded = decoder.decode(&encoded.data)?;
            shown = Some(decoded.with_context(|| format!("picture {number} does not decode"))?);
        }
        if let Some(shown) = &shown {
            // Equal pictures count as those of the finest quantiser.
            pass.psnr += shown.luma_psnr(&picture).unwrap_or(0.0).min(70.0);
            pass.ssim += ssim(shown, &picture);
        }
    }
    pass.stats = encoder.stats();
    Ok(pass)
}

#[cfg(test)]
mod tests;
