//! What is done to pictures before they are coded, without a network: light, noise, harm and time.

mod marks;
mod table;

use super::clip::Clip;
use crate::frame::VideoFrame;
use crate::preprocess::{PreprocessConfig, Preprocessor};
use crate::record::write_png;
use anyhow::{Context, Result, ensure};
use marks::Marker;
pub use marks::Marks;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};
pub use table::table;

/// What to measure.
#[derive(Clone, Debug)]
pub struct LightOptions {
    /// Files to treat instead of the generated scenes: Y4M in their own size, all else by ffmpeg.
    pub files: Vec<PathBuf>,
    /// Only scenes whose name contains this.
    pub scene: String,
    /// Only stages whose name contains this.
    pub stage: String,
    /// Leave this share of the light of files, 0 to 1; 1: all.
    pub dim: f64,
    /// Width of the pictures.
    pub width: usize,
    /// Height of the pictures.
    pub height: usize,
    /// Pictures per second.
    pub frame_rate: f64,
    /// Seconds of each clip.
    pub seconds: u32,
    /// Times that each clip is treated: of each picture's times the least counts.
    pub passes: u32,
    /// Where to write the middle picture of each clip, before and after side by side, as PNG.
    pub save: Option<PathBuf>,
}

impl Default for LightOptions {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            scene: String::new(),
            stage: String::new(),
            dim: 1.0,
            width: 1280,
            height: 720,
            frame_rate: 30.0,
            seconds: 4,
            passes: 1,
            save: None,
        }
    }
}

/// Stages, by name.
pub const STAGES: [(&str, PreprocessConfig); 3] = [
    ("low-light", PreprocessConfig { denoise: false, low_light: true }),
    ("denoise", PreprocessConfig { denoise: true, low_light: false }),
    ("both", PreprocessConfig { denoise: true, low_light: true }),
];

/// What came of one clip and one stage.
#[derive(Clone, Debug)]
pub struct LightResult {
    /// Clip.
    pub clip: String,
    /// Stage.
    pub stage: &'static str,
    /// Pictures.
    pub pictures: u64,
    /// Pictures that came out as they went in, to the last bit.
    pub identical: u64,
    /// Pictures that the stages said they left alone.
    pub bypassed: u64,
    /// Before and after.
    pub before: Marks,
    /// The same after.
    pub after: Marks,
    /// Time per picture in the mean, and of the slowest.
    pub time: (Duration, Duration),
}

impl LightResult {
    /// The larger change of both chroma means, as a share of the mean.
    pub fn cast(&self) -> f64 {
        let change = |before: f64, after: f64| (after / before - 1.0).abs();
        change(self.before.u, self.after.u).max(change(self.before.v, self.after.v))
    }
}

