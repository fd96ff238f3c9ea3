//! Metrics of records made by hand.

use super::super::catalogue::{Scenario, select};
use super::super::traces::Traces;
use super::*;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn scenario(name: &str) -> Scenario {
    select(&[name.to_owned()], &Traces::default()).unwrap().scenarios.remove(0)
}

/// A flow that gets these rates in Mbit/s, one for each second.
fn flow(rates: &[f64]) -> FlowRecord {
    let samples = rates.iter().flat_map(|rate| [FlowSample { received: rate * 1e6, ..FlowSample::default() }; 10]);
    FlowRecord { samples: samples.collect(), ..FlowRecord::default() }
}

fn record(capacity: &[f64], flows: Vec<FlowRecord>) -> Record {
    Record {
        length: Duration::from_secs(capacity.len() as u64),
        demand: 1.5e6,
        capacity: capacity.iter().flat_map(|rate| [rate * 1e6; 10]).collect(),
        queue: vec![ms(5); capacity.len() * 100],
        flows,
        ..Record::default()
    }
}

#[test]
fn what_could_pass_and_was_wanted_is_what_counts() {
    let found = metrics(&scenario("steps"), &record(&[1.0, 1.0, 3.0, 3.0], vec![flow(&[0.9, 1.0, 1.5, 1.5])]));
    assert!((found[&Metric::Utilisation] - 98.0).abs() < 1e-6, "{found:?}");
}

#[test]
fn a_flow_that_is_not_there_wants_nothing() {
    let late = FlowRecord { began: ms(2_000), ..flow(&[0.0, 0.0, 1.0, 1.0]) };
    let found = metrics(&scenario("steps"), &record(&[9.0; 4], vec![late]));
    assert!((found[&Metric::Utilisation] - 100.0 / 1.5).abs() < 1e-6, "{found:?}");
}

#[test]
fn rises_and_falls_are_timed() {
    let mut run = record(&[1.0, 1.0, 0.5, 0.5, 2.0, 2.0, 2.0], vec![flow(&[1.0, 1.0, 0.5, 0.5, 0.5, 1.4, 1.4])]);
    run.queue[200..230].fill(ms(80));
    let found = metrics(&scenario("steps"), &run);
    assert!((found[&Metric::DrainTime] - 0.3).abs() < 1e-9, "{found:?}");
    // 1.35 Mbit/s over half a second, which are there half a second after the sixth second began.
    assert!((found[&Metric::RiseTime] - 1.4).abs() < 0.11, "{found:?}");
    let never = record(&[1.0, 2.0, 2.0], vec![flow(&[1.0, 1.0, 1.0])]);
    assert_eq!(metrics(&scenario("steps"), &never)[&Metric::RiseTime], 2.0);
}

#[test]
fn queues_and_delays_have_quantiles() {
    let mut run = record(&[1.0], vec![flow(&[1.0])]);
    run.queue = (1..=100).map(ms).collect();
    run.flows[0].video_delays = (1..=1_000).map(ms).collect();
    let found = metrics(&scenario("steps"), &run);
    let of = |metric| found[&metric].round();
    assert_eq!([of(Metric::QueueP50), of(Metric::QueueP95), of(Metric::QueueP99)], [51.0, 96.0, 100.0]);
    assert_eq!([of(Metric::DelayP50), of(Metric::DelayP99)], [501.0, 991.0]);
}

#[test]
fn freezes_count_but_for_those_of_an_outage() {
    let frozen = |name: &str| {
        let mut run = record(&[3.0; 100], vec![flow(&[1.5; 100])]);
        run.flows[0].freezes = vec![(ms(19_900), ms(2_000)), (ms(60_000), ms(500)), (ms(21_900), ms(1_100))];
        run.flows[0].frames = (0..100).map(|n| ms(1_000 * n + 30)).collect();
        let found = metrics(&scenario(name), &run);
        (
            found[&Metric::Freezes],
            found[&Metric::FreezeShare].round(),
            found[&Metric::LongestFreeze],
            found.get(&Metric::Recovery).copied(),
        )
    };
    assert_eq!(frozen("steps"), (3.0, 4.0, 2_000.0, None));
    // Of the first a tenth of a second is before the outage; of the last half a second is more than one after it.
    assert_eq!(frozen("elevator"), (2.0, 1.0, 500.0, Some(530.0)));
}

#[test]
fn flows_are_compared_while_all_are_there() {
    let late = FlowRecord { began: ms(10_000), ..flow(&[0.0; 30]) };
    let mut run = record(&[3.0; 30], vec![flow(&[1.0; 30]), late]);
    assert!((metrics(&scenario("two-flows"), &run)[&Metric::Jain] - 0.5).abs() < 1e-6);
    run.flows[1].samples = flow(&[1.0; 30]).samples;
    assert!((metrics(&scenario("two-flows"), &run)[&Metric::Jain] - 1.0).abs() < 1e-6);
    run.flows[0].samples = flow(&[1.5; 30]).samples;
    run.flows[0].pause = Some((ms(16_000), ms(20_000)));
    run.flows[0].samples[160..230].fill(FlowSample::default());
    let found = metrics(&scenario("pause"), &run);
    assert!((3.0..3.6).contains(&found[&Metric::ResumeTime]), "{found:?}");
}

#[test]
fn media_and_tcp_share_a_link() {
    let mut run = record(&[2.0; 4], vec![flow(&[0.5; 4])]);
    run.tcp = vec![1.5e6; 40];
    assert!((metrics(&scenario("long-tcp"), &run)[&Metric::ShareOfLink] - 25.0).abs() < 1e-6);
}

#[test]
fn frames_are_weighed_by_how_long_they_are_seen() {
    let mut run = record(&[1.0; 2], vec![flow(&[1.0; 2])]);
    run.flows[0].frames = (0..20).map(|n| ms(100 * n)).collect();
    assert!((metrics(&scenario("steps"), &run)[&Metric::HarmonicFps] - 10.0).abs() < 1e-6);
    run.flows[0].frames = vec![ms(0), ms(500), ms(2_000)];
    assert!((metrics(&scenario("steps"), &run)[&Metric::HarmonicFps] - 0.8).abs() < 1e-6);
}

#[test]
fn audio_suffers_from_delay_and_loss() {
    let mos = |delay: u64, lost: u64| {
        let mut run = record(&[1.0], vec![flow(&[1.0])]);
        run.flows[0].audio_delays = vec![ms(delay); 100];
        run.flows[0].audio_lost = lost;
        metrics(&scenario("floor"), &run)[&Metric::AudioMos]
    };
    assert!((4.3..4.5).contains(&mos(60, 0)), "{}", mos(60, 0));
    assert!(mos(60, 10) < 3.5 && mos(400, 0) < 3.8 && mos(60, 2) > 4.0, "{} {}", mos(60, 10), mos(400, 0));
    assert_eq!(metrics(&scenario("floor"), &record(&[1.0], vec![flow(&[1.0])]))[&Metric::AudioMos], 1.0);
}

#[test]
fn targets_are_met_at_their_bound() {
    let target = |bound| Target { metric: Metric::Jain, bound };
    assert!(target(Bound::AtLeast(0.9)).is_met(0.9) && !target(Bound::AtLeast(0.9)).is_met(0.89));
    assert!(target(Bound::AtMost(0.0)).is_met(0.0) && !target(Bound::AtMost(0.0)).is_met(1.0));
    assert!(!target(Bound::AtMost(1.0)).is_met(f64::NAN));
}
