//! The ICE-TCP connections of one worker: framed datagrams in and out (RFC 4571), bounded in number, memory and time.
//!
//! A connection is sure of its place once a connected peer is sent to over it. Others are spare: where there are too many,
//! they give way to newcomers. Only what is authentic keeps them: the first check within the time that their seat has, and
//! later anything of the peer whose path it is.

use super::connections::Ticket;
use super::frame::{self, HEADER, MAX_FRAME};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use sfu_rtc::net::{NetworkPath, Protocol};
use sfu_rtc::time::{Duration, Instant};
use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, Read, Write};

/// Bytes that wait for a connection that does not take them; then frames are dropped, as a full network path would.
const MAX_WAITING: usize = 256 * 1024;
/// A peer sends or answers checks every few seconds; one of which nothing authentic comes for so long is gone.
const IDLE_LIMIT: Duration = Duration::from_secs(30);
/// Connections closed at once, so that media get their turn.
const CLOSE_LIMIT: usize = 16;
/// How many are looked at for one that has lost its seat.
const LOOK_LIMIT: usize = 64;
/// Bytes read at once from one connection, so that others get their turn.
const READ_LIMIT: usize = 64 * 1024;

/// A connection whose first frame was read.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) stream: std::net::TcpStream,
    /// What was read so far.
    pub(crate) read: Vec<u8>,
    /// Its seat among those that are not in use.
    pub(crate) ticket: Ticket,
}

/// Counts of a pool.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct TcpStats {
    /// Connections that are open.
    pub(crate) open: u64,
    /// Connections turned away or closed since there were too many, or before an authentic check came.
    pub(crate) refused: u64,
    /// Frames dropped since their connection was full or gone.
    pub(crate) dropped: u64,
}

/// The connections of one worker.
pub(crate) struct TcpPool {
    connections: HashMap<u32, Connection>,
    most: usize,
    /// Connections that no connected peer is sent to over, the oldest first, and some that are not among them any more.
    spare: VecDeque<u32>,
    next: u32,
    first_token: usize,
    /// Connections that may have something to read.
    ready: VecDeque<u32>,
    /// Connections that are to be closed, a few at a time.
    over: Vec<u32>,
    /// Ways that ended since the last look.
    closed: Vec<NetworkPath>,
    stats: TcpStats,
}

/// One connection; the stream is another in the fuzz target.
pub(crate) struct Connection<S = TcpStream> {
    stream: S,
    path: NetworkPath,
    inbound: Vec<u8>,
    outbound: Vec<u8>,
    /// Held until it is in use, or its time is over.
    ticket: Option<Ticket>,
    /// When it came to us, or something authentic came over it.
    last_heard: Instant,
}

impl TcpPool {
    /// An empty pool of at most so many connections, which poll with tokens from `first_token` on.
    pub(crate) fn new(first_token: usize, most: usize) -> Self {
        Self {
            connections: HashMap::new(),
            most,
            spare: VecDeque::new(),
            next: 0,
            first_token,
            ready: VecDeque::new(),
            over: Vec::new(),
            closed: Vec::new(),
            stats: TcpStats::default(),
        }
    }

    /// Takes a connection over. Where there are too many, one that is not in use gives way. `in_use` tells whether a
    /// connected peer is sent to over a path.
    pub(crate) fn add(
        &mut self,
        accepted: Accepted,
        registry: &Registry,
        now: Instant,
        in_use: impl Fn(&NetworkPath) -> bool,
    ) {
        if self.connections.len() >= self.most {
            self.stats.refused += 1;
            match self.give_way(in_use) {
                Some(id) => self.close(id),
                None => return,
            }
        }
        self.next = self.next.wrapping_add(1);
        match Connection::new(accepted, self.next, self.first_token, registry, now) {
            Ok(connection) => {
                self.connections.insert(self.next, connection);
                self.ready.push_back(self.next);
                self.spare.push_back(self.next);
                self.stats.open += 1;
            }
            Err(error) => tracing::debug!(%error, "ICE-TCP connection lost before it began"),
        }
    }

