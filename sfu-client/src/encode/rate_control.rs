//! Rate control around a codec: a budget for every picture, so that every second, and every half of one, carries what
//! the bitrate says, and no picture is a burst.
//!
//! The codec codes each picture at the quantiser that it is told. How many bits that makes is foretold from what the
//! picture costs ([`Complexity`]) and what pictures before it made: bits halve with every `6 / SLOPE` steps of the
//! quantiser. What comes out otherwise is a debt (or credit) that the next pictures pay, the faster the nearer the
//! half second ends. A keyframe is *spread*: it gets a few pictures' bits, and the pictures after it refine it. What
//! came out too large all the same is thrown away and coded again as a keyframe, which needs none of it.
//!
//! Sources with fewer pictures than the stream show each several times. Then the pictures that move have the budgets of
//! their repeats, which take none, unless they are the last of a half second that has something left.
//!
//! Quantisers are those of H.264 in here; the codec's own nearest to them are what is coded with ([`Ladder`]). Each
//! temporal layer has a model of its own: its pictures are further from what they refer to, or nearer.
//!
//! Time is the caller's. Bits are floating point: budgets are shares.

mod model;
mod motion;
mod repeats;

use super::complexity::Complexity;
use super::ladder::Ladder;
use model::Model;
use motion::Motion;
use repeats::Repeats;
use sfu_rtc::units::Bitrate;
use std::time::Duration;

/// The coarsest quantiser of H.264.
const COARSEST: u8 = 51;
/// Coarser than this, text on a screen cannot be read.
const LEGIBLE: u8 = 46;
/// Finer than this, nobody sees a difference on a screen.
const SHARP: u8 = 20;
/// As fine as a page is first shown: text is as its author sees it at a glance, and what is finer comes after it.
const SHOWN: f64 = 31.0;
/// Temporal layers at most.
const LAYERS: usize = 4;
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
/// A new page: what was shown before, and motion, explain no more than the rest of it.
const NEW_PAGE: f64 = 0.3;
/// A picture that refines a page takes so much of what the page may, and is finer by so many steps at most.
const REFINEMENT: f64 = 0.25;
const PAGE_STEP: f64 = 8.0;
/// Beyond this share of what it may take, a page is coded again, coarser.
const PAGE_CAP: f64 = 1.3;
/// Below this share of what it is to take, a keyframe is coded again, finer.
const POOR_KEYFRAME: f64 = 0.75;
/// How often a picture is coded at most, and how much coarser a keyframe gets each time that it was too large.
const TRIES: u32 = 4;
const COARSER: f64 = 3.0;
/// Share of a debt that each picture can pay in the rest of a second.
const PAYS: f64 = 0.6;
/// Tolerances of a second and of its half, with a margin: a keyframe near the end may exceed the budget by this.
const TOLERANCES: [(f64, f64); 2] = [(1.0, 0.018), (0.5, 0.08)];
/// Windows in seconds, and what is carried from one to the next at most, as a share of what one carries.
const CARRIED: [(f64, f64); 2] = [(1.0, 0.01), (0.5, 0.08)];
/// A cut: so much of the picture is new, motion explains so little of it, and that is so many times what is usual: noise,
/// and pictures far apart, are like that all the time.
const CUT: (f64, f64, f64) = (0.5, 0.7, 2.0);
/// A moving picture between repeats is to have this many means at most, as the cap is not far: repeats get the rest,
/// where it is at least so much.
const MOST: f64 = 1.9;
const LEAST_REST: f64 = 0.2;
/// Repeats that get none are coded so much coarser: nothing is then left to code.
const IDLE_COARSER: f64 = 8.0;
/// Most steps of the quantiser from picture to picture, finer and coarser: flicker is seen, and a picture much finer
/// than its reference costs more than can be foretold.
const STEPS: (f64, f64) = (4.0, 8.0);
/// Coarser than usual by so many steps, a reference is still to be refined, by so many at most from picture to picture.
const SETTLED: f64 = 3.0;
const REFINING_STEP: f64 = 6.0;
/// A repeat may be finer than it should by so much of a step, for want of quantisers in between.
const UNROUNDED: f64 = 0.3;

