//! Which worker takes a new room, and which a room's next participant.

use super::Control;
use super::room::Room;
use crate::worker_thread::WorkerHandle;

/// Loads, in thousandths of a core, that differ by less than this count as equal.
const LOAD_CLASS: u64 = 100;
/// A worker that is this busy takes no more of a room that it has ...
const CROWDED: u64 = 600;
/// ... where another is so much less busy. Each packet that is relayed costs both some time, so less is not worth it.
const MUCH_LESS: u64 = 300;

impl Control {
    /// The worker for a new room.
    pub(super) fn place_room(&self) -> WorkerHandle {
        self.least_loaded().clone()
    }

    /// The worker for a room's next participant: the first that has the room and has not enough of it, or else the
    /// one with the least to do.
    pub(super) fn place_participant(&self, room: &Room) -> WorkerHandle {
        if self.workers.len() == 1 {
            return self.workers[0].clone();
        }
        let least = self.least_loaded();
        let spread = room.spread();
        let fits = |(worker, participants): &(&WorkerHandle, usize)| {
            *participants < self.config.limits.spread_at && !self.is_crowded(worker, least)
        };
        spread.workers().find(fits).map_or(least, |(worker, _)| worker).clone()
    }

    fn is_crowded(&self, worker: &WorkerHandle, least: &WorkerHandle) -> bool {
        let (load, least) = (self.load(worker), self.load(least));
        load >= CROWDED && load >= least + MUCH_LESS
    }

    /// The worker with the least to do; of equals the one with the fewest participants, then rooms.
    fn least_loaded(&self) -> &WorkerHandle {
        let key = |worker: &&WorkerHandle| {
            let placed = worker.placed();
            (self.load(worker) / LOAD_CLASS, placed.participants.get(), placed.rooms.get(), worker.index())
        };
        self.workers.iter().min_by_key(key).expect("there is at least one worker")
    }

    /// How busy a worker is, in thousandths of a core; above that while it leaves something out.
    fn load(&self, worker: &WorkerHandle) -> u64 {
        let shedding = if worker.is_overloaded() { 1_000 } else { 0 };
        self.stats.load(worker.index()) + shedding
    }
}
