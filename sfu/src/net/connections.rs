//! The connections of those who have not joined: bounded in number, together and per address, and in time. Those of
//! ICE-TCP have a table of their own: one that no authentic check came from is as little known.
//!
//! Where a limit is met the oldest gives way, so that no number of connections that say nothing keeps a newcomer out:
//! first one that waits idle between two requests, which costs its owner nothing, then one that never finished
//! anything, at last one whose answer is on its way. Those may have half of the places: past it, as when somebody reads
//! slowly on purpose, they give way first. Connections of participants are outside this table; `limits.connections`
//! bounds them.

use crate::config::{HttpConfig, LimitsConfig};
use crate::lock::lock;
use sfu_rtc::net::Neighbourhood;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep_until};

/// Bytes that a connection may send until its next request's head is whole: the first time with a TLS handshake.
const BEFORE_REQUEST: usize = 48 * 1024;
/// Bytes around a first message or a body: frame or chunk headers, and TLS records of half a kilobyte.
const FRAMING: usize = 1024;
/// Bytes of a body that is too long, read past its limit. A read that fails ends the connection, and the answer that says
/// why must be out by then.
const EXCESS: usize = 8 * 1024;
/// Past the time of a request, for the answer that says so.
const LATE_ANSWER: Duration = Duration::from_secs(5);

/// Who gives way first: the smaller.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Rank {
    standing: Standing,
    number: u64,
}

/// What would be lost with a connection; the least first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Standing {
    Idle,
    Busy,
    Answered,
}

/// What a connection is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Its first request is awaited.
    New,
    /// A request is under way.
    Request,
    /// Its answer is, of which more is to be made.
    Answering,
    /// All of its answer is made, and not all has been taken yet.
    Answered,
    /// Between two requests.
    Idle,
    /// A WebSocket that has not joined.
    Upgraded,
}

impl Phase {
    fn standing(self) -> Standing {
        match self {
            Self::Idle => Standing::Idle,
            Self::Answering | Self::Answered => Standing::Answered,
            Self::New | Self::Request | Self::Upgraded => Standing::Busy,
        }
    }
}

/// How long a connection has.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Until(Instant),
    /// It has joined.
    Free,
    GivesWay,
}

/// How long each phase may last.
#[derive(Clone, Copy, Debug)]
struct Patience {
    head: Duration,
    request: Duration,
    /// Until some more of an answer is taken.
    answer: Duration,
    idle: Duration,
}

/// The table. One per process and kind of listener.
#[derive(Debug)]
pub(crate) struct Connections {
    most: usize,
    most_per_address: usize,
    join_bytes: usize,
    body_bytes: usize,
    patience: Patience,
    /// Bytes per second of an answer that its reader takes at least, over time.
    least_rate: u32,
    table: Mutex<Table>,
    gave_way: AtomicU64,
    timed_out: AtomicU64,
    refused: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    seats: BTreeMap<Rank, Seated>,
    by_address: HashMap<Neighbourhood, BTreeSet<Rank>>,
}

/// What the table knows of a connection.
#[derive(Debug)]
struct Seated {
    fate: watch::Sender<Fate>,
    address: Option<Neighbourhood>,
}

impl Table {
    fn insert(&mut self, rank: Rank, seated: Seated) {
        if let Some(address) = seated.address {
            self.by_address.entry(address).or_default().insert(rank);
        }
        self.seats.insert(rank, seated);
    }

    fn remove(&mut self, rank: Rank) -> Option<Seated> {
        let seated = self.seats.remove(&rank)?;
        if let Some(address) = seated.address
            && let Some(ranks) = self.by_address.get_mut(&address)
        {
            ranks.remove(&rank);
            if ranks.is_empty() {
                self.by_address.remove(&address);
            }
        }
        Some(seated)
    }

    /// Tells the first of `address`, or of all, to go, where there are `most` places.
    fn make_room(&mut self, address: Option<Neighbourhood>, most: usize) {
        let first = match address {
            Some(address) => self.by_address.get(&address).and_then(|ranks| first(ranks.iter().copied(), most)),
            None => first(self.seats.keys().copied(), most),
        };
        if let Some(seated) = first.and_then(|rank| self.remove(rank)) {
            seated.fate.send_replace(Fate::GivesWay);
        }
    }
}

/// The first of `ranks`, which are in order, to give way where there are `most` places.
fn first(mut ranks: impl DoubleEndedIterator<Item = Rank> + Clone, most: usize) -> Option<Rank> {
    let answered = ranks.clone().rev().take_while(|rank| rank.standing == Standing::Answered);
    let (count, oldest) = answered.fold((0, None), |(count, _), rank| (count + 1, Some(rank)));
    if count > most / 2 { oldest } else { ranks.next() }
}

