//! The program's arguments.

mod duration;
mod glass;
mod lab_sound;
mod speed;
mod subscribe;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};
use duration::parse_duration;
pub(crate) use glass::LabGlassArgs;
pub(crate) use lab_sound::{LabEchoArgs, LabVoiceArgs};
use sfu_client::capture::{
    AudioSource, MediaFile, Scene, SceneKind, Tone, VideoSource, Voice, WavReader, Y4mReader, open_camera,
    open_microphone,
};
use sfu_client::encode::{Effort, EffortMode, OpusConfig, PacketTime, RateControlConfig, RateMode};
use sfu_client::lab::light::LightOptions;
use sfu_client::lab::rate::RateOptions;
use sfu_client::peer::VideoCodec;
use sfu_client::preprocess::PreprocessConfig;
use sfu_client::send::{AudioSettings, MAX_GENERATIONS, RedConfig, VideoSettings};
use sfu_client::signal::{JoinOptions, Target};
use sfu_client::voice::{NearLoudspeaker, VoiceConfig};
use sfu_rtc::units::Bitrate;
pub(crate) use speed::LabSpeedArgs;
use std::path::PathBuf;
use std::time::Duration;
pub(crate) use subscribe::{DoctorArgs, JoinTimeArgs, SubscribeArgs};

/// RMS of the generated voice: 24 dB below overload.
const VOICE_LEVEL: f64 = 2_000.0;

/// Reference publisher and subscriber for the SFU, and for any WHIP and WHEP server.
///
/// The published scene carries its frame number and the time of capture as blocks that the subscriber reads back, so
/// loss, order and glass-to-glass latency are measured on the pictures themselves. Latency between two machines is as
/// good as their clocks agree.
#[derive(Parser, Debug)]
#[command(version, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Sends picture (H.264, VP8, VP9, AV1) and sound (Opus) until Ctrl-C, `--duration` or `--frames`.
    Publish(PublishArgs),
    /// Receives what others send, decodes and measures it. Fails (exit code 1) when nothing came.
    Subscribe(SubscribeArgs),
    /// Measures the time from the start of a join to the first decoded picture, over many joins into a running call.
    JoinTime(JoinTimeArgs),
    /// Says what of this client, this machine and the way to a server works, what does not, and how to mend it. Joins the
    /// room for a moment. Fails (exit code 1) where something is wrong.
    Doctor(DoctorArgs),
    /// Measures parts of the engine without a network, and the whole through a server.
    #[command(subcommand)]
    Lab(LabCommand),
}

#[derive(Subcommand, Debug)]
pub(crate) enum LabCommand {
    /// Voice over bad networks, with and without in-band FEC and redundancy: quality, concealment, delay.
    Voice(LabVoiceArgs),
    /// Rate control around the video encoder, ours and the codec's own: bits per second and half second, the largest
    /// pictures, quality, speed.
    Rate(LabRateArgs),
    /// What is done to pictures before they are coded: light, contrast, flicker, noise, colour, time.
    Light(LabLightArgs),
    /// What publishing takes of a core: each stage before the encoder, and the encoder.
    Speed(LabSpeedArgs),
    /// Echo of a loudspeaker in a room that is made up, and what is left of it: echo return loss enhancement, what becomes
    /// of a voice meanwhile, time.
    Echo(LabEchoArgs),
    /// From glass to glass, and lips against voice, through a server: sends a scene with a clock burned in and ticks of the
    /// same clock, and watches them. The network between is as it is.
    Glass(LabGlassArgs),
}

