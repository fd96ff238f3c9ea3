//! Sending in batches: sendmmsg(2), each message a run of datagrams that UDP_SEGMENT splits.

use crate::call::{Address, Call, MESSAGES};
use crate::cmsg::{ControlBuffer, ControlWriter};
use crate::plan::Plan;
use crate::refused_runs::RefusedRuns;
use crate::sockaddr::SockAddr;
use sfu_rtc::net::{NetworkPath, Transmit, TransmitBatch};
use std::io;
use std::net::IpAddr;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

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
    /// Runs that the kernel refused as such; their datagrams were sent one by one.
    pub refused_runs: u64,
}

/// The sending side of a socket.
#[derive(Debug)]
pub(crate) struct Sender {
    gso: bool,
    refused_runs: RefusedRuns,
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
    RunRefused,
}

impl Sender {
    pub(crate) fn new(gso: bool, gso_retry: Duration, v6: bool, wildcard: bool) -> Self {
        Self {
            gso,
            refused_runs: RefusedRuns::new(gso_retry),
            v6,
            wildcard,
            plan: Plan::default(),
            stats: SendStats::default(),
        }
    }

    pub(crate) fn stats(&self) -> SendStats {
        self.stats
    }

    pub(crate) fn send(&mut self, fd: RawFd, batch: &TransmitBatch, from: usize) -> SendProgress {
        if from == 0 {
            self.plan.make(batch, self.gso);
        }
        if !self.refused_runs.is_empty() {
            self.refused_runs.expire(Instant::now());
        }
        let mut next = from;
        while next < self.plan.messages().len() {
            let singly = !self.gso || self.gets_no_run(batch, next);
            match if singly { self.send_singly(fd, batch, next) } else { self.send_runs(fd, batch, next) } {
                Outcome::Sent(count) => next += count,
                Outcome::Refused => {
                    self.stats.refused += 1;
                    next += 1;
                }
                Outcome::RunRefused => {
                    self.stats.refused_runs += 1;
                    // It stands until the next batch at least, so the same message goes singly now.
                    self.refused_runs.add(self.destination(batch, next), Instant::now());
                }
                Outcome::Blocked => {
                    self.stats.blocked += 1;
                    return SendProgress { next, blocked: true };
                }
            }
        }
        SendProgress { next, blocked: false }
    }

    fn destination(&self, batch: &TransmitBatch, message: usize) -> IpAddr {
        let first = self.plan.messages()[message].pieces[0];
        batch.transmits()[first as usize].path.remote.ip()
    }

    /// Whether a message is a run to somebody for whom the kernel takes none.
    fn gets_no_run(&self, batch: &TransmitBatch, message: usize) -> bool {
        !self.refused_runs.is_empty()
            && self.plan.messages()[message].is_run()
            && self.refused_runs.contains(self.destination(batch, message))
    }

    /// As many messages from `from` on as one call takes.
    fn send_runs(&mut self, fd: RawFd, batch: &TransmitBatch, from: usize) -> Outcome {
        let entries = batch.transmits();
        let mut call = Call::default();
        for (index, message) in self.plan.messages().iter().enumerate().skip(from).take(MESSAGES) {
            if index > from && self.gets_no_run(batch, index) {
                break;
            }
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

    /// One message, datagram by datagram: one that is refused keeps none of the others.
    fn send_singly(&mut self, fd: RawFd, batch: &TransmitBatch, from: usize) -> Outcome {
        let mut outcome = Outcome::Sent(1);
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
                    Err(error) => match refusal(&error, false) {
                        Outcome::Refused => outcome = Outcome::Refused,
                        again => return again,
                    },
                }
            }
        }
        outcome
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
        Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE) if is_run => Outcome::RunRefused,
        _ => Outcome::Refused,
    }
}

#[cfg(test)]
mod tests {
    use crate::recv::set_option;
    use crate::{RecvBatch, UdpConfig, UdpSocket};
    use sfu_rtc::net::{NetworkPath, Protocol, TransmitBatch};
    use std::convert::Infallible;
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    /// A socket that computes no checksums cannot have its runs split by the kernel, which says so for each.
    fn refuse_runs(socket: &UdpSocket, refuse: bool) {
        set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, refuse.into()).unwrap();
    }

    fn received(socket: &UdpSocket) -> usize {
        let mut batch = RecvBatch::default();
        let mut count = 0;
        while socket.recv(&mut batch).is_ok() {
            count += batch.iter_mut().count();
        }
        count
    }

    #[test]
    fn a_refused_run_is_sent_singly_and_runs_are_tried_again_later() {
        for (gso_retry, messages_later) in [(Duration::from_secs(3_600), 6), (Duration::ZERO, 1)] {
            let loopback = "127.0.0.1:0".parse().unwrap();
            let mut sender = UdpSocket::bind(loopback, &UdpConfig { gso_retry, ..UdpConfig::default() }).unwrap();
            let receiver = UdpSocket::bind(loopback, &UdpConfig::default()).unwrap();
            let (remote, local) = (receiver.local_addr(), sender.local_addr().ip());
            let path = NetworkPath { remote, local, protocol: Protocol::Udp };
            let mut batch = TransmitBatch::default();
            for n in 0..6 {
                let Ok(()) = batch.push(path, |buf| {
                    buf.resize(buf.len() + 1_000, n);
                    Ok::<_, Infallible>(())
                });
            }
            refuse_runs(&sender, true);
            assert!(!sender.send(&batch, 0).blocked);
            let stats = sender.send_stats();
            assert_eq!((stats.datagrams, stats.refused_runs, stats.refused), (6, 1, 0));
            assert_eq!(received(&receiver), 6, "each arrives, once");
            refuse_runs(&sender, false);
            assert!(!sender.send(&batch, 0).blocked);
            let later = sender.send_stats();
            assert_eq!((later.datagrams, later.refused_runs), (12, 1));
            assert_eq!(later.messages - stats.messages, messages_later);
            assert_eq!(received(&receiver), 6);
        }
    }
}
