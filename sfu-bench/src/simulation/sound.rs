//! Which packets of sound a receiver has heard, by themselves or with a later one (RFC 2198).

use sfu_rtc::ids::SeqNo;
use std::collections::VecDeque;

/// Packets that are remembered: a second of them.
const REMEMBERED: usize = 50;

/// The sound of one stream.
#[derive(Default)]
pub(super) struct Sound {
    /// The first packet that came by itself: nothing before it is missing.
    first: Option<SeqNo>,
    heard: VecDeque<SeqNo>,
    healed: u64,
}

impl Sound {
    /// A packet comes by itself. Whether it was not heard before.
    pub(super) fn comes(&mut self, seq: SeqNo) -> bool {
        self.first.get_or_insert(seq);
        let is_new = self.hear(seq);
        // It was late, not lost.
        self.healed -= u64::from(!is_new && self.healed > 0);
        is_new
    }

    /// A packet comes with a later one. Whether it was missing until now.
    pub(super) fn heals(&mut self, seq: SeqNo) -> bool {
        let is_new = self.first.is_some_and(|first| seq >= first) && self.hear(seq);
        self.healed += u64::from(is_new);
        is_new
    }

    /// Packets that came with a later one only.
    pub(super) fn healed(&self) -> u64 {
        self.healed
    }

    fn hear(&mut self, seq: SeqNo) -> bool {
        if self.heard.contains(&seq) {
            return false;
        }
        if self.heard.len() == REMEMBERED {
            self.heard.pop_front();
        }
        self.heard.push_back(seq);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_with_a_later_packet_heals_once() {
        let mut sound = Sound::default();
        assert!(!sound.heals(SeqNo(9)), "nothing is missing yet");
        assert!(sound.comes(SeqNo(10)));
        assert!(sound.heals(SeqNo(11)) && !sound.heals(SeqNo(11)) && !sound.heals(SeqNo(10)));
        assert!(sound.comes(SeqNo(12)));
        assert_eq!(sound.healed(), 1);
        assert!(!sound.comes(SeqNo(11)), "it was late");
        assert_eq!(sound.healed(), 0);
    }
}
