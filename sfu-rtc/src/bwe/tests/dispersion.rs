//! What our own estimator promises, on many seeds.

use super::*;
use crate::units::DataSize;

const SEEDS: std::ops::Range<u64> = 1..9;

fn ours(scenario: &Scenario) -> Outcome {
    outcome(&EstimatorConfig::Dispersion(DispersionConfig::default()), scenario)
}

#[test]
fn it_uses_the_capacity_with_a_short_queue() {
    for seed in SEEDS {
        for kbps in [500, 2_000, 8_000] {
            let outcome = ours(&Scenario { capacity: steps(&[(0, kbps)]), seed, ..Scenario::default() });
            let used = outcome.utilisation(5.0, 60.0, 10_000.0);
            let queue = outcome.queue(5.0, 60.0, 0.95);
            // Two packets in a row are a queue where each takes long.
            let bound = 40.0 + 20_000.0 / kbps as f64;
            assert!(used >= 0.92 && queue <= bound, "{kbps} kbit/s, seed {seed}: {used:.2} used, {queue:.0} ms");
        }
    }
}

fn slow(seed: u64) -> Scenario {
    Scenario {
        capacity: steps(&[(0, 200)]),
        one_way: Duration::from_millis(200),
        queue: Duration::from_millis(1_000),
        seed,
        ..Scenario::default()
    }
}

/// What is too much shows after a response time only, and takes long to drain where little passes.
#[test]
fn near_the_capacity_of_a_slow_and_long_path_it_rises_slowly() {
    for seed in SEEDS {
        let outcome = ours(&slow(seed));
        let (used, queue) = (outcome.utilisation(10.0, 60.0, 10_000.0), outcome.queue(10.0, 60.0, 0.95));
        assert!(used >= 0.8 && queue <= 150.0, "seed {seed}: {used:.2} used, {queue:.0} ms");
    }
}

/// Frames of a packet each are no bursts, and show nothing of what the path carries.
#[test]
fn what_an_encoder_leaves_free_stays_free() {
    for seed in SEEDS {
        let outcome = ours(&Scenario { leaves: 40_000.0, length: Duration::from_secs(120), ..slow(seed) });
        let queue = outcome.queue(20.0, 120.0, 0.95);
        assert!(queue <= 85.0, "seed {seed}: {queue:.0} ms");
    }
}

/// RFC 8867 section 5.1.
#[test]
fn it_follows_a_varying_capacity() {
    for seed in SEEDS {
        let scenario = Scenario {
            capacity: steps(&[(0, 1_000), (40, 2_500), (60, 600), (80, 1_000)]),
            source: Source::Encoder(vec![(0, 1_500)]),
            length: Duration::from_secs(100),
            seed,
            ..Scenario::default()
        };
        let outcome = ours(&scenario);
        let used = outcome.utilisation(0.0, 100.0, 1_500.0);
        let (p95, p99) = (outcome.queue(0.0, 100.0, 0.95), outcome.queue(0.0, 100.0, 0.99));
        assert!(used >= 0.92 && p95 <= 50.0 && p99 <= 150.0, "seed {seed}: {used:.2} used, {p95:.0}/{p99:.0} ms");
        let rises = [outcome.reaches(40.0, 1_350.0), outcome.reaches(80.0, 900.0)];
        assert!(rises.iter().all(|took| *took <= 5.0), "seed {seed}: {rises:?}");
    }
}

#[test]
fn it_recovers_from_a_dip_within_four_seconds() {
    for seed in SEEDS {
        for source in [Source::Encoder(vec![(0, 10_000)]), Source::Layers(vec![150, 500, 1_500])] {
            let outcome = ours(&Scenario { source, seed, ..dip() });
            let low = outcome.mean(28.0, 34.0, |s| s.estimate);
            assert!(low < 450.0, "seed {seed}: {low:.0} kbit/s in the dip");
            let took = outcome.reaches(34.0, 3_600.0);
            assert!(took <= 4.0, "seed {seed}: {took}");
        }
    }
}

