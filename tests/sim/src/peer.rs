//! One participant: str0m with simulated camera, microphone and slots.

use crate::clock::Clock;
use crate::rng::Rng;
use crate::sink::Sink;
use crate::source::{Camera, Microphone, Payload};
use sfu_rtc::time::{Duration, Instant};
use std::net::SocketAddr;
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::format::Codec;
use str0m::media::{Direction, KeyframeRequestKind, MediaKind, Mid, Rid, Simulcast, SimulcastLayer};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{ExtensionValues, RtpWrite};
use str0m::{Candidate, Event, Input, Output, Rtc};

/// Names of simulcast layers, lowest first.
pub const RIDS: [&str; 3] = ["q", "h", "f"];

/// What a participant sends and wants.
#[derive(Clone, Copy, Debug)]
pub struct PeerConfig {
    /// Its number, burnt into all it sends.
    pub id: u32,
    /// Where it is, as it knows.
    pub address: SocketAddr,
    /// Simulcast layers of its camera; one means no simulcast.
    pub layers: usize,
    /// Slots for pictures.
    pub video_slots: usize,
    /// Slots for sound.
    pub audio_slots: usize,
}

/// A slot with what came through it.
#[derive(Debug)]
pub struct Slot {
    /// Its section.
    pub mid: Mid,
    /// Sound or picture.
    pub kind: MediaKind,
    /// What came.
    pub sink: Sink,
}

/// One participant.
pub struct Peer {
    /// As it was made.
    pub config: PeerConfig,
    /// Its camera.
    pub camera: Camera,
    /// Its microphone.
    pub microphone: Microphone,
    /// Its slots, sound first.
    pub slots: Vec<Slot>,
    /// Section of its microphone.
    pub audio_mid: Mid,
    /// Section of its camera.
    pub video_mid: Mid,
    /// Whether ICE and DTLS are done.
    pub connected: bool,
    /// Keyframes that it was asked for.
    pub keyframe_requests: u64,
    rtc: Rtc,
    clock: Clock,
    pending: Option<SdpPendingOffer>,
    timeout: Instant,
    outbox: Vec<(SocketAddr, Vec<u8>)>,
}

/// How long a frame may miss packets before its receiver asks for a keyframe.
const PATIENCE: Duration = Duration::from_millis(400);

impl Peer {
    /// A participant that has not offered yet.
    pub fn new(config: PeerConfig, clock: Clock, now: Instant, mut rng: Rng) -> Self {
        let mut rtc = Rtc::builder()
            .set_rtp_mode(true)
            .set_stats_interval(None)
            .clear_codecs()
            .enable_opus(true, false)
            .enable_vp8(true)
            .build(clock.to_std(now));
        let candidate = Candidate::host(config.address, "udp").expect("a host address");
        rtc.add_local_candidate(candidate);
        // Not all begin in one instant.
        let start = now + Duration::from_millis(rng.between(1, 40));
        Self {
            config,
            camera: Camera::new(config.id, config.layers, start, rng.fork()),
            microphone: Microphone::new(config.id, start, rng.fork()),
            slots: Vec::new(),
            audio_mid: Mid::from("none"),
            video_mid: Mid::from("none"),
            connected: false,
            keyframe_requests: 0,
            rtc,
            clock,
            pending: None,
            timeout: now,
            outbox: Vec::new(),
        }
    }

    /// The first offer: own media, and empty slots.
    pub fn offer(&mut self) -> String {
        let mut api = self.rtc.sdp_api();
        self.audio_mid = api.add_media(MediaKind::Audio, Direction::SendOnly, None, None, None);
        let simulcast = (self.config.layers > 1).then(|| Simulcast {
            send: RIDS[..self.config.layers].iter().map(|rid| SimulcastLayer::new(rid)).collect(),
            recv: Vec::new(),
        });
        self.video_mid = api.add_media(MediaKind::Video, Direction::SendOnly, None, None, simulcast);
        let kinds = [(MediaKind::Audio, self.config.audio_slots), (MediaKind::Video, self.config.video_slots)];
        for (kind, count) in kinds {
            for _ in 0..count {
                let mid = api.add_media(kind, Direction::RecvOnly, None, None, None);
                self.slots.push(Slot { mid, kind, sink: Sink::new(kind) });
            }
        }
        let offer = api.apply();
        self.publish_offer(offer)
    }

    /// Another offer with one more slot.
    pub fn offer_slot(&mut self, kind: MediaKind) -> String {
        let mut api = self.rtc.sdp_api();
        let mid = api.add_media(kind, Direction::RecvOnly, None, None, None);
        self.slots.push(Slot { mid, kind, sink: Sink::new(kind) });
        let offer = api.apply();
        self.publish_offer(offer)
    }

    /// Another offer in which a section has this direction.
    pub fn offer_direction(&mut self, mid: Mid, direction: Direction) -> String {
        let mut api = self.rtc.sdp_api();
        api.set_direction(mid, direction);
        let offer = api.apply();
        self.publish_offer(offer)
    }

