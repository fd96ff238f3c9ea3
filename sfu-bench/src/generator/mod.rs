//! Generator threads: hundreds of peers each, each peer with a socket of its own, one poll, one timer queue.
//!
//! The conductor speaks to a thread by commands only. What happened is handed over in intervals: a cut ends one and
//! begins the next, so that whoever measures decides which intervals count.

mod impaired;
mod interval;
mod thread;
mod timers;

pub use impaired::ImpairedPath;
pub use interval::Interval;

use crate::endpoint::Endpoint;
use crate::peer::publisher::Publisher;
use crate::peer::subscriber::Subscriber;
use crate::wakeful_poll::WakefulPoll;
use anyhow::{Context, Result};
use mio::{Token, Waker};
use sfu_net::UdpSocket;
use sfu_rtc::time::{Instant, NtpTime, WallClock};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};
use tokio::sync::oneshot;

/// Token of the waker; peers have their index.
const WAKE: Token = Token(usize::MAX);

/// The process's clock: stamps, timers and latency are all on it.
#[derive(Clone, Copy, Debug)]
pub struct BenchClock {
    begun: std::time::Instant,
    wall: WallClock,
}

impl BenchClock {
    /// Begins now.
    pub fn start() -> Self {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { begun: std::time::Instant::now(), wall: WallClock::new(Instant::ZERO, unix) }
    }

    /// Time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// The same as the sans-IO parts take it.
    pub fn now(&self) -> Instant {
        Instant::ZERO + self.elapsed()
    }

    /// Wall-clock time at `now`, for sender reports.
    pub fn ntp(&self, now: Instant) -> NtpTime {
        self.wall.ntp(now)
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
    /// What its network does to its packets.
    pub impaired: Option<Box<ImpairedPath>>,
    /// When its join began.
    pub joined: Instant,
}

/// Counts that can be watched while a thread runs.
#[derive(Debug, Default)]
pub struct Live {
    /// Peers that were handed over and not taken away.
    pub peers: AtomicU64,
    /// Peers that are connected.
    pub connected: AtomicU64,
}

/// What a thread is told.
enum Command {
    Add(u64, Box<NewPeer>),
    Remove(u64, oneshot::Sender<()>),
    Pause(bool),
    Cut(oneshot::Sender<Interval>),
    End,
}

/// Names a peer of one thread.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PeerId(u64);

/// A running thread.
pub struct Generator {
    commands: mpsc::Sender<Command>,
    waker: Arc<Waker>,
    live: Arc<Live>,
    added: AtomicU64,
    thread: JoinHandle<Interval>,
}

impl Generator {
    /// Starts a thread, pinned to `cpu` where that can be.
    ///
    /// # Errors
    /// Where the system gives no poll or no thread.
    pub fn start(clock: BenchClock, cpu: Option<usize>) -> Result<Self> {
        let poll = WakefulPoll::new().context("cannot create a poll")?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let (commands, inbox) = mpsc::channel();
        let live = Arc::new(Live::default());
        let mut state = thread::Thread::new(clock, poll, inbox, Arc::clone(&live));
        let thread = std::thread::Builder::new().name("bench-generator".into()).spawn(move || {
            if let Some(cpu) = cpu {
                // Unpinned it works too, only less steadily.
                let _ = sfu_net::affinity::pin_current_thread(cpu);
            }
            state.run()
        })?;
        Ok(Self { commands, waker, live, added: AtomicU64::new(0), thread })
    }

    /// Hands over a peer.
    pub fn add(&self, peer: NewPeer) -> PeerId {
        let id = self.added.fetch_add(1, Ordering::Relaxed);
        self.live.peers.fetch_add(1, Ordering::Relaxed);
        self.tell(Command::Add(id, Box::new(peer)));
        PeerId(id)
    }

    /// Closes a peer; returns when it is closed, so that what the server does then is no failure of its connection.
    pub async fn remove(&self, peer: PeerId) {
        let (reply, removed) = oneshot::channel();
        self.live.peers.fetch_sub(1, Ordering::Relaxed);
        self.tell(Command::Remove(peer.0, reply));
        // No answer comes only from a thread that has ended, and all its peers with it.
        let _ = removed.await;
    }

    /// Publishers fall silent, or go on; connections stay up.
    pub fn pause(&self, paused: bool) {
        self.tell(Command::Pause(paused));
    }

    /// Ends the interval that began with the last cut, and gives what happened in it.
    ///
    /// # Errors
    /// Where the thread has ended, which only a panic makes it.
    pub async fn cut(&self) -> Result<Interval> {
        let (reply, interval) = oneshot::channel();
        self.tell(Command::Cut(reply));
        interval.await.context("a generator thread panicked")
    }

    /// How many peers it has.
    pub fn peers(&self) -> u64 {
        self.live.peers.load(Ordering::Relaxed)
    }

    /// How many of them are connected.
    pub fn connected(&self) -> u64 {
        self.live.connected.load(Ordering::Relaxed)
    }

    /// Closes all peers, and gives what happened since the last cut.
    ///
    /// # Errors
    /// Where the thread panicked.
    pub fn finish(self) -> Result<Interval> {
        self.tell(Command::End);
        self.thread.join().map_err(|_| anyhow::anyhow!("a generator thread panicked"))
    }

    fn tell(&self, command: Command) {
        // Both fail only when the thread has ended; whoever waits for an answer learns of it.
        let _ = self.commands.send(command);
        let _ = self.waker.wake();
    }
}