/// Who used a third of a path knows from bursts that it carries more. Once it is narrow, what they told of it before is over.
#[test]
fn a_path_that_becomes_narrow_under_who_used_little_of_it_is_yielded_to_at_once() {
    for seed in SEEDS {
        let scenario = Scenario {
            capacity: steps(&[(0, 5_000), (20, 300)]),
            queue: Duration::from_secs(1),
            source: Source::Encoder(vec![(0, 1_500)]),
            length: Duration::from_secs(40),
            seed,
            ..Scenario::default()
        };
        let config = DispersionConfig { follows_at_once: true, ..DispersionConfig::default() };
        let outcome = outcome(&EstimatorConfig::Dispersion(config), &scenario);
        let low = |at: f64| outcome.mean(at, at + 0.15, |s| s.estimate);
        assert!(low(20.5) < 300.0, "seed {seed}: {:.0} kbit/s after half a second", low(20.5));
        let drained = outcome.samples.iter().find(|s| s.at > 20.5 && s.queue < 50.0).unwrap().at - 20.0;
        let back = outcome.reaches(20.0 + drained, 240.0) + drained;
        assert!(
            drained < 3.0 && back < 3.5,
            "seed {seed}: the queue goes after {drained:.1} s, {back:.1} s until all is used"
        );
    }
}

#[test]
fn recovery_waits_until_padding_can_be_sent() {
    let source = Source::Layers(vec![30]);
    let outcome = ours(&Scenario { source, padding_from: 45_000, ..dip() });
    let took = outcome.reaches(45.0, 3_000.0);
    assert!(outcome.padding > 0 && took < 10.0, "{took}");
}

#[test]
fn loss_of_the_path_does_not_collapse_the_rate() {
    for seed in SEEDS {
        for (loss, least) in [
            (Loss::Independent(0.05), 1_600.0),
            (Loss::Gilbert(0.05, 3.0), 1_500.0),
            (Loss::Independent(0.15), 1_200.0),
        ] {
            let outcome = ours(&Scenario { loss, seed, ..Scenario::default() });
            let estimate = outcome.mean(10.0, 60.0, |s| s.estimate);
            assert!(estimate > least, "seed {seed}: {estimate:.0} kbit/s");
        }
    }
}

const ROUND: Duration = Duration::from_millis(100);

/// Ten packets each 100 ms, 2 ms apart, with feedback when the last arrived. Those of rounds for which `is_gone` are
/// lost; of the others, the last `lost` are. The estimates, round by round.
fn estimates(rounds: u32, is_gone: impl Fn(u32) -> bool, lost: impl Fn(u32) -> usize) -> Vec<f64> {
    let start = Instant::from_millis(1_000);
    let mut estimator = EstimatorConfig::Dispersion(DispersionConfig::default()).build(start);
    let (mut results, size) = (Vec::new(), DataSize::from_bytes(1_200));
    let round = |round: u32| {
        let at = start + ROUND * round;
        (0..10).for_each(|_| estimator.on_sent(at, size));
        results.extend((0..10).map(|n| {
            let sent = at + Duration::from_millis(2 * n as u64);
            let arrives = !is_gone(round) && n < 10 - lost(round);
            PacketResult { sent, received: arrives.then(|| sent + ROUND / 2), size, probe: None }
        }));
        if !is_gone(round) {
            estimator.on_feedback(at + Duration::from_millis(70), &results);
            results.clear();
        }
        if estimator.poll_timeout().is_some_and(|due| due <= at + ROUND) {
            estimator.handle_timeout(at + ROUND);
        }
        estimator.estimate().unwrap().as_bps() as f64
    };
    (0..rounds).map(round).collect()
}

