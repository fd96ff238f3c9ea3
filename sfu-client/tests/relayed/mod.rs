//! A bad network between a peer and the real server.

use netsim::relay::{Relay, RelayConfig};
use std::net::{Ipv4Addr, SocketAddr};

/// A relay to the address of the answer's only candidate over UDP, and the answer with the relay's in its place.
pub(crate) fn through_a_relay(answer: &str, seed: u64) -> (Relay, String) {
    let line = answer.lines().find(|line| line.starts_with("a=candidate:") && line.contains(" udp ")).unwrap();
    let fields: Vec<&str> = line.split(' ').collect();
    let port = fields[5].parse().unwrap();
    let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (up, down) = Default::default();
    let (listen, to) = (loopback(0), loopback(port));
    let relay = Relay::start(RelayConfig { listen, to, up, down, seed, local_interfaces: false }).unwrap();
    let instead = line.replace(&format!(" {} {} typ", fields[4], fields[5]), &{
        format!(" 127.0.0.1 {} typ", relay.address().port())
    });
    let others = answer.lines().filter(|other| !other.starts_with("a=candidate:") || *other == line);
    let lines = others.map(|other| if other == line { &instead } else { other });
    (relay, lines.fold(String::new(), |sdp, line| sdp + line + "\r\n"))
}
