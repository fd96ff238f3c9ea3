//! One stream, all of it or its lower temporal layers.

use super::temporal::TemporalFilter;
use super::{LayerTarget, Verdict};
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::media::MediaKind;
use sfu_rtc::packet::PacketData;

/// Selects from a stream without spatial layers.
#[derive(Debug)]
pub(crate) struct SingleSelector {
    running: bool,
    temporal: TemporalFilter,
}

impl SingleSelector {
    pub(crate) fn new(target: LayerTarget) -> Self {
        Self { running: false, temporal: TemporalFilter::new(target.temporal) }
    }

    pub(super) fn select(&mut self, packet: &PacketData) -> Verdict {
        if packet.codec.kind() == MediaKind::Audio {
            // Every audio packet can be decoded by itself. The marker of a first packet shows the receiver that
            // its jitter buffer may begin anew (RFC 3551 section 4.1).
            let switch = !std::mem::replace(&mut self.running, true);
            return Verdict::Forward { switch, marker: packet.marker || switch };
        }
        let switch = !self.running;
        if switch {
            if !(packet.frame.keyframe && packet.frame.start_of_frame) {
                return Verdict::Drop(DropReason::AwaitingKeyframe);
            }
            self.running = true;
            self.temporal.restart();
        }
        if !self.temporal.admits(packet) {
            return Verdict::Drop(DropReason::LayerNotSelected);
        }
        Verdict::Forward { switch, marker: packet.marker }
    }

    pub(super) fn set_target(&mut self, target: LayerTarget) {
        self.temporal.set_target(target.temporal);
    }

    pub(super) fn restart(&mut self) {
        self.running = false;
    }

    pub(super) fn is_running(&self) -> bool {
        self.running
    }
}
