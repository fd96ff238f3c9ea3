//! Parameter sets of H.264 and H.265 that a stream does not bring with each of its keyframes.
//!
//! Cameras announce them in their description (RFC 6184 section 8.1, RFC 7798 section 7.1) or send them once, and a
//! late subscriber can decode nothing. So the newest are kept, to come again before each keyframe that lacks them, as
//! packets of ours; [`Numbering`] makes room for those among the sender's.

use sfu_rtc::codec::{self, ParameterSetId};
use sfu_rtc::ids::{PayloadType, SeqNo};
use sfu_rtc::media::{Codec, PayloadFormat};
use sfu_rtc::sdp::fmtp;
use std::collections::VecDeque;

/// Most sets that are kept; encoders have one of each kind, or a few for pictures.
pub(crate) const MAX_SETS: usize = 8;
/// Longest set that is kept, in bytes; with scaling matrices and usability information it has about 300.
const MAX_LEN: usize = 512;

/// What is known of one stream.
#[derive(Default, Debug)]
pub(crate) struct ParameterSets {
    /// By payload type, what the description announces.
    described: Vec<(PayloadType, Sets)>,
    /// What the sets are of.
    format: Option<(PayloadType, Codec)>,
    newest: Sets,
    /// The newest packet that brought one.
    learned_from: SeqNo,
    seen: Seen,
}

/// Which kinds the stream brought with one frame.
#[derive(Default, Debug)]
struct Seen {
    timestamp: u32,
    video: bool,
    sequence: bool,
    picture: bool,
}

impl ParameterSets {
    /// The description of the stream's formats.
    pub(crate) fn describe(&mut self, formats: &[PayloadFormat]) {
        let described = formats.iter().map(|format| (format.payload_type, Sets::described(format)));
        let described: Vec<_> = described.filter(|(_, sets)| !sets.0.is_empty()).collect();
        if self.described != described {
            self.described = described;
            self.format = None;
        }
    }

    /// The stream's numbers restarted; its sets still hold.
    pub(crate) fn restart(&mut self) {
        self.learned_from = SeqNo(0);
        self.seen = Seen::default();
    }

    /// A packet of a keyframe.
    pub(crate) fn learn(&mut self, format: (PayloadType, Codec), seq: SeqNo, timestamp: u32, payload: &[u8]) {
        let (payload_type, codec) = format;
        if self.format != Some(format) {
            let described = self.described.iter().find(|(described, _)| *described == payload_type);
            self.newest = described.map(|(_, sets)| sets.clone()).unwrap_or_default();
            self.format = Some(format);
        }
        if seq < self.learned_from {
            return;
        }
        for (id, unit) in codec::parameter_sets(codec, payload) {
            self.learned_from = seq;
            if self.seen.timestamp != timestamp {
                self.seen = Seen { timestamp, ..Seen::default() };
            }
            match id {
                ParameterSetId::Video(_) => self.seen.video = true,
                ParameterSetId::Sequence(_) => self.seen.sequence = true,
                ParameterSetId::Picture(_) => self.seen.picture = true,
            }
            self.newest.keep(id, unit);
        }
    }

    /// The sets that the frame at `timestamp` lacks, in the order of decoding; empty where it lacks none, or they are
    /// not known.
    pub(crate) fn lacking(&self, timestamp: u32) -> impl Iterator<Item = &[u8]> {
        let needs_video = self.format.is_some_and(|(_, codec)| codec == Codec::H265);
        let Seen { video, sequence, picture, .. } = self.seen;
        let brought = self.seen.timestamp == timestamp && (video || !needs_video) && sequence && picture;
        let known = if brought || !self.newest.is_complete(needs_video) { &[][..] } else { &self.newest.0 };
        known.iter().map(|(_, unit)| unit.as_slice())
    }
}

/// Sets by kind and id, in the order of decoding.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Sets(Vec<(ParameterSetId, Vec<u8>)>);

impl Sets {
    fn described(format: &PayloadFormat) -> Self {
        let mut sets = Self::default();
        for unit in fmtp::parameter_sets(&format.fmtp) {
            codec::parameter_sets(format.codec, &unit).for_each(|(id, unit)| sets.keep(id, unit));
        }
        sets
    }

