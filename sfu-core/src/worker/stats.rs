//! The worker's figures.

use super::Worker;
use crate::event::{Event, ReceiveStreamStats, SlotStats, TrafficStats, TransportStats, WorkerStats};
use crate::peer::{Peer, Place, Slot};
use crate::room::Router;
use sfu_rtc::time::Instant;

impl Worker {
    /// Answers [`crate::command::Command::Stats`].
    pub(super) fn report_stats(&mut self, now: Instant, token: u64) {
        let stats = Box::new(self.stats(now));
        self.events.push(Event::Stats { token, stats });
    }

    /// The figures at `now`.
    pub fn stats(&self, now: Instant) -> WorkerStats {
        let mut stats = WorkerStats {
            rooms: self.routers.len() as u64,
            totals: self.past_traffic,
            drops: self.drops.clone(),
            ignored_commands: self.ignored_commands,
            relayed_out: self.relays.packets_out,
            relayed_in: self.relays.packets_in,
            pool_packets: self.pool.len() as u64,
            transports: Vec::with_capacity(self.peers.len()),
        };
        for (_, peer) in self.peers.iter() {
            let figures = self.transport_stats(now, peer);
            stats.totals.add(&figures.traffic);
            stats.drops.merge(peer.transport.drops());
            if !peer.closing {
                stats.transports.push(figures);
            }
        }
        stats
    }

    /// Keeps in the totals what a peer that goes has counted.
    pub(super) fn remember_traffic(&mut self, peer: &Peer) {
        self.past_traffic.add(&traffic(peer));
        self.drops.merge(peer.transport.drops());
    }

    fn transport_stats(&self, now: Instant, peer: &Peer) -> TransportStats {
        let router = self.routers.get(peer.router);
        let figures = peer.transport.figures();
        let published = peer.publications.iter().filter_map(|key| router?.publications.get(*key));
        let received = published
            .flat_map(|publication| {
                let parity = publication.uplink_parity.as_ref().map(|parity| parity.wanted());
                let streams = publication.streams().iter().filter_map(|s| s.stats(now, publication.id));
                streams.map(move |stats| ReceiveStreamStats { parity, ..stats })
            })
            .collect();
        TransportStats {
            transport: peer.id,
            room: peer.room,
            connected: figures.connected,
            path: figures.path,
            rtt: figures.rtt,
            downlink_loss: figures.loss,
            downlink_estimate: figures.estimate,
            downlink_sustained: figures.sustained,
            allocation: peer.share.allocation,
            uplink: figures.uplink,
            traffic: traffic(peer),
            received,
            slots: peer.slots.iter().flatten().map(|slot| slot_stats(now, slot, router)).collect(),
        }
    }
}

fn slot_stats(now: Instant, slot: &Slot, router: Option<&Router>) -> SlotStats {
    let mut stats = SlotStats {
        mid: slot.mid,
        publication: None,
        rid: None,
        paused: None,
        limit: Default::default(),
        redundancy: None,
        packets: 0,
        bitrate: Default::default(),
    };
    if let Place::Idle(forwarder) = &slot.place {
        (stats.packets, stats.bitrate) = forwarder.sent(now);
    }
    let carried = slot.place.carried();
    let publication = carried.and_then(|(key, index)| Some((router?.publications.get(key)?, index)));
    if let Some((publication, index)) = publication
        && let Some(forwarder) = publication.forwarder(index)
    {
        let stream = forwarder.current().and_then(|layer| publication.streams().get(usize::from(layer)));
        stats.publication = Some(publication.id);
        stats.rid = stream.and_then(|stream| stream.rid);
        stats.paused = forwarder.pause_reason();
        stats.limit = forwarder.limit;
        stats.redundancy = forwarder.redundancy();
        (stats.packets, stats.bitrate) = forwarder.sent(now);
    }
    stats
}

fn traffic(peer: &Peer) -> TrafficStats {
    let counters = peer.transport.counters();
    TrafficStats {
        rtp_in: counters.rtp_in,
        bytes_in: counters.bytes_in,
        rtp_in_lost: counters.rtp_in_lost,
        rtp_out: counters.rtp_out,
        bytes_out: counters.bytes_out,
        nacks_sent: counters.requests.nacked,
        nacks_received: peer.received.nacks,
        keyframe_requests_sent: counters.requests.keyframe_requests,
        keyframe_requests_received: peer.received.keyframe_requests,
        rtx_in: counters.rtx_in,
        rtx_out: counters.rtx_out,
        fec_in: counters.fec_in,
        fec_recovered: counters.fec_recovered,
        fec_refused: counters.fec_refused,
        fec_out: counters.fec_out,
        fec_bytes_out: counters.fec_bytes_out,
    }
}
