//! A worker's thread with real sockets, and what becomes of a panic.

use super::*;
use crate::config::MediaConfig;
use crate::net::bind_udp;
use sfu_core::event::WorkerStats;
use sfu_rtc::drop_reason::DropReason;
use std::net::{SocketAddr, UdpSocket as PlainSocket};
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
        udp,
        candidates: Vec::new(),
        config: WorkerConfig::default(),
        certificate: Arc::new(DtlsCertificate::generate()),
        clock: Clock::start(),
        reports,
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
