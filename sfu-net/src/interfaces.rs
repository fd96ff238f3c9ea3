//! The addresses of this machine.

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use std::io;
use std::net::IpAddr;

/// Addresses of the interfaces that are up, in the system's order, loopback included.
///
/// # Errors
/// What the system says.
pub fn local_addresses() -> io::Result<Vec<IpAddr>> {
    let mut addresses = Vec::new();
    for interface in getifaddrs()?.filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP)) {
        let Some(address) = interface.address else { continue };
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
        let ip = v4.or_else(|| address.as_sockaddr_in6().map(|v6| v6.ip().into()));
        addresses.extend(ip.filter(|ip| !addresses.contains(ip)));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn loopback_is_found() {
        assert!(local_addresses().unwrap().contains(&IpAddr::from(Ipv4Addr::LOCALHOST)));
    }
}
