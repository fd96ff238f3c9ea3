//! Which frames can be decoded, as their dependency descriptors tell: after a loss, a frame that refers to one that was
//! decoded goes on without a keyframe.

use sfu_rtc::ids::SeqNo;
use sfu_rtc::rtp::extension::dependency_descriptor::{DependencyDescriptor, DependencyStructure, MAX_DIFF};
use std::collections::VecDeque;

/// Frames that are remembered: as far as references reach.
const WINDOW: u64 = 2 * MAX_DIFF as u64;
/// Frames that have begun to come and were not handed out.
const MAX_WAITING: usize = 256;

/// A frame whose first packet is there.
#[derive(Clone, Debug)]
struct Waiting {
    timestamp: u32,
    /// Sequence number of its first packet.
    first: u16,
    descriptor: DependencyDescriptor,
}

/// The frames of one stream.
#[derive(Debug)]
pub struct Dependencies {
    structure: DependencyStructure,
    /// In the order of sending, whenever they came.
    waiting: VecDeque<Waiting>,
    newest: SeqNo,
    /// Frames were decoded since of which no descriptor came: a retransmission has none.
    unnamed: bool,
    /// A bit for each frame of the window that was decoded.
    decoded: Vec<u64>,
}

impl Default for Dependencies {
    fn default() -> Self {
        Self {
            structure: DependencyStructure::default(),
            waiting: VecDeque::new(),
            newest: SeqNo(0),
            unnamed: false,
            decoded: vec![0; (WINDOW / 64) as usize],
        }
    }
}

impl Dependencies {
    /// Takes the descriptor of a packet.
    pub fn on_packet(&mut self, value: &[u8], (seq, timestamp): (u16, u32)) {
        let Ok(descriptor) = self.structure.parse(value) else { return };
        if !descriptor.start_of_frame || self.waiting.iter().any(|waiting| waiting.timestamp == timestamp) {
            return;
        }
        if self.waiting.len() == MAX_WAITING {
            self.waiting.pop_front();
        }
        let is_before = |waiting: &Waiting| seq.wrapping_sub(waiting.first) < 1 << 15;
        let place = self.waiting.iter().rposition(is_before).map_or(0, |before| before + 1);
        self.waiting.insert(place, Waiting { timestamp, first: seq, descriptor });
    }

