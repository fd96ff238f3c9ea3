//! Which temporal layers go through.

use sfu_rtc::packet::PacketData;

/// Lets temporal layers up to a target through, and changes only between frames: down at any frame, up where the
/// stream says that a receiver may begin with the layer.
#[derive(Debug)]
pub(super) struct TemporalFilter {
    target: u8,
    current: u8,
    /// Timestamp of the newest frame: a frame is decided on as a whole.
    frame: Option<u32>,
}

impl TemporalFilter {
    pub(super) fn new(target: u8) -> Self {
        Self { target, current: target, frame: None }
    }

    pub(super) fn set_target(&mut self, target: u8) {
        self.target = target;
    }

    /// Everything up to the target is allowed from the keyframe that comes now.
    pub(super) fn restart(&mut self) {
        self.current = self.target;
        self.frame = None;
    }

    pub(super) fn admits(&mut self, packet: &PacketData) -> bool {
        let newer = self.frame.is_none_or(|frame| packet.timestamp.wrapping_sub(frame) as i32 > 0);
        if newer {
            self.frame = Some(packet.timestamp);
            self.at_new_frame(packet);
        }
        packet.frame.temporal <= self.current
    }

    fn at_new_frame(&mut self, packet: &PacketData) {
        let facts = &packet.frame;
        if self.target < self.current || facts.keyframe {
            self.current = self.target;
        } else if facts.switching_point && facts.temporal > self.current && facts.temporal <= self.target {
            self.current = facts.temporal;
        }
    }
}
