//! The planner beside parity of a fixed share: what it takes for the same picture, and what it shows for the same bytes.

use super::Repair;
use super::metrics::Metric;
use super::results::{Outcome, short};
use std::fmt;

/// What the planner is compared with.
const BASELINE: Repair = Repair::Livekit25;
/// Where it freezes no more, its repair is to take at most so many percent of the baseline's bytes.
const MAX_REPAIR: f64 = 60.0;
/// Where its repair takes no more bytes, it is to freeze at most so many percent of the baseline's time.
const MAX_FREEZE: f64 = 50.0;

/// One scenario with one estimator.
#[derive(Debug)]
pub(super) struct Comparison<'a> {
    estimator: &'a str,
    baseline: Cost,
    planned: Vec<(&'a str, Cost)>,
}

/// Means over seeds.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Cost {
    /// Time frozen, in percent.
    frozen: f64,
    /// Bytes of repair per hundred bytes of media.
    repair: f64,
}

impl Cost {
    fn of(outcome: &Outcome) -> Self {
        let found = outcome.summaries();
        let mean = |metric| found.get(&metric).map_or(0.0, |summary| summary.mean);
        let repair = mean(Metric::RtxShare) + mean(Metric::FecShare);
        let media = 100.0 - repair - mean(Metric::ControlShare);
        Self { frozen: mean(Metric::FreezeShare), repair: 100.0 * repair / media.max(1e-9) }
    }
}

impl<'a> Comparison<'a> {
    /// One for each estimator of a scenario that was played with both.
    pub(super) fn of(outcomes: &'a [Outcome]) -> Vec<Self> {
        let baselines = outcomes.iter().filter(|outcome| outcome.repair == BASELINE);
        let beside = |baseline: &'a Outcome| Self {
            estimator: baseline.estimator,
            baseline: Cost::of(baseline),
            planned: outcomes
                .iter()
                .filter(|outcome| outcome.repair.plans() && outcome.estimator == baseline.estimator)
                .map(|outcome| (outcome.column.as_str(), Cost::of(outcome)))
                .collect(),
        };
        baselines.map(beside).filter(|comparison| !comparison.planned.is_empty()).collect()
    }

    /// Of the plans that are no worse by `bound`, the one that is best by `value`, which in percent of the baseline's.
    fn best(&self, bound: fn(&Cost) -> f64, value: fn(&Cost) -> f64) -> Option<(&'a str, f64)> {
        let no_worse = self.planned.iter().filter(|(_, cost)| bound(cost) <= bound(&self.baseline));
        let best = no_worse.min_by(|a, b| value(&a.1).total_cmp(&value(&b.1)))?;
        let (plan, base) = (value(&best.1), value(&self.baseline));
        Some((best.0, if plan == 0.0 { 0.0 } else { 100.0 * plan / base }))
    }
}

impl fmt::Display for Comparison<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cost { frozen, repair } = self.baseline;
        let baseline = BASELINE.name();
        writeln!(f, "  {}: {baseline} freezes {} % with {} % of repair", self.estimator, short(frozen), short(repair))?;
        for (name, cost) in &self.planned {
            writeln!(f, "    {name} {} % with {} %", short(cost.frozen), short(cost.repair))?;
        }
        let mut line = |what: &str, best: Option<(&str, f64)>, most: f64| match best {
            Some((name, percent)) => {
                let mark = if percent <= most { "+" } else { "!" };
                writeln!(f, "    {what} {} % of it (<= {most}) {mark} {name}", short(percent))
            }
            None => writeln!(f, "    {what} none !"),
        };
        line("at no more freeze, repair:", self.best(|cost| cost.frozen, |cost| cost.repair), MAX_REPAIR)?;
        line("at no more repair, freeze:", self.best(|cost| cost.repair, |cost| cost.frozen), MAX_FREEZE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_count_where_they_are_no_worse_in_the_other_respect() {
        let cost = |frozen, repair| Cost { frozen, repair };
        let comparison = Comparison {
            estimator: "fixed",
            baseline: cost(1.0, 40.0),
            planned: vec![("rich", cost(0.1, 50.0)), ("middle", cost(0.4, 30.0)), ("poor", cost(0.8, 10.0))],
        };
        assert_eq!(comparison.best(|cost| cost.frozen, |cost| cost.repair), Some(("poor", 25.0)));
        assert_eq!(comparison.best(|cost| cost.repair, |cost| cost.frozen), Some(("middle", 40.0)));
        let text = comparison.to_string();
        assert!(text.contains("repair: 25.0 % of it (<= 60) + poor"), "{text}");
        let worse = Comparison { planned: vec![("worse", cost(2.0, 50.0))], ..comparison };
        assert_eq!(worse.best(|cost| cost.frozen, |cost| cost.repair), None);
        let whole = Comparison { baseline: cost(0.0, 40.0), planned: vec![("whole", cost(0.0, 10.0))], ..worse };
        assert_eq!(whole.best(|cost| cost.repair, |cost| cost.frozen), Some(("whole", 0.0)));
    }
}
