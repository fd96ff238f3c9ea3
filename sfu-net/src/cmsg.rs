//! Control messages (cmsg(3)): the kernel's side channel for segment sizes and local addresses.

use crate::sockaddr::{from_in6_addr, in_addr};
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

/// Reads the control messages of a received datagram.
pub(crate) fn read(header: &libc::msghdr) -> ReceivedInfo {
    let mut info = ReceivedInfo::default();
    // SAFETY: the kernel filled `header`, whose control buffer is alive; CMSG_* stay within msg_controllen.
    unsafe {
        let mut cmsg = libc::CMSG_FIRSTHDR(header);
        while let Some(current) = cmsg.as_ref() {
            let data = libc::CMSG_DATA(cmsg);
            match (current.cmsg_level, current.cmsg_type) {
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    info.segment_size = usize::try_from(data.cast::<i32>().read_unaligned()).ok().filter(|&n| n > 0);
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let packet = data.cast::<libc::in_pktinfo>().read_unaligned();
                    info.local = Some(Ipv4Addr::from(u32::from_be(packet.ipi_addr.s_addr)).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let packet = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    info.local = Some(from_in6_addr(packet.ipi6_addr));
                }
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    let at = data.cast::<libc::timespec>().read_unaligned();
                    info.arrived = Some(Duration::new(at.tv_sec as u64, at.tv_nsec as u32));
                }
                _ => {}
            }
            cmsg = libc::CMSG_NXTHDR(header, cmsg);
        }
    }
    info
}
