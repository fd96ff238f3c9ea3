//! Control messages (cmsg(3)): the kernel's side channel for segment sizes and local addresses.

use crate::sockaddr::in_addr;
use std::mem::offset_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Room for one segment size and one packet info, aligned as the kernel wants it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct ControlBuffer([u8; CONTROL_LEN]);

/// CMSG_SPACE of an int (24), of in6_pktinfo (40) and of a timespec (32), with room to spare.
pub(crate) const CONTROL_LEN: usize = 128;

impl ControlBuffer {
    pub(crate) const ZERO: Self = Self([0; CONTROL_LEN]);

    pub(crate) fn as_mut_ptr(&mut self) -> *mut libc::c_void {
        self.0.as_mut_ptr().cast()
    }

    /// Its beginning, as far as the kernel says that it wrote.
    pub(crate) fn filled(&self, len: usize) -> &[u8] {
        &self.0[..len.min(CONTROL_LEN)]
    }
}

/// Writes control messages of an outgoing datagram.
pub(crate) struct ControlWriter<'a> {
    buffer: &'a mut ControlBuffer,
    len: usize,
}

impl<'a> ControlWriter<'a> {
    pub(crate) fn new(buffer: &'a mut ControlBuffer) -> Self {
        Self { buffer, len: 0 }
    }

    /// Bytes written so far, as `msg_controllen` wants them.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Splits the datagram into segments of `size`.
    pub(crate) fn segment_size(&mut self, size: u16) {
        self.push(libc::SOL_UDP, libc::UDP_SEGMENT, size);
    }

    /// Sends from `local`.
    pub(crate) fn source(&mut self, local: IpAddr, v6_socket: bool) {
        match (local, v6_socket) {
            (IpAddr::V4(ip), false) => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: in_addr(ip),
                    ipi_addr: in_addr(Ipv4Addr::UNSPECIFIED),
                };
                self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, info);
            }
            (IpAddr::V4(ip), true) => self.source_v6(ip.to_ipv6_mapped()),
            (IpAddr::V6(ip), _) => self.source_v6(ip),
        }
    }

    fn source_v6(&mut self, ip: Ipv6Addr) {
        let info = libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: ip.octets() }, ipi6_ifindex: 0 };
        self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
    }

    fn push<T: Copy>(&mut self, level: i32, kind: i32, value: T) {
        // SAFETY: CMSG_SPACE and CMSG_LEN only compute.
        let (space, len) = unsafe { (libc::CMSG_SPACE(size_of::<T>() as u32), libc::CMSG_LEN(size_of::<T>() as u32)) };
        assert!(self.len + space as usize <= CONTROL_LEN, "the buffer has room for every message we write");
        let header = libc::cmsghdr { cmsg_len: len as usize, cmsg_level: level, cmsg_type: kind };
        // SAFETY: the range was checked; the buffer is aligned to 8, and every space is a multiple of 8.
        unsafe {
            let at = self.buffer.0.as_mut_ptr().add(self.len);
            at.cast::<libc::cmsghdr>().write(header);
            at.add(size_of::<libc::cmsghdr>()).cast::<T>().write_unaligned(value);
        }
        self.len += space as usize;
    }
}

/// What the kernel tells of a received datagram.
#[derive(Clone, Copy, Default)]
pub(crate) struct ReceivedInfo {
    /// Size of the segments that GRO merged.
    pub(crate) segment_size: Option<usize>,
    /// Our address to which it was sent.
    pub(crate) local: Option<IpAddr>,
    /// When it came, since the epoch.
    pub(crate) arrived: Option<Duration>,
}

/// Reads the control messages of a received datagram. What does not hold together says nothing: where there is too
/// little room for all, the kernel cuts the last one short (MSG_CTRUNC).
pub(crate) fn read(mut control: &[u8]) -> ReceivedInfo {
    let mut info = ReceivedInfo::default();
    while let Some((level, kind, value)) = take(&mut control) {
        match (level, kind) {
            (libc::SOL_UDP, libc::UDP_GRO) => {
                let size = value.first_chunk().map(|size| i32::from_ne_bytes(*size));
                info.segment_size = size.and_then(|size| usize::try_from(size).ok()).filter(|&size| size > 0);
            }
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                let addr = value.get(offset_of!(libc::in_pktinfo, ipi_addr)..).and_then(<[u8]>::first_chunk::<4>);
                info.local = addr.map(|addr| IpAddr::from(*addr));
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                info.local = value.first_chunk::<16>().map(|addr| IpAddr::from(*addr).to_canonical());
            }
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => info.arrived = timespec(value),
            _ => {}
        }
    }
    info
}

