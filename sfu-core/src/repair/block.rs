//! How likely a block of packets is lost beyond repair, by the number of parity packets sent with it.

use arrayvec::ArrayVec;
use sfu_rtc::loss::GilbertLoss;

/// Most parity packets of one block.
pub(super) const MAX_PARITY: usize = 24;
/// Sizes of blocks that one plan compares: of a keyframe, and of three classes in windows of one to five frames.
const MAX_SIZES: usize = 16;

/// How parity is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Code {
    /// Any packets of a block are made again from as many others (Reed-Solomon).
    ReedSolomon,
    /// Each parity packet covers every n-th packet and makes one of them again (FlexFEC, ULPFEC).
    Xor,
}

/// The probability that a block is not whole at the receiver, for 0, 1, 2, ... parity packets.
type Failures = ArrayVec<f64, { MAX_PARITY + 1 }>;

/// What parity is worth on one path, by the number of packets in a block. To work it out takes most of the time of a plan, so
/// that it is done once for each number, and only where parity is thought of.
pub(super) struct Worth {
    code: Code,
    loss: GilbertLoss,
    known: ArrayVec<(usize, Failures), MAX_SIZES>,
}

impl Worth {
    pub(super) fn new(code: Code, loss: GilbertLoss) -> Self {
        Self { code, loss, known: ArrayVec::new() }
    }

    /// For a block of `media` packets.
    pub(super) fn of(&mut self, media: usize) -> &Failures {
        let place = self.known.iter().position(|(known, _)| *known == media).unwrap_or_else(|| {
            if self.known.is_full() {
                self.known.remove(0);
            }
            self.known.push((media, failures(self.code, self.loss, media)));
            self.known.len() - 1
        });
        &self.known[place].1
    }
}

/// The probability that one of `media` packets is lost.
pub(super) fn unprotected(loss: GilbertLoss, media: usize) -> f64 {
    let follows = i32::try_from(media.saturating_sub(1)).unwrap_or(i32::MAX);
    1.0 - (1.0 - loss.share) * (1.0 - loss.transitions().0).powi(follows)
}

/// For a block of `media` packets.
fn failures(code: Code, loss: GilbertLoss, media: usize) -> Failures {
    let most = if code == Code::Xor { MAX_PARITY.min(media) } else { MAX_PARITY };
    match code {
        // The usual case.
        _ if loss.share == 0.0 => std::iter::repeat_n(0.0, most + 1).collect(),
        Code::ReedSolomon => by_counting(loss, media),
        Code::Xor => (0..=most).map(|parity| by_groups(loss, media, parity)).collect(),
    }
}

/// More than `parity` of `media + parity` packets are lost. One walk over the block gives the answer for every number of
/// parity packets, since a block with one more is one packet longer.
fn by_counting(loss: GilbertLoss, media: usize) -> Failures {
    let mut walk = Walk::<{ MAX_PARITY + 1 }>::new(loss, loss.transitions());
    for _ in 0..media {
        walk.step();
    }
    let mut failures = ArrayVec::new();
    for parity in 0..=MAX_PARITY {
        failures.push(1.0 - walk.at_most(parity));
        walk.step();
    }
    failures
}

/// Two packets of a group are lost, in any of the groups, taken to be independent.
fn by_groups(loss: GilbertLoss, media: usize, parity: usize) -> f64 {
    if parity == 0 {
        return by_counting(loss, media)[0];
    }
    let whole = |packets: usize| {
        let mut walk = Walk::<2>::new(loss, loss.transitions_over(parity));
        for _ in 0..=packets {
            walk.step();
        }
        walk.at_most(1)
    };
    let (small, larger) = (media / parity, media % parity);
    let groups = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    1.0 - whole(small).powi(groups(parity - larger)) * whole(small + 1).powi(groups(larger))
}

/// How many packets were lost of those so far, as far as fewer than `N`, and whether the last one was.
struct Walk<const N: usize> {
    begins: f64,
    stays: f64,
    /// By number of losses: after a packet that arrived, and after a lost one.
    good: [f64; N],
    bad: [f64; N],
}

