//! The scenarios: RFC 8867's, recorded networks, and cases of our own, with what is to be reached in each.

use super::loss_cases::loss_cases;
use super::metrics::{Bound, Metric, Target};
use super::traces::{Recording, Traces};
use anyhow::{Result, bail};
use netsim::{LinkConfig, Loss, QueueLimit, Rate, Trace};
use std::sync::Arc;
use std::time::Duration;

/// One scenario: a bottleneck over time, and who shares it.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its number in the list of facts, which several may share.
    pub number: u8,
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// How long it lasts.
    pub length: Duration,
    /// Most bits per second that one flow wants, on the wire.
    pub demand: u64,
    /// The bottleneck to the subscribers, from each time on.
    pub down: Vec<(Duration, LinkConfig)>,
    /// The way back from them, likewise.
    pub up: Vec<(Duration, LinkConfig)>,
    /// Flows of media.
    pub flows: Vec<FlowPlan>,
    /// TCP-like flows to the subscribers' site.
    pub tcp: Vec<TcpPlan>,
    /// When nothing passes by intention, which is nobody's freeze.
    pub outages: Vec<(Duration, Duration)>,
    /// What is to be reached.
    pub targets: Vec<Target>,
}

/// One flow of media: a publisher and a subscriber in a room of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowPlan {
    /// When they join.
    pub start: Duration,
    /// When the publisher pauses, and until when.
    pub pause: Option<(Duration, Duration)>,
    /// One-way delay of each who is behind the bottleneck, beside the queue.
    pub delay: Duration,
    /// Who is behind the bottleneck.
    pub behind: Behind,
}

/// Who of a flow is behind the bottleneck.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Behind {
    /// Media comes through it to the subscriber.
    Subscriber,
    /// Media goes through it from the publisher. Such flows are measured where there are no others.
    Publisher,
    /// Media passes it both ways.
    Both,
}

impl Behind {
    /// Whether the publisher is, or else the subscriber.
    pub(super) fn includes(self, publisher: bool) -> bool {
        self == Self::Both || (self == Self::Publisher) == publisher
    }
}

/// One TCP-like sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpPlan {
    /// When it begins.
    pub start: Duration,
    /// Bytes of each transfer, at least and at most; `None` for one without end.
    pub transfer: Option<(u64, u64)>,
}

/// Mean time between the transfers of one TCP-like sender (RFC 8867 section 5.7).
pub(super) const TCP_IDLE: Duration = Duration::from_secs(10);

const DEMAND: u64 = 1_500_000;
/// The cap of the scenarios with recorded networks, and their queue.
const TRACE_DEMAND: u64 = 2_500_000;
const TRACE_QUEUE: QueueLimit = QueueLimit::Bytes(250_000);
pub(super) const QUEUE: Duration = Duration::from_millis(300);

pub(super) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) fn link(kbps: u64, queue: Duration) -> LinkConfig {
    LinkConfig { rate: Some(Rate::from_kbps(kbps)), queue: QueueLimit::Time(queue), ..LinkConfig::default() }
}

/// Capacities in kbit/s, each from a second on.
fn steps(steps: &[(u64, u64)]) -> Vec<(Duration, LinkConfig)> {
    steps.iter().map(|(at, kbps)| (secs(*at), link(*kbps, QUEUE))).collect()
}

pub(super) fn flow(start: u64) -> FlowPlan {
    FlowPlan { start: secs(start), pause: None, delay: ms(50), behind: Behind::Subscriber }
}

fn at_least(metric: Metric, value: f64) -> Target {
    Target { metric, bound: Bound::AtLeast(value) }
}

pub(super) fn at_most(metric: Metric, value: f64) -> Target {
    Target { metric, bound: Bound::AtMost(value) }
}

impl Scenario {
    pub(super) fn new(number: u8, name: &'static str, about: &'static str, length: u64) -> Self {
        Self {
            number,
            name,
            about,
            length: secs(length),
            demand: DEMAND,
            down: Vec::new(),
            up: vec![(Duration::ZERO, LinkConfig::default())],
            flows: vec![flow(0)],
            tcp: Vec::new(),
            outages: Vec::new(),
            targets: Vec::new(),
        }
    }

    fn recorded(mut self, recording: Recording, delay: u64) -> Self {
        let along = |trace: Arc<Trace>| LinkConfig { trace: Some(trace), queue: TRACE_QUEUE, ..LinkConfig::default() };
        self.demand = TRACE_DEMAND;
        self.flows[0].delay = ms(delay);
        if let Some(up) = recording.up {
            self.up = vec![(Duration::ZERO, along(up))];
        }
        let down = along(recording.down);
        self.down = vec![(Duration::ZERO, down.clone())];
        for (from, loss) in recording.loss {
            self.down.push((from, LinkConfig { loss: Loss::Random(loss), ..down.clone() }));
        }
        self
    }