/// Level, type and value of the first control message, which is taken off.
fn take<'a>(control: &mut &'a [u8]) -> Option<(i32, i32, &'a [u8])> {
    const HEADER: usize = size_of::<libc::cmsghdr>();
    let int = |at: usize| Some(i32::from_ne_bytes(*control.get(at..)?.first_chunk()?));
    let len = usize::from_ne_bytes(*control.first_chunk()?);
    let (level, kind) = (int(offset_of!(libc::cmsghdr, cmsg_level))?, int(offset_of!(libc::cmsghdr, cmsg_type))?);
    let value = control.get(HEADER..len)?;
    *control = control.get(len.next_multiple_of(align_of::<libc::cmsghdr>())..).unwrap_or_default();
    Some((level, kind, value))
}

/// A time since the epoch as the kernel writes it: two longs.
fn timespec(value: &[u8]) -> Option<Duration> {
    const LONG: usize = size_of::<libc::c_long>();
    let long = |at: usize| Some(libc::c_long::from_ne_bytes(*value.get(at..)?.first_chunk()?));
    let nanoseconds = u32::try_from(long(LONG)?).ok().filter(|&nanoseconds| nanoseconds < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(long(0)?).ok()?, nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One control message with a true length.
    fn cmsg(level: i32, kind: i32, value: &[u8]) -> Vec<u8> {
        let len = size_of::<libc::cmsghdr>() + value.len();
        let mut bytes = [&len.to_ne_bytes()[..], &level.to_ne_bytes(), &kind.to_ne_bytes(), value].concat();
        bytes.resize(len.next_multiple_of(8), 0);
        bytes
    }

    fn gro() -> Vec<u8> {
        cmsg(libc::SOL_UDP, libc::UDP_GRO, &1_200_i32.to_ne_bytes())
    }

    fn pktinfo() -> Vec<u8> {
        cmsg(libc::IPPROTO_IP, libc::IP_PKTINFO, &[0, 0, 0, 0, 1, 2, 3, 4, 127, 0, 0, 1])
    }

    #[test]
    fn what_was_written_is_read() {
        let mut buffer = ControlBuffer::ZERO;
        let mut writer = ControlWriter::new(&mut buffer);
        writer.segment_size(1_200);
        writer.source([192, 0, 2, 1].into(), true);
        let len = writer.len();
        // On sending the segment size has a type of its own.
        let info = read(buffer.filled(len));
        assert_eq!((info.segment_size, info.local), (None, Some([192, 0, 2, 1].into())));
    }

    #[test]
    fn all_that_the_kernel_tells_is_read() {
        let time = [7_i64.to_ne_bytes(), 8_i64.to_ne_bytes()].concat();
        let control = [gro(), cmsg(libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, &time), pktinfo()].concat();
        let info = read(&control);
        assert_eq!((info.segment_size, info.local), (Some(1_200), Some([127, 0, 0, 1].into())));
        assert_eq!(info.arrived, Some(Duration::new(7, 8)));
    }

    #[test]
    fn a_message_that_was_cut_short_says_nothing() {
        // The kernel writes the length that is left (put_cmsg).
        let cut = cmsg(libc::IPPROTO_IP, libc::IP_PKTINFO, &[0; 8]);
        let info = read(&[gro(), cut].concat());
        assert_eq!((info.segment_size, info.local), (Some(1_200), None));
        let all = [pktinfo(), gro()].concat();
        for len in 0..all.len() {
            read(&all[..len]);
        }
    }

    #[test]
    fn a_length_that_cannot_be_and_a_time_that_is_none_say_nothing() {
        for len in [0, 15, usize::MAX, usize::MAX - 7] {
            let mut bytes = gro();
            bytes[..size_of::<usize>()].copy_from_slice(&len.to_ne_bytes());
            assert!(read(&bytes).segment_size.is_none(), "{len}");
        }
        for (seconds, nanoseconds) in [(-1_i64, 0_i64), (0, 1_000_000_000), (i64::MAX, -1)] {
            let time = [seconds.to_ne_bytes(), nanoseconds.to_ne_bytes()].concat();
            assert!(read(&cmsg(libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, &time)).arrived.is_none());
        }
    }
}
