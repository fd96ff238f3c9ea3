//! A bad network between a peer and the real server.

use crate::real::Server;
use netsim::relay::{Relay, RelayConfig};
use sfu_client::peer::{Peer, PeerConfig};
use sfu_client::signal::{JoinOptions, NativeSession};
use sfu_proto::v1::Publish;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Longest wait for a connection.
const LIMIT: Duration = Duration::from_secs(60);

/// A peer on this machine.
pub(crate) async fn peer() -> Peer {
    let bind = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
    Peer::new(PeerConfig { bind, ..Default::default() }).await.unwrap()
}

/// Joins `room` behind a relay with this seed, which lets everything pass at first.
pub(crate) async fn join(
    server: &Server,
    (room, seed): (&str, u64),
    name: &str,
    peer: &Peer,
    publish: Vec<Publish>,
) -> (NativeSession, Relay) {
    let options = JoinOptions::new(&server.url("ws", ""), room, name);
    let (session, answer) = NativeSession::join(&options, peer.offer().await.unwrap(), publish).await.unwrap();
    let (relay, answer) = through_a_relay(&answer, seed);
    peer.accept_answer(answer).await.unwrap();
    peer.connected(LIMIT).await.unwrap();
    (session, relay)
}

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
