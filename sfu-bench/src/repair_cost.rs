//! What repair costs the server: its CPU per packet where nothing is lost and where some is, in turn, and their ratio.

use crate::join::Target;
use crate::result::RunResult;
use crate::run::{self, Progress, RunOptions};
use crate::scenario::{Group, Impairment, Scenario};
use crate::server_process::ServerProcess;
use anyhow::{Context, Result, bail};
use serde::Serialize;
use sfu_net::affinity;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Of the video; and the delay of both ways, without which nothing would be asked for again in time.
const BITRATE: u64 = 1_500_000;
const DELAY_MS: f64 = 20.0;
/// The ratio that is to be kept.
const TARGET: f64 = 1.3;

/// How it is measured.
#[derive(Clone, Debug, clap::Args)]
pub struct RepairCostOptions {
    /// The server's program (default: `sfu` beside this one).
    #[arg(long)]
    pub sfu: Option<PathBuf>,
    /// Participants who watch.
    #[arg(long, default_value_t = 200, value_parser = some)]
    pub subscribers: usize,
    /// Percent of packets that are lost on the way to each and back.
    #[arg(long, default_value_t = 5.0, value_parser = percent)]
    pub loss: f64,
    /// How often each is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub passes: u32,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub duration: u64,
}

/// CPU per packet that the server sent, media and repair, in microseconds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Pass {
    /// Where nothing was lost.
    pub lossless: f64,
    /// Where some was.
    pub lossy: f64,
}

/// All passes.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct RepairCost {
    /// Percent that was lost.
    pub loss: f64,
    /// One after the other.
    pub passes: Vec<Pass>,
}

impl RepairCost {
    /// The median of the passes' ratios: what else the machine did weighs on both parts of one alike.
    pub fn ratio(&self) -> f64 {
        median(self.passes.iter().map(|pass| pass.lossy / pass.lossless.max(1e-9)))
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Measures in turn, each time with a fresh server on one core, loaded from another.
///
/// # Errors
/// Where there is no server, or nobody could join it, or it gives no figures.
pub async fn repair_cost(options: &RepairCostOptions, progress: Progress<'_>) -> Result<RepairCost> {
    let mut passes = Vec::new();
    for pass in 1..=options.passes {
        progress(&format!("pass {pass} of {}", options.passes));
        let lossless = measure(options, 0.0, &mut *progress).await?;
        let lossy = measure(options, options.loss / 100.0, &mut *progress).await?;
        passes.push(Pass { lossless, lossy });
    }
    Ok(RepairCost { loss: options.loss, passes })
}

async fn measure(options: &RepairCostOptions, loss: f64, progress: Progress<'_>) -> Result<f64> {
    let cpus = affinity::allowed_cpus();
    let [server_cpu, .., generator_cpu] = cpus[..] else { bail!("server and load take a CPU each, and there is one") };
    let program = match &options.sfu {
        Some(program) => program.clone(),
        None => std::env::current_exe().context("cannot tell where this program is")?.with_file_name("sfu"),
    };
    let server = ServerProcess::start(&program, server_cpu, &["--dev", "--bind", "127.0.0.1"]).await?;
    let target = Target::Native { server: server.url(), token: String::new() };
    let run_options = RunOptions {
        join_rate: 100.0,
        settle: Duration::from_secs(5),
        duration: Duration::from_secs(options.duration),
        server_pid: Some(server.pid()),
        metrics_url: target.metrics_url(),
        target,
        cpus: vec![generator_cpu],
        with_floor: false,
        find_limit: None,
    };
    let impairment = Impairment { loss, delay_ms: DELAY_MS, ..Impairment::default() };
    let subscribers = options.subscribers;
    let group = Group { subscribers, audio: false, bitrate: BITRATE, impairment: Some(impairment), ..Group::default() };
    let scenario = Scenario { name: "repair-cost".to_owned(), ..Scenario::of(group) };
    let outcome = run::run(&scenario, &run_options, progress).await?;
    let result = RunResult::new(&run_options, outcome);
    if let Some(reason) = result.ended_early {
        bail!("a run ended early: {reason}");
    }
    cost(&result).context("the server gives no figures")
}

/// Microseconds of CPU per packet that was sent. What arrives does not tell: packets are lost on the way, and those that are
/// sent again, or probe the path, are work as well.
fn cost(result: &RunResult) -> Option<f64> {
    let sent = result.rtp_per_second.filter(|sent| *sent > 0.0)?;
    Some(result.server.as_ref()?.cores * 1e6 / sent)
}

fn some(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| *count > 0)
        .ok_or_else(|| format!("{text} is no number of participants, at least 1"))
}

fn percent(text: &str) -> Result<f64, String> {
    let percent = text.parse().ok().filter(|percent| (0.0..=50.0).contains(percent));
    percent.ok_or_else(|| format!("{text} is no share that can be repaired: 0 to 50 percent"))
}

impl fmt::Display for RepairCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "CPU per packet, µs   lossless   {:>4.0} % lost   ratio", self.loss)?;
        for (number, Pass { lossless, lossy }) in self.passes.iter().enumerate() {
            writeln!(f, "pass {:<14}{lossless:>10.2}{lossy:>14.2}{:>8.2}", number + 1, lossy / lossless.max(1e-9))?;
        }
        let lossless = median(self.passes.iter().map(|pass| pass.lossless));
        let lossy = median(self.passes.iter().map(|pass| pass.lossy));
        let mark = if self.ratio() <= TARGET { '+' } else { '!' };
        writeln!(f, "median             {lossless:>10.2}{lossy:>14.2}{:>8.2} {mark} (<= {TARGET})", self.ratio())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_per_packet_that_was_sent() {
        let mut result = crate::result::example();
        (result.packets_out, result.rtp_per_second) = (45_000, Some(50_000.0));
        result.server.as_mut().unwrap().cores = 0.25;
        assert_eq!(cost(&result), Some(5.0));
        result.rtp_per_second = None;
        assert_eq!(cost(&result), None);
    }

    #[test]
    fn the_ratio_is_the_median_of_the_passes() {
        let pass = |lossless, lossy| Pass { lossless, lossy };
        let cost = RepairCost { loss: 5.0, passes: vec![pass(2.0, 2.2), pass(4.0, 8.0), pass(2.0, 2.4)] };
        assert!((cost.ratio() - 1.2).abs() < 1e-9);
        let said = cost.to_string();
        assert!(said.contains("1.20 +") && said.lines().count() == 5, "{said}");
        assert!(percent("5").is_ok() && percent("-1").is_err() && percent("51").is_err());
        assert!(some("200") == Ok(200) && some("0").is_err() && some("-1").is_err());
    }
}
