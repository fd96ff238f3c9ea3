//! One rate for all who chose a layer. The weakest of them decides, unless it is worth more to the others that it gets
//! the layer below: what a rate is worth to a subscriber is its logarithm, as when its path is shared out.

use super::share::least_rate;
use super::{Choice, Source, Watcher, full_rate};
use sfu_rtc::units::Bitrate;

/// The rate of each layer of a source that somebody chose. `choices` become what each gets: who chose less than the rate
/// is moved to the layer below.
pub(super) fn agree(
    source: &Source,
    watchers: &[Watcher],
    is_usable: &dyn Fn(usize) -> bool,
    choices: &mut [Choice],
) -> Vec<Option<Bitrate>> {
    let mut rates = vec![None; source.layers.len()];
    for layer in (0..source.layers.len()).rev() {
        // Who has no room for it in any case lowers it for nobody else.
        let of_layer = || choices.iter().filter(|choice| choice.layer == layer);
        let all_forced = of_layer().all(|choice| choice.forced);
        let chosen: Vec<(u32, Bitrate)> = of_layer()
            .filter(|choice| all_forced || !choice.forced)
            .map(|choice| (weight(watchers, choice), choice.rate))
            .collect();
        let Some(least) = chosen.iter().map(|(_, rate)| *rate).min() else { continue };
        // A layer below may take more: who has no room for it is not moved there.
        let mut usable =
            (0..layer).rev().filter(|below| is_usable(*below)).map(|below| (below, full_rate(source, below)));
        let below = usable.find(|(_, rate)| *rate <= least);
        let less = below.map(|(_, rate)| rate);
        let Some(rate) = best_rate(&chosen, less, least_rate(full_rate(source, layer))) else { continue };
        rates[layer] = Some(rate);
        for choice in choices.iter_mut().filter(|choice| choice.layer == layer) {
            match below {
                Some((below, less)) if choice.rate < rate => (choice.layer, choice.rate) = (below, less),
                // It gets nothing.
                None if choice.rate < rate => {}
                _ => choice.rate = rate,
            }
        }
    }
    rates
}

fn weight(watchers: &[Watcher], choice: &Choice) -> u32 {
    let place = watchers.binary_search_by_key(&choice.subscriber, |watcher| watcher.subscriber);
    place.map_or(1, |place| watchers[place].weight)
}

/// What it is worth to get nothing of a source: so little that one without layers is lowered to a quarter for a slow path
/// where up to four others see it, and to a half where up to nine do.
const NOTHING: Bitrate = Bitrate::from_kbps(1);

/// Of the rates that were chosen for a layer, with the weights of those who chose them, the one that is worth most to them
/// all where those who chose less get `below`. Without a layer below they get nothing; but down to `usual` everybody gets
/// the lowest rate then.
fn best_rate(chosen: &[(u32, Bitrate)], below: Option<Bitrate>, usual: Bitrate) -> Option<Bitrate> {
    let least = chosen.iter().map(|(_, rate)| *rate).min()?;
    if below.is_none() && least >= usual {
        return Some(least);
    }
    let below = below.unwrap_or(NOTHING);
    let ln = |rate: Bitrate| (rate.as_bps().max(1) as f64).ln();
    let worth = |rate: Bitrate| {
        let gets = |chose: Bitrate| if chose < rate { below } else { rate };
        chosen.iter().map(|(weight, chose)| f64::from(*weight) * ln(gets(*chose))).sum::<f64>()
    };
    let mut candidates: Vec<Bitrate> = chosen.iter().map(|(_, rate)| *rate).collect();
    candidates.sort_unstable();
    candidates.dedup();
    // Of equals the lowest, which costs the uplink least.
    candidates.into_iter().reduce(|best, rate| if worth(rate) > worth(best) { rate } else { best })
}
