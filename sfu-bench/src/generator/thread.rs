//! The loop of one thread.

use super::timers::Timers;
use super::{BenchClock, Command, Interval, Live, NewPeer, WAKE};
use crate::endpoint::Incoming;
use crate::wakeful_poll::WakefulPoll;
use mio::unix::SourceFd;
use mio::{Events, Interest, Token};
use sfu_net::PlainBatch;
use sfu_net::cpu_time::thread_cpu_time;
use sfu_rtc::net::TransmitBatch;
use sfu_rtc::time::Instant;
use std::collections::HashMap;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Sockets that are read before the timers are looked at again, so that a crowd of receivers does not make frames late.
const EVENTS: usize = 64;

/// A peer that is taken away sooner, before it is connected, has not failed.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);

pub(super) struct Thread {
    clock: BenchClock,
    poll: WakefulPoll,
    inbox: mpsc::Receiver<Command>,
    live: Arc<Live>,
    peers: Vec<Option<Peer>>,
    free: Vec<usize>,
    places: HashMap<u64, usize>,
    timers: Timers,
    paused: bool,
    received: PlainBatch,
    outgoing: TransmitBatch,
    rtcp: Vec<u8>,
    interval: Interval,
    cpu_before: Duration,
}

struct Peer {
    new: NewPeer,
    connected: bool,
    failed: bool,
    armed: Instant,
}

impl Thread {
    pub(super) fn new(clock: BenchClock, poll: WakefulPoll, inbox: mpsc::Receiver<Command>, live: Arc<Live>) -> Self {
        Self {
            clock,
            poll,
            inbox,
            live,
            peers: Vec::new(),
            free: Vec::new(),
            places: HashMap::new(),
            timers: Timers::default(),
            paused: false,
            received: PlainBatch::default(),
            outgoing: TransmitBatch::default(),
            rtcp: Vec::new(),
            interval: Interval::default(),
            cpu_before: Duration::ZERO,
        }
    }

    /// Runs until told to end; what happened since the last cut.
    pub(super) fn run(&mut self) -> Interval {
        let mut events = Events::with_capacity(EVENTS);
        self.cpu_before = thread_cpu_time();
        loop {
            let next = self.timers.next();
            let timeout = (next != Instant::NEVER).then(|| next - self.clock.now());
            // Interrupted is the only failure of a poll that is set up; the loop comes round again.
            if self.poll.poll(&mut events, timeout).is_err() {
                continue;
            }
            for event in &events {
                match event.token() {
                    WAKE => {
                        if self.obey() {
                            return self.close();
                        }
                    }
                    Token(index) => self.receive(index),
                }
            }
            self.fire_timers();
        }
    }

    /// Does what it is told; whether that is to end.
    fn obey(&mut self) -> bool {
        loop {
            match self.inbox.try_recv() {
                Ok(Command::Add(id, peer)) => self.add(id, *peer),
                Ok(Command::Remove(id, reply)) => {
                    if let Some(index) = self.places.remove(&id) {
                        self.remove(index);
                        self.free.push(index);
                    }
                    // Whoever asked may have given up.
                    let _ = reply.send(());
                }
                Ok(Command::Pause(paused)) => self.pause(paused),
                Ok(Command::Cut(reply)) => {
                    let interval = self.cut();
                    // Whoever asked may have given up.
                    drop(reply.send(interval));
                }
                Err(mpsc::TryRecvError::Empty) => return false,
                Ok(Command::End) | Err(mpsc::TryRecvError::Disconnected) => return true,
            }
        }
    }

