//! Bringing participants in, at a steady rate, publishers first.

use super::stop::Stop;
use super::{Progress, RunOptions};
use crate::generator::{Generator, PeerId};
use crate::join::{Joiner, Kept};
use crate::measure::histogram::Histogram;
use crate::scenario::{ParticipantPlan, Scenario};
use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::cell::{Cell, RefCell};
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
pub(super) struct Member {
    pub(super) plan: ParticipantPlan,
    session: Kept,
    /// Which generator, which of its peers.
    peer: (usize, PeerId),
}

/// Who is in, and how it came about.
#[derive(Default)]
pub(super) struct Members {
    pub(super) all: Vec<Member>,
    pub(super) counts: JoinCounts,
    /// Participants who left to be replaced.
    pub(super) churned: u64,
    /// Replacements who could not join and try again.
    pub(super) turned_away: Vec<ParticipantPlan>,
}

/// A load at work: everything that joining and leaving need.
pub(super) struct Load<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) options: &'a RunOptions,
    pub(super) joiner: Joiner,
    pub(super) generators: &'a [Generator],
    pub(super) members: RefCell<Members>,
    /// Nobody sends, joins or leaves.
    pub(super) paused: Cell<bool>,
    /// The joins are done, and the measured time is near.
    pub(super) measuring: Cell<bool>,
    /// Ends the run before its time.
    pub(super) stop: Stop,
}

impl Load<'_> {
    /// Joins everybody of `plans`, at the rate of the options.
    ///
    /// # Errors
    /// Where nobody is in. Single failures are counted.
    pub(super) async fn join_all(&self, plans: Vec<ParticipantPlan>, progress: Progress<'_>) -> Result<()> {
        self.join_waves(plans, progress).await;
        self.somebody_is_in()
    }

    /// # Errors
    /// Where nobody is in.
    pub(super) fn somebody_is_in(&self) -> Result<()> {
        let members = self.members.borrow();
        if members.all.is_empty() && !self.stop.is_stopped() {
            bail!("nobody could join: {}", members.counts.first_error.as_deref().unwrap_or("the scenario is empty"));
        }
        Ok(())
    }

    /// Joins those of `plans` who can, publishers first: over WHEP there is nothing to play before somebody publishes.
    pub(super) async fn join_waves(&self, plans: Vec<ParticipantPlan>, progress: Progress<'_>) {
        let (publishers, others): (Vec<_>, Vec<_>) = plans.into_iter().partition(|plan| plan.publishes);
        for wave in [publishers, others] {
            self.join_wave(&wave, progress).await;
        }
    }

    async fn join_wave(&self, wave: &[ParticipantPlan], progress: Progress<'_>) {
        let interval = Duration::from_secs_f64(1.0 / self.options.join_rate.max(0.1));
        let mut joining = FuturesUnordered::new();
        let mut plans = wave.iter();
        let mut next = Instant::now();
        if wave.is_empty() {
            return;
        }
        loop {
            tokio::select! {
                // Joins that are under way go on.
                Some(_) = joining.next() => {}
                () = self.stop.stopped() => return,
                () = sleep_until(next), if joining.len() < MAX_JOINING && plans.len() > 0 => {
                    next += interval;
                    joining.extend(plans.next().map(|plan| self.join(plan)));
                }
            }
            if plans.len() == 0 && joining.is_empty() {
                return;
            }
            let counts = &self.members.borrow().counts;
            progress(&format!("{} joined, {} failed", counts.joined, counts.failed));
        }
    }

    /// Joins one participant, and notes how it went; whether it is in.
    pub(super) async fn join(&self, plan: &ParticipantPlan) -> bool {
        let begun = Instant::now();
        let joined = timeout(JOIN_PATIENCE, self.joiner.join(plan, &self.scenario.group[plan.group])).await;
        let time = begun.elapsed();
        let joined = joined.context("the server did not answer the join in time").and_then(|joined| joined);
        let mut members = self.members.borrow_mut();
        let is_in = joined.is_ok();
        match joined {
            Ok((session, peer)) => {
                let busyness = |(_, generator): &(usize, &Generator)| generator.peers();
                let index = self.generators.iter().enumerate().min_by_key(busyness).map_or(0, |found| found.0);
                let peer = (index, self.generators[index].add(peer));
                members.counts.joined += 1;
                members.counts.times.record(time);
                members.all.push(Member { plan: plan.clone(), session, peer });
            }
            Err(error) => {
                members.counts.failed += 1;
                members.counts.first_error.get_or_insert_with(|| format!("{error:#}"));
            }
        }
        is_in
    }

    /// One participant leaves.
    pub(super) async fn leave(&self, member: Member) {
        self.generators[member.peer.0].remove(member.peer.1).await;
        member.session.leave().await;
    }

    /// Everybody leaves.
    pub(super) async fn leave_all(&self) {
        let all = std::mem::take(&mut self.members.borrow_mut().all);
        futures_util::future::join_all(all.into_iter().map(|member| self.leave(member))).await;
    }

    /// How many are connected.
    pub(super) fn connected(&self) -> u64 {
        self.generators.iter().map(Generator::connected).sum()
    }

    /// Publishers fall silent, or go on.
    pub(super) fn pause(&self, paused: bool) {
        self.paused.set(paused);
        self.generators.iter().for_each(|generator| generator.pause(paused));
    }
}
