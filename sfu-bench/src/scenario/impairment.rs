//! What a participant's network does to its packets, in both directions.

use anyhow::{Result, bail};
use netsim::{LinkConfig, Loss, QueueLimit, Rate};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What may wait for a bottleneck, as time: a home router's buffer.
const QUEUE: Duration = Duration::from_millis(300);

/// A network between a participant and the server.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Impairment {
    /// Share of packets that are lost, 0 to 1.
    pub loss: f64,
    /// Time that each packet takes, in milliseconds.
    pub delay_ms: f64,
    /// Up to this much more, in milliseconds; the order stays.
    pub jitter_ms: f64,
    /// Kilobits per second that pass; what would wait for more than 300 ms is dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_kbps: Option<u64>,
    /// Share of the participants whose network is like this, 0 to 1; that of the others is perfect.
    pub share: f64,
}

impl Default for Impairment {
    fn default() -> Self {
        Self { loss: 0.0, delay_ms: 0.0, jitter_ms: 0.0, rate_kbps: None, share: 1.0 }
    }
}

impl Impairment {
    /// From `loss=0.02,delay_ms=40`, as on a command line.
    ///
    /// # Errors
    /// Says which key or value is none.
    pub fn parse(text: &str) -> Result<Self> {
        let impairment: Self = toml::from_str(&text.replace(',', "\n"))?;
        impairment.check()?;
        Ok(impairment)
    }

    /// Refuses what no network does.
    ///
    /// # Errors
    /// Says what is out of bounds.
    pub fn check(&self) -> Result<()> {
        for (name, share) in [("loss", self.loss), ("share", self.share)] {
            if !(0.0..=1.0).contains(&share) {
                bail!("impairment: {name} is {share}; 0 to 1 are possible");
            }
        }
        for (name, ms) in [("delay_ms", self.delay_ms), ("jitter_ms", self.jitter_ms)] {
            if !(0.0..=10_000.0).contains(&ms) {
                bail!("impairment: {name} is {ms}; 0 to 10000 are possible");
            }
        }
        if self.rate_kbps == Some(0) {
            bail!("impairment: rate_kbps is 0; nothing would pass");
        }
        Ok(())
    }

    /// The link of participant `number`, one way; `None` where its network is perfect.
    pub fn link(&self, number: u64) -> Option<LinkConfig> {
        // Evenly spread over the participants, and the same in every run.
        let before = (number as f64 * self.share).floor();
        let after = ((number + 1) as f64 * self.share).floor();
        let ms = |ms: f64| Duration::from_secs_f64(ms / 1e3);
        (after > before).then(|| LinkConfig {
            rate: self.rate_kbps.map(Rate::from_kbps),
            queue: QueueLimit::Time(QUEUE),
            delay: ms(self.delay_ms),
            jitter: ms(self.jitter_ms),
            loss: if self.loss > 0.0 { Loss::Random(self.loss) } else { Loss::None },
            ..LinkConfig::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_participants_is_impaired() {
        let impairment = Impairment { share: 0.25, loss: 0.1, ..Impairment::default() };
        assert_eq!((0..100).filter(|n| impairment.link(*n).is_some()).count(), 25);
        assert!((0..100).all(|n| Impairment::default().link(n).is_some()));
    }

    #[test]
    fn options_are_read_and_checked() {
        let impairment = Impairment::parse("loss=0.02,delay_ms=40,rate_kbps=900").unwrap();
        let link = impairment.link(0).unwrap();
        assert_eq!((link.delay, link.rate), (Duration::from_millis(40), Some(Rate::from_kbps(900))));
        for bad in ["loss=3", "los=0.1", "delay_ms=-1", "rate_kbps=0", "loss"] {
            assert!(Impairment::parse(bad).is_err(), "{bad}");
        }
    }
}
