//! What a seed draws of the server: whether a conference is on one worker or spread over two, and how busy they are.

use crate::rng::Rng;
use crate::scenario::{Action, Scenario};
use sfu_room::placement::Load;
use sfu_rtc::time::Duration;

/// Keeps the generator of placements apart from that of everything else, so that what a seed draws does not depend on
/// whether its conference is spread.
const STREAM: u64 = 0x70_6c_61_63_65;
/// The same for how busy workers are.
const LOADS: u64 = 0x6c6f_6164;
/// Longest time that messages take from one worker to another: a thread that is busy looks once per round.
pub const LONGEST_RELAY_DELAY: Duration = Duration::from_millis(2);

/// Which worker has time for the members of a conference, as drawn.
#[derive(Clone, Debug)]
pub struct Placement {
    /// Number of the worker that has nothing to do when the member comes.
    workers: Vec<usize>,
    /// Whether messages between workers take time.
    slow: bool,
    rng: Rng,
    loads: Rng,
}

impl Placement {
    /// Draws where so many members go. Every third conference is spread, with somebody on each worker.
    pub fn draw(seed: u64, members: usize) -> Self {
        let mut rng = Rng::new(seed ^ STREAM);
        let spread = members > 1 && rng.chance(1.0 / 3.0);
        let mut workers: Vec<usize> = (0..members).map(|_| usize::from(spread && rng.chance(0.5))).collect();
        if spread && workers.iter().all(|worker| *worker == workers[0]) {
            let moved = rng.between(0, members as u64 - 1) as usize;
            workers[moved] = 1 - workers[moved];
        }
        let slow = rng.chance(0.5);
        Self { workers, slow, rng, loads: Rng::new(seed ^ LOADS) }
    }

    /// What else happens where a conference is spread: whoever mutes something unmutes it a little later. By chance alone
    /// that is rare, and what resumes on the other worker would hardly ever be seen.
    pub fn complete(&mut self, scenario: &mut Scenario) {
        if self.count() == 1 {
            return;
        }
        let mutes = scenario.actions.iter().filter(|(.., action)| *action == Action::ToggleMute);
        let mut later = || Duration::from_millis(self.rng.between(200, 2_000));
        let unmutes: Vec<_> = mutes.map(|(at, member, _)| (*at + later(), *member, Action::Unmute)).collect();
        scenario.actions.extend(unmutes);
        scenario.actions.sort_by_key(|(at, ..)| *at);
    }

    /// How many workers there are.
    pub fn count(&self) -> usize {
        self.workers.iter().max().map_or(1, |last| last + 1)
    }

    /// How busy workers are when a member comes: the drawn one has nothing to do, the other is crowded.
    pub fn loads(&self, member: usize) -> Vec<Load> {
        let busy = |worker| if worker == self.workers[member] { 0 } else { 1_000 };
        (0..self.count()).map(|worker| Load { busy: busy(worker), ..Load::default() }).collect()
    }

    /// How long what is handed over now is on its way to another worker.
    pub fn relay_delay(&mut self) -> Duration {
        let longest = if self.slow { LONGEST_RELAY_DELAY } else { Duration::ZERO };
        Duration::from_micros(self.rng.between(0, longest.as_micros() as u64))
    }

    /// Which of the workers that orders wait for looks at its queue now; none where none waits.
    pub fn next_to_look(&mut self, waiting: &[usize]) -> Option<usize> {
        self.rng.pick(waiting).copied()
    }

    /// Whether workers look at what they have for each other before their next orders.
    pub fn exchanges_first(&mut self) -> bool {
        self.rng.chance(0.5)
    }

    /// What a further worker's numbers are drawn with.
    pub fn worker_seed(&mut self) -> u64 {
        self.rng.bits()
    }

    /// Share of its time for which a worker is busy now: from nothing to as much as leaves nothing out.
    pub fn busy(&mut self) -> f32 {
        self.loads.between(0, 80) as f32 / 100.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_every_third_conference_is_spread_and_then_nobody_is_alone_on_all_of_it() {
        let drawn: Vec<_> = (0..3_000).map(|seed| Placement::draw(seed, 3)).collect();
        let spread = drawn.iter().filter(|placement| placement.count() == 2).count();
        assert!((900..1_100).contains(&spread), "{spread}");
        for placement in drawn {
            let goes = |member| sfu_room::placement::of_room(&placement.loads(member));
            let there = (0..3).filter(|member| goes(*member) == 1).count();
            assert_eq!(placement.count() == 2, (1..3).contains(&there), "{placement:?}");
        }
    }

    #[test]
    fn messages_take_no_time_or_up_to_two_milliseconds() {
        let longest = |seed| {
            let mut placement = Placement::draw(seed, 3);
            (0..1_000).map(|_| placement.relay_delay()).max().unwrap_or_default()
        };
        let longest: Vec<Duration> = (0..50).map(longest).collect();
        let prompt = longest.iter().filter(|longest| **longest == Duration::ZERO).count();
        assert!((10..40).contains(&prompt), "{prompt}");
        let slow = longest.iter().filter(|longest| **longest > Duration::ZERO);
        assert!(slow.clone().all(|longest| (1_900..=2_000).contains(&longest.as_micros())), "{longest:?}");
    }
}
