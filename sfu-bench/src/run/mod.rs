//! One run: join everybody, let the load settle, measure, leave.

mod churn;
pub mod files;
mod floor_slices;
mod joins;
mod limit;
mod measure;
mod metrics;
mod search;
mod stop;

pub use joins::JoinCounts;
pub use limit::{Limit, LimitOptions, LimitStep};
pub use measure::{Measurement, Second, Window};

use crate::generator::{BenchClock, Generator};
use crate::join::{Joiner, Target};
use crate::scenario::Scenario;
use anyhow::{Result, bail};
use joins::Load;
use measure::sample;
use std::cell::{Cell, RefCell};
use std::time::Duration;
use stop::Stop;

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
    /// Searches the largest load within bounds, and measures that.
    pub find_limit: Option<LimitOptions>,
}

/// What a run is telling while it goes on.
pub type Progress<'a> = &'a mut dyn FnMut(&str);

/// What a run came to.
pub struct Outcome {
    /// The scenario that was measured; of a search for the limit the largest within the bounds.
    pub scenario: Scenario,
    /// Who could join.
    pub joins: JoinCounts,
    /// What was measured.
    pub measurement: Measurement,
    /// The server's memory before the first join, in bytes.
    pub rss_idle: Option<u64>,
    /// How the limit was found, where it was searched.
    pub limit: Option<Limit>,
}

/// Runs `scenario`.
///
/// # Errors
/// Where nobody could join. Single failures are counted.
pub async fn run(scenario: &Scenario, options: &RunOptions, progress: Progress<'_>) -> Result<Outcome> {
    scenario.check()?;
    files::check(scenario, options)?;
    let clock = BenchClock::start();
    let generators: Vec<Generator> =
        options.cpus.iter().map(|cpu| Generator::start(clock, Some(*cpu))).collect::<Result<_>>()?;
    if generators.is_empty() {
        bail!("at least one generator CPU is needed");
    }
    let idle = sample(options)?;
    let joiner = Joiner::new(options.target.clone(), clock);
    let load = Load {
        scenario,
        options,
        joiner,
        generators: &generators,
        members: RefCell::default(),
        paused: Cell::new(false),
        measuring: Cell::new(false),
        stop: Stop::default(),
    };
    let mut measurement = Measurement::default();
    let (scenario, limit) = tokio::select! {
        done = conduct(&load, &mut measurement, progress) => done?,
        never = load.churn(scenario.churn) => match never {},
        () = load.stop.watch_ctrl_c() => bail!("interrupted"),
    };
    measurement.ended_early = load.stop.reason();
    measurement.participants = load.members.borrow().all.len();
    load.leave_all().await;
    let members = load.members.into_inner();
    for generator in generators {
        measurement.whole.merge(&generator.finish()?);
    }
    measurement.churned = members.churned;
    Ok(Outcome { scenario, joins: members.counts, measurement, rss_idle: idle.map(|idle| idle.rss), limit })
}

/// Joins and measures. With a search for the limit, the scenario that is measured in the end is the largest one within
/// the bounds.
async fn conduct(
    load: &Load<'_>,
    measurement: &mut Measurement,
    progress: Progress<'_>,
) -> Result<(Scenario, Option<Limit>)> {
    let (scenario, limit) = match &load.options.find_limit {
        Some(bounds) => {
            let (scenario, limit) = limit::search(load, bounds, &mut measurement.whole, progress).await?;
            (scenario, Some(limit))
        }
        None => {
            load.join_all(load.scenario.participants(load.joiner.per_stream()), progress).await?;
            (load.scenario.clone(), None)
        }
    };
    load.stop.sleep(load.options.settle).await;
    load.measuring.set(true);
    measurement.take(load, progress).await?;
    Ok((scenario, limit))
}
