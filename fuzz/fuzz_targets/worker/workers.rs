//! Two workers of one process, and the queues between them.

use sfu_core::command::Command;
use sfu_core::config::WorkerConfig;
use sfu_core::event::{Event, WorkerStats};
use sfu_core::ids::WorkerId;
use sfu_core::relay::RelayMessage;
use sfu_core::worker::Worker;
use sfu_rtc::dtls::DtlsCertificate;
use sfu_rtc::net::{NetworkPath, TransmitBatch};
use sfu_rtc::time::{Duration, Instant, WallClock};
use std::collections::VecDeque;
use std::sync::Arc;

/// How many workers there are.
pub(crate) const WORKERS: usize = 2;
/// What one may keep, whatever comes.
pub(crate) const MAX_PACKETS: u64 = 16_384;
/// Few enough that an input can fill the queue to the other worker.
const MAX_RELAY_QUEUE: usize = 32;
/// Turns in which workers answer one another without an end in sight are a fault.
const MAX_TURNS: usize = 10_000;

pub(crate) struct Workers {
    workers: [Worker; WORKERS],
    /// The workers do not look at their queues.
    pub(crate) busy: bool,
}

impl Workers {
    pub(crate) fn new(certificate: &Arc<DtlsCertificate>, start: Instant) -> Self {
        let clock = WallClock::new(start, Duration::from_secs(1_700_000_000));
        let worker = |index| {
            let config = WorkerConfig {
                max_packets: MAX_PACKETS as usize,
                max_relay_queue: MAX_RELAY_QUEUE,
                ..WorkerConfig::default()
            };
            Worker::new(config, Arc::clone(certificate), clock, 1 + index as u64)
        };
        Self { workers: std::array::from_fn(worker), busy: false }
    }

    pub(crate) fn command(&mut self, now: Instant, worker: usize, command: Command) {
        self.workers[worker % WORKERS].handle_command(now, command);
    }

    pub(crate) fn handle_datagram(&mut self, now: Instant, worker: usize, path: &NetworkPath, datagram: &mut [u8]) {
        self.workers[worker % WORKERS].handle_datagram(now, path, datagram);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.workers.iter().filter_map(Worker::poll_timeout).min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for worker in self.workers.iter_mut().filter(|worker| worker.poll_timeout().is_some_and(|at| at <= now)) {
            worker.handle_timeout(now);
        }
    }

    /// Takes all that the workers have to send, and hands over what they have for each other.
    pub(crate) fn transmit(&mut self, now: Instant, batch: &mut TransmitBatch, mut sent: impl FnMut(&TransmitBatch)) {
        for _ in 0..MAX_TURNS {
            let mut idle = !self.hand_over(now);
            for worker in &mut self.workers {
                batch.clear();
                worker.poll_transmit(now, batch);
                idle &= batch.is_empty();
                sent(batch);
            }
            if idle && !self.hand_over(now) {
                return;
            }
        }
        panic!("the workers do not come to rest");
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.workers.iter_mut().find_map(Worker::poll_event)
    }

    pub(crate) fn stats(&self, now: Instant) -> [WorkerStats; WORKERS] {
        std::array::from_fn(|index| self.workers[index].stats(now))
    }

    /// Hands over what is for other workers; what is for one that does not exist is lost. Whether there was anything.
    fn hand_over(&mut self, now: Instant) -> bool {
        let mut any = false;
        for from in (0..WORKERS).filter(|_| !self.busy) {
            let mut taken: Vec<(WorkerId, VecDeque<RelayMessage>)> = Vec::new();
            self.workers[from].poll_relay(now, |to, messages| taken.push((to, std::mem::take(messages))));
            any |= !taken.is_empty();
            for (to, messages) in taken {
                let Some(worker) = self.workers.get_mut(usize::from(to.0)) else { continue };
                messages.into_iter().for_each(|message| worker.handle_relay(now, WorkerId(from as u16), message));
            }
        }
        any
    }
}