/// Bounds and habits of [`RateControl`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateControlConfig {
    /// The finest quantiser, on the scale of H.264: still pictures take no more bits than they need.
    pub min_quantizer: u8,
    /// The coarsest quantiser (ceiling), on that scale. Where it is too fine for the bitrate, pictures are skipped, if that is
    /// allowed, or the bitrate is exceeded.
    pub max_quantizer: u8,
    /// Keyframes take at most 2.5 mean pictures' bits, and the pictures after them refine them.
    pub spread_keyframes: bool,
    /// Leave pictures out where the bitrate cannot be kept otherwise.
    pub skip: bool,
    /// A new picture may take the bits of so much time, during which none comes after it: of a screen, sharpness is worth
    /// more than motion.
    pub page: Option<Duration>,
}

impl RateControlConfig {
    /// For text and drawings, most of which stand still.
    pub fn screen() -> Self {
        Self {
            min_quantizer: SHARP,
            max_quantizer: LEGIBLE,
            spread_keyframes: false,
            skip: true,
            page: Some(Duration::from_millis(1_650)),
        }
    }
}

impl Default for RateControlConfig {
    fn default() -> Self {
        Self { min_quantizer: 12, max_quantizer: COARSEST, spread_keyframes: true, skip: false, page: None }
    }
}

/// How to code a picture.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Plan {
    /// Quantiser, an index of the codec's [`Ladder`].
    pub quantizer: u8,
    /// Code it as a keyframe.
    pub keyframe: bool,
    /// Bits that it is to take.
    pub target: f64,
    /// Bits beyond which it is to be coded again: [`RateControl::again`].
    pub cap: f64,
    /// The quantiser on the scale of H.264.
    level: f64,
    kind: Kind,
    complexity: Complexity,
    tries: u32,
}

/// What a picture is to the models.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Keyframe,
    /// Of this temporal layer.
    Delta(u8),
    /// Refines what stands still.
    Repeat,
    /// Takes next to nothing, and says nothing.
    Idle,
}

/// Budgets of one stream.
#[derive(Clone, Debug)]
pub struct RateControl {
    config: RateControlConfig,
    ladder: Ladder,
    /// Bits per second.
    rate: f64,
    /// Seconds from picture to picture, smoothed.
    interval: f64,
    /// When the last picture was planned.
    last: Option<Duration>,
    /// Bits that may still be sent by now; negative: a debt.
    credit: f64,
    /// A debt that later windows pay, as the running one could not without carrying too little.
    owed: f64,
    keyframes: Model,
    /// Of each temporal layer.
    deltas: [Model; LAYERS],
    /// Of pictures that only refine what stands still: what is coarser than usual, and what is not.
    repeats: [Repeats; 2],
    motion: Motion,
    /// Quantiser of the last picture, which the next refers to.
    reference: f64,
    /// Quantiser of pictures between keyframes, smoothed.
    usual: f64,
    /// What the pictures brought that were left out since the last.
    missed: Option<Complexity>,
    /// A picture has recovered: there is a model of such.
    has_recovered: bool,
}

impl RateControl {
    /// For a stream of `bitrate` with `frame_rate` pictures per second, of a codec with these quantisers.
    pub fn new(config: RateControlConfig, ladder: Ladder, bitrate: Bitrate, frame_rate: f64) -> Self {
        let max_quantizer = config.max_quantizer.min(COARSEST);
        Self {
            config: RateControlConfig {
                max_quantizer,
                min_quantizer: config.min_quantizer.min(max_quantizer),
                ..config
            },
            ladder,
            rate: bits_per_second(bitrate),
            interval: 1.0 / frame_rate.clamp(0.1, 1_000.0),
            last: None,
            credit: 0.0,
            owed: 0.0,
            keyframes: Model::keyframe(),
            deltas: [Model::delta(); LAYERS],
            repeats: [Repeats::default(); 2],
            motion: Motion::default(),
            reference: 36.0,
            usual: 36.0,
            missed: None,
            has_recovered: false,
        }
    }

    /// Changes the bitrate: what was owed at the former one is owed no more than the same number of pictures.
    pub fn set_bitrate(&mut self, bitrate: Bitrate) {
        let before = std::mem::replace(&mut self.rate, bits_per_second(bitrate));
        self.credit *= self.rate / before;
        self.owed *= self.rate / before;
    }

    /// The layer whose model is that of pictures that recover: there are none where layers are that many. They are further
    /// from what they refer to than others, how far is learned.
    pub fn recovery_layer(&mut self) -> u8 {
        if !std::mem::replace(&mut self.has_recovered, true) {
            self.deltas[LAYERS - 1] = self.deltas[0].of_recovery();
        }
        LAYERS as u8 - 1
    }

