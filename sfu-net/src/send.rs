//! Sending in batches: sendmmsg(2), each message a run of datagrams that UDP_SEGMENT splits.

use crate::cmsg::{ControlBuffer, ControlWriter};
use crate::sockaddr::SockAddr;
use sfu_rtc::net::{Protocol, Transmit, TransmitBatch};
use std::io;
use std::os::fd::RawFd;

/// Messages per call. Larger gains nothing measurable, since the cost is per message.
const MESSAGES: usize = 64;

/// How far a send came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SendProgress {
    /// First entry of the batch that was not dealt with; its length when all were.
    pub next: usize,
    /// The socket's buffer is full: go on from `next` when the socket is writable.
    pub blocked: bool,
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
        Self { gso, v6, wildcard, stats: SendStats::default() }
    }

    pub(crate) fn stats(&self) -> SendStats {
        self.stats
    }

    pub(crate) fn send(&mut self, fd: RawFd, batch: &TransmitBatch, from: usize) -> SendProgress {
        let all = batch.transmits();
        let mut next = from;
        while next < all.len() {
            if all[next].path.protocol != Protocol::Udp {
                next += 1;
                continue;
            }
            let outcome = if self.gso {
                self.send_runs(fd, batch, &all[next..])
            } else {
                self.send_singly(fd, batch, &all[next])
            };
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

    /// As many of the leading UDP entries as one call takes.
    fn send_runs(&mut self, fd: RawFd, batch: &TransmitBatch, entries: &[Transmit]) -> Outcome {
        let mut names = [SockAddr::ZERO; MESSAGES];
        let mut controls = [ControlBuffer::ZERO; MESSAGES];
        let mut iovecs = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; MESSAGES];
        // SAFETY: all-zero is a valid mmsghdr: no name, no buffer, no control.
        let mut headers: [libc::mmsghdr; MESSAGES] = unsafe { std::mem::zeroed() };
        let mut count = 0;
        for entry in entries.iter().take(MESSAGES).take_while(|entry| entry.path.protocol == Protocol::Udp) {
            let (name, name_len) = SockAddr::new(entry.path.remote, self.v6);
            names[count] = name;
            let bytes = batch.bytes(entry);
            iovecs[count] = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
            let header = &mut headers[count].msg_hdr;
            header.msg_name = (&raw mut names[count]).cast();
            header.msg_namelen = name_len;
            header.msg_iov = &raw mut iovecs[count];
            header.msg_iovlen = 1;
            header.msg_control = controls[count].as_mut_ptr();
            header.msg_controllen = self.write_control(&mut controls[count], entry);
            count += 1;
        }
        // SAFETY: every pointer in `headers` points to the arrays above or into the batch, which outlive the call;
        // the kernel only reads through msg_iov.
        let sent = unsafe { libc::sendmmsg(fd, headers.as_mut_ptr(), count as u32, libc::MSG_DONTWAIT) };
        self.stats.calls += 1;
        let Ok(sent) = usize::try_from(sent) else { return refusal(&io::Error::last_os_error(), entries[0].is_run()) };
        self.stats.messages += sent as u64;
        self.stats.datagrams += entries[..sent].iter().map(|entry| entry.datagrams() as u64).sum::<u64>();
        Outcome::Sent(sent)
    }

    /// One entry, datagram by datagram.
    fn send_singly(&mut self, fd: RawFd, batch: &TransmitBatch, entry: &Transmit) -> Outcome {
        for range in entry.segments() {
            let single = Transmit { path: entry.path, segment_size: range.len(), range };
            match self.send_runs(fd, batch, std::slice::from_ref(&single)) {
                Outcome::Sent(_) => {}
                // What was sent of the entry is sent again when the socket is writable; SRTP's replay window drops it.
                other => return other,
            }
        }
        Outcome::Sent(1)
    }

    fn write_control(&self, buffer: &mut ControlBuffer, entry: &Transmit) -> usize {
        let mut control = ControlWriter::new(buffer);
        if entry.is_run() {
            control.segment_size(u16::try_from(entry.segment_size).unwrap_or(u16::MAX));
        }
        if self.wildcard && !entry.path.local.is_unspecified() {
            control.source(entry.path.local, self.v6);
        }
        control.len()
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
