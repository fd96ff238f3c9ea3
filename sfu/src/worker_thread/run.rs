//! The loop of a worker's thread: wait, take orders, receive, let time pass, send, report.

use super::load::LoadMeter;
use super::pace::Pace;
use super::realtime::Realtime;
use super::relay::RelayPort;
use super::{Input, Report, Shared, UDP, WAKER, WorkerParts};
use crate::lock::lock;
use crate::net::TcpPool;
use crate::random;
use mio::{Events, Poll};
use sfu_core::worker::Worker;
use sfu_net::RecvBatch;
use sfu_rtc::net::{Protocol, TransmitBatch};
use sfu_rtc::time::{Duration, Instant};
use std::any::Any;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Tokens from here on are ICE-TCP connections.
const FIRST_TCP: usize = 2;
/// Orders carried out between two looks at the sockets.
const INPUTS_PER_ROUND: usize = 256;
/// ICE-TCP connections taken between two looks at the sockets: each is some system calls.
const CONNECTIONS_PER_ROUND: usize = 4;
/// Messages of other workers taken between two looks at the sockets: as many as the datagrams of a batch.
const RELAYED_PER_ROUND: usize = 512;
/// Wait before a full send buffer or report queue is tried again: epoll tells only of some of these.
const RETRY: Duration = Duration::from_millis(1);
/// How often idle TCP connections are looked for and gauges are set.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// Room in the transmit batch from the start: two full GSO trains.
const BATCH_BYTES: usize = 128 * 1024;

/// Runs until told to stop.
pub(super) fn run(parts: WorkerParts, poll: Poll, shared: &Shared) {
    if let Some(cpu) = parts.cpu
        && let Err(error) = sfu_net::affinity::pin_current_thread(cpu)
    {
        tracing::warn!(worker = parts.index, cpu, %error, "not pinned");
    }
    let mut thread = WorkerThread::new(parts, poll, shared);
    let mut events = Events::with_capacity(256);
    while !thread.stopping {
        thread.round(&mut events);
    }
}

fn new_worker(parts: &WorkerParts) -> Worker {
    let mut worker = Worker::new(parts.config.clone(), parts.certificate.clone(), parts.clock.wall(), random::number());
    worker.share_claims(&parts.claimed);
    worker
}

struct WorkerThread<'a> {
    worker: Worker,
    parts: WorkerParts,
    shared: &'a Shared,
    poll: Poll,
    tcp: TcpPool,
    inbound: RecvBatch,
    outbound: TransmitBatch,
    /// First entry of `outbound` that the socket has not taken.
    next_unsent: usize,
    inputs: VecDeque<Input>,
    /// The control plane has put something into the queue.
    woken: bool,
    connections_wait: bool,
    relays: RelayPort,
    /// Another worker's queue did not take all that there is for it.
    relays_full: bool,
    udp_readable: bool,
    reports_full: bool,
    next_housekeeping: Instant,
    busiest: Duration,
    load: LoadMeter,
    pace: Pace,
    realtime: Realtime,
    stopping: bool,
}

impl<'a> WorkerThread<'a> {
    fn new(parts: WorkerParts, poll: Poll, shared: &'a Shared) -> Self {
        Self {
            worker: new_worker(&parts),
            next_housekeeping: parts.clock.now(),
            load: LoadMeter::new(parts.clock.now()),
            pace: Pace::default(),
            realtime: Realtime::start(parts.realtime),
            relays: RelayPort::new(&parts.relays, parts.index),
            relays_full: false,
            tcp: TcpPool::new(FIRST_TCP, parts.max_tcp),
            parts,
            shared,
            poll,
            inbound: RecvBatch::default(),
            outbound: TransmitBatch::with_capacity(BATCH_BYTES),
            next_unsent: 0,
            inputs: VecDeque::new(),
            woken: true,
            connections_wait: true,
            udp_readable: true,
            reports_full: false,
            busiest: Duration::ZERO,
            stopping: false,
        }
    }