#[derive(Args, Debug)]
pub(crate) struct LabLightArgs {
    /// Treat these files instead of the generated scenes: Y4M in their own size and rate, others through ffmpeg.
    #[arg(long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only scenes whose name contains this: moving, talking, rush, cuts, dark, pages.
    #[arg(long, value_name = "NAME", default_value = "")]
    scene: String,
    /// Only stages whose name contains this: low-light, denoise, both.
    #[arg(long, value_name = "NAME", default_value = "")]
    stage: String,
    /// Leave this share of the light of every clip.
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    dim: f64,
    /// Width of the pictures.
    #[arg(long, default_value_t = 1280)]
    width: usize,
    /// Height of the pictures.
    #[arg(long, default_value_t = 720)]
    height: usize,
    /// Pictures per second.
    #[arg(long, default_value_t = 30.0)]
    fps: f64,
    /// Seconds of each clip; shorter files are repeated.
    #[arg(long, default_value_t = 4)]
    seconds: u32,
    /// Treat everything so many times: of each picture's times the least counts.
    #[arg(long, value_name = "N", default_value_t = 1)]
    passes: u32,
    /// Write the middle picture of each clip, before and after side by side, as PNG into this folder.
    #[arg(long, value_name = "FOLDER")]
    save: Option<PathBuf>,
    /// Write one JSON object per line instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

impl LabLightArgs {
    pub(crate) fn options(&self) -> LightOptions {
        LightOptions {
            files: self.files.clone(),
            scene: self.scene.clone(),
            stage: self.stage.clone(),
            dim: self.dim,
            width: self.width,
            height: self.height,
            frame_rate: self.fps,
            seconds: self.seconds,
            passes: self.passes,
            save: self.save.clone(),
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct LabRateArgs {
    /// Encode these files instead of the generated scenes: Y4M in their own size and rate, others through ffmpeg.
    #[arg(long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Codec: h264; vp8 or vp9 where built with the feature `vpx`, av1 with `aom`.
    #[arg(long, value_name = "CODEC", default_value = "h264", value_parser = parse_codec)]
    codec: VideoCodec,
    /// Temporal layers, 1 to 3.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=3))]
    temporal_layers: u8,
    /// Only scenes whose name contains this: moving, talking, rush, cuts, dark, pages.
    #[arg(long, value_name = "NAME", default_value = "")]
    scene: String,
    /// Only this control: own, own-whole (keyframes not spread), own-skip, codec, codec-skip.
    #[arg(long, value_name = "NAME", default_value = "")]
    control: String,
    /// Width of the pictures.
    #[arg(long, default_value_t = 640)]
    width: usize,
    /// Height of the pictures.
    #[arg(long, default_value_t = 360)]
    height: usize,
    /// Pictures per second.
    #[arg(long, default_value_t = 30.0)]
    fps: f64,
    /// Bitrate to keep, in kbit/s.
    #[arg(long, value_name = "KBPS", default_value_t = 360)]
    bitrate: u64,
    /// How much the encoder tries: low, medium or high.
    #[arg(long, value_name = "LEVEL", default_value = "low", value_parser = ["low", "medium", "high"])]
    effort: String,
    /// Seconds of each clip, at least 2; shorter files are repeated.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Seconds from one keyframe to the next; 0: only the first.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    keyframes: u32,
    /// Encode everything so many times: of each picture's times the least counts.
    #[arg(long, value_name = "N", default_value_t = 1)]
    passes: u32,
    /// Draw each result into this folder, as codec-clip-control.svg.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) plot: Option<PathBuf>,
    /// Write one JSON object per line instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

impl LabRateArgs {
    pub(crate) fn options(&self) -> Result<RateOptions> {
        ensure!((10..=100_000).contains(&self.bitrate), "--bitrate must be 10 to 100000 kbit/s");
        Ok(RateOptions {
            codec: self.codec,
            temporal_layers: self.temporal_layers,
            files: self.files.clone(),
            scene: self.scene.clone(),
            control: self.control.clone(),
            width: self.width,
            height: self.height,
            frame_rate: self.fps,
            bitrate: Bitrate::from_kbps(self.bitrate),
            effort: effort(&self.effort).unwrap_or(Effort::Low),
            seconds: self.seconds,
            keyframe_seconds: self.keyframes,
            passes: self.passes,
        })
    }
}

#[derive(Args, Debug)]
pub(crate) struct NativeArgs {
    /// Server to join by native signalling.
    #[arg(long, value_name = "URL", default_value = "ws://127.0.0.1:7880")]
    server: String,
    /// Room to join.
    #[arg(long, default_value = "demo")]
    room: String,
    /// Name to show to others.
    #[arg(long, default_value = "sfu-client")]
    name: String,
    /// Join token (see `sfu token`), or bearer token for WHIP and WHEP. A server started with --dev needs none.
    #[arg(long, env = "SFU_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct OutputArgs {
    /// End after this time, such as 30s or 5m.
    #[arg(long, value_parser = parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// Write one JSON object per line instead of text.
    #[arg(long)]
    pub(crate) json: bool,
    /// Write text on a terminal too, instead of the dashboard with its graphs.
    #[arg(long)]
    pub(crate) text: bool,
}

#[derive(Args, Debug)]
pub(crate) struct PublishArgs {
    #[command(flatten)]
    native: NativeArgs,
    /// Publish by WHIP (RFC 9725) to this URL instead of joining a room.
    #[arg(long, value_name = "URL")]
    whip: Option<String>,
    #[command(flatten)]
    media: MediaArgs,
    /// End after so many pictures.
    #[arg(long)]
    frames: Option<u32>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Args, Debug)]
pub(crate) struct MediaArgs {
    /// Width of the generated scene.
    #[arg(long, default_value_t = 640)]
    width: usize,
    /// Height of the generated scene.
    #[arg(long, default_value_t = 360)]
    height: usize,
    /// Pictures per second of the generated scene.
    #[arg(long, default_value_t = 30.0)]
    fps: f64,
    /// Video codec: h264; vp8 or vp9 where built with the feature `vpx`, av1 with `aom`. Where left out: av1 for a screen if
    /// it is built in, and h264 else. The server may ask for another that all in the room have.
    #[arg(long, value_name = "CODEC", value_parser = parse_codec)]
    codec: Option<VideoCodec>,
    /// Temporal layers, 1 to 3: the upper ones can be left out on the way.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=3))]
    temporal_layers: u8,
    /// Video bitrate in kbit/s.
    #[arg(long, value_name = "KBPS", default_value_t = 1000)]
    bitrate: u64,
    /// What the generated scene shows: moving, talking (a webcam), rush (hard motion), cuts, dark, pages (of text).
    #[arg(long, value_name = "NAME", default_value = "moving")]
    scene: SceneKind,
    /// Publish the pictures as those of a screen: each is sharp, and what follows is left out until it has been sent.
    #[arg(long)]
    screen: bool,
    /// Play this Y4M file (8-bit 4:2:0) in a loop instead of the scene.
    #[arg(long, value_name = "FILE")]
    y4m: Option<PathBuf>,
    /// Play any file that ffmpeg reads in a loop instead of the scene, in the scene's size and rate.
    #[arg(long, value_name = "FILE", conflicts_with = "y4m")]
    file: Option<PathBuf>,
    /// Send the pictures of this camera, such as /dev/video0, in the size and rate nearest to the scene's. Where built with
    /// the feature `camera`.
    #[arg(long, value_name = "DEVICE", conflicts_with_all = ["y4m", "file"])]
    camera: Option<PathBuf>,
    /// Who keeps the bitrate: own (every picture has a budget) or codec.
    #[arg(long, value_name = "WHO", default_value = "own", value_parser = ["own", "codec"])]
    rate_control: String,
    /// Let keyframes be as large as their quality asks for, instead of 2.5 mean pictures at most.
    #[arg(long)]
    whole_keyframes: bool,
    /// Coarsest quantiser, 1 to 51 on the scale of H.264. Where it is too fine for the bitrate, pictures are left out if
    /// --skip-frames says so; otherwise the bitrate is exceeded. Only with --rate-control own.
    #[arg(long, value_name = "QP", default_value_t = 51, value_parser = clap::value_parser!(u8).range(1..=51))]
    max_qp: u8,
    /// Play this WAV file (16-bit PCM) in a loop instead of the tone.
    #[arg(long, value_name = "FILE")]
    wav: Option<PathBuf>,
    /// Send what a microphone hears instead of the tone: the system's, or the one of this name. Where built with the feature
    /// `microphone`.
    #[arg(long, value_name = "NAME", num_args = 0..=1, conflicts_with_all = ["wav", "voice"])]
    microphone: Option<Option<String>>,
    /// Sound bitrate in kbit/s.
    #[arg(long, value_name = "KBPS", default_value_t = 32)]
    audio_bitrate: u32,
    /// Frequency of the generated tone in Hz.
    #[arg(long, value_name = "HZ", default_value_t = 440.0)]
    tone: f64,
    /// Say a generated voice instead of the tone.
    #[arg(long, conflicts_with = "wav")]
    voice: bool,
    /// Loss in percent that Opus is to expect: the more, the more of its bitrate goes into in-band FEC. 0: none.
    #[arg(long, value_name = "PERCENT", default_value_t = 5)]
    audio_loss: u8,
    /// Send next to nothing while there is silence.
    #[arg(long)]
    dtx: bool,
    /// Sound in one packet, in milliseconds: the longer, the fewer bits are headers.
    #[arg(long, value_name = "MS", default_value = "20", value_parser = parse_packet_time)]
    packet_time: PacketTime,
    /// Copies of each packet of sound that go along with later ones (RFC 2198), 0 to 2.
    #[arg(long, value_name = "N", default_value_t = 0)]
    red: usize,
    /// Packets between two copies: against bursts of loss, at the price of delay.
    #[arg(long, value_name = "N", default_value_t = 1)]
    red_spacing: usize,
    /// Take out of the sound the echo of this WAV file, which a loudspeaker plays beside it, in a loop.
    #[arg(long, value_name = "FILE")]
    echo_reference: Option<PathBuf>,
    /// Take noise out of the sound. A tone is one.
    #[arg(long)]
    noise_suppression: bool,
    /// Bring the sound to an even level.
    #[arg(long)]
    gain_control: bool,
    /// How much the encoder tries: auto (as much as the slowest picture allows; where the machine cannot follow at the least,
    /// fewer pictures and then smaller ones), low, medium or high.
    #[arg(long, value_name = "LEVEL", default_value = "auto", value_parser = ["auto", "low", "medium", "high"])]
    effort: String,
    /// Take no noise out of pictures. It is done only where still parts of the picture show some.
    #[arg(long)]
    no_denoise: bool,
    /// Brighten no dark rooms. It is done only where the picture is dark.
    #[arg(long)]
    no_low_light: bool,
    /// Keep long-term references (H.264, one temporal layer): losses are followed by pictures that refer to what the
    /// viewers have, in the place of keyframes.
    #[arg(long)]
    long_term: bool,
    /// Encodings of the same pictures, 1 to 3 (simulcast): each one half as wide and high as the next, the largest with
    /// --bitrate. A server forwards to everybody the one that fits.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=3))]
    simulcast: u8,
    /// Send no picture.
    #[arg(long, conflicts_with_all = ["y4m", "file", "camera", "no_audio"])]
    no_video: bool,
    /// Send no sound.
    #[arg(long, conflicts_with_all = ["wav", "microphone"])]
    no_audio: bool,
    /// Leave frame number and clock out of the picture.
    #[arg(long)]
    no_overlay: bool,
    /// Leave pictures out where the bitrate cannot be kept otherwise; the subscriber will see gaps in the frame numbers.
    #[arg(long)]
    skip_frames: bool,
}

impl NativeArgs {
    fn target(&self, http: Option<&String>) -> Target {
        match http {
            Some(url) => Target::Http { url: url.clone(), token: self.token.clone() },
            None => Target::Native(self.join_options()),
        }
    }

    fn join_options(&self) -> JoinOptions {
        JoinOptions {
            server: self.server.clone(),
            room: self.room.clone(),
            name: self.name.clone(),
            token: self.token.clone().unwrap_or_default(),
        }
    }
}

impl PublishArgs {
    pub(crate) fn options(&self) -> Result<sfu_client::publish::PublishOptions> {
        self.media.options(self.native.target(self.whip.as_ref()), self.frames)
    }
}

impl MediaArgs {
    fn options(&self, target: Target, frames: Option<u32>) -> Result<sfu_client::publish::PublishOptions> {
        ensure!((10..=100_000).contains(&self.bitrate), "--bitrate must be 10 to 100000 kbit/s");
        ensure!(self.simulcast == 1 || !self.long_term, "--long-term needs a single encoding");
        ensure!((6..=510).contains(&self.audio_bitrate), "--audio-bitrate must be 6 to 510 kbit/s");
        let settings = if self.screen { VideoSettings::of_screen() } else { VideoSettings::default() };
        let settings = VideoSettings {
            codec: self.codec.unwrap_or(settings.codec),
            temporal_layers: self.temporal_layers,
            bitrate: Bitrate::from_kbps(self.bitrate),
            overlay: !self.no_overlay,
            skip_frames: self.skip_frames,
            rate: self.rate_mode(settings.rate),
            effort: effort(&self.effort).map_or(settings.effort, EffortMode::Fixed),
            preprocess: PreprocessConfig {
                denoise: settings.preprocess.denoise && !self.no_denoise,
                low_light: settings.preprocess.low_light && !self.no_low_light,
            },
            // Their news come by the native signalling.
            long_term: self.long_term && matches!(target, Target::Native(_)),
            simulcast: self.simulcast,
            frames,
            ..settings
        };
        let video = if self.no_video { None } else { Some((self.video_source()?, settings)) };
        let audio = if self.no_audio { None } else { Some((self.audio_source()?, self.audio_settings()?)) };
        Ok(sfu_client::publish::PublishOptions { target, video, audio })
    }

    fn rate_mode(&self, default: RateMode) -> RateMode {
        match self.rate_control.as_str() {
            "codec" => RateMode::Codec,
            _ if self.screen => default,
            _ => RateMode::Own(RateControlConfig {
                max_quantizer: self.max_qp,
                spread_keyframes: !self.whole_keyframes,
                skip: self.skip_frames,
                ..Default::default()
            }),
        }
    }

    fn audio_settings(&self) -> Result<AudioSettings> {
        ensure!(self.audio_loss <= 100, "--audio-loss must be 0 to 100 %");
        ensure!(self.red <= MAX_GENERATIONS, "--red must be 0 to {MAX_GENERATIONS}");
        ensure!((1..=17).contains(&self.red_spacing), "--red-spacing must be 1 to 17 packets");
        let opus = OpusConfig {
            bitrate: self.audio_bitrate * 1000,
            fec: self.audio_loss > 0,
            expected_loss: self.audio_loss,
            dtx: self.dtx,
            packet_time: self.packet_time,
        };
        let red = RedConfig { generations: self.red, spacing: self.red_spacing };
        let echo = self.echo_reference.is_some();
        Ok(AudioSettings {
            opus,
            red,
            voice: VoiceConfig { echo, noise: self.noise_suppression, gain: self.gain_control },
        })
    }

    fn video_source(&self) -> Result<Box<dyn VideoSource>> {
        if let Some(camera) = &self.camera {
            return open_camera(camera, (self.width, self.height), self.fps);
        }
        Ok(match (&self.y4m, &self.file) {
            (Some(path), _) => Box::new(Y4mReader::open(path)?),
            (None, Some(path)) => Box::new(MediaFile::open(path, self.width, self.height, self.fps)?),
            (None, None) => Box::new(Scene::of(self.scene, self.width, self.height, self.fps)?),
        })
    }

    fn audio_source(&self) -> Result<Box<dyn AudioSource>> {
        let source: Box<dyn AudioSource> = match &self.wav {
            Some(path) => Box::new(WavReader::open(path)?),
            None if self.microphone.is_some() => {
                open_microphone(self.microphone.iter().flatten().next().map(String::as_str))?
            }
            None if self.voice => Box::new(Voice::new(VOICE_LEVEL)),
            None => Box::new(Tone::new(self.tone)),
        };
        Ok(match &self.echo_reference {
            Some(path) => Box::new(NearLoudspeaker::new(source, Box::new(WavReader::open(path)?))),
            None => source,
        })
    }
}

impl MediaArgs {
    /// As if no argument were given.
    fn parse_from_defaults() -> Self {
        #[derive(Parser)]
        struct Defaults {
            #[command(flatten)]
            media: MediaArgs,
        }
        Defaults::parse_from(["sfu-client"]).media
    }
}

fn parse_packet_time(text: &str) -> Result<PacketTime, String> {
    let time = text.parse().map(PacketTime::up_to_millis).ok().filter(|time| time.millis().to_string() == text);
    time.ok_or_else(|| "packets are of 20, 40 or 60 ms".to_owned())
}

/// One that was built in.
fn parse_codec(name: &str) -> Result<VideoCodec> {
    let codec = VideoCodec::from_name(name).with_context(|| format!("{name:?} is no codec: h264, vp8, vp9 or av1"))?;
    codec.require().map(|()| codec)
}

/// `None`: by itself.
fn effort(name: &str) -> Option<Effort> {
    match name {
        "low" => Some(Effort::Low),
        "medium" => Some(Effort::Medium),
        "high" => Some(Effort::High),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
        MediaArgs::parse_from_defaults();
    }
}
