//! What the subscriber wants, capped by the estimate: every slot its lowest layer first, then one layer more for each
//! in turn as long as the estimate allows.

use super::{BitrateAllocator, SlotDemand};
use sfu_rtc::units::Bitrate;

/// Gives every slot what it wants, layer by layer in the order of the slots.
#[derive(Clone, Copy, Default, Debug)]
pub struct WantedAllocator;

impl BitrateAllocator for WantedAllocator {
    fn allocate(&mut self, estimate: Option<Bitrate>, demands: &[SlotDemand], granted: &mut Vec<usize>) {
        granted.clear();
        let Some(estimate) = estimate else {
            granted.extend(demands.iter().map(|demand| demand.layers.len()));
            return;
        };
        granted.resize(demands.len(), 0);
        let mut left = estimate;
        for (demand, granted) in demands.iter().zip(granted.iter_mut()).filter(|(demand, _)| demand.urgent) {
            if let Some(&first) = demand.layers.first() {
                left = left.saturating_sub(first);
                *granted = 1;
            }
        }
        let most = demands.iter().map(|demand| demand.layers.len()).max().unwrap_or(0);
        for round in 0..most {
            for (demand, granted) in demands.iter().zip(granted.iter_mut()).filter(|(_, granted)| **granted == round) {
                let Some(&wanted) = demand.layers.get(round) else { continue };
                let held = round.checked_sub(1).map_or(Bitrate::ZERO, |below| demand.layers[below]);
                let more = wanted.saturating_sub(held);
                if more <= left {
                    left = left.saturating_sub(more);
                    *granted = round + 1;
                }
            }
        }
        keep_one(demands, granted);
    }
}

/// Where not even one layer fits, the first slot gets it all the same: a path that carries nothing is not measured, and
/// its estimate would never recover.
fn keep_one(demands: &[SlotDemand], granted: &mut [usize]) {
    if granted.iter().all(|granted| *granted == 0)
        && let Some(first) = demands.iter().position(|demand| !demand.layers.is_empty())
    {
        granted[first] = 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn video(layers: &[u64]) -> SlotDemand {
        SlotDemand { layers: layers.iter().map(|&kbps| Bitrate::from_kbps(kbps)).collect(), urgent: false }
    }

    fn allocate(estimate: Option<u64>, demands: &[SlotDemand]) -> Vec<usize> {
        let mut granted = vec![9; 3];
        WantedAllocator.allocate(estimate.map(Bitrate::from_kbps), demands, &mut granted);
        granted
    }

    #[test]
    fn layers_are_granted_in_rounds() {
        let audio = SlotDemand { urgent: true, ..video(&[32]) };
        let demands = [video(&[100, 300, 900]), video(&[100, 300, 900]), audio];
        assert_eq!(allocate(None, &demands), [3, 3, 1]);
        assert_eq!(allocate(Some(10_000), &demands), [3, 3, 1]);
        assert_eq!(allocate(Some(1_300), &demands), [3, 2, 1]);
        assert_eq!(allocate(Some(440), &demands), [2, 1, 1]);
        assert_eq!(allocate(Some(200), &demands), [1, 0, 1]);
        assert_eq!(allocate(Some(10), &demands), [0, 0, 1], "audio always goes");
        assert_eq!(allocate(Some(10), &demands[..2]), [1, 0], "something has to be sent");
    }

    proptest! {
        #[test]
        fn never_more_than_the_estimate(
            estimate in 0_u64..5_000,
            rates in prop::collection::vec(prop::collection::vec(1_u64..2_000, 0..4), 0..12),
        ) {
            let demands: Vec<_> = rates.iter().map(|layers| {
                let mut layers = layers.clone();
                layers.sort_unstable();
                video(&layers)
            }).collect();
            let granted = allocate(Some(estimate), &demands);
            prop_assert_eq!(granted.len(), demands.len());
            let spent: u64 = demands.iter().zip(&granted)
                .map(|(demand, &n)| n.checked_sub(1).map_or(0, |top| demand.layers[top].as_kbps()))
                .sum();
            let only_one = granted.iter().sum::<usize>() == 1;
            prop_assert!(spent <= estimate || only_one);
        }
    }
}
