//! What a picture takes, foretold from its complexity and quantiser.

/// What the logarithm of bits is above that of complexity at quantiser 0, before anything was coded.
const KEYFRAME_OFFSET: f64 = 4.5;
const DELTA_OFFSET: f64 = 4.5;
/// What the first picture that recovers is taken to take more than others, as a logarithm.
const RECOVERY_OFFSET: f64 = 1.0;
/// Halvings of bits per 6 steps of the quantiser.
const KEYFRAME_SLOPE: f64 = 1.0;
const DELTA_SLOPE: f64 = 1.2;
/// Bounds of the slope between keyframes, and how fast it is learned: from steps to a finer quantiser by three or more, as
/// others answer what the content did the picture before, which it undoes as often as not.
const SLOPES: (f64, f64) = (0.9, 2.4);
const SLOPE_RATE: f64 = 0.3;
const SLOPE_NOISE: f64 = 0.1;
const SLOPE_STEP: f64 = 0.5;
/// Share of the slope that each picture takes back to what is usual: noise ends where motion makes quantisers coarse.
const FORGET: f64 = 0.06;

/// How many bits a picture takes: `log2 bits = offset + log2 complexity - slope * quantizer / 6`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Model {
    offset: f64,
    slope: f64,
}

impl Model {
    /// Of keyframes, before anything was coded.
    pub(super) const fn keyframe() -> Self {
        Self { offset: KEYFRAME_OFFSET, slope: KEYFRAME_SLOPE }
    }

    /// Of pictures between them.
    pub(super) const fn delta() -> Self {
        Self { offset: DELTA_OFFSET, slope: DELTA_SLOPE }
    }

    /// Of pictures that recover, before any was coded, as others of the scene are.
    pub(super) const fn of_recovery(self) -> Self {
        Self { offset: self.offset + RECOVERY_OFFSET, ..self }
    }

    /// Logarithms throughout: nothing overflows, whatever comes.
    pub(super) fn log_bits(&self, complexity: f64, quantizer: f64) -> f64 {
        self.offset + complexity.max(1.0).log2() - self.slope * quantizer / 6.0
    }

    pub(super) fn quantizer(&self, complexity: f64, bits: f64) -> f64 {
        (self.offset + complexity.max(1.0).log2() - bits.max(1.0).log2()) * 6.0 / self.slope
    }

    pub(super) fn learn(&mut self, complexity: f64, quantizer: f64, bits: f64, weight: f64) {
        self.offset += weight * (bits.max(1.0).log2() - self.log_bits(complexity, quantizer));
    }

    /// The slope too, from the step that was made from the quantiser before (normalised least mean squares): where noise
    /// begins to be coded it is far steeper than elsewhere.
    pub(super) fn learn_slope(&mut self, complexity: f64, quantizer: f64, bits: f64, weight: f64, before: f64) {
        let step = (quantizer - before) / 6.0;
        let slope = self.slope + FORGET * (DELTA_SLOPE - self.slope);
        self.offset += (slope - self.slope) * quantizer / 6.0;
        self.slope = slope;
        if step <= -SLOPE_STEP {
            let error = (bits.max(1.0).log2() - self.log_bits(complexity, quantizer)).clamp(-2.0, 2.0);
            let change = weight * SLOPE_RATE * error * step / (step * step + SLOPE_NOISE);
            let slope = (self.slope - change).clamp(SLOPES.0, SLOPES.1);
            // Turned about the quantiser before, where the model was right.
            self.offset += (slope - self.slope) * before / 6.0;
            self.slope = slope;
        }
        self.learn(complexity, quantizer, bits, weight);
    }
}
