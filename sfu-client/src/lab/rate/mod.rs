//! Rate control without a network: encode clips with ours and with the codec's own, and see how even the bits are, what
//! the pictures look like and what they cost.

mod plot;
mod table;
mod windows;

use super::clip::Clip;
use super::quality::ssim;
use crate::decode::open_decoder;
use crate::encode::{Effort, EffortMode, EncoderConfig, EncoderStats, RateControlConfig, RateMode, VideoEncoder};
use crate::frame::VideoFrame;
use crate::peer::VideoCodec;
use anyhow::{Context, Result, ensure};
pub use plot::plot;
use sfu_rtc::units::Bitrate;
use std::path::PathBuf;
use std::time::{Duration, Instant};
pub use table::table;
pub use windows::{Deviation, deviation};

/// What to measure.
#[derive(Clone, Debug)]
pub struct RateOptions {
    /// Codec.
    pub codec: VideoCodec,
    /// Temporal layers, 1 to 3.
    pub temporal_layers: u8,
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
            codec: VideoCodec::H264,
            temporal_layers: 1,
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

/// Controls, by name: the codec's own, the codec's own that may skip, ours with all keyframes spread, ours with keyframes
/// whole, ours that may skip.
pub const CONTROLS: [&str; 5] = ["codec", "codec-skip", "own", "own-whole", "own-skip"];

fn mode(control: &str) -> RateMode {
    let own = RateControlConfig::default();
    match control {
        "own" => RateMode::Own(own),
        "own-whole" => RateMode::Own(RateControlConfig { spread_keyframes: false, ..own }),
        "own-skip" => RateMode::Own(RateControlConfig { skip: true, ..own }),
        _ => RateMode::Codec,
    }
}

/// One picture.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Picture {
    /// 0 of what was left out.
    pub bits: f64,
    /// A decoder can begin here.
    pub keyframe: bool,
    /// What our control chose; 0 of the codec's own.
    pub quantizer: u8,
}

/// What came of one clip and one control.
#[derive(Clone, Debug)]
pub struct RateResult {
    /// Codec.
    pub codec: VideoCodec,
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
    /// What the codec's own control has more of that, in dB, where both were measured.
    pub psnr_loss: Option<f64>,
    /// The mean of all pictures.
    pub ssim: f64,
    /// All pictures.
    pub pictures: Vec<Picture>,
    /// Pictures per second.
    pub frame_rate: f64,
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
        let mut codec_psnr = None;
        for control in CONTROLS.into_iter().filter(|name| options.control.is_empty() || *name == options.control) {
            let mut result = run(options, &clip, control)?;
            if control.starts_with("own") {
                result.psnr_loss = codec_psnr.map(|codec| codec - result.psnr);
            } else if control == "codec" {
                codec_psnr = Some(result.psnr);
            }
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
    let sizes: Vec<f64> = first.pictures.iter().map(|picture| picture.bits).collect();
    let largest = |keyframe| {
        let sizes = first.pictures.iter().filter(|picture| picture.keyframe == keyframe).map(|picture| picture.bits);
        sizes.fold(0.0, f64::max) / mean
    };
    let count = sizes.len().max(1) as f64;
    Ok(RateResult {
        codec: options.codec,
        clip: clip.name(),
        control,
        target: options.bitrate,
        bitrate: sizes.iter().sum::<f64>() * rate / count,
        seconds: deviation(&sizes, per(1.0), per(1.0), per(1.0), mean),
        halves: deviation(&sizes, per(1.0), per(0.5), per(0.5), mean),
        sliding: deviation(&sizes, per(1.0), per(1.0), 1, mean),
        largest_delta: largest(false),
        largest_keyframe: largest(true),
        keyframes: first.pictures.iter().filter(|picture| picture.keyframe).count() as u32,
        psnr: first.psnr / count,
        psnr_loss: None,
        ssim: first.ssim / count,
        frame_rate: rate,
        stats: first.stats,
        time: (
            first.times.iter().sum::<Duration>() / count as u32,
            first.times.iter().max().copied().unwrap_or_default(),
        ),
        pictures: first.pictures,
    })
}

/// One pass.
struct Pass {
    frame_rate: f64,
    pictures: Vec<Picture>,
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
    let config = EncoderConfig {
        width,
        height,
        frame_rate,
        bitrate: options.bitrate,
        skip_frames: control == "codec-skip",
        temporal_layers: options.temporal_layers,
        ..Default::default()
    };
    let mut encoder = VideoEncoder::new(options.codec, config, mode(control), EffortMode::Fixed(options.effort))?;
    let mut decoder = open_decoder(options.codec)?;
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
        let (begun, quantizers) = (Instant::now(), encoder.stats().quantizer_sum);
        let encoded = encoder.encode(&picture, elapsed)?;
        pass.times.push(begun.elapsed());
        let bits = encoded.as_ref().map_or(0.0, |encoded| encoded.data.len() as f64 * 8.0);
        pass.pictures.push(Picture {
            bits,
            keyframe: encoded.as_ref().is_some_and(|encoded| encoded.keyframe),
            quantizer: u8::try_from(encoder.stats().quantizer_sum - quantizers).unwrap_or(u8::MAX),
        });
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
