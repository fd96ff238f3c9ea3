//! The ICE-TCP connections of one worker: framed datagrams in and out (RFC 4571), bounded in number and memory.

use super::frame::{self, HEADER, MAX_FRAME};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use sfu_rtc::net::{NetworkPath, Protocol};
use sfu_rtc::time::{Duration, Instant};
use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, Read, Write};

/// Connections of one worker.
const MAX_CONNECTIONS: usize = 2_048;
/// Bytes that wait for a connection that does not take them; then frames are dropped, as a full network path would.
const MAX_WAITING: usize = 256 * 1024;
/// A peer sends checks every few seconds; one that is silent for so long is gone.
const IDLE_LIMIT: Duration = Duration::from_secs(30);
/// Bytes read at once from one connection, so that others get their turn.
const READ_LIMIT: usize = 64 * 1024;

/// A connection whose first frame was read.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) stream: std::net::TcpStream,
    /// What was read so far.
    pub(crate) read: Vec<u8>,
}

/// Counts of a pool.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct TcpStats {
    /// Connections that are open.
    pub(crate) open: u64,
    /// Connections turned away since there were too many.
    pub(crate) refused: u64,
    /// Frames dropped since their connection was full or gone.
    pub(crate) dropped: u64,
}

/// The connections of one worker.
pub(crate) struct TcpPool {
    connections: HashMap<u32, Connection>,
    next: u32,
    first_token: usize,
    /// Connections that may have something to read.
    ready: VecDeque<u32>,
    /// Ways that ended since the last look.
    closed: Vec<NetworkPath>,
    stats: TcpStats,
}

struct Connection {
    stream: TcpStream,
    path: NetworkPath,
    inbound: Vec<u8>,
    outbound: Vec<u8>,
    last_heard: Instant,
}

impl TcpPool {
    /// An empty pool, whose connections poll with tokens from `first_token` on.
    pub(crate) fn new(first_token: usize) -> Self {
        Self {
            connections: HashMap::new(),
            next: 0,
            first_token,
            ready: VecDeque::new(),
            closed: Vec::new(),
            stats: TcpStats::default(),
        }
    }

    /// Takes a connection over.
    pub(crate) fn add(&mut self, accepted: Accepted, registry: &Registry, now: Instant) {
        if self.connections.len() >= MAX_CONNECTIONS {
            self.stats.refused += 1;
            return;
        }
        self.next = self.next.wrapping_add(1);
        match Connection::new(accepted, self.next, self.first_token, registry, now) {
            Ok(connection) => {
                self.connections.insert(self.next, connection);
                self.ready.push_back(self.next);
                self.stats.open += 1;
            }
            Err(error) => tracing::debug!(%error, "ICE-TCP connection lost before it began"),
        }
    }

    /// The kernel says that something can be read or written.
    pub(crate) fn note(&mut self, token: Token, readable: bool, writable: bool) {
        let Some(id) = token.0.checked_sub(self.first_token).and_then(|id| u32::try_from(id).ok()) else { return };
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if writable && connection.flush().is_err() {
            return self.close(id);
        }
        if readable && !self.ready.contains(&id) {
            self.ready.push_back(id);
        }
    }

    /// Whether a connection may have something to read.
    pub(crate) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Gives every datagram that came to `handle`.
    pub(crate) fn receive(&mut self, now: Instant, mut handle: impl FnMut(&NetworkPath, &mut [u8])) {
        // One at a time: should `handle` panic, the others still have their turn.
        for _ in 0..self.ready.len() {
            let Some(id) = self.ready.pop_front() else { return };
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            match connection.receive(now, &mut handle) {
                Ok(Drained::All) => {}
                Ok(Drained::Part) => self.ready.push_back(id),
                Err(_) => self.close(id),
            }
        }
    }

    /// Sends one datagram over connection `id`.
    pub(crate) fn send(&mut self, id: u32, datagram: &[u8]) {
        let Some(connection) = self.connections.get_mut(&id) else {
            self.stats.dropped += 1;
            return;
        };
        match connection.send(datagram) {
            Ok(true) => {}
            Ok(false) => self.stats.dropped += 1,
            Err(_) => self.close(id),
        }
    }

    /// Closes connections that have been silent for too long.
    pub(crate) fn sweep(&mut self, now: Instant) {
        let idle = self.connections.iter().filter(|(_, c)| now - c.last_heard > IDLE_LIMIT).map(|(id, _)| *id);
        for id in idle.collect::<Vec<_>>() {
            self.close(id);
        }
    }

    /// A way that has ended and that nobody was told of yet.
    pub(crate) fn poll_closed(&mut self) -> Option<NetworkPath> {
        self.closed.pop()
    }

    /// Whether there are connections.
    pub(crate) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    pub(crate) fn stats(&self) -> TcpStats {
        self.stats
    }

    /// Dropping the stream closes it and takes it out of the poll.
    fn close(&mut self, id: u32) {
        if let Some(connection) = self.connections.remove(&id) {
            self.stats.open -= 1;
            self.closed.push(connection.path);
        }
    }
}

/// How much of what waited was read.
enum Drained {
    All,
    Part,
}

