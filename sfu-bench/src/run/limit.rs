//! The largest load that the server carries within bounds. Those who are in stay between steps; only the difference
//! joins or leaves.

use super::Progress;
use super::files;
use super::joins::Load;
use super::measure::{Measurement, Window};
use super::search::Search;
use crate::generator::Interval;
use crate::measure::share;
use crate::scenario::{ParticipantPlan, Scenario};
use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::time::Duration;
use tokio::time::Instant;

/// What the search is for, and within which bounds.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LimitOptions {
    /// Most packets that may be lost or left out, as a share.
    pub max_loss: f64,
    /// Longest one-way latency that 99 % of the packets may have, in milliseconds.
    pub max_p99_ms: f64,
    /// Time measured in each step, in seconds.
    pub step_seconds: f64,
    /// Largest number that is tried.
    pub most: usize,
    /// How well the limit is to be known, as a share of it.
    #[serde(default)]
    pub precision: f64,
    /// The number of rooms is varied even where there are subscribers.
    #[serde(default)]
    pub by_rooms: bool,
}

/// The search and what it found.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Limit {
    /// The bounds.
    pub bounds: LimitOptions,
    /// What was varied: `subscribers` of each room, or `rooms`.
    pub of: String,
    /// The largest number within the bounds; 0 where there is none.
    pub found: usize,
    /// Whether the generator, or the largest number allowed, was reached before the server's limit.
    pub at_least: bool,
    /// Every step.
    pub steps: Vec<LimitStep>,
}

/// One step of the search.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LimitStep {
    /// The number tried.
    pub number: usize,
    /// Packets per second received from the server.
    pub packets_out_per_second: f64,
    /// Share of packets lost or left out.
    pub loss: f64,
    /// One-way latency that 99 % did not exceed, in milliseconds.
    pub p99_ms: f64,
    /// Microseconds of the server's CPU per packet.
    pub cpu_per_packet_us: Option<f64>,
    /// What was out of bounds; `None` where nothing was.
    pub exceeded: Option<String>,
}

/// Searches from the scenario's own number on. The load is left at the largest number within the bounds.
pub(super) async fn search(
    load: &Load<'_>,
    bounds: &LimitOptions,
    whole: &mut Interval,
    progress: Progress<'_>,
) -> Result<(Scenario, Limit)> {
    let base = load.scenario;
    let [group] = &base.group[..] else { bail!("--find-limit varies one group, and the scenario has several") };
    let by_rooms = bounds.by_rooms || group.subscribers == 0;
    let (of, start) = if by_rooms { ("rooms", group.rooms) } else { ("subscribers", group.subscribers) };
    // What participants and files allow.
    let mut most = bounds.most.max(1);
    let possible = |number| {
        let scenario = scaled(base, by_rooms, number);
        scenario.check().and_then(|()| files::check(&scenario, load.options)).is_ok()
    };
    while most > 1 && !possible(most) {
        most = most * 9 / 10;
    }
    let mut search = Search::new(start, most, bounds.precision);
    let mut limit = Limit { bounds: bounds.clone(), of: of.to_owned(), found: 0, at_least: false, steps: Vec::new() };
    while let Some(number) = search.next() {
        let scenario = scaled(base, by_rooms, number);
        let next = try_number(load, bounds, (&scenario, number), whole, progress).await?;
        let Some((mut step, mut generator)) = next else { break };
        if step.exceeded.is_some() && step.is_close(bounds) {
            // Something else on the machine may have been the reason.
            let again = try_number(load, bounds, (&scenario, number), whole, progress).await?;
            let Some(again) = again else { break };
            (step, generator) = again;
        }
        search.record(number, step.exceeded.is_none());
        // Above this the generator only gets worse.
        limit.at_least |= generator && step.exceeded.is_some();
        limit.steps.push(step);
    }
    limit.found = search.good();
    limit.at_least |= search.good() == most || load.stop.is_stopped();
    let best = scaled(base, by_rooms, search.good().max(1));
    change_to(load, &best, progress).await;
    Ok((best, limit))
}

/// One step; `None` where the run is to end. Also whether the generator was the limit.
async fn try_number(
    load: &Load<'_>,
    bounds: &LimitOptions,
    (scenario, number): (&Scenario, usize),
    whole: &mut Interval,
    progress: Progress<'_>,
) -> Result<Option<(LimitStep, bool)>> {
    let failed = load.members.borrow().counts.failed;
    change_to(load, scenario, progress).await;
    load.somebody_is_in()?;
    let failed = load.members.borrow().counts.failed - failed;
    load.stop.sleep(load.options.settle).await;
    if load.stop.is_stopped() {
        return Ok(None);
    }
    let mut measurement = Measurement::default();
    let length = Duration::from_secs_f64(bounds.step_seconds);
    let window = measurement.window(load, length, Instant::now(), progress).await?;
    whole.merge(&measurement.whole);
    if load.stop.is_stopped() {
        return Ok(None);
    }
    let generator = window.interval.generator_was_the_limit(window.length, load.generators.len());
    let step = step(number, &window, bounds, failed, generator);
    Ok(Some((step, generator)))
}