impl Connections {
    pub(crate) fn new(http: &HttpConfig, limits: &LimitsConfig) -> Arc<Self> {
        let request = Duration::from_secs(http.request_timeout_seconds);
        Arc::new(Self {
            most: limits.unauthenticated_connections,
            most_per_address: limits.unauthenticated_connections_per_address,
            least_rate: http.slowest_reader_bytes_per_second,
            ..Self::empty(
                limits,
                Patience {
                    head: Duration::from_secs(http.header_timeout_seconds),
                    request: request + LATE_ANSWER,
                    answer: request,
                    idle: Duration::from_secs(http.idle_timeout_seconds),
                },
            )
        })
    }

    /// The table of ICE-TCP: all that a connection has to show is an authentic check.
    pub(crate) fn of_ice_tcp(limits: &LimitsConfig) -> Arc<Self> {
        let check = Duration::from_secs(limits.tcp_check_seconds);
        Arc::new(Self {
            most: limits.unauthenticated_tcp_connections,
            most_per_address: limits.unauthenticated_tcp_connections_per_address,
            ..Self::empty(limits, Patience { head: check, request: check, answer: check, idle: check })
        })
    }

    fn empty(limits: &LimitsConfig, patience: Patience) -> Self {
        Self {
            most: 0,
            most_per_address: 0,
            join_bytes: limits.join_bytes,
            body_bytes: limits.body_bytes,
            patience,
            least_rate: u32::MAX,
            table: Mutex::default(),
            gave_way: AtomicU64::new(0),
            timed_out: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// A seat for a new connection. `address` is `None` for a trusted proxy's, which counts for its clients.
    pub(crate) fn seat(self: &Arc<Self>, address: Option<IpAddr>) -> Ticket {
        let (fate, _) = watch::channel(Fate::Until(Instant::now() + self.patience.head));
        let mut table = lock(&self.table);
        let rank = Rank { standing: Phase::New.standing(), number: table.next };
        table.next += 1;
        table.insert(rank, Seated { fate: fate.clone(), address: None });
        if table.seats.len() > self.most {
            self.gave_way.fetch_add(1, Ordering::Relaxed);
            table.make_room(None, self.most);
        }
        drop(table);
        let place = Mutex::new(Place { phase: Some(Phase::New), rank });
        let allowance = Arc::new(AtomicUsize::new(BEFORE_REQUEST));
        let ticket = Ticket(Arc::new(Seat { connections: Arc::clone(self), fate, allowance, place }));
        if let Some(address) = address {
            ticket.counts_for(address);
        }
        ticket
    }

    /// Connections that have not joined.
    pub(crate) fn unauthenticated(&self) -> usize {
        lock(&self.table).seats.len()
    }

    /// Most connections that have a seat.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Counts a connection that gives way before it has a seat.
    pub(super) fn count_given_way(&self) {
        self.gave_way.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection that was closed for what it sent.
    pub(crate) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// How many connections were closed, by reason.
    pub(crate) fn closed(&self) -> Closed {
        let [too_many, timeout, refused] =
            [&self.gave_way, &self.timed_out, &self.refused].map(|count| count.load(Ordering::Relaxed));
        Closed { too_many, timeout, refused }
    }
}

/// Connections that were closed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Closed {
    /// Since there were too many.
    pub(crate) too_many: u64,
    /// Since they took too long.
    pub(crate) timeout: u64,
    /// For what they sent.
    pub(crate) refused: u64,
}

/// The tables of a process.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionTables {
    pub(crate) http: Arc<Connections>,
    pub(crate) ice_tcp: Arc<Connections>,
}

/// A connection's seat in the table, given back when the last copy is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Ticket(Arc<Seat>);

#[derive(Debug)]
struct Seat {
    connections: Arc<Connections>,
    fate: watch::Sender<Fate>,
    /// Bytes that may still be read.
    allowance: Arc<AtomicUsize>,
    /// Lock order: this one, then the table's.
    place: Mutex<Place>,
}

#[derive(Debug)]
struct Place {
    /// `None`: has joined, and holds no seat.
    phase: Option<Phase>,
    rank: Rank,
}

impl Ticket {
    /// Bytes that may still be read from the connection.
    pub(crate) fn allowance(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.0.allowance)
    }