impl Connection {
    fn new(accepted: Accepted, id: u32, first_token: usize, registry: &Registry, now: Instant) -> io::Result<Self> {
        let path = NetworkPath {
            remote: unmapped(accepted.stream.peer_addr()?),
            local: unmapped(accepted.stream.local_addr()?).ip(),
            protocol: Protocol::Tcp(id),
        };
        let mut stream = TcpStream::from_std(accepted.stream);
        let token = Token(first_token + usize::try_from(id).map_err(io::Error::other)?);
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { stream, path, inbound: accepted.read, outbound: Vec::new(), last_heard: now })
    }

    fn receive(&mut self, now: Instant, handle: &mut impl FnMut(&NetworkPath, &mut [u8])) -> io::Result<Drained> {
        let mut total = 0;
        // What was read before the connection came to us counts too.
        self.take_frames(handle)?;
        loop {
            let start = self.inbound.len();
            self.inbound.resize(HEADER + MAX_FRAME, 0);
            let result = self.stream.read(&mut self.inbound[start..]);
            self.inbound.truncate(start + *result.as_ref().unwrap_or(&0));
            match result {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    total += count;
                    self.last_heard = now;
                    self.take_frames(handle)?;
                    if total >= READ_LIMIT {
                        return Ok(Drained::Part);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Drained::All),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Handles every whole frame and keeps the rest.
    fn take_frames(&mut self, handle: &mut impl FnMut(&NetworkPath, &mut [u8])) -> io::Result<()> {
        let mut at = 0;
        while let Some(len) = frame::first(&self.inbound[at..]).map_err(|_| ErrorKind::InvalidData)? {
            let start = at + HEADER;
            if len > 0 {
                handle(&self.path, &mut self.inbound[start..start + len]);
            }
            at = start + len;
        }
        self.inbound.drain(..at);
        Ok(())
    }

    /// False where the frame was dropped.
    fn send(&mut self, datagram: &[u8]) -> io::Result<bool> {
        let Some(header) = frame::header(datagram) else { return Ok(false) };
        if self.outbound.len() + HEADER + datagram.len() > MAX_WAITING {
            return Ok(false);
        }
        self.outbound.extend_from_slice(&header);
        self.outbound.extend_from_slice(datagram);
        self.flush()?;
        Ok(true)
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut sent = 0;
        let result = loop {
            if sent == self.outbound.len() {
                break Ok(());
            }
            match self.stream.write(&self.outbound[sent..]) {
                Ok(0) => break Err(ErrorKind::WriteZero.into()),
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        self.outbound.drain(..sent);
        result
    }
}

/// IPv4 as IPv4, also on a socket for both.
fn unmapped(addr: std::net::SocketAddr) -> std::net::SocketAddr {
    std::net::SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll};

    /// A pool with one connection, and its other end.
    fn pair() -> (TcpPool, Poll, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let poll = Poll::new().unwrap();
        let mut pool = TcpPool::new(2);
        pool.add(Accepted { stream, read: vec![0, 3, 1, 2] }, poll.registry(), Instant::ZERO);
        (pool, poll, peer)
    }

    fn receive(pool: &mut TcpPool, poll: &mut Poll, until: usize) -> Vec<Vec<u8>> {
        let mut got = Vec::new();
        let mut events = Events::with_capacity(8);
        while got.len() < until && !pool.is_empty() {
            poll.poll(&mut events, Some(std::time::Duration::from_millis(200))).unwrap();
            events.iter().for_each(|event| pool.note(event.token(), event.is_readable(), event.is_writable()));
            pool.receive(Instant::from_millis(1), |_, datagram| got.push(datagram.to_vec()));
        }
        got
    }

    #[test]
    fn frames_come_whole_however_they_are_cut() {
        let (mut pool, mut poll, mut peer) = pair();
        peer.write_all(&[3, 0, 0, 0, 1, 9, 0]).unwrap();
        assert_eq!(receive(&mut pool, &mut poll, 2), [vec![1, 2, 3], vec![9]]);
        peer.write_all(&[2, 5, 6]).unwrap();
        assert_eq!(receive(&mut pool, &mut poll, 1), [vec![5, 6]]);
    }

    #[test]
    fn datagrams_leave_in_frames() {
        let (mut pool, _poll, mut peer) = pair();
        pool.send(1, &[7, 8, 9]);
        let mut got = [0; 5];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(got, [0, 3, 7, 8, 9]);
        pool.send(99, &[1]);
        assert_eq!(pool.stats().dropped, 1);
    }

    #[test]
    fn garbage_and_silence_end_a_connection() {
        let (mut pool, mut poll, mut peer) = pair();
        peer.write_all(&[3, 0xff, 0xff]).unwrap();
        receive(&mut pool, &mut poll, 2);
        assert!(pool.is_empty());
        assert_eq!(pool.poll_closed().map(|path| path.protocol), Some(Protocol::Tcp(1)));
        assert_eq!(pool.poll_closed(), None);
        let (mut pool, _poll, _peer) = pair();
        pool.sweep(Instant::ZERO + IDLE_LIMIT);
        assert!(!pool.is_empty());
        pool.sweep(Instant::ZERO + IDLE_LIMIT + IDLE_LIMIT);
        assert!(pool.is_empty());
    }

    #[test]
    fn a_peer_that_reads_nothing_fills_no_memory() {
        let (mut pool, _poll, _peer) = pair();
        for _ in 0..20_000 {
            pool.send(1, &[0; 1_200]);
        }
        assert!(pool.stats().dropped > 0);
        assert!(pool.connections[&1].outbound.len() <= MAX_WAITING);
    }
}
