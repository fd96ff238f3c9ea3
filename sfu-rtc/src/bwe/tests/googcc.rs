//! libwebrtc's behaviour.

use super::*;

fn googcc() -> EstimatorConfig {
    EstimatorConfig::GoogCc(GoogCcConfig::default())
}

#[test]
fn it_finds_the_capacity_and_keeps_the_queue_short() {
    for seed in 1..6 {
        let outcome = outcome(&googcc(), &Scenario { seed, ..Scenario::default() });
        let used = outcome.utilisation(10.0, 60.0, 10_000.0);
        let queue = outcome.queue(10.0, 60.0, 0.95);
        assert!(used > 0.75 && queue < 150.0, "seed {seed}: {used:.2} used, {queue:.0} ms");
    }
}

#[test]
fn initial_probes_find_a_fast_path_within_a_second() {
    let scenario = Scenario { capacity: steps(&[(0, 5_000)]), length: Duration::from_secs(5), ..Scenario::default() };
    let took = outcome(&googcc(), &scenario).reaches(0.0, 3_000.0);
    assert!(took < 1.5, "{took}");
}

#[test]
fn it_recovers_from_a_dip() {
    for seed in 1..6 {
        for source in [Source::Encoder(vec![(0, 10_000)]), Source::Layers(vec![150, 500, 1_500])] {
            let outcome = outcome(&googcc(), &Scenario { source, seed, ..dip() });
            let low = outcome.mean(28.0, 34.0, |s| s.estimate);
            assert!(low < 500.0, "seed {seed}: {low:.0} kbit/s in the dip");
            let took = outcome.reaches(34.0, 3_000.0);
            assert!(took < 20.0, "seed {seed}: {took}");
        }
    }
}

#[test]
fn recovery_waits_until_padding_can_be_sent() {
    let source = Source::Layers(vec![150]);
    let outcome = outcome(&googcc(), &Scenario { source, padding_from: 45_000, ..dip() });
    let took = outcome.reaches(45.0, 2_000.0);
    assert!(outcome.padding > 0 && took < 15.0, "{took}");
}

#[test]
fn inherent_loss_does_not_collapse_the_rate() {
    for seed in 1..6 {
        let outcome = outcome(&googcc(), &Scenario { loss: Loss::Independent(0.05), seed, ..Scenario::default() });
        let estimate = outcome.mean(20.0, 60.0, |s| s.estimate);
        assert!(estimate > 1_000.0, "seed {seed}: {estimate:.0} kbit/s");
    }
}
