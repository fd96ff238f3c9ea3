//! What only the inside of the worker can be asked. All else is tested from outside, in `tests/worker`.

use super::*;
use crate::command::{Command, TransportParams};
use crate::ids::WorkerId;
use crate::relay::{RelayBody, RelayMessage, RelayedPacket};
use crate::test_support::{PANICS, packet, section};
use sfu_rtc::ice::IceCredentials;
use sfu_rtc::ids::Mid;
use sfu_rtc::media::{Direction, MediaKind};
use sfu_rtc::net::TransmitBatch;
use sfu_rtc::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};

const NOW: Instant = Instant::from_millis(1);

fn worker() -> Worker {
    let clock = WallClock::new(Instant::ZERO, Duration::ZERO);
    Worker::new(WorkerConfig::default(), Arc::new(DtlsCertificate::generate()), clock, 1)
}

/// Opens room `n` with one transport and one publication, each named `n`.
fn fill(worker: &mut Worker, n: u64) {
    let credentials =
        |side: &str| IceCredentials { ufrag: format!("{side}{n}"), pwd: "of-at-least-22-characters".into() };
    let params = Box::new(TransportParams {
        local_ice: credentials("local"),
        remote_ice: credentials("remote"),
        remote_fingerprints: Vec::new(),
        dtls_role: sfu_rtc::dtls::DtlsRole::Server,
        sections: vec![section("0", MediaKind::Audio, Direction::Receive)],
        rtcp: sfu_rtc::transport::RtcpSource { ssrc: sfu_rtc::ids::Ssrc(0x0a11_ce00), cname: "test".to_owned() },
        signalled_from: None,
        candidates: Vec::new(),
    });
    let (room, transport, publication) = (RoomId(n), TransportId(n), PublicationId(n));
    worker.handle_command(NOW, Command::OpenRoom { room });
    worker.handle_command(NOW, Command::AddTransport { room, transport, params });
    worker.handle_command(NOW, Command::Publish { publication, transport, mid: Mid::new("0").unwrap() });
    assert_eq!(worker.ignored_commands, 0);
}

#[test]
fn a_room_that_failed_is_dropped_and_no_other() {
    let mut worker = worker();
    (1..=2).for_each(|n| fill(&mut worker, n));
    assert_eq!(worker.abandon_room(), None, "nothing was at work");
    worker.at_work = worker.rooms.get(&RoomId(1)).copied();
    assert_eq!(worker.abandon_room(), Some(RoomId(1)));
    let stats = worker.stats(NOW);
    assert_eq!((stats.rooms, stats.transports.len(), stats.transports[0].transport), (1, 1, TransportId(2)));
    assert!(worker.paths.by_ufrag("local1").is_none() && worker.paths.by_ufrag("local2").is_some());
    assert_eq!((worker.publications.len(), worker.transports.len()), (1, 1));
    // The names are free again.
    fill(&mut worker, 1);
    for now in [NOW, Instant::from_millis(120_000)] {
        worker.handle_timeout(now);
        worker.poll_transmit(now, &mut Default::default());
    }
    assert_eq!(worker.stats(NOW).transports.len(), 0, "nobody connected in time");
}

/// Room `n` with a publication, named `n`, that another worker relays; one packet of it waits to be forwarded.
fn fill_by_relay(worker: &mut Worker, n: u64) {
    let (room, publication, origin) = (RoomId(n), PublicationId(n), WorkerId(1));
    worker.handle_command(NOW, Command::OpenRoom { room });
    let (sender, kind) = (TransportId(100 + n), MediaKind::Video);
    worker.handle_command(NOW, Command::OpenRelay { room, publication, origin, sender, kind, rids: Vec::new() });
    relay_packet(worker, n, 1);
}

fn relay_packet(worker: &mut Worker, n: u64, seq: u64) {
    let packet = packet(seq, 3_000, |_| ());
    let packet = RelayedPacket { packet, epoch: 0, clock_rate: 90_000, layer: 0, gap: false };
    let message = RelayMessage { publication: PublicationId(n), body: RelayBody::Packet(packet) };
    worker.handle_relay(NOW, WorkerId(1), message);
}

fn waits(worker: &Worker, n: u64) -> bool {
    let (router, key) = worker.publications[&PublicationId(n)];
    worker.routers.get(router).unwrap().publications.get(key).unwrap().due() != Instant::NEVER
}

/// The list of what waits is in use when a fan-out panics; whoever is still on it must be forwarded all the same.
#[test]
fn a_panic_in_the_middle_of_a_fan_out_stops_no_other_room() {
    let mut worker = worker();
    (1..=3).for_each(|n| fill_by_relay(&mut worker, n));
    PANICS.set(Some(PublicationId(2)));
    let later = NOW + Duration::from_secs(1);
    let mut batch = TransmitBatch::default();
    let panic = catch_unwind(AssertUnwindSafe(|| worker.poll_transmit(later, &mut batch)));
    assert!(panic.is_err());
    assert_eq!(worker.abandon_room(), Some(RoomId(2)));
    assert!(waits(&worker, 3), "it had not had its turn");
    worker.poll_transmit(later, &mut batch);
    for n in [1, 3] {
        assert!(!waits(&worker, n), "{n}");
        relay_packet(&mut worker, n, 2);
        assert!(waits(&worker, n), "{n}");
    }
    worker.poll_transmit(later, &mut batch);
    assert!(!waits(&worker, 1) && !waits(&worker, 3), "they are listed again");
}