    /// From one time to another the bottleneck is another, as `change` makes it.
    pub(super) fn during(mut self, from: Duration, to: Duration, change: impl Fn(&mut LinkConfig)) -> Self {
        let at = |time: Duration| self.down.iter().rev().find(|(at, _)| *at <= time).map(|(_, link)| link.clone());
        let (mut changed, after) = (at(from).unwrap_or_default(), at(to).unwrap_or_default());
        change(&mut changed);
        self.down.retain(|(at, _)| !(from..to).contains(at));
        self.down.extend([(from, changed), (to, after)]);
        self.down.sort_by_key(|(at, _)| *at);
        self
    }

    fn outage(mut self, from: Duration, length: Duration, change: impl Fn(&mut LinkConfig)) -> Self {
        self.outages.push((from, from + length));
        self.during(from, from + length, change)
    }
}

/// RFC 8867's cases.
fn rfc_8867() -> Vec<Scenario> {
    use Metric::*;
    let three = [flow(0), flow(20), flow(40)];
    let paused = FlowPlan { pause: Some((secs(40), secs(60))), ..flow(0) };
    let one_way = [10, 25, 50, 100, 150].into_iter().enumerate();
    vec![
        Scenario {
            down: steps(&[(0, 1_000), (40, 2_500), (60, 600), (80, 1_000)]),
            targets: vec![
                at_least(Utilisation, 92.0),
                at_most(QueueP95, 50.0),
                at_most(QueueP99, 150.0),
                at_most(Freezes, 0.0),
                at_most(RiseTime, 5.0),
                at_most(DrainTime, 1.0),
            ],
            ..Scenario::new(1, "steps", "RFC 8867 5.1: capacity 1, 2.5, 0.6, 1 Mbit/s", 100)
        },
        Scenario {
            down: steps(&[(0, 4_000), (25, 2_000), (50, 3_500), (75, 1_000), (100, 2_000)]),
            flows: vec![flow(0), flow(0)],
            targets: vec![at_least(Jain, 0.95), at_least(Utilisation, 90.0)],
            ..Scenario::new(2, "two-flows", "RFC 8867 5.2: two flows over 4, 2, 3.5, 1, 2 Mbit/s", 125)
        },
        Scenario {
            down: steps(&[(0, 2_000), (20, 1_000), (40, 500), (60, 2_000)]),
            up: steps(&[(0, 2_000), (35, 800), (70, 2_000)]),
            flows: vec![flow(0), FlowPlan { behind: Behind::Publisher, ..flow(0) }],
            targets: vec![at_least(OfOneWay, 90.0)],
            ..Scenario::new(3, "both-ways", "RFC 8867 5.3: media both ways, feedback behind media", 100)
        },
        Scenario {
            down: steps(&[(0, 3_500)]),
            flows: three.to_vec(),
            targets: vec![at_least(Jain, 0.95)],
            ..Scenario::new(4, "three-flows", "RFC 8867 5.4: three flows on 3.5 Mbit/s", 120)
        },
        Scenario {
            down: steps(&[(0, 4_000)]),
            flows: one_way.map(|(n, delay)| FlowPlan { delay: ms(delay), ..flow(10 * n as u64) }).collect(),
            targets: vec![at_least(Jain, 0.90)],
            ..Scenario::new(4, "five-delays", "RFC 8867 5.5: five flows of 10 to 150 ms on 4 Mbit/s", 300)
        },
        Scenario {
            down: steps(&[(0, 3_500)]),
            flows: vec![paused, flow(0), flow(0)],
            targets: vec![at_most(ResumeTime, 3.0)],
            ..Scenario::new(6, "pause", "RFC 8867 5.8: one of three flows pauses from 40 to 60 s", 100)
        },
    ]
}

