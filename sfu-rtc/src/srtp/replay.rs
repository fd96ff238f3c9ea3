//! Which SRTP indices were used: the replay window of a source (RFC 3711 section 3.3.2), for what we receive, and, for
//! what we send, so that no index is used twice under one key (section 9.1; with AES-GCM that would give the key stream
//! and the authentication key away).

use crate::ids::Ssrc;
use crate::prefetch::prefetch;

/// Packets behind the newest one that can still be told apart. RFC 3711 asks for 64 at least; libwebrtc uses 1024,
/// which holds what a fast video stream can have in flight when the network reorders.
pub const REPLAY_WINDOW: u64 = 1024;
const WORD_BITS: u64 = u64::BITS as u64;
const WORDS: usize = (REPLAY_WINDOW / WORD_BITS) as usize;

/// Which indices up to the highest one have been seen.
///
/// The bit of an index stands at `index mod 1024`, so that moving on clears bits and shifts none.
#[derive(Clone, Debug)]
pub(super) struct ReplayWindow {
    highest: u64,
    seen: [u64; WORDS],
}

impl ReplayWindow {
    /// A window whose only seen index is `first`.
    pub(super) fn starting_at(first: u64) -> Self {
        let mut window = Self { highest: first, seen: [0; WORDS] };
        window.mark(first);
        window
    }

    /// A window in which all up to `highest` count as seen.
    fn closed_at(highest: u64) -> Self {
        Self { highest, seen: [u64::MAX; WORDS] }
    }

    /// The highest index seen.
    pub(super) fn highest(&self) -> u64 {
        self.highest
    }

    /// Whether `index` has not been seen, and is not too old to tell.
    pub(super) fn is_new(&self, index: u64) -> bool {
        if index > self.highest {
            return true;
        }
        let (word, bit) = Self::place(index);
        self.highest - index < REPLAY_WINDOW && self.seen[word] & bit == 0
    }

    /// Records `index` as seen. The caller has asked [`Self::is_new`] and authenticated the packet.
    pub(super) fn record(&mut self, index: u64) {
        if index > self.highest {
            self.advance(index);
        }
        if self.highest - index < REPLAY_WINDOW {
            self.mark(index);
        }
    }

    fn advance(&mut self, index: u64) {
        if index - self.highest >= REPLAY_WINDOW {
            self.seen = [0; WORDS];
        } else {
            for between in self.highest + 1..index {
                let (word, bit) = Self::place(between);
                self.seen[word] &= !bit;
            }
        }
        self.highest = index;
    }

    fn mark(&mut self, index: u64) {
        let (word, bit) = Self::place(index);
        self.seen[word] |= bit;
    }

    fn place(index: u64) -> (usize, u64) {
        let slot = index % REPLAY_WINDOW;
        ((slot / WORD_BITS) as usize, 1 << (slot % WORD_BITS))
    }
}

/// Replay windows by source. A peer has few, so that a search through a dense list beats hashing.
#[derive(Default)]
pub(super) struct SourceWindows {
    sources: Vec<Ssrc>,
    windows: Vec<ReplayWindow>,
}

impl SourceWindows {
    pub(super) fn new() -> Self {
        Self { sources: Vec::new(), windows: Vec::new() }
    }

    /// How many sources have a window.
    pub(super) fn len(&self) -> usize {
        self.sources.len()
    }

    /// Where the window of `ssrc` is.
    pub(super) fn find(&self, ssrc: Ssrc) -> Option<usize> {
        self.sources.iter().position(|source| *source == ssrc)
    }

    /// The window that [`Self::find`] found.
    pub(super) fn at(&self, at: usize) -> &ReplayWindow {
        &self.windows[at]
    }

    /// Records `index` as used by `ssrc`, whose window [`Self::find`] found or not.
    pub(super) fn record(&mut self, at: Option<usize>, ssrc: Ssrc, index: u64) {
        match at {
            Some(at) => self.windows[at].record(index),
            None => {
                self.sources.push(ssrc);
                self.windows.push(ReplayWindow::starting_at(index));
            }
        }
    }

    /// Gives a window to `ssrc`, which has none: all up to `closed` counts as seen, and `index` is.
    pub(super) fn resume(&mut self, ssrc: Ssrc, closed: u64, index: u64) {
        let mut window = ReplayWindow::closed_at(closed);
        window.record(index);
        self.sources.push(ssrc);
        self.windows.push(window);
    }

    /// Forgets the window of `ssrc`, which ended with the index that is returned; `None` where there was none.
    pub(super) fn remove(&mut self, ssrc: Ssrc) -> Option<u64> {
        let at = self.find(ssrc)?;
        self.sources.swap_remove(at);
        Some(self.windows.swap_remove(at).highest)
    }

    /// Fetches what a search needs.
    pub(super) fn prefetch(&self) {
        prefetch(self.sources.as_slice());
    }

    /// Fetches the window of one source.
    pub(super) fn prefetch_window(&self, ssrc: Ssrc) {
        if let Some(at) = self.find(ssrc) {
            prefetch(&self.windows[at]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn an_index_is_new_once() {
        let mut window = ReplayWindow::starting_at(5);
        assert!(!window.is_new(5));
        for index in [6, 4, 1_028, 7] {
            assert!(window.is_new(index), "{index}");
            window.record(index);
            assert!(!window.is_new(index), "{index}");
        }
        assert!(window.is_new(8));
        assert!(!window.is_new(4), "1024 behind is too old to tell");
    }

    proptest! {
        /// The window agrees with a set of all indices seen.
        #[test]
        fn agrees_with_a_set(first in 0u64..100_000, steps in prop::collection::vec(-1_500i64..1_500, 1..400)) {
            let mut window = ReplayWindow::starting_at(first);
            let mut seen = HashSet::from([first]);
            let mut highest = first;
            for step in steps {
                let Some(index) = highest.checked_add_signed(step) else { continue };
                let new = !seen.contains(&index) && index + REPLAY_WINDOW > highest;
                prop_assert_eq!(window.is_new(index), new);
                if new {
                    window.record(index);
                    seen.insert(index);
                    highest = highest.max(index);
                }
                prop_assert_eq!(window.highest(), highest);
            }
        }
    }
}
