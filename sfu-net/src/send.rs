//! Sending in batches: sendmmsg(2), each message a run of datagrams that UDP_SEGMENT splits.

use crate::call::{Address, Call, MESSAGES};
use crate::cmsg::{ControlBuffer, ControlWriter};
use crate::plan::Plan;
use crate::sockaddr::SockAddr;
use sfu_rtc::net::{NetworkPath, Transmit, TransmitBatch};
use std::io;
use std::os::fd::RawFd;

/// How far a send came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SendProgress {
    /// The socket's buffer is full: go on with the same batch from `next` when the socket is writable.
    pub blocked: bool,
    /// How many messages of the batch were dealt with.
    pub next: usize,
}

/// Counts of what a socket sent.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SendStats {
    /// Datagrams that the kernel took.
    pub datagrams: u64,
    /// Messages that the kernel took: runs of datagrams.
    pub messages: u64,
    /// System calls.
    pub calls: u64,
    /// Times the socket's buffer was full.
    pub blocked: u64,
    /// Messages that the kernel refused, for instance since the destination is unreachable.
    pub refused: u64,
}

/// The sending side of a socket.
#[derive(Debug)]
pub(crate) struct Sender {
    gso: bool,
    v6: bool,
    wildcard: bool,
    plan: Plan,
    stats: SendStats,
}

/// What the kernel said of a call.
enum Outcome {
    Sent(usize),
    Blocked,
    Refused,
    GsoRefused,
}

impl Sender {
    pub(crate) fn new(gso: bool, v6: bool, wildcard: bool) -> Self {
        Self { gso, v6, wildcard, plan: Plan::default(), stats: SendStats::default() }
    }

    pub(crate) fn stats(&self) -> SendStats {
        self.stats
    }

    pub(crate) fn send(&mut self, fd: RawFd, batch: &TransmitBatch, from: usize) -> SendProgress {
        if from == 0 {
            self.plan.make(batch, self.gso);
        }
        let mut next = from;
        while next < self.plan.messages().len() {
            let outcome = if self.gso { self.send_runs(fd, batch, next) } else { self.send_singly(fd, batch, next) };
            match outcome {
                Outcome::Sent(count) => next += count,
                Outcome::Refused => {
                    self.stats.refused += 1;
                    next += 1;
                }
                Outcome::GsoRefused => self.gso = false,
                Outcome::Blocked => {
                    self.stats.blocked += 1;
                    return SendProgress { next, blocked: true };
                }
            }
        }
        SendProgress { next, blocked: false }
    }

    /// As many messages from `from` on as one call takes.
    fn send_runs(&mut self, fd: RawFd, batch: &TransmitBatch, from: usize) -> Outcome {
        let entries = batch.transmits();
        let mut call = Call::default();
        for message in self.plan.messages()[from..].iter().take(MESSAGES) {
            let bytes = message.pieces.iter().map(|&piece| batch.bytes(&entries[piece as usize]));
            let segment_size = message.is_run().then_some(message.segment_size);
            if !call.add(bytes, self.address(&entries[message.pieces[0] as usize].path, segment_size)) {
                break;
            }
        }
        self.stats.calls += 1;
        let sent = match call.send(fd) {
            Ok(sent) => sent,
            Err(error) => return refusal(&error, self.plan.messages()[from].is_run()),
        };
        self.stats.messages += sent as u64;
        let messages = &self.plan.messages()[from..from + sent];
        self.stats.datagrams += messages.iter().map(|message| message.datagrams as u64).sum::<u64>();
        Outcome::Sent(sent)
    }

    /// One message, datagram by datagram.
    fn send_singly(&mut self, fd: RawFd, batch: &TransmitBatch, from: usize) -> Outcome {
        for &piece in &self.plan.messages()[from].pieces {
            let entry = &batch.transmits()[piece as usize];
            for range in entry.segments() {
                let single = Transmit { path: entry.path, segment_size: range.len(), range };
                let mut call = Call::default();
                call.add([batch.bytes(&single)].into_iter(), self.address(&single.path, None));
                self.stats.calls += 1;
                match call.send(fd) {
                    Ok(sent) => {
                        self.stats.messages += sent as u64;
                        self.stats.datagrams += sent as u64;
                    }
                    // What was sent of the message is sent again when the socket is writable; SRTP's replay window
                    // drops it.
                    Err(error) => return refusal(&error, false),
                }
            }
        }
        Outcome::Sent(1)
    }

    /// Where a message goes, and how.
    fn address(&self, path: &NetworkPath, segment_size: Option<usize>) -> Address {
        let (name, name_len) = SockAddr::new(path.remote, self.v6);
        let mut address = Address { name, name_len, control: ControlBuffer::ZERO, control_len: 0 };
        let mut control = ControlWriter::new(&mut address.control);
        if let Some(size) = segment_size {
            control.segment_size(u16::try_from(size).unwrap_or(u16::MAX));
        }
        if self.wildcard && !path.local.is_unspecified() {
            control.source(path.local, self.v6);
        }
        address.control_len = control.len();
        address
    }
}

/// EIO is what a device without checksum offload answers to UDP_SEGMENT, EINVAL an old kernel or a segment over the MTU.
fn refusal(error: &io::Error, is_run: bool) -> Outcome {
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => Outcome::Blocked,
        Some(libc::EINTR) => Outcome::Sent(0),
        Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE) if is_run => Outcome::GsoRefused,
        _ => Outcome::Refused,
    }
}
