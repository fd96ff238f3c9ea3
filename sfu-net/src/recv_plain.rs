//! Receiving as an ordinary peer does: recvmmsg(2), one datagram per message, without UDP_GRO, and without asking who
//! sent it. All memory that a call touches stays in the first-level cache.

use crate::cmsg::{self, CONTROL_LEN, ControlBuffer};
use std::io;
use std::os::fd::RawFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Messages per call: two frames of 1.5 Mbit/s video.
const MESSAGES: usize = 16;
/// Room per datagram: above every MTU but that of jumbo frames, which WebRTC does not use.
const MESSAGE_LEN: usize = 2_048;

/// Datagrams that one call received; reused from call to call.
pub struct PlainBatch {
    buffer: Vec<u8>,
    controls: [ControlBuffer; MESSAGES],
    lengths: [usize; MESSAGES],
    /// How long each had waited in the socket.
    waits: [Duration; MESSAGES],
    count: usize,
}

impl Default for PlainBatch {
    fn default() -> Self {
        Self {
            buffer: vec![0; MESSAGES * MESSAGE_LEN],
            controls: [ControlBuffer::ZERO; MESSAGES],
            lengths: [0; MESSAGES],
            waits: [Duration::ZERO; MESSAGES],
            count: 0,
        }
    }
}

impl PlainBatch {
    /// Every datagram, with how long it had waited in the socket (zero where the socket has no timestamps); one that was
    /// too long for its room is empty.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Duration, &mut [u8])> {
        let rooms = self.buffer.chunks_mut(MESSAGE_LEN);
        let facts = self.lengths[..self.count].iter().zip(&self.waits);
        facts.zip(rooms).map(|((&len, &wait), room)| (wait, &mut room[..len]))
    }

    /// Whether the call filled every message, so that more may wait.
    pub fn is_full(&self) -> bool {
        self.count == MESSAGES
    }

    pub(crate) fn receive(&mut self, fd: RawFd) -> io::Result<()> {
        self.count = 0;
        let mut iovecs = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; MESSAGES];
        // SAFETY: all-zero is a valid mmsghdr: no name, no buffer, no control.
        let mut headers: [libc::mmsghdr; MESSAGES] = unsafe { std::mem::zeroed() };
        for (i, room) in self.buffer.chunks_mut(MESSAGE_LEN).enumerate() {
            iovecs[i] = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
            headers[i].msg_hdr.msg_iov = &raw mut iovecs[i];
            headers[i].msg_hdr.msg_iovlen = 1;
            headers[i].msg_hdr.msg_control = self.controls[i].as_mut_ptr();
            headers[i].msg_hdr.msg_controllen = CONTROL_LEN;
        }
        // SAFETY: every pointer in `headers` points to `iovecs` or into self, which outlive the call.
        let count = unsafe {
            libc::recvmmsg(fd, headers.as_mut_ptr(), MESSAGES as u32, libc::MSG_DONTWAIT, std::ptr::null_mut())
        };
        self.count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        for (i, header) in headers[..self.count].iter().enumerate() {
            let cut = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            self.lengths[i] = if cut { 0 } else { header.msg_len as usize };
            let arrived = cmsg::read(self.controls[i].filled(header.msg_hdr.msg_controllen)).arrived;
            self.waits[i] = arrived.map_or(Duration::ZERO, |arrived| now.saturating_sub(arrived));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{PlainBatch, UdpConfig, UdpSocket};
    use std::net::SocketAddr;
    use std::time::Duration;

    #[test]
    fn the_time_in_the_socket_is_told() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = UdpConfig { gro: false, timestamps: true, ..UdpConfig::default() };
        let receiver = UdpSocket::bind(any, &config).unwrap();
        let sender = std::net::UdpSocket::bind(any).unwrap();
        let mut batch = PlainBatch::default();
        let mut wait = || {
            sender.send_to(&[7], receiver.local_addr()).unwrap();
            std::thread::sleep(Duration::from_millis(20));
            receiver.recv_plain(&mut batch).unwrap();
            batch.iter_mut().map(|(wait, _)| wait).next().unwrap()
        };
        // The kernel begins to stamp arrivals a moment after the first socket asked for it (net_enable_timestamp); until
        // then it stamps what is read.
        assert!((0..100).any(|_| wait() >= Duration::from_millis(20)));
    }

    #[test]
    fn datagrams_come_whole_and_jumbos_not_at_all() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let receiver = UdpSocket::bind(any, &UdpConfig { gro: false, ..UdpConfig::default() }).unwrap();
        let sender = std::net::UdpSocket::bind(any).unwrap();
        for len in [1_200, 3_000, 1] {
            sender.send_to(&vec![7; len], receiver.local_addr()).unwrap();
        }
        let mut batch = PlainBatch::default();
        receiver.recv_plain(&mut batch).unwrap();
        assert_eq!(batch.iter_mut().map(|(_, datagram)| datagram.len()).collect::<Vec<_>>(), [1_200, 0, 1]);
        assert!(!batch.is_full());
        let nothing = receiver.recv_plain(&mut batch).unwrap_err();
        assert_eq!((nothing.kind(), batch.iter_mut().count()), (std::io::ErrorKind::WouldBlock, 0));
    }
}
