//! One transport against str0m: an independent implementation of ICE, DTLS, SRTP, RTP and SDP.
//!
//! The server side here sends back to the peer what it publishes, on the peer's own slots.

use sfu_rtc::codec::FrameFacts;
use sfu_rtc::dtls::{DtlsCertificate, DtlsRole};
use sfu_rtc::ice::{Candidate, CandidateProtocol, ICE_ENTROPY, IceCredentials, IceSecret};
use sfu_rtc::ids::{Rid, SeqNo, Ssrc};
use sfu_rtc::media::{Direction, MediaSection};
use sfu_rtc::net::{NetworkPath, Protocol, TransmitBatch};
use sfu_rtc::packet::PacketPool;
use sfu_rtc::rtcp::RtcpView;
use sfu_rtc::sdp::{self, AnswerParams, MediaPolicy, Offer};
use sfu_rtc::time::{Duration, Instant, WallClock};
use sfu_rtc::transport::{
    PacketClass, PayloadEdit, Received, Repeat, RtpOut, Transport, TransportConfig, TransportEvent,
};
use sfu_sim::clock::Clock;
use sfu_sim::peer::{Peer, PeerConfig};
use sfu_sim::rng::Rng;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

/// One way between peer and server.
const DELAY: Duration = Duration::from_millis(15);
const SERVER: ([u8; 4], u16) = ([10, 0, 0, 1], 7_881);
const PEER: ([u8; 4], u16) = ([10, 0, 1, 1], 40_000);

/// A datagram on its way: when it arrives, the peer's address as the server sees it, and its bytes.
type Flight = (Instant, SocketAddr, Vec<u8>);

struct Echo {
    peer: Peer,
    transport: Transport,
    certificate: DtlsCertificate,
    now: Instant,
    clock: WallClock,
    to_server: VecDeque<Flight>,
    to_peer: VecDeque<Flight>,
    /// The peer's address as the server sees it.
    seen_as: SocketAddr,
    pool: PacketPool,
    sections: Vec<MediaSection>,
    answers: u64,
    next_report: Instant,
    requests: u64,
    events: Vec<TransportEvent>,
    seqs: HashMap<(Ssrc, usize), u64>,
    /// Sources of the layers that came.
    sources: HashMap<Option<Rid>, Ssrc>,
    /// Layer that is sent back.
    layer: &'static str,
}

impl Echo {
    fn new(layers: usize) -> Self {
        let now = Instant::from_millis(1_000_000);
        let config = PeerConfig { id: 1, address: PEER.into(), layers, video_slots: 1, audio_slots: 1 };
        let mut peer = Peer::new(config, Clock::default(), now, Rng::new(5));
        let offer = peer.offer();
        let certificate = DtlsCertificate::generate();
        let ice = credentials(1);
        let (parsed, sections, answer) = answer(&offer, &ice, &certificate, &[], 1);
        let params = sfu_rtc::transport::TransportParams {
            local_ice: ice,
            remote_ice: parsed.ice.clone(),
            ice_secret: IceSecret::from_seed(1),
            signalled_from: None,
            remote_fingerprints: parsed.fingerprints.clone(),
            dtls_role: DtlsRole::Server,
            sections: sections.clone(),
            rtcp: sfu_rtc::transport::RtcpSource { ssrc: sfu_rtc::ids::Ssrc(0x0a11_ce00), cname: "sim".to_owned() },
        };
        let transport = Transport::new(TransportConfig::default(), params, &certificate, now);
        peer.accept(&answer);
        Self {
            peer,
            transport,
            certificate,
            now,
            clock: WallClock::new(now, Duration::from_secs(1_700_000_000)),
            to_server: VecDeque::new(),
            to_peer: VecDeque::new(),
            seen_as: PEER.into(),
            pool: PacketPool::new(1_000),
            sections,
            answers: 1,
            next_report: now,
            requests: 0,
            events: Vec::new(),
            seqs: HashMap::new(),
            sources: HashMap::new(),
            layer: "q",
        }
    }

