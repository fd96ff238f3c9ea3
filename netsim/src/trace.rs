//! Recorded capacity in Mahimahi's format: one line per delivery opportunity, its time in milliseconds.
//!
//! ```text
//! 0
//! 5        at 5 ms up to 1500 bytes pass,
//! 5        and another 1500
//! 12
//! ```
//! After the last line the trace begins again; the last time is its period.
//!
//! Loss over time stands in a file of its own, beside it.

use std::fmt;
use std::time::Duration;

/// Bytes that pass at one opportunity.
pub(crate) const OPPORTUNITY: u64 = 1500;

/// When bytes can pass.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trace {
    /// Never empty, in order.
    times: Vec<Duration>,
    /// More than nothing.
    period: Duration,
}

/// The text is no trace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadTrace {
    /// Number of the line, from 1; 0 where the whole is wrong.
    pub line: usize,
    what: &'static str,
}

impl fmt::Display for BadTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(self.what),
            line => write!(f, "line {line}: {}", self.what),
        }
    }
}

impl std::error::Error for BadTrace {}

impl Trace {
    /// Reads a trace. Empty lines and lines that begin with `#` are passed over.
    pub fn parse(text: &str) -> Result<Self, BadTrace> {
        let mut times: Vec<Duration> = Vec::new();
        for (i, line) in text.lines().enumerate() {
            let (line, word) = (i + 1, line.trim());
            if word.is_empty() || word.starts_with('#') {
                continue;
            }
            // A day is more than any recording has, and keeps sums far from overflow.
            let millis = word.parse().ok().filter(|&millis: &u64| millis <= 86_400_000);
            let millis = millis.ok_or(BadTrace { line, what: "not a time in milliseconds" })?;
            let time = Duration::from_millis(millis);
            if times.last().is_some_and(|&last| time < last) {
                return Err(BadTrace { line, what: "earlier than the line before" });
            }
            times.push(time);
        }
        match times.last() {
            Some(&period) if !period.is_zero() => Ok(Self { times, period }),
            _ => Err(BadTrace { line: 0, what: "a trace needs an opportunity later than 0 ms" }),
        }
    }

    /// How many bytes can pass from one time to another, the latter not included.
    pub fn capacity(&self, from: Duration, to: Duration) -> u64 {
        self.first_from(to).saturating_sub(self.first_from(from)).saturating_mul(OPPORTUNITY)
    }

    /// When the opportunity of this number comes, from 0.
    pub(crate) fn time(&self, number: u64) -> Duration {
        let (round, index) = (number / self.len(), number % self.len());
        let start = u128::from(round) * self.period.as_nanos();
        nanos(start + self.times[index as usize].as_nanos())
    }

    /// Number of the first opportunity at `time` or later.
    pub(crate) fn first_from(&self, time: Duration) -> u64 {
        let (time, period) = (time.as_nanos(), self.period.as_nanos());
        let (mut round, mut within) = (time / period, time % period);
        // The end of one round is the start of the next: opportunities of both are at this time.
        if within == 0 && round > 0 {
            (round, within) = (round - 1, period);
        }
        let index = self.times.partition_point(|at| at.as_nanos() < within);
        u64::try_from(round).unwrap_or(u64::MAX).saturating_mul(self.len()).saturating_add(index as u64)
    }

    fn len(&self) -> u64 {
        self.times.len() as u64
    }
}

/// Reads the share of packets lost over time: lines of `time in ms, round trip in ms, loss from 0 to 1` behind a line of
/// headings. Gives the times at which it changes, and what it is from then on.
pub fn parse_loss(text: &str) -> Result<Vec<(Duration, f64)>, BadTrace> {
    let mut series: Vec<(Duration, f64)> = Vec::new();
    for (number, line) in text.lines().enumerate().skip(1).filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |what| BadTrace { line: number + 1, what };
        let mut fields = line.split(',').map(str::trim);
        let time = fields.next().and_then(|field| field.parse::<f64>().ok()).filter(|ms| (0.0..1e9).contains(ms));
        let loss = fields.nth(1).and_then(|field| field.parse::<f64>().ok()).filter(|loss| (0.0..=1.0).contains(loss));
        let (time, loss) = time.zip(loss).ok_or(wrong("not time, round trip and loss"))?;
        let time = Duration::from_secs_f64(time / 1e3);
        if series.last().is_some_and(|(last, _)| *last > time) {
            return Err(wrong("earlier than the line before"));
        }
        // What stays as it is needs no line.
        if series.last().is_none_or(|(_, last)| *last != loss) {
            series.push((time, loss));
        }
    }
    Ok(series)
}

/// A duration of this many nanoseconds, at most 584 years.
pub(crate) fn nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opportunities_repeat_by_the_last_time() {
        let trace = Trace::parse("# two rounds\n0\n5\n\n5\n12\n").unwrap();
        let times: Vec<_> = (0..9).map(|number| trace.time(number).as_millis()).collect();
        assert_eq!(times, [0, 5, 5, 12, 12, 17, 17, 24, 24]);
        let first = |millis| trace.first_from(Duration::from_millis(millis));
        assert_eq!([first(0), first(1), first(5), first(6), first(12), first(13), first(24)], [0, 1, 1, 3, 3, 5, 7]);
        let capacity = |from, to| trace.capacity(Duration::from_millis(from), Duration::from_millis(to)) / OPPORTUNITY;
        assert_eq!([capacity(0, 0), capacity(0, 5), capacity(1, 6), capacity(6, 13), capacity(0, 25)], [0, 1, 2, 2, 9]);
    }

    #[test]
    fn loss_over_time_is_read() {
        let series = parse_loss("t_ms,rtt_ms,loss\n0,20,0\n60,21.5,0\n120,40,0.25\n").unwrap();
        assert_eq!(series, [(Duration::ZERO, 0.0), (Duration::from_millis(120), 0.25)]);
        for bad in ["h\n0,1\n", "h\n0,1,1.5\n", "h\n-1,1,0\n", "h\n5,1,0\n4,1,0.5\n", "h\n0,x,y\n"] {
            assert!(parse_loss(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_trace_is_refused_with_its_line() {
        assert_eq!(Trace::parse("1\nx\n").unwrap_err().to_string(), "line 2: not a time in milliseconds");
        assert_eq!(Trace::parse("7\n6\n").unwrap_err().line, 2);
        assert_eq!(Trace::parse("-1\n").unwrap_err().line, 1);
        assert!(Trace::parse("").is_err() && Trace::parse("0\n0\n").is_err());
    }
}
