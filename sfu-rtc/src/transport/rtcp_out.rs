//! RTCP that we send: what waits, and how it is put together (RFC 3550 section 6.1, RFC 5506).
//!
//! Reports make a compound packet: sender reports, receiver report, SDES, then feedback. Feedback alone leaves as
//! a reduced-size packet where that was negotiated (a=rtcp-rsize), else behind an empty report and a name.

use super::Transport;
use crate::drop_reason::DropReason;
use crate::ids::Ssrc;
use crate::net::{NetworkPath, TransmitBatch};
use crate::rtcp::{self, ReportBlock, SenderInfo, TwccFeedback};
use crate::time::{Instant, NtpTime};
use crate::units::Bitrate;
use arrayvec::ArrayVec;

impl Transport {
    /// Adds a sender report on what we send in `section`: at `ntp` its media clock showed `rtp`. Nothing where the
    /// section has sent nothing.
    pub fn send_report(&mut self, section: usize, ntp: NtpTime, rtp: u32) {
        let source = self.sections.get(section).and_then(|section| section.local_ssrcs);
        let (Some(pair), Some(sender)) = (source, self.senders.get(section)) else { return };
        if sender.packets > 0 {
            let (packets, octets) = (sender.packets, sender.octets);
            self.rtcp.push_sender_report(SenderInfo { ssrc: pair.media, ntp, rtp, packets, octets });
        }
    }

    /// Queues feedback on what arrived, if it is due.
    pub(super) fn push_arrivals(&mut self, now: Instant) {
        let Self { arrivals, rtcp, feedback_count, media_source, uplink, .. } = self;
        arrivals.report(now, |base_seq, arrivals| {
            uplink.on_arrivals(now, arrivals.iter().map(Option::is_some));
            let (sender, media, fb_count) = (rtcp.sender(), *media_source, *feedback_count);
            *feedback_count = feedback_count.wrapping_add(1);
            rtcp.push_transport_feedback(&TwccFeedback { sender, media, base_seq, fb_count, arrivals })
        });
    }

    /// Queues what the peer may send at most, if it is to be told that.
    pub(super) fn push_remb(&mut self, now: Instant) {
        self.counters.rtp_in_lost += self.uplink.on_counts(now, self.arrivals.counts());
        if let Some(rtt) = self.rtt() {
            self.uplink.on_rtt(rtt);
        }
        if self.is_connected()
            && let Some(bitrate) = self.uplink.tell(now)
        {
            let sources: ArrayVec<Ssrc, MAX_REMB_SOURCES> = self.streams.media().take(MAX_REMB_SOURCES).collect();
            self.rtcp.remb(bitrate, &sources);
        }
    }

    pub(super) fn flush_rtcp(&mut self, now: Instant, path: NetworkPath, batch: &mut TransmitBatch) {
        if self.rtcp.is_empty() {
            return;
        }
        let Self { rtcp, connection, path_state, counters, drops, config, .. } = self;
        let Some(keys) = connection.keys.as_mut() else { return };
        rtcp.reports().for_each(|info| path_state.on_report_sent(now, info.ntp));
        rtcp.flush(config.max_rtcp, |packet| {
            if !connection.ice.may_send(&path, packet.len()) {
                return drops.count(DropReason::UnprovenPath);
            }
            let sealed = batch.push(path, |out| {
                let start = out.len();
                out.extend_from_slice(packet);
                keys.sender.seal_rtcp(out, start)
            });
            match sealed {
                Ok(()) => counters.rtcp_out += 1,
                Err(reason) => drops.count(reason),
            }
        });
    }
}

/// Sender of our RTCP where no media is sent, and the name of all our sources.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RtcpSource {
    /// A random number (RFC 3550 section 8.1), used where no media is sent.
    pub ssrc: Ssrc,
    /// Its canonical name, random for each peer (RFC 7022 section 4.2).
    pub cname: String,
}

/// Feedback and reports of one transport.
#[derive(Debug)]
pub struct RtcpQueue {
    own: RtcpSource,
    /// Source that our feedback names as its sender.
    sender: Ssrc,
    /// Feedback may leave without a report before it (RFC 5506).
    reduced_size: bool,
    max_bytes: usize,
    sender_reports: Vec<SenderInfo>,
    blocks: Vec<ReportBlock>,
    /// Complete feedback packets, one after the other.
    feedback: Vec<u8>,
    /// Where in `feedback` each ends.
    ends: Vec<usize>,
    /// The datagram being put together, and the SDES packets that belong into it.
    datagram: Vec<u8>,
    sdes: Vec<u8>,
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

/// Most reports waiting; beyond, the newest are dropped and the next round reports again.
const MAX_REPORTS: usize = 256;
/// Most sequence numbers in one NACK, so that scattered ones, at four bytes each, still fit one datagram.
const MAX_NACKED: usize = 250;
/// From a source that is taken to one that is not: odd, so that all are tried.
const OTHER_SOURCE: u32 = 0x9e37_79b9;
/// Most sources that REMB names: peers follow it whatever it names.
const MAX_REMB_SOURCES: usize = 16;
/// An upper bound of a sender report without blocks and of a name item's framing.
const REPORT_BYTES: usize = 28 + 16;

impl RtcpQueue {
    pub(super) fn new(own: RtcpSource, max_bytes: usize) -> Self {
        Self {
            sender: own.ssrc,
            own,
            reduced_size: false,
            max_bytes,
            sender_reports: Vec::new(),
            blocks: Vec::new(),
            feedback: Vec::new(),
            ends: Vec::new(),
            datagram: Vec::new(),
            sdes: Vec::new(),
            stats: RtcpQueueStats::default(),
        }
    }

