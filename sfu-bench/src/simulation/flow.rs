//! One flow: a publisher and a subscriber in a room of their own.

use super::catalogue::FlowPlan;
use super::receiver::Receiver;
use super::record::{FlowRecord, Kind};
use super::server::{self, Server};
use super::{Repair, START, Setup, VideoMode};
use crate::endpoint::{Endpoint, Incoming};
use crate::media::{VideoCodec, VideoSource};
use crate::peer::description::{FEC, OPUS, OfferPlan, RED, RIDS, VIDEO, VIDEO_RTX};
use crate::peer::publisher::Publisher;
use anyhow::Result;
use netsim::Random;
use sfu_core::command::{EncoderTarget, EncodingTarget};
use sfu_core::event::TransportStats;
use sfu_core::ids::{PublicationId, RoomId, TransportId};
use sfu_rtc::dtls::DtlsCertificate;
use sfu_rtc::ids::{Rid, Ssrc};
use sfu_rtc::net::{DatagramKind, TransmitBatch};
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::units::Bitrate;
use std::net::IpAddr;

/// Opus.
const AUDIO_BITRATE: u64 = 32_000;
/// What headers, extensions and seal of audio take: 50 packets per second.
const AUDIO_OVERHEAD: f64 = 15_000.0;
/// Opus on the wire, without redundancy.
const AUDIO_ON_WIRE: f64 = AUDIO_BITRATE as f64 + AUDIO_OVERHEAD;
/// Video on the wire, in units of its payload.
const VIDEO_ON_WIRE: f64 = 1.04;
/// No encoder makes a picture of less.
const MIN_VIDEO: f64 = 50_000.0;
const FPS: f64 = 30.0;
/// Of what a path carries, an encoder is asked for so much ...
const ASKED: f64 = 0.97;
/// ... and so many bit/s less at least: on a narrow one a packet of video takes so long that sound waits behind it ...
const LEFT_FREE: f64 = 40_000.0;
/// ... and for so much while it is not forwarded.
const WHILE_PAUSED: f64 = 0.85;
/// The layers below the highest: bits per second, size.
const LOWER_LAYERS: [(u64, (u16, u16)); 2] = [(150_000, (320, 180)), (500_000, (640, 360))];
const SIZE: (u16, u16) = (1_280, 720);

/// A publisher and a subscriber.
pub(super) struct Flow {
    pub(super) plan: FlowPlan,
    pub(super) publisher: Endpoint,
    pub(super) subscriber: Endpoint,
    source: Publisher,
    receiver: Receiver,
    /// Whether both are connected, so that media flows.
    flows: bool,
    paused: bool,
    publisher_transport: TransportId,
    subscriber_transport: TransportId,
    mode: VideoMode,
    /// Most bits per second on the wire.
    demand: f64,
    /// Bits per second that the encoders were told, all layers together.
    encoder: f64,
    pub(super) record: FlowRecord,
}

/// What a datagram from the server to a subscriber is.
pub(super) fn kind(datagram: &[u8]) -> Kind {
    match (DatagramKind::of(datagram), datagram.get(1).map(|byte| byte & 0x7f)) {
        (Some(DatagramKind::Rtp), Some(OPUS | RED)) => Kind::Audio,
        (Some(DatagramKind::Rtp), Some(VIDEO)) => Kind::Video,
        (Some(DatagramKind::Rtp), Some(VIDEO_RTX)) => Kind::Rtx,
        (Some(DatagramKind::Rtp), Some(FEC)) => Kind::Fec,
        (Some(DatagramKind::Rtcp), _) => Kind::Rtcp,
        _ => Kind::Other,
    }
}

/// Bits per second of video that fit into so many on the wire, beside so many of audio.
fn video_within(wire: f64, audio: f64) -> f64 {
    ((wire - audio) / VIDEO_ON_WIRE).max(MIN_VIDEO)
}

