//! What runs come to: means over seeds, beside their targets, as a table and as JSON.

use super::catalogue::Scenario;
use super::comparison::Comparison;
use super::metrics::{Bound, Metric, Metrics, Target};
use super::record::{FlowRecord, FlowSample, KINDS, QUEUE_SAMPLE, Record, SAMPLE};
use super::{Conditions, Repair};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// All that was run.
#[derive(Clone, Debug)]
pub struct Results {
    /// What all runs had in common.
    pub conditions: Conditions,
    /// Scenario by scenario, and of each estimator by estimator.
    pub outcomes: Vec<Outcome>,
}

/// One scenario with one estimator.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which.
    pub scenario: Scenario,
    /// Which.
    pub estimator: &'static str,
    /// How losses were repaired.
    pub repair: Repair,
    /// What tells it from the others of its scenario: its estimator, its way of repair, or both.
    pub column: String,
    /// One for each seed.
    pub metrics: Vec<Metrics>,
    /// Of the first seed.
    pub record: Record,
}

/// A metric over seeds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Summary {
    /// Mean.
    pub mean: f64,
    /// Least.
    pub min: f64,
    /// Most.
    pub max: f64,
}

impl Outcome {
    pub(super) fn new(scenario: Scenario, estimator: &'static str, repair: Repair, column: String) -> Self {
        Self { scenario, estimator, repair, column, metrics: Vec::new(), record: Record::default() }
    }

    pub(super) fn add(&mut self, record: Record, metrics: Metrics) {
        if self.metrics.is_empty() {
            self.record = record;
        }
        self.metrics.push(metrics);
    }

    /// Each metric over the seeds that have it.
    pub fn summaries(&self) -> BTreeMap<Metric, Summary> {
        let mut values: BTreeMap<Metric, Vec<f64>> = BTreeMap::new();
        for (metric, value) in self.metrics.iter().flatten() {
            values.entry(*metric).or_default().push(*value);
        }
        let summary = |values: &[f64]| Summary {
            mean: values.iter().sum::<f64>() / values.len() as f64,
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        };
        values.iter().map(|(metric, values)| (*metric, summary(values))).collect()
    }

    /// The target of a metric, if it has one.
    pub fn target(&self, metric: Metric) -> Option<Target> {
        self.scenario.targets.iter().copied().find(|target| target.metric == metric)
    }
}

impl Results {
    /// The outcomes of each scenario.
    pub fn by_scenario(&self) -> impl Iterator<Item = &[Outcome]> {
        self.outcomes.chunk_by(|one, next| one.scenario.name == next.scenario.name)
    }

    /// As JSON.
    pub fn to_json(&self) -> Value {
        let outcome = |outcome: &Outcome| {
            let metrics: Map<String, Value> = outcome
                .summaries()
                .into_iter()
                .map(|(metric, summary)| {
                    let target = outcome.target(metric);
                    let entry = json!({
                        "unit": metric.label().1,
                        "mean": summary.mean,
                        "min": summary.min,
                        "max": summary.max,
                        "target": target.map(|target| target.to_string()),
                        "met": target.map(|target| target.is_met(summary.mean)),
                    });
                    (format!("{metric:?}"), entry)
                })
                .collect();
            json!({
                "number": outcome.scenario.number,
                "scenario": outcome.scenario.name,
                "estimator": outcome.estimator,
                "repair": outcome.repair.name(),
                "metrics": metrics,
                "first_seed": series(&outcome.record),
            })
        };
        let Conditions { video, playout_delay, seeds } = self.conditions;
        json!({
            "seeds": seeds,
            "video": format!("{video:?}").to_lowercase(),
            "playout_delay": playout_delay.map(|delay| delay.as_secs_f64()),
            "outcomes": self.outcomes.iter().map(outcome).collect::<Vec<_>>(),
        })
    }
}

