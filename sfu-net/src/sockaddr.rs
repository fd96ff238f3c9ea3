//! Addresses between Rust and the kernel. On a dual-stack socket IPv4 travels as IPv4-mapped IPv6; we never show that.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// Room for either family's address.
#[derive(Clone, Copy)]
pub(crate) union SockAddr {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl SockAddr {
    /// All zero: no address.
    pub(crate) const ZERO: Self = Self {
        v6: libc::sockaddr_in6 {
            sin6_family: 0,
            sin6_port: 0,
            sin6_flowinfo: 0,
            sin6_addr: libc::in6_addr { s6_addr: [0; 16] },
            sin6_scope_id: 0,
        },
    };

    /// `addr` as a socket of the family takes it, with its length.
    pub(crate) fn new(addr: SocketAddr, v6_socket: bool) -> (Self, libc::socklen_t) {
        match addr {
            SocketAddr::V4(v4) if !v6_socket => (Self { v4: sockaddr_in(*v4.ip(), v4.port()) }, size_of_v4()),
            SocketAddr::V4(v4) => {
                let mapped = SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0);
                (Self { v6: sockaddr_in6(mapped) }, size_of_v6())
            }
            SocketAddr::V6(v6) => (Self { v6: sockaddr_in6(v6) }, size_of_v6()),
        }
    }

    /// What the kernel wrote.
    pub(crate) fn to_rust(self) -> Option<SocketAddr> {
        // SAFETY: the kernel wrote one of the two; both begin with the family, and every bit pattern is valid.
        unsafe {
            match i32::from(self.v4.sin_family) {
                libc::AF_INET => {
                    let ip = Ipv4Addr::from(u32::from_be(self.v4.sin_addr.s_addr));
                    Some(SocketAddr::from((ip, u16::from_be(self.v4.sin_port))))
                }
                libc::AF_INET6 => {
                    let ip = Ipv6Addr::from(self.v6.sin6_addr.s6_addr);
                    let port = u16::from_be(self.v6.sin6_port);
                    match ip.to_ipv4_mapped() {
                        Some(v4) => Some(SocketAddr::from((v4, port))),
                        None => Some(SocketAddrV6::new(ip, port, 0, self.v6.sin6_scope_id).into()),
                    }
                }
                _ => None,
            }
        }
    }
}

fn sockaddr_in(ip: Ipv4Addr, port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: in_addr(ip),
        sin_zero: [0; 8],
    }
}

fn sockaddr_in6(addr: SocketAddrV6) -> libc::sockaddr_in6 {
    libc::sockaddr_in6 {
        sin6_family: libc::AF_INET6 as libc::sa_family_t,
        sin6_port: addr.port().to_be(),
        sin6_flowinfo: 0,
        sin6_addr: libc::in6_addr { s6_addr: addr.ip().octets() },
        sin6_scope_id: addr.scope_id(),
    }
}

const fn size_of_v4() -> libc::socklen_t {
    size_of::<libc::sockaddr_in>() as libc::socklen_t
}

const fn size_of_v6() -> libc::socklen_t {
    size_of::<libc::sockaddr_in6>() as libc::socklen_t
}

/// An IPv4 address as the kernel takes it.
pub(crate) fn in_addr(ip: Ipv4Addr) -> libc::in_addr {
    libc::in_addr { s_addr: u32::from(ip).to_be() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_both_families() {
        for (text, v6_socket) in [("127.0.0.1:9", false), ("127.0.0.1:9", true), ("[2001:db8::1]:65535", true)] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(SockAddr::new(addr, v6_socket).0.to_rust(), Some(addr));
        }
        assert_eq!(SockAddr::ZERO.to_rust(), None);
    }
}
