//! The search for the largest load within bounds: doubling, then bisection.

/// Where a search stands.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Search {
    start: usize,
    most: usize,
    /// How well the answer is to be known, as a share of it.
    precision: f64,
    /// Largest number that was within the bounds; 0 where none was.
    good: usize,
    /// Smallest number that was not.
    bad: Option<usize>,
}

impl Search {
    /// Nothing is known; `start` is tried first, and nothing above `most`.
    pub(super) fn new(start: usize, most: usize, precision: f64) -> Self {
        let most = most.max(1);
        Self { start: start.clamp(1, most), most, precision, good: 0, bad: None }
    }

    /// Largest number known to be within the bounds.
    pub(super) fn good(&self) -> usize {
        self.good
    }

    /// What to try next; `None` when the answer is known well enough.
    pub(super) fn next(&self) -> Option<usize> {
        match (self.good, self.bad) {
            (0, None) => Some(self.start),
            (good, None) => (good < self.most).then(|| (good * 2).min(self.most)),
            (good, Some(bad)) => {
                let enough = ((good as f64 * self.precision) as usize).max(1);
                (bad - good > enough).then(|| good.midpoint(bad))
            }
        }
    }

    /// `number` was within the bounds, or not.
    pub(super) fn record(&mut self, number: usize, within: bool) {
        if within {
            self.good = self.good.max(number);
        } else {
            self.bad = Some(self.bad.map_or(number, |bad| bad.min(number)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(start: usize, most: usize, limit: usize) -> (usize, usize) {
        let mut search = Search::new(start, most, 0.02);
        let mut steps = 0;
        while let Some(number) = search.next() {
            assert!((1..=most).contains(&number));
            search.record(number, number <= limit);
            steps += 1;
        }
        (search.good(), steps)
    }

    #[test]
    fn the_limit_is_found_from_below_and_from_above() {
        for (start, limit) in [(100, 2_450), (1, 7), (5_000, 130), (10, 10), (64, 1)] {
            let (found, steps) = search(start, 20_000, limit);
            assert!(found <= limit && limit - found <= limit / 50 + 1, "{start} {limit}: {found}");
            assert!(steps < 20, "{steps}");
        }
    }

    #[test]
    fn there_may_be_no_limit_or_nothing_within_it() {
        assert_eq!(search(100, 1_000, usize::MAX).0, 1_000);
        assert_eq!(search(100, 1_000, 0).0, 0);
    }
}
