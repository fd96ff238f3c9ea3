//! A hasher for the tables on the packet's path: fast, seeded by the caller, the same in every run.
//!
//! The standard library's takes its keys from the operating system, which a sans-IO crate may not, and costs several
//! times more per look-up. Keys here are addresses that ICE has validated and names that we chose ourselves, so the
//! secret seed is enough against collisions made on purpose.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

/// A map with this hasher.
pub(crate) type SeededMap<K, V> = HashMap<K, V, SeededState>;

/// Odd constant with well spread bits: the fraction of the golden ratio.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Makes hashers from a seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SeededState(pub(crate) u64);

impl BuildHasher for SeededState {
    type Hasher = FoldHasher;

    fn build_hasher(&self) -> FoldHasher {
        FoldHasher { state: self.0 ^ MULTIPLIER, seed: self.0 | 1 }
    }
}

/// Multiplies to 128 bits and folds the halves, eight bytes at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FoldHasher {
    state: u64,
    seed: u64,
}

impl FoldHasher {
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(MULTIPLIER ^ self.seed);
        self.state = (product as u64) ^ ((product >> 64) as u64);
    }
}

impl Hasher for FoldHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
        self.mix(bytes.len() as u64);
    }

    fn write_u8(&mut self, n: u8) {
        self.mix(u64::from(n));
    }

    fn write_u16(&mut self, n: u16) {
        self.mix(u64::from(n));
    }

    fn write_u32(&mut self, n: u32) {
        self.mix(u64::from(n));
    }

    fn write_u64(&mut self, n: u64) {
        self.mix(n);
    }

    fn write_usize(&mut self, n: usize) {
        self.mix(n as u64);
    }

    fn finish(&self) -> u64 {
        self.state ^ (self.state >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::net::SocketAddr;

    #[test]
    fn near_addresses_spread_and_seeds_differ() {
        let addresses = (0..10_000_u16).map(|port| SocketAddr::from(([10, 0, 0, 1], port)));
        let state = SeededState(7);
        let low_bits: HashSet<_> = addresses.clone().map(|a| state.hash_one(a) & 0xffff).collect();
        assert!(low_bits.len() > 9_000, "{} of 65,536 buckets", low_bits.len());
        let moved = addresses.filter(|a| state.hash_one(a) != SeededState(8).hash_one(a)).count();
        assert_eq!(moved, 10_000);
    }
}
