//! One thread per worker, pinned to a core: it owns a [`sfu_core::worker::Worker`] and its sockets, and speaks to the
//! control plane by messages only.

mod load;
mod pace;
mod realtime;
mod relay;
mod run;
mod stats;
#[cfg(test)]
mod tests;

pub(crate) use relay::RelayHub;
pub(crate) use stats::ThreadStats;

use crate::clock::Clock;
use crate::lock::lock;
use crate::net::Accepted;
use crate::random;
use mio::unix::SourceFd;
use mio::{Interest, Poll, Token, Waker};
use sfu_core::claims::ClaimedAddresses;
use sfu_core::command::Command;
use sfu_core::config::WorkerConfig;
use sfu_core::event::Event;
use sfu_core::ids::RoomId;
use sfu_net::UdpSocket;
use sfu_rtc::dtls::DtlsCertificate;
use sfu_rtc::ice::{Candidate, IceCredentials, IcePasswords, ice_char};
use std::collections::VecDeque;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::{fmt, io, thread};
use tokio::sync::mpsc::Sender;

/// What a worker thread tells the control plane.
#[derive(Debug)]
pub(crate) enum Report {
    /// The worker has something to say.
    Event { worker: usize, event: Event },
    /// The worker failed in this room, which is gone.
    RoomFailed { room: RoomId },
    /// The worker failed and was replaced; all its rooms are gone.
    WorkerFailed { worker: usize },
}

/// What the control plane gives a worker thread.
#[derive(Debug)]
enum Input {
    Command(Command),
    Stop,
}

/// What a worker thread is made of.
pub(crate) struct WorkerParts {
    pub(crate) index: usize,
    /// Core to run on.
    pub(crate) cpu: Option<usize>,
    /// Whether to run before usual threads while there is little to do.
    pub(crate) realtime: bool,
    pub(crate) udp: UdpSocket,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) config: WorkerConfig,
    pub(crate) certificate: Arc<DtlsCertificate>,
    pub(crate) clock: Clock,
    pub(crate) reports: Sender<Report>,
    /// Queues to the other workers.
    pub(crate) relays: Arc<RelayHub>,
    /// Where the peers of all workers say that they are.
    pub(crate) claimed: Arc<ClaimedAddresses>,
    /// Most ICE-TCP connections.
    pub(crate) max_tcp: usize,
}

/// The control plane's end of a worker thread.
#[derive(Clone)]
pub(crate) struct WorkerHandle(Arc<Shared>);

struct Shared {
    index: usize,
    candidates: Vec<Candidate>,
    passwords: IcePasswords,
    queue: Mutex<VecDeque<Input>>,
    /// ICE-TCP connections that wait, at most so many. Commands do not wait behind them.
    connections: Mutex<VecDeque<Accepted>>,
    max_tcp: usize,
    waker: Waker,
    stats: ThreadStats,
    placed: Placed,
}

impl Shared {
    /// Of a worker that is woken out of `poll`.
    fn new(index: usize, candidates: Vec<Candidate>, max_tcp: usize, poll: &Poll) -> io::Result<Self> {
        Ok(Self {
            index,
            candidates,
            passwords: IcePasswords::new(&random::bytes()),
            queue: Mutex::default(),
            connections: Mutex::default(),
            max_tcp,
            waker: Waker::new(poll.registry(), WAKER)?,
            stats: ThreadStats::default(),
            placed: Placed::default(),
        })
    }
}

/// What the control plane has put on a worker.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    pub(crate) rooms: Count,
    pub(crate) participants: Count,
}

/// A number that several threads change.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicUsize);

impl Count {
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, count: usize) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }
}

impl fmt::Debug for WorkerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {}", self.index())
    }
}

/// Token of the waker.
const WAKER: Token = Token(0);
/// Token of the UDP socket.
const UDP: Token = Token(1);

