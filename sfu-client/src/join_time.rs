//! How long a join takes, from nothing to the first decoded picture.

use crate::signal::Target;
use crate::subscribe::{JoinTimings, SubscribeOptions, SubscribeSummary, subscribe};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::sleep;

/// Longest wait for a first picture.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause between two joins, so that they do not measure each other.
const PAUSE: Duration = Duration::from_millis(200);

/// The steps of many joins.
#[derive(Clone, Debug)]
pub struct JoinTimes {
    joins: Vec<JoinTimings>,
}

impl JoinTimes {
    /// How many joins.
    pub fn count(&self) -> usize {
        self.joins.len()
    }

    /// The time that `share` (0 to 1) of all joins did not exceed until their first picture.
    pub fn first_frame(&self, share: f64) -> Duration {
        self.percentile(share, |join| join.first_frame.unwrap_or(Duration::MAX))
    }

    fn percentile(&self, share: f64, step: impl Fn(&JoinTimings) -> Duration) -> Duration {
        let mut times: Vec<Duration> = self.joins.iter().map(step).collect();
        times.sort_unstable();
        let rank = (times.len() as f64 * share).ceil() as usize;
        times.get(rank.clamp(1, times.len().max(1)) - 1).copied().unwrap_or_default()
    }

    /// The steps and their medians.
    fn medians(&self) -> [(&'static str, Duration); 5] {
        let median = |step: fn(&JoinTimings) -> Duration| self.percentile(0.5, step);
        [
            ("offer ready", median(|join| join.offer)),
            ("answer taken", median(|join| join.answer)),
            ("connected", median(|join| join.connected)),
            ("first packet", median(|join| join.first_packet.unwrap_or(Duration::MAX))),
            ("first picture", median(|join| join.first_frame.unwrap_or(Duration::MAX))),
        ]
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let millis = |duration: Duration| duration.as_secs_f64() * 1000.0;
        json!({
            "event": "join-time",
            "joins": self.count(),
            "median_ms": millis(self.first_frame(0.5)),
            "p95_ms": millis(self.first_frame(0.95)),
            "max_ms": millis(self.first_frame(1.0)),
            "medians_ms": self.medians().map(|(step, time)| json!({ "step": step, "ms": millis(time) })),
            "each_ms": self.joins.iter().map(|join| join.first_frame.map(millis)).collect::<Vec<_>>(),
        })
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let millis = |duration: Duration| duration.as_secs_f64() * 1000.0;
        let mut text = format!(
            "{} joins, to the first decoded picture: median {:.1} ms, p95 {:.1} ms, max {:.1} ms\nmedian of each step:\n",
            self.count(),
            millis(self.first_frame(0.5)),
            millis(self.first_frame(0.95)),
            millis(self.first_frame(1.0)),
        );
        for (step, time) in self.medians() {
            text += &format!("  {step:<14}{:>8.1} ms\n", millis(time));
        }
        text
    }
}

/// Joins `joins` times, one after another, a call in which somebody sends video.
///
/// # Errors
/// Where a join fails, or no picture comes within ten seconds.
pub async fn measure(target: &Target, joins: usize, mut progress: impl FnMut(usize, Duration)) -> Result<JoinTimes> {
    ensure!(joins > 0, "at least one join is needed to measure one");
    let mut times = JoinTimes { joins: Vec::with_capacity(joins) };
    for join in 0..joins {
        let summary = join_once(target).await.with_context(|| format!("join {} of {joins} failed", join + 1))?;
        let first = summary.timings.first_frame.context(
            "no picture was decoded: does anybody send H.264 in this call? (`sfu-client publish` does, or give --publish)",
        )?;
        progress(join + 1, first);
        times.joins.push(summary.timings);
        sleep(PAUSE).await;
    }
    Ok(times)
}

async fn join_once(target: &Target) -> Result<SubscribeSummary> {
    let options = SubscribeOptions {
        video_slots: 1,
        audio_slots: 1,
        frames: Some(1),
        interval: JOIN_TIMEOUT,
        ..SubscribeOptions::new(target.clone())
    };
    subscribe(options, sleep(JOIN_TIMEOUT), |_| {}).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_an_even_and_an_odd_number() {
        let join = |millis| JoinTimings { first_frame: Some(Duration::from_millis(millis)), ..Default::default() };
        let times = JoinTimes { joins: [30, 10, 20].map(join).to_vec() };
        assert_eq!(times.first_frame(0.5), Duration::from_millis(20));
        assert_eq!(times.first_frame(1.0), Duration::from_millis(30));
        let times = JoinTimes { joins: [40, 10, 20, 30].map(join).to_vec() };
        assert_eq!(times.first_frame(0.5), Duration::from_millis(20));
    }
}
