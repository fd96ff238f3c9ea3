//! Options of `joins`.

use anyhow::Result;
use clap::Args;
use sfu_bench::simulation::joins::{JoinsPlan, joins};
use std::time::Duration;

/// What is played.
#[derive(Args)]
pub(crate) struct JoinsArgs {
    /// How many join.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u8).range(1..=250))]
    viewers: u8,
    /// Within how many ms.
    #[arg(long, value_name = "MS", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    within: u64,
    /// Percent of packets that are lost on the way to each viewer and back.
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0)]
    loss: f64,
    /// Round trip of the publisher and of each viewer, in ms.
    #[arg(long, value_name = "MS", default_value_t = 50, value_parser = clap::value_parser!(u64).range(0..=2_000))]
    rtt: u64,
    /// What the path to each viewer carries, in kbit/s.
    #[arg(long, value_name = "KBPS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(50..))]
    path: u64,
    /// The video, in kbit/s.
    #[arg(long, value_name = "KBPS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(50..))]
    video: u64,
    /// Keyframes are so many times the mean frame.
    #[arg(long, value_name = "TIMES", default_value_t = 10.0)]
    keyframe_size: f64,
    /// How often it is played.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    seeds: u64,
    /// Print JSON in the place of a table.
    #[arg(long)]
    json: bool,
}

impl JoinsArgs {
    /// Plays it and prints what comes of it.
    ///
    /// # Errors
    /// Where somebody cannot join.
    pub(crate) fn execute(&self, progress: &mut dyn FnMut(&str)) -> Result<()> {
        let plan = JoinsPlan {
            viewers: self.viewers,
            within: Duration::from_millis(self.within),
            loss: (self.loss / 100.0).clamp(0.0, 1.0),
            round_trip: Duration::from_millis(self.rtt),
            path: self.path * 1_000,
            video: self.video * 1_000,
            keyframe_size: self.keyframe_size.clamp(1.0, 100.0),
            seeds: self.seeds,
        };
        let joins = joins(&plan, progress)?;
        super::clear_progress();
        if self.json {
            println!("{}", serde_json::to_string_pretty(&joins.to_json())?);
        } else {
            print!("{joins}");
        }
        Ok(())
    }
}
