//! Opus packets (RFC 6716 section 3.1, RFC 7587): every packet is a frame that stands alone.
//!
//! ```text
//! |  config |s| c |   mode, bandwidth and frame size; stereo; frames in the packet: 1, 2, 2 or as told
//! ```

use super::FrameFacts;
use crate::time::Duration;

/// Longest packet of discontinuous transmission: a TOC byte, at most one more (RFC 7587 section 3.1.3).
const MAX_DTX_LEN: usize = 2;
/// Most that one packet may hold (RFC 6716 section 3.4, R5).
const MAX_DURATION: Duration = Duration::from_millis(120);

/// Whether the packet is one of discontinuous transmission: silence that the decoder fills with comfort noise.
pub fn is_dtx(payload: &[u8]) -> bool {
    payload.len() <= MAX_DTX_LEN
}

/// Duration of a packet's audio. `None` for none, for more than 120 ms and for an empty packet.
pub fn duration(payload: &[u8]) -> Option<Duration> {
    let toc = *payload.first()?;
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(*payload.get(1)? & 0x3f),
    };
    let duration = frame_duration(toc >> 3) * frames;
    (!duration.is_zero() && duration <= MAX_DURATION).then_some(duration)
}

fn frame_duration(config: u8) -> Duration {
    const SILK: [u64; 4] = [10_000, 20_000, 40_000, 60_000];
    const HYBRID: [u64; 2] = [10_000, 20_000];
    const CELT: [u64; 4] = [2_500, 5_000, 10_000, 20_000];
    let size = usize::from(config);
    Duration::from_micros(match config {
        0..=11 => SILK[size % 4],
        12..=15 => HYBRID[size % 2],
        _ => CELT[size % 4],
    })
}

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
    fn the_duration_of_a_packet_is_read() {
        let millis = |payload: &[u8]| duration(payload).map(|d| d.as_micros());
        assert_eq!(millis(&[0x78, 0, 0]), Some(20_000), "hybrid, as browsers send it");
        assert_eq!(millis(&[0xe0, 0]), Some(2_500), "CELT");
        assert_eq!(millis(&[0x18, 0]), Some(60_000), "SILK");
        assert_eq!(millis(&[0x79, 0]), Some(40_000), "two frames");
        assert_eq!(millis(&[0x7b, 0x03]), Some(60_000), "three frames, counted");
        assert_eq!(millis(&[0x1b, 0x03]), None, "180 ms are too long");
        assert_eq!(millis(&[0x7b, 0x00]), None);
        assert_eq!(millis(&[0x7b]), None);
        assert_eq!(millis(&[]), None);
    }

    #[test]
    fn silence_is_short() {
        assert!(is_dtx(&[0x78]) && is_dtx(&[0x78, 0xff]) && !is_dtx(&[0x78, 1, 2]));
    }

    #[test]
    fn every_packet_stands_alone() {
        let facts = frame_facts(&[0x78, 1, 2]).unwrap();
        assert!(facts.keyframe && facts.start_of_frame && facts.end_of_frame && facts.switching_point);
        assert!(frame_facts(&[]).is_none());
    }
}
