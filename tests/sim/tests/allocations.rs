//! Steady-state forwarding allocates nothing: one publisher, many subscribers, real SRTP on both sides.

#![allow(unsafe_code)] // the only way to count allocations

use sfu_core::command::{Command, LayerPreference};
use sfu_core::config::WorkerConfig;
use sfu_core::ids::{PublicationId, RoomId};
use sfu_core::worker::Worker;
use sfu_rtc::dtls::DtlsCertificate;
use sfu_rtc::ids::{Mid, PayloadType, SeqNo, Ssrc};
use sfu_rtc::media::{Codec, Direction, MediaKind, MediaSection, PayloadFormat, SsrcPair};
use sfu_rtc::net::{NetworkPath, Protocol, TransmitBatch};
use sfu_rtc::rtp::RtpHeader;
use sfu_rtc::rtp::extension::{ExtensionKind, ExtensionMap};
use sfu_rtc::time::{Duration, Instant, WallClock};
use sfu_sim::light::LightClient;
use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is handed to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the memory came from the system's allocator with this layout.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the memory came from the system's allocator with this layout.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ROOM: RoomId = RoomId(1);
const PUBLICATION: PublicationId = PublicationId(1);
const SUBSCRIBERS: u64 = 100;
/// Packets of the publisher until all histories and queues have their size: two seconds at one per millisecond.
const WARM_UP: u64 = 4_000;
/// Packets that are counted: a million forwarded ones.
const COUNTED: u64 = 10_000;
const SOURCE: Ssrc = Ssrc(0x0102_0304);
const VP8: PayloadType = PayloadType(96);
const MID_ID: u8 = 4;
const TCC_ID: u8 = 3;

fn section(direction: Direction, ssrc: u32) -> MediaSection {
    let mut extensions = ExtensionMap::default();
    extensions.set(ExtensionKind::Mid, MID_ID);
    extensions.set(ExtensionKind::TransportCc, TCC_ID);
    extensions.set(ExtensionKind::AbsSendTime, 2);
    let pair = SsrcPair { media: Ssrc(ssrc), rtx: Some(Ssrc(ssrc + 1)) };
    MediaSection {
        mid: Mid::new("0").unwrap(),
        kind: MediaKind::Video,
        direction,
        formats: vec![PayloadFormat {
            payload_type: VP8,
            codec: Codec::Vp8,
            clock_rate: 90_000,
            fmtp: String::new(),
            rtx: Some(PayloadType(97)),
        }],
        extensions,
        rids: Vec::new(),
        remote_ssrcs: Vec::new(),
        local_ssrcs: (direction == Direction::Send).then_some(pair),
        cname: "server".into(),
        rtx_time: Duration::from_millis(200),
        nack: true,
    }
}

fn path(port: u16) -> NetworkPath {
    let local = IpAddr::from([10, 0, 0, 1]);
    NetworkPath { remote: SocketAddr::from(([10, 0, 0, 2], port)), local, protocol: Protocol::Udp }
}

/// A packet per millisecond, three per frame, a keyframe every 300 frames, of 1,100 bytes.
fn packet(publisher: &LightClient, n: u64) -> Vec<u8> {
    let (frame, index) = (n / 3, n % 3);
    let picture = (frame as u16 & 0x7fff).to_be_bytes();
    let start = u8::from(index == 0) << 4;
    let mut payload = vec![0x80 | start, 0xe0, 0x80 | picture[0], picture[1], frame as u8, 0x20];
    match (index, frame % 300) {
        (0, 0) => payload.extend_from_slice(&[0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01]),
        _ => payload.extend_from_slice(&[0x11, 0, 0]),
    }
    payload.resize(1_100, 0x5a);
    let seq = SeqNo(1_000 + n);
    let header = RtpHeader {
        payload_type: VP8,
        seq: seq.wire(),
        timestamp: (frame * 270) as u32,
        ssrc: SOURCE,
        marker: index == 2,
    };
    let number = (n as u16).to_be_bytes();
    publisher.seal(header, seq, &[(MID_ID, b"0"), (TCC_ID, &number)], &payload)
}

struct Call {
    worker: Worker,
    batch: TransmitBatch,
    now: Instant,
    forwarded: u64,
}

impl Call {
    fn feed(&mut self, path: &NetworkPath, packets: &mut [Vec<u8>]) {
        for packet in packets {
            self.now += Duration::from_millis(1);
            if self.worker.poll_timeout().is_some_and(|at| at <= self.now) {
                self.worker.handle_timeout(self.now);
            }
            self.worker.handle_datagram(self.now, path, packet);
            loop {
                self.batch.clear();
                self.worker.poll_transmit(self.now, &mut self.batch);
                if self.batch.is_empty() {
                    break;
                }
                self.forwarded += self.batch.datagrams() as u64;
            }
            while self.worker.poll_event().is_some() {}
        }
    }
}

#[test]
fn forwarding_allocates_nothing() {
    let now = Instant::from_millis(1_000_000);
    let certificate = Arc::new(DtlsCertificate::generate());
    let wall = WallClock::new(now, Duration::from_secs(1_700_000_000));
    let mut worker = Worker::new(WorkerConfig::default(), Arc::clone(&certificate), wall, 1);
    worker.handle_command(now, Command::OpenRoom { room: ROOM });
    let mut publisher = LightClient::new(1, path(1), &certificate, now);
    worker.handle_command(now, publisher.add(ROOM, vec![section(Direction::Receive, 0)]));
    let mut now = publisher.connect(&mut worker, now);
    let mid = Mid::new("0").unwrap();
    let transport = publisher.transport;
    worker.handle_command(now, Command::Publish { publication: PUBLICATION, transport, mid });
    for id in 2..2 + SUBSCRIBERS {
        let mut subscriber = LightClient::new(id, path(id as u16), &certificate, now);
        let slot = section(Direction::Send, 0x1000_0000 + 2 * id as u32);
        worker.handle_command(now, subscriber.add(ROOM, vec![slot]));
        now = subscriber.connect(&mut worker, now);
        let (source, preference) = (Some(PUBLICATION), LayerPreference::default());
        worker.handle_command(now, Command::AssignSlot { transport: subscriber.transport, mid, source, preference });
    }
    let mut packets: Vec<Vec<u8>> = (0..WARM_UP + COUNTED).map(|n| packet(&publisher, n)).collect();
    let (warm_up, counted) = packets.split_at_mut(WARM_UP as usize);
    let mut call = Call { worker, batch: TransmitBatch::with_capacity(1 << 20), now, forwarded: 0 };
    call.feed(&publisher.path, warm_up);
    call.forwarded = 0;
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    call.feed(&publisher.path, counted);
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    assert!(call.forwarded >= SUBSCRIBERS * COUNTED, "{} were forwarded", call.forwarded);
    assert_eq!(allocations, 0, "for {} forwarded packets", call.forwarded);
}