/// A page of a screen: 1.9 Mbit/s for a second, on a path of 1 Mbit/s that carried 0.9 before.
#[test]
fn what_is_held_back_to_drain_a_queue_is_not_missing_for_longer() {
    let start = Instant::from_millis(1_000);
    let config = DispersionConfig { start: Bitrate::from_kbps(900), ..DispersionConfig::default() };
    let mut estimator = EstimatorConfig::Dispersion(config).build(start);
    let (mut sent, mut free, mut results) = (start, start, Vec::new());
    let kbps = |rate: Option<Bitrate>| rate.unwrap().as_kbps();
    let mut lowest = (u64::MAX, 0);
    for n in 0..400 {
        sent += Duration::from_micros(if n < 200 { 10_600 } else { 5_000 });
        free = free.max(sent) + Duration::from_micros(9_600);
        estimator.on_sent(sent, DataSize::from_bytes(1_200));
        results.push(PacketResult { sent, received: Some(free), size: DataSize::from_bytes(1_200), probe: None });
        if n % 5 == 4 {
            estimator.on_feedback(free + Duration::from_millis(20), &std::mem::take(&mut results));
            let now = (kbps(estimator.estimate()), kbps(estimator.sustained()));
            if n < 200 {
                assert_eq!(now.0, now.1, "no queue, nothing is held back");
            }
            lowest = lowest.min(now);
        }
    }
    let (estimate, sustained) = lowest;
    assert!(estimate < 600 && (900..1_000).contains(&sustained), "{estimate} and {sustained}");
}

#[test]
fn losses_of_an_outage_are_no_policers() {
    for outage in [3, 7, 15] {
        let estimates = estimates(300, |round| (200..200 + outage).contains(&round), |_| 0);
        let (before, after) = (estimates[199], estimates[200 + outage as usize + 5]);
        assert!(after >= before * 0.45, "{outage} rounds: {before:.0}, then {after:.0}");
    }
}

#[test]
fn a_path_that_is_gone_for_moments_carries_what_it_did() {
    let estimates = estimates(300, |round| round >= 200 && round % 5 == 0, |_| 0);
    let (before, least) = (estimates[199], estimates[200..].iter().copied().fold(f64::MAX, f64::min));
    assert!(least >= before * 0.9, "{before:.0}, then {least:.0}");
}

/// Nothing else than feedback that fails to come tells of a stall, and what is sent meanwhile stands as a queue.
#[test]
fn in_a_stall_the_rate_falls_before_half_a_second_and_is_back_with_the_path() {
    let estimates = estimates(300, |round| (200..206).contains(&round), |_| 0);
    let (before, stalled, after) = (estimates[199], estimates[204], estimates[208]);
    assert!(stalled <= before * 0.55, "{before:.0}, then {stalled:.0}");
    assert!(after >= before * 0.95, "{before:.0}, {stalled:.0}, then {after:.0}");
}

#[test]
fn loss_that_goes_on_after_an_outage_counts() {
    for outage in [0, 15] {
        let end = 200 + outage;
        let estimates = estimates(300, |round| (200..end).contains(&round), |round| if round < end { 0 } else { 4 });
        // It comes back later, since as much is lost of what it leaves: here the source does not follow.
        let (before, least) = (estimates[199], estimates[end as usize..].iter().copied().fold(f64::MAX, f64::min));
        assert!(least < before * 0.35, "{outage} rounds: {before:.0}, then {least:.0}");
    }
}