/// Media beside TCP-like flows (RFC 8867 5.6 and 5.7).
fn beside_tcp() -> Vec<Scenario> {
    use Metric::*;
    let long = |name, about, queue| Scenario {
        down: vec![(Duration::ZERO, link(2_000, queue))],
        flows: vec![flow(5)],
        tcp: vec![TcpPlan { start: Duration::ZERO, transfer: None }],
        targets: vec![at_least(ShareOfLink, 35.0), at_most(FreezeShare, 1.0)],
        ..Scenario::new(5, name, about, 120)
    };
    let short = |n: u64| TcpPlan { start: ms(500 * n), transfer: Some((100_000, 1_000_000)) };
    vec![
        long("long-tcp", "RFC 8867 5.6: a long TCP-like flow, 2 Mbit/s, queue of 300 ms", QUEUE),
        long("long-tcp-deep", "the same with a queue of 1,000 ms", secs(1)),
        Scenario {
            down: steps(&[(0, 2_000)]),
            tcp: (0..10).map(short).collect(),
            targets: vec![at_most(FreezeShare, 0.3)],
            ..Scenario::new(5, "short-tcp", "RFC 8867 5.7: ten senders of short TCP-like flows, 2 Mbit/s", 120)
        },
    ]
}

/// Cases of our own that need no recording.
fn synthetic() -> Vec<Scenario> {
    use Metric::*;
    let lossy = |loss| LinkConfig { loss, ..link(1_500, QUEUE) };
    let far = |delay| vec![FlowPlan { delay: ms(delay), ..flow(0) }];
    vec![
        Scenario {
            down: vec![(Duration::ZERO, LinkConfig { jitter: ms(52), ..lossy(Loss::bursts(0.05, 3.0)) })],
            flows: far(125),
            targets: vec![at_most(FreezeShare, 0.3), at_least(HarmonicFps, 26.0)],
            ..Scenario::new(11, "cross-border", "1.5 Mbit/s, RTT 250 ms, bursts of loss of 5 %, jitter", 100)
        },
        Scenario {
            down: vec![(Duration::ZERO, LinkConfig { loss: Loss::Random(0.02), ..link(200, secs(1)) })],
            flows: far(200),
            targets: vec![at_least(AudioMos, 3.5), at_least(HarmonicFps, 5.0)],
            ..Scenario::new(12, "floor", "200 kbit/s, RTT 400 ms, 2 % loss, a queue of 1 s", 100)
        },
        Scenario {
            down: steps(&[(0, 3_000)]),
            targets: vec![at_most(Recovery, 300.0), at_most(RiseTime, 10.0)],
            ..Scenario::new(13, "elevator", "3 Mbit/s; nothing for 1.5 s at 20 s; 150 kbit/s from 50 to 58 s", 100)
        }
        .outage(secs(20), ms(1_500), |link| link.loss = Loss::Random(1.0))
        .during(secs(50), secs(58), |link| link.rate = Some(Rate::from_kbps(150))),
    ]
}

