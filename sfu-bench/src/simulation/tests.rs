//! Whole runs.

use super::catalogue::select;
use super::metrics::metrics;
use super::record::Kind;
use super::traces::Traces;
use super::*;
use std::time::Duration;

fn scenario(name: &str, length: u64) -> Scenario {
    let scenario = select(&[name.to_owned()], &Traces::default()).unwrap().scenarios.remove(0);
    Scenario { length: Duration::from_secs(length), ..scenario }
}

fn setup(estimator: &str, video: VideoMode) -> Setup {
    let (_, estimator) = estimators::by_names(&[estimator.to_owned()]).unwrap()[0];
    Setup { estimator: estimator(), video, repair: Repair::Arq, playout_delay: None }
}

#[test]
fn a_seed_decides_everything() {
    let scenario = scenario("cross-border", 6);
    let setup = setup("remb", VideoMode::Adaptive);
    let first = play(&scenario, &setup, 1).unwrap();
    let again = play(&scenario, &setup, 1).unwrap();
    let samples = first.flows[0].samples.iter().zip(&again.flows[0].samples);
    assert_eq!(samples.enumerate().find(|(_, (one, other))| one != other), None);
    assert!(first == again);
    assert_ne!(first, play(&scenario, &setup, 2).unwrap());
    assert!(first.lost > 0 && first.flows[0].sent[Kind::Rtx as usize] > 0, "losses are repaired");
}

/// Those who are far, or behind a full queue, have the server's ClientHello long before the answer to their own check. The
/// keys, signatures and retransmission times of a handshake differ from run to run.
#[test]
fn a_handshake_that_waits_changes_nothing() {
    let setup = setup("dispersion", VideoMode::Adaptive);
    for scenario in [scenario("five-delays", 60), scenario("long-tcp", 30)] {
        for seed in 1..=6 {
            let first = play(&scenario, &setup, seed).unwrap();
            assert!(first == play(&scenario, &setup, seed).unwrap(), "{}, seed {seed}", scenario.name);
        }
    }
}

#[test]
fn a_wide_path_carries_all_without_a_freeze() {
    let scenario = scenario("elevator", 10);
    for video in [VideoMode::Adaptive, VideoMode::Single, VideoMode::Simulcast] {
        let record = play(&scenario, &setup("fixed", video), 1).unwrap();
        let found = metrics(&scenario, &record);
        assert_eq!((found[&Metric::Freezes], record.dropped + record.lost), (0.0, 0), "{video:?}: {found:?}");
        assert!(found[&Metric::Utilisation] > 85.0 && found[&Metric::HarmonicFps] > 25.0, "{video:?}: {found:?}");
        assert_eq!(record.flows[0].samples.last().unwrap().layer, if video == VideoMode::Simulcast { 3 } else { 1 });
    }
}

#[test]
fn flows_and_tcp_meet_at_the_bottleneck() {
    let record = play(&scenario("long-tcp", 15), &setup("fixed", VideoMode::Single), 1).unwrap();
    assert!(record.dropped > 0 && record.tcp.iter().any(|rate| *rate > 1e6));
    let record = play(&scenario("two-flows", 5), &setup("fixed", VideoMode::Single), 1).unwrap();
    let frames: Vec<_> = record.flows.iter().map(|flow| flow.frames.len()).collect();
    assert!(frames.len() == 2 && frames.iter().all(|frames| *frames > 90), "{frames:?}");
}

/// Behind the queue of who fills it, what is lost is asked for after more than a second.
#[test]
fn what_is_lost_behind_a_queue_of_a_second_is_sent_again() {
    let scenario = scenario("long-tcp-deep", 60);
    let record = play(&scenario, &setup("dispersion", VideoMode::Adaptive), 1).unwrap();
    let found = metrics(&scenario, &record);
    assert!(found[&Metric::RtxShare] > 1.5 && found[&Metric::ResidualLoss] < 2.0, "{found:?}");
}

#[test]
fn samples_of_late_flows_begin_with_the_scenario_as_well() {
    let record = play(&scenario("three-flows", 45), &setup("fixed", VideoMode::Single), 1).unwrap();
    for flow in &record.flows {
        assert_eq!(flow.samples.len(), record.capacity.len());
        let first =
            flow.samples.iter().position(|sample| sample.received > 0.0).unwrap() as f64 * record::SAMPLE.as_secs_f64();
        let began = flow.began.as_secs_f64();
        assert!((began..began + 1.0).contains(&first), "{first} s, {began} s");
    }
}

#[test]
fn a_flow_that_sends_less_than_it_may_leaves_others_their_share() {
    let (scenario, setup) = (scenario("five-delays", 100), setup("dispersion", VideoMode::Adaptive));
    let seeds = 1..=8;
    let jain = |seed| metrics(&scenario, &play(&scenario, &setup, seed).unwrap())[&Metric::Jain];
    let found: Vec<f64> = seeds.map(jain).collect();
    let mean = found.iter().sum::<f64>() / found.len() as f64;
    assert!(mean > 0.95, "{mean}: {found:?}");
}

#[test]
fn a_run_has_a_table_a_report_and_json() {
    let named = estimators::by_names(&["fixed".to_owned()]).unwrap();
    let mut said = Vec::new();
    let both_ways = scenario("both-ways", 4);
    let conditions = Conditions { video: VideoMode::Adaptive, playout_delay: None, seeds: 1 };
    let results = run(vec![both_ways], &named, &[Repair::Arq], conditions, &mut |what| said.push(what.to_owned()));
    let results = results.unwrap();
    assert_eq!(said, ["both-ways, fixed, seed 1 of 1"]);
    let text = results.to_string();
    assert!(text.contains("3 both-ways") && text.contains("of the one-way case") && text.contains("fixed: "), "{text}");
    let json = results.to_json();
    let metric = &json["outcomes"][0]["metrics"]["OfOneWay"];
    assert!(metric["target"] == ">= 90" && metric["met"].is_boolean() && metric["mean"].is_number(), "{json}");
    let html = crate::report::scenarios(&results);
    assert!(html.contains("Queue delay") && !html.contains("NaN") && html.matches("<svg").count() == 3);
}

