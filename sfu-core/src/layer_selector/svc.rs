//! Some of the spatial and temporal layers of one stream.

use super::temporal::TemporalFilter;
use super::{LayerTarget, Verdict};
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::packet::PacketData;

/// Selects from a stream whose frames of one instant (a superframe, or temporal unit) build on one another: upper
/// spatial layers may be left out at any frame, and come back at a keyframe.
#[derive(Debug)]
pub(crate) struct SvcSelector {
    running: bool,
    spatial: u8,
    target: u8,
    /// Highest spatial layer that the stream was seen to have.
    highest: u8,
    /// Timestamp of the newest superframe, which is decided on as a whole.
    superframe: Option<u32>,
    temporal: TemporalFilter,
}

impl SvcSelector {
    pub(crate) fn new(target: LayerTarget) -> Self {
        Self {
            running: false,
            spatial: target.spatial,
            target: target.spatial,
            highest: 0,
            superframe: None,
            temporal: TemporalFilter::new(target.temporal),
        }
    }

    pub(super) fn select(&mut self, packet: &PacketData) -> Verdict {
        let facts = &packet.frame;
        self.highest = self.highest.max(facts.spatial);
        let begins = facts.keyframe && facts.start_of_frame && facts.spatial == 0;
        let switch = begins && !self.running;
        if switch {
            self.running = true;
            self.temporal.restart();
        }
        if !self.running {
            return Verdict::Drop(DropReason::AwaitingKeyframe);
        }
        let newer = self.superframe.is_none_or(|last| packet.timestamp.wrapping_sub(last) as i32 > 0);
        if newer || switch {
            self.superframe = Some(packet.timestamp);
            if self.target < self.spatial || begins {
                self.spatial = self.target;
            }
        }
        if !self.temporal.admits(packet) || facts.spatial > self.spatial {
            return Verdict::Drop(DropReason::LayerNotSelected);
        }
        // The marker closes the superframe, whose last layer may now be a lower one.
        let last_layer = facts.end_of_frame && facts.spatial == self.spatial;
        Verdict::Forward { switch, marker: packet.marker || last_layer }
    }

    pub(super) fn set_target(&mut self, target: LayerTarget) {
        self.target = target.spatial;
        self.temporal.set_target(target.temporal);
    }

    pub(super) fn restart(&mut self) {
        self.running = false;
    }

    pub(super) fn is_running(&self) -> bool {
        self.running
    }

    pub(super) fn awaits_keyframe(&self) -> bool {
        !self.running || (self.target > self.spatial && self.spatial < self.highest)
    }
}
