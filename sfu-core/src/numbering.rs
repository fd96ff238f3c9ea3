//! Numbers of a received stream that has packets of ours among those of its sender.

use sfu_rtc::ids::SeqNo;
use std::collections::VecDeque;

/// How many places are remembered at which packets came in between, for packets that come late: two seconds of a stream
/// of nothing but keyframes.
const MAX_PLACES: usize = 64;

/// Maps a sender's numbers to those that the stream has among us. It only grows, so no number is given twice.
#[derive(Default, Debug)]
pub(crate) struct Numbering {
    /// What is added to the newest numbers.
    added: u64,
    /// From which of the sender's numbers on how much is added, oldest first; empty where nothing ever was.
    places: VecDeque<(SeqNo, u64)>,
}

impl Numbering {
    /// The number among us; `None` where it is too old to tell.
    pub(crate) fn number(&self, seq: SeqNo) -> Option<SeqNo> {
        if self.added == 0 {
            return Some(seq);
        }
        let (_, added) = self.places.iter().rev().find(|(from, _)| *from <= seq)?;
        Some(SeqNo(seq.0 + added))
    }

    /// Makes room for `count` packets of ours before `seq`, which follows the newest that was numbered.
    pub(crate) fn make_room(&mut self, seq: SeqNo, count: usize) {
        if self.places.is_empty() {
            self.places.push_back((SeqNo(0), 0));
        }
        if self.places.len() == MAX_PLACES {
            self.places.pop_front();
        }
        self.added += count as u64;
        self.places.push_back((seq, self.added));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn late_packets_keep_their_numbers() {
        let mut numbering = Numbering::default();
        assert_eq!(numbering.number(SeqNo(7)), Some(SeqNo(7)));
        numbering.make_room(SeqNo(10), 2);
        let number = |numbering: &Numbering, seq| numbering.number(SeqNo(seq)).map(|seq| seq.0);
        assert_eq!([9, 10, 11].map(|seq| number(&numbering, seq)), [Some(9), Some(12), Some(13)]);
        for n in 2..100 {
            numbering.make_room(SeqNo(n * 10), 1);
        }
        assert_eq!(number(&numbering, 10), None, "too old to tell");
        assert_eq!([989, 990].map(|seq| number(&numbering, seq)), [Some(989 + 99), Some(990 + 100)]);
    }

    proptest! {
        #[test]
        fn no_number_is_given_twice(rooms in prop::collection::vec((1_u64..20, 1_usize..4), 1..50)) {
            let mut numbering = Numbering::default();
            let (mut given, mut next) = (HashSet::new(), 0);
            for (run, count) in rooms {
                let before = numbering.number(SeqNo(next)).unwrap();
                numbering.make_room(SeqNo(next), count);
                for ours in 0..count as u64 {
                    prop_assert!(given.insert(before.0 + ours));
                }
                for seq in next..next + run {
                    prop_assert!(given.insert(numbering.number(SeqNo(seq)).unwrap().0));
                }
                next += run;
            }
            prop_assert_eq!(given.len() as u64, given.iter().max().unwrap() + 1, "and none is left out");
        }
    }
}
