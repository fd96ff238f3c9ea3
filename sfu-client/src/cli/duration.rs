//! Times as arguments.

use anyhow::{Context, Result};
use std::time::Duration;

/// A time such as `250ms`, `30s`, `5m`, `1h`, or a number of seconds.
pub(super) fn parse_duration(text: &str) -> Result<Duration> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().with_context(|| format!("{text:?} is no time; write 30s, 500ms or 5m"))?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "" | "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => anyhow::bail!("{unit:?} is no unit of time; use ms, s, m or h"),
    };
    Duration::try_from_secs_f64(seconds).with_context(|| format!("{text:?} is out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(parse_duration("30").unwrap(), Duration::from_secs(30));
        assert_eq!(parse_duration("250ms").unwrap(), Duration::from_millis(250));
        assert_eq!(parse_duration("1.5m").unwrap(), Duration::from_secs(90));
        for bad in ["", "x", "5 parsecs", "-1s", "1e99h", "NaNs"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