    fn run(&mut self, seconds: u64) {
        let until = self.now + Duration::from_secs(seconds);
        loop {
            self.exchange();
            let flights = [self.to_server.front(), self.to_peer.front()].into_iter().flatten().map(|flight| flight.0);
            let timers = [Some(self.peer.poll_timeout()), self.transport.poll_timeout(), Some(self.next_report)];
            let next = timers.into_iter().flatten().chain(flights).min().unwrap_or(until);
            if next >= until {
                self.now = until;
                return;
            }
            self.now = self.now.max(next);
            self.deliver();
            if self.peer.poll_timeout() <= self.now {
                self.peer.handle_timeout(self.now);
            }
            if self.transport.poll_timeout().is_some_and(|at| at <= self.now) {
                self.transport.handle_timeout(self.now);
            }
            if self.next_report <= self.now {
                self.next_report = self.now + Duration::from_secs(1);
                self.report();
            }
        }
    }

    /// Puts on their way what both sides have to send.
    fn exchange(&mut self) {
        let at = self.now + DELAY;
        for (_, datagram) in self.peer.take_outbox() {
            self.to_server.push_back((at, self.seen_as, datagram));
        }
        let mut batch = TransmitBatch::default();
        self.transport.poll_transmit(self.now, &mut batch);
        for transmit in batch.transmits() {
            for datagram in batch.bytes(transmit).chunks(transmit.segment_size) {
                self.to_peer.push_back((at, transmit.path.remote, datagram.to_vec()));
            }
        }
        self.events.extend(std::iter::from_fn(|| self.transport.poll_event()));
    }

    fn deliver(&mut self) {
        while let Some((_, from, datagram)) = self.to_server.pop_front_if(|flight| flight.0 <= self.now) {
            self.receive(from, datagram);
        }
        while let Some((_, to, datagram)) = self.to_peer.pop_front_if(|flight| flight.0 <= self.now) {
            if to == self.seen_as {
                self.peer.handle_datagram(self.now, SERVER.into(), &datagram);
            }
        }
    }

    fn receive(&mut self, from: SocketAddr, mut datagram: Vec<u8>) {
        let path = NetworkPath { remote: from, local: SocketAddr::from(SERVER).ip(), protocol: Protocol::Udp };
        match self.transport.handle_datagram(self.now, &path, &mut datagram) {
            Received::Rtp(rtp) => {
                self.sources.insert(rtp.rid, rtp.ssrc);
                let back = self.sections.iter().position(|section| {
                    let published = &self.sections[rtp.section];
                    section.direction == Direction::Send && section.kind == published.kind
                });
                let (Some(section), true) = (back, rtp.rid.is_none_or(|rid| rid.as_str() == self.layer)) else {
                    return;
                };
                let packet = self.pool.take(|data| rtp.fill(FrameFacts::default(), data)).unwrap();
                let ssrc = self.sections[section].local_ssrcs.unwrap().media;
                // Keeps the order and gaps of the source, from a low number on.
                let first = *self.seqs.entry((rtp.ssrc, section)).or_insert(rtp.seq.0);
                let out = RtpOut {
                    section,
                    ssrc,
                    payload_type: self.sections[section].formats[0].payload_type,
                    seq: SeqNo(1_000 + rtp.seq.0 - first),
                    timestamp: rtp.timestamp,
                    marker: rtp.marker,
                    edit: PayloadEdit::default(),
                    frame_number: None,
                    padding: 0,
                    class: PacketClass::Video,
                    repeat: Repeat::Never,
                    group: None,
                };
                self.transport.queue_rtp(self.now, &packet, out).unwrap();
            }
            Received::Rtcp(compound) => {
                let keyframe = |packet| matches!(packet, Ok(RtcpView::Pli(_) | RtcpView::Fir(_)));
                self.requests += compound.packets().filter(|packet| keyframe(*packet)).count() as u64;
            }
            Received::Nothing | Received::Parity { .. } | Received::OverLimit(_) | Received::Dropped(_) => {}
        }
    }

    fn report(&mut self) {
        for section in 0..self.sections.len() {
            self.transport.send_report(section, self.clock.ntp(self.now), 90_000);
        }
    }

    fn negotiate(&mut self, offer: &str, ice: &IceCredentials) -> Offer {
        self.answers += 1;
        let (parsed, sections, answer) = answer(offer, ice, &self.certificate, &self.sections, self.answers);
        self.sections.clone_from(&sections);
        self.transport.update_sections(sections);
        self.peer.accept(&answer);
        parsed
    }

