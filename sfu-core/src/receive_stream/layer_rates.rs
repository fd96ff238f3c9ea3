//! What a stream takes on the wire, by the layers inside it, as it usually is.

use crate::rate::RateMeter;
use sfu_rtc::packet::PacketData;
use sfu_rtc::prefetch::prefetch;
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::units::Bitrate;

/// What a packet takes beside its payload, of what estimates count, which is UDP's payload: RTP 12 bytes, extensions about
/// 12, and SRTP's tag of 10 (RFC 3711) or 16 (RFC 7714).
const OVERHEAD: u32 = 38;
/// Over this time a rate is smoothed: keyframes and page turns come every few seconds, and a path that lets them through
/// late is better than a lower layer for their sake.
const SMOOTHING: Duration = Duration::from_secs(3);
/// How often it is looked at what was measured.
const INTERVAL: Duration = Duration::from_millis(100);
/// The longest time that one look stands for: of a silence nothing is learned.
const LONGEST_LOOK: Duration = Duration::from_millis(200);
/// In its first second a stream is believed to be what it is seen to be ...
const BEGINNING: Duration = Duration::from_secs(1);
/// ... spread over this, since it begins with a keyframe.
const FIRST_FRAME: Duration = Duration::from_millis(500);
/// Headers make so much of a target, and an encoder's own error so much of that.
const WITH_HEADERS: f64 = 1.05;
const ERROR: f64 = 1.15;
/// For so long it may be any error: a page that is turned takes what the seconds after it save.
const BURST: Duration = Duration::from_secs(3);
/// Layers told apart: three spatial, four temporal, and some to spare. What is beyond counts as the last.
const MAX_LAYERS: usize = 16;

/// Rates of the layers of one stream.
#[derive(Default, Debug)]
pub(crate) struct LayerRates {
    /// As they were first seen.
    layers: Vec<LayerRate>,
    began: Option<Instant>,
    updated: Instant,
    /// What its sender was asked for.
    target: Option<Bitrate>,
    /// Since when it sends more.
    over_since: Option<Instant>,
}

#[derive(Debug)]
struct LayerRate {
    spatial: u8,
    temporal: u8,
    bytes: RateMeter,
    /// Bytes per second.
    usual: f64,
}

impl LayerRates {
    pub(crate) fn on_packet(&mut self, packet: &PacketData) {
        let now = packet.arrival;
        let began = *self.began.get_or_insert(now);
        let (spatial, temporal) = (packet.frame.spatial, packet.frame.temporal);
        let known = self.layers.iter().position(|layer| (layer.spatial, layer.temporal) == (spatial, temporal));
        let index = known.unwrap_or_else(|| {
            if self.layers.len() < MAX_LAYERS {
                self.layers.push(LayerRate { spatial, temporal, bytes: RateMeter::default(), usual: 0.0 });
            }
            self.layers.len() - 1
        });
        let bytes = u32::try_from(packet.payload().len()).unwrap_or(0).saturating_add(OVERHEAD);
        self.layers[index].bytes.add(now, bytes);
        if now - self.updated >= INTERVAL {
            self.update(now, now - began);
        }
    }

    /// Fetches what is behind its pointer.
    pub(crate) fn prefetch(&self) {
        prefetch(&self.layers[..self.layers.len().min(1)]);
    }

    /// Looks at what was measured.
    fn update(&mut self, now: Instant, age: Duration) {
        // Who has sent more than was asked for is silent to make up for it.
        let longest = if self.over_since.is_some() { SMOOTHING } else { LONGEST_LOOK };
        let elapsed = (now - std::mem::replace(&mut self.updated, now)).min(longest);
        let weight = elapsed.as_secs_f64() / SMOOTHING.as_secs_f64();
        for layer in &mut self.layers {
            let measured = layer.bytes.per_second(now);
            if age < BEGINNING {
                layer.usual = measured * (age.as_secs_f64() / FIRST_FRAME.as_secs_f64()).min(1.0);
            } else {
                layer.usual += (measured - layer.usual) * weight;
            }
        }
        let is_over = self.expected().is_some_and(|expected| self.usual() > expected);
        self.over_since = self.over_since.or(Some(now)).filter(|_| is_over);
    }

    /// All layers together, in bit/s, as they are seen ...
    fn usual(&self) -> f64 {
        self.layers.iter().map(|layer| layer.usual * 8.0).sum()
    }

    /// ... and as they were asked for.
    fn expected(&self) -> Option<f64> {
        self.target.map(|target| target.as_bps() as f64 * WITH_HEADERS)
    }

    /// The sender is asked for `target`, headers apart: all layers are taken to follow, as what is measured would show
    /// only in some seconds. By which factor.
    pub(crate) fn set_target(&mut self, target: Bitrate) -> f64 {
        let usual = self.usual();
        let factor = match self.target.replace(target) {
            Some(before) if before > Bitrate::ZERO => target.as_bps() as f64 / before.as_bps() as f64,
            _ if usual > 0.0 => (target.as_bps() as f64 * WITH_HEADERS / usual).min(1.0),
            _ => 1.0,
        };
        for layer in &mut self.layers {
            layer.usual *= factor;
            // Else what was sent before would be held against the new target for a second, and smoothed for longer.
            layer.bytes.scale(factor.min(1.0));
        }
        factor
    }