/// Starts a worker's thread.
pub(crate) fn spawn(parts: WorkerParts) -> io::Result<(WorkerHandle, JoinHandle<()>)> {
    let poll = Poll::new()?;
    let fd = parts.udp.as_raw_fd();
    poll.registry().register(&mut SourceFd(&fd), UDP, Interest::READABLE | Interest::WRITABLE)?;
    let shared = Arc::new(Shared::new(parts.index, parts.candidates.clone(), parts.max_tcp, &poll)?);
    let handle = WorkerHandle(Arc::clone(&shared));
    parts.relays.join(&handle);
    let thread = thread::Builder::new().name(format!("worker-{}", parts.index));
    let thread = thread.spawn(move || run::run(parts, poll, &shared))?;
    Ok((handle, thread))
}

impl WorkerHandle {
    /// Number among the workers.
    pub(crate) fn index(&self) -> usize {
        self.0.index
    }

    /// Where the worker's clients send to.
    pub(crate) fn candidates(&self) -> &[Candidate] {
        &self.0.candidates
    }

    /// New ICE credentials for one of its clients. The first letter of the user name fragment names the worker, so that a
    /// TCP connection finds it.
    pub(crate) fn new_credentials(&self) -> IceCredentials {
        self.0.passwords.credentials(ice_char(self.index()), &random::bytes())
    }

    /// Whether `stun`, the first frame of a TCP connection, is a check of somebody who was given credentials for this
    /// worker.
    pub(crate) fn authenticate(&self, stun: &[u8]) -> bool {
        self.0.passwords.authenticate(stun)
    }

    /// How many commands wait.
    pub(crate) fn waiting(&self) -> usize {
        lock(&self.0.queue).len()
    }

    /// Whether the worker is past its limit for longer than a burst of joins takes: pictures suffer already.
    pub(crate) fn is_overloaded(&self) -> bool {
        self.0.stats.shedding_percent.get() > 100
    }

    /// What the control plane has put on it.
    pub(crate) fn placed(&self) -> &Placed {
        &self.0.placed
    }

    /// Counts of the thread's own.
    pub(crate) fn thread_stats(&self) -> &ThreadStats {
        &self.0.stats
    }

    /// Gives an order. Orders are never dropped; admission keeps their number in bounds.
    pub(crate) fn send(&self, command: Command) {
        self.push(Input::Command(command));
    }

    /// Hands over an ICE-TCP connection.
    ///
    /// # Errors
    /// Where as many wait as the worker may have.
    pub(crate) fn take_connection(&self, accepted: Accepted) -> io::Result<()> {
        let mut connections = lock(&self.0.connections);
        if connections.len() >= self.0.max_tcp {
            return Err(io::Error::other("too many connections wait for the worker"));
        }
        connections.push_back(accepted);
        let first = connections.len() == 1;
        drop(connections);
        if first {
            self.wake();
        }
        Ok(())
    }

    /// Ends the thread, after what was ordered before.
    pub(crate) fn stop(&self) {
        self.push(Input::Stop);
    }

    /// One without a thread: what it is told waits, for a test to look at.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn idle(index: usize) -> Self {
        let poll = Poll::new().unwrap();
        Self(Arc::new(Shared::new(index, Vec::new(), 0, &poll).unwrap()))
    }

    /// What waits, as a text, and what is placed on the worker.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn shown(&self) -> String {
        format!("{:?} {:?}", lock(&self.0.queue), self.0.placed)
    }

    /// Forgets what waits.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn forget_waiting(&self) {
        lock(&self.0.queue).clear();
    }

    fn push(&self, input: Input) {
        let mut queue = lock(&self.0.queue);
        queue.push_back(input);
        let first = queue.len() == 1;
        drop(queue);
        // Whoever put in the first one has woken the thread for the others too.
        if first {
            self.wake();
        }
    }

    /// Lets the thread look what there is.
    fn wake(&self) {
        if let Err(error) = self.0.waker.wake() {
            tracing::error!(worker = self.0.index, %error, "cannot wake the worker");
        }
    }
}
