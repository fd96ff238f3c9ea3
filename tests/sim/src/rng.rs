//! What scenarios are drawn with.

use netsim::Random;

/// A seeded generator.
#[derive(Clone, Debug)]
pub struct Rng(Random);

impl Rng {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(Random::new(seed))
    }

    /// An independent generator.
    pub fn fork(&mut self) -> Self {
        Self::new(self.bits())
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0.bits()
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.0.below(high - low + 1)
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.0.chance(probability)
    }

    /// One of `items`.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.0.below(items.len() as u64) as usize)
    }
}
