//! The worker: many transports and rooms behind one interface without input or output.

mod commands;
mod dispatch;
pub(crate) mod look_ahead;
mod paths;
mod repair;
mod replicas;
mod rtcp;
mod share;
mod shed;
mod slots;
mod start;
mod stats;
mod transmit;
mod transports;

use crate::claims::ClaimedAddresses;
use crate::coalescing::CoalescingWindow;
use crate::config::WorkerConfig;
use crate::context::{Context, EventQueue};
use crate::event::{Event, TrafficStats};
use crate::ids::{PublicationId, RoomId, TransportId};
use crate::overload::{Shedder, Stage};
use crate::peer::Peer;
use crate::publication::Source;
use crate::qos::BitrateAllocator;
use crate::relay::Relays;
use crate::room::Router;
use crate::schedule::{DirtyList, FanOutList};
use crate::slab::{Key, Slab};
use crate::start_rates::StartRates;
use crate::timer_queue::TimerQueue;
use foldhash::fast::FixedState;
use paths::PathTable;
use sfu_rtc::drop_reason::DropCounts;
use sfu_rtc::dtls::DtlsCertificate;
use sfu_rtc::ice::IceSecret;
use sfu_rtc::net::NetworkPath;
use sfu_rtc::packet::PacketPool;
use sfu_rtc::time::{Duration, Instant, WallClock};
use sfu_rtc::twcc::FramePacket;
use share::Shares;
use std::collections::HashMap;
use std::sync::Arc;

/// A table of the packet's path. Its seed comes from the worker's, since a crate without I/O may not ask the operating
/// system for one, and is secret. Keys are paths that ICE has validated and names that we chose ourselves, so that is
/// enough against collisions made on purpose.
type SeededMap<K, V> = HashMap<K, V, FixedState>;

/// Owns the transports and rooms of one thread.
///
/// Its owner hands it datagrams, commands and the time, in any number, then drains it: datagrams to send, events, and
/// when it wants to be called next. It reads no clock, touches no peer that is idle, and holds no lock but for a glance at
/// [`ClaimedAddresses`] while a peer connects.
#[derive(Debug)]
pub struct Worker {
    config: WorkerConfig,
    certificate: Arc<DtlsCertificate>,
    clock: WallClock,
    random: Random,
    ice_secret: IceSecret,
    /// Boxed, so that to find one does not wait for its memory: what it needs is fetched first (`look_ahead`).
    peers: Slab<Box<Peer>>,
    routers: Slab<Router>,
    rooms: SeededMap<RoomId, Key>,
    transports: SeededMap<TransportId, Key>,
    /// Router and publication.
    publications: SeededMap<PublicationId, (Key, Key)>,
    paths: PathTable,
    claimed: Arc<ClaimedAddresses>,
    pool: PacketPool,
    fan_outs: FanOutList,
    dirty: DirtyList,
    shedder: Shedder,
    /// The stage that was reported last.
    announced_stage: Stage,
    window: CoalescingWindow,
    /// How long packets have waited inside, at most, since the load was looked at.
    queue_age: Duration,
    relays: Relays,
    events: EventQueue,
    peer_timers: TimerQueue,
    /// When a room's speakers are evaluated.
    room_timers: TimerQueue,
    allocator: Box<dyn BitrateAllocator>,
    shares: Shares,
    start_rates: StartRates,
    drops: DropCounts,
    ignored_commands: u64,
    /// Traffic of transports that are gone.
    past_traffic: TrafficStats,
    /// Where packets are put together that come back from parity.
    recovered: Vec<u8>,
    /// Reused for all feedback on frames.
    told: Vec<(FramePacket, bool)>,
    /// The room that is being worked on, for [`Self::abandon_room`].
    at_work: Option<Key>,
}

impl Worker {
    /// A worker without rooms. `seed`, which must not be guessable, feeds everything that has to be unpredictable or
    /// spread but is no key of the cryptography: first sequence numbers, hash tables, names of STUN checks.
    pub fn new(config: WorkerConfig, certificate: Arc<DtlsCertificate>, clock: WallClock, seed: u64) -> Self {
        let ice_secret = IceSecret::from_seed(seed);
        // Peers see numbers of this kind, and must not learn the seed from them.
        let mut random = Random::new(ice_secret.public_seed());
        let state = FixedState::with_seed(random.next());
        Self {
            certificate,
            clock,
            peers: Slab::default(),
            routers: Slab::default(),
            rooms: SeededMap::with_hasher(state.clone()),
            transports: SeededMap::with_hasher(state.clone()),
            publications: SeededMap::with_hasher(state.clone()),
            paths: PathTable::new(state.clone()),
            claimed: Arc::default(),
            start_rates: StartRates::new(config.start_rates.clone(), state),
            pool: PacketPool::new(config.max_packets),
            fan_outs: FanOutList::default(),
            dirty: DirtyList::default(),
            shedder: Shedder::default(),
            announced_stage: Stage::Nothing,
            window: CoalescingWindow::default(),
            queue_age: Duration::ZERO,
            relays: Relays::new(config.max_relay_queue),
            events: EventQueue::new(config.max_events),
            peer_timers: TimerQueue::default(),
            room_timers: TimerQueue::default(),
            allocator: config.allocator.build(),
            shares: Shares::default(),
            drops: DropCounts::default(),
            ignored_commands: 0,
            past_traffic: TrafficStats::default(),
            recovered: Vec::new(),
            told: Vec::new(),
            at_work: None,
            random,
            ice_secret,
            config,
        }
    }

