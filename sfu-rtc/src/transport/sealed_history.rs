//! Sealed packets, to be sent again as they are.
//!
//! A peer without a format for retransmissions (RFC 4588) gets a lost packet again itself. To seal it anew would use its
//! SRTP index twice, with other bytes: the number of congestion control and the time of sending differ (RFC 7714 section
//! 8.1). So what was sealed is kept, and sent again without touching the keys.

use crate::ids::{SeqNo, Ssrc};

/// The newest sealed packets of one transport. It takes no memory before the first.
#[derive(Default, Debug)]
pub(super) struct SealedHistory {
    /// Source and extended sequence number of each.
    names: Vec<(Ssrc, SeqNo)>,
    sealed: Vec<Vec<u8>>,
    /// Where the next goes, once there are as many as may be.
    next: usize,
}

impl SealedHistory {
    /// Keeps a packet in the place of the oldest, if there are `limit` already.
    pub(super) fn keep(&mut self, limit: usize, (ssrc, seq): (Ssrc, SeqNo), sealed: &[u8]) {
        if self.names.len() < limit {
            self.names.push((ssrc, seq));
            self.sealed.push(sealed.to_vec());
            return;
        }
        if let (Some(name), Some(place)) = (self.names.get_mut(self.next), self.sealed.get_mut(self.next)) {
            *name = (ssrc, seq);
            place.clear();
            place.extend_from_slice(sealed);
            self.next = (self.next + 1) % limit.max(1);
        }
    }

    /// The packet as it was sealed.
    pub(super) fn find(&self, ssrc: Ssrc, seq: SeqNo) -> Option<&[u8]> {
        let at = self.names.iter().position(|name| *name == (ssrc, seq))?;
        self.sealed.get(at).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept() {
        let mut history = SealedHistory::default();
        for seq in 0..10 {
            history.keep(4, (Ssrc(1), SeqNo(seq)), &[seq as u8; 3]);
        }
        for seq in 0..10 {
            let kept = (seq >= 6).then_some([seq as u8; 3]);
            assert_eq!(history.find(Ssrc(1), SeqNo(seq)), kept.as_ref().map(<[u8; 3]>::as_slice));
        }
        assert_eq!(history.find(Ssrc(2), SeqNo(9)), None);
        history.keep(0, (Ssrc(1), SeqNo(99)), &[]);
    }
}
