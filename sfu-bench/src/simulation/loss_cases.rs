//! Scenarios that lose packets by one law, on a path with room: what repair is compared on.

use super::catalogue::{Behind, FlowPlan, QUEUE, Scenario, at_most, flow, link, ms, secs};
use super::metrics::{Metric, Target};
use netsim::{LinkConfig, Loss};
use std::time::Duration;

/// All that is sent, repair included, fits into it. In kbit/s.
const CAPACITY: u64 = 4_000;
const LENGTH: u64 = 60;
/// From burst to burst, where nothing passes for a while.
const BETWEEN_BURSTS: u64 = 2;

/// All of them.
pub(super) fn loss_cases() -> Vec<Scenario> {
    let lossy = |number, name, about, delay, loss, targets: Vec<Target>| Scenario {
        down: vec![(Duration::ZERO, lossy_link(loss))],
        flows: vec![FlowPlan { delay: ms(delay), ..flow(0) }],
        targets,
        ..Scenario::new(number, name, about, LENGTH)
    };
    let gilbert = || Loss::bursts(0.05, 3.0);
    let frozen = |percent| vec![at_most(Metric::FreezeShare, percent)];
    // What retransmissions take at least, and 2 %.
    let arq_alone =
        vec![at_most(Metric::FreezeShare, 0.0), at_most(Metric::FecShare, 2.0), at_most(Metric::RtxShare, 7.3)];
    let mut cases = vec![
        lossy(15, "loss-5-near", "5 % of all packets are lost, RTT 20 ms", 10, Loss::Random(0.05), arq_alone),
        lossy(15, "loss-5", "5 % of all packets are lost, RTT 100 ms", 50, Loss::Random(0.05), frozen(0.0)),
        lossy(15, "loss-15", "15 % of all packets are lost, RTT 200 ms", 100, Loss::Random(0.15), frozen(2.5)),
        lossy(16, "gilbert-40", "5 % are lost in bursts of three, RTT 40 ms", 20, gilbert(), vec![]),
        lossy(16, "gilbert-120", "5 % are lost in bursts of three, RTT 120 ms", 60, gilbert(), vec![]),
        lossy(16, "gilbert-250", "5 % are lost in bursts of three, RTT 250 ms", 125, gilbert(), frozen(0.3)),
        bursts("bursts-30", "nothing passes for 30 ms of each 2 s, RTT 100 ms", 30),
        bursts("bursts-100", "nothing passes for 100 ms of each 2 s, RTT 100 ms", 100),
        bursts("bursts-300", "nothing passes for 300 ms of each 2 s, RTT 100 ms", 300),
    ];
    cases.extend([
        one_way("lossy-down", "10 % are lost on the way to the subscriber, RTT 80 ms", Behind::Subscriber),
        one_way("lossy-up", "10 % are lost on the way from the publisher, RTT 80 ms", Behind::Publisher),
        one_way("lossy-both", "10 % are lost on both ways, RTT 80 ms each", Behind::Both),
    ]);
    cases
}

fn lossy_link(loss: Loss) -> LinkConfig {
    LinkConfig { loss, ..link(CAPACITY, QUEUE) }
}

/// Nothing passes for so many milliseconds, again and again.
fn bursts(name: &'static str, about: &'static str, length: u64) -> Scenario {
    let plain =
        Scenario { down: vec![(Duration::ZERO, link(CAPACITY, QUEUE))], ..Scenario::new(17, name, about, LENGTH) };
    let starts = (BETWEEN_BURSTS..LENGTH).step_by(BETWEEN_BURSTS as usize);
    starts.fold(plain, |scenario, at| {
        scenario.during(secs(at), secs(at) + ms(length), |link| link.loss = Loss::Random(1.0))
    })
}

/// Media loses packets on the side of those who are `behind` it; requests and reports pass.
fn one_way(name: &'static str, about: &'static str, behind: Behind) -> Scenario {
    let links = |lossy| {
        let loss = if lossy { Loss::Random(0.1) } else { Loss::None };
        vec![(Duration::ZERO, lossy_link(loss))]
    };
    Scenario {
        down: links(behind.includes(false)),
        up: links(behind.includes(true)),
        flows: vec![FlowPlan { delay: ms(40), behind, ..flow(0) }],
        ..Scenario::new(18, name, about, LENGTH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_come_again_and_again() {
        let cases = loss_cases();
        let bursts = cases.iter().find(|case| case.name == "bursts-100").unwrap();
        let gone = |link: &LinkConfig| link.loss == Loss::Random(1.0);
        let times: Vec<_> = bursts.down.iter().map(|(at, link)| (at.as_millis(), gone(link))).collect();
        assert_eq!(times[..4], [(0, false), (2_000, true), (2_100, false), (4_000, true)]);
        assert_eq!(times.last(), Some(&(58_100, false)));
    }

    #[test]
    fn sides_lose_apart() {
        let sides = loss_cases().into_iter().filter(|case| case.number == 18);
        let lossy = |links: &[(Duration, LinkConfig)]| links[0].1.loss != Loss::None;
        let sides: Vec<_> = sides.map(|case| (lossy(&case.down), lossy(&case.up))).collect();
        assert_eq!(sides, [(true, false), (false, true), (true, true)]);
    }
}
