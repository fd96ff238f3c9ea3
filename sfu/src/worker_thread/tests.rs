//! A worker's thread with real sockets, and what becomes of a panic.

use super::*;
use crate::config::{LimitsConfig, MediaConfig};
use crate::net::{Connections, bind_udp};
use sfu_core::event::WorkerStats;
use sfu_core::ids::WorkerId;
use sfu_rtc::drop_reason::DropReason;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket as PlainSocket};
use tokio::sync::mpsc::{Receiver, channel};

/// What a worker on a free port of loopback is made of, where it listens, and what it reports.
pub(super) fn parts() -> (WorkerParts, SocketAddr, Receiver<Report>) {
    let config = MediaConfig { bind: [127, 0, 0, 1].into(), udp_port: 0, ..MediaConfig::default() };
    let udp = bind_udp(&config, 0).unwrap();
    let addr = udp.local_addr();
    let (reports, from_worker) = channel(64);
    let parts = WorkerParts {
        index: 0,
        cpu: None,
        realtime: false,
        udp,
        candidates: Vec::new(),
        config: WorkerConfig::default(),
        certificate: Arc::new(DtlsCertificate::generate()),
        clock: Clock::start(),
        reports,
        relays: RelayHub::new(1),
        claimed: Arc::default(),
        max_tcp: 8,
    };
    (parts, addr, from_worker)
}

fn stats(worker: &WorkerHandle, reports: &mut Receiver<Report>) -> WorkerStats {
    worker.send(Command::Stats { token: 7 });
    loop {
        if let Report::Event { event: Event::Stats { token: 7, stats }, .. } = reports.blocking_recv().unwrap() {
            return *stats;
        }
    }
}

#[test]
fn orders_are_carried_out_and_the_thread_ends_when_told() {
    let (parts, _, mut reports) = parts();
    let (worker, thread) = spawn(parts).unwrap();
    worker.send(Command::OpenRoom { room: RoomId(1) });
    worker.send(Command::OpenRoom { room: RoomId(2) });
    worker.send(Command::CloseRoom { room: RoomId(1) });
    assert_eq!(stats(&worker, &mut reports).rooms, 1);
    worker.stop();
    thread.join().unwrap();
    assert!(reports.blocking_recv().is_none());
}

#[test]
fn what_comes_from_strangers_is_counted_and_answered_by_nothing() {
    let (parts, addr, mut reports) = parts();
    let (worker, thread) = spawn(parts).unwrap();
    let stranger = PlainSocket::bind("127.0.0.1:0").unwrap();
    stranger.set_nonblocking(true).unwrap();
    for _ in 0..100 {
        stranger.send_to(&[0x80; 100], addr).unwrap();
    }
    while stats(&worker, &mut reports).drops.of(DropReason::UnvalidatedAddress) < 100 {}
    assert!(stranger.recv(&mut [0; 2_000]).is_err());
    worker.stop();
    thread.join().unwrap();
}

#[test]
fn many_orders_wake_the_thread_as_often_as_needed() {
    let (parts, _, mut reports) = parts();
    let (worker, thread) = spawn(parts).unwrap();
    for room in 0..3_000 {
        worker.send(Command::OpenRoom { room: RoomId(room) });
    }
    assert_eq!(stats(&worker, &mut reports).rooms, 3_000);
    assert_eq!(worker.waiting(), 0);
    worker.stop();
    thread.join().unwrap();
}

/// Two threads with queues between them, and what they report.
fn pair() -> ([WorkerHandle; 2], [JoinHandle<()>; 2], [Receiver<Report>; 2]) {
    let relays = RelayHub::new(2);
    let one = |index| {
        let (parts, _, reports) = parts();
        let (handle, thread) = spawn(WorkerParts { index, relays: Arc::clone(&relays), ..parts }).unwrap();
        (handle, thread, reports)
    };
    let (a, b) = (one(0), one(1));
    ([a.0, b.0], [a.1, b.1], [a.2, b.2])
}