    /// Whether the connection has sent more than it may before it joins.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.0.allowance.load(Ordering::Relaxed) == 0
    }

    /// Counts the connection for the client at `ip`, whose oldest connection gives way where it has too many.
    pub(crate) fn counts_for(&self, ip: IpAddr) {
        let Seat { connections, place, .. } = &*self.0;
        let (place, address) = (lock(place), Neighbourhood::of(ip));
        let mut table = lock(&connections.table);
        // One that has joined, or was told to go, is in the table no more.
        match table.seats.get(&place.rank) {
            Some(seated) if seated.address != Some(address) => {}
            _ => return,
        }
        if let Some(seated) = table.remove(place.rank) {
            table.insert(place.rank, Seated { address: Some(address), ..seated });
        }
        if table.by_address.get(&address).is_some_and(|ranks| ranks.len() > connections.most_per_address) {
            connections.gave_way.fetch_add(1, Ordering::Relaxed);
            table.make_room(Some(address), connections.most_per_address);
        }
    }

    /// What was read until now is not the client's.
    pub(crate) fn begin(&self) {
        self.0.allow(BEFORE_REQUEST);
    }

    /// A request begins. With the returned value ends the making of its answer, which is then to be written.
    pub(crate) fn begin_request(&self) -> RequestUnderWay {
        self.enter(Phase::Request, self.0.connections.patience.request);
        // A body may come, and little else: what keeps it until it is whole is TLS, HTTP or whoever waits for it.
        self.0.allow(with_framing(self.0.connections.body_bytes) + EXCESS);
        RequestUnderWay(self.clone())
    }

    /// So much of an answer was taken: for as long as some is, fast enough, its connection stays.
    pub(crate) fn wrote(&self, bytes: usize) {
        let seat = &*self.0;
        if !self.is_in(Phase::Answering) && !self.is_in(Phase::Answered) {
            return;
        }
        let connections = &seat.connections;
        let worth = Duration::from_secs_f64(bytes as f64 / f64::from(connections.least_rate));
        let most = Instant::now() + connections.patience.answer;
        seat.fate.send_if_modified(|fate| match fate {
            Fate::Until(deadline) => {
                *deadline = (*deadline + worth).min(most);
                true
            }
            Fate::Free | Fate::GivesWay => false,
        });
    }

    /// Nothing is left to be written: an answer that was under way is in the kernel's hands.
    pub(crate) fn wrote_all(&self) {
        if self.is_in(Phase::Answered) {
            self.enter(Phase::Idle, self.0.connections.patience.idle);
        }
    }

    /// The connection becomes a WebSocket, whose first message must come in time.
    pub(crate) fn upgrade(&self, patience: Duration) {
        self.0.allow(with_framing(self.0.connections.join_bytes));
        self.enter(Phase::Upgraded, patience);
    }

    /// The client has proved who it is: its connection has no end of its own any more, and no seat.
    /// False where it was told before to give way.
    pub(crate) fn join(&self) -> bool {
        let seat = &*self.0;
        seat.allow(usize::MAX);
        seat.leave_table();
        seat.fate.send_if_modified(|fate| {
            let stays = !matches!(fate, Fate::GivesWay);
            if stays {
                *fate = Fate::Free;
            }
            stays
        })
    }

    /// Waits until the connection must end.
    pub(crate) async fn over(&self) {
        let mut fate = self.0.fate.subscribe();
        loop {
            let now = *fate.borrow_and_update();
            // The sender lives in the seat, so a change is always waited for in good order.
            match now {
                Fate::GivesWay => return,
                Fate::Free => drop(fate.changed().await),
                Fate::Until(deadline) => tokio::select! {
                    () = sleep_until(deadline) => {
                        self.0.connections.timed_out.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                    _ = fate.changed() => {}
                },
            }
        }
    }

    /// Whether the connection must end for the sake of another.
    pub(crate) fn gives_way(&self) -> bool {
        matches!(*self.0.fate.borrow(), Fate::GivesWay)
    }

    /// Whether it was never asked for anything: no part of an answer can be under way.
    pub(crate) fn is_new(&self) -> bool {
        self.is_in(Phase::New)
    }

    fn is_in(&self, phase: Phase) -> bool {
        lock(&self.0.place).phase == Some(phase)
    }

    /// Whether the connection must end, for who cannot wait for it.
    pub(crate) fn is_over(&self) -> bool {
        match *self.0.fate.borrow() {
            Fate::GivesWay => true,
            Fate::Free => false,
            Fate::Until(deadline) => deadline <= Instant::now(),
        }
    }

    fn enter(&self, phase: Phase, patience: Duration) {
        let seat = &*self.0;
        let mut place = lock(&seat.place);
        if place.phase.is_none() {
            return;
        }
        place.phase = Some(phase);
        let rank = Rank { standing: phase.standing(), ..place.rank };
        let mut table = lock(&seat.connections.table);
        // One that was told to go is in the table no more.
        if let Some(seated) = table.remove(place.rank) {
            seated.fate.send_replace(Fate::Until(Instant::now() + patience));
            table.insert(rank, seated);
            place.rank = rank;
        }
    }
}

