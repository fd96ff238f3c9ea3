//! Who gets how much of a subscriber's path: one policy per file behind [`BitrateAllocator`].

mod wanted;

pub use wanted::WantedAllocator;

use sfu_rtc::units::Bitrate;
use std::fmt::Debug;

/// What one slot could carry.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SlotDemand {
    /// Bitrates of the layers that are alive and wanted, lowest first; one entry for audio.
    pub layers: Vec<Bitrate>,
    /// Goes before others: audio, and later screens and pinned video.
    pub urgent: bool,
}

/// Shares out the path to one subscriber.
pub trait BitrateAllocator: Debug + Send {
    /// Writes to `granted`, for each slot of `demands`, how many of its layers it may carry: 0 pauses it. The sum of
    /// the bitrates granted stays within `estimate`, but for urgent slots, which always get their first layer, and for
    /// one layer that is always sent. Without an estimate everything wanted is granted.
    fn allocate(&mut self, estimate: Option<Bitrate>, demands: &[SlotDemand], granted: &mut Vec<usize>);
}

/// Which policy a worker uses.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum AllocatorConfig {
    /// What the subscriber wants, capped by the estimate.
    #[default]
    Wanted,
}

impl AllocatorConfig {
    /// Makes the policy.
    pub fn build(&self) -> Box<dyn BitrateAllocator> {
        match self {
            Self::Wanted => Box::new(WantedAllocator),
        }
    }
}
