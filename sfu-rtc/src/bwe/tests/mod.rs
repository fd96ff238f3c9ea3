//! Estimators on a model of a bottleneck.

mod dispersion;
mod googcc;
mod hostile;
mod model;

use super::*;
use model::{Capacity, Loss, Outcome, Scenario, Source, run};

fn steps(steps: &[(u64, u64)]) -> Capacity {
    Capacity::Steps(steps.iter().map(|(second, kbps)| (second * 1_000, *kbps)).collect())
}

fn outcome(config: &EstimatorConfig, scenario: &Scenario) -> Outcome {
    run(scenario, config.build(Instant::from_millis(1_000)).as_mut())
}

/// 5 Mbit/s, 400 kbit/s for 14 s, and 5 Mbit/s again.
fn dip() -> Scenario {
    Scenario {
        capacity: steps(&[(0, 5_000), (20, 400), (34, 5_000)]),
        length: Duration::from_secs(60),
        ..Scenario::default()
    }
}
