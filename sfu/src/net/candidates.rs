//! Which of our addresses clients are told.

use crate::config::MediaConfig;
use sfu_rtc::ice::{Candidate, CandidateProtocol};
use std::net::{IpAddr, SocketAddr};

/// Preference of our first address: the highest that TCP has room for (RFC 6544 section 4.2).
const MOST_PREFERRED: u16 = (1 << 13) - 1;

/// Addresses to offer: those configured, else the one we are bound to, else all of this machine. Loopback is offered
/// only where nothing else is, since nobody else can reach it.
pub(crate) fn advertised(config: &MediaConfig, machine: &[IpAddr]) -> Vec<IpAddr> {
    if !config.node_ips.is_empty() {
        return config.node_ips.clone();
    }
    if !config.bind.is_unspecified() {
        return vec![config.bind];
    }
    // A link-local address means nothing without the name of its interface.
    let fits = |ip: &&IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_link_local(),
        IpAddr::V6(ip) => config.bind.is_ipv6() && !ip.is_unicast_link_local(),
    };
    let (loopback, others): (Vec<IpAddr>, Vec<IpAddr>) = machine.iter().filter(fits).partition(|ip| ip.is_loopback());
    if others.is_empty() { loopback } else { others }
}

/// Candidates of one worker, best first.
pub(crate) fn candidates(ips: &[IpAddr], udp_port: u16, tcp_port: Option<u16>) -> Vec<Candidate> {
    let of = |protocol, port| {
        ips.iter().enumerate().map(move |(i, ip)| {
            let preference = MOST_PREFERRED.saturating_sub(u16::try_from(i).unwrap_or(u16::MAX));
            Candidate::host(protocol, SocketAddr::new(*ip, port), preference)
        })
    };
    let tcp = tcp_port.into_iter().flat_map(|port| of(CandidateProtocol::TcpPassive, port));
    of(CandidateProtocol::Udp, udp_port).chain(tcp).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_can_be_reached_is_offered() {
        let machine = [LOOPBACK, ip("192.0.2.7"), ip("2001:db8::7"), ip("fe80::7")];
        let any = MediaConfig::default();
        assert_eq!(advertised(&any, &machine), machine[1..3]);
        assert_eq!(advertised(&any, &machine[..1]), [LOOPBACK], "alone on this machine");
        let v4 = MediaConfig { bind: ip("0.0.0.0"), ..any.clone() };
        assert_eq!(advertised(&v4, &machine), machine[1..2]);
        let bound = MediaConfig { bind: LOOPBACK, ..any.clone() };
        assert_eq!(advertised(&bound, &machine), [LOOPBACK]);
        let nat = MediaConfig { node_ips: vec![ip("198.51.100.1")], ..any };
        assert_eq!(advertised(&nat, &machine), nat.node_ips);
    }

    #[test]
    fn udp_comes_before_tcp() {
        let all = candidates(&[ip("192.0.2.7"), ip("192.0.2.8")], 1, Some(2));
        assert_eq!(all.len(), 4);
        assert!(all.windows(2).all(|pair| pair[0].priority > pair[1].priority));
        assert_eq!(candidates(&[LOOPBACK], 1, None).len(), 1);
    }
}
