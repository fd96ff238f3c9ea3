//! Options of `resilience`.

use anyhow::{Context, Result};
use clap::Args;
use sfu_bench::simulation::resilience::{self, Plan};
use sfu_client::capture::SceneKind;
use sfu_rtc::time::Duration;
use sfu_rtc::units::Bitrate;
use std::path::PathBuf;

/// What is played, and where results go.
#[derive(Args)]
pub(crate) struct ResilienceArgs {
    /// How many watch.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=200))]
    subscribers: u64,
    /// Share of frames that are lost.
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    loss: f64,
    /// Lose packets instead, of a frame each by itself; with a larger bitrate more of the frames.
    #[arg(long, conflicts_with = "uplink")]
    packets: bool,
    /// They are lost on the way to the server, by all.
    #[arg(long)]
    uplink: bool,
    /// How long losses last, in seconds.
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Round trip from the sender over the server to a subscriber and back, in ms.
    #[arg(long, value_name = "MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(0..=2_000))]
    rtt: u64,
    /// Bitrate of the encoder, in kbit/s.
    #[arg(long, value_name = "KBPS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(50..=10_000))]
    bitrate: u64,
    /// What is shown: moving, talking, rush, dark.
    #[arg(long, value_name = "SCENE", default_value = "talking")]
    scene: SceneKind,
    /// Which frames are lost.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Write all figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl ResilienceArgs {
    /// Plays it, prints the table and writes the figures.
    ///
    /// # Errors
    /// Where a name is unknown, a codec fails, or the file cannot be written.
    pub(crate) fn execute(&self, progress: &mut dyn FnMut(&str)) -> Result<()> {
        let plan = Plan {
            subscribers: self.subscribers as usize,
            loss: self.loss,
            packets: self.packets,
            uplink: self.uplink,
            length: Duration::from_secs(self.seconds),
            one_way: Duration::from_millis(self.rtt) / 4,
            bitrate: Bitrate::from_kbps(self.bitrate),
            scene: self.scene,
            seed: self.seed,
            ..Plan::default()
        };
        let outcomes = resilience::play(&plan, progress)?;
        if let Some(path) = &self.json {
            std::fs::write(path, serde_json::to_string_pretty(&outcomes)?)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        progress("");
        print!("{}", resilience::table(&outcomes));
        Ok(())
    }
}