    /// Takes a connection out of the list that is not in use: one that has lost its seat, such as to others of its
    /// address, else the oldest.
    fn give_way(&mut self, in_use: impl Fn(&NetworkPath) -> bool) -> Option<u32> {
        let Self { connections, spare, .. } = self;
        while spare.front().is_some_and(|id| connections.get(id).is_none_or(|it| in_use(&it.path))) {
            spare.pop_front();
        }
        let ticket = |id: &u32| connections.get(id)?.ticket.as_ref();
        let first = spare.iter().take(LOOK_LIMIT).position(|id| ticket(id).is_some_and(Ticket::is_over));
        spare.remove(first.unwrap_or(0))
    }

    /// The kernel says that something can be read or written.
    pub(crate) fn on_ready(&mut self, token: Token, readable: bool, writable: bool) {
        let Some(id) = token.0.checked_sub(self.first_token).and_then(|id| u32::try_from(id).ok()) else { return };
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if writable && connection.flush().is_err() {
            return self.close(id);
        }
        if readable && !self.ready.contains(&id) {
            self.ready.push_back(id);
        }
    }

    /// Whether a connection may have something to read, or is to be closed.
    pub(crate) fn is_ready(&self) -> bool {
        !self.ready.is_empty() || !self.over.is_empty()
    }

