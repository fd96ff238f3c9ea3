//! What is done to pictures before they are coded: noise reduction, light for dark rooms, scaling.
//!
//! Better nothing than harm: each stage looks whether the picture needs it, and otherwise leaves it as it is, to the
//! last bit.

mod denoise;
mod histogram;
mod low_light;
mod scale;

pub use denoise::Denoise;
pub use histogram::Histogram;
pub use low_light::LowLight;
pub use scale::Scaler;

use crate::frame::VideoFrame;

/// Which stages there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PreprocessConfig {
    /// Reduce a sensor's noise, where there is some.
    pub denoise: bool,
    /// Brighten dark rooms.
    pub low_light: bool,
}

impl Default for PreprocessConfig {
    fn default() -> Self {
        Self { denoise: true, low_light: true }
    }
}

/// What the stages have done so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PreprocessStats {
    /// Pictures that came.
    pub pictures: u64,
    /// Pictures that noise was taken from.
    pub denoised: u64,
    /// Pictures that were brightened.
    pub brightened: u64,
}

/// The stages of one stream.
#[derive(Debug)]
pub struct Preprocessor {
    denoise: Option<Denoise>,
    low_light: Option<LowLight>,
    stats: PreprocessStats,
}

impl Preprocessor {
    /// Stages that have seen nothing.
    pub fn new(config: PreprocessConfig) -> Self {
        Self {
            denoise: config.denoise.then(Denoise::new),
            low_light: config.low_light.then(LowLight::new),
            stats: PreprocessStats::default(),
        }
    }

    /// Treats one picture after another. Noise goes first: light would amplify it.
    pub fn process(&mut self, picture: &mut VideoFrame) {
        self.stats.pictures += 1;
        if let Some(stage) = &mut self.denoise {
            self.stats.denoised += u64::from(stage.process(picture));
        }
        if let Some(stage) = &mut self.low_light {
            self.stats.brightened += u64::from(stage.process(picture));
        }
    }

    /// What has been done.
    pub const fn stats(&self) -> PreprocessStats {
        self.stats
    }
}
