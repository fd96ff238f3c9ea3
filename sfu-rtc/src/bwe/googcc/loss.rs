//! The rate that loss allows: the essence of libwebrtc's `LossBasedBweV2`.
//!
//! A model says how much is lost at a sending rate, given the path's bandwidth and its inherent loss, which is there at
//! any rate. Of a few candidate bandwidths, the one under which the last observations are most likely is taken.

use crate::bwe::PacketResult;
use crate::time::{Duration, Instant};
use crate::units::Bitrate;
use std::collections::VecDeque;

const OBSERVATION: Duration = Duration::from_millis(250);
const WINDOW: usize = 15;
/// Each older observation counts for so much less.
const AGE_WEIGHT: f64 = 0.9;
const CANDIDATES: [f64; 3] = [1.02, 1.0, 0.95];
/// A higher bandwidth is preferred, by its share and by its magnitude, while less than `BIAS_UP_TO` is lost.
const BIAS: f64 = 0.0002;
const LOG_BIAS: f64 = 0.02;
const BIAS_UP_TO: f64 = 0.15;
const INITIAL_INHERENT: f64 = 0.01;
const MIN_INHERENT: f64 = 0.001;
/// Inherent loss is at most this, and more the lower the bandwidth is, since a few packets make much loss there.
const MAX_INHERENT: f64 = 0.05;
const INHERENT_BALANCE: f64 = 75_000.0;
const NEWTON_STEP: f64 = 0.75;
/// With so much lost on average the bandwidth is at most `BALANCE` over the excess.
const LOSS_OFFSET: f64 = 0.05;
const BALANCE: f64 = 75_000.0;
/// After a fall, no rise for so long.
const DELAYED_INCREASE: Duration = Duration::from_millis(300);

#[derive(Clone, Copy, Debug)]
struct Observation {
    packets: f64,
    lost: f64,
    rate: f64,
}

/// Bandwidth as loss tells it. Bits per second are plain numbers in here.
#[derive(Clone, Debug)]
pub(super) struct LossBased {
    observations: VecDeque<Observation>,
    packets: u32,
    lost: u32,
    bytes: u64,
    since: Option<Instant>,
    until: Instant,
    /// Bandwidth and inherent loss.
    best: (f64, f64),
    fell: Option<Instant>,
    min: f64,
    max: f64,
}

impl LossBased {
    pub(super) fn new((min, max): (Bitrate, Bitrate)) -> Self {
        Self {
            observations: VecDeque::with_capacity(WINDOW),
            packets: 0,
            lost: 0,
            bytes: 0,
            since: None,
            until: Instant::ZERO,
            best: (max.as_bps() as f64, INITIAL_INHERENT),
            fell: None,
            min: min.as_bps() as f64,
            max: max.as_bps() as f64,
        }
    }

    /// The bandwidth; the maximum where loss limits nothing.
    pub(super) fn rate(&self) -> Bitrate {
        Bitrate::from_bps(self.best.0 as u64)
    }

    /// The loss that is there at any rate.
    #[cfg(test)]
    pub(super) fn inherent(&self) -> f64 {
        self.best.1
    }

    /// A probe showed that the path carries this.
    pub(super) fn raise(&mut self, measured: Bitrate) {
        self.best.0 = self.best.0.max(measured.as_bps() as f64);
    }

    pub(super) fn on_packet(&mut self, packet: &PacketResult) {
        self.packets += 1;
        self.lost += u32::from(packet.received.is_none());
        self.bytes = self.bytes.saturating_add(packet.size.as_bytes());
        self.since.get_or_insert(packet.sent);
        self.until = self.until.max(packet.sent);
    }

    /// After each feedback: what arrives, and the rate that the delay allows.
    pub(super) fn update(&mut self, now: Instant, acknowledged: Option<Bitrate>, by_delay: Bitrate) {
        let Some(since) = self.since else { return };
        let took = self.until.saturating_since(since);
        if took < OBSERVATION || self.packets == 0 {
            return;
        }
        if self.observations.len() == WINDOW {
            self.observations.pop_front();
        }
        self.observations.push_back(Observation {
            packets: f64::from(self.packets),
            lost: f64::from(self.lost),
            rate: self.bytes as f64 * 8.0 / took.as_secs_f64(),
        });
        (self.packets, self.lost, self.bytes, self.since) = (0, 0, 0, None);
        self.choose(now, acknowledged.map(|rate| rate.as_bps() as f64), by_delay.as_bps() as f64);
    }

