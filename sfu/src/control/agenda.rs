//! When which room is due: to be told what has changed in it, or to have its encoders planned.

use crate::lock::lock;
use sfu_core::ids::RoomId;
use sfu_rtc::time::Instant;
use std::collections::BTreeSet;
use std::sync::Mutex;
use tokio::sync::Notify;

/// Rooms in order of their time.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    entries: Mutex<BTreeSet<(Instant, RoomId)>>,
    /// The first entry is another one.
    changed: Notify,
}

impl Agenda {
    /// `room` is due then. Each room stands here once at most: it knows whether it does.
    pub(super) fn put(&self, due: Instant, room: RoomId) {
        let mut entries = lock(&self.entries);
        entries.insert((due, room));
        if entries.first() == Some(&(due, room)) {
            self.changed.notify_one();
        }
    }

    /// Waits for the next room that is due; `now` reads the clock.
    pub(super) async fn next(&self, now: impl Fn() -> Instant) -> RoomId {
        loop {
            let first = lock(&self.entries).first().copied();
            match first {
                Some((due, room)) if due <= now() => {
                    lock(&self.entries).remove(&(due, room));
                    return room;
                }
                Some((due, _)) => tokio::select! {
                    () = tokio::time::sleep(due - now()) => {}
                    () = self.changed.notified() => {}
                },
                None => self.changed.notified().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn rooms_come_in_order_of_their_time() {
        let agenda = Agenda::default();
        let at = Instant::from_millis;
        for (due, room) in [(30, 3), (10, 1), (20, 2)] {
            agenda.put(at(due), RoomId(room));
        }
        for room in 1..=3 {
            assert_eq!(agenda.next(|| at(30)).await, RoomId(room));
        }
    }

    #[tokio::test]
    async fn one_that_is_due_earlier_is_not_waited_past() {
        let agenda = std::sync::Arc::new(Agenda::default());
        agenda.put(Instant::from_millis(3_600_000), RoomId(1));
        let waits = tokio::spawn({
            let agenda = std::sync::Arc::clone(&agenda);
            async move { agenda.next(|| Instant::from_millis(10)).await }
        });
        tokio::task::yield_now().await;
        agenda.put(Instant::from_millis(5), RoomId(2));
        assert_eq!(waits.await.unwrap(), RoomId(2));
    }
}
