//! Destinations to which the kernel refused a run of datagrams (UDP_SEGMENT): a device without checksum offload, a tunnel
//! with a small MTU. They get datagrams one by one for a while, and all others go on as before.

use arrayvec::ArrayVec;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// So many destinations that refuse at the same time are no matter of their paths but of the machine's device: then nobody
/// gets runs for a while, or each new destination would cost a refused call.
const MOST: usize = 64;

/// Who gets no runs, and until when.
#[derive(Debug)]
pub(crate) struct RefusedRuns {
    /// After so long a run is tried again.
    retry: Duration,
    destinations: ArrayVec<(IpAddr, Instant), MOST>,
    all_until: Option<Instant>,
}

impl RefusedRuns {
    pub(crate) fn new(retry: Duration) -> Self {
        Self { retry, destinations: ArrayVec::new(), all_until: None }
    }

    /// Whether nobody was refused lately, so that there is nothing to ask.
    pub(crate) fn is_empty(&self) -> bool {
        self.destinations.is_empty() && self.all_until.is_none()
    }

    /// Runs may be tried again with those whose time is over.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.destinations.retain(|(_, until)| *until > now);
        self.all_until = self.all_until.filter(|until| *until > now);
    }

    /// Whether the destination gets datagrams one by one.
    pub(crate) fn contains(&self, destination: IpAddr) -> bool {
        self.all_until.is_some() || self.destinations.iter().any(|(refused, _)| *refused == destination)
    }

    /// A run to the destination was refused.
    pub(crate) fn add(&mut self, destination: IpAddr, now: Instant) {
        let until = now + self.retry;
        if self.destinations.try_push((destination, until)).is_err() {
            self.destinations.clear();
            self.all_until = Some(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_left_alone_for_a_while_and_many_stop_all() {
        let now = Instant::now();
        let address = |n: u8| IpAddr::from([10, 0, 0, n]);
        let mut refused = RefusedRuns::new(Duration::from_secs(30));
        assert!(refused.is_empty());
        refused.add(address(1), now);
        assert!(refused.contains(address(1)) && !refused.contains(address(2)));
        refused.expire(now + Duration::from_secs(29));
        assert!(refused.contains(address(1)));
        refused.expire(now + Duration::from_secs(30));
        assert!(refused.is_empty());
        (0..=64).for_each(|n| refused.add(address(n), now));
        assert!(refused.contains(address(200)));
        refused.expire(now + Duration::from_secs(30));
        assert!(refused.is_empty());
    }
}