/// While a publisher pauses, only probes are sent: what arrives of them, over all the time between two, is no capacity.
#[test]
fn who_is_idle_keeps_the_rate_though_others_queue() {
    let start = Instant::from_millis(1_000);
    let mut estimator = EstimatorConfig::Dispersion(DispersionConfig::default()).build(start);
    let mut send = |at: u64, packets: u64, delay: u64| {
        let result = |n: u64| {
            let (sent, size) = (start + Duration::from_millis(at + 2 * n), DataSize::from_bytes(1_200));
            estimator.on_sent(sent, size);
            PacketResult { sent, received: Some(sent + Duration::from_millis(delay)), size, probe: None }
        };
        let results: Vec<_> = (0..packets).map(result).collect();
        estimator.on_feedback(start + Duration::from_millis(at + 100), &results);
        estimator.estimate().unwrap().as_bps() as f64
    };
    let before = (0..100).map(|round| send(100 * round, 10, 50)).last().unwrap();
    let idle: Vec<_> = (1..6).map(|probe| send(10_000 + 3_000 * probe, 6, 80)).collect();
    assert!(idle.iter().all(|rate| *rate >= before), "{before:.0}, then {idle:.0?}");
}

/// Shares of us and of a flow that fills the queue, which we join after so many milliseconds: each at least this.
fn assert_shares_with_a_filler(joins: u64, (ours_least, theirs_least): (f64, f64)) {
    for seed in SEEDS {
        for queue in [300, 1_000] {
            let scenario = Scenario {
                competitor: Some((0, 100_000)),
                joins,
                queue: Duration::from_millis(queue),
                length: Duration::from_secs(100),
                seed,
                ..Scenario::default()
            };
            let outcome = ours(&scenario);
            let share = outcome.mean(15.0, 100.0, |s| s.received) / 2_000.0;
            let theirs = outcome.mean(15.0, 100.0, |s| s.competitor) / 2_000.0;
            assert!(
                share >= ours_least && theirs >= theirs_least,
                "{queue} ms, seed {seed}: {share:.2} and {theirs:.2}"
            );
        }
    }
}

#[test]
fn a_flow_that_fills_the_queue_neither_starves_it_nor_is_starved() {
    assert_shares_with_a_filler(0, (0.35, 0.2));
}

#[test]
fn who_joins_a_full_queue_gets_a_share_as_well() {
    assert_shares_with_a_filler(5_000, (0.33, 0.2));
}

#[test]
fn when_the_other_flow_ends_the_queue_does() {
    for seed in SEEDS {
        let outcome = ours(&Scenario { competitor: Some((0, 30_000)), seed, ..Scenario::default() });
        let used = outcome.utilisation(40.0, 60.0, 10_000.0);
        let queue = outcome.mean(40.0, 60.0, |s| s.queue);
        assert!(used > 0.85 && queue < 50.0, "seed {seed}: {used:.2} used, {queue:.0} ms");
    }
}

#[test]
fn clocks_that_drift_apart_and_jitter_are_no_queue() {
    for seed in SEEDS {
        for drift in [-200.0, 200.0] {
            let outcome = ours(&Scenario { drift, seed, ..Scenario::default() });
            let used = outcome.utilisation(10.0, 60.0, 10_000.0);
            assert!(used > 0.85, "{drift}, seed {seed}: {used:.2}");
        }
        let outcome = ours(&Scenario { jitter: Duration::from_millis(30), seed, ..Scenario::default() });
        let used = outcome.utilisation(10.0, 60.0, 10_000.0);
        assert!(used > 0.6, "seed {seed}: {used:.2}");
    }
}

#[test]
fn on_a_cellular_link_it_carries_more_than_googcc_with_a_shorter_queue() {
    let (mut more, mut shorter) = (0.0, 0.0);
    for seed in SEEDS {
        let ours = ours(&cellular(seed));
        let theirs = outcome(&EstimatorConfig::GoogCc(GoogCcConfig::default()), &cellular(seed));
        more += ours.mean(0.0, 60.0, |s| s.received) / theirs.mean(0.0, 60.0, |s| s.received) / SEEDS.count() as f64;
        shorter += ours.queue(0.0, 60.0, 0.95) / theirs.queue(0.0, 60.0, 0.95) / SEEDS.count() as f64;
    }
    assert!(more >= 1.25 && shorter <= 1.0, "{more:.2} times the rate, {shorter:.2} times the queue");
}
