//! Light for dark rooms, under constraints in space and time.
//!
//! The luma of a picture that is dark goes through a curve with two unknowns: the mean `v` that comes out, and the
//! slope `a` there (contrast). They follow from one least-squares problem, which is closed:
//!
//! ```text
//! E(a, v) = s^2 (a - a*)^2               contrast: as much as this picture's spread s asks for
//!         + (v - v*)^2                   brightness: as much as its mean and its highlights allow
//!         + SHADOW (v - a d - k*)^2      shadows, d below the mean, stay near where they belong
//!         + TIME s^2 (a - a')^2          consistency: the slope of the picture before,
//!         + TIME (v - v' - (m - m'))^2   and its mean, moved as far as the source's mean m has moved
//! ```
//!
//! Then the mean is held to the source's own change, within a tenth of it, so that nothing flickers that did not
//! flicker before; what is missing to the solution without consistency is made up slowly, and only where it is much.
//! The curve is monotone and smooth, keeps black and white (a cubic in two pieces), and lands on the wanted mean exactly,
//! by the histogram. It is applied to luma alone as a table of 256 values, so hues stay as they are.

use super::histogram::Histogram;
use crate::frame::VideoFrame;

/// Black and white of limited range.
const BLACK: f64 = 16.0;
const WHITE: f64 = 235.0;
/// A picture is dark below this mean where less than a tenth of it is brighter than the second; from the second pair on
/// it is no longer.
const DARK: (f64, f64) = (66.0, 120.0);
const LIT: (f64, f64) = (80.0, 140.0);
/// The mean that is wanted, and the most that light (above black) is multiplied by: beyond, noise is all that is seen.
const WANTED_MEAN: f64 = 100.0;
const MOST_GAIN: f64 = 4.0;
/// The spread that is wanted, and the steepest slope at the mean.
const WANTED_DEVIATION: f64 = 42.0;
const MOST_SLOPE: f64 = 2.2;
/// Weights.
const SHADOW: f64 = 0.25;
const TIME: f64 = 8.0;
/// Pictures as unlike as this are a cut: nothing before it binds.
const CUT: f64 = 0.5;
/// The change of the mean may differ from the source's by this share of it.
const FOLLOW: f64 = 0.05;
/// What is missing to the wanted mean is made up in these steps, from the first distance on until it is below the second.
const DRIFT: f64 = 0.3;
const DRIFT_FROM: f64 = 12.0;
const DRIFT_TO: f64 = 1.0;
/// Most change of the slope from picture to picture.
const SLOPE_STEP: f64 = 0.01;

/// The stage.
#[derive(Clone, Debug, Default)]
pub struct LowLight {
    /// Whether pictures are brightened.
    active: bool,
    /// Whether what is missing is being made up.
    drifting: bool,
    before: Option<Before>,
}

/// What binds the next picture.
#[derive(Clone, Debug)]
struct Before {
    histogram: Histogram,
    source_mean: f64,
    mean: f64,
    slope: f64,
}

/// What a curve does at the mean of the picture.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Goal {
    mean: f64,
    slope: f64,
}

impl LowLight {
    /// A stage that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Brightens `picture`, where it needs that; false: it is as it was.
    pub fn process(&mut self, picture: &mut VideoFrame) -> bool {
        let histogram = Histogram::of(picture);
        let source_mean = histogram.mean();
        let before = self.before.take().filter(|before| before.histogram.distance(&histogram) < CUT);
        let is_dark = is_dark(&histogram, self.active && before.is_some());
        let before = match before {
            Some(before) if self.active => Some(before),
            // Light goes on slowly in a running scene, at once in a new one.
            Some(before) if is_dark => Some(Before { mean: before.source_mean, slope: 1.0, ..before }),
            _ => None,
        };
        self.active = is_dark || (before.is_some() && self.active);
        let (mut mean, mut slope) = (source_mean, 1.0);
        if self.active {
            let goal = self.goal(&histogram, is_dark, before.as_ref());
            if !is_dark && (goal.mean - source_mean).abs() < DRIFT_TO {
                // All light has gone slowly: from here on the picture is its own.
                self.active = false;
            } else {
                let table = curve(&histogram, goal);
                picture.planes_mut().0.iter_mut().for_each(|luma| *luma = table[usize::from(*luma)]);
                mean = histogram.mean_through(&table);
                slope = goal.slope;
            }
        }
        self.before = Some(Before { histogram, source_mean, mean, slope });
        self.active
    }

    /// The least-squares solution, within its bounds.
    fn goal(&mut self, histogram: &Histogram, is_dark: bool, before: Option<&Before>) -> Goal {
        let source_mean = histogram.mean();
        let wanted = if is_dark { wanted(histogram) } else { Goal { mean: source_mean, slope: 1.0 } };
        let spread = histogram.deviation().max(1.0).powi(2);
        let depth = source_mean - histogram.percentile(0.05);
        let shadow = BLACK
            + (histogram.percentile(0.05) - BLACK).max(0.0) * (wanted.mean - BLACK).max(1.0)
                / (source_mean - BLACK).max(1.0)
                * 0.5;
        let (slope_before, mean_before) =
            before.map_or((0.0, 0.0), |before| (before.slope, before.mean + source_mean - before.source_mean));
        // The normal equations: [a11 a12; a12 a22] (a, v) = (b1, b2).
        let solve = |time: f64| {
            let a11 = spread + SHADOW * depth * depth + time * spread;
            let a12 = -SHADOW * depth;
            let a22 = 1.0 + SHADOW + time;
            let b1 = spread * wanted.slope - SHADOW * depth * shadow + time * spread * slope_before;
            let b2 = wanted.mean + SHADOW * shadow + time * mean_before;
            let determinant = a11 * a22 - a12 * a12;
            Goal { slope: (b1 * a22 - b2 * a12) / determinant, mean: (a11 * b2 - a12 * b1) / determinant }
        };
        // Where a scene that begins here would begin: nothing is missing to that.
        let free = if is_dark { solve(0.0) } else { wanted };
        match before {
            None => free,
            Some(before) => self.limit_change(solve(TIME), free, before, source_mean),
        }
    }

