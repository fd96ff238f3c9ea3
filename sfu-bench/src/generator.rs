//! A generator thread: hundreds of peers, each with a socket of its own, one poll, one timer queue.

use crate::endpoint::{Endpoint, Incoming};
use crate::measure::histogram::Histogram;
use crate::peer::publisher::Publisher;
use crate::peer::subscriber::{Measured, Subscriber};
use anyhow::{Context, Result};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use sfu_net::cpu_time::thread_cpu_time;
use sfu_net::{RecvBatch, UdpSocket, affinity};
use sfu_rtc::net::TransmitBatch;
use sfu_rtc::rtcp;
use sfu_rtc::time::Instant;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Token of the waker; peers have their index.
const WAKE: Token = Token(usize::MAX);
/// Longest sleep, so that the end of the run is seen.
const MAX_SLEEP: Duration = Duration::from_millis(50);

/// The process's clock: stamps, timers and latency are all on it.
#[derive(Clone, Copy, Debug)]
pub struct BenchClock(std::time::Instant);

impl BenchClock {
    /// Begins now.
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// Time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// The same as the sans-IO parts take it.
    pub fn now(&self) -> Instant {
        Instant::ZERO + self.elapsed()
    }
}

/// A participant that has joined and begins to connect.
pub struct NewPeer {
    /// Its socket.
    pub socket: UdpSocket,
    /// Its connection.
    pub endpoint: Endpoint,
    /// What it sends.
    pub publisher: Publisher,
    /// What it receives.
    pub subscriber: Subscriber,
    /// When its join began.
    pub joined: Instant,
}

/// What a thread has to say at the end.
#[derive(Clone, Debug, Default)]
pub struct ThreadResult {
    /// What its peers received, within the measured time.
    pub measured: Measured,
    /// Packets that its peers sent within the measured time.
    pub sent: u64,
    /// Keyframes that its publishers were asked for.
    pub keyframe_requests: u64,
    /// From the join's beginning to the connection.
    pub connect: Histogram,
    /// Peers whose connection failed or never came about.
    pub failed: u64,
    /// How late frames were sent: large values say that the generator was the limit.
    pub lateness: Histogram,
    /// CPU time of the thread within the measured time.
    pub cpu: Duration,
}

impl ThreadResult {
    /// Adds what another thread found.
    pub fn merge(&mut self, other: &Self) {
        self.measured.merge(&other.measured);
        self.sent += other.sent;
        self.keyframe_requests += other.keyframe_requests;
        self.connect.merge(&other.connect);
        self.failed += other.failed;
        self.lateness.merge(&other.lateness);
        self.cpu += other.cpu;
    }
}

/// Counts that can be watched while a thread runs.
#[derive(Debug, Default)]
pub struct Live {
    /// Peers that were handed over.
    pub peers: AtomicU64,
    /// Peers that are connected.
    pub connected: AtomicU64,
    /// RTP packets received.
    pub received: AtomicU64,
    /// RTP packets sent.
    pub sent: AtomicU64,
}

/// A running thread.
pub struct Generator {
    peers: mpsc::Sender<NewPeer>,
    waker: Arc<Waker>,
    measuring: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    live: Arc<Live>,
    thread: JoinHandle<ThreadResult>,
}

impl Generator {
    /// Starts a thread, pinned to `cpu` where that can be.
    ///
    /// # Errors
    /// Where the system gives no poll or no thread.
    pub fn start(clock: BenchClock, cpu: Option<usize>) -> Result<Self> {
        let poll = Poll::new().context("cannot create a poll")?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let (peers, inbox) = mpsc::channel();
        let (measuring, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let live = Arc::new(Live::default());
        let mut state = State {
            clock,
            poll,
            inbox,
            peers: Vec::new(),
            timers: BinaryHeap::new(),
            measuring: Arc::clone(&measuring),
            stop: Arc::clone(&stop),
            live: Arc::clone(&live),
            received: RecvBatch::default(),
            outgoing: TransmitBatch::default(),
            rtcp: Vec::new(),
            result: ThreadResult::default(),
        };
        let thread = thread::Builder::new().name("bench-generator".into()).spawn(move || {
            if let Some(cpu) = cpu {
                // Unpinned it works too, only less steadily.
                let _ = affinity::pin_current_thread(cpu);
            }
            state.run()
        })?;
        Ok(Self { peers, waker, measuring, stop, live, thread })
    }

    /// Hands over a peer.
    pub fn add(&self, peer: NewPeer) {
        self.live.peers.fetch_add(1, Ordering::Relaxed);
        // Both fail only when the thread has ended.
        let _ = self.peers.send(peer);
        let _ = self.waker.wake();
    }

    /// How many peers it has.
    pub fn peers(&self) -> u64 {
        self.live.peers.load(Ordering::Relaxed)
    }

    /// From now on what happens counts.
    pub fn begin_measuring(&self) {
        self.measuring.store(true, Ordering::Release);
    }

    /// What it does now.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// Ends the peers, and gives what was measured.
    ///
    /// # Errors
    /// Where the thread panicked.
    pub fn finish(self) -> Result<ThreadResult> {
        self.stop.store(true, Ordering::Release);
        self.thread.join().map_err(|_| anyhow::anyhow!("a generator thread panicked"))
    }
}

struct State {
    clock: BenchClock,
    poll: Poll,
    inbox: mpsc::Receiver<NewPeer>,
    peers: Vec<Peer>,
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    measuring: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    live: Arc<Live>,
    received: RecvBatch,
    outgoing: TransmitBatch,
    rtcp: Vec<u8>,
    result: ThreadResult,
}

struct Peer {
    new: NewPeer,
    connected: bool,
    armed: Instant,
}

impl State {
    fn run(&mut self) -> ThreadResult {
        let mut events = Events::with_capacity(4_096);
        let mut measuring = false;
        let mut cpu = thread_cpu_time();
        while !self.stop.load(Ordering::Acquire) {
            if !measuring && self.measuring.load(Ordering::Acquire) {
                measuring = true;
                cpu = thread_cpu_time();
                self.begin();
            }
            let next = self.timers.peek().map_or(Instant::NEVER, |Reverse((at, _))| *at);
            let timeout = (next - self.clock.now()).min(MAX_SLEEP);
            // Interrupted is the only failure of a poll that is set up; the loop comes round again.
            if self.poll.poll(&mut events, Some(timeout)).is_err() {
                continue;
            }
            self.take_new_peers();
            for event in &events {
                if event.token() != WAKE {
                    self.receive(event.token().0);
                }
            }
            self.fire_timers();
        }
        self.result.cpu = thread_cpu_time() - cpu;
        self.close();
        std::mem::take(&mut self.result)
    }