    /// Keeps a set instead of that of its id. Where that is too much nothing is kept: a part of them is of no use.
    fn keep(&mut self, id: ParameterSetId, unit: &[u8]) {
        match self.0.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(at) if self.0[at].1 == unit => return,
            Ok(at) => {
                self.0[at].1.clear();
                self.0[at].1.extend_from_slice(unit);
            }
            Err(at) => self.0.insert(at, (id, unit.to_vec())),
        }
        if unit.len() > MAX_LEN || self.0.len() > MAX_SETS {
            self.0.clear();
        }
    }

    /// Whether there is one of each kind that is needed.
    fn is_complete(&self, needs_video: bool) -> bool {
        let any = |is: fn(&ParameterSetId) -> bool| self.0.iter().any(|(id, _)| is(id));
        (!needs_video || any(|id| matches!(id, ParameterSetId::Video(_))))
            && any(|id| matches!(id, ParameterSetId::Sequence(_)))
            && any(|id| matches!(id, ParameterSetId::Picture(_)))
    }
}

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

    const SPS: [u8; 8] = [0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16];
    const PPS: [u8; 4] = [0x68, 0xce, 0x3c, 0x80];
    const TYPE: PayloadType = PayloadType(102);

    fn described(fmtp: &str) -> ParameterSets {
        let fmtp = fmtp.to_owned();
        let format = PayloadFormat { payload_type: TYPE, codec: Codec::H264, clock_rate: 90_000, fmtp, rtx: None };
        let mut sets = ParameterSets::default();
        sets.describe(&[format]);
        sets
    }

    fn lacking(sets: &ParameterSets, timestamp: u32) -> Vec<u8> {
        sets.lacking(timestamp).map(|unit| unit[0] & 0x1f).collect()
    }

    #[test]
    fn the_newest_of_each_id_are_kept_and_an_incomplete_lot_is_of_no_use() {
        let mut sets = described("");
        sets.learn((TYPE, Codec::H264), SeqNo(1), 10, &PPS);
        assert!(lacking(&sets, 20).is_empty());
        sets.learn((TYPE, Codec::H264), SeqNo(2), 10, &SPS);
        assert_eq!((lacking(&sets, 10), lacking(&sets, 20)), (vec![], vec![7, 8]));
        let newer = [&PPS[..], &[0xff]].concat();
        sets.learn((TYPE, Codec::H264), SeqNo(5), 20, &newer);
        sets.learn((TYPE, Codec::H264), SeqNo(4), 20, &PPS);
        assert_eq!(sets.lacking(30).last(), Some(newer.as_slice()), "what comes late is not newer");
        assert_eq!(lacking(&sets, 20), [7, 8], "only one of the two kinds came with it");
        sets.learn((PayloadType(96), Codec::H264), SeqNo(6), 30, &[0x65, 0x88]);
        assert!(lacking(&sets, 40).is_empty(), "they are of another format");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut sets = described("");
        sets.learn((TYPE, Codec::H264), SeqNo(1), 10, &SPS);
        // Picture parameter sets 0 to 6, in Exp-Golomb codes.
        let codes = [0x80, 0x40, 0x60, 0x20, 0x28, 0x30, 0x38];
        codes.iter().for_each(|code| sets.learn((TYPE, Codec::H264), SeqNo(2), 10, &[0x68, *code]));
        assert_eq!(lacking(&sets, 20).len(), MAX_SETS);
        sets.learn((TYPE, Codec::H264), SeqNo(3), 10, &[0x68, 0x10, 0xff]);
        assert!(lacking(&sets, 20).is_empty());
        sets.learn((TYPE, Codec::H264), SeqNo(4), 10, &SPS);
        sets.learn((TYPE, Codec::H264), SeqNo(5), 10, &PPS);
        assert_eq!(lacking(&sets, 20), [7, 8]);
        sets.learn((TYPE, Codec::H264), SeqNo(6), 10, &[&PPS[..], &[0xff; MAX_LEN]].concat());
        assert!(lacking(&sets, 20).is_empty());
    }

    #[test]
    fn h265_needs_three_kinds() {
        const FORMAT: (PayloadType, Codec) = (TYPE, Codec::H265);
        let mut sets = ParameterSets::default();
        let sps = [&[0x42, 0x01, 0x01][..], &[0x60; 12], &[0xa0, 0x02]].concat();
        let units = [&[0x44, 0x01, 0xc0][..], &sps, &[0x40, 0x01, 0x0c]];
        for (n, unit) in units.into_iter().enumerate() {
            assert!(sets.lacking(20).next().is_none(), "{n} of them are not enough");
            sets.learn(FORMAT, SeqNo(1), 10, unit);
        }
        let kinds = |timestamp| sets.lacking(timestamp).map(|unit| unit[0] >> 1).collect::<Vec<_>>();
        assert_eq!((kinds(10), kinds(20)), (vec![], vec![32, 33, 34]));
        sets.learn(FORMAT, SeqNo(2), 20, &sps);
        sets.learn(FORMAT, SeqNo(3), 20, units[0]);
        assert_eq!(sets.lacking(20).count(), 3, "the video parameter set did not come with it");
    }

    #[test]
    fn parameter_sets_of_the_description_count() {
        let mut sets = described("packetization-mode=1;sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg==");
        sets.learn((TYPE, Codec::H264), SeqNo(1), 10, &[0x65, 0x88]);
        assert_eq!(lacking(&sets, 10), [7, 8]);
        sets.learn((TYPE, Codec::H264), SeqNo(2), 20, &SPS);
        assert_eq!(sets.lacking(30).next(), Some(&SPS[..]), "what the stream brings is newer");
        sets.describe(&[]);
        sets.learn((TYPE, Codec::H264), SeqNo(3), 30, &[0x65, 0x88]);
        assert!(lacking(&sets, 30).is_empty(), "negotiated anew");
    }

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