    /// Holds a solution to what the source does.
    fn limit_change(&mut self, solved: Goal, free: Goal, before: &Before, source_mean: f64) -> Goal {
        let change = source_mean - before.source_mean;
        let missing = (free.mean - before.mean).abs();
        self.drifting = missing > if self.drifting { DRIFT_TO } else { DRIFT_FROM };
        let slack = FOLLOW * change.abs() + if self.drifting { DRIFT } else { 0.0 };
        let follows = before.mean + change;
        let mean = if self.drifting { follows + (free.mean - follows).clamp(-slack, slack) } else { solved.mean };
        Goal {
            mean: mean.clamp(follows - slack, follows + slack),
            slope: solved.slope.clamp(before.slope - SLOPE_STEP, before.slope + SLOPE_STEP),
        }
    }
}

/// With hysteresis, so that nothing goes on and off.
fn is_dark(histogram: &Histogram, was_dark: bool) -> bool {
    let (mean, bright) = if was_dark { LIT } else { DARK };
    histogram.mean() < mean && histogram.percentile(0.9) < bright
}

/// What this picture alone asks for, within the bounds that its statistics give.
fn wanted(histogram: &Histogram) -> Goal {
    let mean = histogram.mean();
    // Highlights may go up to nine tenths of white.
    let headroom = (BLACK + 0.9 * (WHITE - BLACK) - BLACK) / (histogram.percentile(0.99) - BLACK).max(1.0);
    let gain = MOST_GAIN.min(headroom).max(1.0);
    Goal {
        mean: WANTED_MEAN.min(BLACK + (mean - BLACK).max(0.0) * gain).max(mean),
        slope: (WANTED_DEVIATION / histogram.deviation().max(1.0)).clamp(1.0, MOST_SLOPE),
    }
}

/// The table whose mean over the picture is the goal's.
fn curve(histogram: &Histogram, goal: Goal) -> [u8; 256] {
    let at = histogram.mean().clamp(BLACK + 4.0, WHITE - 4.0);
    // The mean of a curve is below the curve at the mean, by its bend: look for what comes out right.
    let (mut low, mut high) = (BLACK, WHITE);
    let mut best = (f64::MAX, [0; 256]);
    for _ in 0..16 {
        let middle = (low + high) / 2.0;
        let table = hermite(at, Goal { mean: middle, ..goal });
        let error = histogram.mean_through(&table) - goal.mean;
        if error.abs() < best.0 {
            best = (error.abs(), table);
        }
        if error > 0.0 {
            high = middle;
        } else {
            low = middle;
        }
    }
    round_to(histogram, goal.mean, &mut best.1);
    best.1
}

/// Rounds a few values the other way, so that the mean comes out to a fraction of what one value makes: a still room's own
/// flicker is no larger than that.
fn round_to(histogram: &Histogram, mean: f64, table: &mut [u8; 256]) {
    let mut missing = mean - histogram.mean_through(table);
    for luma in BLACK as u8 + 1..WHITE as u8 {
        let (share, at) = (histogram.share(luma), usize::from(luma));
        if share == 0.0 || (missing.abs() - share).abs() >= missing.abs() {
            continue;
        }
        // Where it stays monotone.
        if missing > 0.0 && table[at] < table[at + 1] {
            table[at] += 1;
            missing -= share;
        } else if missing < 0.0 && table[at] > table[at - 1] {
            table[at] -= 1;
            missing += share;
        }
    }
}

/// Through black, (`at`, the goal's mean) with the goal's slope, and white; monotone (Fritsch and Carlson, 1980: no
/// slope above three times a secant beside it).
fn hermite(at: f64, goal: Goal) -> [u8; 256] {
    let lower = (goal.mean - BLACK) / (at - BLACK);
    let upper = (WHITE - goal.mean) / (WHITE - at);
    let slope = goal.slope.clamp(0.0, 3.0 * lower.min(upper));
    std::array::from_fn(|luma| {
        let x = luma as f64;
        let y = if x <= BLACK || x >= WHITE {
            x
        } else if x < at {
            cubic((x - BLACK) / (at - BLACK), at - BLACK, (BLACK, lower), (goal.mean, slope))
        } else {
            cubic((x - at) / (WHITE - at), WHITE - at, (goal.mean, slope), (WHITE, upper))
        };
        y.round().clamp(0.0, 255.0) as u8
    })
}

/// The cubic of two values with slopes, `width` apart, at share `t` of the way.
fn cubic(t: f64, width: f64, (from, slope_from): (f64, f64), (to, slope_to): (f64, f64)) -> f64 {
    let (square, cube) = (t * t, t * t * t);
    from * (2.0 * cube - 3.0 * square + 1.0)
        + slope_from * width * (cube - 2.0 * square + t)
        + to * (3.0 * square - 2.0 * cube)
        + slope_to * width * (cube - square)
}

#[cfg(test)]
mod tests;
