//! Participants who leave while others join in their place.

use super::joins::{Load, Member};
use crate::scenario::ParticipantPlan;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Changes under way at once; a server that is slower is not asked for more, and the join times say so.
const MAX_CHANGING: usize = 64;

impl Load<'_> {
    /// Lets participants leave and join, `rate` per second, for as long as it is awaited.
    pub(super) async fn churn(&self, rate: f64) -> Infallible {
        if rate <= 0.0 {
            std::future::pending::<()>().await;
        }
        let interval = Duration::from_secs_f64(1.0 / rate);
        let mut random = fastrand::Rng::with_seed(1);
        let mut changing = FuturesUnordered::new();
        let mut next = Instant::now();
        let mut number = 0;
        loop {
            tokio::select! {
                // Changes that are under way go on.
                Some(()) = changing.next() => {}
                () = sleep_until(next), if changing.len() < MAX_CHANGING => {
                    next = (next + interval).max(Instant::now() - interval);
                    // The floor has the machine to itself.
                    if self.measuring.get() && !self.paused.get() {
                        number += 1;
                        changing.push(self.change(self.take_away(&mut random), number));
                    }
                }
            }
        }
    }

    /// Somebody who may go: unless others could not come last time, who have another try first. Over WHIP and in a
    /// room that is no mesh, others would have nothing to play without a publisher.
    fn take_away(&self, random: &mut fastrand::Rng) -> Change {
        /// Tries, so that a scenario of publishers only does not end in a search.
        const TRIES: usize = 16;
        let mut members = self.members.borrow_mut();
        if let Some(plan) = members.turned_away.pop() {
            return Change::Again(plan);
        }
        for _ in 0..TRIES.min(members.all.len()) {
            let index = random.usize(..members.all.len());
            let plan = &members.all[index].plan;
            let mesh = self.scenario.group[plan.group].mesh && !self.joiner.per_stream();
            if mesh || !plan.publishes {
                members.churned += 1;
                return Change::Replace(Box::new(members.all.swap_remove(index)));
            }
        }
        Change::None
    }

    async fn change(&self, change: Change, number: u64) {
        let plan = match change {
            Change::Replace(member) => {
                let name = format!("{}.{number}", member.plan.name.split('.').next().unwrap_or_default());
                let plan = ParticipantPlan { name, ..member.plan.clone() };
                self.leave(*member).await;
                plan
            }
            Change::Again(plan) => plan,
            Change::None => return,
        };
        if !self.join(&plan).await {
            self.members.borrow_mut().turned_away.push(plan);
        }
    }
}

/// One step of the churn.
enum Change {
    Replace(Box<Member>),
    Again(ParticipantPlan),
    None,
}
