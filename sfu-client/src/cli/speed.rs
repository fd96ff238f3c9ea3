//! Arguments of `lab speed`.

use super::parse_codec;
use clap::Args;
use sfu_client::lab::speed::SpeedOptions;
use sfu_client::peer::VideoCodec;
use sfu_rtc::units::Bitrate;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(crate) struct LabSpeedArgs {
    /// Codec: h264; vp8 or vp9 where built with the feature `vpx`, av1 with `aom`.
    #[arg(long, value_name = "CODEC", default_value = "h264", value_parser = parse_codec)]
    codec: VideoCodec,
    /// Publish these files instead of the generated scenes: Y4M in their own size, others through ffmpeg.
    #[arg(long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only scenes whose name contains this: moving, talking, rush, cuts, dark, pages.
    #[arg(long, value_name = "NAME", default_value = "")]
    scene: String,
    /// Width of the pictures.
    #[arg(long, default_value_t = 1280)]
    width: usize,
    /// Height of the pictures.
    #[arg(long, default_value_t = 720)]
    height: usize,
    /// Pictures per second.
    #[arg(long, default_value_t = 30.0)]
    fps: f64,
    /// Bitrate to keep, in kbit/s.
    #[arg(long, value_name = "KBPS", default_value_t = 1500)]
    bitrate: u64,
    /// Pictures of each clip; shorter files are repeated.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pictures: u32,
    /// Measure everything so many times: of each picture's times the least counts.
    #[arg(long, value_name = "N", default_value_t = 1)]
    passes: u32,
    /// Write one JSON object per line instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

impl LabSpeedArgs {
    pub(crate) fn options(&self) -> SpeedOptions {
        SpeedOptions {
            codec: self.codec,
            files: self.files.clone(),
            scene: self.scene.clone(),
            width: self.width,
            height: self.height,
            frame_rate: self.fps,
            bitrate: Bitrate::from_kbps(self.bitrate.clamp(10, 100_000)),
            pictures: self.pictures,
            passes: self.passes,
        }
    }
}
