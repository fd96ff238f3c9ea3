//! RTCP waiting to leave, and how it is put together (RFC 3550 section 6.1, RFC 5506).
//!
//! Reports make a compound packet: sender reports, receiver report, names, then feedback. Feedback alone leaves as
//! a reduced-size packet.

use crate::ids::Ssrc;
use crate::rtcp::{self, ReportBlock, SenderInfo, TwccFeedback};
use crate::units::Bitrate;

/// Feedback and reports of one transport.
#[derive(Debug)]
pub struct RtcpQueue {
    /// Source that our feedback names as its sender.
    sender: Ssrc,
    max_bytes: usize,
    sender_reports: Vec<SenderInfo>,
    blocks: Vec<ReportBlock>,
    /// Complete feedback packets, one after the other.
    feedback: Vec<u8>,
    /// Where in `feedback` each ends.
    ends: Vec<usize>,
    /// The datagram in the making, and the names that belong into it.
    datagram: Vec<u8>,
    names: Vec<u8>,
    stats: RtcpQueueStats,
}

/// Counters of a [`RtcpQueue`].
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RtcpQueueStats {
    /// Sequence numbers asked for again.
    pub nacked: u64,
    /// Keyframes asked for.
    pub keyframe_requests: u64,
    /// Dropped because the queue was full.
    pub overflowed: u64,
}

/// What libwebrtc uses for feedback of a peer that sends nothing.
const FALLBACK_SENDER: Ssrc = Ssrc(1);
/// Most report blocks in one receiver report: the count has five bits.
const MAX_BLOCKS: usize = 31;
/// Most reports waiting; beyond, the newest are dropped and the next round reports again.
const MAX_REPORTS: usize = 256;
/// Most sequence numbers in one NACK, so that scattered ones, at four bytes each, still fit one datagram.
const MAX_NACKED: usize = 250;
/// Bytes of one report block.
const BLOCK_BYTES: usize = 24;
/// An upper bound of a sender report without blocks and of a name item's framing.
const REPORT_BYTES: usize = 28 + 16;

impl RtcpQueue {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            sender: FALLBACK_SENDER,
            max_bytes,
            sender_reports: Vec::new(),
            blocks: Vec::new(),
            feedback: Vec::new(),
            ends: Vec::new(),
            datagram: Vec::new(),
            names: Vec::new(),
            stats: RtcpQueueStats::default(),
        }
    }

    /// Asks for packets of `media` again (RFC 4585 section 6.2.1). `seqs` in ascending order, wrap-around apart.
    pub fn nack(&mut self, media: Ssrc, seqs: &[u16]) {
        for part in seqs.chunks(MAX_NACKED) {
            let added = self.add(|sender, out| {
                rtcp::write_nack(out, sender, media, part);
            });
            if added {
                self.stats.nacked += part.len() as u64;
            }
        }
    }

    /// Asks for a keyframe of `media` (RFC 4585 section 6.3.1).
    pub fn pli(&mut self, media: Ssrc) {
        let added = self.add(|sender, out| rtcp::write_pli(out, sender, media));
        self.stats.keyframe_requests += u64::from(added);
    }

    /// Asks for a keyframe of `media` (RFC 5104 section 4.3.1); `seq` counts the requests.
    pub fn fir(&mut self, media: Ssrc, seq: u8) {
        let added = self.add(|sender, out| rtcp::write_fir(out, sender, media, seq));
        self.stats.keyframe_requests += u64::from(added);
    }

    /// Caps what the peer sends on `media` in total.
    pub fn remb(&mut self, bitrate: Bitrate, media: &[Ssrc]) {
        self.add(|sender, out| rtcp::write_remb(out, sender, bitrate, media));
    }

    /// Reports on a stream that the peer sends.
    pub fn report_block(&mut self, block: ReportBlock) {
        if self.blocks.len() < MAX_REPORTS {
            self.blocks.push(block);
        } else {
            self.stats.overflowed += 1;
        }
    }

    /// Counters.
    pub fn stats(&self) -> RtcpQueueStats {
        self.stats
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty() && self.blocks.is_empty() && self.sender_reports.is_empty()
    }

    pub(super) fn set_sender(&mut self, sender: Option<Ssrc>) {
        self.sender = sender.unwrap_or(FALLBACK_SENDER);
    }

    pub(super) fn sender_report(&mut self, info: SenderInfo) {
        if self.sender_reports.len() < MAX_REPORTS {
            self.sender_reports.push(info);
        } else {
            self.stats.overflowed += 1;
        }
    }

    /// How many of the arrivals one feedback packet covers.
    pub(super) fn transport_feedback(&mut self, feedback: TwccFeedback<'_>) -> usize {
        let mut covered = 0;
        self.add(|sender, out| covered = rtcp::write_twcc(out, &TwccFeedback { sender, ..feedback }));
        covered
    }

    /// Sender reports that wait.
    pub(super) fn reports(&self) -> impl Iterator<Item = &SenderInfo> {
        self.sender_reports.iter()
    }

    /// Hands all that waits to `emit`, as datagrams of at most `max` bytes. `cname` gives the name of our sources.
    pub(super) fn flush<'c>(&mut self, max: usize, cname: impl Fn(Ssrc) -> Option<&'c str>, emit: impl FnMut(&[u8])) {
        let mut out = Datagrams { max, datagram: &mut self.datagram, names: &mut self.names, emit };
        for info in self.sender_reports.drain(..) {
            let name = cname(info.ssrc).unwrap_or_default();
            out.make_room(REPORT_BYTES + name.len());
            rtcp::write_sender_report(out.datagram, &info, &[]);
            rtcp::write_sdes_cname(out.names, info.ssrc, name);
        }
        for blocks in self.blocks.chunks(MAX_BLOCKS) {
            let name = cname(self.sender).unwrap_or_default();
            out.make_room(REPORT_BYTES + name.len() + blocks.len() * BLOCK_BYTES);
            rtcp::write_receiver_report(out.datagram, self.sender, blocks);
            if out.names.is_empty() {
                rtcp::write_sdes_cname(out.names, self.sender, name);
            }
        }
        self.blocks.clear();
        out.end_reports();
        let mut start = 0;
        for end in self.ends.drain(..) {
            out.make_room(end - start);
            out.datagram.extend_from_slice(&self.feedback[start..end]);
            start = end;
        }
        self.feedback.clear();
        out.emit();
    }

    /// Appends one feedback packet, unless the queue is full.
    fn add(&mut self, write: impl FnOnce(Ssrc, &mut Vec<u8>)) -> bool {
        if self.feedback.len() >= self.max_bytes {
            self.stats.overflowed += 1;
            return false;
        }
        write(self.sender, &mut self.feedback);
        self.ends.push(self.feedback.len());
        true
    }
}

/// Puts packets together until a datagram is full.
struct Datagrams<'q, F> {
    max: usize,
    datagram: &'q mut Vec<u8>,
    names: &'q mut Vec<u8>,
    emit: F,
}

impl<F: FnMut(&[u8])> Datagrams<'_, F> {
    fn make_room(&mut self, bytes: usize) {
        if self.datagram.len() + self.names.len() + bytes > self.max {
            self.emit();
        }
    }

    /// Names follow the reports that they belong to.
    fn end_reports(&mut self) {
        self.datagram.append(self.names);
    }

    fn emit(&mut self) {
        self.end_reports();
        if !self.datagram.is_empty() {
            (self.emit)(self.datagram);
            self.datagram.clear();
        }
    }
}
