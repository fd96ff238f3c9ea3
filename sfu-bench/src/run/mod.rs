//! One run: join everybody, let the load settle, measure, leave.

mod churn;
mod floor_slices;
mod joins;
mod measure;
mod metrics;

pub use joins::JoinCounts;
pub use measure::{Measurement, Window};

use crate::generator::{BenchClock, Generator};
use crate::join::{Joiner, Target};
use crate::result::RunResult;
use crate::scenario::Scenario;
use anyhow::{Result, bail};
use joins::Load;
use measure::sample;
use std::cell::{Cell, RefCell};
use std::time::Duration;
use tokio::time::sleep;

/// How to run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Where to.
    pub target: Target,
    /// Joins per second.
    pub join_rate: f64,
    /// Time between the last join and the measurement.
    pub settle: Duration,
    /// Time measured.
    pub duration: Duration,
    /// The server's process, whose CPU time and memory are measured.
    pub server_pid: Option<u32>,
    /// Where the server tells its metrics.
    pub metrics_url: Option<String>,
    /// CPUs that the generators are pinned to, one thread each.
    pub cpus: Vec<usize>,
    /// Measures the floor of the same run, in slices between the measured windows.
    pub with_floor: bool,
}

/// What a run is telling while it goes on.
pub type Progress<'a> = &'a mut dyn FnMut(&str);

/// Runs `scenario`.
///
/// # Errors
/// Where nobody could join. Single failures are counted.
pub async fn run(scenario: &Scenario, options: &RunOptions, progress: Progress<'_>) -> Result<RunResult> {
    scenario.check()?;
    let clock = BenchClock::start();
    let generators: Vec<Generator> =
        options.cpus.iter().map(|cpu| Generator::start(clock, Some(*cpu))).collect::<Result<_>>()?;
    if generators.is_empty() {
        bail!("at least one generator CPU is needed");
    }
    let idle = sample(options)?;
    let joiner = Joiner::new(options.target.clone(), clock);
    let members = RefCell::default();
    let load = Load { scenario, options, joiner, generators: &generators, members, paused: Cell::new(false) };
    load.join_all(scenario.participants(load.joiner.per_stream()), progress).await?;
    sleep(options.settle).await;
    let mut measurement = Measurement::default();
    tokio::select! {
        measured = measurement.take(&load, progress) => measured?,
        never = load.churn(scenario.churn) => match never {},
    }
    measurement.participants = load.members.borrow().all.len();
    load.leave_all().await;
    let members = load.members.into_inner();
    for generator in generators {
        measurement.whole.merge(&generator.finish()?);
    }
    measurement.churned = members.churned;
    let counts = members.counts;
    Ok(RunResult::new(scenario, &counts, &measurement, idle.map(|idle| idle.rss)))
}
