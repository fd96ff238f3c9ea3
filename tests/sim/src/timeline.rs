//! What held when: assignments, mutes, disturbances.

use sfu_rtc::time::{Duration, Instant};

/// A value over time.
#[derive(Clone, Debug)]
pub struct Timeline<T> {
    /// Beginning of each value, in order.
    changes: Vec<(Instant, T)>,
}

impl<T: PartialEq + Copy> Timeline<T> {
    /// `value` from `at` on.
    pub fn new(at: Instant, value: T) -> Self {
        Self { changes: vec![(at, value)] }
    }

    /// `value` from `at` on.
    pub fn set(&mut self, at: Instant, value: T) {
        if self.last() != value {
            self.changes.push((at, value));
        }
    }

    /// The value now.
    pub fn last(&self) -> T {
        self.changes[self.changes.len() - 1].1
    }

    /// Whether `value` held at any moment from `from` to `to`, both included.
    pub fn held_within(&self, from: Instant, to: Instant, value: T) -> bool {
        self.spans(to + Duration::from_nanos(1)).any(|(start, end, held)| held == value && start <= to && end >= from)
    }

    /// Every value with its beginning and end; the last ends at `end`.
    pub fn spans(&self, end: Instant) -> impl Iterator<Item = (Instant, Instant, T)> + '_ {
        self.changes.iter().enumerate().map(move |(index, (start, value))| {
            let until = self.changes.get(index + 1).map_or(end, |(next, _)| *next);
            (*start, until.max(*start), *value)
        })
    }
}

/// The parts of `span` outside of `cuts`.
pub fn without(span: (Instant, Instant), cuts: &[(Instant, Instant)]) -> Vec<(Instant, Instant)> {
    let mut parts = vec![span];
    for (from, to) in cuts {
        parts = parts
            .into_iter()
            .flat_map(|(start, end)| [(start, end.min(*from)), (start.max(*to), end)])
            .filter(|(start, end)| start < end)
            .collect();
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Instant {
        Instant::from_millis(n)
    }

    #[test]
    fn values_hold_until_the_next() {
        let mut line = Timeline::new(ms(0), None);
        line.set(ms(10), Some(1));
        line.set(ms(20), Some(2));
        assert!(line.held_within(ms(5), ms(10), Some(1)));
        assert!(line.held_within(ms(15), ms(40), Some(1)));
        assert!(!line.held_within(ms(21), ms(40), Some(1)));
        assert!(!line.held_within(ms(0), ms(19), Some(2)));
    }

    #[test]
    fn cuts_leave_the_rest() {
        let cuts = [(ms(10), ms(20)), (ms(15), ms(30)), (ms(90), ms(200))];
        assert_eq!(without((ms(0), ms(100)), &cuts), [(ms(0), ms(10)), (ms(30), ms(90))]);
        assert!(without((ms(10), ms(20)), &cuts).is_empty());
    }
}
