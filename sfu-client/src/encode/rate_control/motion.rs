//! How often pictures move, in sources that have fewer of them than the stream.

/// Below this share of what is usual in moving pictures, one is a repeat.
const REPEAT: f64 = 0.1;
/// Least pictures from one that moves to the next where there are repeats, in the mean, and most.
const LEAST_GAP: f64 = 1.5;
const MAX_GAP: f64 = 6.0;

/// How often pictures move, in sources that have fewer of them than the stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Motion {
    /// What moving pictures usually cost, in [`Complexity::inter`].
    pub(super) usual: f64,
    /// Pictures since the last one that moved.
    pub(super) since: f64,
    /// Pictures from one that moves to the next, smoothed; 0 before any.
    smoothed_gap: f64,
}

impl Motion {
    /// Takes a picture; whether it repeats the one before.
    pub(super) fn watch(&mut self, inter: f64) -> bool {
        self.since += 1.0;
        if inter < REPEAT * self.usual {
            if self.since > MAX_GAP {
                // It has become still: what moves now may be little.
                self.usual *= 0.8;
            }
            return true;
        }
        let gap = self.since.min(MAX_GAP);
        self.smoothed_gap =
            if self.smoothed_gap == 0.0 { gap } else { self.smoothed_gap + 0.2 * (gap - self.smoothed_gap) };
        self.usual =
            if self.usual == 0.0 { inter } else { self.usual + 0.2 * (inter.min(4.0 * self.usual) - self.usual) };
        self.since = 0.0;
        false
    }

    pub(super) fn gap(&self) -> f64 {
        if self.smoothed_gap < LEAST_GAP { 1.0 } else { self.smoothed_gap.min(MAX_GAP) }
    }

    /// Whether one that moves is to come, after a repeat, within the next `left` pictures.
    pub(super) fn expects(&self, left: f64) -> bool {
        let gap = self.gap();
        gap > 1.0 && self.since < gap + 1.0 && self.since + left + 0.2 >= gap
    }
}