    /// Plans the picture captured at `now`, of this temporal layer if it is no keyframe; `None`: leave it out.
    pub fn plan(&mut self, now: Duration, complexity: Complexity, keyframe: bool, layer: u8) -> Option<Plan> {
        let first = self.last.is_none();
        self.pass(now);
        let complexity = self.missed.take().map_or(complexity, |missed| missed.and(complexity));
        // Who asks for a keyframe meanwhile is about to get one, or would wait for two of them.
        if self.config.page.is_some() && self.credit < 0.0 && !first {
            self.missed = Some(complexity);
            return None;
        }
        let cut = self.is_cut(complexity);
        let repeat = !first && self.config.page.is_none() && self.motion.watch(complexity.inter);
        if first || keyframe || cut {
            return Some(self.plan_keyframe(now, complexity, 0));
        }
        let mean = self.mean();
        let left = self.left(now, 0.5);
        if repeat && self.motion.expects(left) {
            return Some(self.plan_repeat(complexity));
        }
        let gap = if repeat { 1.0 } else { self.motion.gap() };
        // Ahead until near the end of the half second: the last pictures are then smaller, and so are their errors.
        let lead = LEAD * left.min(2.0) * mean;
        // Over the next pictures, of which so many move.
        let ahead = left.min((HORIZON - 1.0) * gap);
        let wanted = (self.credit + lead + ahead * mean) / (1.0 + (ahead / gap + 0.1).floor());
        let kind = if repeat { Kind::Repeat } else { Kind::Delta(layer) };
        if self.config.skip && wanted < 0.0 {
            let coarsest = f64::from(self.config.max_quantizer);
            let least = self.deltas(layer).log_bits(self.residual(complexity), coarsest);
            if self.credit < -mean || (!repeat && least > (2.0 * mean).log2()) {
                return None;
            }
        }
        if repeat && wanted < LEAST_REST * mean {
            return Some(self.plan_idle(complexity));
        }
        let share = mean * gap;
        let most = (DELTA_SHARE.1 * share).min(MOST * mean).max(DELTA_SHARE.1 * mean);
        let target = match self.page_bits() {
            Some(page) => REFINEMENT * page,
            None => wanted.clamp(DELTA_SHARE.0 * mean, most),
        };
        let (quantizer, level) = match kind {
            Kind::Repeat => self.bound_coarser(self.repeat_quantizer(complexity, target)),
            _ => self.bound(self.delta_quantizer(complexity, target, layer)),
        };
        let cap = self.page_bits().unwrap_or(DELTA_CAP * mean);
        Some(Plan { quantizer, keyframe: false, target, cap, level, kind, complexity, tries: 0 })
    }

    /// How to code the picture of `plan`, which took `bits`, once more; `None`: it is good as it is.
    pub fn again(&mut self, now: Duration, plan: &Plan, bits: f64) -> Option<Plan> {
        if plan.tries + 1 >= TRIES {
            return None;
        }
        let (finest, coarsest) = self.bounds();
        let too_large = bits > plan.cap && plan.quantizer < coarsest;
        let finest = if self.config.page.is_some() { self.ladder.nearest(SHOWN) } else { finest };
        let poor = plan.keyframe && plan.tries == 0 && bits < POOR_KEYFRAME * plan.target && plan.quantizer > finest;
        if !too_large && !poor {
            return None;
        }
        self.learn(plan, bits);
        let mut next = self.plan_keyframe(now, plan.complexity, plan.tries + 1);
        if too_large && plan.keyframe {
            // Where the model is wrong it is not to be wrong again.
            (next.quantizer, next.level) = self.bound(next.level.max(plan.level + COARSER));
        }
        (!plan.keyframe || next.quantizer != plan.quantizer).then_some(next)
    }

    /// The picture of `plan` was sent with `bits`.
    pub fn sent(&mut self, plan: &Plan, bits: f64) {
        self.credit -= bits;
        self.learn(plan, bits);
        match plan.kind {
            Kind::Idle => {}
            // One that is coarser leaves what is shown as fine as it was.
            Kind::Repeat => self.reference = self.reference.min(plan.level),
            Kind::Keyframe | Kind::Delta(_) => self.reference = plan.level,
        }
        if matches!(plan.kind, Kind::Delta(_) | Kind::Repeat) {
            self.usual += 0.1 * (plan.level - self.usual);
        }
    }