/// What may be read so that `bytes` of payload come.
fn with_framing(bytes: usize) -> usize {
    bytes.saturating_add(bytes / 32 + FRAMING)
}

impl Seat {
    fn allow(&self, bytes: usize) {
        self.allowance.store(bytes, Ordering::Relaxed);
    }

    fn leave_table(&self) {
        let mut place = lock(&self.place);
        if place.phase.take().is_some() {
            lock(&self.connections.table).remove(place.rank);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave_table();
    }
}

/// A request whose answer is not made yet.
#[derive(Debug)]
pub(crate) struct RequestUnderWay(Ticket);

impl RequestUnderWay {
    /// There is an answer, though maybe not the end of its body.
    pub(crate) fn is_answered(&self) {
        self.leave(Phase::Request, Phase::Answering);
    }

    /// Whether it was in the phase that is to be left.
    fn leave(&self, before: Phase, after: Phase) -> bool {
        let is_left = self.0.is_in(before);
        if is_left {
            self.0.enter(after, self.0.0.connections.patience.answer);
        }
        is_left
    }
}

impl Drop for RequestUnderWay {
    fn drop(&mut self) {
        self.is_answered();
        if self.leave(Phase::Answering, Phase::Answered) {
            self.0.0.allow(BEFORE_REQUEST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(most: usize, most_per_address: usize) -> Arc<Connections> {
        let limits = LimitsConfig {
            unauthenticated_connections: most,
            unauthenticated_connections_per_address: most_per_address,
            ..LimitsConfig::default()
        };
        Connections::new(&HttpConfig::default(), &limits)
    }

    /// The connection, with an answer that is to be written.
    fn answer(ticket: &Ticket) -> &Ticket {
        drop(ticket.begin_request());
        ticket
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn the_oldest_gives_way_and_the_newcomer_stays() {
        let table = table(2, 2);
        let tickets: Vec<Ticket> = (1..=3).map(|host| table.seat(ip(&format!("192.0.2.{host}")))).collect();
        assert_eq!(tickets.iter().map(Ticket::gives_way).collect::<Vec<_>>(), [true, false, false]);
        assert_eq!((table.unauthenticated(), table.closed().too_many), (2, 1));
        drop(tickets);
        assert_eq!(table.unauthenticated(), 0);
        assert!(lock(&table.table).by_address.is_empty(), "nothing is left of them");
    }

    #[test]
    fn one_that_is_idle_gives_way_before_one_that_works() {
        let table = table(2, 2);
        let (working, idle) = (table.seat(ip("192.0.2.1")), table.seat(ip("192.0.2.2")));
        let _request = working.begin_request();
        answer(&idle).wrote_all();
        let _new = table.seat(ip("192.0.2.3"));
        assert!(idle.gives_way() && !working.gives_way());
    }

    #[test]
    fn one_whose_answer_is_read_gives_way_last_but_has_half_of_the_places() {
        let table = table(4, 4);
        let readers: Vec<Ticket> = (0..2).map(|_| table.seat(ip("192.0.2.1"))).collect();
        for reader in &readers {
            answer(reader);
        }
        let silent: Vec<Ticket> = (0..9).map(|_| table.seat(ip("192.0.2.1"))).collect();
        let stay = |tickets: &[Ticket]| tickets.iter().filter(|ticket| !ticket.gives_way()).count();
        assert_eq!((stay(&readers), stay(&silent)), (2, 2));
        let [.., third, newest] = &silent[..] else { panic!("there are nine") };
        answer(third);
        let newcomer = table.seat(ip("192.0.2.1"));
        assert!(readers[0].gives_way() && !readers[1].gives_way());
        assert!(!third.gives_way() && !newest.gives_way() && !newcomer.gives_way());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_take_as_long_as_it_moves_fast_enough() {
        let HttpConfig { request_timeout_seconds: patience, slowest_reader_bytes_per_second: rate, .. } =
            HttpConfig::default();
        for (percent, seconds) in [(0, patience), (50, 2 * patience), (100, 100 * patience), (900, 100 * patience)] {
            let (table, began) = (table(1, 1), Instant::now());
            let reader = table.seat(None);
            answer(&reader);
            while !reader.is_over() && began.elapsed().as_secs() < 100 * patience {
                tokio::time::sleep(Duration::from_secs(1)).await;
                reader.wrote(rate as usize * percent / 100);
            }
            assert!(began.elapsed().as_secs().abs_diff(seconds) <= 1, "{percent} %: {:?}", began.elapsed());
            let began = Instant::now();
            if !reader.is_over() {
                reader.over().await;
                assert!(began.elapsed().as_secs() <= patience, "what was taken fast is no credit");
            }
        }
    }

    #[test]
    fn a_request_may_bring_its_body_and_little_else() {
        let table = table(1, 1);
        let (ticket, most) = (table.seat(None), LimitsConfig::default().body_bytes);
        let allowed = || ticket.allowance().load(Ordering::Relaxed);
        let request = ticket.begin_request();
        assert!((most..most + most / 8 + EXCESS).contains(&allowed()), "{}", allowed());
        drop(request);
        assert_eq!(allowed(), BEFORE_REQUEST);
    }

    #[test]
    fn participants_hold_no_seat() {
        let table = table(1, 1);
        let participant = table.seat(ip("192.0.2.1"));
        participant.upgrade(Duration::from_secs(1));
        participant.join();
        let _others: Vec<Ticket> = (0..9).map(|_| table.seat(ip("192.0.2.1"))).collect();
        assert!(!participant.gives_way());
        assert!(matches!(*participant.0.fate.borrow(), Fate::Free));
    }

    #[test]
    fn an_address_is_a_network_of_64_bits_where_it_is_ipv6() {
        let table = table(100, 1);
        let first = table.seat(ip("2001:db8::1"));
        let elsewhere = table.seat(ip("2001:db8:0:1::1"));
        let _neighbour = table.seat(ip("2001:db8::ffff:2"));
        assert!(first.gives_way() && !elsewhere.gives_way());
        let mapped = table.seat(ip("::ffff:192.0.2.1"));
        let _same = table.seat(ip("192.0.2.1"));
        assert!(mapped.gives_way());
    }

    #[test]
    fn a_proxys_connection_counts_for_its_clients() {
        let table = table(100, 1);
        let proxied: Vec<Ticket> = (0..50).map(|_| table.seat(None)).collect();
        assert!(!proxied.iter().any(Ticket::gives_way));
        proxied[0].counts_for(ip("192.0.2.1").unwrap());
        proxied[1].counts_for(ip("192.0.2.1").unwrap());
        proxied[2].counts_for(ip("192.0.2.2").unwrap());
        assert_eq!(proxied[..3].iter().map(Ticket::gives_way).collect::<Vec<_>>(), [true, false, false]);
        drop(proxied);
        assert!(lock(&table.table).by_address.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn each_phase_has_its_end() {
        let table = table(10, 10);
        let began = Instant::now();
        let silent = table.seat(None);
        silent.over().await;
        assert_eq!(began.elapsed().as_secs(), HttpConfig::default().header_timeout_seconds);
        let asks = table.seat(None);
        let request = asks.begin_request();
        let began = Instant::now();
        drop(request);
        asks.wrote_all();
        asks.over().await;
        assert_eq!(began.elapsed().as_secs(), HttpConfig::default().idle_timeout_seconds);
        assert_eq!(table.closed(), Closed { timeout: 2, ..Closed::default() });
    }

    #[tokio::test(start_paused = true)]
    async fn ice_tcp_has_a_table_of_its_own() {
        let limits = LimitsConfig { unauthenticated_tcp_connections_per_address: 1, ..LimitsConfig::default() };
        let table = Connections::of_ice_tcp(&limits);
        let (first, second) = (table.seat(ip("192.0.2.1")), table.seat(ip("192.0.2.1")));
        assert!(first.is_over() && !second.is_over());
        let third = table.seat(ip("192.0.2.2"));
        third.join();
        tokio::time::sleep(Duration::from_secs(limits.tcp_check_seconds)).await;
        assert!(second.is_over() && !third.is_over());
    }

    #[test]
    fn the_end_of_the_answer_that_upgraded_it_makes_a_websocket_not_idle() {
        let table = table(1, 1);
        let socket = table.seat(None);
        let request = socket.begin_request();
        socket.upgrade(Duration::from_secs(1));
        drop(request);
        socket.wrote_all();
        assert_eq!(lock(&socket.0.place).rank.standing, Standing::Busy);
    }
}
