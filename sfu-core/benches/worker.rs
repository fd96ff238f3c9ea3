//! What the whole worker costs: `cargo bench -p sfu-core --bench worker`.

mod room;

use divan::Bencher;
use divan::counter::ItemsCount;
use room::support::World;
use room::{FRAME_PACKETS, Room, subscriber_slot};
use sfu_rtc::net::TransmitBatch;
use sfu_rtc::time::{Duration, Instant};
use std::cell::{Cell, RefCell};

fn main() {
    divan::main();
}

/// A frame of six packets in, and out to each subscriber; with the timers that fall due between two frames.
#[divan::bench(args = [1, 10, 100, 1_000])]
fn forward_a_frame(bencher: Bencher<'_, '_>, subscribers: usize) {
    let per_frame = FRAME_PACKETS * subscribers;
    let room = RefCell::new(Room::new(subscribers));
    let (before, frames) = (room.borrow().forwarded(), Cell::new(0));
    bencher.counter(ItemsCount::new(per_frame)).with_inputs(|| room.borrow_mut().frame()).bench_local_refs(|frame| {
        assert!(room.borrow_mut().play(frame) >= per_frame);
        frames.set(frames.get() + 1);
    });
    assert_eq!(room.borrow().forwarded() - before, frames.get() * per_frame as u64);
}

/// Peers who send nothing but their checks.
struct IdlePeers {
    world: World,
    checks: Vec<Vec<u8>>,
    /// Whose turn it is.
    next: usize,
    batch: TransmitBatch,
}

const IDLE: usize = 1_000;
/// Browsers renew their consent so often.
const RENEWAL: Duration = Duration::from_millis(2_500);

impl IdlePeers {
    fn new() -> Self {
        let mut world = World::new();
        for _ in 0..IDLE {
            world.join(vec![subscriber_slot()]);
        }
        let checks = world.clients.iter_mut().map(|client| client.check()).collect();
        Self { world, checks, next: 0, batch: TransmitBatch::default() }
    }

    /// One of them renews its consent, after the timers that were due before. How many datagrams left.
    fn renew(&mut self) -> usize {
        let at = self.world.now + RENEWAL / IDLE as u32;
        let mut datagrams = 0;
        while let Some(due) = self.due().filter(|due| *due <= at) {
            self.world.now = self.world.now.max(due);
            self.world.worker.handle_timeout(self.world.now);
            datagrams += self.flush();
        }
        self.world.now = at;
        let path = self.world.clients[self.next].path;
        self.world.worker.handle_datagram(at, &path, &mut self.checks[self.next]);
        self.next = (self.next + 1) % IDLE;
        datagrams + self.flush()
    }

    fn due(&self) -> Option<Instant> {
        self.world.worker.poll_timeout()
    }

    fn flush(&mut self) -> usize {
        self.batch.clear();
        self.world.worker.poll_transmit(self.world.now, &mut self.batch);
        while self.world.worker.poll_event().is_some() {}
        self.batch.datagrams()
    }
}

/// A second of a worker with a thousand peers who only renew their consent.
#[divan::bench]
fn a_second_of_idle_peers(bencher: Bencher<'_, '_>) {
    let per_second = IDLE * 1_000 / RENEWAL.as_millis() as usize;
    let mut peers = IdlePeers::new();
    bencher.counter(ItemsCount::new(per_second)).bench_local(|| {
        let answered: usize = (0..per_second).map(|_| peers.renew()).sum();
        assert!(answered >= per_second);
    });
    let connected = peers.world.stats().transports.iter().filter(|transport| transport.connected).count();
    assert_eq!(connected, IDLE);
}

/// To be asked for the next timer, and to find that nothing is due, with a thousand timers waiting.
#[divan::bench]
fn nothing_due_of_idle_peers(bencher: Bencher<'_, '_>) {
    let mut peers = IdlePeers::new();
    bencher.bench_local(|| {
        assert!(peers.due().is_some());
        peers.world.worker.handle_timeout(peers.world.now);
    });
}
