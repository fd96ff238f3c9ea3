//! Which packets of a received stream are missing, and when to ask for them (RFC 4585 section 6.2.1).

use crate::ids::SeqNo;
use crate::time::{Duration, Instant};

/// Most packets of a stream that are asked for at once. A longer gap is an interruption, not loss.
pub const MAX_MISSING: usize = 512;

/// A sender that sent parity is expected to send more for so long.
const PARITY_LAPSE: Duration = Duration::from_secs(1);

/// Limits of a [`NackGenerator`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NackConfig {
    /// How long a gap may be mere reordering before it is asked for.
    pub reorder_tolerance: Duration,
    /// Where the sender adds parity, how long a gap may wait for it: two frames at 30 per second, and the way. The last parity
    /// of a block ends the wait.
    pub parity_wait: Duration,
    /// A packet is asked for so often; at a loss of 30 % ten losses in a row are one in 170,000.
    pub max_retries: u8,
    /// A packet is given up after so long: by then the receivers have frozen and asked for a keyframe.
    pub max_age: Duration,
    /// Most packets missing at once; of a longer gap no repair is asked for.
    pub max_missing: usize,
    /// Shortest time between two requests for one packet, however short the round trip.
    pub min_interval: Duration,
}

impl Default for NackConfig {
    fn default() -> Self {
        Self {
            reorder_tolerance: Duration::from_millis(10),
            parity_wait: Duration::from_millis(80),
            max_retries: 10,
            max_age: Duration::from_millis(1_500),
            max_missing: MAX_MISSING,
            min_interval: Duration::from_millis(20),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    seq: SeqNo,
    /// When the gap showed.
    since: Instant,
    /// When it is asked for next.
    due: Instant,
    retries: u8,
}

/// Watches one stream's sequence numbers.
#[derive(Debug)]
pub struct NackGenerator {
    config: NackConfig,
    highest: Option<SeqNo>,
    /// In ascending order.
    missing: Vec<Missing>,
    /// Nothing is due before; [`Instant::NEVER`] where nothing is missing.
    next_due: Instant,
    /// Until then parity is expected.
    parity_until: Instant,
}

/// What a packet did to its stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// It follows the packets before it.
    InOrder,
    /// It showed that so many packets before it are missing; they will be asked for.
    Gap(usize),
    /// It filled a gap.
    Recovered,
    /// It lies further ahead than loss explains: a new beginning, and what is missing is given up.
    Jump,
    /// Neither ahead nor missing: a duplicate, or given up before.
    Old,
}

impl NackGenerator {
    /// Nothing received, nothing missing.
    pub fn new(config: NackConfig) -> Self {
        Self { config, highest: None, missing: Vec::new(), next_due: Instant::NEVER, parity_until: Instant::ZERO }
    }

    /// Records the arrival of `seq`, sent for the first time or again.
    pub fn on_packet(&mut self, now: Instant, seq: SeqNo) -> Arrival {
        let Some(highest) = self.highest else {
            self.highest = Some(seq);
            return Arrival::InOrder;
        };
        if seq <= highest {
            return self.on_late(seq);
        }
        self.highest = Some(seq);
        let gap = usize::try_from(seq.0 - highest.0 - 1).unwrap_or(usize::MAX);
        if gap == 0 {
            return Arrival::InOrder;
        }
        if gap.saturating_add(self.missing.len()) > self.config.max_missing {
            self.missing.clear();
            self.next_due = Instant::NEVER;
            return Arrival::Jump;
        }
        let NackConfig { reorder_tolerance, parity_wait, .. } = self.config;
        let due = now + if now < self.parity_until { parity_wait } else { reorder_tolerance };
        self.missing.extend((highest.0 + 1..seq.0).map(|n| Missing { seq: SeqNo(n), since: now, due, retries: 0 }));
        self.next_due = self.next_due.min(due);
        Arrival::Gap(gap)
    }

    /// Parity came, and what it gave has been told as arrived. If it `completes` its block, what is still missing does not
    /// come back by it, and is due.
    pub fn on_parity(&mut self, now: Instant, completes: bool) {
        self.parity_until = now + PARITY_LAPSE;
        if completes && !self.missing.is_empty() {
            self.missing.iter_mut().filter(|missing| missing.retries == 0).for_each(|missing| missing.due = now);
            self.next_due = self.missing.iter().map(|m| m.due).min().unwrap_or(Instant::NEVER);
        }
    }

    /// Appends to `out`, in ascending order, what is to be asked for now; counts it as asked for.
    pub fn take_due(&mut self, now: Instant, rtt: Duration, out: &mut Vec<u16>) {
        if now < self.next_due {
            return;
        }
        let (max_age, max_retries) = (self.config.max_age, self.config.max_retries);
        self.missing.retain(|m| m.retries < max_retries && now - m.since < max_age);
        // A fifth over the round trip, so that an answer on its way is not asked for again. What was lost twice is rare and
        // has little time left: of the answers to more requests than one, one may get through.
        let interval = rtt + rtt / 5;
        for missing in self.missing.iter_mut().filter(|m| m.due <= now) {
            out.push(missing.seq.wire());
            missing.retries += 1;
            let wait = if missing.retries > 1 { interval / 2 } else { interval };
            missing.due = now + wait.max(self.config.min_interval);
        }
        self.next_due = self.missing.iter().map(|m| m.due).min().unwrap_or(Instant::NEVER);
    }