    fn learn(&mut self, plan: &Plan, bits: f64) {
        let (residual, reference) = (self.residual(plan.complexity), self.reference);
        match plan.kind {
            Kind::Keyframe => self.keyframes.learn(plan.complexity.intra, plan.level, bits, 0.7),
            Kind::Delta(layer) => {
                // Still pictures say little of those that move.
                let weight = 0.6 * (2.0 * plan.complexity.inter / residual.max(1.0)).clamp(0.15, 1.0);
                let layer = usize::from(layer).min(LAYERS - 1);
                self.deltas[layer].learn_slope(residual, plan.level, bits, weight, reference);
            }
            Kind::Repeat => {
                let settled = usize::from(self.is_settled());
                self.repeats[settled].learn(plan.complexity.samples, reference - plan.level, bits);
            }
            Kind::Idle => {}
        }
    }

    /// Whether `plan` is as fine as it may be: what it leaves of its budget, nothing would be better for.
    pub fn is_finest(&self, plan: &Plan) -> bool {
        plan.quantizer <= self.bounds().0
    }

    /// Bits of a mean picture.
    pub fn mean(&self) -> f64 {
        self.rate * self.interval
    }

    /// Lets time pass.
    fn pass(&mut self, now: Duration) {
        let before = self.last.replace(now);
        let passed = before.map_or(self.interval, |last| now.saturating_sub(last).as_secs_f64());
        if passed > 1.0 {
            // Nothing was sent for long: what was owed or saved is forgotten.
            (self.credit, self.owed) = (self.mean(), 0.0);
            return;
        }
        self.interval += 0.1 * (passed - self.interval);
        for (window, share) in self.carried() {
            let of = |at: Duration| (at.as_secs_f64() / window + 1e-6).floor();
            if before.is_some_and(|before| of(now) > of(before)) {
                self.carry_over(share * window * self.rate);
            }
        }
        // A still scene saves little up: what it did not need is gone.
        self.credit = (self.credit + self.rate * passed).min(SAVED * self.mean());
    }