    /// An offer that restarts ICE.
    pub fn offer_restart(&mut self) -> String {
        let mut api = self.rtc.sdp_api();
        api.ice_restart(true);
        let offer = api.apply();
        self.publish_offer(offer)
    }

    fn publish_offer(&mut self, offer: Option<(SdpOffer, SdpPendingOffer)>) -> String {
        let (offer, pending) = offer.expect("the change needs an offer");
        self.pending = Some(pending);
        offer.to_sdp_string()
    }

    /// The server's answer.
    pub fn accept(&mut self, answer: &str) {
        let answer = SdpAnswer::from_sdp_string(answer).expect("str0m reads our answer");
        let pending = self.pending.take().expect("an offer is out");
        self.rtc.sdp_api().accept_answer(pending, answer).expect("str0m accepts our answer");
    }

    /// A datagram arrived from `from`.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let at = self.clock.to_std(now);
        let Ok(receive) = Receive::new(Protocol::Udp, from, self.config.address, datagram) else { return };
        // What str0m refuses is damaged; its state is the judge.
        let _ = self.rtc.handle_input(Input::Receive(at, receive));
        self.drive(now);
    }

    /// When it wants to be woken.
    pub fn poll_timeout(&self) -> Instant {
        let media = self.camera.next().min(self.microphone.next());
        if self.connected { self.timeout.min(media) } else { self.timeout }
    }

    /// Time has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.timeout <= now {
            let _ = self.rtc.handle_input(Input::Timeout(self.clock.to_std(now)));
        }
        if self.connected {
            self.send_media(now);
        }
        self.drive(now);
    }

    /// Datagrams to send, with their destination.
    pub fn take_outbox(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        std::mem::take(&mut self.outbox)
    }

    /// Whether it still takes part.
    pub fn is_alive(&self) -> bool {
        self.rtc.is_alive()
    }

    /// Slot of a section.
    pub fn slot(&mut self, mid: Mid) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.mid == mid)
    }

    fn send_media(&mut self, now: Instant) {
        // Sending begins with the connection; what was due before was never captured.
        for payload in self.camera.capture(now) {
            let rid = (self.config.layers > 1).then(|| Rid::from(RIDS[payload.layer]));
            self.write(now, self.video_mid, rid, Codec::Vp8, payload);
        }
        for payload in self.microphone.capture(now) {
            self.write(now, self.audio_mid, None, Codec::Opus, payload);
        }
    }

    fn write(&mut self, now: Instant, mid: Mid, rid: Option<Rid>, codec: Codec, payload: Payload) {
        let Some(params) = self.rtc.codec_config().find(|params| params.spec().codec == codec) else { return };
        let payload_type = params.pt();
        let at = self.clock.to_std(now);
        let mut api = self.rtc.direct_api();
        let Some(stream) = api.stream_tx_by_mid(mid, rid) else { return };
        let extensions = ExtensionValues {
            audio_level: payload.level,
            voice_activity: payload.level.map(|level| level > -40),
            ..ExtensionValues::default()
        };
        let write = RtpWrite::new(payload_type, payload.seq.into(), payload.timestamp, at, payload.bytes)
            .marker(payload.marker)
            .nackable(codec == Codec::Vp8)
            .ext_vals(extensions);
        stream.write_rtp(write);
    }

    /// Takes what str0m has to say, until it waits for time.
    fn drive(&mut self, now: Instant) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.timeout = self.clock.from_std(at).max(now + Duration::from_micros(100));
                    break;
                }
                Ok(Output::Transmit(transmit)) => self.outbox.push((transmit.destination, transmit.contents.into())),
                Ok(Output::Event(event)) => self.handle_event(now, event),
                Err(_) => {
                    self.timeout = Instant::NEVER;
                    break;
                }
            }
        }
        self.ask_for_keyframes(now);
    }

    fn handle_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Connected => {
                self.connected = true;
                self.camera.start(now);
                self.microphone.start(now);
            }
            Event::KeyframeRequest(request) => {
                self.keyframe_requests += 1;
                let layer = request.rid.and_then(|rid| RIDS.iter().position(|name| Rid::from(*name) == rid));
                self.camera.request_keyframe(layer.unwrap_or(0));
            }
            Event::RtpPacket(packet) => {
                let mid = self.rtc.direct_api().stream_rx(&packet.header.ssrc).map(|stream| stream.mid());
                let slot = mid.and_then(|mid| self.slots.iter_mut().find(|slot| slot.mid == mid));
                if let Some(slot) = slot {
                    slot.sink.on_packet(now, &packet);
                }
            }
            _ => {}
        }
    }

    fn ask_for_keyframes(&mut self, now: Instant) {
        for slot in &mut self.slots {
            if slot.sink.wants_keyframe(now, PATIENCE)
                && let Some(stream) = self.rtc.direct_api().stream_rx_by_mid(slot.mid, None)
            {
                stream.request_keyframe(KeyframeRequestKind::Pli);
            }
        }
    }
}
