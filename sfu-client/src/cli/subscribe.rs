//! The arguments of what receives.

use super::{MediaArgs, NativeArgs, OutputArgs, parse_duration};
use anyhow::{Result, ensure};
use clap::Args;
use sfu_client::capture::SceneKind;
use sfu_client::record::RecordSettings;
use sfu_client::signal::{JoinOptions, Target};
use sfu_client::subscribe::SubscribeOptions;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Args, Debug)]
pub(crate) struct SubscribeArgs {
    #[command(flatten)]
    native: NativeArgs,
    /// Play by WHEP from this URL instead of joining a room.
    #[arg(long, value_name = "URL")]
    whep: Option<String>,
    /// Video streams to receive at once.
    #[arg(long, value_name = "N", default_value_t = 4)]
    video_slots: usize,
    /// Audio streams to receive at once.
    #[arg(long, value_name = "N", default_value_t = 4)]
    audio_slots: usize,
    /// Take no parity (Reed-Solomon or FlexFEC-03): what is lost is asked for, and that is all.
    #[arg(long)]
    no_fec: bool,
    /// Ask for no packet of video that is missing: without parity too, what is lost stays lost, and the sender is asked for
    /// a picture that can be decoded without it.
    #[arg(long)]
    no_nack: bool,
    /// Width and height in which video is shown: of a sender with several encodings the one that fits comes.
    #[arg(long, value_name = "WxH", value_parser = parse_size)]
    shown: Option<(u32, u32)>,
    /// Draw the pictures of this scene again, and measure how like them those are that come (PSNR), and after how long.
    #[arg(long, value_name = "SCENE")]
    compare: Option<SceneKind>,
    /// Frames per second that the scene is published with.
    #[arg(long, value_name = "FPS", default_value_t = 30.0, requires = "compare")]
    compare_fps: f64,
    /// Record every stream into this folder: H.264 as Y4M, sound as WAV, VP8, VP9 and AV1 as IVF.
    #[arg(long, value_name = "FOLDER")]
    record: Option<PathBuf>,
    /// Record as received, not decoded: H.264 as .h264 (annex B), sound as Ogg.
    #[arg(long, requires = "record")]
    record_coded: bool,
    /// Frames per second that recorded Y4M files state.
    #[arg(long, value_name = "FPS", default_value_t = 30.0, requires = "record")]
    record_fps: f64,
    /// Record the whole call as received into one Matroska (or WebM) file, every stream a track. A stream that begins
    /// after the first 1.5 s begins another file, name-2.mkv.
    #[arg(long, value_name = "FILE")]
    record_call: Option<PathBuf>,
    /// Show the pictures in a window, as large as --shown says at first, where built with the feature `window`. Closing it,
    /// or Escape, ends the session.
    #[arg(long, conflicts_with = "picture")]
    pub(crate) window: bool,
    /// Show the pictures of the first stream in the dashboard, as half blocks.
    #[arg(long)]
    pub(crate) picture: bool,
    /// End after so many decoded pictures (of all streams).
    #[arg(long)]
    frames: Option<u64>,
    /// Time between two updates of the dashboard or table, such as 500ms.
    #[arg(long, default_value = "1s", value_parser = parse_duration)]
    interval: Duration,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Args, Debug)]
pub(crate) struct JoinTimeArgs {
    #[command(flatten)]
    native: NativeArgs,
    /// Measure at this WHEP URL instead of by native signalling.
    #[arg(long, value_name = "URL", conflicts_with = "publish")]
    whep: Option<String>,
    /// How many joins.
    #[arg(long, default_value_t = 20)]
    pub(crate) joins: usize,
    /// Publish the scene into the room meanwhile, so that there is something to join.
    #[arg(long)]
    pub(crate) publish: bool,
    /// Fail (exit code 1) when the median exceeds this time.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) limit: Option<Duration>,
    /// Write one JSON object per line instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    native: NativeArgs,
    /// Write one JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

impl DoctorArgs {
    pub(crate) fn options(&self) -> JoinOptions {
        self.native.join_options()
    }
}

impl SubscribeArgs {
    pub(crate) fn options(&self) -> Result<SubscribeOptions> {
        ensure!(self.video_slots + self.audio_slots > 0, "there is nothing to receive without slots");
        ensure!(self.video_slots <= 64 && self.audio_slots <= 64, "at most 64 slots of each kind are possible");
        ensure!(self.interval >= Duration::from_millis(50), "--interval must be at least 50ms");
        let record = self.record.as_ref().map(|folder| RecordSettings {
            folder: folder.clone(),
            coded: self.record_coded,
            frame_rate: self.record_fps,
        });
        if let Some(record) = &record {
            record.prepare()?;
        }
        // One WHEP session plays one stream.
        let slots = |slots: usize| if self.whep.is_some() { slots.min(1) } else { slots };
        Ok(SubscribeOptions {
            target: self.native.target(self.whep.as_ref()),
            video_slots: slots(self.video_slots),
            audio_slots: slots(self.audio_slots),
            fec: !self.no_fec,
            nack: !self.no_nack,
            shown: self.shown,
            original: self.compare.map(|scene| (scene, self.compare_fps)),
            record,
            record_call: self.record_call.clone(),
            frames: self.frames,
            interval: self.interval,
            tap: None,
        })
    }
}

impl JoinTimeArgs {
    pub(crate) fn target(&self) -> Target {
        self.native.target(self.whep.as_ref())
    }

    /// The scene, as another participant of the same room.
    pub(crate) fn publisher(&self) -> Result<sfu_client::publish::PublishOptions> {
        let mut target = self.native.target(None);
        if let Target::Native(options) = &mut target {
            options.name += "-publisher";
        }
        MediaArgs::parse_from_defaults().options(target, None)
    }
}

/// Such as 640x360.
fn parse_size(text: &str) -> Result<(u32, u32), String> {
    let size = text.split_once('x').and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    size.filter(|(width, height)| *width > 0 && *height > 0).ok_or_else(|| "a size is like 640x360".to_owned())
}
