//! Candidates (RFC 8839 section 5.1, for TCP RFC 6544 section 4.5).
//!
//! `candidate:foundation component transport priority address port typ type [tcptype type]`

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// Transport of a candidate.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CandidateProtocol {
    /// UDP.
    Udp,
    /// TCP on which we accept connections.
    TcpPassive,
}

/// A host candidate of component 1: where a peer may send its checks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Transport.
    pub protocol: CandidateProtocol,
    /// Address.
    pub address: SocketAddr,
    /// Priority among the candidates; higher is tried first.
    pub priority: u32,
}

/// Type preference of UDP host candidates (RFC 8445 section 5.1.2.2).
const UDP_HOST: u32 = 126;
/// Type preference of TCP host candidates: below every UDP type, as RFC 6544 section 4.2 recommends.
const TCP_HOST: u32 = 90;
/// Direction preference of passive TCP host candidates in the top three bits of the local preference (RFC 6544).
const TCP_PASSIVE_DIRECTION: u32 = 4;
/// 13 bits remain below it.
const TCP_OTHER_MAX: u32 = (1 << 13) - 1;
/// RTP, and with it everything that is multiplexed.
const COMPONENT: u32 = 1;

impl Candidate {
    /// A host candidate. `preference` orders our addresses of one protocol, higher first.
    pub fn host(protocol: CandidateProtocol, address: SocketAddr, preference: u16) -> Self {
        let preference = u32::from(preference);
        let (kind, local) = match protocol {
            CandidateProtocol::Udp => (UDP_HOST, preference),
            CandidateProtocol::TcpPassive => (TCP_HOST, (TCP_PASSIVE_DIRECTION << 13) | preference.min(TCP_OTHER_MAX)),
        };
        Self { protocol, address, priority: (kind << 24) | (local << 8) | (256 - COMPONENT) }
    }

    /// Equal for candidates of the same type, base address and protocol only (RFC 8445 section 5.1.1.3).
    fn foundation(&self) -> u32 {
        let seed = match self.protocol {
            CandidateProtocol::Udp => 1u32,
            CandidateProtocol::TcpPassive => 2,
        };
        let mix = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(FNV_PRIME);
        match self.address.ip() {
            IpAddr::V4(ip) => ip.octets().iter().fold(seed, mix),
            IpAddr::V6(ip) => ip.octets().iter().fold(seed, mix),
        }
    }
}

/// Of the FNV-1a hash with 32 bits.
const FNV_PRIME: u32 = 0x0100_0193;

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (transport, suffix) = match self.protocol {
            CandidateProtocol::Udp => ("udp", ""),
            CandidateProtocol::TcpPassive => ("tcp", " tcptype passive"),
        };
        let (foundation, priority) = (self.foundation(), self.priority);
        let (ip, port) = (self.address.ip(), self.address.port());
        write!(f, "candidate:{foundation} {COMPONENT} {transport} {priority} {ip} {port} typ host{suffix}")
    }
}

/// The text is no host candidate that can be used: malformed, of another type or component, or a host name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a host candidate with an address, over UDP or passive TCP")]
pub struct UnusableCandidate;

impl FromStr for Candidate {
    type Err = UnusableCandidate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or(UnusableCandidate)
    }
}

fn parse(text: &str) -> Option<Candidate> {
    let text = text.trim();
    let text = text.strip_prefix("a=").unwrap_or(text).strip_prefix("candidate:")?;
    let mut words = text.split_ascii_whitespace();
    let (_foundation, component) = (words.next()?, words.next()?);
    let transport = words.next()?;
    let priority = words.next()?.parse().ok()?;
    let ip: IpAddr = words.next()?.parse().ok()?;
    let port = words.next()?.parse().ok()?;
    let host = component.parse() == Ok(COMPONENT) && words.next()? == "typ" && words.next()? == "host";
    let passive = words.by_ref().any(|word| word == "tcptype") && words.next() == Some("passive");
    let protocol = if transport.eq_ignore_ascii_case("udp") {
        CandidateProtocol::Udp
    } else if transport.eq_ignore_ascii_case("tcp") && passive {
        CandidateProtocol::TcpPassive
    } else {
        return None;
    };
    host.then_some(Candidate { protocol, address: SocketAddr::new(ip, port), priority })
}

/// The address in the value of an `a=candidate` line, of whatever type, that is over UDP and no host name.
pub fn udp_address(value: &str) -> Option<SocketAddr> {
    let mut words = value.split_ascii_whitespace().skip(2);
    let is_udp = words.next()?.eq_ignore_ascii_case("udp");
    let (_priority, ip, port) = (words.next()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    is_udp.then_some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_and_back() {
        let udp = Candidate::host(CandidateProtocol::Udp, "192.0.2.1:7881".parse().unwrap(), 65_535);
        assert_eq!(udp.priority, 2_130_706_431);
        let text = udp.to_string();
        assert!(text.ends_with(" 1 udp 2130706431 192.0.2.1 7881 typ host"), "{text}");
        let tcp = Candidate::host(CandidateProtocol::TcpPassive, "[2001:db8::1]:7881".parse().unwrap(), 65_535);
        assert!(tcp.to_string().ends_with(" 2001:db8::1 7881 typ host tcptype passive"), "{tcp}");
        assert!(tcp.priority < udp.priority);
        for candidate in [udp, tcp] {
            assert_eq!(candidate.to_string().parse(), Ok(candidate));
        }
    }

    #[test]
    fn addresses_of_all_types_over_udp() {
        let reflexive = "2 1 UDP 1 192.0.2.1 5000 typ srflx raddr 10.0.0.1 rport 4000";
        assert_eq!(udp_address(reflexive), Some("192.0.2.1:5000".parse().unwrap()));
        for value in ["", "1 1 udp 1 name.local 5000 typ host", "1 1 tcp 1 192.0.2.1 9 typ host", "1 1 udp 1 192.0.2.1"]
        {
            assert_eq!(udp_address(value), None, "{value}");
        }
    }

    #[test]
    fn others_are_unusable() {
        for text in [
            "",
            "candidate:",
            "candidate:1 1 udp 1 host.local 5000 typ host",
            "candidate:1 2 udp 1 192.0.2.1 5000 typ host",
            "candidate:1 1 udp 1 192.0.2.1 5000 typ srflx raddr 0.0.0.0 rport 0",
            "candidate:1 1 tcp 1 192.0.2.1 9 typ host tcptype active",
            "candidate:1 1 udp 1 192.0.2.1 99999 typ host",
        ] {
            assert_eq!(text.parse::<Candidate>(), Err(UnusableCandidate), "{text}");
        }
    }

    #[test]
    fn foundations_differ_by_address_and_protocol() {
        let host = |protocol, ip: &str| Candidate::host(protocol, SocketAddr::new(ip.parse().unwrap(), 1), 1);
        let udp = host(CandidateProtocol::Udp, "192.0.2.1");
        assert_ne!(udp.foundation(), host(CandidateProtocol::Udp, "192.0.2.2").foundation());
        assert_ne!(udp.foundation(), host(CandidateProtocol::TcpPassive, "192.0.2.1").foundation());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(candidate:)?[ -~]{0,80}") {
            let _ = text.parse::<Candidate>();
        }
    }
}
