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
/// Encoders leave frames out where they are given less, for all who watch.
const LEAST_SMOOTH: Bitrate = Bitrate::from_kbps(50);
/// Where nothing fits, the lowest layer of the weightiest source is tried at further ones, each by so many percent of the
/// one above, down to the least: a source without simulcast would come at its full rate or not at all.
const LOWER_PERCENT: u64 = 90;
const LEAST_ALONE: Bitrate = Bitrate::from_kbps(100);

/// The least rate at which a layer is worth sending that takes `full` by itself.
pub(super) fn least_rate(full: Bitrate) -> Bitrate {
    step_rate(full, STEPS_PERCENT[0])
}

fn step_rate(full: Bitrate, share: u64) -> Bitrate {
    percent(full, share).max(LEAST_SMOOTH).min(full)
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
    let budget =
        subscriber.estimate.map(|estimate| percent(estimate, PLANNED_PERCENT).saturating_sub(subscriber.audio));
    let taken: Vec<Option<usize>> = match budget {
        None => subscriptions.iter().map(|(_, steps)| Some(best(steps))).collect(),
        Some(budget) => fill(budget, &subscriptions),
    };
    let choice = |source, Step { layer, rate }, forced| Choice { subscriber: index, source, layer, rate, forced };
    let before = choices.len();
    for ((subscription, steps), taken) in subscriptions.iter().zip(taken) {
        choices.extend(taken.map(|taken| choice(subscription.source, steps[taken], false)));
    }
    // A path that carries nothing is not measured, so the weightiest gets something in any case.
    let weightiest = subscriptions.iter().rev().max_by_key(|(subscription, _)| subscription.weight);
    if let (Some((subscription, steps)), Some(budget)) = (weightiest, budget)
        && choices.len() == before
    {
        let lowered = lowered(steps[0], budget);
        choices.push(choice(subscription.source, lowered, lowered.rate > budget));
    }
}

/// A step at the highest lower rate that fits into `budget`, or else at the least.
fn lowered(step: Step, budget: Bitrate) -> Step {
    let lower = |step: &Step| {
        let rate = percent(step.rate, LOWER_PERCENT);
        (rate >= LEAST_ALONE && step.rate > budget).then_some(Step { rate, ..*step })
    };
    std::iter::successors(Some(step), lower).last().unwrap_or(step)
}

/// The ways to get a source, the cheapest first: each layer that is of use, at its own rate and lower ones, where those
/// take more than the layer below.
fn steps(room: &Snapshot, subscription: &Subscription, is_usable: &dyn Fn(usize, usize) -> bool) -> Vec<Step> {
    let source = &room.sources[subscription.source];
    let mut steps: Vec<Step> = Vec::new();
    for layer in (0..useful(subscription, source)).filter(|layer| is_usable(subscription.source, *layer)) {
        let full = full_rate(source, layer);
        // A better picture for no more: a still one takes little, and encoders share their bits out as they like.
        steps.retain(|below| below.rate < full);
        for rate in STEPS_PERCENT.map(|share| step_rate(full, share)) {
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
        // Nothing that is worth less takes its place, so that more bandwidth yields less to nobody.
        if more > left {
            break;
        }
        left = left.saturating_sub(more);
        taken[place] = Some(step);
        next.push((worth(subscription, wanted.rate), Reverse(place)));
    }
    taken
}
