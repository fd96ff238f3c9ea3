//! Options of `run`.

use crate::load_args::LoadArgs;
use crate::output::OutputArgs;
use anyhow::{Context, Result, bail};
use clap::Args;
use sfu_bench::join::Target;
use sfu_bench::run::{LimitOptions, RunOptions};
use sfu_net::affinity;
use std::time::Duration;

/// Loads a server with participants and measures what comes of it.
#[derive(Args)]
pub(crate) struct RunArgs {
    /// Server of the native signalling.
    #[arg(long, default_value = "ws://127.0.0.1:7880", conflicts_with_all = ["whip", "whep"])]
    server: String,
    /// WHIP endpoint of any server, with {room} and {stream} to be filled in.
    #[arg(long, requires = "whep")]
    whip: Option<String>,
    /// WHEP endpoint of any server, with {room} and {stream} to be filled in.
    #[arg(long, requires = "whip")]
    whep: Option<String>,
    /// Token that admits the participants.
    #[arg(long, env = "SFU_TOKEN", hide_env_values = true)]
    token: Option<String>,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    /// Joins per second.
    #[arg(long, default_value_t = 50.0)]
    join_rate: f64,
    /// Seconds between the last join and the measurement.
    #[arg(long, default_value_t = 2.0)]
    settle: f64,
    /// Seconds measured.
    #[arg(long, default_value_t = 10.0)]
    duration: f64,
    /// The server's process, whose CPU time and memory are measured.
    #[arg(long)]
    server_pid: Option<u32>,
    /// CPUs for the generators, one thread each (default: the last allowed).
    #[arg(long, value_delimiter = ',')]
    cpus: Vec<usize>,
    /// Where the server tells its metrics, for the lengths of its runs (default: /metrics of a native server).
    #[arg(long)]
    metrics_url: Option<String>,
    /// Measures the floor in slices between the measured windows, and the server's ratio to it.
    #[arg(long)]
    with_floor: bool,
    /// Searches the largest number of subscribers (of rooms with `--by-rooms`, and where there are only publishers) that
    /// the server carries within the bounds, from the load's own number on, then measures that.
    #[arg(long)]
    find_limit: bool,
    /// Largest share of packets that may be lost or left out.
    #[arg(long, default_value_t = 0.001, requires = "find_limit")]
    max_loss: f64,
    /// Longest one-way latency of 99 % of the packets, such as 10ms.
    #[arg(long, default_value = "10ms", value_parser = millis, requires = "find_limit")]
    max_p99: f64,
    /// Seconds measured in each step of the search.
    #[arg(long, default_value_t = 4.0, requires = "find_limit")]
    step: f64,
    /// Largest number that the search tries.
    #[arg(long, default_value_t = 8_000, requires = "find_limit")]
    most: usize,
    /// How well the limit is to be known, as a share of it.
    #[arg(long, default_value_t = 0.02, requires = "find_limit")]
    precision: f64,
    /// The search varies the number of rooms, not that of subscribers in each.
    #[arg(long, requires = "find_limit")]
    by_rooms: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

impl RunArgs {
    /// How to run.
    ///
    /// # Errors
    /// Where something is out of bounds.
    pub(crate) fn options(&self) -> Result<RunOptions> {
        let target = match (&self.whip, &self.whep) {
            (Some(whip), Some(whep)) => {
                Target::Http { whip: whip.clone(), whep: whep.clone(), token: self.token.clone() }
            }
            _ => Target::Native { server: self.server.clone(), token: self.token.clone().unwrap_or_default() },
        };
        let cpus =
            if self.cpus.is_empty() { affinity::allowed_cpus().pop().into_iter().collect() } else { self.cpus.clone() };
        let seconds = |value: f64, name: &str| {
            Duration::try_from_secs_f64(value).with_context(|| format!("--{name} {value} is no time"))
        };
        if !(0.1..=10_000.0).contains(&self.join_rate) {
            bail!("--join-rate {} is out of bounds: 0.1 to 10000", self.join_rate);
        }
        Ok(RunOptions {
            join_rate: self.join_rate,
            settle: seconds(self.settle, "settle")?,
            duration: seconds(self.duration, "duration")?,
            server_pid: self.server_pid,
            metrics_url: self.metrics_url.clone().or_else(|| target.metrics_url()),
            target,
            cpus,
            with_floor: self.with_floor,
            find_limit: self.find_limit.then(|| self.limit_options()).transpose()?,
        })
    }

    fn limit_options(&self) -> Result<LimitOptions> {
        if !(0.0..=1.0).contains(&self.max_loss) {
            bail!("--max-loss {} is no share: 0 to 1", self.max_loss);
        }
        if !(0.5..=600.0).contains(&self.step) {
            bail!("--step {} is out of bounds: 0.5 to 600 seconds", self.step);
        }
        if !(0.001..=0.5).contains(&self.precision) {
            bail!("--precision {} is out of bounds: 0.001 to 0.5", self.precision);
        }
        let &Self { max_loss, max_p99: max_p99_ms, step: step_seconds, most, precision, by_rooms, .. } = self;
        Ok(LimitOptions { max_loss, max_p99_ms, step_seconds, most, precision, by_rooms })
    }
}

/// Milliseconds, with or without their unit.
fn millis(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches("ms").trim();
    let millis = number.parse().ok().filter(|millis| (0.01..=60_000.0).contains(millis));
    millis.ok_or_else(|| format!("{text} is no time in milliseconds, such as 10ms"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_or_none() {
        assert_eq!((millis("10ms"), millis("2.5"), millis("7 ms")), (Ok(10.0), Ok(2.5), Ok(7.0)));
        assert!(millis("10s").is_err() && millis("").is_err() && millis("-1").is_err());
    }
}
