//! Probes that the estimator requests: media that is due leaves at the probe's rate, and padding fills what is missing.
//!
//! Padding is recent packets sent again as retransmissions (RFC 4588), which repair a loss if there was one. Before the
//! first packet of video it is empty retransmissions, where the peer could be sent more than it is estimated to receive:
//! else what does not fit the first estimate would never begin. A peer that takes no retransmissions gets no padding: a
//! request waits till then.

use super::Transport;
use super::send::QueuedPacket;
use crate::bwe::{ProbeCluster, ProbeId};
use crate::ids::{PayloadType, SeqNo, Ssrc};
use crate::media::{Direction, MediaKind, MediaSection};
use crate::net::{NetworkPath, TransmitBatch};
use crate::pacer::PacketClass;
use crate::packet::{Packet, PacketPool};
use crate::rtp::extension::ExtensionKind;
use crate::time::{Duration, Instant};
use crate::transport::{PayloadEdit, Repeat, RtpOut};
use crate::units::DataSize;
use arrayvec::ArrayVec;

/// Packets kept to be sent again: a few, so that a probe is not one packet many times, but held only here and so kept from
/// the pool.
const MAX_RECENT: usize = 4;
/// They are renewed so often: cheap, and still of the last second.
const RENEWAL: Duration = Duration::from_millis(200);
/// Smaller packets make a probe of headers.
const MIN_PAYLOAD: usize = 300;
/// Most packets of padding in one probe, whatever is requested.
const MAX_PADDING: u32 = 256;
/// A probe that took so much longer than requested, since nobody called, is over.
const MAX_DELAY: Duration = Duration::from_millis(100);

/// The probe under way, and what padding is made of.
#[derive(Default, Debug)]
pub(super) struct Probing {
    active: Option<ActiveProbe>,
    recent: ArrayVec<QueuedPacket, MAX_RECENT>,
    /// The packet that is sent again, or replaced, next.
    turn: usize,
    renewed: Instant,
}

#[derive(Debug)]
struct ActiveProbe {
    cluster: ProbeCluster,
    until: Instant,
    left: DataSize,
    packets: u32,
    padding: u32,
    /// Padding while there is no recent packet.
    blank: Option<QueuedPacket>,
}

impl ActiveProbe {
    fn new(now: Instant, cluster: ProbeCluster, blank: Option<QueuedPacket>) -> Self {
        let left = cluster.bitrate.in_duration(cluster.duration);
        Self { until: now + cluster.duration + MAX_DELAY, left, packets: 0, padding: 0, blank, cluster }
    }

    fn is_done(&self, now: Instant) -> bool {
        let complete = self.left == DataSize::ZERO && self.packets >= self.cluster.packets;
        complete || self.padding >= MAX_PADDING || now >= self.until
    }
}

impl Probing {
    /// The probe that a packet belongs to which leaves now.
    pub(super) fn active(&self) -> Option<ProbeId> {
        self.active.as_ref().map(|active| active.cluster.id)
    }

    /// A packet left, of the probe's if there is one.
    pub(super) fn on_sent(&mut self, size: DataSize, class: PacketClass) {
        if let Some(active) = &mut self.active {
            active.left = active.left - size;
            active.packets += u32::from(ProbeCluster::is_measured_by(size));
            active.padding += u32::from(class == PacketClass::Padding);
        }
    }

    /// A packet of video was sent: now and then one is kept, where its section takes retransmissions.
    pub(super) fn keep(&mut self, now: Instant, packet: &Packet, out: &RtpOut, sections: &[MediaSection]) {
        let is_due = now >= self.renewed + RENEWAL || !self.recent.is_full();
        if !is_due || packet.payload().len() < MIN_PAYLOAD || again(out, sections).is_none() {
            return;
        }
        self.renewed = now;
        let kept = QueuedPacket { packet: Packet::clone(packet), out: out.clone() };
        match self.recent.try_push(kept) {
            Ok(()) => {}
            Err(full) => {
                self.turn = (self.turn + 1) % MAX_RECENT;
                self.recent[self.turn] = full.element();
            }
        }
    }

    /// After a negotiation: what cannot be sent again any more is not kept.
    pub(super) fn on_negotiated(&mut self, sections: &[MediaSection]) {
        self.recent.retain(|kept| again(&kept.out, sections).is_some());
    }

