//! What the server put on the wire for one member. Headers are in clear even where payloads are not.

use sfu_rtc::ids::{SeqNo, Ssrc};
use sfu_rtc::net::DatagramKind;
use sfu_rtc::rtp::SealedHeader;
use std::collections::{BTreeSet, HashMap};

/// All RTP that was sent to one member.
#[derive(Default, Debug)]
pub(super) struct Tap {
    streams: HashMap<Ssrc, Sent>,
    /// Sequence numbers that were used twice: with AES-GCM, the end of all secrecy.
    pub(super) repeated: u64,
    pub(super) packets: u64,
}

#[derive(Debug)]
struct Sent {
    highest: SeqNo,
    seqs: BTreeSet<u64>,
}

impl Tap {
    pub(super) fn on_datagram(&mut self, datagram: &[u8]) {
        if DatagramKind::of(datagram) != Some(DatagramKind::Rtp) {
            return;
        }
        let Ok(header) = SealedHeader::parse(datagram) else {
            self.repeated += 1;
            return;
        };
        self.packets += 1;
        let first = SeqNo(u64::from(header.seq));
        let sent = self.streams.entry(header.ssrc).or_insert(Sent { highest: first, seqs: BTreeSet::new() });
        let seq = sent.highest.extend(header.seq);
        sent.highest = sent.highest.max(seq);
        if !sent.seqs.insert(seq.0) {
            self.repeated += 1;
        }
    }

    /// First number that a source was sent with.
    pub(super) fn first(&self, ssrc: Ssrc) -> Option<u64> {
        self.streams.get(&ssrc)?.seqs.first().copied()
    }

    /// Whether a source was sent with this number.
    pub(super) fn has_sent(&self, ssrc: Ssrc, seq: u64) -> bool {
        self.streams.get(&ssrc).is_some_and(|sent| sent.seqs.contains(&seq))
    }

    /// How many packets of a source were sent.
    pub(super) fn sent(&self, ssrc: Ssrc) -> u64 {
        self.streams.get(&ssrc).map_or(0, |sent| sent.seqs.len() as u64)
    }
}
