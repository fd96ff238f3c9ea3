//! The floor's receivers are those of the load: plain sockets under one epoll that stays awake within a train, read by
//! recvmmsg, every packet opened.

use super::master_key;
use crate::join::SOCKET_BUFFER;
use crate::wakeful_poll::WakefulPoll;
use anyhow::{Context, Result};
use mio::unix::SourceFd;
use mio::{Events, Interest, Token};
use sfu_net::cpu_time::thread_cpu_time;
use sfu_net::{PlainBatch, UdpConfig, UdpSocket, affinity};
use sfu_rtc::rtp::SealedHeader;
use sfu_rtc::srtp::SrtpReceiver;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Longest sleep, so that the end is seen.
const MAX_SLEEP: Duration = Duration::from_millis(20);

/// Receivers, drained by a thread.
pub(super) struct Receivers {
    pub(super) addresses: Vec<SocketAddr>,
    /// Packets received and opened.
    pub(super) received: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Duration>,
}

impl Receivers {
    pub(super) fn start(count: u16, cpu: usize) -> Result<Self> {
        let config = UdpConfig {
            recv_buffer: SOCKET_BUFFER,
            send_buffer: SOCKET_BUFFER,
            gro: false,
            gso: false,
            ..UdpConfig::default()
        };
        let poll = WakefulPoll::new().context("cannot create a poll")?;
        let mut peers = Vec::new();
        for index in 0..usize::from(count) {
            let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0)), &config)
                .context("cannot bind the receivers' sockets (ulimit -n?)")?;
            poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), Token(index), Interest::READABLE)?;
            peers.push((socket, SrtpReceiver::new(&master_key(index)?, 1)));
        }
        let addresses = peers.iter().map(|(socket, _)| socket.local_addr()).collect();
        let (received, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end) = (Arc::clone(&received), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            // Unpinned it works too, only less steadily.
            let _ = affinity::pin_current_thread(cpu);
            drain(poll, &mut peers, &count, &end)
        });
        Ok(Self { addresses, received, stop, thread })
    }

    /// Nanoseconds of CPU per packet that polling, receiving and opening took.
    pub(super) fn stop(self) -> f64 {
        self.stop.store(true, Ordering::Relaxed);
        let spent = self.thread.join().unwrap_or_default();
        super::per_packet(spent, self.received.load(Ordering::Relaxed))
    }
}

/// Drains until stopped; the CPU time that it needed.
fn drain(
    mut poll: WakefulPoll,
    peers: &mut [(UdpSocket, SrtpReceiver)],
    received: &AtomicU64,
    stop: &AtomicBool,
) -> Duration {
    let mut events = Events::with_capacity(64);
    let mut batch = PlainBatch::default();
    let begun = thread_cpu_time();
    while !stop.load(Ordering::Relaxed) {
        // Interrupted is the only failure of a poll that is set up.
        if poll.poll(&mut events, Some(MAX_SLEEP)).is_err() {
            continue;
        }
        for event in &events {
            let (socket, keys) = &mut peers[event.token().0];
            while socket.recv_plain(&mut batch).is_ok() {
                let opened = batch.iter_mut().filter_map(|(_, packet)| open(keys, packet)).count();
                received.fetch_add(opened as u64, Ordering::Relaxed);
                if !batch.is_full() {
                    break;
                }
            }
        }
    }
    (thread_cpu_time() - begun).saturating_sub(poll.take_idle())
}

fn open(keys: &mut SrtpReceiver, packet: &mut [u8]) -> Option<usize> {
    let header = SealedHeader::parse(packet).ok()?;
    let opened = keys.open_rtp(packet, header.header_len, header.ssrc, header.seq).ok()?;
    Some(opened.len)
}
