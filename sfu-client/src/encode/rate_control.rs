//! Rate control around a codec: a budget for every picture, so that every second, and every half of one, carries what
//! the bitrate says, and no picture is a burst.
//!
//! The codec codes each picture at the quantiser that it is told. How many bits that makes is foretold from what the
//! picture costs ([`Complexity`]) and what pictures before it made: bits halve with every `6 / SLOPE` steps of the
//! quantiser. What comes out otherwise is a debt (or credit) that the next pictures pay, the faster the nearer the
//! half second ends. A keyframe is *spread*: it gets a few pictures' bits, and the pictures after it refine it. What
//! came out too large all the same is thrown away and coded again as a keyframe, which needs none of it.
//!
//! Time is the caller's. Bits are floating point: budgets are shares.

use super::complexity::Complexity;
use sfu_rtc::units::Bitrate;
use std::time::Duration;

/// The coarsest quantiser of H.264.
const COARSEST: u8 = 51;
/// Pictures over which a debt is paid, where the half second does not end before.
const HORIZON: f64 = 5.0;
/// Share of the mean by which each of the last pictures of a half second is smaller.
const LEAD: f64 = 0.25;
/// A picture between keyframes gets this share of the mean at least, and at most.
const DELTA_SHARE: (f64, f64) = (0.3, 1.7);
/// Mean pictures' bits that can be saved up.
const SAVED: f64 = 4.0;
/// Beyond this share of the mean a picture between keyframes is coded again.
const DELTA_CAP: f64 = 3.0;
/// What a spread keyframe is to take, in means, and beyond what it is coded again.
const SPREAD: (f64, f64) = (2.3, 2.5);
/// The same of a keyframe that is not spread; a third of a second's bits at 30 pictures per second.
const WHOLE: (f64, f64) = (8.0, 10.0);
/// Below this share of what it is to take, a keyframe is coded again, finer.
const POOR_KEYFRAME: f64 = 0.75;
/// How often a picture is coded at most, and how much coarser a keyframe gets each time that it was too large.
const TRIES: u32 = 4;
const COARSER: u8 = 3;
/// Share of a debt that each picture can pay in the rest of a second.
const PAYS: f64 = 0.6;
/// Tolerances of a second and of its half, with a margin: a keyframe near the end may exceed the budget by this.
const TOLERANCES: [(f64, f64); 2] = [(1.0, 0.018), (0.5, 0.08)];
/// A cut: so much of the picture is new, and motion explains so little of it.
const CUT: (f64, f64) = (0.5, 0.7);
/// Most steps of the quantiser from picture to picture, finer and coarser: flicker is seen, and a picture much finer
/// than its reference costs more than can be foretold.
const STEPS: (f64, f64) = (4.0, 8.0);

/// Bounds and habits of [`RateControl`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateControlConfig {
    /// The finest quantiser: still pictures take no more bits than they need.
    pub min_quantizer: u8,
    /// The coarsest quantiser (ceiling). Where it is too fine for the bitrate, pictures are skipped, if that is
    /// allowed, or the bitrate is exceeded.
    pub max_quantizer: u8,
    /// Keyframes take at most 2.5 mean pictures' bits, and the pictures after them refine them.
    pub spread_keyframes: bool,
    /// Leave pictures out where the bitrate cannot be kept otherwise.
    pub skip: bool,
}

impl Default for RateControlConfig {
    fn default() -> Self {
        Self { min_quantizer: 12, max_quantizer: COARSEST, spread_keyframes: true, skip: false }
    }
}

/// How to code a picture.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Plan {
    /// Quantiser.
    pub quantizer: u8,
    /// Code it as a keyframe.
    pub keyframe: bool,
    /// Bits that it is to take.
    pub target: f64,
    /// Bits beyond which it is to be coded again: [`RateControl::again`].
    pub cap: f64,
    complexity: Complexity,
    tries: u32,
}

/// Budgets of one stream.
#[derive(Clone, Debug)]
pub struct RateControl {
    config: RateControlConfig,
    /// Bits per second.
    rate: f64,
    /// Seconds from picture to picture, smoothed.
    interval: f64,
    /// When the last picture was planned.
    last: Option<Duration>,
    /// Bits that may still be sent by now; negative: a debt.
    credit: f64,
    keyframes: Model,
    deltas: Model,
    /// Quantiser of the last picture, which the next refers to.
    reference: f64,
    /// Quantiser of pictures between keyframes, smoothed.
    usual: f64,
}

