//! The arguments of what `lab` does with sound.

use anyhow::{Result, ensure};
use clap::Args;
use sfu_client::encode::PacketTime;
use sfu_client::lab::echo::EchoOptions;
use sfu_client::lab::voice::VoiceOptions;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(crate) struct LabVoiceArgs {
    /// Say this WAV file (16-bit PCM), over and over, instead of the generated voice.
    #[arg(long, value_name = "FILE")]
    wav: Option<PathBuf>,
    /// Seconds of sound for each line, at least 8. Marks are of whole 8 s after the first 7.
    #[arg(long, default_value_t = 40)]
    seconds: usize,
    /// Seed of loss and jitter.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Bitrate of Opus in kbit/s, without redundancy.
    #[arg(long, value_name = "KBPS", default_value_t = 24)]
    audio_bitrate: u32,
    /// Sound in one packet, in milliseconds: 20, 40 or 60.
    #[arg(long, value_name = "MS", default_value = "20", value_parser = super::parse_packet_time)]
    packet_time: PacketTime,
    /// Write what was said, and what was heard of it each time, as WAV into this folder.
    #[arg(long, value_name = "FOLDER")]
    save: Option<PathBuf>,
    /// Only networks whose name contains this.
    #[arg(long, value_name = "NAME", default_value = "")]
    network: String,
    /// Only protections whose name contains this.
    #[arg(long, value_name = "NAME", default_value = "")]
    protection: String,
    /// Write one JSON object per line instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

impl LabVoiceArgs {
    pub(crate) fn options(&self) -> Result<VoiceOptions> {
        ensure!((6..=510).contains(&self.audio_bitrate), "--audio-bitrate must be 6 to 510 kbit/s");
        Ok(VoiceOptions {
            wav: self.wav.clone(),
            seconds: self.seconds,
            seed: self.seed,
            bitrate: self.audio_bitrate * 1000,
            packet_time: self.packet_time,
            network: self.network.clone(),
            protection: self.protection.clone(),
            save: self.save.clone(),
            ..Default::default()
        })
    }
}

#[derive(Args, Debug)]
pub(crate) struct LabEchoArgs {
    /// Let the loudspeaker play this WAV file (16-bit PCM), over and over, instead of the generated voice.
    #[arg(long, value_name = "FILE")]
    wav: Option<PathBuf>,
    /// Seconds of sound of each room, at least 10.
    #[arg(long, default_value_t = 20)]
    seconds: usize,
    /// Only rooms whose name contains this.
    #[arg(long, value_name = "NAME", default_value = "")]
    room: String,
    /// Write what each microphone heard, and what was left of it, as WAV into this folder.
    #[arg(long, value_name = "FOLDER")]
    save: Option<PathBuf>,
    /// Write one JSON object per line instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

impl LabEchoArgs {
    pub(crate) fn options(&self) -> EchoOptions {
        EchoOptions { wav: self.wav.clone(), seconds: self.seconds, room: self.room.clone(), save: self.save.clone() }
    }
}
