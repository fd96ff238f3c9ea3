//! Network scenarios under simulated time: the real worker, publishers, browsers' receivers, and a bottleneck.
//!
//! [`catalogue`] says what is played, [`run`] plays it for each estimator and seed, [`metrics`] says what came of it.
//!
//! | part | what it is |
//! |---|---|
//! | `loss_cases` | scenarios that lose packets by one law |
//! | `world` | one run: time, network, everybody |
//! | `server` | the worker, and joining |
//! | `flow` | a publisher and a subscriber |
//! | `receiver`, `decoder`, `remb` | the model of a browser that receives |
//! | `tcp` | what else is on the link |
//! | [`record`], [`results`] | what a run leaves, and what runs come to |
//! | `resilience` | losses with real pictures: keyframes beside acknowledged references (feature `media`) |
//! | `comparison` | the planner beside parity of a fixed share |
//! | [`joins`] | many who join one stream |

pub mod catalogue;
mod comparison;
mod decoder;
pub mod estimators;
mod flow;
pub mod joins;
mod loss_cases;
pub mod metrics;
mod receiver;
pub mod record;
mod remb;
#[cfg(feature = "media")]
pub mod resilience;
pub mod results;
mod server;
mod sound;
mod tcp;
pub mod traces;
mod world;

use anyhow::{Context, Result, bail};
use catalogue::{Behind, Scenario};
use clap::ValueEnum;
use estimators::Named;
use metrics::{Metric, Metrics};
use record::Record;
use results::{Outcome, Results};
use sfu_core::config::RepairConfig;
use sfu_core::repair::FixedParity;
use sfu_rtc::bwe::EstimatorConfig;
use sfu_rtc::time::{Duration, Instant};
use std::ops::RangeInclusive;

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

/// How the server repairs what subscribers lose.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Repair {
    /// Not at all: they ask for nothing but keyframes.
    None,
    /// It answers their requests.
    #[default]
    Arq,
    /// Beside that, parity of 60 % for keyframes alone.
    KeyOnly,
    /// Beside that, parity of 60 % for every frame.
    XorEqual,
    /// Beside that, parity of 15 % for every frame, as LiveKit's proposed FlexFEC has it.
    #[value(name = "livekit-15")]
    Livekit15,
    /// The same with 25 %.
    #[value(name = "livekit-25")]
    Livekit25,
    /// The same with 35 %.
    #[value(name = "livekit-35")]
    Livekit35,
    /// It plans, with parity for who takes it, within what a server spends by default.
    Planner,
    /// The same within 5 % of the video.
    #[value(name = "planner-5")]
    Planner5,
    /// The same within 10 %.
    #[value(name = "planner-10")]
    Planner10,
    /// The same within 20 %.
    #[value(name = "planner-20")]
    Planner20,
}

impl Repair {
    /// As on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether the server plans it.
    pub fn plans(self) -> bool {
        matches!(self, Self::Planner | Self::Planner5 | Self::Planner10 | Self::Planner20)
    }

    /// How the server is configured for it, where receivers keep video for `playout_delay` by themselves; `None` where
    /// that is left to them and the server's plan.
    fn config(self, playout_delay: Option<Duration>) -> RepairConfig {
        let every_frame = |percent| Some(FixedParity { percent, keyframes_only: false });
        let fixed = match self {
            Self::None | Self::Arq | Self::Planner | Self::Planner5 | Self::Planner10 | Self::Planner20 => None,
            Self::KeyOnly => Some(FixedParity { percent: 60, keyframes_only: true }),
            Self::XorEqual => every_frame(60),
            Self::Livekit15 => every_frame(15),
            Self::Livekit25 => every_frame(25),
            Self::Livekit35 => every_frame(35),
        };
        let usual = RepairConfig::default();
        let max_overhead = match self {
            Self::Planner5 => 0.05,
            Self::Planner10 => 0.1,
            Self::Planner20 => 0.2,
            _ => usual.max_overhead,
        };
        let asks = self.plans() && playout_delay.is_none();
        RepairConfig {
            planner: self.plans() || fixed.is_some(),
            fixed,
            max_overhead,
            max_playout_delay: if asks { usual.max_playout_delay } else { Duration::ZERO },
            slack: playout_delay.map_or(usual.slack, |delay| delay.max(usual.slack)),
            ..usual
        }
    }
}

