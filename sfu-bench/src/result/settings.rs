//! How and where a result came about.

use crate::join::Target;
use crate::run::RunOptions;
use serde::{Deserialize, Serialize};
use std::time::SystemTime;

/// How and where a result came about.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Settings {
    /// Version of this program.
    pub version: String,
    /// When the run ended, in seconds since 1970.
    pub time: u64,
    /// Where the participants went.
    pub target: String,
    /// Joins per second.
    pub join_rate: f64,
    /// Seconds between the last join and the measurement.
    pub settle: f64,
    /// CPUs of the generators.
    pub generator_cpus: Vec<usize>,
    /// The machine's processor.
    pub processor: String,
    /// How many CPUs it has.
    pub cpus: usize,
    /// Release of the kernel.
    pub kernel: String,
}

impl Settings {
    /// Of a run with `options`, on this machine.
    pub fn new(options: &RunOptions) -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            time: time.as_secs(),
            target: match &options.target {
                Target::Native { server, .. } => server.clone(),
                Target::Http { whip, whep, .. } => format!("{whip} and {whep}"),
            },
            join_rate: options.join_rate,
            settle: options.settle.as_secs_f64(),
            generator_cpus: options.cpus.clone(),
            processor: processor(&read("/proc/cpuinfo")),
            cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

fn processor(cpuinfo: &str) -> String {
    let name = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_named() {
        assert_eq!(processor("processor : 0\nmodel name\t: Fast 9000\nflags : x\n"), "Fast 9000");
        assert_eq!(processor(""), "unknown");
    }
}
