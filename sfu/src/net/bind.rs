//! Listening sockets, and what stands for IPv6 on a machine without it.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Connections that wait to be accepted; the kernel has its own limit too (net.core.somaxconn).
const BACKLOG: i32 = 4_096;

/// A listening socket. An unspecified IPv6 address takes IPv4 too, and stands for IPv4 alone where there is no IPv6.
pub(crate) fn bind_tcp(addr: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listen = |addr: SocketAddr| {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        if addr.is_ipv6() {
            socket.set_only_v6(addr.ip() != Ipv6Addr::UNSPECIFIED)?;
        }
        // A restarted server shall not wait for the connections of the one before to time out.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        Ok(std::net::TcpListener::from(socket))
    };
    listen(addr).or_else(|error| match ipv4_instead(addr, &error) {
        Some(v4) => listen(v4),
        None => Err(error),
    })
}

/// The IPv4 address to take in place of `addr` on a machine without IPv6.
pub(crate) fn ipv4_instead(addr: SocketAddr, error: &io::Error) -> Option<SocketAddr> {
    let no_ipv6 = matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL));
    (no_ipv6 && addr.ip() == Ipv6Addr::UNSPECIFIED)
        .then(|| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), addr.port()))
}
