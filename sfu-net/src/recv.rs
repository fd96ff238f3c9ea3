//! Receiving in batches: recvmmsg(2), each message up to 64 KiB of datagrams that UDP_GRO merged.

use crate::cmsg::{self, CONTROL_LEN, ControlBuffer, ReceivedInfo};
use crate::sockaddr::SockAddr;
use sfu_rtc::net::{NetworkPath, Protocol};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Messages per call: with GRO a message holds many datagrams, without it the call is shared by this many.
const MESSAGES: usize = 32;
/// Largest message: one UDP length field.
const MESSAGE_LEN: usize = 65_535;
/// Distance between two messages in the buffer. At a power of two, the beginnings of all would compete for the same few
/// places in the caches; a datagram's length apart, they lie side by side there.
const STRIDE: usize = 65_536 + 1_536;

/// What one call received; reused from call to call.
pub struct RecvBatch {
    buffer: Vec<u8>,
    names: [SockAddr; MESSAGES],
    controls: [ControlBuffer; MESSAGES],
    received: Vec<Message>,
    /// When the first came, since the epoch.
    first_arrived: Option<Duration>,
}

/// One message: datagrams of one sender, of equal size but for the last.
struct Message {
    path: NetworkPath,
    len: usize,
    segment_size: usize,
}

impl Default for RecvBatch {
    fn default() -> Self {
        Self {
            buffer: vec![0; MESSAGES * STRIDE],
            names: [SockAddr::ZERO; MESSAGES],
            controls: [ControlBuffer::ZERO; MESSAGES],
            received: Vec::with_capacity(MESSAGES),
            first_arrived: None,
        }
    }
}

impl RecvBatch {
    /// Every datagram with the way it came.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&NetworkPath, &mut [u8])> {
        self.received.iter().zip(self.buffer.chunks_mut(STRIDE)).flat_map(|(message, bytes)| {
            bytes[..message.len].chunks_mut(message.segment_size).map(move |datagram| (&message.path, datagram))
        })
    }

    /// The first datagram of each message with the way it came.
    pub fn firsts(&self) -> impl Iterator<Item = (&NetworkPath, &[u8])> {
        let messages = self.received.iter().zip(self.buffer.chunks(STRIDE));
        messages.map(|(message, bytes)| (&message.path, &bytes[..message.len.min(message.segment_size)]))
    }

    /// How long the first datagram had waited in the socket; zero where the kernel does not tell.
    pub fn age(&self) -> Duration {
        let Some(arrived) = self.first_arrived else { return Duration::ZERO };
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(arrived)
    }

    /// Whether the call filled every message, so that more may wait.
    pub fn is_full(&self) -> bool {
        self.received.len() == MESSAGES
    }

    pub(crate) fn receive(&mut self, fd: RawFd, bound: IpAddr) -> io::Result<()> {
        self.received.clear();
        self.first_arrived = None;
        let mut iovecs = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; MESSAGES];
        // SAFETY: all-zero is a valid mmsghdr: no name, no buffer, no control.
        let mut headers: [libc::mmsghdr; MESSAGES] = unsafe { std::mem::zeroed() };
        for (i, bytes) in self.buffer.chunks_mut(STRIDE).enumerate() {
            iovecs[i] = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: MESSAGE_LEN };
            let header = &mut headers[i].msg_hdr;
            header.msg_name = (&raw mut self.names[i]).cast();
            header.msg_namelen = size_of::<SockAddr>() as libc::socklen_t;
            header.msg_iov = &raw mut iovecs[i];
            header.msg_iovlen = 1;
            header.msg_control = self.controls[i].as_mut_ptr();
            header.msg_controllen = CONTROL_LEN;
        }
        // SAFETY: every pointer in `headers` points into self or to `iovecs`, which outlive the call.
        let count = unsafe {
            libc::recvmmsg(fd, headers.as_mut_ptr(), MESSAGES as u32, libc::MSG_DONTWAIT, std::ptr::null_mut())
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for header in &headers[..count] {
            self.add(header.msg_len as usize, header.msg_hdr.msg_controllen, bound);
        }
        Ok(())
    }

    /// Takes up the next message, which has so many bytes and bytes of control messages.
    fn add(&mut self, len: usize, control_len: usize, bound: IpAddr) {
        let i = self.received.len();
        let info = cmsg::read(self.controls[i].filled(control_len));
        self.first_arrived = self.first_arrived.or(info.arrived);
        self.received.push(message(len, self.names[i].to_rust(), info, bound));
    }

    /// Takes up what the kernel could have written: one message of so many bytes, an address and control messages.
    #[cfg(fuzzing)]
    pub fn take(&mut self, len: u16, name: &[u8], control: &[u8]) {
        self.received.clear();
        self.first_arrived = None;
        (self.names[0], self.controls[0]) = (SockAddr::ZERO, ControlBuffer::ZERO);
        let (name_len, control_len) = (name.len().min(size_of::<SockAddr>()), control.len().min(CONTROL_LEN));
        // SAFETY: neither gets more bytes than it has, and every bit pattern is valid for both.
        unsafe {
            std::ptr::copy_nonoverlapping(name.as_ptr(), (&raw mut self.names[0]).cast(), name_len);
            std::ptr::copy_nonoverlapping(control.as_ptr(), self.controls[0].as_mut_ptr().cast(), control_len);
        }
        self.add(len.into(), control_len, IpAddr::from([0, 0, 0, 0]));
    }
}

fn message(len: usize, remote: Option<SocketAddr>, info: ReceivedInfo, bound: IpAddr) -> Message {
    let remote = remote.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
    let local = info.local.unwrap_or(bound);
    Message {
        path: NetworkPath { remote, local, protocol: Protocol::Udp },
        len,
        segment_size: info.segment_size.unwrap_or(len).max(1),
    }
}

/// Asks the kernel to merge datagrams. Kernels before 5.0 cannot, and then they come one by one.
pub(crate) fn enable_gro(fd: RawFd) {
    let _ = set_option(fd, libc::SOL_UDP, libc::UDP_GRO, 1);
}

/// Asks the kernel to tell when datagrams came. Without, their age is not known, and nothing else is lost.
pub(crate) fn enable_timestamps(fd: RawFd) {
    let _ = set_option(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1);
}

/// Asks the kernel to tell our address of each datagram.
pub(crate) fn enable_packet_info(fd: RawFd, v6: bool) -> io::Result<()> {
    if v6 {
        return set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1);
    }
    set_option(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)
}

pub(crate) fn set_option(fd: RawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: the option's value is an int that lives through the call.
    let result =
        unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), size_of::<i32>() as libc::socklen_t) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
