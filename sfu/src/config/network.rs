//! A network of addresses, as `192.0.2.0/24`, `2001:db8::/32`, or one address.

use crate::text::number;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Network {
    ip: IpAddr,
    prefix: u32,
}

impl Network {
    /// Whether it has more addresses than any one operator: for trust in whoever writes from there it is a mistake.
    pub(crate) fn is_too_wide_to_trust(&self) -> bool {
        match self.ip {
            // The widest private network is 10.0.0.0/8.
            IpAddr::V4(_) => self.prefix < 8,
            // Private networks are in fc00::/7 (RFC 4193); registries have a /12 each.
            IpAddr::V6(ip) => self.prefix < if ip.is_unique_local() { 7 } else { 16 },
        }
    }

    /// Whether `ip` is in it; an IPv4 address may be mapped into IPv6.
    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        let same = |a: u128, b: u128, bits: u32| (a ^ b).checked_shr(bits - self.prefix).unwrap_or(0) == 0;
        match (self.ip, ip.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (ip, prefix) = text.split_once('/').map_or((text, None), |(ip, prefix)| (ip, Some(prefix)));
        let wrong = || format!("`{text}` is no address and no network such as 192.0.2.0/24");
        let ip: IpAddr = ip.parse().map_err(|_| wrong())?;
        let bits = if ip.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Some(bits), number).filter(|prefix| *prefix <= bits).ok_or_else(wrong)?;
        Ok(Self { ip, prefix })
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inside() {
        for (network, ip, expected) in [
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "::ffff:192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("0.0.0.0/0", "203.0.113.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(ip.parse().unwrap()), expected, "{network} {ip}");
        }
        for wrong in ["", "192.0.2.0/33", "192.0.2.0/x", "192.0.2.0/+8", "192.0.2.0/", "proxy.example", "::/129"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_too_wide_to_trust() {
        for (network, expected) in [
            ("0.0.0.0/0", true),
            ("128.0.0.0/1", true),
            ("10.0.0.0/8", false),
            ("192.0.2.7", false),
            ("::/0", true),
            ("2000::/3", true),
            ("fc00::/6", true),
            ("fc00::/7", false),
            ("2001:db8::/32", false),
        ] {
            assert_eq!(network.parse::<Network>().unwrap().is_too_wide_to_trust(), expected, "{network}");
        }
    }
}
