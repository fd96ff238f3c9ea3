//! A stream of arbitrary dependency descriptors, each behind its length: templates that one brings hold for the next.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sfu_rtc::rtp::extension::dependency_descriptor::{DependencyStructure, MAX_DECODE_TARGETS, set_frame_number};

fuzz_target!(|data: &[u8]| {
    let mut structure = DependencyStructure::default();
    let mut rest = data;
    while let Some((&len, after)) = rest.split_first() {
        let (value, after) = after.split_at(usize::from(len).min(after.len()));
        rest = after;
        let Ok(descriptor) = structure.parse(value) else { continue };
        let _ = (descriptor.is_keyframe(), descriptor.is_discardable());
        assert!(descriptor.spatial < 4 && descriptor.temporal < 8);
        assert!((1..=MAX_DECODE_TARGETS).contains(&structure.decode_targets().len()));

        let mut renumbered = value.to_vec();
        set_frame_number(&mut renumbered, !descriptor.frame_number);
        let mut copy = structure.clone();
        let again = copy.parse(&renumbered).expect("a frame number changes nothing else");
        assert_eq!((again.frame_number, again.frame_diffs), (!descriptor.frame_number, descriptor.frame_diffs));
    }
});
