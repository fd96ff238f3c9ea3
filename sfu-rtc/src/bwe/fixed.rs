//! No estimation: a constant.

use super::BandwidthEstimator;
use crate::units::Bitrate;

/// Says the same whatever happens.
#[derive(Clone, Debug)]
pub struct Fixed(Option<Bitrate>);

impl Fixed {
    /// Always `rate`; `None` for no limit.
    pub fn new(rate: Option<Bitrate>) -> Self {
        Self(rate)
    }
}

impl BandwidthEstimator for Fixed {
    fn estimate(&self) -> Option<Bitrate> {
        self.0
    }
}
