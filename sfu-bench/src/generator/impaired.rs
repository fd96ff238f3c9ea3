//! A bad network between a peer and the server, within the generator: every datagram of either direction passes a link.

use netsim::{Link, LinkConfig};
use sfu_rtc::net::{NetworkPath, TransmitBatch};
use sfu_rtc::time::Instant;
use std::convert::Infallible;
use std::time::Duration;

/// The links of one peer.
pub struct ImpairedPath {
    up: Link,
    down: Link,
    /// Where the peer sends.
    path: Option<NetworkPath>,
}

impl ImpairedPath {
    /// Both directions are like `config`; what is random comes from `seed`.
    pub fn new(config: &LinkConfig, seed: u64) -> Self {
        let link = |direction: u64| Link::new(config.clone(), (seed << 1) | direction);
        Self { up: link(0), down: link(1), path: None }
    }

    /// A datagram of the server sets out.
    pub(super) fn receive(&mut self, now: Instant, datagram: &[u8]) {
        self.down.send(since_start(now), datagram.to_vec());
    }

    /// A datagram of the server that has arrived.
    pub(super) fn arrived(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.down.poll(since_start(now))
    }

    /// Sends `batch` on its way, and puts what has arrived at the other end in its place.
    pub(super) fn transmit(&mut self, now: Instant, batch: &mut TransmitBatch) {
        let now = since_start(now);
        for transmit in batch.transmits() {
            self.path = Some(transmit.path);
            for datagram in batch.bytes(transmit).chunks(transmit.segment_size.max(1)) {
                self.up.send(now, datagram.to_vec());
            }
        }
        batch.clear();
        let Some(path) = self.path else { return };
        while let Some(datagram) = self.up.poll(now) {
            let pushed: Result<(), Infallible> = batch.push(path, |out| {
                out.extend_from_slice(&datagram);
                Ok(())
            });
            match pushed {
                Ok(()) => {}
            }
        }
    }

    /// When a datagram arrives at either end.
    pub(super) fn poll_timeout(&self) -> Instant {
        let next = self.up.next_timeout().into_iter().chain(self.down.next_timeout()).min();
        next.map_or(Instant::NEVER, |at| Instant::ZERO + at)
    }
}

fn since_start(now: Instant) -> Duration {
    now - Instant::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;
    use sfu_rtc::net::Protocol;
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};

    #[test]
    fn datagrams_are_late_in_both_directions() {
        let mut path = ImpairedPath::new(&LinkConfig::delayed(Duration::from_millis(30)), 1);
        let (local, remote) = (IpAddr::V4(Ipv4Addr::LOCALHOST), SocketAddr::from(([127, 0, 0, 1], 9)));
        let mut batch = TransmitBatch::default();
        for byte in [1, 2] {
            let to = NetworkPath { remote, local, protocol: Protocol::Udp };
            let pushed: Result<(), Infallible> = batch.push(to, |out| {
                out.extend([byte; 100]);
                Ok(())
            });
            pushed.unwrap();
        }
        path.transmit(Instant::ZERO, &mut batch);
        path.receive(Instant::from_millis(5), &[7; 50]);
        assert_eq!((batch.datagrams(), path.poll_timeout()), (0, Instant::from_millis(30)));
        path.transmit(Instant::from_millis(30), &mut batch);
        assert_eq!(batch.bytes(&batch.transmits()[0]), [[1; 100], [2; 100]].concat());
        assert_eq!(path.arrived(Instant::from_millis(34)), None);
        assert_eq!(path.arrived(Instant::from_millis(35)), Some(vec![7; 50]));
        assert_eq!(path.poll_timeout(), Instant::NEVER);
    }
}