    /// What is not spread is a debt that windows must show.
    fn carried(&self) -> &'static [(f64, f64)] {
        if self.config.spread_keyframes { &CARRIED } else { &[] }
    }

    /// A window ends: the next one gets, or pays, no more than `most` of what this one left. Bits that were not needed
    /// are gone, a debt beyond it waits for the windows after that.
    fn carry_over(&mut self, most: f64) {
        let balance = self.credit - self.owed;
        self.credit = balance.clamp(-most, most);
        self.owed = (self.credit - balance).max(0.0);
    }

    /// Pictures after this one until the end of the running `window`, in seconds.
    fn left(&self, now: Duration, window: f64) -> f64 {
        let now = now.as_secs_f64();
        let end = ((now / window + 1e-6).floor() + 1.0) * window;
        ((end - now) / self.interval - 0.5).floor().max(0.0)
    }

    fn is_cut(&self, complexity: Complexity) -> bool {
        if self.config.page.is_some() {
            return complexity.inter > NEW_PAGE * complexity.intra;
        }
        let unusual = complexity.inter > CUT.2 * self.motion.usual;
        complexity.new_share > CUT.0 && complexity.inter > CUT.1 * complexity.intra && unusual
    }

    /// Bits that a new page may take.
    fn page_bits(&self) -> Option<f64> {
        self.config.page.map(|page| self.rate * page.as_secs_f64())
    }

    fn plan_keyframe(&self, now: Duration, complexity: Complexity, tries: u32) -> Plan {
        if let Some(target) = self.page_bits() {
            let cap = target * PAGE_CAP;
            let at = |bits: f64| self.keyframes.quantizer(complexity.intra, bits);
            let ideal = if at(cap) <= SHOWN { SHOWN } else { at(target) };
            let (quantizer, level) = self.bound(ideal);
            return Plan { quantizer, keyframe: true, target, cap, level, kind: Kind::Keyframe, complexity, tries };
        }
        let mean = self.mean();
        let (share, cap) = if self.config.spread_keyframes { SPREAD } else { WHOLE };
        // What the rest of the second, and of its half, can pay.
        let payable = TOLERANCES.map(|(window, tolerance)| {
            self.credit + PAYS * mean * self.left(now, window) + tolerance * window * self.rate
        });
        let target = payable.into_iter().fold(share * mean, f64::min).max(mean);
        let ideal = self.keyframes.quantizer(complexity.intra, target);
        // One that is not spread need not be better than what comes after it.
        let ideal = if self.config.spread_keyframes { ideal } else { ideal.max(self.usual) };
        let (quantizer, level) = self.bound(ideal);
        Plan {
            quantizer,
            keyframe: true,
            target,
            cap: target * cap / share,
            level,
            kind: Kind::Keyframe,
            complexity,
            tries,
        }
    }

    /// A repeat before another picture that moves: what there is belongs to that one, up to what it can take.
    fn plan_repeat(&self, complexity: Complexity) -> Plan {
        let mean = self.mean();
        let rest = self.credit + (self.motion.gap() - self.motion.since).max(1.0) * mean - MOST * mean;
        if rest < LEAST_REST * mean {
            return self.plan_idle(complexity);
        }
        let (quantizer, level) = self.bound_coarser(self.repeat_quantizer(complexity, rest));
        let (cap, kind) = (DELTA_CAP * mean, Kind::Repeat);
        Plan { quantizer, keyframe: false, target: rest, cap, level, kind, complexity, tries: 0 }
    }

    /// A repeat that is to take nothing.
    fn plan_idle(&self, complexity: Complexity) -> Plan {
        let (quantizer, level) = self.bound(self.reference + IDLE_COARSER);
        let (cap, kind) = (DELTA_CAP * self.mean(), Kind::Idle);
        Plan { quantizer, keyframe: false, target: 0.0, cap, level, kind, complexity, tries: 0 }
    }

    fn deltas(&self, layer: u8) -> &Model {
        &self.deltas[usize::from(layer).min(LAYERS - 1)]
    }

    /// For a picture that moves.
    fn delta_quantizer(&self, complexity: Complexity, target: f64, layer: u8) -> f64 {
        let plain = self.deltas(layer).quantizer(self.residual(complexity), target);
        let finer = (self.reference - plain).max(0.0);
        let cautious = plain + finer * CAUTION;
        cautious.clamp(self.reference - self.finest_step(), self.reference + STEPS.1)
    }

    /// For one that does not.
    fn repeat_quantizer(&self, complexity: Complexity, target: f64) -> f64 {
        self.reference
            - self.repeats[usize::from(self.is_settled())].finer_by(complexity.samples, target).min(self.finest_step())
    }

    /// Whether the reference is about as fine as usual: after a keyframe that was spread there is more than noise to refine.
    fn is_settled(&self) -> bool {
        self.reference < self.usual + SETTLED
    }

    /// Steps of the quantiser from the reference to the finest that is allowed now.
    fn finest_step(&self) -> f64 {
        match self.config.page {
            Some(_) => PAGE_STEP,
            None if self.is_settled() => STEPS.0,
            None => REFINING_STEP,
        }
    }

    /// What is to be coded of a picture between keyframes: what motion does not explain, and what the reference lacks of
    /// what it should show, as its quantiser was coarse.
    fn residual(&self, complexity: Complexity) -> f64 {
        let step = ((self.reference - 4.0) / 6.0).exp2();
        complexity.inter + (LACK * step * complexity.samples).min(complexity.intra)
    }

    /// The codec's quantiser for this one, and where that stands.
    fn bound(&self, level: f64) -> (u8, f64) {
        let (finest, coarsest) = self.bounds();
        let quantizer = self.ladder.nearest(level).clamp(finest, coarsest);
        (quantizer, self.ladder.level(quantizer))
    }

    /// The same, but never finer: of repeats the bits rise by half and more with a step.
    fn bound_coarser(&self, level: f64) -> (u8, f64) {
        let (finest, coarsest) = self.bounds();
        let nearest = self.ladder.nearest(level);
        let is_finer = self.ladder.level(nearest) < level - UNROUNDED;
        let quantizer = nearest.saturating_add(u8::from(is_finer)).clamp(finest, coarsest);
        (quantizer, self.ladder.level(quantizer))
    }

    /// The codec's finest and coarsest quantiser that may be used.
    fn bounds(&self) -> (u8, u8) {
        let of = |quantizer: u8| self.ladder.nearest(f64::from(quantizer));
        (of(self.config.min_quantizer), of(self.config.max_quantizer))
    }
}

/// Share of a step to a finer quantiser that is not made: where noise begins to be coded, bits rise more steeply.
const CAUTION: f64 = 0.5;
/// What the reference lacks, per sample, in steps of its quantiser.
const LACK: f64 = 0.04;

fn bits_per_second(bitrate: Bitrate) -> f64 {
    // A bit per second keeps all that divides by it sound.
    bitrate.as_bps().max(1) as f64
}

#[cfg(test)]
mod tests;