/// Treats every clip with every stage.
///
/// # Errors
/// Where a clip cannot be read, the options make no sense, or a picture cannot be written.
pub fn measure(options: &LightOptions, mut progress: impl FnMut(&LightResult)) -> Result<Vec<LightResult>> {
    ensure!((1..=3_600).contains(&options.seconds), "between 1 and 3600 seconds can be measured");
    ensure!((1..=100).contains(&options.passes), "between 1 and 100 passes can be made");
    ensure!((0.0..=1.0).contains(&options.dim), "a share of light is 0 to 1");
    if let Some(folder) = &options.save {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut results = Vec::new();
    for clip in Clip::list(&options.files, &options.scene) {
        for (stage, config) in STAGES.into_iter().filter(|(name, _)| name.contains(&options.stage)) {
            let result = run(options, &clip, stage, config)?;
            progress(&result);
            results.push(result);
        }
    }
    Ok(results)
}

fn run(options: &LightOptions, clip: &Clip, stage: &'static str, config: PreprocessConfig) -> Result<LightResult> {
    let mut times: Vec<Duration> = Vec::new();
    let mut result = None;
    for pass in 0..options.passes {
        let (this, pass_times) = treat(options, clip, stage, config, pass == 0)?;
        if times.is_empty() {
            (times, result) = (pass_times, Some(this));
        } else {
            times.iter_mut().zip(pass_times).for_each(|(least, time)| *least = time.min(*least));
        }
    }
    let mut result = result.context("there are no pictures")?;
    result.time =
        (times.iter().sum::<Duration>() / times.len().max(1) as u32, times.iter().max().copied().unwrap_or_default());
    Ok(result)
}

fn treat(
    options: &LightOptions,
    clip: &Clip,
    stage: &'static str,
    config: PreprocessConfig,
    mark: bool,
) -> Result<(LightResult, Vec<Duration>)> {
    let mut source = clip.open(options.width, options.height, options.frame_rate)?;
    let (width, height) = source.size();
    let mut preprocessor = Preprocessor::new(config);
    let (mut drawn, mut output) = (VideoFrame::new(width, height)?, VideoFrame::new(width, height)?);
    let (mut before, mut after) = (Marker::new(), Marker::new());
    let (mut times, mut identical) = (Vec::new(), 0);
    let count = (f64::from(options.seconds) * source.frame_rate()) as u32;
    for number in 0..count {
        if !source.draw(number, &mut drawn)? {
            break;
        }
        dim(&mut drawn, options.dim);
        output.clone_from(&drawn);
        let begun = Instant::now();
        preprocessor.process(&mut output);
        times.push(begun.elapsed());
        if mark {
            before.add(&drawn);
            after.add(&output);
            identical += u64::from(drawn == output);
        }
        if let Some(folder) = options.save.as_ref().filter(|_| mark && number == count / 2) {
            write_png(&folder.join(format!("{}-{stage}.png", clip.name())), &beside(&drawn, &output)?)?;
        }
    }
    let stats = preprocessor.stats();
    let result = LightResult {
        clip: clip.name(),
        stage,
        pictures: stats.pictures,
        identical,
        bypassed: stats.pictures - stats.denoised.max(stats.brightened),
        before: before.marks(),
        after: after.marks(),
        time: (Duration::ZERO, Duration::ZERO),
    };
    Ok((result, times))
}

/// Leaves a share of the light above black, and of the colour.
fn dim(picture: &mut VideoFrame, share: f64) {
    if share >= 1.0 {
        return;
    }
    let scaled = |black: f64, sample: usize| (black + (sample as f64 - black) * share).round().clamp(0.0, 255.0) as u8;
    let luma_table: [u8; 256] = std::array::from_fn(|sample| scaled(16.0, sample));
    let chroma_table: [u8; 256] = std::array::from_fn(|sample| scaled(128.0, sample));
    let (luma, u, v) = picture.planes_mut();
    luma.iter_mut().for_each(|sample| *sample = luma_table[usize::from(*sample)]);
    u.iter_mut().chain(v).for_each(|sample| *sample = chroma_table[usize::from(*sample)]);
}

/// Two pictures of one size as one.
fn beside(left: &VideoFrame, right: &VideoFrame) -> Result<VideoFrame> {
    let (width, height) = (left.width(), left.height());
    let mut both = VideoFrame::new(width * 2, height)?;
    let copy = |out: &mut [u8], left: &[u8], right: &[u8], width: usize| {
        let rows = left.chunks_exact(width).zip(right.chunks_exact(width));
        for (out, (left, right)) in out.chunks_exact_mut(2 * width).zip(rows) {
            out[..width].copy_from_slice(left);
            out[width..].copy_from_slice(right);
        }
    };
    let ((left_y, left_u, left_v), (right_y, right_u, right_v)) = (left.planes(), right.planes());
    let (y, u, v) = both.planes_mut();
    copy(y, left_y, right_y, width);
    copy(u, left_u, right_u, width / 2);
    copy(v, left_v, right_v, width / 2);
    Ok(both)
}

#[cfg(test)]
mod tests;
