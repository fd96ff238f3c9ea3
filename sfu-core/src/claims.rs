//! Addresses at which peers say that they can be reached, over all workers of a server.
//!
//! A check's source address can be forged. Where the address is one that another peer has named, a handshake begins only
//! once it is proven: that other one may be waiting for its own, and would take the first that comes. A peer that does not
//! name where it is, as browsers do that hide their addresses, may be at any port of the address that its signalling came
//! from, for as long as it is not connected.

use dashmap::DashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// How many peers claim each place. Workers share it: whoever waits for a handshake with one may take that of another. It
/// is only read for checks of peers that are not connected.
#[derive(Default, Debug)]
pub struct ClaimedAddresses(DashMap<Place, usize>);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Place {
    At(SocketAddr),
    AnyPortOf(IpAddr),
}

/// What one peer claims, for as long as it is there.
#[derive(Debug)]
pub(crate) struct Claim {
    table: Arc<ClaimedAddresses>,
    places: Vec<Place>,
}

impl ClaimedAddresses {
    /// A peer names these candidates, and its signalling came from there.
    pub(crate) fn claim(self: &Arc<Self>, candidates: &[SocketAddr], signalled_from: Option<IpAddr>) -> Claim {
        let named = candidates.iter().map(|address| SocketAddr::new(address.ip().to_canonical(), address.port()));
        let mut places: Vec<Place> = named.map(Place::At).collect();
        let signalled_from = signalled_from.map(|ip| ip.to_canonical());
        let is_at = |ip: &IpAddr| places.iter().any(|place| matches!(place, Place::At(named) if named.ip() == *ip));
        places.extend(signalled_from.filter(|ip| !is_at(ip)).map(Place::AnyPortOf));
        places.sort_unstable();
        places.dedup();
        places.iter().for_each(|place| *self.0.entry(*place).or_default() += 1);
        Claim { table: Arc::clone(self), places }
    }

    fn release(&self, place: &Place) {
        self.0.remove_if_mut(place, |_, count| {
            *count -= 1;
            *count == 0
        });
    }
}

impl Claim {
    /// Whether another peer claims this address.
    pub(crate) fn is_contested(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        [Place::At(SocketAddr::new(ip, address.port())), Place::AnyPortOf(ip)].iter().any(|place| {
            let all = self.table.0.get(place).map_or(0, |count| *count);
            all > usize::from(self.places.contains(place))
        })
    }

    /// The peer is connected: where it is, is known now, and holds.
    pub(crate) fn on_connected(&mut self) {
        let Self { table, places } = self;
        places.retain(|place| {
            let stays = matches!(place, Place::At(_));
            if !stays {
                table.release(place);
            }
            stays
        });
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.places.iter().for_each(|place| self.table.release(place));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_contested_while_another_names_it() {
        let table = Arc::new(ClaimedAddresses::default());
        let [a, b]: [SocketAddr; 2] = ["192.0.2.1:5000", "[::ffff:192.0.2.1]:5000"].map(|text| text.parse().unwrap());
        let first = table.claim(&[a, b], Some(a.ip()));
        let nobody = table.claim(&[], None);
        assert!(!first.is_contested(a) && nobody.is_contested(a) && nobody.is_contested(b));
        let second = table.claim(&[b], None);
        assert!(first.is_contested(a) && second.is_contested(b));
        drop(first);
        assert!(!second.is_contested(a) && nobody.is_contested(a));
        drop(second);
        assert!(!nobody.is_contested(a) && table.0.is_empty());
    }

    #[test]
    fn a_peer_that_hides_may_be_at_any_port_until_it_is_connected() {
        let table = Arc::new(ClaimedAddresses::default());
        let [address, private]: [SocketAddr; 2] = ["192.0.2.1:5000", "10.0.0.1:5000"].map(|text| text.parse().unwrap());
        let mut hidden = table.claim(&[private], Some(address.ip()));
        let other = table.claim(&[address], Some(address.ip()));
        assert!(other.is_contested(address) && hidden.is_contested(address));
        hidden.on_connected();
        assert!(!other.is_contested(address) && hidden.is_contested(address) && other.is_contested(private));
        drop((hidden, other));
        assert!(table.0.is_empty());
    }
}