    /// The next packet of the probe's padding.
    fn padding(&mut self, sections: &[MediaSection]) -> Option<QueuedPacket> {
        self.recent(sections).or_else(|| self.active.as_ref()?.blank.clone())
    }

    /// The next recent packet as padding.
    fn recent(&mut self, sections: &[MediaSection]) -> Option<QueuedPacket> {
        for _ in 0..self.recent.len() {
            self.turn = (self.turn + 1) % self.recent.len();
            let kept = &self.recent[self.turn];
            if let Some(out) = again(&kept.out, sections) {
                return Some(QueuedPacket { packet: Packet::clone(&kept.packet), out });
            }
        }
        None
    }
}

/// How a packet is sent again as a retransmission; `None` where its section takes none.
fn again(sent: &RtpOut, sections: &[MediaSection]) -> Option<RtpOut> {
    let section = sections.get(sent.section).filter(|section| section.direction == Direction::Send)?;
    let pair = section.local_ssrcs.filter(|pair| pair.media == sent.ssrc)?;
    // RFC 4588 section 4: the original sequence number, then the payload as it was.
    let mut prefix = ArrayVec::from_iter(sent.seq.wire().to_be_bytes());
    prefix.try_extend_from_slice(&sent.edit.prefix).ok()?;
    Some(RtpOut {
        ssrc: pair.rtx?,
        payload_type: section.format(sent.payload_type)?.rtx?,
        edit: PayloadEdit { prefix, skip: sent.edit.skip },
        class: PacketClass::Padding,
        repeat: Repeat::Never,
        group: None,
        ..sent.clone()
    })
}

/// A source of retransmissions of video that feedback tells of: section, source and payload type.
fn source(sections: &[MediaSection]) -> Option<(usize, Ssrc, PayloadType)> {
    sections.iter().enumerate().find_map(|(index, section)| {
        let sends = section.direction == Direction::Send && section.kind == MediaKind::Video;
        section.extensions.id(ExtensionKind::TransportCc).filter(|_| sends)?;
        let rtx = section.local_ssrcs?.rtx?;
        Some((index, rtx, section.formats.iter().find_map(|format| format.rtx)?))
    })
}

/// An empty retransmission, as large as padding can make it.
fn blank((section, ssrc, payload_type): (usize, Ssrc, PayloadType)) -> Option<QueuedPacket> {
    let out = RtpOut {
        section,
        ssrc,
        payload_type,
        seq: SeqNo(0),
        timestamp: 0,
        marker: false,
        edit: PayloadEdit::default(),
        frame_number: None,
        padding: u8::MAX,
        class: PacketClass::Padding,
        repeat: Repeat::Never,
        group: None,
    };
    Some(QueuedPacket { packet: PacketPool::new(1).take(|_| Some(()))?, out })
}

impl Transport {
    /// Begins a probe that is requested, and sends what it lacks now.
    pub(super) fn send_probe(&mut self, now: Instant, path: NetworkPath, batch: &mut TransmitBatch) {
        if self.probing.active.is_none() && !self.begin_probe(now) {
            return;
        }
        while self.probing.active.as_ref().is_some_and(|active| !active.is_done(now)) {
            let Some(padding) = self.probing.padding(&self.sections) else { break };
            if !self.pacer.pass(now, PacketClass::Padding, padding.size()) {
                return;
            }
            if let Err(reason) = self.seal(now, path, (&padding.packet, &padding.out), batch) {
                self.drop_packet(reason);
                break;
            }
            self.counters.rtp_out += 1;
            self.counters.padding_out += 1;
        }
        self.probing.active = None;
        self.apply_estimate(now);
    }

    fn begin_probe(&mut self, now: Instant) -> bool {
        if self.connection.ice.is_limited() {
            return false;
        }
        let has_recent = !self.probing.recent.is_empty();
        let source = if has_recent || self.demand <= self.estimate() { None } else { source(&self.sections) };
        let is_possible = has_recent || source.is_some();
        let Some(cluster) = is_possible.then(|| self.path_state.poll_probe(now)).flatten() else { return false };
        self.pacer.set_rate(now, Some(cluster.bitrate));
        self.probing.active = Some(ActiveProbe::new(now, cluster, source.and_then(blank)));
        true
    }

    /// When the probe under way goes on.
    pub(super) fn probe_timeout(&self) -> Option<Instant> {
        let active = self.probing.active.as_ref()?;
        Some(self.pacer.next_burst().unwrap_or(active.until).min(active.until))
    }
}
