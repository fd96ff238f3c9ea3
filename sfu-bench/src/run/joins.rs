//! Bringing participants in, at a steady rate, publishers first.

use super::{Progress, RunOptions};
use crate::generator::{Generator, PeerId};
use crate::join::{Joiner, Kept};
use crate::measure::histogram::Histogram;
use crate::scenario::{ParticipantPlan, Scenario};
use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// How long a join may take before it counts as failed.
const JOIN_PATIENCE: Duration = Duration::from_secs(10);
/// Signalling connections under way at once.
const MAX_JOINING: usize = 64;

/// How the joins went.
#[derive(Clone, Debug, Default)]
pub struct JoinCounts {
    /// Participants that joined.
    pub joined: usize,
    /// Participants that could not.
    pub failed: usize,
    /// What the first failure said.
    pub first_error: Option<String>,
    /// Join times: from the request to the server's answer.
    pub times: Histogram,
}

/// A participant who is in.
pub(super) struct Participant {
    /// Its session.
    pub(super) session: Kept,
    /// Its peer: which generator, which of its peers.
    pub(super) peer: (usize, PeerId),
}

/// Everything that joins need.
pub(super) struct Load<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) options: &'a RunOptions,
    pub(super) joiner: Joiner,
    pub(super) generators: &'a [Generator],
    pub(super) participants: Vec<Participant>,
    pub(super) counts: JoinCounts,
}

impl Load<'_> {
    /// Joins everybody of `plans`.
    ///
    /// # Errors
    /// Where nobody is in. Single failures are counted.
    pub(super) async fn join_all(&mut self, plans: Vec<ParticipantPlan>, progress: Progress<'_>) -> Result<()> {
        // Publishers first: over WHEP there is nothing to play before somebody publishes.
        let (publishers, others): (Vec<_>, Vec<_>) = plans.into_iter().partition(|plan| plan.publishes);
        for wave in [publishers, others] {
            self.join_wave(&wave, progress).await;
        }
        if self.participants.is_empty() {
            bail!("nobody could join: {}", self.counts.first_error.as_deref().unwrap_or("the scenario is empty"));
        }
        Ok(())
    }

    async fn join_wave(&mut self, wave: &[ParticipantPlan], progress: Progress<'_>) {
        let interval = Duration::from_secs_f64(1.0 / self.options.join_rate.max(0.1));
        let (scenario, joiner, generators) = (self.scenario, &self.joiner, self.generators);
        let mut waiting = FuturesUnordered::new();
        let mut next = Instant::now();
        for plan in wave {
            sleep_until(next).await;
            next += interval;
            waiting.push(join_one(scenario, joiner, generators, plan));
            // Futures make progress only while they are waited for.
            while waiting.len() >= MAX_JOINING || next > Instant::now() {
                let answered = tokio::select! {
                    answered = waiting.next() => answered,
                    () = sleep_until(next), if waiting.len() < MAX_JOINING => None,
                };
                let Some(result) = answered else { break };
                note(&mut self.counts, &mut self.participants, result);
            }
            progress(&format!("{} joined, {} failed", self.counts.joined, self.counts.failed));
        }
        while let Some(result) = waiting.next().await {
            note(&mut self.counts, &mut self.participants, result);
        }
    }
}

fn note(counts: &mut JoinCounts, participants: &mut Vec<Participant>, result: Result<(Participant, Duration)>) {
    match result {
        Ok((participant, time)) => {
            counts.joined += 1;
            counts.times.record(time);
            participants.push(participant);
        }
        Err(error) => {
            counts.failed += 1;
            counts.first_error.get_or_insert_with(|| format!("{error:#}"));
        }
    }
}

async fn join_one(
    scenario: &Scenario,
    joiner: &Joiner,
    generators: &[Generator],
    plan: &ParticipantPlan,
) -> Result<(Participant, Duration)> {
    let begun = Instant::now();
    let joined = timeout(JOIN_PATIENCE, joiner.join(plan, &scenario.group[plan.group])).await;
    let (session, peer) = joined.context("the server did not answer the join in time")??;
    let time = begun.elapsed();
    let index = generators.iter().enumerate().min_by_key(|(_, generator)| generator.peers()).map_or(0, |g| g.0);
    let peer = (index, generators[index].add(peer));
    Ok((Participant { session, peer }, time))
}