    fn add(&mut self, id: u64, new: NewPeer) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.peers.push(None);
            self.peers.len() - 1
        });
        let fd = new.socket.as_raw_fd();
        if self.poll.registry().register(&mut SourceFd(&fd), Token(index), Interest::READABLE).is_err() {
            self.interval.failed += 1;
            self.free.push(index);
            return;
        }
        self.places.insert(id, index);
        self.peers[index] = Some(Peer { new, connected: false, failed: false, armed: Instant::NEVER });
        self.serve(index);
    }

    fn remove(&mut self, index: usize) {
        let now = self.clock.now();
        let Some(mut peer) = self.peers[index].take() else { return };
        peer.new.subscriber.cut(now, &mut self.interval.measured);
        if !peer.failed {
            self.live.connected.fetch_sub(u64::from(peer.connected), Ordering::Relaxed);
            let had_time = now - peer.new.joined > CONNECT_PATIENCE;
            self.interval.failed += u64::from(!peer.connected && had_time);
        }
        self.outgoing.clear();
        peer.new.endpoint.close();
        peer.new.endpoint.poll_transmit(now, &mut self.outgoing);
        peer.new.socket.send(&self.outgoing, 0);
    }

    fn pause(&mut self, paused: bool) {
        self.paused = paused;
        let now = self.clock.now();
        for index in 0..self.peers.len() {
            if let Some(peer) = self.peers[index].as_mut().filter(|peer| peer.connected && !paused) {
                peer.new.publisher.skip_to(now);
                self.serve(index);
            }
        }
    }

    fn cut(&mut self) -> Interval {
        let now = self.clock.now();
        for peer in self.peers.iter_mut().flatten() {
            peer.new.subscriber.cut(now, &mut self.interval.measured);
        }
        let cpu = thread_cpu_time();
        self.interval.cpu = (cpu - self.cpu_before).saturating_sub(self.poll.take_idle());
        self.cpu_before = cpu;
        std::mem::take(&mut self.interval)
    }

    fn receive(&mut self, index: usize) {
        // A peer may have been removed since the poll.
        let Some(peer) = self.peers.get_mut(index).and_then(Option::as_mut) else { return };
        while peer.new.socket.recv_plain(&mut self.received).is_ok() {
            let now = self.clock.now();
            for (waited, datagram) in self.received.iter_mut() {
                match &mut peer.new.impaired {
                    Some(path) => path.receive(now, datagram),
                    None => peer.take(now, now - waited, datagram, &mut self.interval),
                }
            }
            if !self.received.is_full() {
                break;
            }
        }
        if peer.new.endpoint.wants_service() {
            return self.serve(index);
        }
        let arrival = peer.new.impaired.as_ref().map_or(Instant::NEVER, |path| path.poll_timeout());
        let media = if self.paused { Instant::NEVER } else { peer.new.publisher.poll_timeout() };
        let due = peer.new.subscriber.poll_timeout().min(arrival).min(media);
        if due < peer.armed {
            peer.armed = due;
            self.timers.arm(due, index);
        }
    }

    fn fire_timers(&mut self) {
        let now = self.clock.now();
        while let Some((at, index)) = self.timers.pop(now) {
            // A timer that was replaced since is stale.
            if self.peers[index].as_ref().is_some_and(|peer| peer.armed == at) {
                self.serve(index);
            }
        }
    }

    /// Does what is due for a peer, and arms its next timer.
    fn serve(&mut self, index: usize) {
        let now = self.clock.now();
        let Some(peer) = self.peers[index].as_mut() else { return };
        while let Some(mut datagram) = peer.new.impaired.as_mut().and_then(|path| path.arrived(now)) {
            peer.take(now, now, &mut datagram, &mut self.interval);
        }
        self.outgoing.clear();
        peer.new.endpoint.poll_transmit(now, &mut self.outgoing);
        peer.record_state(now, &mut self.interval, &self.live);
        let NewPeer { endpoint, publisher, subscriber, socket, impaired, .. } = &mut peer.new;
        let mut due = endpoint.poll_timeout();
        if endpoint.is_connected() {
            if !self.paused {
                if publisher.poll_timeout() <= now {
                    let (sent, late) = publisher.poll(now, endpoint, &mut self.outgoing);
                    self.interval.sent += sent;
                    self.interval.lateness.record(late);
                }
                due = due.min(publisher.poll_timeout());
            }
            let mut send = |compound: &[u8]| endpoint.send_rtcp(compound, &mut self.outgoing);
            publisher.report(now, self.clock.ntp(now), &mut self.rtcp, &mut send);
            subscriber.report(now, &mut self.rtcp, &mut send);
            due = due.min(subscriber.poll_timeout());
        }
        if let Some(path) = impaired {
            path.transmit(now, &mut self.outgoing);
            due = due.min(path.poll_timeout());
        }
        // Where the socket is full, what is left is lost, and the receivers will say so.
        socket.send(&self.outgoing, 0);
        peer.armed = due;
        self.timers.arm(due, index);
    }

    fn close(&mut self) -> Interval {
        for index in 0..self.peers.len() {
            self.remove(index);
        }
        self.cut()
    }
}

impl Peer {
    /// Takes a datagram that arrived at `arrived` and waited until `now`, which is not the server's doing.
    fn take(&mut self, now: Instant, arrived: Instant, datagram: &mut [u8], interval: &mut Interval) {
        let NewPeer { endpoint, publisher, subscriber, .. } = &mut self.new;
        match endpoint.handle_datagram(now, datagram) {
            Incoming::Rtp(packet, seq) => subscriber.handle_rtp(arrived, packet, seq, &mut interval.measured),
            Incoming::Rtcp(compound) => {
                interval.keyframe_requests += publisher.handle_rtcp(compound);
                subscriber.handle_rtcp(now, compound);
            }
            Incoming::Other => {}
        }
    }

    /// Counts that the connection came about, or ended.
    fn record_state(&mut self, now: Instant, interval: &mut Interval, live: &Live) {
        if self.new.endpoint.is_connected() && !self.connected {
            self.connected = true;
            interval.connect.record(now - self.new.joined);
            live.connected.fetch_add(1, Ordering::Relaxed);
        }
        if self.new.endpoint.has_failed() && !self.failed {
            self.failed = true;
            interval.failed += 1;
            live.connected.fetch_sub(u64::from(self.connected), Ordering::Relaxed);
        }
    }
}
