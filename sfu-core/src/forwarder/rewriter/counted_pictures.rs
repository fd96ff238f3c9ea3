//! Picture ids for VP8 without: libwebrtc leaves them out where a dependency descriptor says more than they do.

use sfu_rtc::media::Codec;
use sfu_rtc::packet::PacketData;
use std::collections::VecDeque;

/// Frames that are remembered: more than two seconds of them.
const MAX_FRAMES: usize = 64;

/// Of a greater distance between numbers more is wrong than that frames are missing.
const MAX_LEAP: u16 = 1_000;

/// How many frames a distance between numbers is, where each is `step` from the one before.
fn frames_in(distance: u16, step: Option<u16>) -> Option<u16> {
    step.filter(|step| distance.is_multiple_of(*step)).map(|step| distance / step)
}

/// Counts the frames of a source that are forwarded. Frame numbers will not do: those of simulcast layers are one row, so
/// that of one layer they have gaps.
#[derive(Default, Debug)]
pub(super) struct CountedPictures {
    /// Number and count of each, the newest last.
    frames: VecDeque<(u16, u16)>,
}

impl CountedPictures {
    /// Whether the packet's frame can be counted: VP8 that is numbered.
    pub(super) fn counts(packet: &PacketData) -> bool {
        packet.codec == Codec::Vp8 && packet.frame.frame_number.is_some()
    }

    /// The count of the packet's frame; `None` where it can not be counted, or has no place between those that were.
    ///
    /// A frame follows the newest one. Where it refers to one that is not known, frames are missing before it, which may
    /// still come: as many as its own step goes into the distance, or else as many as there can be.
    pub(super) fn of(&mut self, packet: &PacketData) -> Option<u16> {
        let number = packet.frame.frame_number.filter(|_| Self::counts(packet))?;
        if let Some(count) = self.count_of(number) {
            return Some(count);
        }
        let step = packet.frame.reference.filter(|step| *step > 0 && !packet.frame.keyframe);
        let Some(&(newest, count)) = self.frames.back() else {
            self.frames.push_back((number, 0));
            return Some(0);
        };
        let distance = number.wrapping_sub(newest);
        if distance as i16 > 0 {
            let is_next = step.is_none_or(|step| self.count_of(number.wrapping_sub(step)).is_some());
            let follows = if is_next { 1 } else { frames_in(distance, step).unwrap_or(distance.min(MAX_LEAP)) };
            let count = count.wrapping_add(follows);
            self.insert(self.frames.len(), (number, count));
            return Some(count);
        }
        if packet.frame.keyframe && newest.wrapping_sub(number) > MAX_LEAP {
            // The source begins anew.
            self.frames.clear();
            self.frames.push_back((number, count.wrapping_add(1)));
            return Some(count.wrapping_add(1));
        }
        self.fill(number, step)
    }

    /// The count of a frame that was missing, by its distance from the one before it.
    fn fill(&mut self, number: u16, step: Option<u16>) -> Option<u16> {
        let place = self.frames.iter().position(|frame| number.wrapping_sub(frame.0) as i16 <= 0)?;
        let (before, next) = (*self.frames.get(place.checked_sub(1)?)?, *self.frames.get(place)?);
        let count = before.1.wrapping_add(frames_in(number.wrapping_sub(before.0), step)?);
        if next.1.wrapping_sub(count) as i16 <= 0 {
            return None;
        }
        self.insert(place, (number, count));
        Some(count)
    }

    fn count_of(&self, number: u16) -> Option<u16> {
        self.frames.iter().rev().find(|frame| frame.0 == number).map(|frame| frame.1)
    }

    fn insert(&mut self, mut place: usize, frame: (u16, u16)) {
        if self.frames.capacity() < MAX_FRAMES {
            self.frames.reserve_exact(MAX_FRAMES);
        }
        if self.frames.len() == MAX_FRAMES {
            self.frames.pop_front();
            place = place.saturating_sub(1);
        }
        self.frames.insert(place, frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::packet;

    /// Counts of frames with these numbers, each with the step to what it refers to; a keyframe has none.
    fn counts(frames: &[(u16, Option<u16>)]) -> Vec<Option<u16>> {
        let mut counted = CountedPictures::default();
        let count = |&(number, reference): &(u16, Option<u16>)| {
            let packet = packet(u64::from(number), 0, |data| {
                data.frame.frame_number = Some(number);
                data.frame.reference = reference;
                data.frame.keyframe = reference.is_none();
            });
            counted.of(&packet)
        };
        frames.iter().map(count).collect()
    }

    #[test]
    fn those_that_follow_each_other_are_counted_whatever_their_numbers() {
        let frames =
            [(65_530, None), (65_533, Some(3)), (0, Some(3)), (0, Some(3)), (3, Some(3)), (4, Some(1)), (9, None)];
        assert_eq!(counts(&frames), [0, 1, 2, 2, 3, 4, 5].map(Some));
        let layers = [(1, None), (2, Some(1)), (3, Some(2)), (5, Some(2)), (6, Some(1))];
        assert_eq!(counts(&layers), [0, 1, 2, 3, 4].map(Some), "what was left out of an upper layer leaves no gap");
    }

    #[test]
    fn what_is_missing_has_a_place_to_come_to() {
        let frames = [(0, None), (9, Some(3)), (12, Some(3)), (3, Some(3)), (6, Some(3)), (6, Some(3)), (15, Some(3))];
        assert_eq!(counts(&frames), [0, 3, 4, 1, 2, 2, 5].map(Some));
        let newest_first = [(0, None), (9, Some(3)), (6, Some(3)), (3, Some(3)), (12, Some(3))];
        assert_eq!(counts(&newest_first), [0, 3, 2, 1, 4].map(Some));
        let unknown = counts(&[(0, None), (8, Some(3)), (2, Some(2)), (5, Some(3))]);
        assert_eq!(unknown, [0, 8, 1, 2].map(Some), "never fewer than are missing");
        assert_eq!(counts(&[(7, None), (10, Some(3)), (8, None), (9, Some(2))]), [Some(0), Some(1), None, None]);
    }

    #[test]
    fn a_source_that_begins_anew_is_followed() {
        let frames = [(20_000, None), (20_003, Some(3)), (5, None), (8, Some(3)), (30_000, Some(3))];
        assert_eq!(counts(&frames), [0, 1, 2, 3, 1_003].map(Some));
    }

    #[test]
    fn old_ones_are_forgotten() {
        let frames: Vec<_> =
            (0..200u16).map(|n| (n * 3, (n > 0).then_some(3))).chain([(3, Some(3)), (600, Some(3))]).collect();
        let counts = counts(&frames);
        assert_eq!(counts[..200], (0..200).map(Some).collect::<Vec<_>>());
        assert_eq!(counts[200..], [None, Some(200)]);
    }
}
