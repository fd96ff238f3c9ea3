//! Numbers of parity that goes among the media (ULPFEC): what follows it in the stream moves up by as many.
//!
//! Who forwards numbers the media without it; a stream's numbers on the wire are made of these as packets are sealed, and
//! what the peer says of them is translated back.

use crate::ids::SeqNo;
use std::collections::VecDeque;
use std::ops::RangeInclusive;

/// Places that are known: at a place per frame, some ten seconds. What lies further back is not sent any more.
const MAX_PLACES: usize = 512;

/// Where parity went among the media of one source, for as long as the source lasts: a number on the wire never means
/// two packets.
#[derive(Default, Debug)]
pub(super) struct Among {
    /// The newest last. It takes no memory before the first.
    places: VecDeque<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    /// The media's number before it.
    after: SeqNo,
    /// Parity packets in the stream before it, and with its own.
    before: u64,
    total: u64,
}

impl Place {
    /// The numbers of its parity on the wire.
    fn parity(&self) -> RangeInclusive<u64> {
        self.after.0 + self.before + 1..=self.after.0 + self.total
    }

    /// How far moved what lies before the first place that is known: not at all, unless earlier ones were forgotten.
    fn none_before(&self) -> Option<u64> {
        (self.before == 0).then_some(0)
    }
}

impl Among {
    /// Whether parity went among the media.
    pub(super) fn is_used(&self) -> bool {
        !self.places.is_empty()
    }

    /// The number on the wire of the media's packet `seq`. `None` where that is so long ago that it is not known any more.
    pub(super) fn on_wire(&self, seq: SeqNo) -> Option<SeqNo> {
        let Some(first) = self.places.front() else { return Some(seq) };
        let following = self.places.partition_point(|place| seq > place.after);
        let moved = match following.checked_sub(1).and_then(|at| self.places.get(at)) {
            Some(place) => place.total,
            None => first.none_before()?,
        };
        Some(SeqNo(seq.0 + moved))
    }

    /// The media's number of what has `seq` on the wire; `None` for parity, and for what is not known any more.
    pub(super) fn of_media(&self, seq: SeqNo) -> Option<SeqNo> {
        let Some(first) = self.places.front() else { return Some(seq) };
        let following = self.places.partition_point(|place| seq.0 >= *place.parity().start());
        let moved = match following.checked_sub(1).and_then(|at| self.places.get(at)) {
            Some(place) if place.parity().contains(&seq.0) => return None,
            Some(place) => place.total,
            None => first.none_before()?,
        };
        Some(SeqNo(seq.0 - moved))
    }

    /// A parity packet leaves behind `after`, the media's highest number that was sent: its number on the wire.
    pub(super) fn insert(&mut self, after: SeqNo) -> SeqNo {
        let total = self.places.back().map_or(0, |newest| newest.total);
        match self.places.back_mut() {
            Some(newest) if newest.after >= after => newest.total += 1,
            _ => {
                if self.places.capacity() == 0 {
                    self.places.reserve_exact(MAX_PLACES);
                }
                if self.places.len() == MAX_PLACES {
                    self.places.pop_front();
                }
                self.places.push_back(Place { after, before: total, total: total + 1 });
            }
        }
        self.places.back().map_or(after, |newest| SeqNo(newest.after.0 + newest.total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_number_means_two_packets(runs in prop::collection::vec((1u64..5, 0u64..4), 1..1200)) {
            let mut among = Among::default();
            let mut wire = 100;
            let (mut media, mut parity) = (Vec::new(), Vec::new());
            for (packets, with) in runs {
                for _ in 0..packets {
                    let seq = SeqNo(100 + media.len() as u64);
                    prop_assert_eq!(among.on_wire(seq), Some(SeqNo(wire)));
                    media.push(wire);
                    wire += 1;
                }
                for _ in 0..with {
                    prop_assert_eq!(among.insert(SeqNo(99 + media.len() as u64)), SeqNo(wire));
                    parity.push(wire);
                    wire += 1;
                }
            }
            let known = media.len().saturating_sub(MAX_PLACES);
            for (n, wire) in media.iter().enumerate() {
                let seq = SeqNo(100 + n as u64);
                prop_assert!(among.on_wire(seq).is_none_or(|there| there == SeqNo(*wire)));
                prop_assert!(among.of_media(SeqNo(*wire)).is_none_or(|back| back == seq));
                prop_assert!(n < known || among.on_wire(seq).is_some() && among.of_media(SeqNo(*wire)).is_some());
            }
            prop_assert!(parity.iter().all(|wire| among.of_media(SeqNo(*wire)).is_none()));
        }
    }
}