impl Flow {
    /// Joins both, whose addresses are given.
    ///
    /// # Errors
    /// Where they and the server do not understand each other.
    pub(super) fn join(
        server: &mut Server,
        (plan, number): (FlowPlan, usize),
        (setup, demand): (&Setup, u64),
        certificate: &DtlsCertificate,
        [publishes_from, subscribes_from]: [IpAddr; 2],
        (now, random): (Instant, &mut Random),
    ) -> Result<Self> {
        let Setup { video: mode, repair, playout_delay, .. } = *setup;
        let room = RoomId(number as u64 + 1);
        server.open_room(now, room);
        let ssrc = |n: u32| Ssrc(1 + 16 * number as u32 + n);
        let layers = if mode == VideoMode::Simulcast { LOWER_LAYERS.len() + 1 } else { 1 };
        let offer = OfferPlan {
            ice: server.credentials('p'),
            fingerprint: certificate.fingerprint().clone(),
            codec: VideoCodec::Vp8,
            audio: Some(ssrc(0)),
            video: (1..=layers).map(|n| ssrc(n as u32)).collect(),
            audio_slots: 0,
            video_slots: 0,
            flexfec: true,
            red: true,
        };
        let publisher = server.join(now, room, &offer, (certificate, publishes_from))?;
        let top = video_within(demand as f64, AUDIO_ON_WIRE);
        let mut source = camera(&offer, publisher.answer.transport_cc, top as u64, (now, random));
        if publisher.answer.takes_parity {
            source.send_parity();
        }
        let offer = OfferPlan {
            ice: server.credentials('c'),
            audio: None,
            video: Vec::new(),
            audio_slots: 1,
            video_slots: 1,
            ..offer
        };
        let subscriber = server.join(now, room, &offer, (certificate, subscribes_from))?;
        server.connect(now, publisher.transport, subscriber.transport);
        let mut receiver = Receiver::new(&subscriber.answer, repair != Repair::None, plan.delay, now);
        if let Some(delay) = playout_delay {
            receiver.keep_for(delay);
        }
        let lower: u64 = LOWER_LAYERS.iter().take(layers - 1).map(|(bitrate, _)| bitrate).sum();
        Ok(Self {
            plan,
            publisher: publisher.endpoint,
            subscriber: subscriber.endpoint,
            source,
            receiver,
            flows: false,
            paused: false,
            publisher_transport: publisher.transport,
            subscriber_transport: subscriber.transport,
            mode,
            demand: demand as f64,
            encoder: top + lower as f64,
            record: FlowRecord::new(plan.start, plan.pause),
        })
    }

    /// The server sends a datagram to the subscriber.
    pub(super) fn on_sent(&mut self, datagram: &[u8]) {
        self.record.on_sent(kind(datagram), datagram.len());
    }

    pub(super) fn handle_for_publisher(&mut self, now: Instant, datagram: &mut [u8]) {
        if let Incoming::Rtcp(compound) = self.publisher.handle_datagram(now, datagram) {
            self.source.handle_rtcp(compound);
        }
    }

    pub(super) fn handle_for_subscriber(&mut self, now: Instant, datagram: &mut [u8]) {
        let size = datagram.len();
        match self.subscriber.handle_datagram(now, datagram) {
            Incoming::Rtp(packet, seq) => self.receiver.handle_rtp(now, packet, seq, size, &mut self.record),
            Incoming::Rtcp(compound) => self.receiver.handle_rtcp(now, compound),
            Incoming::Other => {}
        }
    }

    /// When either has something to do.
    pub(super) fn poll_timeout(&self) -> Instant {
        let endpoints = self.publisher.poll_timeout().min(self.subscriber.poll_timeout());
        if !self.flows {
            return endpoints;
        }
        let source = match self.plan.pause {
            Some((_, until)) if self.paused => START + until,
            _ => self.source.poll_timeout(),
        };
        endpoints.min(source).min(self.receiver.poll_timeout())
    }

    /// Writes what both have to send now, each into its batch.
    pub(super) fn transmit(&mut self, now: Instant, server: &Server, [up, down]: [&mut TransmitBatch; 2]) {
        self.publisher.poll_transmit(now, up);
        self.subscriber.poll_transmit(now, down);
        if !self.flows {
            // Before its check is answered the server sends some times the bytes that came, and handshakes differ in length.
            let connected = self.publisher.is_connected() && self.subscriber.is_connected();
            self.flows = connected && server.is_answered(now, &[self.publisher_transport, self.subscriber_transport]);
            self.source.skip_to(now);
        }
        if !self.flows {
            return;
        }
        self.update_pause(now);
        if !self.paused {
            self.source.poll(now, &mut self.publisher, up);
            let (publisher, ntp) = (&mut self.publisher, server.clock().ntp(now));
            self.source.report(now, ntp, &mut Vec::new(), &mut |compound| publisher.send_rtcp(compound, up));
        }
        let subscriber = &mut self.subscriber;
        self.receiver.report(now, &mut |compound| subscriber.send_rtcp(compound, down));
    }

