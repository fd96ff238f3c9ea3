//! An answer in half a minute: starts a server, loads it with a small fan-out, and says what it cost.

use crate::join::Target;
use crate::result::RunResult;
use crate::run::{self, Progress, RunOptions};
use crate::scenario::{Group, Scenario};
use crate::server_process::ServerProcess;
use anyhow::{Context, Result};
use sfu_net::affinity;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Who watches; enough to fill a fraction of any core, so that nothing is at its limit.
const WATCHERS: usize = 150;
/// What they watch.
const BITRATE: u64 = 1_500_000;

/// How to be quick.
#[derive(Clone, Debug, clap::Args)]
pub struct QuickOptions {
    /// The server's program (default: `sfu` beside this one).
    #[arg(long)]
    pub sfu: Option<PathBuf>,
    /// Participants who watch.
    #[arg(long, default_value_t = WATCHERS)]
    pub subscribers: usize,
    /// Seconds measured.
    #[arg(long, default_value_t = 15.0, value_parser = seconds)]
    pub duration: f64,
}

/// The answer.
pub struct Answer(pub RunResult);

/// Starts a server on one core and loads it from another.
///
/// # Errors
/// Where there is no server, or nobody could join it.
pub async fn quick(options: &QuickOptions, progress: Progress<'_>) -> Result<Answer> {
    let cpus = affinity::allowed_cpus();
    let (server_cpu, generator_cpu) = (cpus[0], cpus[cpus.len() - 1]);
    let program = match &options.sfu {
        Some(program) => program.clone(),
        None => std::env::current_exe().context("cannot tell where this program is")?.with_file_name("sfu"),
    };
    progress("starting a server");
    let server = ServerProcess::start(&program, server_cpu, &["--dev", "--bind", "127.0.0.1"]).await?;
    let target = Target::Native { server: server.url(), token: String::new() };
    let run_options = RunOptions {
        join_rate: 100.0,
        settle: Duration::from_secs(2),
        duration: Duration::from_secs_f64(options.duration),
        server_pid: Some(server.pid()),
        metrics_url: target.metrics_url(),
        target,
        cpus: vec![generator_cpu],
        with_floor: true,
        find_limit: None,
    };
    let group = Group { subscribers: options.subscribers, audio: false, bitrate: BITRATE, ..Group::default() };
    let scenario = Scenario { name: "quick".to_owned(), ..Scenario::of(group) };
    let outcome = run::run(&scenario, &run_options, progress).await?;
    Ok(Answer(RunResult::new(&run_options, outcome)))
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (1.0..=600.0).contains(seconds));
    seconds.ok_or_else(|| format!("{text} is no time: 1 to 600 seconds"))
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(result) = self;
        let megabits = BITRATE as f64 / 1e6;
        writeln!(f, "{} watch one stream of {megabits} Mbit/s\n", result.participants.saturating_sub(1))?;
        if let Some(server) = &result.server {
            let cost = server.cpu_per_packet_us;
            let per_core = 1e6 / cost;
            let each = result.packets_out_per_second / (result.participants.saturating_sub(1)).max(1) as f64;
            writeln!(f, "  a forwarded packet costs        {cost:.2} µs of the server's CPU")?;
            if let Some(floor) = result.floor.as_ref().and_then(|floor| floor.server) {
                writeln!(
                    f,
                    "  which is                        {:.2} times what sealing and sending it costs at least",
                    floor.ratio
                )?;
            }
            writeln!(
                f,
                "  at that price a core carries    {per_core:.0} packets/s, or {:.0} such watchers",
                per_core / each.max(1.0)
            )?;
            writeln!(f, "  memory per watcher              {:.0} kB", server.rss_per_participant / 1e3)?;
        }
        let latency = &result.latency_ms;
        writeln!(f, "  latency through the server      {:.2} ms, 99 %: {:.2} ms", latency.p50, latency.p99)?;
        writeln!(f, "  lost                            {:.3} %", result.loss.max(result.skipped) * 100.0)?;
        writeln!(f, "  from join to first picture      {:.0} ms", result.first_frame_ms.p50)?;
        if result.settings.cpus < 2 {
            writeln!(f, "\nThere is one CPU only: server and generator shared it, so that latencies are too long.")?;
        }
        if result.generator_was_the_limit {
            writeln!(f, "\nThe generator was late: the machine was busy with other things, so try again.")?;
        }
        if let Some(reason) = &result.ended_early {
            writeln!(f, "\nended early after {:.0} s: {reason}", result.seconds)?;
        }
        Ok(())
    }
}