    /// Forgets what happened before; connection times stay.
    fn begin(&mut self) {
        let kept = ThreadResult { connect: std::mem::take(&mut self.result.connect), ..ThreadResult::default() };
        let first_frame = std::mem::take(&mut self.result.measured.first_frame);
        self.result = kept;
        self.result.measured.first_frame = first_frame;
        for peer in &mut self.peers {
            peer.new.subscriber.forget_losses();
        }
        self.result.sent = 0;
        let sent: u64 = self.peers.iter().map(|peer| peer.new.publisher.packets()).sum();
        self.result.sent = sent.wrapping_neg();
    }

    fn take_new_peers(&mut self) {
        while let Ok(new) = self.inbox.try_recv() {
            let index = self.peers.len();
            let fd = new.socket.as_raw_fd();
            if self.poll.registry().register(&mut SourceFd(&fd), Token(index), Interest::READABLE).is_err() {
                self.result.failed += 1;
                continue;
            }
            self.peers.push(Peer { new, connected: false, armed: Instant::NEVER });
            self.serve(index);
        }
    }

    fn receive(&mut self, index: usize) {
        let Some(peer) = self.peers.get_mut(index) else { return };
        loop {
            if peer.new.socket.recv(&mut self.received).is_err() {
                break;
            }
            let clock = self.clock.elapsed();
            let now = Instant::ZERO + clock;
            let mut count = 0;
            for (_, datagram) in self.received.iter_mut() {
                match peer.new.endpoint.handle_datagram(now, datagram) {
                    Incoming::Rtp(packet, seq) => {
                        count += 1;
                        peer.new.subscriber.handle_rtp(now, clock, packet, seq, &mut self.result.measured);
                    }
                    Incoming::Rtcp(compound) => {
                        for packet in rtcp::compound(compound).flatten() {
                            self.result.keyframe_requests += peer.new.publisher.handle_rtcp(&packet);
                        }
                    }
                    Incoming::Other => {}
                }
            }
            self.live.received.fetch_add(count, Ordering::Relaxed);
            if !self.received.is_full() {
                break;
            }
        }
        if !self.peers[index].connected {
            self.serve(index);
        }
    }

    fn fire_timers(&mut self) {
        let now = self.clock.now();
        while let Some(&Reverse((at, index))) = self.timers.peek() {
            if at > now {
                return;
            }
            self.timers.pop();
            // A timer that was replaced since is stale.
            if self.peers[index].armed == at {
                self.serve(index);
            }
        }
    }

    /// Does what is due for a peer, and arms its next timer.
    fn serve(&mut self, index: usize) {
        let clock = self.clock.elapsed();
        let now = Instant::ZERO + clock;
        let peer = &mut self.peers[index];
        let NewPeer { endpoint, publisher, subscriber, socket, joined } = &mut peer.new;
        self.outgoing.clear();
        endpoint.poll_transmit(now, &mut self.outgoing);
        if endpoint.is_connected() {
            if !std::mem::replace(&mut peer.connected, true) {
                self.result.connect.record(now - *joined);
                self.live.connected.fetch_add(1, Ordering::Relaxed);
            }
            let before = publisher.packets();
            if publisher.poll_timeout() <= now {
                let late = publisher.poll(now, clock, endpoint, &mut self.outgoing);
                self.result.lateness.record(late);
            }
            self.live.sent.fetch_add(publisher.packets() - before, Ordering::Relaxed);
            self.rtcp.clear();
            subscriber.poll(now, &mut self.rtcp);
            if !self.rtcp.is_empty() {
                endpoint.send_rtcp(&self.rtcp, &mut self.outgoing);
            }
        }
        let mut next = 0;
        while next < self.outgoing.transmits().len() {
            let progress = socket.send(&self.outgoing, next);
            next = progress.next;
            if progress.blocked {
                // The socket is full; what is left is lost, and the receivers will say so.
                break;
            }
        }
        let mut due = endpoint.poll_timeout();
        if endpoint.is_connected() {
            due = due.min(publisher.poll_timeout()).min(subscriber.poll_timeout());
        }
        peer.armed = due;
        self.timers.push(Reverse((due, index)));
    }

    fn close(&mut self) {
        let now = self.clock.now();
        for peer in &mut self.peers {
            peer.new.subscriber.finish(&mut self.result.measured);
            self.result.sent = self.result.sent.wrapping_add(peer.new.publisher.packets());
            self.result.failed += u64::from(!peer.connected || peer.new.endpoint.has_failed());
            self.outgoing.clear();
            peer.new.endpoint.close();
            peer.new.endpoint.poll_transmit(now, &mut self.outgoing);
            peer.new.socket.send(&self.outgoing, 0);
        }
    }
}
