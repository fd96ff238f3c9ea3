//! Opus packets (RFC 6716 section 3.1, RFC 7587): every packet is a frame that stands alone.

use super::FrameFacts;

/// What a packet says of its frame.
pub(super) fn frame_facts(payload: &[u8]) -> Option<FrameFacts> {
    (!payload.is_empty()).then_some(FrameFacts {
        start_of_frame: true,
        end_of_frame: true,
        keyframe: true,
        switching_point: true,
        ..FrameFacts::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packet_stands_alone() {
        let facts = frame_facts(&[0x78, 1, 2]).unwrap();
        assert!(facts.keyframe && facts.start_of_frame && facts.end_of_frame && facts.switching_point);
        assert!(frame_facts(&[]).is_none());
    }
}
