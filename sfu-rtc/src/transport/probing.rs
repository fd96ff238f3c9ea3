//! Probes that the estimator wishes: media that is due leaves at the probe's rate, and padding fills what is missing.
//!
//! Padding is recent packets sent again as retransmissions (RFC 4588), which repair a loss if there was one. So there is
//! none before the first packet of a section with retransmissions, nor for a peer that takes none: a wish waits till then.

use super::Transport;
use super::send::QueuedPacket;
use crate::bwe::{ProbeCluster, ProbeId};
use crate::media::{Direction, MediaSection};
use crate::net::{NetworkPath, TransmitBatch};
use crate::pacer::PacketClass;
use crate::packet::Packet;
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
/// Most packets of padding in one probe, whatever is wished.
const MAX_PADDING: u32 = 256;
/// A probe that took so much longer than wished, since nobody called, is over.
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
}

impl ActiveProbe {
    fn new(now: Instant, cluster: ProbeCluster) -> Self {
        let left = cluster.bitrate.in_duration(cluster.duration);
        Self { until: now + cluster.duration + MAX_DELAY, left, packets: 0, padding: 0, cluster }
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

    /// A packet of video was sent: now and then one is kept.
    pub(super) fn keep(&mut self, now: Instant, packet: &Packet, out: &RtpOut) {
        if now < self.renewed + RENEWAL && self.recent.is_full() || packet.payload().len() < MIN_PAYLOAD {
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

    /// The next packet of padding.
    fn padding(&mut self, sections: &[MediaSection]) -> Option<QueuedPacket> {
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

impl Transport {
    /// Begins a probe that is wished, and sends what it lacks now.
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
        let is_possible = !self.connection.ice.is_limited() && self.probing.padding(&self.sections).is_some();
        let Some(cluster) = is_possible.then(|| self.path_state.poll_probe(now)).flatten() else { return false };
        self.pacer.set_rate(now, Some(cluster.bitrate));
        self.probing.active = Some(ActiveProbe::new(now, cluster));
        true
    }

    /// When the probe under way goes on.
    pub(super) fn probe_timeout(&self) -> Option<Instant> {
        let active = self.probing.active.as_ref()?;
        Some(self.pacer.next_burst().unwrap_or(active.until).min(active.until))
    }
}