    /// When [`NackGenerator::take_due`] will have something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        (self.next_due != Instant::NEVER).then_some(self.next_due)
    }

    /// Highest sequence number received.
    pub fn highest(&self) -> Option<SeqNo> {
        self.highest
    }

    /// How many packets are missing and still wanted.
    pub fn missing(&self) -> usize {
        self.missing.len()
    }

    fn on_late(&mut self, seq: SeqNo) -> Arrival {
        let Ok(at) = self.missing.binary_search_by_key(&seq, |m| m.seq) else { return Arrival::Old };
        self.missing.remove(at);
        if self.missing.is_empty() {
            self.next_due = Instant::NEVER;
        }
        Arrival::Recovered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RTT: Duration = Duration::from_millis(50);

    fn ms(n: u64) -> Instant {
        Instant::from_millis(n)
    }

    fn due(nack: &mut NackGenerator, at: u64) -> Vec<u16> {
        let mut out = Vec::new();
        nack.take_due(ms(at), RTT, &mut out);
        out
    }

    fn generator() -> NackGenerator {
        NackGenerator::new(NackConfig::default())
    }

    #[test]
    fn a_gap_is_asked_for_after_the_tolerance_and_again_after_the_round_trip() {
        let mut nack = generator();
        nack.on_packet(ms(0), SeqNo(65_534));
        assert_eq!(nack.on_packet(ms(1), SeqNo(65_538)), Arrival::Gap(3));
        assert_eq!(nack.poll_timeout(), Some(ms(11)));
        assert!(due(&mut nack, 5).is_empty());
        assert_eq!(due(&mut nack, 11), [65_535, 0, 1]);
        assert!(due(&mut nack, 60).is_empty());
        assert_eq!(nack.on_packet(ms(61), SeqNo(65_536)), Arrival::Recovered);
        assert_eq!(due(&mut nack, 71), [65_535, 1]);
    }

    #[test]
    fn what_was_lost_again_is_asked_for_twice_per_round_trip() {
        let mut nack = generator();
        nack.on_packet(ms(0), SeqNo(1));
        nack.on_packet(ms(0), SeqNo(3));
        let asked: Vec<u64> = (0..200).filter(|&at| !due(&mut nack, at).is_empty()).collect();
        assert_eq!(asked, [10, 70, 100, 130, 160, 190]);
    }

    #[test]
    fn reordering_within_the_tolerance_asks_for_nothing() {
        let mut nack = generator();
        for (at, seq) in [(0, 1), (1, 3), (2, 2), (3, 5), (4, 4)] {
            nack.on_packet(ms(at), SeqNo(seq));
        }
        assert!(due(&mut nack, 100).is_empty());
        assert_eq!((nack.poll_timeout(), nack.missing()), (None, 0));
    }

    #[test]
    fn a_gap_waits_for_parity_and_no_longer_than_that() {
        let mut nack = generator();
        nack.on_packet(ms(0), SeqNo(1));
        nack.on_parity(ms(0), true);
        nack.on_packet(ms(10), SeqNo(4));
        assert!(due(&mut nack, 30).is_empty());
        nack.on_packet(ms(30), SeqNo(2));
        nack.on_parity(ms(30), false);
        assert!(due(&mut nack, 30).is_empty());
        nack.on_parity(ms(31), true);
        assert_eq!(due(&mut nack, 31), [3], "the block is over");
        nack.on_packet(ms(40), SeqNo(6));
        assert_eq!((due(&mut nack, 60), due(&mut nack, 120)), (vec![], vec![3, 5]), "parity that was lost ends it too");
        nack.on_packet(ms(2_000), SeqNo(8));
        assert_eq!(due(&mut nack, 2_010), [7], "no parity comes any more");
    }

    #[test]
    fn a_packet_that_never_comes_is_given_up() {
        let mut nack = generator();
        nack.on_packet(ms(0), SeqNo(1));
        nack.on_packet(ms(0), SeqNo(3));
        let asked: usize = (0..5_000).map(|at| due(&mut nack, at).len()).sum();
        assert_eq!((asked, nack.missing(), nack.poll_timeout()), (10, 0, None));
        assert_eq!(nack.on_packet(ms(5_000), SeqNo(2)), Arrival::Old);
    }

    #[test]
    fn a_jump_is_no_loss_to_repair() {
        let mut nack = generator();
        nack.on_packet(ms(0), SeqNo(1));
        assert_eq!(nack.on_packet(ms(1), SeqNo(20_000)), Arrival::Jump);
        assert!(due(&mut nack, 100).is_empty());
        assert_eq!(nack.on_packet(ms(2), SeqNo(20_002)), Arrival::Gap(1));
    }

    proptest! {
        #[test]
        fn never_asks_for_what_arrived_and_stays_bounded(
            steps in prop::collection::vec((0u64..2_000, 0u64..30), 1..400),
        ) {
            let mut nack = NackGenerator::new(NackConfig { max_missing: 64, ..NackConfig::default() });
            let mut arrived = std::collections::HashSet::new();
            let mut at = 0;
            for (seq, wait) in steps {
                at += wait;
                nack.on_packet(ms(at), SeqNo(seq));
                arrived.insert(seq as u16);
                let asked = due(&mut nack, at);
                prop_assert!(asked.iter().all(|seq| !arrived.contains(seq)));
                prop_assert!(asked.is_sorted());
                prop_assert!(nack.missing() <= 64);
            }
        }
    }
}