impl<const N: usize> Walk<N> {
    fn new(loss: GilbertLoss, (begins, stays): (f64, f64)) -> Self {
        let mut walk = Self { begins, stays, good: [0.0; N], bad: [0.0; N] };
        (walk.good[0], walk.bad[0]) = (1.0 - loss.share, loss.share);
        walk
    }

    fn step(&mut self) {
        for lost in (0..N).rev() {
            let (good, bad) = (self.good[lost], self.bad[lost]);
            self.good[lost] = good * (1.0 - self.begins) + bad * (1.0 - self.stays);
            self.bad[lost] = match lost.checked_sub(1) {
                Some(before) => self.good[before] * self.begins + self.bad[before] * self.stays,
                None => 0.0,
            };
        }
    }

    fn at_most(&self, lost: usize) -> f64 {
        self.good[..=lost].iter().chain(&self.bad[..=lost]).sum::<f64>().min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn loss(share: f64, burst: f64) -> GilbertLoss {
        GilbertLoss { share, burst }
    }

    #[test]
    fn single_losses_are_binomial() {
        let failures = failures(Code::ReedSolomon, loss(0.05, 1.0), 10);
        assert!((failures[0] - (1.0 - 0.95_f64.powi(10))).abs() < 1e-12);
        let one = 1.0 - 0.95_f64.powi(11) - 11.0 * 0.05 * 0.95_f64.powi(10);
        assert!((failures[1] - one).abs() < 1e-12);
    }

    /// Parity for a loss of at most 1 %, in percent of the block, as a simulation of its own found.
    #[test]
    fn bursts_need_two_to_four_times_the_parity() {
        let needed = |burst, media| {
            let failures = failures(Code::ReedSolomon, loss(0.05, burst), media);
            failures.iter().position(|failure| *failure <= 0.01).unwrap()
        };
        assert_eq!([5, 10, 25].map(|media| needed(1.0, media)), [2, 3, 5]);
        let bursty = [5, 10, 25].map(|media| needed(3.0, media));
        assert!(bursty.iter().zip([2, 3, 5]).all(|(bursty, single)| *bursty >= 2 * single), "{bursty:?}");
    }

    #[test]
    fn parity_over_every_nth_packet_serves_against_bursts() {
        let bursty = loss(0.02, 3.0);
        let [xor, rs] = [Code::Xor, Code::ReedSolomon].map(|code| failures(code, bursty, 12));
        assert_eq!(xor[0], rs[0]);
        assert!((xor[1] - rs[1]).abs() < 1e-12, "one group is one code word");
        for parity in 2..=12 {
            assert!(xor[parity] >= rs[parity] - 1e-12, "no code is better than Reed-Solomon: {parity}");
        }
        assert!(xor[12] < xor[1] / 5.0, "{xor:?}");
    }

    proptest! {
        #[test]
        fn more_parity_and_less_loss_never_fail_more(share in 0.0..0.6f64, burst in 1.0..10.0f64, media in 1usize..60) {
            let all = failures(Code::ReedSolomon, loss(share, burst), media);
            prop_assert!(all.iter().all(|failure| (-1e-9..=1.0).contains(failure)));
            prop_assert!(all.is_sorted_by(|a, b| *a >= b - 1e-9), "{:?}", all);
            let less = failures(Code::ReedSolomon, loss(share * 0.8, burst), media);
            prop_assert!(less[0] <= all[0] + 1e-9);
            prop_assert!((unprotected(loss(share, burst), media) - all[0]).abs() < 1e-9);
        }

        #[test]
        fn what_is_known_of_one_size_is_not_taken_for_another(sizes in prop::collection::vec(1usize..48, 1..80)) {
            let loss = loss(0.07, 2.0);
            let mut worth = Worth::new(Code::ReedSolomon, loss);
            for media in sizes {
                prop_assert_eq!(worth.of(media), &failures(Code::ReedSolomon, loss, media));
            }
        }

        #[test]
        fn xor_is_a_probability(share in 0.0..0.9f64, burst in 1.0..20.0f64, media in 1usize..60) {
            for failure in failures(Code::Xor, loss(share, burst), media) {
                prop_assert!((-1e-9..=1.0 + 1e-9).contains(&failure), "{}", failure);
            }
        }
    }
}
