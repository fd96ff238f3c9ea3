//! The arguments of `lab glass`.

use super::{NativeArgs, parse_duration};
use anyhow::{Result, ensure};
use clap::Args;
use sfu_client::lab::glass::GlassOptions;
use sfu_rtc::units::Bitrate;
use std::time::Duration;

#[derive(Args, Debug)]
pub(crate) struct LabGlassArgs {
    #[command(flatten)]
    native: NativeArgs,
    /// Width of the pictures.
    #[arg(long, default_value_t = 640)]
    width: usize,
    /// Height of the pictures.
    #[arg(long, default_value_t = 360)]
    height: usize,
    /// Pictures per second.
    #[arg(long, default_value_t = 30.0)]
    fps: f64,
    /// Bitrate of the pictures in kbit/s.
    #[arg(long, value_name = "KBPS", default_value_t = 1000)]
    bitrate: u64,
    /// How long it is measured, after five seconds that are not.
    #[arg(long, default_value = "20s", value_parser = parse_duration)]
    duration: Duration,
    /// Write one JSON object instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

impl LabGlassArgs {
    pub(crate) fn options(&self) -> Result<GlassOptions> {
        ensure!((10..=100_000).contains(&self.bitrate), "--bitrate must be 10 to 100000 kbit/s");
        Ok(GlassOptions {
            join: self.native.join_options(),
            width: self.width,
            height: self.height,
            frame_rate: self.fps,
            bitrate: Bitrate::from_kbps(self.bitrate),
            time: self.duration,
        })
    }
}