#[test]
fn what_a_worker_relays_reaches_another_that_sleeps() {
    let ([here, there], threads, _reports) = pair();
    let room = RoomId(1);
    let transport = sfu_core::ids::TransportId(1);
    let credentials = |side: &str| sfu_rtc::ice::IceCredentials { ufrag: side.into(), pwd: "a".repeat(24) };
    let offer = include_str!("../../../sfu-rtc/src/sdp/fixtures/chromium-simulcast.sdp");
    let offer = sfu_rtc::sdp::Offer::parse(offer).unwrap();
    here.send(Command::OpenRoom { room });
    let params = sfu_core::command::TransportParams {
        local_ice: credentials("here"),
        remote_ice: offer.ice.clone(),
        remote_fingerprints: offer.fingerprints.clone(),
        dtls_role: sfu_rtc::dtls::DtlsRole::Server,
        sections: answer(&offer),
        rtcp: sfu_rtc::transport::RtcpSource { ssrc: sfu_rtc::ids::Ssrc(0x0a11_ce00), cname: "test".to_owned() },
        signalled_from: None,
        candidates: Vec::new(),
    };
    let mid = params.sections[0].mid;
    here.send(Command::AddTransport { room, transport, params: Box::new(params) });
    for n in 1..=5 {
        let publication = sfu_core::ids::PublicationId(n);
        here.send(Command::Publish { publication, transport, mid });
        here.send(Command::RelayTo { publication, destination: WorkerId(1) });
        while there.thread_stats().relay_messages.get() < n {
            std::thread::yield_now();
        }
        here.send(Command::Unpublish { publication });
    }
    for worker in [here, there] {
        worker.stop();
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// The sections of an answer to `offer`.
fn answer(offer: &sfu_rtc::sdp::Offer) -> Vec<sfu_rtc::media::MediaSection> {
    let certificate = DtlsCertificate::generate();
    let ice = sfu_rtc::ice::IceCredentials { ufrag: "here".into(), pwd: "a".repeat(24) };
    let params = sfu_rtc::sdp::AnswerParams {
        ice: &ice,
        fingerprint: certificate.fingerprint(),
        candidates: &[],
        policy: &sfu_rtc::sdp::MediaPolicy::default(),
        session: 1,
        version: 1,
        previous: &[],
        dtls_role: Some(sfu_rtc::dtls::DtlsRole::Server),
        cname: "test",
        streams: &|_| "-".into(),
    };
    let mut next = 1;
    let mut ssrc = || {
        next += 1;
        sfu_rtc::ids::Ssrc(next)
    };
    sfu_rtc::sdp::answer(offer, &params, &mut ssrc).unwrap().sections
}

#[test]
fn connections_wait_beside_commands_and_no_more_than_a_worker_may_have() {
    let table = Connections::of_ice_tcp(&LimitsConfig::default());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peers = Vec::new();
    let mut accepted = || {
        peers.push(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        let (stream, address) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        Accepted { stream, read: Vec::new(), ticket: table.seat(Some(address.ip())) }
    };
    let (parts, _, mut reports) = parts();
    let poll = Poll::new().unwrap();
    let shared = Arc::new(Shared::new(0, Vec::new(), parts.max_tcp, &poll).unwrap());
    let worker = WorkerHandle(Arc::clone(&shared));
    for _ in 0..parts.max_tcp {
        worker.take_connection(accepted()).unwrap();
    }
    assert!(worker.take_connection(accepted()).is_err());
    assert_eq!(worker.waiting(), 0, "commands do not wait for them");
    let thread = std::thread::spawn(move || run::run(parts, poll, &shared));
    // As many as there were before have room again once the thread has taken them.
    while !lock(&worker.0.connections).is_empty() {
        stats(&worker, &mut reports);
    }
    worker.take_connection(accepted()).unwrap();
    worker.stop();
    thread.join().unwrap();
}