    fn update_pause(&mut self, now: Instant) {
        let Some((from, until)) = self.plan.pause else { return };
        let paused = (START + from..START + until).contains(&now);
        if self.paused && !paused {
            self.source.skip_to(now);
            self.receiver.pause(now);
        }
        self.paused = paused;
    }

    /// Ends a sample. An encoder that follows is told what the path carries: the server's estimate, or `oracle`. What it
    /// is told, and of whom.
    pub(super) fn sample(
        &mut self,
        stats: &[TransportStats],
        oracle: Option<f64>,
    ) -> Option<(PublicationId, EncoderTarget)> {
        let publisher = stats.iter().find(|stats| stats.transport == self.publisher_transport);
        let parity = publisher.and_then(|stats| stats.received.iter().find_map(|stream| stream.parity));
        parity.iter().for_each(|parity| self.source.protect(parity));
        let stats = stats.iter().find(|stats| stats.transport == self.subscriber_transport);
        let estimate = stats.and_then(|stats| stats.downlink_estimate).map(|estimate| estimate.as_bps() as f64);
        let slot = |mid| stats.and_then(|stats| stats.slots.iter().find(|slot| slot.mid.as_str() == mid));
        // With what redundancy the server adds.
        let audio =
            slot("0").map_or(0.0, |slot| slot.bitrate.as_bps() as f64).max(AUDIO_BITRATE as f64) + AUDIO_OVERHEAD;
        let slot = slot("1");
        let layer =
            slot.filter(|slot| slot.publication.is_some() && slot.paused.is_none()).map_or(0, |slot| layer(slot.rid));
        let mut target = None;
        if self.mode == VideoMode::Adaptive {
            // What is paused comes back only where it leaves some room.
            let share = if layer == 0 { WHILE_PAUSED } else { ASKED };
            let carries = oracle.or(estimate).unwrap_or(f64::INFINITY);
            let wire = (carries * share).min(carries - LEFT_FREE);
            self.encoder = video_within(wire.min(self.demand), audio);
            self.source.set_bitrate(0, self.encoder as u64);
            let asked = EncodingTarget {
                rid: None,
                bitrate: Some(Bitrate::from_bps(self.encoder as u64)),
                attainable: Bitrate::from_bps((self.demand - AUDIO_ON_WIRE) as u64),
            };
            target = Some((
                server::publication(self.publisher_transport, 1),
                EncoderTarget { layers: [asked].into_iter().collect() },
            ));
        }
        self.record.sample(estimate, self.encoder, layer);
        target
    }

    /// Ends at `now`.
    pub(super) fn finish(mut self, now: Instant) -> FlowRecord {
        let picture = self.receiver.finish(now, &mut self.record);
        let since = |at: Instant| at.saturating_since(START);
        self.record.freezes = picture.freezes.iter().map(|(at, time)| (since(*at), *time)).collect();
        self.record.frames = picture.shown.into_iter().map(since).collect();
        self.record
    }
}

/// Camera and microphone of the offer, the highest layer of so many bits per second.
fn camera(offer: &OfferPlan, transport_cc: Option<u8>, top: u64, (now, random): (Instant, &mut Random)) -> Publisher {
    // Frames of several publishers do not fall on one moment.
    let mut source = Publisher::new(now + Duration::from_micros(random.below(33_333)), 0.0, transport_cc);
    if let Some(audio) = offer.audio {
        source.add_audio(audio, 0, AUDIO_BITRATE, None);
    }
    let lower = LOWER_LAYERS.iter().copied().take(offer.video.len() - 1);
    let layers = lower.chain([(top, SIZE)]).zip(&offer.video).map(|((bitrate, size), ssrc)| {
        let seed = random.bits() as u32;
        (*ssrc, VideoSource::new(VideoCodec::Vp8, seed, bitrate, FPS, size).with_temporal_layers())
    });
    source.add_video(1, layers.collect(), None);
    source.keep_history();
    source
}

/// Place of a layer from 1 on; 1 without simulcast.
fn layer(rid: Option<Rid>) -> u8 {
    let place = rid.and_then(|rid| RIDS.iter().position(|name| *name == rid.as_str()));
    place.map_or(1, |place| place as u8 + 1)
}
