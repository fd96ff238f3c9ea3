//! Parity beside what is published, as a directive says.

use crate::peer::ParityControl;
use sfu_proto::v1::ParityDirective;
use sfu_rtc::codec::frame_class::CLASSES;
use sfu_rtc::fec::Protection;

/// Most parity packets of a block, and most frames of one: a block of five frames delays what it repairs by 170 ms.
const MAX_PARITY_PACKETS: u32 = 48;
const MAX_PARITY_FRAMES: u32 = 5;

/// Protects what is sent as a directive says; what of it holds then, and why not all where it does not.
pub fn protect(control: &ParityControl, parity: &[ParityDirective]) -> (Vec<ParityDirective>, Option<&'static str>) {
    let (classes, clamped) = protection(parity, control.is_taken());
    control.protect(classes);
    (parity_directives(&classes), clamped)
}

/// How frames are protected by a directive, and what of it cannot be done.
fn protection(parity: &[ParityDirective], is_taken: bool) -> ([Protection; CLASSES], Option<&'static str>) {
    let (mut classes, mut clamped) = ([Protection::default(); CLASSES], None);
    for entry in parity {
        let Some(at) = (entry.frame_class as usize).checked_sub(1).filter(|at| *at < CLASSES) else {
            clamped = Some("a class of frames is not known");
            continue;
        };
        if !is_taken {
            return (Default::default(), Some("the server takes no parity"));
        }
        let packets = entry.packets.min(MAX_PARITY_PACKETS);
        let frames = entry.frames.clamp(1, MAX_PARITY_FRAMES);
        if (packets, frames) != (entry.packets, entry.frames) {
            clamped = Some("parity stays within bounds");
        }
        classes[at] = Protection { parity: packets as u8, frames: frames as u8 };
    }
    (classes, clamped)
}

/// What of it holds.
fn parity_directives(classes: &[Protection; CLASSES]) -> Vec<ParityDirective> {
    let protected = classes.iter().zip(1..).filter(|(class, _)| class.parity > 0);
    let entry = |(class, frame_class): (&Protection, i32)| ParityDirective {
        frame_class,
        packets: class.parity.into(),
        frames: class.frames.into(),
    };
    protected.map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directive_for_parity_is_carried_out_within_bounds() {
        let entry = |frame_class, packets, frames| ParityDirective { frame_class, packets, frames };
        let wanted = [entry(1, 6, 1), entry(2, 2, 3)];
        let (classes, clamped) = protection(&wanted, true);
        assert_eq!((parity_directives(&classes), clamped), (wanted.to_vec(), None));
        let (none, why) = protection(&wanted, false);
        assert!(parity_directives(&none).is_empty() && why.is_some());
        let beyond = [entry(0, 1, 1), entry(5, 1, 1), entry(-1, 1, 1), entry(4, 1_000, 0)];
        let (classes, why) = protection(&beyond, true);
        assert_eq!((parity_directives(&classes), why.is_some()), (vec![entry(4, 48, 1)], true));
        assert_eq!(protection(&[], false), Default::default());
    }
}