/// What happened over time, sample by sample; all rates in bits per second, the longest queue in each in seconds.
fn series(record: &Record) -> Value {
    let flow = |flow: &FlowRecord| {
        let over_time = |value: fn(&FlowSample) -> Value| flow.samples.iter().map(value).collect::<Value>();
        let freezes = flow.freezes.iter().map(|(from, length)| json!([from.as_secs_f64(), length.as_secs_f64()]));
        json!({
            "sent": over_time(|sample| sample.sent.into()),
            "received": over_time(|sample| sample.received.into()),
            "estimate": over_time(|sample| sample.estimate.into()),
            "encoder": over_time(|sample| sample.encoder.into()),
            "layer": over_time(|sample| sample.layer.into()),
            "freezes": freezes.collect::<Value>(),
            "sent_bytes": KINDS.map(|kind| (format!("{kind:?}"), flow.sent[kind as usize])).into_iter().collect::<BTreeMap<_, _>>(),
        })
    };
    let per_sample = (SAMPLE.as_nanos() / QUEUE_SAMPLE.as_nanos()) as usize;
    let queue = record.queue.chunks(per_sample).map(|queue| queue.iter().max().map(Duration::as_secs_f64));
    json!({
        "interval": SAMPLE.as_secs_f64(),
        "capacity": record.capacity,
        "queue": queue.collect::<Vec<_>>(),
        "flows": record.flows.iter().map(flow).collect::<Vec<_>>(),
    })
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bound {
            Bound::AtLeast(least) => write!(f, ">= {least}"),
            Bound::AtMost(most) => write!(f, "<= {most}"),
        }
    }
}

/// A value with as many digits as matter.
pub fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 || v == 0.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAME: usize = 28;
        let longest = self.outcomes.iter().map(|outcome| outcome.column.len()).max().unwrap_or(0);
        let column = (longest + 2).max(14);
        let seeds = self.conditions.seeds;
        let seeds = if seeds == 1 { "one seed".to_owned() } else { format!("mean of {seeds} seeds") };
        let delay = self.conditions.playout_delay.map(|delay| format!("; playout delay {} ms", delay.as_millis()));
        writeln!(f, "{seeds}{}; + target met, ! missed", delay.unwrap_or_default())?;
        let (mut met, mut all) = (BTreeMap::new(), 0);
        for outcomes in self.by_scenario() {
            let scenario = &outcomes[0].scenario;
            all += scenario.targets.len();
            writeln!(f, "\n{} {}: {}", scenario.number, scenario.name, scenario.about)?;
            write!(f, "  {:NAME$}{:>column$}", "", "target")?;
            outcomes.iter().try_for_each(|outcome| write!(f, "{:>column$}", outcome.column))?;
            writeln!(f)?;
            let summaries: Vec<_> = outcomes.iter().map(Outcome::summaries).collect();
            let mut metrics: Vec<Metric> = summaries.iter().flat_map(|found| found.keys().copied()).collect();
            metrics.sort_unstable();
            metrics.dedup();
            for metric in metrics {
                let (name, unit) = metric.label();
                let target = outcomes[0].target(metric);
                let bound = target.map(|target| target.to_string()).unwrap_or_default();
                write!(f, "  {:NAME$}{bound:>column$}", format!("{name} {unit}"))?;
                for (outcome, summaries) in outcomes.iter().zip(&summaries) {
                    let value = summaries.get(&metric).map(|summary| summary.mean);
                    let mark = match value.zip(target).map(|(value, target)| target.is_met(value)) {
                        Some(true) => "+",
                        Some(false) => "!",
                        None => " ",
                    };
                    *met.entry(&outcome.column).or_insert(0) += usize::from(mark == "+");
                    write!(f, "{:>width$} {mark}", value.map_or("-".to_owned(), short), width = column - 2)?;
                }
                writeln!(f)?;
            }
            Comparison::of(outcomes).iter().try_for_each(|comparison| write!(f, "{comparison}"))?;
        }
        writeln!(f)?;
        met.iter().try_for_each(|(column, met)| writeln!(f, "{column}: {met} of {all} targets met"))
    }
}
