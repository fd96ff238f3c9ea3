//! Tests of the dependency descriptor, with a writer of its own.

use super::*;
use crate::codec::bits::BitWriter;
use proptest::collection::vec;
use proptest::prelude::*;

/// Step to the next layer (0 to 2), DTIs, frame differences, chain differences.
type WrittenTemplate = (u32, Vec<u8>, Vec<u16>, Vec<u8>);

/// A structure as it is written.
#[derive(Clone, Debug)]
struct Written {
    id_offset: u8,
    targets: usize,
    templates: Vec<WrittenTemplate>,
    protected_by: Vec<u8>,
    chains: usize,
    resolutions: Option<Vec<(u16, u16)>>,
}

impl Written {
    fn layers(&self) -> Vec<(u8, u8)> {
        let (mut spatial, mut temporal) = (0, 0);
        let mut layers = Vec::new();
        for (step, ..) in &self.templates {
            layers.push((spatial, temporal));
            (spatial, temporal) = match step {
                1 => (spatial, temporal + 1),
                2 => (spatial + 1, 0),
                _ => (spatial, temporal),
            };
        }
        layers
    }

    fn write(&self, bits: &mut BitWriter) {
        bits.bits(self.id_offset.into(), 6).bits(self.targets as u32 - 1, 5);
        let (_, before) = self.templates.split_last().unwrap();
        for (step, ..) in before {
            bits.bits(*step, 2);
        }
        bits.bits(3, 2);
        for (_, dtis, ..) in &self.templates {
            for dti in dtis {
                bits.bits((*dti).into(), 2);
            }
        }
        for (_, _, frame_diffs, _) in &self.templates {
            for diff in frame_diffs {
                bits.flag(true).bits(u32::from(*diff) - 1, 4);
            }
            bits.flag(false);
        }
        bits.below(self.chains as u32, self.targets as u32 + 1);
        if self.chains > 0 {
            for chain in &self.protected_by {
                bits.below((*chain).into(), self.chains as u32);
            }
            for (.., chain_diffs) in &self.templates {
                for diff in chain_diffs {
                    bits.bits((*diff).into(), 4);
                }
            }
        }
        bits.flag(self.resolutions.is_some());
        for (width, height) in self.resolutions.iter().flatten() {
            bits.bits(u32::from(*width) - 1, 16).bits(u32::from(*height) - 1, 16);
        }
    }
}

fn mandatory(template: u8, frame_number: u16) -> BitWriter {
    let mut bits = BitWriter::default();
    bits.flag(true).flag(false).bits(template.into(), 6).bits(frame_number.into(), 16);
    bits
}

fn attached(structure: &Written, template: u8, frame_number: u16) -> Vec<u8> {
    let mut bits = mandatory(template, frame_number);
    bits.bits(0b10000, 5);
    structure.write(&mut bits);
    bits.finish()
}

/// Two spatial and two temporal layers, with a chain for each spatial layer.
fn l2t2() -> Written {
    let (n, d, s, r) = (0, 1, 2, 3);
    Written {
        id_offset: 60,
        targets: 4, // S0T0, S0T1, S1T0, S1T1
        templates: vec![
            (0, vec![s, s, s, s], vec![], vec![0, 0]),
            (1, vec![s, s, r, r], vec![4], vec![4, 3]),
            (2, vec![n, d, n, r], vec![2], vec![2, 1]),
            (0, vec![n, n, s, s], vec![1], vec![1, 1]),
            (1, vec![n, n, r, r], vec![4, 1], vec![1, 1]),
            (0, vec![n, n, n, d], vec![2, 1], vec![3, 2]),
        ],
        protected_by: vec![0, 0, 1, 1],
        chains: 2,
        resolutions: Some(vec![(320, 180), (640, 360)]),
    }
}

