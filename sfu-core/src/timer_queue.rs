//! One timer per transport, in one queue per worker.
//!
//! An indexed heap: each owner has at most one entry, which moves when its deadline does. Nothing stale piles up when
//! a pacer re-arms a timer a thousand times a second, and nothing is scanned that is not due.

use crate::slab::Key;
use sfu_rtc::time::Instant;

/// Children per node: four keep the heap shallow, and siblings in one or two cache lines.
const ARITY: usize = 4;

/// In `places`: has no entry.
const ABSENT: u32 = u32::MAX;

/// Deadlines of the entries of a slab.
#[derive(Default, Debug)]
pub(crate) struct TimerQueue {
    heap: Vec<(Instant, Key)>,
    /// By slab index: where in the heap the owner's entry is.
    places: Vec<u32>,
}

impl TimerQueue {
    /// Sets, moves or (by `None`) removes the deadline of `key`.
    pub(crate) fn set(&mut self, key: Key, deadline: Option<Instant>) {
        if self.places.len() <= key.index() {
            self.places.resize(key.index() + 1, ABSENT);
        }
        let place = self.places[key.index()];
        match (place, deadline) {
            (ABSENT, None) => {}
            (ABSENT, Some(at)) => {
                self.heap.push((at, key));
                self.sift_up(self.heap.len() - 1);
            }
            (place, None) => self.remove_at(place as usize),
            (place, Some(at)) => self.move_to(place as usize, at, key),
        }
    }

    /// Sets the deadline of `key`, unless an earlier one is set.
    pub(crate) fn bring_forward(&mut self, key: Key, deadline: Instant) {
        if deadline == Instant::NEVER {
            return;
        }
        let place = self.places.get(key.index()).copied().filter(|place| *place != ABSENT);
        if place.is_none_or(|place| deadline < self.heap[place as usize].0) {
            self.set(key, Some(deadline));
        }
    }

    /// Deadline of `key`.
    #[cfg(test)]
    pub(crate) fn deadline(&self, key: Key) -> Option<Instant> {
        let place = *self.places.get(key.index())?;
        self.heap.get(place as usize).filter(|entry| entry.1 == key).map(|entry| entry.0)
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.first().map(|&(at, _)| at)
    }

    /// Takes out one entry that is due.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Key> {
        let &(at, key) = self.heap.first()?;
        if at > now {
            return None;
        }
        self.remove_at(0);
        Some(key)
    }

    fn move_to(&mut self, place: usize, at: Instant, key: Key) {
        let before = self.heap[place];
        if before == (at, key) {
            return;
        }
        self.heap[place] = (at, key);
        if at < before.0 { self.sift_up(place) } else { self.sift_down(place) }
    }

    fn remove_at(&mut self, place: usize) {
        let (_, key) = self.heap.swap_remove(place);
        self.places[key.index()] = ABSENT;
        if place < self.heap.len() {
            self.places[self.heap[place].1.index()] = place as u32;
            self.sift_down(place);
            self.sift_up(place);
        }
    }

    fn sift_up(&mut self, mut place: usize) {
        let entry = self.heap[place];
        while place > 0 {
            let parent = (place - 1) / ARITY;
            if self.heap[parent].0 <= entry.0 {
                break;
            }
            self.put(place, self.heap[parent]);
            place = parent;
        }
        self.put(place, entry);
    }

    fn sift_down(&mut self, mut place: usize) {
        let entry = self.heap[place];
        loop {
            let first = place * ARITY + 1;
            let last = (first + ARITY).min(self.heap.len());
            let Some(child) = (first..last).min_by_key(|&child| self.heap[child].0) else { break };
            if entry.0 <= self.heap[child].0 {
                break;
            }
            self.put(place, self.heap[child]);
            place = child;
        }
        self.put(place, entry);
    }

    fn put(&mut self, place: usize, entry: (Instant, Key)) {
        self.heap[place] = entry;
        self.places[entry.1.index()] = place as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::Slab;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn deadlines_come_in_order_and_once(
            changes in prop::collection::vec((0_usize..20, prop::option::of(1_u64..1_000), any::<bool>()), 0..300),
        ) {
            let mut slab = Slab::default();
            let keys: Vec<_> = (0..20).map(|i| slab.insert(i)).collect();
            let mut queue = TimerQueue::default();
            let mut model = vec![None; keys.len()];
            for (owner, at, forward) in changes {
                let at = at.map(Instant::from_millis);
                if forward {
                    model[owner] = model[owner].into_iter().chain(at).min();
                    queue.bring_forward(keys[owner], at.unwrap_or(Instant::NEVER));
                } else {
                    model[owner] = at;
                    queue.set(keys[owner], at);
                }
                prop_assert_eq!(queue.deadline(keys[owner]), model[owner]);
                prop_assert_eq!(queue.next(), model.iter().flatten().min().copied());
            }
            let mut last = Instant::ZERO;
            let mut left = model.iter().flatten().count();
            while let Some(at) = queue.next() {
                prop_assert!(queue.pop_due(at - std::time::Duration::from_nanos(1)).is_none());
                prop_assert_eq!(queue.pop_due(at).and_then(|key| model[key.index()]), Some(at));
                prop_assert!(at >= last);
                last = at;
                left -= 1;
            }
            prop_assert_eq!(left, 0);
        }
    }

    #[test]
    fn a_new_owner_of_a_place_takes_over_its_timer() {
        let mut slab = Slab::default();
        let mut queue = TimerQueue::default();
        let old = slab.insert(());
        queue.set(old, Some(Instant::from_millis(5)));
        slab.remove(old);
        let new = slab.insert(());
        queue.set(new, Some(Instant::from_millis(9)));
        assert_eq!((queue.deadline(old), queue.deadline(new)), (None, Some(Instant::from_millis(9))));
        assert_eq!(queue.pop_due(Instant::from_millis(9)), Some(new));
        assert_eq!(queue.next(), None);
    }
}