/// A path of 4 Mbit/s with a round trip of 250 ms that loses so much, in bursts of three on average.
fn lossy(length: u64, share: f64) -> Scenario {
    let mut lossy = scenario("cross-border", length);
    for (_, link) in &mut lossy.down {
        link.rate = Some(netsim::Rate::from_kbps(4_000));
        link.jitter = Duration::ZERO;
        link.loss = netsim::Loss::bursts(share, 3.0);
    }
    lossy
}

/// The sum of the freezes in percent, and of packets recovered and shares of parity, over some seeds.
fn repaired(scenario: &Scenario, repair: Repair, seeds: std::ops::RangeInclusive<u64>) -> [f64; 3] {
    let setup = Setup { repair, ..setup("fixed", VideoMode::Single) };
    seeds.fold([0.0; 3], |[freeze, recovered, parity], seed| {
        let record = play(scenario, &setup, seed).unwrap();
        let found = metrics(scenario, &record);
        let recovered = recovered + record.flows[0].recovered as f64;
        [freeze + found[&Metric::FreezeShare], recovered, parity + found[&Metric::FecShare]]
    })
}

/// The subscriber is asked to play a round trip later.
#[test]
fn a_far_subscriber_waits_for_retransmissions() {
    let scenario = lossy(60, 0.05);
    let [arq, none, no_parity] = repaired(&scenario, Repair::Arq, 1..=6);
    assert_eq!((none, no_parity), (0.0, 0.0));
    let [planned, _, parity] = repaired(&scenario, Repair::Planner, 1..=6);
    assert!(planned < arq * 0.3, "{planned} instead of {arq}");
    assert!(parity / 6.0 < 10.0, "{parity} %");
}

/// With a delay that rises while pictures are shown there is a freeze at each of the first losses.
#[test]
fn a_far_subscriber_waits_from_the_first_frame_on() {
    let [planned, ..] = repaired(&lossy(8, 0.05), Repair::Planner, 1..=12);
    assert!(planned / 12.0 < 1.0, "{planned}");
}

/// A round trip more is longer than anybody is asked to wait.
#[test]
fn planned_parity_shortens_the_freezes_of_a_very_far_subscriber() {
    let mut scenario = lossy(60, 0.05);
    scenario.down.iter_mut().for_each(|(_, link)| link.delay = Duration::from_millis(900));
    let [arq, ..] = repaired(&scenario, Repair::Arq, 1..=6);
    let [planned, recovered, parity] = repaired(&scenario, Repair::Planner, 1..=6);
    assert!(planned < arq * 0.75, "{planned} instead of {arq}");
    assert!(recovered > 600.0 && parity / 6.0 < 25.0, "{recovered} packets by {parity} %");
}

#[test]
fn where_nothing_is_lost_no_parity_is_sent() {
    let [freeze, recovered, parity] = repaired(&lossy(20, 0.0), Repair::Planner, 1..=2);
    assert_eq!((freeze, recovered, parity), (0.0, 0.0, 0.0));
}

/// Each baseline does what its name says, and one table has them all.
#[test]
fn ways_of_repair_stand_beside_each_other() {
    let named = estimators::by_names(&["fixed".to_owned()]).unwrap();
    let repairs = Repair::value_variants();
    let case = Scenario { length: Duration::from_secs(20), ..scenario("gilbert-250", 20) };
    let conditions = Conditions { video: VideoMode::Single, playout_delay: None, seeds: 2 };
    let results = run(vec![case], &named, repairs, conditions, &mut |_| ()).unwrap();
    let found: std::collections::BTreeMap<_, _> =
        results.outcomes.iter().map(|outcome| (outcome.column.as_str(), outcome.summaries())).collect();
    let mean = |repair: &str, metric| found[repair][&metric].mean;
    assert_eq!(
        (mean("none", Metric::RtxShare), mean("none", Metric::FecShare), mean("arq", Metric::FecShare)),
        (0.0, 0.0, 0.0)
    );
    assert!(mean("arq", Metric::RtxShare) > 3.0);
    let parity = ["key-only", "livekit-15", "livekit-35", "xor-equal"].map(|repair| mean(repair, Metric::FecShare));
    assert!(parity[0] < 5.0 && parity.is_sorted() && parity[3] > 30.0, "{parity:?}");
    let lost = ["planner", "arq", "none"].map(|repair| mean(repair, Metric::FreezeShare));
    assert!(lost.is_sorted(), "{lost:?}");
    assert!(mean("none", Metric::ResidualLoss) > 3.0 && mean("arq", Metric::ResidualLoss) < 1.0);
    let text = results.to_string();
    assert!(text.contains("livekit-25") && text.contains("freezes > 0.36 s"), "{text}");
    assert_eq!(results.to_json()["outcomes"][0]["repair"], "none");
}

#[test]
fn what_is_lost_on_the_way_up_is_repaired_as_well() {
    for name in ["lossy-up", "lossy-both"] {
        let scenario = scenario(name, 15);
        let record = play(&scenario, &setup("fixed", VideoMode::Single), 1).unwrap();
        let found = metrics(&scenario, &record);
        assert!(record.lost > 100 && record.flows.len() == 1, "{name}: {found:?}");
        assert!(found[&Metric::ResidualLoss] < 1.0, "{name}: {found:?}");
    }
}
