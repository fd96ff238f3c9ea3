//! Tests of what holds for every codec.

use super::*;
use crate::drop_reason::DropReason;
use crate::media::Codec;
use crate::rtp::extension::dependency_descriptor::{DependencyDescriptor, Dtis};
use proptest::collection::vec;
use proptest::prelude::*;

const CODECS: [Codec; 7] = [Codec::Opus, Codec::OpusRed, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::H265, Codec::Av1];

fn descriptor() -> DependencyDescriptor {
    DependencyDescriptor {
        start_of_frame: true,
        end_of_frame: false,
        frame_number: 77,
        structure_attached: false,
        spatial: 1,
        temporal: 2,
        dtis: Dtis::default(),
        frame_diffs: [1].into_iter().collect(),
        chain_diffs: Default::default(),
        active_decode_targets: None,
        switching_point: true,
        resolution: Some((640, 360)),
    }
}

#[test]
fn the_descriptor_is_believed_before_the_payload() {
    let payload = [0x90, 0xc0, 0x12, 3, 0x00];
    let facts = frame_facts(Codec::Vp8, &payload, true, Some(&descriptor())).unwrap();
    let expected = FrameFacts {
        start_of_frame: true,
        end_of_frame: false,
        keyframe: false,
        temporal: 2,
        spatial: 1,
        switching_point: true,
        discardable: true,
        picture_id: Some(0x12),
        tl0_pic_idx: Some(3),
        frame_number: Some(77),
        reference: Some(1),
        resolution: Some((640, 360)),
    };
    assert_eq!(facts, expected);
}

#[test]
fn encrypted_payloads_live_by_their_descriptor() {
    for codec in [Codec::Av1, Codec::H264, Codec::H265] {
        assert_eq!(frame_facts(codec, &[0xff; 20], false, None), Err(DropReason::PayloadMalformed), "{codec:?}");
        assert!(frame_facts(codec, &[0xff; 20], false, Some(&descriptor())).is_ok(), "{codec:?}");
    }
    assert!(frame_facts(Codec::Vp8, &[0x90, 0x80], false, Some(&descriptor())).is_err());
}

#[test]
fn redundant_audio_is_read_by_its_primary_block() {
    assert!(frame_facts(Codec::OpusRed, &[0x6f, 0x78, 1], false, None).unwrap().keyframe);
    assert_eq!(frame_facts(Codec::OpusRed, &[0x6f], false, None), Err(DropReason::PayloadMalformed));
}

#[test]
fn an_empty_payload_is_refused() {
    for codec in CODECS {
        assert_eq!(frame_facts(codec, &[], true, None), Err(DropReason::PayloadMalformed), "{codec:?}");
    }
}

proptest! {
    #[test]
    fn arbitrary_payloads_never_panic(payload in vec(any::<u8>(), 0..120), marker: bool) {
        for codec in CODECS {
            if let Ok(facts) = frame_facts(codec, &payload, marker, None) {
                prop_assert!(facts.temporal < 8 && facts.spatial < 8);
                prop_assert!(facts.picture_id.is_none_or(|id| id < 0x8000));
            }
        }
        let _ = (h264::resolution(&payload), h265::resolution(&payload), av1::resolution(&payload));
    }

    #[test]
    fn arbitrary_parameter_sets_never_panic(head in prop_oneof![Just(vec![0x67, 100, 0, 31]), Just(vec![0x42, 1]), Just(vec![0x18, 0x0a, 0x10])], rest in vec(any::<u8>(), 0..300)) {
        let payload = [head, rest].concat();
        for codec in CODECS {
            let _ = frame_facts(codec, &payload, false, None);
        }
    }
}
