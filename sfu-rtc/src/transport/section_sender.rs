//! What we keep of each section that we send: counters, and the numbers that its packets get.

use super::among::Among;
use super::protect::Protector;
use super::send::RtpOut;
use crate::drop_reason::DropReason;
use crate::ids::{SeqNo, Ssrc};
use crate::media::SsrcPair;
use crate::pacer::PacketClass;
use crate::rtcp::ReportBlock;

/// What we keep of a section that we send.
///
/// It lives as long as the section has this source, also while the section is inactive: what reports count goes on where
/// it was.
#[derive(Default, Debug)]
pub(super) struct SectionSender {
    /// What the section sends with; `None` where it never sent.
    source: Option<SsrcPair>,
    /// Media packets sent, as sender reports count them.
    pub(super) packets: u32,
    /// Media payload bytes sent, as sender reports count them.
    pub(super) octets: u32,
    /// How many more packets carry the MID: media, retransmissions.
    mid_left: [u32; 2],
    /// Highest sequence number in the peer's last report.
    reported: Option<u32>,
    /// Highest number sent, and how many below it were not; as it was at that report, too.
    highest: Option<SeqNo>,
    unsent: i64,
    unsent_reported: i64,
    /// The number that the next retransmission gets.
    rtx_seq: Option<SeqNo>,
    /// Timestamp of the newest keyframe.
    pub(super) keyframe: Option<u32>,
    /// Parity for the media, where the peer takes it.
    pub(super) protector: Option<Box<Protector>>,
    /// Where parity went among the media.
    among: Among,
}

impl SectionSender {
    /// The section sends with `source` from now on. The source that it sent with before, where that is another.
    pub(super) fn set_source(&mut self, source: SsrcPair) -> Option<SsrcPair> {
        let before = self.source.filter(|before| *before != source);
        if self.source.is_none_or(|before| before.media != source.media) {
            // The source of parity may stay, and its numbers with it.
            *self = Self { protector: self.protector.take(), ..Self::default() };
        }
        self.source = Some(source);
        before
    }

    /// So many packets carry the MID: the peer may not know which section the source is of.
    pub(super) fn announce_mid(&mut self, mid_packets: u32) {
        self.mid_left = [mid_packets; 2];
    }

    /// The peer reports on the section's media: it knows the source. How many packets that we sent the report covers, and
    /// how many of these were lost. A number that no packet had, since it never came to us, was not lost on this way.
    pub(super) fn on_report(&mut self, block: &ReportBlock) -> (u64, f64) {
        self.mid_left[0] = 0;
        let before = self.reported.replace(block.highest_seq);
        let unsent = self.unsent - std::mem::replace(&mut self.unsent_reported, self.unsent);
        // A report that goes backwards, or ahead of what was sent, covers nothing.
        let covered = before.map_or(0, |before| block.highest_seq.wrapping_sub(before));
        if i64::from(covered) > i64::from(self.packets) + self.unsent {
            return (0, 0.0);
        }
        let lost = f64::from(covered) * f64::from(block.fraction_lost) / 256.0;
        let sent = (i64::from(covered) - unsent).clamp(0, i64::from(covered));
        (sent.unsigned_abs(), (lost - unsent as f64).clamp(0.0, sent as f64))
    }

    /// Whether the media's packet `seq` is the newest that left.
    pub(super) fn is_newest(&self, seq: SeqNo) -> bool {
        self.highest == Some(seq)
    }

    pub(super) fn is_media(&self, ssrc: Ssrc) -> bool {
        self.source.is_some_and(|source| source.media == ssrc)
    }

    /// The number on the wire of a packet that leaves now; of a retransmission also that of what it repeats, where it is
    /// not the one that it is known by.
    pub(super) fn number(&mut self, out: &RtpOut, is_rtx: bool) -> Result<(SeqNo, Option<SeqNo>), DropReason> {
        if is_rtx {
            let repeats = self.among.is_used() && !out.edit.prefix.is_empty();
            let repeated = if repeats { Some(self.on_wire(out.seq)?) } else { None };
            return Ok((self.next_rtx(out.ssrc), repeated));
        }
        let seq = match (out.class, self.highest) {
            (PacketClass::Fec, Some(highest)) if self.is_media(out.ssrc) => self.among.insert(highest),
            (PacketClass::Fec, _) => self.protector.as_mut().ok_or(DropReason::UnknownStream)?.next_seq(),
            _ => self.on_wire(out.seq)?,
        };
        Ok((seq, None))
    }

    fn on_wire(&self, seq: SeqNo) -> Result<SeqNo, DropReason> {
        self.among.on_wire(seq).ok_or(DropReason::NotInHistory)
    }

    /// The media's number that the peer means by `seq`; `None` for that of parity.
    pub(super) fn of_media(&self, seq: u16) -> Option<u16> {
        let newest = self.highest.and_then(|highest| self.among.on_wire(highest));
        let Some(newest) = newest.filter(|_| self.among.is_used()) else { return Some(seq) };
        self.among.of_media(newest.extend(seq)).map(SeqNo::wire)
    }

    /// As sender reports count it.
    pub(super) fn count(&mut self, payload: usize) {
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload as u32); // below MAX_PACKET
    }

    /// A packet of media leaves: numbers that it passes over may follow yet, or never came to us.
    pub(super) fn on_media(&mut self, seq: SeqNo) {
        let (highest, passed) = match self.highest {
            Some(highest) if seq > highest => (seq, (seq.0 - highest.0) as i64 - 1),
            Some(highest) => (highest, -1),
            None => (seq, 0),
        };
        self.highest = Some(highest);
        self.unsent += passed;
    }

    /// The number of a retransmission that leaves now. The source's number is random, and so is the first; in the lower
    /// half, as RFC 3711 section 3.3.1 wants it for the rollover counter.
    fn next_rtx(&mut self, rtx: Ssrc) -> SeqNo {
        let seq = self.rtx_seq.unwrap_or(SeqNo(u64::from(rtx.0 & 0x7fff)));
        self.rtx_seq = Some(seq.next());
        seq
    }

    pub(super) fn carries_mid(&mut self, class: PacketClass) -> bool {
        // The peer knows the source of parity by the description, and needs no section for it.
        if class == PacketClass::Fec {
            return false;
        }
        let left = &mut self.mid_left[usize::from(matches!(class, PacketClass::Rtx | PacketClass::Padding))];
        let carries = *left > 0;
        *left = left.saturating_sub(1);
        carries
    }
}