impl LimitStep {
    /// Whether it was out of bounds by so little that it is worth another try.
    fn is_close(&self, bounds: &LimitOptions) -> bool {
        self.loss <= bounds.max_loss * 20.0 && self.p99_ms <= bounds.max_p99_ms * 5.0
    }
}

fn step(number: usize, window: &Window, bounds: &LimitOptions, failed: usize, generator: bool) -> LimitStep {
    let measured = &window.interval.measured;
    let loss = share(measured.skipped.max(measured.lost), measured.packets);
    let p99 = |histogram: &crate::measure::histogram::Histogram| histogram.quantile(0.99).unwrap_or_default();
    let p99_ms = p99(&measured.latency).max(p99(&measured.audio_latency)).as_secs_f64() * 1e3;
    let mut exceeded = Vec::new();
    if measured.packets == 0 {
        exceeded.push("nothing arrived".to_owned());
    }
    if failed > 0 {
        exceeded.push(format!("{failed} could not join"));
    }
    if measured.silent > 0 {
        exceeded.push(format!("{} received nothing for a second", measured.silent));
    }
    if loss > bounds.max_loss {
        exceeded.push(format!("loss {:.2} %", loss * 100.0));
    }
    if p99_ms > bounds.max_p99_ms {
        exceeded.push(format!("p99 {p99_ms:.1} ms"));
    }
    if generator && !exceeded.is_empty() {
        exceeded.push("the generator was the limit".to_owned());
    }
    LimitStep {
        number,
        packets_out_per_second: window.forwarded as f64 / window.length.as_secs_f64(),
        loss,
        p99_ms,
        cpu_per_packet_us: window.server.as_ref().map(|used| used.cost_per_packet(window.forwarded) / 1e3),
        exceeded: (!exceeded.is_empty()).then(|| exceeded.join(", ")),
    }
}

/// The scenario with another number of what is varied.
fn scaled(scenario: &Scenario, by_rooms: bool, number: usize) -> Scenario {
    let mut scaled = scenario.clone();
    for group in &mut scaled.group {
        let varied = if by_rooms { &mut group.rooms } else { &mut group.subscribers };
        *varied = number;
    }
    scaled
}

/// Lets those leave who are too many, and those join who are missing.
async fn change_to(load: &Load<'_>, scenario: &Scenario, progress: Progress<'_>) {
    let key = |plan: &ParticipantPlan| (plan.room.clone(), plan.name.clone());
    let plans = scenario.participants(load.joiner.per_stream());
    let wanted: HashSet<_> = plans.iter().map(key).collect();
    let (stay, leave): (Vec<_>, Vec<_>) = std::mem::take(&mut load.members.borrow_mut().all)
        .into_iter()
        .partition(|member| wanted.contains(&key(&member.plan)));
    let present: HashSet<_> = stay.iter().map(|member| key(&member.plan)).collect();
    load.members.borrow_mut().all = stay;
    futures_util::future::join_all(leave.into_iter().map(|member| load.leave(member))).await;
    let missing = plans.into_iter().filter(|plan| !present.contains(&key(plan))).collect();
    load.join_waves(missing, progress).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Group, Preset};

    const BOUNDS: LimitOptions = LimitOptions {
        max_loss: 0.001,
        max_p99_ms: 10.0,
        step_seconds: 1.0,
        most: 100,
        precision: 0.02,
        by_rooms: false,
    };

    fn window(packets: u64, skipped: i64, latency: u64) -> Window {
        let mut interval = Interval::default();
        interval.measured.packets = packets;
        interval.measured.skipped = skipped;
        interval.measured.latency.record(Duration::from_millis(latency));
        let forwarded = interval.measured.packets;
        Window { interval, length: Duration::from_secs(1), server: None, mean_run: None, forwarded, rtp: None }
    }

    #[test]
    fn bounds_are_kept() {
        let exceeded = |window: &Window, failed| step(1, window, &BOUNDS, failed, false).exceeded;
        assert_eq!(exceeded(&window(10_000, 10, 9), 0), None);
        assert_eq!(exceeded(&window(10_000, 11, 9), 0).unwrap(), "loss 0.11 %");
        assert_eq!(exceeded(&window(10_000, 0, 11), 0).unwrap(), "p99 11.0 ms");
        assert_eq!(exceeded(&window(10_000, 0, 1), 2).unwrap(), "2 could not join");
        assert!(exceeded(&window(0, 0, 0), 0).is_some());
    }

    #[test]
    fn subscribers_are_varied_or_rooms() {
        let names = |scenario: &Scenario| -> HashSet<_> {
            scenario.participants(false).into_iter().map(|plan| (plan.room, plan.name)).collect()
        };
        let fan_out = Scenario::of(Group { rooms: 2, ..Group::default() });
        let (few, many) = (names(&scaled(&fan_out, false, 5)), names(&scaled(&fan_out, false, 9)));
        assert_eq!((few.len(), many.len()), (12, 20));
        assert!(few.is_subset(&many), "those who are in stay");
        let meetings = scaled(&Preset::Meeting.scenario(), true, 7);
        assert_eq!((meetings.group[0].rooms, meetings.participants(false).len()), (7, 28));
    }
}