/// What one run is with.
#[derive(Clone, PartialEq, Debug)]
pub struct Setup {
    /// The server's estimator for subscribers.
    pub estimator: EstimatorConfig,
    /// What publishers send.
    pub video: VideoMode,
    /// How losses are repaired.
    pub repair: Repair,
    /// How long receivers keep a frame of the least delay, at least, whatever the way of repair; `None` where only the
    /// planner asks for such a delay.
    pub playout_delay: Option<Duration>,
}

/// What all runs have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conditions {
    /// What publishers send.
    pub video: VideoMode,
    /// See [`Setup::playout_delay`].
    pub playout_delay: Option<Duration>,
    /// How many seeds each is played with.
    pub seeds: u64,
}

/// Plays a scenario once; the same seed gives the same record.
///
/// # Errors
/// Where somebody cannot join.
pub fn play(scenario: &Scenario, setup: &Setup, seed: u64) -> Result<Record> {
    world::World::new(scenario, setup, seed).play()
}

/// Plays each scenario with each estimator, each way of repair and each seed from 1 on, as many at once as there are
/// processors; says in `progress` which.
///
/// # Errors
/// Where a scenario cannot be played.
pub fn run(
    scenarios: Vec<Scenario>,
    estimators: &[Named],
    repairs: &[Repair],
    conditions: Conditions,
    progress: &mut dyn FnMut(&str),
) -> Result<Results> {
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    let Conditions { video, playout_delay, seeds } = conditions;
    let mut results = Results { conditions, outcomes: Vec::new() };
    for scenario in scenarios {
        for ((name, estimator), repair) in estimators.iter().flat_map(|named| repairs.iter().map(move |r| (named, *r)))
        {
            let setup = Setup { estimator: estimator(), video, repair, playout_delay };
            let column = match (estimators.len(), repairs.len()) {
                (_, 0 | 1) => (*name).to_owned(),
                (0 | 1, _) => repair.name(),
                _ => format!("{name} {}", repair.name()),
            };
            let mut outcome = Outcome::new(scenario.clone(), name, repair, column);
            for first in (1..=seeds).step_by(at_once) {
                progress(&format!("{}, {}, seed {first} of {seeds}", scenario.name, outcome.column));
                let last = seeds.min(first + at_once as u64 - 1);
                for measured in measure_all(&scenario, &setup, first..=last) {
                    let (record, metrics) = measured.with_context(|| format!("{} with {name}", scenario.name))?;
                    outcome.add(record, metrics);
                }
            }
            results.outcomes.push(outcome);
        }
    }
    Ok(results)
}

/// Measures several seeds at once; the results in their order.
fn measure_all(scenario: &Scenario, setup: &Setup, seeds: RangeInclusive<u64>) -> Vec<Result<(Record, Metrics)>> {
    std::thread::scope(|scope| {
        let runs: Vec<_> = seeds.map(|seed| scope.spawn(move || measure(scenario, setup, seed))).collect();
        let ended = runs.into_iter().map(|run| run.join().unwrap_or_else(|_| bail!("a simulation panicked")));
        ended.collect()
    })
}

fn measure(scenario: &Scenario, setup: &Setup, seed: u64) -> Result<(Record, Metrics)> {
    let record = play(scenario, setup, seed)?;
    let mut found = metrics::metrics(scenario, &record);
    let flows: Vec<_> = scenario.flows.iter().copied().filter(|flow| flow.behind != Behind::Publisher).collect();
    if !flows.is_empty() && flows.len() < scenario.flows.len() {
        let one_way = Scenario { flows, ..scenario.clone() };
        let alone = metrics::metrics(&one_way, &play(&one_way, setup, seed)?);
        let ratio = found[&Metric::Utilisation] / alone[&Metric::Utilisation].max(1e-9);
        found.insert(Metric::OfOneWay, 100.0 * ratio);
    }
    Ok((record, found))
}

#[cfg(test)]
mod tests;