/// A scenario over a recording: number, name, about, one-way delay, its files, targets.
struct Recorded(u8, &'static str, &'static str, u64, &'static str, fn() -> Vec<Target>);

const RECORDED: [Recorded; 7] = [
    Recorded(7, "lte-drive", "LTE in a car (ATT 2016), RTT 40 ms", 20, "mm-ATT-LTE-driving-2016", || {
        vec![at_least(Metric::Utilisation, 60.0), at_most(Metric::QueueP95, 200.0), at_most(Metric::FreezeShare, 3.0)]
    }),
    Recorded(8, "rail-4", "high-speed rail 4, RTT 60 ms, outages", 30, "spark-pitree-hsr-trace4", rail_targets),
    Recorded(8, "rail-11", "high-speed rail 11, RTT 60 ms, outages", 30, "spark-pitree-hsr-trace11", rail_targets),
    Recorded(9, "restaurant", "Wi-Fi of a restaurant, RTT 40 ms", 20, "spark-zhuge-rest-wifi-trace4", wifi_targets),
    Recorded(9, "office", "Wi-Fi of an office, RTT 40 ms", 20, "spark-zhuge-office-wifi-trace8", wifi_targets),
    Recorded(10, "lossy-near", "lossy Wi-Fi, RTT 40 ms", 20, "spark-hairpin-wifi-trace14", || {
        vec![at_most(Metric::FreezeShare, 0.1)]
    }),
    Recorded(10, "lossy-far", "lossy Wi-Fi, RTT 240 ms", 120, "spark-hairpin-wifi-trace14", || {
        vec![at_most(Metric::FreezeShare, 0.6)]
    }),
];

fn rail_targets() -> Vec<Target> {
    vec![at_least(Metric::Utilisation, 60.0), at_most(Metric::FreezeShare, 1.5)]
}

fn wifi_targets() -> Vec<Target> {
    vec![at_most(Metric::QueueP95, 300.0), at_most(Metric::FreezeShare, 5.0)]
}

/// The name of the scenario that is any recording.
const ANY: &str = "trace";

/// What is to be run, and what cannot be, with the reason.
#[derive(Debug, Default)]
pub struct Selection {
    /// To be run.
    pub scenarios: Vec<Scenario>,
    /// Names with reasons.
    pub skipped: Vec<(&'static str, String)>,
}

/// Number and name of each scenario.
pub fn names() -> Vec<(u8, &'static str)> {
    let mut names: Vec<_> = [rfc_8867(), beside_tcp(), synthetic(), loss_cases()]
        .into_iter()
        .flatten()
        .map(|s| (s.number, s.name))
        .collect();
    names.extend(RECORDED.iter().map(|recorded| (recorded.0, recorded.1)));
    names.sort_by_key(|(number, _)| *number);
    names.push((0, ANY));
    names
}

/// The scenarios of these names or numbers; all, where there is none.
///
/// # Errors
/// Where there is no scenario of a name, or a recording cannot be read.
pub fn select(wanted: &[String], traces: &Traces) -> Result<Selection> {
    let known = names();
    for wanted in wanted {
        if !known.iter().any(|(number, name)| is_named(wanted, *number, name)) {
            let names: Vec<_> = known.iter().map(|(_, name)| *name).collect();
            bail!("there is no scenario {wanted:?}; there are {}", names.join(", "));
        }
    }
    let is_wanted = |number, name| wanted.is_empty() || wanted.iter().any(|wanted| is_named(wanted, number, name));
    let mut selection = Selection::default();
    let plain = [rfc_8867(), beside_tcp(), synthetic(), loss_cases()].into_iter().flatten();
    selection.scenarios.extend(plain.filter(|scenario| is_wanted(scenario.number, scenario.name)));
    for Recorded(number, name, about, delay, file, targets) in RECORDED {
        if !is_wanted(number, name) {
            continue;
        }
        match traces.recording(file)? {
            Some(recording) => {
                let plain = Scenario { targets: targets(), ..Scenario::new(number, name, about, 120) };
                let mut scenario = plain.recorded(recording, delay);
                if number == 8 {
                    for at in [30, 90] {
                        scenario = scenario.outage(secs(at), ms(800), |link| {
                            (link.trace, link.rate) = (None, Some(Rate::from_bps(0)));
                        });
                    }
                }
                selection.scenarios.push(scenario);
            }
            None => selection.skipped.push((name, format!("it needs {file}.down: give --traces or --trace"))),
        }
    }
    if is_wanted(0, ANY) {
        match traces.given() {
            Some(recording) => {
                let scenario = Scenario::new(0, ANY, "the given recording, RTT 40 ms", 120);
                selection.scenarios.push(scenario.recorded(recording, 20));
            }
            None if !wanted.is_empty() => selection.skipped.push((ANY, "it needs --trace".to_owned())),
            None => {}
        }
    }
    selection.scenarios.sort_by_key(|scenario| scenario.number);
    Ok(selection)
}

fn is_named(wanted: &str, number: u8, name: &str) -> bool {
    wanted == name || (number > 0 && wanted.parse() == Ok(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_found_by_name_and_number() {
        let names = |wanted: &[&str]| {
            let wanted: Vec<_> = wanted.iter().map(|name| (*name).to_owned()).collect();
            let selection = select(&wanted, &Traces::default()).unwrap();
            let names: Vec<_> = selection.scenarios.iter().map(|scenario| scenario.name).collect();
            (names, selection.skipped.iter().map(|(name, _)| *name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["pause", "1"]), (vec!["steps", "pause"], vec![]));
        assert_eq!(names(&["5"]).0.len(), 3);
        assert_eq!(names(&["8", "trace"]), (vec![], vec!["rail-4", "rail-11", "trace"]));
        let error = select(&["14".to_owned()], &Traces::default()).unwrap_err().to_string();
        assert!(error.contains("\"14\"") && error.contains("elevator"), "{error}");
    }

    #[test]
    fn a_link_is_another_for_a_while() {
        let elevator = synthetic().pop().unwrap();
        let rates: Vec<_> = elevator.down.iter().map(|(at, link)| (at.as_millis(), link.rate.unwrap())).collect();
        let kbps = Rate::from_kbps;
        let expected = [(0, 3_000), (20_000, 3_000), (21_500, 3_000), (50_000, 150), (58_000, 3_000)];
        assert_eq!(rates, expected.map(|(at, rate)| (at, kbps(rate))));
        assert_eq!(elevator.down[1].1.loss, Loss::Random(1.0));
        assert_eq!(elevator.down[2].1.loss, Loss::None);
    }
}