#[test]
fn reads_templates_and_what_refers_to_them() {
    let mut structure = DependencyStructure::default();
    let key = structure.parse(&attached(&l2t2(), 60, 100)).unwrap();
    assert!(key.structure_attached && key.is_keyframe() && key.start_of_frame && !key.end_of_frame);
    assert_eq!((key.spatial, key.temporal, key.frame_number), (0, 0, 100));
    assert_eq!(key.active_decode_targets, Some(0b1111));
    assert_eq!(key.resolution, Some((320, 180)));
    assert!(key.switching_point && !key.is_discardable());
    let layers: Vec<_> = structure.decode_targets().iter().map(|t| (t.spatial, t.temporal, t.chain)).collect();
    assert_eq!(layers, [(0, 0, Some(0)), (0, 1, Some(0)), (1, 0, Some(1)), (1, 1, Some(1))]);

    // Template ids wrap: 60 + 5 is written as 1.
    let top = structure.parse(&mandatory(1, 105).finish()).unwrap();
    assert_eq!((top.spatial, top.temporal, top.frame_number), (1, 1, 105));
    assert!(top.is_discardable() && !top.is_keyframe() && top.switching_point);
    assert_eq!((&top.frame_diffs[..], &top.chain_diffs[..]), (&[2, 1][..], &[3, 2][..]));
    assert_eq!(top.resolution, Some((640, 360)));
    assert_eq!(top.active_decode_targets, None);

    let base_delta = structure.parse(&mandatory(61, 104).finish()).unwrap();
    assert!(base_delta.switching_point && !base_delta.is_keyframe());
    let upper_delta = structure.parse(&mandatory(0, 105).finish()).unwrap();
    assert!(!upper_delta.switching_point, "the upper layer is entered at keyframes only");
    let upper_key = structure.parse(&mandatory(63, 101).finish()).unwrap();
    assert!(upper_key.switching_point && !upper_key.is_keyframe(), "the upper layer of a keyframe needs the base");
}

#[test]
fn a_receiver_may_enter_a_layer_of_leaves_anywhere() {
    // One spatial, three temporal layers as encoders have them: nothing of a layer depends on its own layer.
    let (n, d, s, r) = (0, 1, 2, 3);
    let mut l1t3 = Written {
        id_offset: 0,
        targets: 3,
        templates: vec![
            (0, vec![s, s, s], vec![], vec![]),
            (1, vec![s, s, s], vec![4], vec![]),
            (1, vec![n, d, s], vec![2], vec![]),
            (0, vec![n, n, d], vec![1], vec![]),
        ],
        protected_by: vec![],
        chains: 0,
        resolutions: None,
    };
    let enterable = |written: &Written| {
        let mut structure = DependencyStructure::default();
        structure.parse(&attached(written, 0, 100)).unwrap();
        [1, 2, 3].map(|template| structure.parse(&mandatory(template, 101).finish()).unwrap().switching_point)
    };
    assert_eq!(enterable(&l1t3), [true, true, true]);
    l1t3.templates.push((0, vec![n, n, r], vec![1], vec![]));
    assert_eq!(enterable(&l1t3), [true, true, false], "a leaf of the top layer may now stand on another frame of it");
}

#[test]
fn a_frame_may_have_values_of_its_own() {
    let mut structure = DependencyStructure::default();
    structure.parse(&attached(&l2t2(), 60, 100)).unwrap();
    let mut bits = mandatory(61, 104);
    bits.bits(0b01111, 5).bits(0b0011, 4); // active targets
    for dti in [1, 1, 2, 2] {
        bits.bits(dti, 2);
    }
    bits.bits(1, 2).bits(15, 4).bits(3, 2).bits(4_095, 12).bits(0, 2); // frame differences
    bits.bits(200, 8).bits(7, 8); // chain differences
    let frame = structure.parse(&bits.finish()).unwrap();
    assert_eq!(frame.active_decode_targets, Some(0b0011));
    assert!(frame.dtis.iter().eq([Dti::Discardable, Dti::Discardable, Dti::Switch, Dti::Switch]));
    assert_eq!(frame.dtis.of(4), Dti::NotPresent);
    assert_eq!((&frame.frame_diffs[..], &frame.chain_diffs[..]), (&[16, 4_096][..], &[200, 7][..]));
}

#[test]
fn without_templates_nothing_is_known() {
    let mut structure = DependencyStructure::default();
    assert_eq!(structure.parse(&mandatory(60, 1).finish()), Err(DropReason::RtpMalformed));
    structure.parse(&attached(&l2t2(), 60, 100)).unwrap();
    assert!(structure.parse(&mandatory(60, 1).finish()).is_ok());
    assert!(structure.parse(&mandatory(59, 1).finish()).is_err(), "no template has this id");
    assert!(structure.parse(&[0xbc, 0]).is_err(), "cut short");
}

#[test]
fn a_late_keyframe_does_not_bring_back_old_templates() {
    let mut structure = DependencyStructure::default();
    let newer = Written { id_offset: 10, ..l2t2() };
    structure.parse(&attached(&newer, 10, 5)).unwrap();
    let late = structure.parse(&attached(&l2t2(), 60, 0xfff0)).unwrap();
    assert!(late.is_keyframe(), "it is read by its own templates");
    assert!(structure.parse(&mandatory(11, 6).finish()).is_ok());
    structure.parse(&attached(&l2t2(), 60, 40_000)).unwrap();
    assert!(structure.parse(&mandatory(61, 40_001).finish()).is_ok(), "a sender that begins anew is believed");
}