    /// First packets of the frames that could be decoded now, the oldest first.
    pub fn decodable(&self) -> impl Iterator<Item = u16> + '_ {
        self.waiting.iter().filter(|waiting| self.can_decode(&waiting.descriptor, false)).map(|waiting| waiting.first)
    }

    /// A frame that begins with packet `first` is handed out; whether it can be decoded, which it then is. `None` where
    /// nothing is known of it. After a loss in its middle, a frame begins later than it was sent: it is no frame then.
    pub fn take(&mut self, timestamp: u32, first: u16) -> Option<bool> {
        let at = self.waiting.iter().position(|waiting| waiting.timestamp == timestamp)?;
        // Those before it are lost, or come too late.
        let waiting = self.waiting.drain(..=at).next_back()?;
        let can_decode = waiting.first == first && self.can_decode(&waiting.descriptor, self.unnamed);
        let number = self.extend(waiting.descriptor.frame_number);
        if can_decode && waiting.descriptor.is_keyframe() {
            self.forget();
        }
        for passed in (self.newest.0 + 1..=number).rev().take(WINDOW as usize) {
            self.set(passed, self.unnamed);
        }
        self.unnamed = false;
        self.newest = self.newest.max(SeqNo(number));
        self.set(number, can_decode);
        Some(can_decode)
    }

    /// The frame that was handed out last is not decoded after all.
    pub fn leave_out(&mut self) {
        self.set(self.newest.0, false);
    }

    /// A frame of which nothing is known is decoded, as nothing is missing before it.
    pub fn follow(&mut self, is_keyframe: bool) {
        if is_keyframe {
            self.forget();
        }
        self.unnamed = true;
    }

    /// Something is missing from here on.
    pub fn lose(&mut self) {
        self.unnamed = false;
    }

    /// What was decoded is of no use: only a keyframe helps.
    pub fn forget(&mut self) {
        self.unnamed = false;
        self.decoded.fill(0);
    }

    /// `unnamed`: so were those of which no descriptor came.
    fn can_decode(&self, descriptor: &DependencyDescriptor, unnamed: bool) -> bool {
        let number = self.extend(descriptor.frame_number);
        descriptor.is_keyframe()
            || descriptor.frame_diffs.iter().all(|back| {
                let referred = number.saturating_sub(u64::from(*back));
                match referred > self.newest.0 {
                    true => unnamed,
                    false => referred + WINDOW > self.newest.0 && self.is_set(referred),
                }
            })
    }

    fn extend(&self, wire: u16) -> u64 {
        if self.newest.0 == 0 { (1 << 16) + u64::from(wire) } else { self.newest.extend(wire).0 }
    }

    fn is_set(&self, number: u64) -> bool {
        let place = (number % WINDOW) as usize;
        self.decoded[place / 64] >> (place % 64) & 1 == 1
    }

    fn set(&mut self, number: u64, is_decoded: bool) {
        let place = (number % WINDOW) as usize;
        let bit = 1 << (place % 64);
        if is_decoded {
            self.decoded[place / 64] |= bit;
        } else {
            self.decoded[place / 64] &= !bit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sfu_rtc::rtp::extension::dependency_descriptor::FrameDescription;

    fn come(dependencies: &mut Dependencies, number: u16, reference: u16) {
        let frame = FrameDescription { number, reference, size: (640, 360), layers: 1, temporal: 0 };
        let value = frame.to_bytes(true, true).unwrap();
        dependencies.on_packet(&value, (number, number.into()));
    }

    fn take(dependencies: &mut Dependencies, number: u16, reference: u16) -> Option<bool> {
        come(dependencies, number, reference);
        dependencies.take(number.into(), number)
    }

    #[test]
    fn what_refers_to_what_was_decoded_goes_on() {
        let mut all = Dependencies::default();
        assert_eq!(take(&mut all, 65_530, 1), None, "no keyframe has come");
        assert_eq!(take(&mut all, 65_534, 0), Some(true));
        assert_eq!((take(&mut all, 65_535, 1), take(&mut all, 0, 1)), (Some(true), Some(true)));
        assert_eq!((take(&mut all, 2, 1), take(&mut all, 3, 1)), (Some(false), Some(false)), "1 is lost");
        assert_eq!((take(&mut all, 4, 4), take(&mut all, 5, 1)), (Some(true), Some(true)));
        all.forget();
        assert_eq!((take(&mut all, 6, 1), take(&mut all, 7, 0)), (Some(false), Some(true)));
        assert_eq!(take(&mut all, 8, 3), Some(false), "nothing before a keyframe is of use");
        assert_eq!(take(&mut all, 9, 2), Some(true));
        assert_eq!(take(&mut all, 9 + MAX_DIFF, MAX_DIFF), Some(true), "however far back");
    }

    #[test]
    fn a_first_packet_may_come_again_later() {
        let mut all = Dependencies::default();
        take(&mut all, 65_533, 0);
        for number in [65_535, 0, 65_534, 1] {
            come(&mut all, number, 1);
        }
        assert_eq!([65_534, 65_535, 0, 1].map(|number| all.take(number.into(), number)), [Some(true); 4]);
    }

    #[test]
    fn frames_without_descriptor_are_followed_while_nothing_is_missing() {
        let mut all = Dependencies::default();
        take(&mut all, 10, 0);
        all.follow(false);
        assert_eq!((take(&mut all, 12, 1), take(&mut all, 13, 1)), (Some(true), Some(true)));
        assert_eq!(take(&mut all, 14, 3), Some(true), "11 was followed");
        all.follow(false);
        all.lose();
        assert_eq!(take(&mut all, 16, 1), Some(false), "15 is not known to be decoded any more");
        all.follow(true);
        assert_eq!((take(&mut all, 18, 1), take(&mut all, 19, 5)), (Some(true), Some(false)));
    }

    #[test]
    fn what_could_be_decoded_is_known_before_it_is_whole() {
        let mut all = Dependencies::default();
        take(&mut all, 10, 0);
        for (number, reference) in [(12, 1), (13, 1), (14, 4), (15, 1)] {
            come(&mut all, number, reference);
        }
        assert_eq!(all.decodable().collect::<Vec<_>>(), [14]);
        assert_eq!((all.take(14, 14), all.take(15, 15), all.take(13, 13)), (Some(true), Some(true), None));
    }

    #[test]
    fn what_is_left_of_a_frame_is_no_frame() {
        let mut all = Dependencies::default();
        take(&mut all, 10, 0);
        come(&mut all, 12, 1);
        assert_eq!((all.take(12, 13), take(&mut all, 14, 1)), (Some(false), Some(false)));
        assert_eq!(take(&mut all, 15, 5), Some(true), "what was decoded before it still is");
        come(&mut all, 16, 0);
        assert_eq!((all.take(16, 17), take(&mut all, 18, 3)), (Some(false), Some(true)));
        all.leave_out();
        assert_eq!(take(&mut all, 19, 1), Some(false), "the decoder had no time for it");
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut all = Dependencies::default();
        take(&mut all, 0, 0);
        (1..5_000).for_each(|number| come(&mut all, number, 1));
        assert_eq!(all.waiting.len(), MAX_WAITING);
        all.on_packet(&[], (0, 0));
        all.on_packet(&[0xff; 40], (0, 0));
    }
}
