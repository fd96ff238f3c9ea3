//! A one-way network: which packets are lost, and how late the others come.

/// A network.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Channel {
    /// Share of packets that are lost, 0 to 1.
    pub(super) loss: f64,
    /// Packets lost in a row, in the mean; 1: each is lost by itself.
    pub(super) burst: f64,
    /// Packets come up to so much earlier or later than in the mean, in milliseconds, evenly; they may overtake each other.
    pub(super) jitter_ms: f64,
}

/// What a [`Channel`] does to one packet after another.
pub(super) struct Path {
    channel: Channel,
    random: Random,
    losing: bool,
}

impl Path {
    pub(super) fn new(channel: Channel, seed: u64) -> Self {
        Self { channel, random: Random(seed), losing: false }
    }

    /// How long the next packet travels, in milliseconds; `None` where it is lost.
    pub(super) fn send(&mut self) -> Option<f64> {
        let Channel { loss, burst, jitter_ms } = self.channel;
        let (lost, late) = (self.random.next(), self.random.next());
        if burst > 1.0 {
            // Gilbert's chain: from its two chances follow the mean length of a burst and the share that is lost.
            let chance = if self.losing { 1.0 - 1.0 / burst } else { loss / (burst * (1.0 - loss)) };
            self.losing = lost < chance;
        } else {
            self.losing = lost < loss;
        }
        (!self.losing).then_some(2.0 * jitter_ms * late)
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    /// From 0 to less than 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_bursts_and_jitter_are_as_asked_for() {
        for (loss, burst) in [(0.0, 1.0), (0.1, 1.0), (0.2, 1.0), (0.2, 6.0)] {
            let mut path = Path::new(Channel { loss, burst, jitter_ms: 60.0 }, 5);
            let packets: Vec<_> = (0..200_000).map(|_| path.send()).collect();
            let lost = packets.iter().filter(|packet| packet.is_none()).count() as f64;
            let bursts = packets.windows(2).filter(|pair| pair[0].is_some() && pair[1].is_none()).count() as f64;
            assert!((lost / 200_000.0 - loss).abs() < 0.01, "{lost} of {loss}");
            // By itself, a packet is the first of 1 / (1 - loss) lost ones.
            let expected = if burst > 1.0 { burst } else { 1.0 / (1.0 - loss) };
            assert!(bursts == 0.0 || (lost / bursts / expected - 1.0).abs() < 0.05, "{}", lost / bursts);
            let came = packets.iter().flatten();
            let (least, most) =
                came.fold((f64::MAX, 0.0_f64), |(least, most), late| (least.min(*late), most.max(*late)));
            assert!(least < 0.1 && (119.9..=120.0).contains(&most));
        }
    }
}
