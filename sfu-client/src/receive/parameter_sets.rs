//! Parameter sets of an H.264 stream: without those that it names, a keyframe cannot be decoded.

use super::ReceivedFrame;
use bytes::Bytes;
use sfu_rtc::codec::{self, ParameterSetId, h264};
use sfu_rtc::media::Codec;
use std::collections::BTreeMap;

/// Highest ids that H.264 allows (sections 7.4.2.1.1 and 7.4.2.2): what a sender can fill is bounded by them.
const MAX_SEQUENCE_ID: u32 = 31;
const MAX_PICTURE_ID: u32 = 255;

/// The newest parameter sets of a stream, by id.
#[derive(Default, Debug)]
pub(super) struct ParameterSets {
    known: BTreeMap<ParameterSetId, Bytes>,
}

impl ParameterSets {
    /// Takes the sets of a frame; puts before a keyframe those that it lacks. Whether a decoder can begin at the frame.
    pub(super) fn complete(&mut self, frame: &mut ReceivedFrame) -> bool {
        let brought = self.learn(&frame.payloads);
        let Some(needed) = frame.payloads.iter().find_map(|payload| self.needed(payload)) else { return false };
        let lacking: Vec<_> = needed.into_iter().filter(|(id, _)| !brought.contains(id)).map(|(_, set)| set).collect();
        // What was lost right before it may be newer sets of the same ids.
        if !lacking.is_empty() && frame.lost_before > 0 {
            return false;
        }
        frame.payloads.splice(0..0, lacking);
        true
    }

    fn learn(&mut self, payloads: &[Bytes]) -> Vec<ParameterSetId> {
        let sets = payloads.iter().flat_map(|payload| {
            codec::parameter_sets(Codec::H264, payload).map(|(id, set)| (id, payload.slice_ref(set)))
        });
        let mut brought = Vec::new();
        for (id, set) in sets.filter(|(id, _)| is_allowed(*id)) {
            self.known.insert(id, set);
            brought.push(id);
        }
        brought
    }

    /// The sets that the IDR picture needs which begins in this payload, in the order of decoding; `None` where one is
    /// not known, or no such picture begins.
    fn needed(&self, payload: &[u8]) -> Option<[(ParameterSetId, Bytes); 2]> {
        let picture = h264::picture_set_of_idr(payload)?;
        let picture_set = self.known.get(&picture)?;
        let sequence = h264::sequence_set_of(picture_set)?;
        let sequence_set = self.known.get(&sequence)?;
        Some([(sequence, sequence_set.clone()), (picture, picture_set.clone())])
    }
}

fn is_allowed(id: ParameterSetId) -> bool {
    match id {
        ParameterSetId::Sequence(id) => id <= MAX_SEQUENCE_ID,
        ParameterSetId::Picture(id) => id <= MAX_PICTURE_ID,
        ParameterSetId::Video(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receive::{JitterBuffer, JitterConfig};
    use std::time::{Duration, Instant};

    const SPS: &[u8] = &[0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16];
    const PPS: &[u8] = &[0x68, 0xce, 0x3c, 0x80];
    /// First slices of IDR pictures that name the picture parameter sets 0 and 3.
    const IDR: &[u8] = &[0x65, 0x88, 0x80, 1];
    const IDR_OF_3: &[u8] = &[0x65, 0x88, 0x24, 1];
    const SLICE: &[u8] = &[0x41, 0x88, 0x80, 1];

    fn frame(payloads: &[&'static [u8]], lost_before: u64) -> ReceivedFrame {
        let payloads = payloads.iter().map(|payload| Bytes::from_static(payload)).collect();
        ReceivedFrame { timestamp: 1, first: 1, payload_type: 102, payloads, lost_before, completed: Instant::now() }
    }

    #[test]
    fn a_keyframe_needs_its_sets() {
        for part in [&[IDR][..], &[SPS, IDR], &[PPS, IDR], &[SPS, PPS, IDR_OF_3]] {
            assert!(!ParameterSets::default().complete(&mut frame(part, 0)), "{part:02x?}");
        }
        let mut whole = frame(&[SPS, PPS, IDR], 0);
        assert!(ParameterSets::default().complete(&mut whole));
        assert_eq!(whole.payloads, [SPS, PPS, IDR]);
        assert!(ParameterSets::default().complete(&mut frame(&[SPS, PPS, IDR], 9)));
    }

    #[test]
    fn sets_that_came_before_count_by_id_and_stand_before_the_slice() {
        let mut sets = ParameterSets::default();
        assert!(!sets.complete(&mut frame(&[SPS, PPS], 0)), "no picture");
        let mut bare = frame(&[IDR], 0);
        assert!(sets.complete(&mut bare));
        assert_eq!(bare.payloads, [SPS, PPS, IDR]);
        assert!(!sets.complete(&mut frame(&[IDR_OF_3], 0)));
        assert!(!sets.complete(&mut frame(&[SLICE], 0)));
    }

    #[test]
    fn old_sets_do_not_count_where_newer_ones_may_be_lost() {
        let mut sets = ParameterSets::default();
        assert!(sets.complete(&mut frame(&[SPS, PPS, IDR], 0)));
        assert!(!sets.complete(&mut frame(&[IDR], 1)));
        assert!(!sets.complete(&mut frame(&[PPS, IDR], 1)));
        assert!(sets.complete(&mut frame(&[IDR], 0)));
    }

    #[test]
    fn ids_beyond_what_is_allowed_are_not_kept() {
        let mut sets = ParameterSets::default();
        // Picture parameter set 256.
        sets.complete(&mut frame(&[&[0x68, 0x00, 0x80, 0xc0]], 0));
        assert!(sets.known.is_empty());
    }

    #[test]
    fn a_keyframe_whose_sets_were_lost_on_the_way_is_none() {
        let (mut buffer, now) = (JitterBuffer::new(JitterConfig::video()), Instant::now());
        let mut sets = ParameterSets::default();
        let packet = |number: u16, timestamp, marker, payload: &'static [u8]| {
            let header =
                rtp::Header { sequence_number: number, timestamp, marker, payload_type: 102, ..Default::default() };
            rtp::Packet { header, payload: Bytes::from_static(payload) }
        };
        buffer.push(now, packet(1, 1, false, SPS));
        buffer.push(now, packet(2, 1, false, PPS));
        buffer.push(now, packet(3, 1, true, IDR));
        assert!(sets.complete(&mut buffer.pop(now).unwrap()));
        buffer.push(now, packet(4, 2, false, SPS));
        buffer.push(now, packet(6, 2, true, IDR));
        let late = now + Duration::from_secs(1);
        let mut rest = buffer.pop(late).unwrap();
        assert_eq!(rest.payloads, [IDR]);
        assert!(!sets.complete(&mut rest));
    }
}