    /// The rate of all layers up to these; zero while it says nothing, since the stream has just begun.
    pub(crate) fn up_to(&self, spatial: u8, temporal: u8) -> Bitrate {
        let taken = self.layers.iter().filter(|layer| layer.spatial <= spatial && layer.temporal <= temporal);
        Bitrate::from_bps((taken.map(|layer| layer.usual).sum::<f64>() * 8.0 * self.excess()) as u64)
    }

    /// An encoder errs around what it was asked for: that it sends somewhat more now is no reason to send less of it.
    fn excess(&self) -> f64 {
        let Some(expected) = self.expected() else { return 1.0 };
        let usual = self.usual();
        let is_burst = self.over_since.is_some_and(|since| self.updated < since + BURST);
        if usual > expected && (is_burst || usual < expected * ERROR) { expected / usual } else { 1.0 }
    }

    /// How many layers were told apart.
    pub(crate) fn layers(&self) -> usize {
        self.layers.len()
    }

    /// How many temporal layers it was seen to have.
    pub(crate) fn temporal_layers(&self) -> u8 {
        self.layers.iter().map(|layer| layer.temporal.saturating_add(1)).max().unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::packet;

    /// Frames every 40 ms, every other one of temporal layer 1, of as many packets of 28 bytes as `packets` says.
    fn watch(frames: u64, packets: impl Fn(u64) -> usize) -> LayerRates {
        let mut rates = LayerRates::default();
        for n in 0..frames {
            for _ in 0..packets(n) {
                rates.on_packet(&packet(n, 0, |data| {
                    data.arrival = Instant::from_millis(1_000 + n * 40);
                    data.frame.temporal = (n % 2) as u8;
                }));
            }
        }
        rates
    }

    #[test]
    fn layers_add_up_with_what_the_wire_adds() {
        let rates = watch(100, |n| if n % 2 == 0 { 2 } else { 1 });
        let kbps = |temporal| (rates.up_to(0, temporal).as_bps() as f64 / 1e3).round();
        assert_eq!((kbps(0), kbps(1)), (13.0, 20.0), "25 and 12.5 packets of 66 bytes a second");
        assert_eq!((rates.up_to(3, u8::MAX), rates.temporal_layers()), (rates.up_to(0, 1), 2));
    }

    #[test]
    fn what_its_sender_is_asked_for_holds_until_it_is_seen_otherwise() {
        let kbps = |rates: &LayerRates| rates.up_to(u8::MAX, u8::MAX).as_bps() as f64 / 1e3;
        let mut rates = watch(500, |_| 10);
        let measured = kbps(&rates);
        rates.set_target(Bitrate::from_kbps(200));
        assert_eq!(kbps(&rates), measured, "it sends less already");
        for (target, share) in [(100, 0.5), (150, 0.75)] {
            rates.set_target(Bitrate::from_kbps(target));
            assert!((kbps(&rates) - share * measured).abs() < 0.1);
        }
        let mut unasked = watch(500, |_| 10);
        unasked.set_target(Bitrate::from_kbps(50));
        assert!((kbps(&unasked) - 52.5).abs() < 0.1);
        for n in 500..800 {
            (0..10).for_each(|_| {
                unasked.on_packet(&packet(n, 0, |data| data.arrival = Instant::from_millis(1_000 + n * 40)))
            });
        }
        assert!(kbps(&unasked) > 125.0, "it did not do as it was asked");
    }

    #[test]
    fn a_page_that_is_turned_takes_no_more_than_was_asked_for() {
        let mut rates = watch(100, |_| 10);
        rates.set_target(Bitrate::from_kbps(130));
        for n in 100..400 {
            // Each 5 s a page, and nothing for 3 s.
            let page = [400, 0, 8][usize::from(n % 125 > 0) + usize::from(n % 125 > 75)];
            (0..page).for_each(|_| {
                rates.on_packet(&packet(n, 0, |data| data.arrival = Instant::from_millis(1_000 + n * 40)))
            });
            let kbps = rates.up_to(u8::MAX, u8::MAX).as_bps() as f64 / 1e3;
            assert!(kbps < 160.0, "{kbps} after {n} frames");
        }
    }

    #[test]
    fn what_was_sent_before_a_target_fell_is_not_held_against_it() {
        for begun in [12, 100] {
            let mut rates = watch(begun, |_| 10);
            rates.set_target(Bitrate::from_kbps(126));
            rates.set_target(Bitrate::from_kbps(126 / 4));
            for n in begun..begun + 40 {
                (0..2 + n % 2).for_each(|_| {
                    rates.on_packet(&packet(n, 0, |data| data.arrival = Instant::from_millis(1_000 + n * 40)))
                });
                let kbps = rates.up_to(u8::MAX, u8::MAX).as_bps() as f64 / 1e3;
                assert!((26.0..40.0).contains(&kbps), "{kbps} after {n} frames");
            }
        }
    }

    #[test]
    fn a_keyframe_changes_little_and_the_first_one_is_no_measure() {
        let all = |rates: &LayerRates| rates.up_to(u8::MAX, u8::MAX).as_bps() as f64;
        let steady = all(&watch(200, |_| 10));
        assert!(all(&watch(200, |n| if n == 190 { 100 } else { 10 })) < 1.2 * steady);
        for frames in 4..25 {
            let young = all(&watch(frames, |n| if n == 0 { 30 } else { 10 }));
            assert!(young < 1.3 * steady, "after {frames} frames {young} of {steady}");
        }
        assert_eq!(all(&watch(2, |_| 10)), 0.0, "not known yet");
    }
}
