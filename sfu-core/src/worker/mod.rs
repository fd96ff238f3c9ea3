//! The worker: many transports and rooms behind one interface without input or output.

use crate::command::Command;
use crate::config::WorkerConfig;
use crate::event::Event;
use crate::ids::RoomId;
use sfu_rtc::dtls::DtlsCertificate;
use sfu_rtc::net::{NetworkPath, TransmitBatch};
use sfu_rtc::time::{Instant, WallClock};
use std::collections::VecDeque;
use std::sync::Arc;

/// Owns the transports and rooms of one thread.
///
/// Its owner hands it datagrams, commands and the time, in any number, then drains it: datagrams to send, events, and
/// when it wants to be called next. It reads no clock, holds no lock and touches no peer that is idle.
#[derive(Debug)]
pub struct Worker {
    config: WorkerConfig,
    certificate: Arc<DtlsCertificate>,
    clock: WallClock,
    seed: u64,
    events: VecDeque<Event>,
    room_at_work: Option<RoomId>,
}

impl Worker {
    /// A worker without rooms. `seed` feeds everything that has to be unpredictable or spread but is no secret of the
    /// cryptography: first sequence numbers, hash tables.
    pub fn new(config: WorkerConfig, certificate: Arc<DtlsCertificate>, clock: WallClock, seed: u64) -> Self {
        Self { config, certificate, clock, seed, events: VecDeque::new(), room_at_work: None }
    }

    /// A datagram (or a frame of ICE-TCP) came over `path`. It is decrypted in place.
    pub fn handle_datagram(&mut self, now: Instant, path: &NetworkPath, data: &mut [u8]) {
        let _ = (now, path, data);
    }

    /// Carries out an order of the control plane.
    pub fn handle_command(&mut self, now: Instant, command: Command) {
        let _ = (now, command);
    }

    /// Time has come; to be called at [`Self::poll_timeout`] or later.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// Fills `batch` with what is ready to leave. To be called again, with an emptied batch, until nothing comes.
    pub fn poll_transmit(&mut self, now: Instant, batch: &mut TransmitBatch) {
        let _ = (now, batch, &self.config, &self.certificate, &self.clock, self.seed);
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Self::handle_timeout`] wants to be called; `None` while nothing waits for time.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// After a panic unwound out of a call: drops the room that was being worked on, with its transports and without
    /// running any of its code again. The rest of the worker shares nothing with it and goes on. `None` where the
    /// worker was not at work for a room; it is then not to be used any more.
    pub fn abandon_room(&mut self, now: Instant) -> Option<RoomId> {
        let _ = now;
        self.room_at_work.take()
    }
}