    /// Asks for packets of `media` again (RFC 4585 section 6.2.1). `seqs` in ascending order, wrap-around apart.
    pub fn nack(&mut self, media: Ssrc, seqs: &[u16]) {
        for part in seqs.chunks(MAX_NACKED) {
            let added = self.push_feedback(|sender, out| {
                rtcp::write_nack(out, sender, media, part);
            });
            if added {
                self.stats.nacked += part.len() as u64;
            }
        }
    }

    /// Asks for a keyframe of `media` (RFC 4585 section 6.3.1).
    pub fn pli(&mut self, media: Ssrc) {
        let added = self.push_feedback(|sender, out| rtcp::write_pli(out, sender, media));
        self.stats.keyframe_requests += u64::from(added);
    }

    /// Asks for a keyframe of `media` (RFC 5104 section 4.3.1); `seq` counts the requests.
    pub fn fir(&mut self, media: Ssrc, seq: u8) {
        let added = self.push_feedback(|sender, out| rtcp::write_fir(out, sender, media, seq));
        self.stats.keyframe_requests += u64::from(added);
    }

    /// Caps what the peer sends on `media` in total.
    pub fn remb(&mut self, bitrate: Bitrate, media: &[Ssrc]) {
        self.push_feedback(|sender, out| rtcp::write_remb(out, sender, bitrate, media));
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

    /// What was negotiated: our first source of media, which sends the feedback too; the sources that the peer announced;
    /// and whether feedback may leave without a report.
    pub(super) fn on_negotiated(&mut self, first: Option<Ssrc>, theirs: impl Fn(Ssrc) -> bool, reduced_size: bool) {
        // A peer that takes our number keeps it (RFC 3550 section 8.2).
        while theirs(self.own.ssrc) {
            self.own.ssrc.0 = self.own.ssrc.0.wrapping_add(OTHER_SOURCE);
        }
        self.sender = first.unwrap_or(self.own.ssrc);
        self.reduced_size = reduced_size;
    }

    pub(super) fn push_sender_report(&mut self, info: SenderInfo) {
        if self.sender_reports.len() < MAX_REPORTS {
            self.sender_reports.push(info);
        } else {
            self.stats.overflowed += 1;
        }
    }

    /// Source that our feedback names as its sender.
    pub(super) fn sender(&self) -> Ssrc {
        self.sender
    }

    /// How many of the arrivals one feedback packet covers.
    pub(super) fn push_transport_feedback(&mut self, feedback: &TwccFeedback<'_>) -> usize {
        let mut covered = 0;
        self.push_feedback(|_, out| covered = rtcp::write_twcc(out, feedback));
        covered
    }

    /// Sender reports that wait.
    pub(super) fn reports(&self) -> impl Iterator<Item = &SenderInfo> {
        self.sender_reports.iter()
    }

    /// Hands all that waits to `emit`, as datagrams of at most `max` bytes.
    pub(super) fn flush(&mut self, max: usize, emit: impl FnMut(&[u8])) {
        // All sources of one peer have one name (RFC 3550 section 6.5.1).
        let name = self.own.cname.as_str();
        let mut out = Datagrams { max, datagram: &mut self.datagram, sdes: &mut self.sdes, emit };
        for info in self.sender_reports.drain(..) {
            out.make_room(REPORT_BYTES + name.len());
            rtcp::write_sender_report(out.datagram, &info, &[]);
            rtcp::write_sdes_cname(out.sdes, info.ssrc, name);
        }
        for blocks in self.blocks.chunks(rtcp::MAX_REPORT_BLOCKS) {
            out.make_room(REPORT_BYTES + name.len() + blocks.len() * rtcp::REPORT_BLOCK_LEN);
            rtcp::write_receiver_report(out.datagram, self.sender, blocks);
            if out.sdes.is_empty() {
                rtcp::write_sdes_cname(out.sdes, self.sender, name);
            }
        }
        self.blocks.clear();
        out.end_reports();
        let mut start = 0;
        for end in self.ends.drain(..) {
            out.make_room(end - start);
            if out.datagram.is_empty() && !self.reduced_size {
                rtcp::write_receiver_report(out.datagram, self.sender, &[]);
                rtcp::write_sdes_cname(out.datagram, self.sender, name);
            }
            out.datagram.extend_from_slice(&self.feedback[start..end]);
            start = end;
        }
        self.feedback.clear();
        out.emit();
    }

    /// Appends one feedback packet, unless the queue is full.
    fn push_feedback(&mut self, write: impl FnOnce(Ssrc, &mut Vec<u8>)) -> bool {
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
    sdes: &'q mut Vec<u8>,
    emit: F,
}

impl<F: FnMut(&[u8])> Datagrams<'_, F> {
    fn make_room(&mut self, bytes: usize) {
        if self.datagram.len() + self.sdes.len() + bytes > self.max {
            self.emit();
        }
    }

    /// SDES packets follow the reports that they belong to.
    fn end_reports(&mut self) {
        self.datagram.append(self.sdes);
    }

    fn emit(&mut self) {
        self.end_reports();
        if !self.datagram.is_empty() {
            (self.emit)(self.datagram);
            self.datagram.clear();
        }
    }
}
