//! How a load's packets come: fan-outs at a rate.

use std::time::Duration;

/// What a server may hold packets back for, so that more of them leave together; nothing shorter is a fan-out of its own.
const WINDOW: Duration = Duration::from_millis(1);

/// The rate at which the floor is measured besides back to back.
#[derive(Clone, Debug, clap::Args)]
pub struct Pace {
    /// Packets per second: measures the floor at this rate too.
    #[arg(long, required = false, value_parser = clap::value_parser!(u32).range(1_000..=2_000_000))]
    pub rate: u32,
    /// Receivers of each frame at that rate (default: all).
    #[arg(long, requires = "rate", value_parser = clap::value_parser!(u16).range(1..))]
    pub fan_out: Option<u16>,
}

impl Pace {
    /// How many of `receivers` get a run of packets together, and the time between two such fan-outs.
    pub(super) fn fan_outs(&self, run: usize, receivers: usize) -> (usize, Duration) {
        let gathered = (f64::from(self.rate) * WINDOW.as_secs_f64() / run as f64).ceil() as usize;
        let count = self.fan_out.map_or(receivers, usize::from).max(gathered).clamp(1, receivers);
        (count, Duration::from_secs_f64((count * run) as f64 / f64::from(self.rate)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fan_out_is_as_large_as_the_loads_or_as_what_comes_in_a_millisecond() {
        let pace = |rate, fan_out| Pace { rate, fan_out };
        assert_eq!(pace(36_000, None).fan_outs(6, 200), (200, Duration::from_nanos(33_333_333)));
        assert_eq!(pace(33_000, Some(3)).fan_outs(1, 100), (33, Duration::from_millis(1)));
        assert_eq!(pace(1_000_000, Some(3)).fan_outs(1, 100).0, 100);
    }
}
