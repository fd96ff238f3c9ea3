//! Estimators on a model of a bottleneck.

mod dispersion;
mod googcc;
mod hostile;
mod model;

use super::*;
use model::{Capacity, Loss, Outcome, Random, Scenario, Source, run};

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

/// A link like that of a moving phone: between 0.3 and 6 Mbit/s, at another rate each 200 ms, gone for up to 300 ms at
/// times, with a long queue.
fn cellular(seed: u64) -> Scenario {
    let mut random = Random::new(seed);
    let (mut times, mut at, mut rate) = (Vec::new(), 0.0, 2.0_f64);
    while at < 60_000.0 {
        rate = (rate * (0.7 + 0.65 * random.share())).clamp(0.3, 6.0);
        let until = at + 200.0;
        if random.share() < 0.02 {
            at += 300.0 * random.share();
        }
        while at < until {
            at += 12.0 / rate * (0.5 + random.share());
            times.push(at as u64);
        }
    }
    Scenario {
        capacity: Capacity::Opportunities(times),
        one_way: Duration::from_millis(20),
        seed,
        ..Scenario::default()
    }
}
