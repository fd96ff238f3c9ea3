//! How busy workers are, for the placement of rooms and participants.

use super::Control;
use super::room::Room;
use crate::worker_thread::WorkerHandle;
use sfu_room::placement::{self, Load};

impl Control {
    /// The worker for a new room.
    pub(super) fn place_room(&self) -> &WorkerHandle {
        &self.workers[placement::of_room(&self.loads())]
    }

    /// The worker for a room's next participant.
    pub(super) fn place_participant(&self, room: &Room) -> &WorkerHandle {
        let loads = self.loads();
        let state = room.lock();
        &self.workers[placement::of_participant(state.roster.workers(), &loads, self.config.limits.spread_at)]
    }

    fn loads(&self) -> Vec<Load> {
        let load = |worker: &WorkerHandle| {
            let shedding = if worker.is_overloaded() { 1_000 } else { 0 };
            let placed = worker.placed();
            Load {
                busy: self.stats.load(worker.index()) + shedding,
                participants: placed.participants.get(),
                rooms: placed.rooms.get(),
            }
        };
        self.workers.iter().map(load).collect()
    }
}
