//! One UDP socket, set up for batches.

use crate::recv::{self, RecvBatch};
use crate::recv_plain::PlainBatch;
use crate::send::{SendProgress, SendStats, Sender};
use sfu_rtc::net::{MEDIA_FIRST_BYTES, TransmitBatch};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

/// How to set up a socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UdpConfig {
    /// Receive buffer to ask for, in bytes. The kernel grants at most `net.core.rmem_max`, or more for root.
    pub recv_buffer: usize,
    /// Send buffer to ask for, in bytes.
    pub send_buffer: usize,
    /// Let the kernel merge datagrams of one sender on reception (UDP_GRO).
    pub gro: bool,
    /// Let the kernel split runs of equal size on sending (UDP_SEGMENT).
    pub gso: bool,
    /// After so long a destination for which the kernel refused such a run is tried again.
    pub gso_retry: Duration,
    /// Let the kernel tell when datagrams came, for [`RecvBatch::age`] and [`PlainBatch::iter_mut`].
    pub timestamps: bool,
}

impl Default for UdpConfig {
    fn default() -> Self {
        // 4 MiB hold 40 ms of 100,000 packets/s; a worker that is later than that is overloaded anyway.
        Self {
            recv_buffer: 4 << 20,
            send_buffer: 4 << 20,
            gro: true,
            gso: true,
            gso_retry: Duration::from_secs(30),
            timestamps: false,
        }
    }
}

/// A non-blocking UDP socket that moves batches.
#[derive(Debug)]
pub struct UdpSocket {
    socket: Socket,
    local: SocketAddr,
    sender: Sender,
}

impl UdpSocket {
    /// Binds to `addr`. An unspecified IPv6 address takes IPv4 too.
    ///
    /// # Errors
    /// What the system says, for instance that the port is taken.
    pub fn bind(addr: SocketAddr, config: &UdpConfig) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        let dual_stack = addr.ip() == Ipv6Addr::UNSPECIFIED;
        if addr.is_ipv6() {
            socket.set_only_v6(!dual_stack)?;
        }
        socket.set_nonblocking(true)?;
        grow_buffers(&socket, config);
        ignore_path_mtu(socket.as_raw_fd(), addr.is_ipv6());
        socket.bind(&addr.into())?;
        let fd = socket.as_raw_fd();
        let wildcard = addr.ip().is_unspecified();
        if wildcard {
            recv::enable_packet_info(fd, addr.is_ipv6())?;
        }
        if config.gro {
            recv::enable_gro(fd);
        }
        if config.timestamps {
            recv::enable_timestamps(fd);
        }
        let local = socket.local_addr()?.as_socket().ok_or_else(|| io::Error::other("not an IP socket"))?;
        let sender = Sender::new(config.gso, config.gso_retry, addr.is_ipv6(), wildcard);
        Ok(Self { socket, local, sender })
    }

    /// Address to which the socket is bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Receives what waits, up to the batch's size, into `batch`, replacing its content.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] where nothing waits, or what the system says.
    pub fn recv(&self, batch: &mut RecvBatch) -> io::Result<()> {
        batch.receive(self.socket.as_raw_fd(), self.local.ip())
    }

    /// Like [`Self::recv`] for a socket without UDP_GRO, whose senders do not matter.
    ///
    /// # Errors
    /// As [`Self::recv`].
    pub fn recv_plain(&self, batch: &mut PlainBatch) -> io::Result<()> {
        batch.receive(self.socket.as_raw_fd())
    }

    /// Sends `batch` from its entry `from` on.
    pub fn send(&mut self, batch: &TransmitBatch, from: usize) -> SendProgress {
        self.sender.send(self.socket.as_raw_fd(), batch, from)
    }

    /// Lets the kernel throw away RTP and RTCP (RFC 7983 section 7) on arrival: for a load's peers that need not look at
    /// their media. What keeps the connection up still comes.
    ///
    /// # Errors
    /// Where the system takes no filter.
    pub fn drop_media(&self) -> io::Result<()> {
        const FIRST_PAYLOAD_BYTE: u32 = 8;
        let (load, if_at_least, if_above, result) = (
            libc::BPF_LD | libc::BPF_B | libc::BPF_ABS,
            libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K,
            libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K,
            libc::BPF_RET | libc::BPF_K,
        );
        let step = |code: u32, jt, jf, k| SockFilter::new(code as u16, jt, jf, k);
        self.socket.attach_filter(&[
            step(load, 0, 0, FIRST_PAYLOAD_BYTE),
            step(if_at_least, 0, 2, u32::from(*MEDIA_FIRST_BYTES.start())),
            step(if_above, 1, 0, u32::from(*MEDIA_FIRST_BYTES.end())),
            step(result, 0, 0, 0),
            step(result, 0, 0, u32::MAX),
        ])
    }

    /// Counts of what was sent.
    pub fn send_stats(&self) -> SendStats {
        self.sender.stats()
    }

    /// Sizes of the receive and send buffer that the kernel granted, in bytes.
    pub fn buffer_sizes(&self) -> (usize, usize) {
        (self.socket.recv_buffer_size().unwrap_or(0), self.socket.send_buffer_size().unwrap_or(0))
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Sets the don't-fragment bit and believes no path MTU that ICMP reports: our packets fit every usual path, and anybody who
/// forges a "fragmentation needed" could otherwise have them refused (RFC 8899 section 1.1; quinn-udp does the same).
fn ignore_path_mtu(fd: RawFd, is_ipv6: bool) {
    // A kernel without it works as before; a socket for both families has both options.
    let _ = recv::set_option(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE);
    if is_ipv6 {
        let _ = recv::set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE);
    }
}

/// Asks for the buffers, past the system's maximum where we may.
fn grow_buffers(socket: &Socket, config: &UdpConfig) {
    for (force, plain, size) in [
        (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, config.recv_buffer),
        (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, config.send_buffer),
    ] {
        let size = i32::try_from(size).unwrap_or(i32::MAX);
        let fd = socket.as_raw_fd();
        if recv::set_option(fd, libc::SOL_SOCKET, force, size).is_err() {
            // A smaller buffer works too; `sfu doctor` tells.
            let _ = recv::set_option(fd, libc::SOL_SOCKET, plain, size);
        }
    }
}