    fn round(&mut self, events: &mut Events) {
        self.wait(events);
        let begin = self.parts.clock.now();
        self.pace.begin(begin);
        self.take_inputs(begin);
        self.take_connections(begin);
        self.take_relayed(begin);
        self.receive(begin);
        self.hand_over(begin);
        let now = self.parts.clock.now();
        if self.worker.poll_timeout().is_some_and(|due| due <= now) {
            self.contained(|this| this.worker.handle_timeout(now));
        }
        self.tcp.close_some(now, |path| self.worker.heard(path));
        while let Some(path) = self.tcp.poll_closed() {
            self.contained(|this| this.worker.handle_path_closed(now, &path));
        }
        self.transmit(now);
        self.hand_over(now);
        self.report();
        self.measure(begin);
        self.housekeeping(now);
    }

    /// Sleeps until there is something to do.
    fn wait(&mut self, events: &mut Events) {
        let mut timeout = self.sleep_time();
        if let Some(rest) = self.pace.rest(self.parts.clock.now(), timeout) {
            std::thread::sleep(rest);
            timeout = Duration::ZERO;
        }
        if timeout > Duration::ZERO && !self.relays.fall_asleep() {
            timeout = Duration::ZERO;
        }
        if let Err(error) = self.poll.poll(events, Some(timeout))
            && error.kind() != ErrorKind::Interrupted
        {
            tracing::error!(worker = self.parts.index, %error, "poll");
        }
        self.relays.wake_up();
        for event in events.iter() {
            match event.token() {
                WAKER => (self.woken, self.connections_wait) = (true, true),
                UDP => self.udp_readable |= event.is_readable(),
                token => self.tcp.on_ready(token, event.is_readable(), event.is_writable()),
            }
        }
    }

    fn sleep_time(&self) -> Duration {
        let ordered = self.woken || !self.inputs.is_empty() || self.connections_wait;
        if self.udp_readable || self.tcp.is_ready() || self.relays.is_ready() || ordered {
            return Duration::ZERO;
        }
        // While the socket takes nothing, what the worker has to send must not keep the thread awake.
        if self.reports_full || self.relays_full || !self.outbound.is_empty() {
            return RETRY;
        }
        let due = self.worker.poll_timeout().unwrap_or(Instant::NEVER).min(self.next_housekeeping);
        due - self.parts.clock.now()
    }

    fn take_inputs(&mut self, now: Instant) {
        if self.woken && self.inputs.is_empty() {
            self.woken = false;
            std::mem::swap(&mut *lock(&self.shared.queue), &mut self.inputs);
        }
        for _ in 0..INPUTS_PER_ROUND {
            match self.inputs.pop_front() {
                None => return,
                Some(Input::Command(command)) => {
                    self.contained(|this| this.worker.handle_command(now, command));
                }
                Some(Input::Stop) => self.stopping = true,
            }
        }
    }

    /// Takes some of the ICE-TCP connections that wait.
    fn take_connections(&mut self, now: Instant) {
        for _ in 0..CONNECTIONS_PER_ROUND {
            if !self.connections_wait {
                return;
            }
            let accepted = {
                let mut connections = lock(&self.shared.connections);
                let accepted = connections.pop_front();
                // Whoever puts in the next one wakes the thread.
                self.connections_wait = !connections.is_empty();
                accepted
            };
            let worker = &self.worker;
            if let Some(accepted) = accepted {
                self.tcp.add(accepted, self.poll.registry(), now, |path| worker.is_in_use(path));
            }
        }
    }

    /// Takes what other workers relay.
    fn take_relayed(&mut self, now: Instant) {
        for _ in 0..RELAYED_PER_ROUND {
            let Some((from, message)) = self.relays.next() else { return };
            self.shared.stats.relay_messages.add(1);
            self.contained(|this| this.worker.handle_relay(now, from, message));
        }
    }

