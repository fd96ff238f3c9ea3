//! Feedback lost, late, twice, forged; clocks that leap; estimates of nothing and of 10 Gbit/s.

use super::*;
use crate::units::DataSize;
use proptest::prelude::*;

const LEAST: Bitrate = Bitrate::ZERO;
const MOST: Bitrate = Bitrate::from_kbps(10_000_000);

/// Each estimator, with its own limits and without any.
fn all() -> [EstimatorConfig; 4] {
    let (start, min, max) = (LEAST, LEAST, MOST);
    [
        EstimatorConfig::GoogCc(GoogCcConfig::default()),
        EstimatorConfig::GoogCc(GoogCcConfig { start, min, max }),
        EstimatorConfig::Dispersion(DispersionConfig::default()),
        EstimatorConfig::Dispersion(DispersionConfig {
            start,
            min,
            max,
            utilisation: f64::NAN,
            queue_target: Duration::MAX,
            follows_at_once: true,
        }),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Feedback(Vec<(u64, Option<u64>, u64, Option<u32>)>),
    Sent(u64),
    Rtt(u64),
    Loss(f32),
    Remb(u64),
    Demand(Option<u64>),
}

fn step() -> impl Strategy<Value = Step> {
    // Mostly times of the same minute, now and then any.
    let time = || prop_oneof![4 => 0u64..60_000_000_000, 1 => any::<u64>()];
    let size = prop_oneof![4 => 0u64..1_500, 1 => any::<u64>()];
    let packet = (time(), prop::option::weighted(0.9, time()), size, prop::option::of(0u32..5));
    prop_oneof![
        6 => prop::collection::vec(packet, 0..30).prop_map(Step::Feedback),
        2 => any::<u64>().prop_map(Step::Sent),
        1 => any::<u64>().prop_map(Step::Rtt),
        1 => (0.0f32..=1.0).prop_map(Step::Loss),
        1 => any::<u64>().prop_map(Step::Remb),
        1 => any::<Option<u64>>().prop_map(Step::Demand),
    ]
}

fn take(estimator: &mut dyn BandwidthEstimator, now: Instant, step: &Step) {
    match step {
        Step::Feedback(packets) => {
            let result = |(sent, received, size, probe): &(u64, Option<u64>, u64, Option<u32>)| PacketResult {
                sent: Instant::from_nanos(*sent),
                received: received.map(Instant::from_nanos),
                size: DataSize::from_bytes(*size),
                probe: probe.map(ProbeId),
            };
            estimator.on_feedback(now, &packets.iter().map(result).collect::<Vec<_>>());
        }
        Step::Sent(size) => estimator.on_sent(now, DataSize::from_bytes(*size)),
        Step::Rtt(nanos) => estimator.on_rtt(now, Duration::from_nanos(*nanos)),
        Step::Loss(fraction) => estimator.on_loss(now, LossReport { fraction: *fraction, packets: 10 }),
        Step::Remb(bps) => estimator.on_remb(now, Bitrate::from_bps(*bps)),
        Step::Demand(demand) => estimator.set_demand(demand.map(Bitrate::from_bps)),
    }
}

proptest! {
    #[test]
    fn whatever_a_peer_says_the_estimate_keeps_its_limits(
        steps in prop::collection::vec((step(), 0u64..2_000), 0..80),
    ) {
        for (config, (min, max)) in all().iter().zip([60_000, 0, 60_000, 0].into_iter().zip([50_000_000, MOST.as_bps(), 50_000_000, MOST.as_bps()])) {
            let mut estimator = config.build(Instant::ZERO);
            let mut now = Instant::ZERO;
            for (step, wait) in &steps {
                now += Duration::from_millis(*wait);
                take(estimator.as_mut(), now, step);
                let bps = estimator.estimate().unwrap().as_bps();
                prop_assert!((min..=max).contains(&bps), "{bps}");
                if let Some(cluster) = estimator.poll_probe(now) {
                    prop_assert!(cluster.bitrate.as_bps() <= max && cluster.duration <= Duration::from_millis(100));
                }
                if estimator.poll_timeout().is_some_and(|at| at <= now) {
                    estimator.handle_timeout(now);
                }
                prop_assert!(estimator.poll_timeout().is_none_or(|at| at > now));
            }
        }
    }
}

#[test]
fn with_a_third_of_feedback_lost_the_capacity_is_found() {
    for config in
        [EstimatorConfig::GoogCc(GoogCcConfig::default()), EstimatorConfig::Dispersion(DispersionConfig::default())]
    {
        let outcome = outcome(&config, &Scenario { feedback_loss: 0.33, ..Scenario::default() });
        assert!(outcome.utilisation(20.0, 60.0, 10_000.0) > 0.6, "{config:?}");
    }
}

#[test]
fn without_feedback_the_rate_falls_and_comes_back() {
    let capacity = steps(&[(0, 3_000), (20, 0), (30, 3_000)]);
    for config in
        [EstimatorConfig::GoogCc(GoogCcConfig::default()), EstimatorConfig::Dispersion(DispersionConfig::default())]
    {
        let scenario = Scenario { capacity: capacity.clone(), length: Duration::from_secs(60), ..Scenario::default() };
        let outcome = outcome(&config, &scenario);
        let silent = outcome.mean(29.0, 30.0, |s| s.estimate);
        assert!(silent < 1_000.0, "{config:?}: {silent}");
        let took = outcome.reaches(31.0, 2_000.0);
        assert!(took < 20.0, "{config:?}: {took}");
    }
}