    fn choose(&mut self, now: Instant, acknowledged: Option<f64>, by_delay: f64) {
        let loss = self.average_loss();
        let before = self.best.0.min(by_delay);
        let mut best: Option<(f64, (f64, f64))> = None;
        let others = acknowledged.into_iter().chain((self.best.0 >= by_delay).then_some(by_delay));
        for bandwidth in CANDIDATES.iter().map(|factor| before * factor).chain(others) {
            let bandwidth = bandwidth.clamp(self.min, self.max);
            let inherent = self.inherent_at(bandwidth);
            let likelihood = self.likelihood(bandwidth, inherent, loss);
            if best.is_none_or(|(most, _)| likelihood > most) {
                best = Some((likelihood, (bandwidth, inherent)));
            }
        }
        let Some((_, (mut bandwidth, inherent))) = best else { return };
        if loss > LOSS_OFFSET {
            bandwidth = bandwidth.min((BALANCE / (loss - LOSS_OFFSET)).max(acknowledged.unwrap_or(0.0)));
        }
        if bandwidth < before {
            self.fell = Some(now);
        } else if self.fell.is_some_and(|fell| now.saturating_since(fell) < DELAYED_INCREASE) {
            bandwidth = bandwidth.min(before);
        } else if bandwidth >= by_delay && loss <= inherent.max(LOSS_OFFSET) {
            // Loss limits nothing: the delay alone does.
            bandwidth = self.max;
        }
        self.best = (bandwidth.clamp(self.min, self.max), inherent);
    }

    fn weighed(&self) -> impl Iterator<Item = (f64, &Observation)> {
        let newest_first = self.observations.iter().rev();
        newest_first.scan(1.0, |weight, observation| {
            let this = *weight;
            *weight *= AGE_WEIGHT;
            Some((this, observation))
        })
    }

    fn average_loss(&self) -> f64 {
        let (lost, packets) =
            self.weighed().fold((0.0, 0.0), |(lost, packets), (w, o)| (lost + w * o.lost, packets + w * o.packets));
        if packets > 0.0 { lost / packets } else { 0.0 }
    }

    fn likelihood(&self, bandwidth: f64, inherent: f64, loss: f64) -> f64 {
        let bias = if loss < BIAS_UP_TO {
            BIAS * bandwidth / 1_000.0 + LOG_BIAS * (1.0 + bandwidth / 1_000.0).ln()
        } else {
            0.0
        };
        self.weighed()
            .map(|(weight, o)| {
                let p = loss_at(o.rate, bandwidth, inherent);
                weight * (o.lost * p.ln() + (o.packets - o.lost) * (1.0 - p).ln() + bias * o.packets)
            })
            .sum()
    }

    /// One Newton step to the inherent loss that fits best with a bandwidth.
    fn inherent_at(&self, bandwidth: f64) -> f64 {
        let inherent = self.best.1;
        let (mut first, mut second) = (0.0, 0.0);
        for (weight, o) in self.weighed() {
            let p = loss_at(o.rate, bandwidth, inherent);
            let received = o.packets - o.lost;
            first += weight * (o.lost / p - received / (1.0 - p));
            second -= weight * (o.lost / (p * p) + received / ((1.0 - p) * (1.0 - p)));
        }
        let step = if second < 0.0 { NEWTON_STEP * first / second } else { 0.0 };
        let most = MAX_INHERENT + INHERENT_BALANCE / bandwidth.max(1.0);
        (inherent - step).clamp(MIN_INHERENT, most.clamp(MIN_INHERENT, 1.0))
    }
}

/// Share lost when sending at `rate`.
fn loss_at(rate: f64, bandwidth: f64, inherent: f64) -> f64 {
    let excess = if rate > bandwidth { (rate - bandwidth) / rate } else { 0.0 };
    (inherent + (1.0 - inherent) * excess).clamp(1e-6, 1.0 - 1e-6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::DataSize;

    /// Sends 1 Mbit/s for ten seconds, of which each `every`th packet is lost.
    fn after_losing(every: u64) -> LossBased {
        let mut loss = LossBased::new((Bitrate::from_kbps(30), Bitrate::from_kbps(50_000)));
        for n in 0..1_000 {
            let sent = Instant::from_millis(n * 10);
            let received = (n % every != 0).then_some(sent);
            loss.on_packet(&PacketResult { sent, received, size: DataSize::from_bytes(1_250), probe: None });
            if n % 10 == 9 {
                loss.update(sent, Some(Bitrate::from_kbps(950)), Bitrate::from_kbps(1_000));
            }
        }
        loss
    }

    #[test]
    fn a_little_loss_is_inherent_and_much_is_congestion() {
        let little = after_losing(25);
        assert!(little.rate().as_kbps() >= 1_000, "{little:?}");
        assert!((0.02..0.06).contains(&little.inherent()), "{little:?}");
        let much = after_losing(3);
        assert!(much.rate().as_kbps() < 1_000, "{much:?}");
    }
}
