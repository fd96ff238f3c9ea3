//! Network scenarios under simulated time: the real worker, publishers, browsers' receivers, and a bottleneck.
//!
//! [`catalogue`] says what is played, [`run`] plays it for each estimator and seed, [`metrics`] says what came of it.
//!
//! | part | what it is |
//! |---|---|
//! | `world` | one run: time, network, everybody |
//! | `server` | the worker, and joining |
//! | `flow` | a publisher and a subscriber |
//! | `receiver`, `decoder`, `remb` | the model of a browser that receives |
//! | `tcp` | what else is on the link |
//! | [`record`], [`results`] | what a run leaves, and what runs come to |

pub mod catalogue;
mod decoder;
pub mod estimators;
mod flow;
pub mod metrics;
mod receiver;
pub mod record;
mod remb;
pub mod results;
mod server;
mod tcp;
pub mod traces;
mod world;

use anyhow::{Context, Result};
use catalogue::Scenario;
use estimators::Named;
use metrics::{Metric, Metrics};
use record::Record;
use results::{Outcome, Results};
use sfu_rtc::bwe::EstimatorConfig;
use sfu_rtc::time::Instant;

/// When a scenario begins.
const START: Instant = Instant::from_millis(1_000);

/// What publishers send.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum VideoMode {
    /// One layer, whose encoder follows the server's estimate of its subscriber's path every 100 ms.
    #[default]
    Adaptive,
    /// One layer at the full bitrate.
    Single,
    /// Three layers at 150 kbit/s, 500 kbit/s and the full bitrate.
    Simulcast,
}

/// What one run is with.
#[derive(Clone, PartialEq, Debug)]
pub struct Setup {
    /// The server's estimator for subscribers.
    pub estimator: EstimatorConfig,
    /// What publishers send.
    pub video: VideoMode,
}

/// Plays a scenario once; the same seed gives the same record.
///
/// # Errors
/// Where somebody cannot join.
pub fn play(scenario: &Scenario, setup: &Setup, seed: u64) -> Result<Record> {
    world::World::new(scenario, setup, seed).play()
}

/// Plays each scenario with each estimator and each seed from 1 on; says in `progress` which.
///
/// # Errors
/// Where a scenario cannot be played.
pub fn run(
    scenarios: Vec<Scenario>,
    estimators: &[Named],
    (video, seeds): (VideoMode, u64),
    progress: &mut dyn FnMut(&str),
) -> Result<Results> {
    let mut results = Results { video, seeds, outcomes: Vec::new() };
    for scenario in scenarios {
        for (name, estimator) in estimators {
            let setup = Setup { estimator: estimator(), video };
            let mut outcome = Outcome::new(scenario.clone(), name);
            for seed in 1..=seeds {
                progress(&format!("{}, {name}, seed {seed} of {seeds}", scenario.name));
                let (record, metrics) =
                    measure(&scenario, &setup, seed).with_context(|| format!("{}, seed {seed}", scenario.name))?;
                outcome.add(record, metrics);
            }
            results.outcomes.push(outcome);
        }
    }
    Ok(results)
}

fn measure(scenario: &Scenario, setup: &Setup, seed: u64) -> Result<(Record, Metrics)> {
    let record = play(scenario, setup, seed)?;
    let mut found = metrics::metrics(scenario, &record);
    if scenario.flows.iter().any(|flow| flow.back) {
        let flows = scenario.flows.iter().copied().filter(|flow| !flow.back).collect();
        let one_way = Scenario { flows, ..scenario.clone() };
        let alone = metrics::metrics(&one_way, &play(&one_way, setup, seed)?);
        let ratio = found[&Metric::Utilisation] / alone[&Metric::Utilisation].max(1e-9);
        found.insert(Metric::OfOneWay, 100.0 * ratio);
    }
    Ok((record, found))
}

#[cfg(test)]
mod tests;