    /// Hands over what is for other workers: soon after it was received, so that they work on it at the same time.
    fn hand_over(&mut self, now: Instant) {
        if self.relays.is_alone() {
            return;
        }
        self.relays_full = false;
        self.contained(|this| {
            let Self { worker, relays, relays_full, .. } = this;
            worker.poll_relay(now, |to, messages| {
                relays.hand_over(to, messages);
                *relays_full |= !messages.is_empty();
            });
        });
    }

    /// Receives one batch. The rest waits for the next round, so that reception and sending take turns: what came in
    /// while a large fan-out is under way, sound above all, does not wait for its end.
    fn receive(&mut self, now: Instant) {
        if self.tcp.is_ready() {
            self.contained(|this| {
                this.tcp.receive(now, |path, data| {
                    this.worker.handle_datagram(now, path, data);
                    this.worker.is_in_use(path)
                });
            });
        }
        if !self.udp_readable {
            return;
        }
        match self.parts.udp.recv(&mut self.inbound) {
            Ok(()) => {
                // What was ordered before these datagrams were sent, such as the transport they are for, is first.
                self.load.record_queue_age(self.inbound.age());
                self.woken = true;
                self.take_inputs(now);
                self.handle_batch(now);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.udp_readable = false,
            // An ICMP error of an earlier send, or an interruption: the socket goes on.
            Err(error) => tracing::trace!(%error, "receive"),
        }
    }

    fn handle_batch(&mut self, now: Instant) {
        let (mut handled, mut done) = (0, false);
        // A datagram that makes the worker panic is passed over; those behind it may be other rooms'.
        while !done {
            self.contained(|this| {
                if handled == 0 {
                    this.worker.look_ahead(this.inbound.firsts());
                }
                for (path, datagram) in this.inbound.iter_mut().skip(handled) {
                    handled += 1;
                    this.worker.handle_datagram(now, path, datagram);
                }
                done = true;
            });
        }
        self.shared.stats.udp_received.add(handled as u64);
        // A batch that is not full emptied the socket; the next datagram makes an event again.
        if !self.inbound.is_full() {
            self.udp_readable = false;
        }
    }

    /// Sends one batch, or what the socket takes of it.
    fn transmit(&mut self, now: Instant) {
        if self.outbound.is_empty() {
            self.contained(|this| this.worker.poll_transmit(now, &mut this.outbound));
            if self.outbound.is_empty() {
                return;
            }
            self.send_tcp();
        }
        let progress = self.parts.udp.send(&self.outbound, self.next_unsent);
        self.next_unsent = progress.next;
        if !progress.blocked {
            self.outbound.clear();
            self.next_unsent = 0;
        }
    }

    /// Sends the entries of a new batch that go over TCP; a connection that is full drops them by itself.
    fn send_tcp(&mut self) {
        if self.tcp.is_empty() {
            return;
        }
        for transmit in self.outbound.transmits() {
            if let Protocol::Tcp(id) = transmit.path.protocol {
                self.tcp.send(id, self.outbound.bytes(transmit));
            }
        }
    }

    /// Hands the worker's events over, as far as the queue takes them; the rest waits in the worker.
    fn report(&mut self) {
        self.reports_full = false;
        loop {
            let Ok(permit) = self.parts.reports.try_reserve() else {
                self.reports_full = true;
                return;
            };
            let Some(event) = self.worker.poll_event() else { return };
            permit.send(Report::Event { worker: self.parts.index, event });
        }
    }

    /// Records how long the round took, and lets the worker shed what it has no time for.
    fn measure(&mut self, begin: Instant) {
        let end = self.parts.clock.now();
        self.busiest = self.busiest.max(end - begin);
        if let Some(load) = self.load.record_round(begin, end, &self.shared.stats) {
            self.contained(|this| this.worker.handle_load(end, load));
            let window = self.worker.coalescing();
            self.pace.set_window(window.audio());
            self.realtime.update(load.busy);
            self.shared.stats.video_window_micros.set(window.video().as_micros() as u64);
            self.shared.stats.audio_window_micros.set(window.audio().as_micros() as u64);
            self.shared.stats.shedding_percent.set((self.worker.shedding() * 100.0) as u64);
        }
    }

    fn housekeeping(&mut self, now: Instant) {
        let stats = &self.shared.stats;
        stats.rounds.add(1);
        if now < self.next_housekeeping {
            return;
        }
        self.next_housekeeping = now + HOUSEKEEPING;
        self.tcp.sweep(now, |path| self.worker.heard(path), |path| self.worker.is_in_use(path));
        let sent = self.parts.udp.send_stats();
        stats.udp_sent.set(sent.datagrams);
        stats.udp_send_runs.set(sent.messages);
        stats.udp_send_calls.set(sent.calls);
        stats.udp_blocked.set(sent.blocked);
        stats.udp_refused.set(sent.refused);
        if sent.refused_runs > stats.udp_refused_runs.get() {
            let (worker, refused_runs) = (self.parts.index, sent.refused_runs);
            tracing::warn!(
                worker,
                refused_runs,
                "the kernel refused UDP_SEGMENT to a destination, which costs more now"
            );
        }
        stats.udp_refused_runs.set(sent.refused_runs);
        let tcp = self.tcp.stats();
        stats.tcp_open.set(tcp.open);
        stats.tcp_refused.set(tcp.refused);
        stats.tcp_dropped.set(tcp.dropped);
        stats.busiest_micros.set(u64::try_from(self.busiest.as_micros()).unwrap_or(u64::MAX));
        self.busiest = Duration::ZERO;
    }

    /// Lets the worker work. If it panics, the room that it was working on is given up; if there was none, or giving
    /// it up fails, the worker is replaced by a new one. Either way the thread and its sockets go on.
    fn contained(&mut self, work: impl FnOnce(&mut Self)) {
        let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(self))) else { return };
        self.shared.stats.failures.add(1);
        let room = catch_unwind(AssertUnwindSafe(|| self.worker.abandon_room())).ok().flatten();
        tracing::error!(worker = self.parts.index, ?room, panic = text_of(&*panic), "the worker panicked");
        let report = match room {
            Some(room) => Report::RoomFailed { room },
            None => {
                self.worker = new_worker(&self.parts);
                Report::WorkerFailed { worker: self.parts.index }
            }
        };
        // The control plane must hear of it; it never waits for a worker, so this ends.
        if self.parts.reports.blocking_send(report).is_err() {
            self.stopping = true;
        }
    }
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::super::tests::parts;
    use super::*;
    use sfu_core::command::Command;
    use sfu_core::ids::RoomId;

    #[test]
    fn a_panic_outside_any_room_gives_a_new_worker_and_the_thread_goes_on() {
        let (parts, _, mut reports) = parts();
        let poll = Poll::new().unwrap();
        let shared = Shared::new(0, Vec::new(), 0, &poll).unwrap();
        let mut thread = WorkerThread::new(parts, poll, &shared);
        let now = thread.parts.clock.now();
        thread.contained(|this| this.worker.handle_command(now, Command::OpenRoom { room: RoomId(1) }));
        thread.contained(|_| panic!("for the test"));
        assert_eq!(shared.stats.failures.get(), 1);
        assert!(!thread.stopping);
        assert!(matches!(reports.blocking_recv(), Some(Report::WorkerFailed { worker: 0 })));
        // The new worker has no rooms, and works.
        lock(&shared.queue).push_back(Input::Command(Command::Stats { token: 1 }));
        thread.round(&mut Events::with_capacity(8));
        let Some(Report::Event { event: sfu_core::event::Event::Stats { stats, .. }, .. }) = reports.blocking_recv()
        else {
            panic!("no figures");
        };
        assert_eq!(stats.rooms, 0);
    }
}
