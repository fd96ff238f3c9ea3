//! Which packets a selector lets through, and where it begins.

use super::*;
use crate::test_support::packet;
use proptest::prelude::*;
use sfu_rtc::media::Codec;
use sfu_rtc::packet::Packet;

fn target(layer: u8, spatial: u8, temporal: u8) -> LayerTarget {
    LayerTarget { layer, spatial, temporal, ..LayerTarget::ALL }
}

/// A packet of the frame at `time`.
fn frame(time: u32, key: bool, spatial: u8, temporal: u8) -> Packet {
    packet(0, time * 3_000, |data| {
        data.frame.keyframe = key;
        data.frame.spatial = spatial;
        data.frame.temporal = temporal;
        data.frame.switching_point = temporal == 0;
    })
}

fn goes(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Forward { .. })
}

#[test]
fn a_single_stream_begins_at_a_keyframe() {
    let mut selector = LayerSelector::Single(SingleSelector::new(LayerTarget::ALL));
    assert_eq!(selector.select(0, &frame(0, false, 0, 0)), Verdict::Drop(DropReason::AwaitingKeyframe));
    assert_eq!(selector.awaits_keyframe(), Some(0));
    assert_eq!(selector.select(0, &frame(1, true, 0, 0)), Verdict::Forward { switch: true, marker: true });
    assert_eq!(selector.select(0, &frame(2, false, 0, 0)), Verdict::Forward { switch: false, marker: true });
    selector.restart(0);
    assert!(!goes(selector.select(0, &frame(3, false, 0, 0))));
}

#[test]
fn audio_begins_at_once_with_a_marker() {
    let mut selector = LayerSelector::Single(SingleSelector::new(LayerTarget::ALL));
    let opus = packet(0, 0, |data| (data.codec, data.marker) = (Codec::Opus, false));
    assert_eq!(selector.select(0, &opus), Verdict::Forward { switch: true, marker: true });
    assert_eq!(selector.select(0, &opus), Verdict::Forward { switch: false, marker: false });
}

#[test]
fn temporal_layers_go_at_once_and_return_where_a_receiver_can_follow() {
    let mut selector = LayerSelector::Single(SingleSelector::new(target(0, 0, 0)));
    assert!(goes(selector.select(0, &frame(0, true, 0, 0))));
    assert!(!goes(selector.select(0, &frame(1, false, 0, 1))));
    selector.set_target(target(0, 0, 1));
    assert!(!goes(selector.select(0, &frame(2, false, 0, 1))), "it may refer to frames that were left out");
    let switching_point = packet(0, 9_000, |data| (data.frame.temporal, data.frame.switching_point) = (1, true));
    assert!(goes(selector.select(0, &switching_point)));
    selector.set_target(target(0, 0, 0));
    assert!(goes(selector.select(0, &switching_point)), "a frame goes as a whole");
    assert!(!goes(selector.select(0, &frame(4, false, 0, 1))));
}

#[test]
fn simulcast_keeps_the_old_layer_until_the_new_one_can_begin() {
    let mut selector = LayerSelector::Simulcast(SimulcastSelector::new(target(2, 0, 9)));
    assert!(goes(selector.select(0, &frame(0, true, 0, 0))), "better than nothing");
    assert_eq!((selector.current(), selector.awaits_keyframe()), (Some(0), Some(2)));
    assert!(!goes(selector.select(2, &frame(1, false, 0, 0))));
    assert!(goes(selector.select(0, &frame(1, false, 0, 0))));
    assert!(goes(selector.select(1, &frame(2, true, 0, 0))), "a step towards the target");
    assert_eq!(selector.select(2, &frame(3, true, 0, 0)), Verdict::Forward { switch: true, marker: true });
    assert!(!goes(selector.select(1, &frame(4, true, 0, 0))));
    assert_eq!(selector.awaits_keyframe(), None);
    selector.set_target(target(0, 0, 9));
    assert!(goes(selector.select(2, &frame(5, false, 0, 0))));
    assert!(!goes(selector.select(1, &frame(6, true, 0, 0))), "not on the way");
    assert!(goes(selector.select(0, &frame(7, true, 0, 0))));
    assert!(!selector.is_interested(2) && selector.is_interested(0));
}

#[test]
fn spatial_layers_within_a_stream() {
    let mut selector = LayerSelector::Svc(SvcSelector::new(target(0, 1, 9)));
    let of = |time: u32, key, spatial, last| {
        packet(0, time * 3_000, |data| {
            (data.codec, data.marker) = (Codec::Vp9, last);
            (data.frame.keyframe, data.frame.spatial) = (key, spatial);
        })
    };
    assert!(!goes(selector.select(0, &of(0, false, 0, false))));
    assert_eq!(selector.select(0, &of(1, true, 0, false)), Verdict::Forward { switch: true, marker: false });
    assert_eq!(selector.select(0, &of(1, false, 1, false)), Verdict::Forward { switch: false, marker: true });
    assert!(!goes(selector.select(0, &of(1, false, 2, true))));
    selector.set_target(target(0, 2, 9));
    assert_eq!(selector.awaits_keyframe(), Some(0));
    assert!(!goes(selector.select(0, &of(2, false, 2, true))));
    assert!(goes(selector.select(0, &of(3, true, 0, false))) && goes(selector.select(0, &of(3, false, 2, true))));
    assert_eq!(selector.awaits_keyframe(), None);
    selector.set_target(target(0, 0, 9));
    assert!(goes(selector.select(0, &of(3, false, 1, false))), "a superframe goes as a whole");
    assert_eq!(selector.select(0, &of(4, false, 0, false)), Verdict::Forward { switch: false, marker: true });
    assert!(!goes(selector.select(0, &of(4, false, 1, true))));
}

#[test]
fn quality_names_the_lowest_middle_and_highest_layer() {
    let of = |layers| [Quality::Low, Quality::Medium, Quality::High].map(|quality| highest_layer(quality, layers));
    assert_eq!((of(1), of(2), of(3), of(4)), ([0, 0, 0], [0, 1, 1], [0, 1, 2], [0, 2, 3]));
}

proptest! {
    /// However streams, targets and losses come: what is forwarded of a layer begins with its keyframe, and a temporal
    /// layer's frames come only after a frame that allows it.
    #[test]
    fn never_from_the_middle_of_a_group_of_pictures(
        steps in prop::collection::vec((0_u8..3, any::<bool>(), 0_u8..3, prop::option::of((0_u8..3, 0_u8..3)), any::<bool>()), 1..400),
    ) {
        let mut selector = LayerSelector::Simulcast(SimulcastSelector::new(target(2, 0, 2)));
        let mut begun = None;
        for (time, (layer, key, temporal, change, lost)) in steps.into_iter().enumerate() {
            if let Some((layer, temporal)) = change {
                selector.set_target(target(layer, 0, temporal));
            }
            if lost {
                continue;
            }
            let temporal = if key { 0 } else { temporal };
            match selector.select(layer, &frame(time as u32, key, 0, temporal)) {
                Verdict::Forward { switch: true, .. } => {
                    prop_assert!(key);
                    begun = Some(layer);
                }
                Verdict::Forward { .. } => prop_assert_eq!(begun, Some(layer)),
                Verdict::Drop(_) => {}
            }
            prop_assert_eq!(selector.current(), begun);
        }
    }
}