impl RateControl {
    /// For a stream of `bitrate` with `frame_rate` pictures per second.
    pub fn new(config: RateControlConfig, bitrate: Bitrate, frame_rate: f64) -> Self {
        let max_quantizer = config.max_quantizer.min(COARSEST);
        Self {
            config: RateControlConfig {
                max_quantizer,
                min_quantizer: config.min_quantizer.min(max_quantizer),
                ..config
            },
            rate: bits_per_second(bitrate),
            interval: 1.0 / frame_rate.clamp(0.1, 1_000.0),
            last: None,
            credit: 0.0,
            keyframes: Model { offset: KEYFRAME_OFFSET, slope: KEYFRAME_SLOPE },
            deltas: Model { offset: DELTA_OFFSET, slope: DELTA_SLOPE },
            reference: 36.0,
            usual: 36.0,
        }
    }

    /// Changes the bitrate: what was owed at the former one is owed no more than the same number of pictures.
    pub fn set_bitrate(&mut self, bitrate: Bitrate) {
        let before = std::mem::replace(&mut self.rate, bits_per_second(bitrate));
        self.credit *= self.rate / before;
    }

    /// Plans the picture captured at `now`; `None`: leave it out.
    pub fn plan(&mut self, now: Duration, complexity: Complexity, keyframe: bool) -> Option<Plan> {
        let first = self.last.is_none();
        self.pass(now);
        let cut = complexity.new_share > CUT.0 && complexity.inter > CUT.1 * complexity.intra;
        if first || keyframe || cut {
            return Some(self.plan_keyframe(now, complexity, 0));
        }
        let mean = self.mean();
        let left = self.left(now, 0.5);
        // Ahead until near the end of the half second: the last pictures are then smaller, and so are their errors.
        let lead = LEAD * left.min(2.0) * mean;
        let wanted = mean + (self.credit + lead - mean) / (left + 1.0).clamp(1.0, HORIZON);
        if self.config.skip && wanted < 0.0 {
            let least = self.deltas.log_bits(self.residual(complexity), f64::from(self.config.max_quantizer));
            if self.credit < -mean || least > (2.0 * mean).log2() {
                return None;
            }
        }
        let target = wanted.clamp(DELTA_SHARE.0 * mean, DELTA_SHARE.1 * mean);
        let wish = self.delta_quantizer(complexity, target);
        let quantizer = self.bound(wish);
        Some(Plan { quantizer, keyframe: false, target, cap: DELTA_CAP * mean, complexity, tries: 0 })
    }

    /// How to code the picture of `plan`, which took `bits`, once more; `None`: it is good as it is.
    pub fn again(&mut self, now: Duration, plan: &Plan, bits: f64) -> Option<Plan> {
        if plan.tries + 1 >= TRIES {
            return None;
        }
        let too_large = bits > plan.cap && plan.quantizer < self.config.max_quantizer;
        let poor = plan.keyframe
            && plan.tries == 0
            && bits < POOR_KEYFRAME * plan.target
            && plan.quantizer > self.config.min_quantizer;
        if !too_large && !poor {
            return None;
        }
        if plan.keyframe {
            self.keyframes.learn(plan.complexity.intra, f64::from(plan.quantizer), bits, 1.0);
        } else {
            self.deltas.learn(self.residual(plan.complexity), f64::from(plan.quantizer), bits, 0.5);
        }
        let mut next = self.plan_keyframe(now, plan.complexity, plan.tries + 1);
        if too_large && plan.keyframe {
            // Where the model is wrong it is not to be wrong again.
            next.quantizer = next.quantizer.max(plan.quantizer.saturating_add(COARSER).min(self.config.max_quantizer));
        }
        (!plan.keyframe || next.quantizer != plan.quantizer).then_some(next)
    }

    /// The picture of `plan` was sent with `bits`.
    pub fn sent(&mut self, plan: &Plan, bits: f64) {
        self.credit -= bits;
        let quantizer = f64::from(plan.quantizer);
        if plan.keyframe {
            self.keyframes.learn(plan.complexity.intra, quantizer, bits, 0.7);
        } else {
            let residual = self.residual(plan.complexity);
            // Pictures that are shown twice, and still ones, say little of those that move.
            let weight = 0.6 * (2.0 * plan.complexity.inter / residual.max(1.0)).clamp(0.15, 1.0);
            self.deltas.learn(residual, quantizer, bits, weight);
            self.usual += 0.1 * (quantizer - self.usual);
        }
        self.reference = quantizer;
    }

