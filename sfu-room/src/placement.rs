//! Which worker takes a new room, and which a room's next participant.

/// Loads, in thousandths of a core, that differ by less than this count as equal.
const LOAD_CLASS: u64 = 100;
/// A worker that is this busy takes no more of a room that it has ...
const CROWDED: u64 = 600;
/// ... where another is so much less busy. Each packet that is relayed costs both some time, so less is not worth it.
const MUCH_LESS: u64 = 300;

/// What a worker has to do.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Load {
    /// How busy its thread is, in thousandths of a core; above that while it leaves something out.
    pub busy: u64,
    /// Participants on it, of all rooms.
    pub participants: usize,
    /// Rooms on it.
    pub rooms: usize,
}

/// Number of the worker for a new room: the one with the least to do; of equals the one with the fewest participants,
/// then rooms. `workers` is not empty.
pub fn of_room(workers: &[Load]) -> usize {
    let key = |worker: &usize| {
        let load = workers[*worker];
        (load.busy / LOAD_CLASS, load.participants, load.rooms, *worker)
    };
    (0..workers.len()).min_by_key(key).unwrap_or(0)
}

/// Number of the worker for the next participant of a room that is on the workers `has`, each with the number of the
/// room's participants there: the first that has not enough of it (`spread_at`), or else the one with the least to do.
pub fn of_participant(mut has: impl Iterator<Item = (usize, usize)>, workers: &[Load], spread_at: usize) -> usize {
    let least = of_room(workers);
    let is_crowded = |worker: usize| {
        let (busy, least) = (workers[worker].busy, workers[least].busy);
        busy >= CROWDED && busy >= least + MUCH_LESS
    };
    let fits = has.find(|(worker, participants)| *participants < spread_at && !is_crowded(*worker));
    fits.map_or(least, |(worker, _)| worker)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(busy: u64) -> Load {
        Load { busy, participants: 1, rooms: 1 }
    }

    #[test]
    fn a_new_room_goes_where_there_is_least_to_do() {
        assert_eq!(of_room(&[busy(250), busy(120), busy(199)]), 1, "loads of one class are equal");
        let fewer = Load { participants: 0, ..busy(199) };
        assert_eq!(of_room(&[busy(250), busy(120), fewer]), 2, "fewer participants");
        assert_eq!(of_room(&[busy(250), Load { rooms: 2, ..busy(120) }, busy(199)]), 2, "fewer rooms");
    }

    #[test]
    fn a_participant_goes_to_its_room_until_that_has_enough_or_the_worker_has() {
        let place = |has: &[(usize, usize)], workers: &[Load]| of_participant(has.iter().copied(), workers, 2);
        let idle = [busy(0); 3];
        assert_eq!(place(&[(1, 1)], &idle), 1);
        assert_eq!(place(&[(1, 2), (2, 1)], &idle), 2);
        assert_eq!(place(&[(1, 2), (2, 2)], &idle), 0);
        assert_eq!(place(&[(1, 1)], &[busy(400), busy(699), busy(900)]), 1, "the others are hardly less busy");
        assert_eq!(place(&[(1, 1)], &[busy(300), busy(600), busy(900)]), 0);
        assert_eq!(place(&[(1, 1)], &[busy(0), busy(599), busy(900)]), 1, "it is not crowded");
    }
}