#[test]
fn hostile_structures_are_refused() {
    let mut many_templates = mandatory(0, 0);
    many_templates.bits(0b10000, 5).bits(0, 11);
    for _ in 0..200 {
        many_templates.bits(0, 2);
    }
    let mut many_layers = mandatory(0, 0);
    many_layers.bits(0b10000, 5).bits(0, 11).bits(0b10_1010_1011, 10).bits(0, 64);
    let mut many_references = mandatory(0, 0);
    many_references.bits(0b10000, 5).bits(0, 11).bits(3, 2).bits(0, 2);
    for _ in 0..9 {
        many_references.bits(0b10000, 5);
    }
    many_references.bits(0, 32);
    for mut bits in [many_templates, many_layers, many_references] {
        assert!(DependencyStructure::default().parse(&bits.finish()).is_err());
    }
}

#[test]
fn the_frame_number_is_rewritten_in_place() {
    let mut structure = DependencyStructure::default();
    let mut bytes = attached(&l2t2(), 60, 100);
    let before = structure.parse(&bytes).unwrap();
    set_frame_number(&mut bytes, 0xabcd);
    let after = structure.parse(&bytes).unwrap();
    assert_eq!(after, DependencyDescriptor { frame_number: 0xabcd, ..before });
    let mut short = [1, 2];
    set_frame_number(&mut short, 7);
    assert_eq!(short, [1, 2]);
}

prop_compose! {
    fn written()(targets in 1..=32usize, chains in 0..=32usize, count in 1..20usize)(
        id_offset in 0..64u8,
        templates in vec((
            prop_oneof![8 => Just(0u32), 1 => Just(1), 1 => Just(2)],
            vec(0..4u8, targets), vec(1..=16u16, 0..=MAX_FRAME_DIFFS), vec(0..16u8, chains.min(targets)),
        ), count),
        protected_by in vec(0..chains.min(targets).max(1) as u8, targets),
        sizes in proptest::option::of(vec((1..=u16::MAX, 1..=u16::MAX), 4)),
        targets in Just(targets), chains in Just(chains.min(targets)),
    ) -> Written {
        Written { id_offset, targets, templates, protected_by, chains, resolutions: sizes }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(written in written(), chosen: prop::sample::Index, frame_number: u16) {
        let mut written = written;
        let layers = written.layers();
        let max_spatial = layers.last().unwrap().0;
        prop_assume!(max_spatial < 4 && layers.iter().all(|(_, temporal)| *temporal < 8));
        if let Some(sizes) = &mut written.resolutions {
            sizes.truncate(usize::from(max_spatial) + 1);
        }
        let index = chosen.index(written.templates.len());
        let (_, dtis, frame_diffs, chain_diffs) = &written.templates[index];
        let mut structure = DependencyStructure::default();
        let bytes = attached(&written, (written.id_offset + index as u8) % 64, frame_number);
        let read = structure.parse(&bytes).unwrap();
        prop_assert_eq!((read.spatial, read.temporal), layers[index]);
        prop_assert_eq!(read.frame_number, frame_number);
        prop_assert_eq!(read.dtis.iter().map(|dti| dti as u8).collect::<Vec<_>>(), dtis.clone());
        prop_assert_eq!(read.frame_diffs.to_vec(), frame_diffs.clone());
        prop_assert_eq!(read.chain_diffs.to_vec(), chain_diffs.clone());
        prop_assert_eq!(read.resolution, written.resolutions.as_ref().map(|s| s[usize::from(read.spatial)]));
        prop_assert_eq!(structure.decode_targets().len(), written.targets);
        let chains: Vec<_> = structure.decode_targets().iter().filter_map(|target| target.chain).collect();
        prop_assert_eq!(chains, if written.chains > 0 { written.protected_by } else { vec![] });
    }

    #[test]
    fn arbitrary_bytes_never_panic(packets in vec(vec(any::<u8>(), 0..80), 1..5), attach: bool) {
        let mut structure = DependencyStructure::default();
        structure.parse(&attached(&l2t2(), 60, 100)).unwrap();
        for mut packet in packets {
            if let (true, Some(byte)) = (attach, packet.get_mut(3)) {
                *byte |= 0x80;
            }
            if let Ok(descriptor) = structure.parse(&packet) {
                let _ = (descriptor.is_keyframe(), descriptor.is_discardable());
            }
        }
    }
}