    /// Bits of a mean picture.
    pub fn mean(&self) -> f64 {
        self.rate * self.interval
    }

    /// Lets time pass.
    fn pass(&mut self, now: Duration) {
        let passed = self.last.map_or(self.interval, |last| now.saturating_sub(last).as_secs_f64());
        self.last = Some(now);
        if passed > 1.0 {
            // Nothing was sent for long: what was owed or saved is forgotten.
            self.credit = self.mean();
            return;
        }
        self.interval += 0.1 * (passed - self.interval);
        // A still scene saves little up: what it did not need is gone.
        self.credit = (self.credit + self.rate * passed).min(SAVED * self.mean());
    }

    /// Pictures after this one until the end of the running `window`, in seconds.
    fn left(&self, now: Duration, window: f64) -> f64 {
        let now = now.as_secs_f64();
        let end = ((now / window + 1e-6).floor() + 1.0) * window;
        ((end - now) / self.interval - 0.5).floor().max(0.0)
    }

    fn plan_keyframe(&self, now: Duration, complexity: Complexity, tries: u32) -> Plan {
        let mean = self.mean();
        let (share, cap) = if self.config.spread_keyframes { SPREAD } else { WHOLE };
        // What the rest of the second, and of its half, can pay.
        let payable = TOLERANCES.map(|(window, tolerance)| {
            self.credit + PAYS * mean * self.left(now, window) + tolerance * window * self.rate
        });
        let target = payable.into_iter().fold(share * mean, f64::min).max(mean);
        let wish = self.keyframes.quantizer(complexity.intra, target);
        // One that is not spread need not be better than what comes after it.
        let wish = if self.config.spread_keyframes { wish } else { wish.max(self.usual) };
        Plan { quantizer: self.bound(wish), keyframe: true, target, cap: target * cap / share, complexity, tries }
    }

    fn delta_quantizer(&self, complexity: Complexity, target: f64) -> f64 {
        let plain = self.deltas.quantizer(self.residual(complexity), target);
        let finer = (self.reference - plain).max(0.0);
        let wish = plain + finer * CAUTION;
        wish.clamp(self.reference - STEPS.0, self.reference + STEPS.1)
    }

    /// What is to be coded of a picture between keyframes: what motion does not explain, and what the reference lacks of
    /// what it should show, as its quantiser was coarse.
    fn residual(&self, complexity: Complexity) -> f64 {
        let step = ((self.reference - 4.0) / 6.0).exp2();
        complexity.inter + (LACK * step * complexity.samples).min(complexity.intra)
    }

    fn bound(&self, quantizer: f64) -> u8 {
        let bounded = quantizer.clamp(f64::from(self.config.min_quantizer), f64::from(self.config.max_quantizer));
        bounded.round() as u8
    }
}

/// What the logarithm of bits is above that of complexity at quantiser 0, before anything was coded.
const KEYFRAME_OFFSET: f64 = 4.5;
const DELTA_OFFSET: f64 = 4.5;
/// Halvings of bits per 6 steps of the quantiser.
const KEYFRAME_SLOPE: f64 = 1.0;
const DELTA_SLOPE: f64 = 1.2;
/// Share of a step to a finer quantiser that is not made: where noise begins to be coded, bits rise more steeply.
const CAUTION: f64 = 0.4;
/// What the reference lacks, per sample, in steps of its quantiser.
const LACK: f64 = 0.04;

/// How many bits a picture takes: `log2 bits = offset + log2 complexity - slope * quantizer / 6`.
#[derive(Clone, Copy, Debug)]
struct Model {
    offset: f64,
    slope: f64,
}

impl Model {
    /// Logarithms throughout: nothing overflows, whatever comes.
    fn log_bits(&self, complexity: f64, quantizer: f64) -> f64 {
        self.offset + complexity.max(1.0).log2() - self.slope * quantizer / 6.0
    }

    fn quantizer(&self, complexity: f64, bits: f64) -> f64 {
        (self.offset + complexity.max(1.0).log2() - bits.max(1.0).log2()) * 6.0 / self.slope
    }

    fn learn(&mut self, complexity: f64, quantizer: f64, bits: f64, weight: f64) {
        self.offset += weight * (bits.max(1.0).log2() - self.log_bits(complexity, quantizer));
    }
}

fn bits_per_second(bitrate: Bitrate) -> f64 {
    // A bit per second keeps all that divides by it sound.
    bitrate.as_bps().max(1) as f64
}

#[cfg(test)]
mod tests;
