//! Leaves out what the worker has no time for.

use super::Worker;
use crate::coalescing::CoalescingWindow;
use crate::event::Event;
use crate::overload::{Load, Stage};
use sfu_rtc::media::MediaKind;
use sfu_rtc::time::Instant;

impl Worker {
    /// What the worker's thread measured; to be called ten times a second.
    pub fn handle_load(&mut self, now: Instant, load: Load) {
        self.window.update(load, &self.config.coalescing);
        let age = std::mem::take(&mut self.queue_age);
        let before = self.shedder.level();
        self.shedder.update(load, age, &self.config.overload);
        let level = self.shedder.level();
        let stage = level.stage();
        // Reported when it gets worse and when it is over, not as it varies in between.
        if stage > self.announced_stage || (stage == Stage::Nothing && self.announced_stage != stage) {
            self.announced_stage = stage;
            self.events.push(Event::Shedding { stage });
        }
        if stage != Stage::Nothing || level != before {
            self.shed(now);
        }
    }

    /// How much is shed, from 0 (nothing) to 4 (all but audio).
    pub fn shedding(&self) -> f32 {
        self.shedder.level().0
    }

    /// How long packets wait for others now.
    pub fn coalescing(&self) -> &CoalescingWindow {
        &self.window
    }

    /// Packets wait of which the oldest arrived then.
    pub(super) fn record_age(&mut self, now: Instant, oldest: Instant) {
        self.queue_age = self.queue_age.max(now.saturating_since(oldest));
    }

    /// Sets what every video forwarder leaves out.
    fn shed(&mut self, now: Instant) {
        let level = self.shedder.level();
        let keys: Vec<_> = self.routers.iter().map(|(key, _)| key).collect();
        for key in keys {
            let (mut ctx, routers) = self.split(now);
            let Some(router) = routers.get_mut(key) else { continue };
            let speaking = router.speaking();
            for publication in router.publications.iter_mut().filter(|p| p.kind == MediaKind::Video) {
                let speaks = speaking.contains(&publication.sender);
                publication.shed(level, speaks, &mut ctx);
            }
        }
    }
}