    /// Gives every datagram that came to `handle`, which tells whether a connected peer is sent to over the path now.
    pub(crate) fn receive(&mut self, now: Instant, mut handle: impl FnMut(&NetworkPath, &mut [u8]) -> bool) {
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

    /// Finds connections that prove nothing in time, that are no peer's path any more, or that nothing authentic came
    /// over for too long; [`Self::close_some`] closes them. `heard` tells when it last did.
    pub(crate) fn sweep(
        &mut self,
        now: Instant,
        heard: impl Fn(&NetworkPath) -> Option<Instant>,
        in_use: impl Fn(&NetworkPath) -> bool,
    ) {
        self.spare.clear();
        self.spare.extend(self.connections.iter().filter_map(|(id, it)| (!in_use(&it.path)).then_some(*id)));
        self.spare.make_contiguous().sort_unstable();
        self.over.clear();
        let ended = self.connections.iter_mut().filter_map(|(id, it)| it.is_over(now, &heard).then_some(*id));
        self.over.extend(ended);
    }

    /// Closes a few of the connections that are over: closing is work of the kernel, and media must not wait for
    /// thousands of them.
    pub(crate) fn close_some(&mut self, now: Instant, heard: impl Fn(&NetworkPath) -> Option<Instant>) {
        for _ in 0..CLOSE_LIMIT {
            let Some(id) = self.over.pop() else { return };
            // It may have proved something since.
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            if connection.is_over(now, &heard) {
                self.stats.refused += u64::from(connection.ticket.is_some());
                self.close(id);
            }
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
pub(crate) enum Drained {
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
        let (inbound, ticket) = (accepted.read, Some(accepted.ticket));
        Ok(Self { stream, path, inbound, outbound: Vec::new(), ticket, last_heard: now })
    }
}

impl<S: Read + Write> Connection<S> {
    /// Over a stream of the fuzz target's.
    #[cfg(fuzzing)]
    pub(crate) fn over(stream: S) -> Self {
        let local = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
        let path = NetworkPath { remote: local, local: local.ip(), protocol: Protocol::Tcp(1) };
        let (inbound, outbound) = (Vec::new(), Vec::new());
        Self { stream, path, inbound, outbound, ticket: None, last_heard: Instant::ZERO }
    }

    /// The stream, and how many bytes wait in either direction.
    #[cfg(fuzzing)]
    pub(crate) fn shown(&mut self) -> (&mut S, usize, usize) {
        (&mut self.stream, self.inbound.len(), self.outbound.len())
    }

    /// Whether it proved nothing in time, or is of no use any more: nothing authentic came for too long, or the path is
    /// no peer's and nothing is under way, such as the last words to a peer that was removed.
    fn is_over(&mut self, now: Instant, heard: impl Fn(&NetworkPath) -> Option<Instant>) -> bool {
        if self.ticket.as_ref().is_some_and(|ticket| !ticket.is_over()) {
            return false;
        }
        let heard = heard(&self.path);
        // A path that a peer has proven and does not use yet needs no seat. Its own may have gone to another before.
        if self.ticket.as_ref().is_some_and(|ticket| heard.is_none() || !ticket.join()) {
            return true;
        }
        self.ticket = None;
        self.last_heard = heard.unwrap_or(self.last_heard);
        now - self.last_heard > IDLE_LIMIT || (heard.is_none() && self.outbound.is_empty())
    }

    /// Gives every whole frame to `handle`, until nothing waits or others have their turn.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        handle: &mut impl FnMut(&NetworkPath, &mut [u8]) -> bool,
    ) -> io::Result<Drained> {
        let mut total = 0;
        // What was read before the connection came to us counts too.
        self.take_frames(now, handle)?;
        loop {
            let start = self.inbound.len();
            self.inbound.resize(HEADER + MAX_FRAME, 0);
            let result = self.stream.read(&mut self.inbound[start..]);
            self.inbound.truncate(start + *result.as_ref().unwrap_or(&0));
            match result {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    total += count;
                    self.take_frames(now, handle)?;
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
    fn take_frames(
        &mut self,
        now: Instant,
        handle: &mut impl FnMut(&NetworkPath, &mut [u8]) -> bool,
    ) -> io::Result<()> {
        let mut at = 0;
        while let Some(len) = frame::first(&self.inbound[at..]).map_err(|_| ErrorKind::InvalidData)? {
            let start = at + HEADER;
            if len > 0
                && handle(&self.path, &mut self.inbound[start..start + len])
                && let Some(ticket) = self.ticket.take()
            {
                ticket.join();
                self.last_heard = now;
            }
            at = start + len;
        }
        self.inbound.drain(..at);
        Ok(())
    }

    /// False where the frame was dropped.
    pub(crate) fn send(&mut self, datagram: &[u8]) -> io::Result<bool> {
        let Some(header) = frame::header(datagram) else { return Ok(false) };
        if self.outbound.len() + HEADER + datagram.len() > MAX_WAITING {
            return Ok(false);
        }
        self.outbound.extend_from_slice(&header);
        self.outbound.extend_from_slice(datagram);
        self.flush()?;
        Ok(true)
    }

    /// Writes what waits, as far as the stream takes it.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
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
    use std::cell::RefCell;
    use std::sync::Arc;

    use crate::config::LimitsConfig;
    use crate::net::Connections;

    fn limits() -> LimitsConfig {
        LimitsConfig { tcp_check_seconds: 3_600, ..LimitsConfig::default() }
    }

    /// A connection that has sent so much, and its other end.
    fn connection(table: &Arc<Connections>, read: &[u8]) -> (Accepted, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, address) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        (Accepted { stream, read: read.to_vec(), ticket: table.seat(Some(address.ip())) }, peer)
    }

    /// Adds a connection that has sent so much to a pool of which none is in use; its other end.
    fn add(pool: &mut TcpPool, poll: &Poll, table: &Arc<Connections>, read: &[u8]) -> std::net::TcpStream {
        let (accepted, peer) = connection(table, read);
        pool.add(accepted, poll.registry(), Instant::ZERO, |_| false);
        peer
    }

    /// A pool with one connection, and its other end.
    fn pair() -> (TcpPool, Poll, std::net::TcpStream) {
        let poll = Poll::new().unwrap();
        let mut pool = TcpPool::new(2, 8);
        let peer = add(&mut pool, &poll, &Connections::of_ice_tcp(&limits()), &[0, 3, 1, 2]);
        (pool, poll, peer)
    }

    fn receive(pool: &mut TcpPool, poll: &mut Poll, until: usize) -> Vec<Vec<u8>> {
        let mut got = Vec::new();
        let mut events = Events::with_capacity(8);
        while got.len() < until && !pool.is_empty() {
            poll.poll(&mut events, Some(std::time::Duration::from_millis(200))).unwrap();
            events.iter().for_each(|event| pool.on_ready(event.token(), event.is_readable(), event.is_writable()));
            pool.receive(Instant::from_millis(1), |_, datagram| {
                got.push(datagram.to_vec());
                true
            });
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
    fn garbage_ends_a_connection() {
        let (mut pool, mut poll, mut peer) = pair();
        peer.write_all(&[3, 0xff, 0xff]).unwrap();
        receive(&mut pool, &mut poll, 2);
        assert!(pool.is_empty());
        assert_eq!(pool.poll_closed().map(|path| path.protocol), Some(Protocol::Tcp(1)));
        assert_eq!(pool.poll_closed(), None);
    }

    fn sweep(pool: &mut TcpPool, now: Instant, heard: impl Fn(&NetworkPath) -> Option<Instant>) {
        pool.sweep(now, &heard, |_| false);
        while pool.is_ready() {
            pool.close_some(now, &heard);
        }
    }

    /// Takes what came. Those that send a 7 are in use from then on.
    fn take(pool: &mut TcpPool, now: Instant) {
        pool.receive(now, |_, datagram| datagram[0] == 7);
    }

    #[test]
    fn only_what_is_authentic_keeps_a_connection() {
        let poll = Poll::new().unwrap();
        let table = Connections::of_ice_tcp(&limits());
        let mut pool = TcpPool::new(2, 8);
        let mut peer = add(&mut pool, &poll, &table, &[0, 1, 7]);
        take(&mut pool, Instant::ZERO);
        assert_eq!(table.unauthenticated(), 0, "its seat is free again");
        // Whatever else comes: what was heard last is what counts.
        peer.write_all(&[0, 1, 9]).unwrap();
        let heard = Instant::from_millis(500);
        sweep(&mut pool, heard + IDLE_LIMIT, |_| Some(heard));
        take(&mut pool, heard + IDLE_LIMIT);
        assert!(!pool.is_empty());
        sweep(&mut pool, heard + IDLE_LIMIT + Duration::from_millis(1), |_| Some(heard));
        assert!(pool.is_empty());
        // A path that is no peer's any more ends at once.
        let _peer = add(&mut pool, &poll, &table, &[0, 1, 7]);
        take(&mut pool, Instant::ZERO);
        sweep(&mut pool, Instant::ZERO, |_| None);
        assert!(pool.is_empty());
    }

    #[test]
    fn a_connection_that_proves_nothing_ends_in_time() {
        let table = Connections::of_ice_tcp(&LimitsConfig { tcp_check_seconds: 0, ..limits() });
        let poll = Poll::new().unwrap();
        let mut pool = TcpPool::new(2, 8);
        let _peer = add(&mut pool, &poll, &table, &[0, 1, 9]);
        take(&mut pool, Instant::ZERO);
        sweep(&mut pool, Instant::ZERO, |_| None);
        assert!(pool.is_empty());
        assert_eq!((pool.stats().refused, table.unauthenticated()), (1, 0));
    }

    #[test]
    fn many_connections_that_are_over_are_closed_a_few_at_a_time() {
        let table = Connections::of_ice_tcp(&LimitsConfig { tcp_check_seconds: 0, ..limits() });
        let poll = Poll::new().unwrap();
        let mut pool = TcpPool::new(2, 64);
        let peers: Vec<_> = (0..CLOSE_LIMIT + 2).map(|_| add(&mut pool, &poll, &table, &[0, 1, 9])).collect();
        take(&mut pool, Instant::ZERO);
        pool.sweep(Instant::ZERO, |_| None, |_| false);
        pool.close_some(Instant::ZERO, |_| None);
        assert_eq!(pool.stats().open, 2, "of {}", peers.len());
        assert!(pool.is_ready(), "the rest is closed in the next round, without any wait");
        pool.close_some(Instant::ZERO, |_| None);
        assert!(pool.is_empty() && !pool.is_ready());
    }

    #[test]
    fn the_oldest_that_is_not_in_use_gives_way() {
        let table = Connections::of_ice_tcp(&limits());
        let poll = Poll::new().unwrap();
        let mut pool = TcpPool::new(2, 4);
        let used = RefCell::new(Vec::new());
        let add = |pool: &mut TcpPool, read: &[u8]| {
            let (accepted, peer) = connection(&table, read);
            pool.add(accepted, poll.registry(), Instant::ZERO, |path| used.borrow().contains(path));
            pool.receive(Instant::ZERO, |path, datagram| {
                used.borrow_mut().extend((datagram[0] == 7).then_some(*path));
                datagram[0] == 7
            });
            peer
        };
        let (peer, stranger) = ([0, 1, 7], [0, 1, 9]);
        let mut held = vec![add(&mut pool, &peer)];
        held.extend((0..20).map(|_| add(&mut pool, &stranger)));
        assert_eq!((pool.stats().open, pool.stats().refused), (4, 17));
        assert!(pool.spare.len() <= 4);
        held.extend((0..3).map(|_| add(&mut pool, &peer)));
        assert_eq!((pool.stats().open, table.unauthenticated()), (4, 0));
        held.push(add(&mut pool, &peer));
        assert_eq!((pool.stats().open, pool.connections.contains_key(&1)), (4, true), "no one in use gives way");
        // A peer that goes over to another path leaves a spare one.
        used.borrow_mut().retain(|path| path.protocol != Protocol::Tcp(1));
        pool.sweep(Instant::ZERO, |_| Some(Instant::ZERO), |path| used.borrow().contains(path));
        held.push(add(&mut pool, &peer));
        assert_eq!((pool.stats().open, pool.connections.contains_key(&1)), (4, false));
    }

    /// One peer proves as many paths as it likes, and is sent to over one.
    #[test]
    fn paths_that_peers_prove_and_do_not_use_keep_nobody_out() {
        let table = Connections::of_ice_tcp(&LimitsConfig { tcp_check_seconds: 0, ..limits() });
        let poll = Poll::new().unwrap();
        let mut pool = TcpPool::new(2, 4);
        let mut held: Vec<_> = (0..4).map(|_| add(&mut pool, &poll, &table, &[0, 1, 8])).collect();
        take(&mut pool, Instant::ZERO);
        sweep(&mut pool, Instant::ZERO, |_| Some(Instant::ZERO));
        assert_eq!((pool.stats().open, table.unauthenticated()), (4, 0), "they stay while there is room");
        held.push(add(&mut pool, &poll, &table, &[0, 1, 8]));
        assert!(pool.connections.contains_key(&5) && !pool.connections.contains_key(&1));
    }

    /// The attacker's connections have lost their seats to each other, and go before that of someone else.
    #[test]
    fn who_has_lost_its_seat_gives_way_before_the_oldest() {
        let table = Connections::of_ice_tcp(&LimitsConfig { unauthenticated_tcp_connections: 2, ..limits() });
        let poll = Poll::new().unwrap();
        let mut pool = TcpPool::new(2, 4);
        let mut held: Vec<_> = (0..4).map(|_| add(&mut pool, &poll, &table, &[0, 1, 9])).collect();
        pool.spare.rotate_right(1);
        assert_eq!(pool.spare, [4, 1, 2, 3], "the last one, which has its seat, as if it were the oldest");
        held.push(add(&mut pool, &poll, &table, &[0, 1, 9]));
        assert!(pool.connections.contains_key(&4) && !pool.connections.contains_key(&1));
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