    fn assert_flowing(&mut self) {
        let before: Vec<usize> = self.peer.slots.iter().map(|slot| slot.sink.packets().len()).collect();
        self.run(2);
        for (slot, before) in self.peer.slots.iter().zip(before) {
            let came = slot.sink.packets().len() - before;
            assert!(came > 20, "{:?} got {came}", slot.kind);
            assert_eq!(slot.sink.faults(|_, _| false), Vec::<String>::new());
            assert_eq!(slot.sink.holes(), 0, "{:?}", slot.kind);
        }
    }
}

fn credentials(n: u8) -> IceCredentials {
    IceCredentials::from_entropy('a', &[n; ICE_ENTROPY])
}

fn answer(
    offer: &str,
    ice: &IceCredentials,
    certificate: &DtlsCertificate,
    previous: &[MediaSection],
    version: u64,
) -> (Offer, Vec<MediaSection>, String) {
    let parsed = Offer::parse(offer).unwrap();
    let mut next = 0x1000;
    let params = AnswerParams {
        ice,
        fingerprint: certificate.fingerprint(),
        candidates: &[Candidate::host(CandidateProtocol::Udp, SERVER.into(), 1)],
        policy: &MediaPolicy::default(),
        session: 1,
        version,
        previous,
        dtls_role: Some(DtlsRole::Server),
        cname: "sim",
        streams: &|mid| format!("slot-{mid}"),
    };
    let answer = sdp::answer(&parsed, &params, &mut || {
        next += 1;
        Ssrc(next)
    })
    .unwrap();
    (parsed, answer.sections, answer.sdp)
}

#[test]
fn media_goes_both_ways() {
    let mut echo = Echo::new(1);
    echo.run(2);
    assert!(echo.peer.connected);
    assert!(
        matches!(echo.events[..], [TransportEvent::Reached, TransportEvent::Connected { .. }]),
        "{:?}",
        echo.events
    );
    echo.assert_flowing();
    let rtt = echo.transport.rtt().expect("a round trip");
    assert!((29..=32).contains(&rtt.as_millis()), "{rtt:?}");
    let counters = echo.transport.counters();
    assert!(counters.rtp_in > 100 && counters.rtp_out > 100 && counters.rtcp_out > 20, "{counters:?}");
}

#[test]
fn simulcast_layers_are_routed() {
    let mut echo = Echo::new(3);
    echo.layer = "h";
    echo.run(2);
    echo.assert_flowing();
    let slot = echo.peer.slots.last().unwrap();
    assert!(slot.sink.packets().values().all(|got| got.stamp.layer == 1));
}

#[test]
fn keyframes_are_asked_for_by_layer() {
    let mut echo = Echo::new(3);
    echo.run(1);
    let media = echo.sources[&Rid::new("h")];
    echo.transport.feedback().pli(media);
    echo.run(1);
    assert_eq!(echo.peer.keyframe_requests, 1);
}

#[test]
fn the_call_survives_a_new_port() {
    let mut echo = Echo::new(1);
    echo.run(2);
    echo.seen_as = SocketAddr::from(([10, 0, 1, 1], 51_000));
    echo.run(8);
    assert_eq!(echo.transport.path().map(|path| path.remote), Some(echo.seen_as));
    let before = echo.peer.slots.iter().map(|slot| slot.sink.packets().len()).sum::<usize>();
    echo.run(2);
    assert!(echo.peer.slots.iter().map(|slot| slot.sink.packets().len()).sum::<usize>() > before + 100);
}

#[test]
fn the_call_survives_an_ice_restart() {
    let mut echo = Echo::new(1);
    echo.run(2);
    let offer = echo.peer.offer_restart();
    let ice = credentials(2);
    let parsed = echo.negotiate(&offer, &ice);
    echo.transport.restart_ice(ice, parsed.ice);
    echo.run(2);
    assert_eq!(echo.transport.ufrags().count(), 1, "the new credentials are in use");
    echo.assert_flowing();
}

#[test]
fn goodbye_reaches_the_peer() {
    let mut echo = Echo::new(1);
    echo.run(2);
    echo.transport.close(echo.now);
    echo.run(2);
    assert!(!echo.peer.is_alive());
}
