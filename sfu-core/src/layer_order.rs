//! Which of a publication's simulcast layers is better than which.
//!
//! `a=simulcast` names layers without saying how large they are (RFC 8853 section 5.2), and not every client names the
//! lowest first. So they are put in order by what is seen of them: by resolution, as keyframes show it, and where that
//! is unknown or the same by bitrate. A new order has to be seen for a while: layers change their size one after the
//! other.

use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::units::Bitrate;

/// Place of a received stream among a publication's simulcast layers, as `a=simulcast` names them.
pub(crate) type LayerIndex = u8;

/// Most simulcast layers of a publication.
pub const MAX_LAYERS: usize = 8;

/// How long another order has to be seen, where it is by resolution ...
const PATIENCE: Duration = Duration::from_millis(500);
/// ... and where it is by bitrate, which falls before a layer that ends is taken to have ended.
const PATIENCE_BY_RATE: Duration = Duration::from_secs(3);

/// By bitrate, a layer belongs above another with half as much again: rates of layers vary with what they show.
const CLEARLY_MORE: (u64, u64) = (3, 2);

/// Place of each layer, the lowest quality first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LayerRanks([u8; MAX_LAYERS]);

impl LayerRanks {
    /// As `a=simulcast` names them.
    pub(crate) const AS_NAMED: Self = Self([0, 1, 2, 3, 4, 5, 6, 7]);

    /// The place of `layer`.
    pub(crate) fn of(&self, layer: LayerIndex) -> u8 {
        self.0.get(usize::from(layer)).copied().unwrap_or(u8::MAX)
    }

    /// The first `count` layers, in order, of `all` that there are.
    pub(crate) fn lowest(self, count: u8, all: u8) -> impl Iterator<Item = LayerIndex> + Clone {
        (0..count.min(all)).filter_map(move |rank| (0..all).find(|layer| self.of(*layer) == rank))
    }
}

/// What is seen of a layer.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Seen {
    /// Width and height, where known.
    pub(crate) resolution: Option<(u16, u16)>,
    /// Bitrate; zero while it says nothing, since the layer has just begun or is not there.
    pub(crate) rate: Bitrate,
}

impl Seen {
    /// Whether this layer, which stands right below `upper`, belongs above it.
    fn belongs_above(&self, upper: &Self) -> bool {
        let area = |seen: &Self| seen.resolution.map(|(width, height)| u32::from(width) * u32::from(height));
        match (area(self), area(upper)) {
            (Some(mine), Some(theirs)) if mine != theirs => mine > theirs,
            _ if upper.rate == Bitrate::ZERO => false,
            _ => self.rate.as_bps() * CLEARLY_MORE.1 > upper.rate.as_bps() * CLEARLY_MORE.0,
        }
    }
}

/// Order of a publication's layers.
#[derive(Debug)]
pub(crate) struct LayerOrder {
    ranks: LayerRanks,
    /// Since when another is seen.
    wrong_since: Option<Instant>,
}

impl Default for LayerOrder {
    fn default() -> Self {
        Self { ranks: LayerRanks::AS_NAMED, wrong_since: None }
    }
}

impl LayerOrder {
    pub(crate) fn ranks(&self) -> LayerRanks {
        self.ranks
    }

    /// Sets the order that the origin reports. Whether it is new.
    pub(crate) fn set(&mut self, ranks: LayerRanks) -> bool {
        std::mem::replace(&mut self.ranks, ranks) != ranks
    }

    /// Looks at the layers. Whether their order is another now.
    pub(crate) fn update(&mut self, now: Instant, seen: &[Seen]) -> bool {
        let by_size = self.sorted(seen, |seen| Seen { rate: Bitrate::ZERO, ..*seen });
        let (ranks, patience) = match by_size != self.ranks {
            true => (by_size, PATIENCE),
            false => (self.sorted(seen, |seen| *seen), PATIENCE_BY_RATE),
        };
        if ranks == self.ranks {
            self.wrong_since = None;
            return false;
        }
        if now - *self.wrong_since.get_or_insert(now) < patience {
            return false;
        }
        self.wrong_since = None;
        self.ranks = ranks;
        true
    }

    /// The present order, with neighbours exchanged for as long as two of them belong the other way round.
    fn sorted(&self, seen: &[Seen], by: impl Fn(&Seen) -> Seen) -> LayerRanks {
        let mut ranks = self.ranks;
        let all = seen.len().min(MAX_LAYERS) as u8; // at most 8
        for _ in 0..all {
            for rank in 0..all.saturating_sub(1) {
                let at = |rank: u8| (0..all).find(|layer| ranks.of(*layer) == rank).map(usize::from);
                let (Some(lower), Some(upper)) = (at(rank), at(rank + 1)) else { continue };
                if by(&seen[lower]).belongs_above(&by(&seen[upper])) {
                    ranks.0.swap(lower, upper);
                }
            }
        }
        ranks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seen(height: u16, kbps: u64) -> Seen {
        let resolution = (height > 0).then_some((height * 2, height));
        Seen { resolution, rate: Bitrate::from_kbps(kbps) }
    }

    /// The order after all that was seen for long enough, lowest first.
    fn sorted(order: &mut LayerOrder, now: u64, layers: &[Seen]) -> Vec<LayerIndex> {
        for later in [0, 500, 1_000, 4_000] {
            order.update(Instant::from_millis(now + later), layers);
        }
        let all = layers.len() as u8;
        order.ranks().lowest(all, all).collect()
    }

    #[test]
    fn resolution_decides_and_where_it_does_not_bitrate() {
        let order = |layers: &[Seen]| sorted(&mut LayerOrder::default(), 0, layers);
        assert_eq!(order(&[seen(180, 1), seen(360, 1), seen(720, 1)]), [0, 1, 2]);
        assert_eq!(order(&[seen(720, 1), seen(360, 1), seen(180, 1)]), [2, 1, 0]);
        assert_eq!(order(&[seen(720, 100), seen(180, 900)]), [1, 0], "however much the smaller one has");
        assert_eq!(order(&[seen(0, 2_000), seen(0, 150), seen(0, 600)]), [1, 2, 0]);
        assert_eq!(order(&[seen(720, 2_000), seen(720, 600)]), [1, 0]);
        assert_eq!(order(&[seen(0, 700), seen(0, 600)]), [0, 1], "not clearly more");
        assert_eq!(order(&[seen(0, 700), seen(0, 0)]), [0, 1], "of one that is paused nothing is known");
    }

    #[test]
    fn what_passes_is_waited_for() {
        let mut order = LayerOrder::default();
        let at = Instant::from_millis;
        let (right, wrong) = ([seen(180, 1), seen(360, 1)], [seen(360, 1), seen(180, 1)]);
        for now in (0..5_000).step_by(400) {
            assert!(!order.update(at(now), &wrong));
            assert!(!order.update(at(now + 200), &right));
        }
        assert!(!order.update(at(6_000), &wrong));
        assert!(order.update(at(6_500), &wrong));
    }

    proptest! {
        /// Every order has each layer once, and does not change by itself.
        #[test]
        fn orders_are_whole_and_stable(rounds in prop::collection::vec(
            prop::collection::vec((0_u16..4, 0_u64..5), 4), 1..20,
        )) {
            let mut order = LayerOrder::default();
            for (n, round) in rounds.iter().enumerate() {
                let layers: Vec<_> = round.iter().map(|(size, rate)| seen(size * 90, rate * 100)).collect();
                let mut sorted = sorted(&mut order, n as u64 * 10_000, &layers);
                sorted.sort_unstable();
                prop_assert_eq!(sorted, [0, 1, 2, 3]);
            }
        }
    }
}
