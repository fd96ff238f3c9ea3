//! One subscriber's path among its subscriptions: a multiple-choice knapsack over layers and rates, filled greedily. As a
//! picture gains by the ratio of rates, not by their difference, the next bit goes where weight by rate is greatest
//! (proportional fairness), which is the best that a knapsack of small steps can hold.

use super::{Choice, Snapshot, Subscriber, Subscription, full_rate, useful};
use sfu_rtc::units::Bitrate;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Share of the estimate, in percent, that is planned with. A tenth is left free when the path is shared out
/// ([`crate::qos::ImportanceConfig::headroom`]), and headers come on top of what encoders are asked for.
const PLANNED_PERCENT: u64 = 85;
/// Rates at which a layer is tried, in percent of its own. Below them the layer underneath looks better.
const STEPS_PERCENT: [u64; 3] = [60, 80, 100];

/// The least rate at which a layer is worth sending that takes `full` by itself.
pub(super) fn least_rate(full: Bitrate) -> Bitrate {
    percent(full, STEPS_PERCENT[0])
}

fn percent(rate: Bitrate, percent: u64) -> Bitrate {
    Bitrate::from_bps(rate.as_bps().saturating_mul(percent) / 100)
}

/// One way to get a source.
#[derive(Clone, Copy)]
struct Step {
    layer: usize,
    rate: Bitrate,
}

/// Writes to `choices` what the subscriber with this number gets of its subscriptions.
pub(super) fn share(
    room: &Snapshot,
    (index, subscriber): (usize, &Subscriber),
    is_usable: &dyn Fn(usize, usize) -> bool,
    choices: &mut Vec<Choice>,
) {
    let subscriptions = subscriber.subscriptions.iter().filter(|subscription| subscription.source < room.sources.len());
    let subscriptions: Vec<(&Subscription, Vec<Step>)> = subscriptions
        .map(|subscription| (subscription, steps(room, subscription, is_usable)))
        .filter(|(_, steps)| !steps.is_empty())
        .collect();
    let best = |steps: &[Step]| steps.len() - 1;
    let mut taken: Vec<Option<usize>> = match subscriber.estimate {
        None => subscriptions.iter().map(|(_, steps)| Some(best(steps))).collect(),
        Some(estimate) => {
            let budget = percent(estimate, PLANNED_PERCENT).saturating_sub(subscriber.audio);
            fill(budget, &subscriptions)
        }
    };
    // A path that carries nothing is not measured, so the weightiest gets its first step in any case.
    let forced = taken.iter().all(Option::is_none);
    if let Some(first) =
        (0..subscriptions.len()).rev().max_by_key(|place| subscriptions[*place].0.weight).filter(|_| forced)
    {
        taken[first] = Some(0);
    }
    for ((subscription, steps), taken) in subscriptions.iter().zip(taken) {
        if let Some(Step { layer, rate }) = taken.map(|taken| steps[taken]) {
            choices.push(Choice { subscriber: index, source: subscription.source, layer, rate, forced });
        }
    }
}

/// The ways to get a source, the cheapest first: each layer that is of use, at its own rate and lower ones, where those
/// take more than the layer below.
fn steps(room: &Snapshot, subscription: &Subscription, is_usable: &dyn Fn(usize, usize) -> bool) -> Vec<Step> {
    let source = &room.sources[subscription.source];
    let mut steps: Vec<Step> = Vec::new();
    for layer in (0..useful(subscription, source)).filter(|layer| is_usable(subscription.source, *layer)) {
        let full = full_rate(source, layer);
        for rate in STEPS_PERCENT.map(|share| percent(full, share)) {
            if steps.last().is_none_or(|below| rate > below.rate) {
                steps.push(Step { layer, rate });
            }
        }
    }
    steps
}

/// Which step of each subscription fits into `budget`.
fn fill(budget: Bitrate, subscriptions: &[(&Subscription, Vec<Step>)]) -> Vec<Option<usize>> {
    let mut taken: Vec<Option<usize>> = vec![None; subscriptions.len()];
    let mut left = budget;
    let worth = |subscription: &Subscription, rate: Bitrate| {
        u64::from(subscription.weight.max(1)) * 1_000_000_000 / rate.as_bps().saturating_add(1)
    };
    let mut next: BinaryHeap<(u64, Reverse<usize>)> = subscriptions
        .iter()
        .enumerate()
        .map(|(place, (subscription, _))| (worth(subscription, Bitrate::ZERO), Reverse(place)))
        .collect();
    while let Some((_, Reverse(place))) = next.pop() {
        let (subscription, steps) = &subscriptions[place];
        let held = taken[place].map_or(Bitrate::ZERO, |step| steps[step].rate);
        let step = taken[place].map_or(0, |step| step + 1);
        let Some(wanted) = steps.get(step) else { continue };
        let more = wanted.rate.saturating_sub(held);
        // What does not fit leaves room for what comes after.
        if more <= left {
            left = left.saturating_sub(more);
            taken[place] = Some(step);
            next.push((worth(subscription, wanted.rate), Reverse(place)));
        }
    }
    taken
}