    /// From now on, what peers of other workers claim counts here, and the other way round.
    pub fn share_claims(&mut self, claimed: &Arc<ClaimedAddresses>) {
        self.claimed = Arc::clone(claimed);
    }

    /// A datagram (or a frame of ICE-TCP) came over `path`. It is decrypted in place.
    pub fn handle_datagram(&mut self, now: Instant, path: &NetworkPath, data: &mut [u8]) {
        if let Err(reason) = self.dispatch(now, path, data) {
            self.drops.count(reason);
        }
        self.at_work = None;
    }

    /// When something authentic last came over `path`; `None` where nothing ever did, or too long ago.
    pub fn heard(&self, path: &NetworkPath) -> Option<Instant> {
        self.peers.get(self.paths.look_up(path)?)?.transport.last_heard(path)
    }

    /// Whether a connected peer is sent to over `path`, and not over another.
    pub fn is_in_use(&self, path: &NetworkPath) -> bool {
        let peer = self.paths.look_up(path).and_then(|key| self.peers.get(key));
        peer.is_some_and(|peer| peer.transport.is_connected() && peer.transport.path().as_ref() == Some(path))
    }

    /// The connection below `path` is gone (ICE-TCP).
    pub fn handle_path_closed(&mut self, now: Instant, path: &NetworkPath) {
        self.close_path(now, path);
        self.at_work = None;
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    /// When [`Self::handle_timeout`] wants to be called; `None` while nothing waits for time. To be asked after
    /// [`Self::poll_transmit`] has nothing more; the past means at once.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.dirty.is_empty() {
            return Some(Instant::ZERO);
        }
        let rooms = [self.room_timers.next(), self.fan_outs.next(), self.relays.poll_timeout()];
        rooms.into_iter().chain([self.peer_timers.next()]).flatten().min()
    }

    /// Time has come; to be called at [`Self::poll_timeout`] or later.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(key) = self.peer_timers.pop_due(now) {
            let Some(peer) = self.peers.get_mut(key) else { continue };
            self.at_work = Some(peer.router);
            peer.transport.handle_timeout(now);
            peer.schedule(key, &mut self.dirty);
            self.handle_transport_events(now, key);
        }
        self.update_speakers(now);
        self.relays.handle_timeout(now);
        self.at_work = None;
    }

    /// Evaluates who speaks in the rooms that are due.
    fn update_speakers(&mut self, now: Instant) {
        while let Some(key) = self.room_timers.pop_due(now) {
            let Some(router) = self.routers.get_mut(key) else { continue };
            self.at_work = Some(key);
            if let Some(speakers) = router.speakers.update(now) {
                self.events.push(Event::ActiveSpeakers { room: router.room, speakers });
            }
            let due = router.speakers.due();
            self.room_timers.set(key, (due != Instant::NEVER).then_some(due));
        }
    }

    /// Sets a peer's timer to what is due first: its transport's, its reports, its share of
    /// bandwidth, or requests to it as a publisher.
    fn set_peer_timer(&mut self, key: Key) {
        let Some(peer) = self.peers.get(key) else { return };
        let mut due = peer.transport.poll_timeout().unwrap_or(Instant::NEVER).min(peer.report_due).min(peer.repair_due);
        due = due.min(peer.copies.due());
        due = due.min(peer.share.due(peer.estimate()));
        if !peer.publications.is_empty()
            && let Some(router) = self.routers.get(peer.router)
        {
            let publications = peer.publications.iter().filter_map(|key| router.publications.get(*key));
            due = publications.fold(due, |due, publication| due.min(publication.poll_timeout()));
        }
        self.peer_timers.set(key, (due != Instant::NEVER).then_some(due));
    }

    /// After a panic unwound out of a call: drops the room that was being worked on, with its transports and without
    /// running any of its code again. The rest of the worker shares nothing with it and goes on. `None` where the
    /// worker was not at work for a room; it is then not to be used any more.
    pub fn abandon_room(&mut self) -> Option<RoomId> {
        let router_key = self.at_work.take()?;
        let router = self.routers.remove(router_key)?;
        self.rooms.remove(&router.room);
        self.room_timers.set(router_key, None);
        for (_, publication) in router.publications.iter() {
            self.publications.remove(&publication.id);
            if let Source::Relay(relay) = publication.source {
                self.relays.remove(relay);
            }
        }
        let members: Vec<Key> = self.peers.iter().filter(|(_, peer)| peer.router == router_key).map(|m| m.0).collect();
        for member in members {
            self.forget_peer(member);
        }
        self.relist();
        Some(router.room)
    }

    /// Finds the publications again that have something to forward: a panic in the middle of a fan-out takes the list
    /// with it, while each publication knows itself to be on it.
    fn relist(&mut self) {
        let rooms = self.routers.iter();
        let publications = rooms.flat_map(|(router, room)| room.publications.iter().map(move |entry| (router, entry)));
        self.fan_outs.rebuild(
            publications
                .filter(|(_, (_, publication))| publication.is_listed())
                .map(|(router, (key, publication))| (publication.kind, router, key, publication.due())),
        );
    }

    /// The worker apart from its rooms, to be lent to one of them.
    fn split(&mut self, now: Instant) -> (Context<'_>, &mut Slab<Router>) {
        let context = Context {
            now,
            config: &self.config,
            window: self.window.video(),
            peers: &mut self.peers,
            pool: &mut self.pool,
            dirty: &mut self.dirty,
            relays: &mut self.relays,
            events: &mut self.events,
            drops: &mut self.drops,
            batch: None,
        };
        (context, &mut self.routers)
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): numbers that are well spread, whatever the seed; not for secrets.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests;
