//! Addresses at which peers say that they can be reached, over all workers of a server.
//!
//! A check's source address can be forged. Where the address is one that another peer has named, a handshake begins only
//! once it is proven: that other one may be waiting for its own, and would take the first that comes.

use dashmap::DashMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// How many peers have named each address among their candidates. Workers share it: whoever waits for a handshake with one
/// may take that of another. It is only read for checks of peers that are not connected.
#[derive(Default, Debug)]
pub struct ClaimedAddresses(DashMap<SocketAddr, usize>);

/// What one peer has named, for as long as it is there.
#[derive(Debug)]
pub(crate) struct Claim {
    table: Arc<ClaimedAddresses>,
    addresses: Vec<SocketAddr>,
}

impl ClaimedAddresses {
    /// A peer names these.
    pub(crate) fn claim(self: &Arc<Self>, candidates: &[SocketAddr]) -> Claim {
        let mut addresses: Vec<SocketAddr> = candidates.iter().copied().map(canonical).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses.iter().for_each(|address| *self.0.entry(*address).or_default() += 1);
        Claim { table: Arc::clone(self), addresses }
    }
}

impl Claim {
    /// Whether another peer names this address.
    pub(crate) fn is_contested(&self, address: SocketAddr) -> bool {
        let address = canonical(address);
        let all = self.table.0.get(&address).map_or(0, |count| *count);
        all > usize::from(self.addresses.contains(&address))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        for address in &self.addresses {
            self.table.0.remove_if_mut(address, |_, count| {
                *count -= 1;
                *count == 0
            });
        }
    }
}

/// IPv4 addresses come mapped into IPv6 from some sockets.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_contested_while_another_names_it() {
        let table = Arc::new(ClaimedAddresses::default());
        let [a, b]: [SocketAddr; 2] = ["192.0.2.1:5000", "[::ffff:192.0.2.1]:5000"].map(|text| text.parse().unwrap());
        let first = table.claim(&[a, b]);
        let nobody = table.claim(&[]);
        assert!(!first.is_contested(a) && nobody.is_contested(a) && nobody.is_contested(b));
        let second = table.claim(&[b]);
        assert!(first.is_contested(a) && second.is_contested(b));
        drop(first);
        assert!(!second.is_contested(a) && nobody.is_contested(a));
        drop(second);
        assert!(!nobody.is_contested(a) && table.0.is_empty());
    }
}
