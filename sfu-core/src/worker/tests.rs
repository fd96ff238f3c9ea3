//! What only the inside of the worker can be asked. All else is tested from outside, in `tests/worker`.

use super::*;
use crate::command::{Command, TransportParams};
use crate::test_support::section;
use sfu_rtc::ice::IceCredentials;
use sfu_rtc::ids::Mid;
use sfu_rtc::media::{Direction, MediaKind};
use sfu_rtc::time::Duration;

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
    assert!(worker.demux.by_ufrag("local1").is_none() && worker.demux.by_ufrag("local2").is_some());
    assert_eq!((worker.publications.len(), worker.transports.len()), (1, 1));
    // The names are free again.
    fill(&mut worker, 1);
    for now in [NOW, Instant::from_millis(120_000)] {
        worker.handle_timeout(now);
        worker.poll_transmit(now, &mut Default::default());
    }
    assert_eq!(worker.stats(NOW).transports.len(), 0, "nobody connected in time");
}
