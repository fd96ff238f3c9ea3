//! Who gets how much of a subscriber's path: one policy per file behind [`BitrateAllocator`].

mod by_importance;
mod history;
pub mod room_planner;

pub use by_importance::{ByImportance, ImportanceConfig};
pub use history::{AllocationHistory, HoldConfig, Wait};

use crate::command::Role;
use crate::ids::PublicationId;
use arrayvec::ArrayVec;
use sfu_rtc::time::Instant;
use sfu_rtc::units::Bitrate;
use std::fmt::Debug;

/// Most steps that a slot has from nothing to its best: of eight simulcast layers, the lowest in four frame rates; or
/// four spatial layers in four frame rates each.
pub const MAX_STEPS: usize = 16;

/// What one slot could carry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotDemand {
    /// The slot's section.
    pub slot: u16,
    /// What it carries.
    pub publication: PublicationId,
    /// How much it matters.
    pub importance: Importance,
    /// What is there, can be selected, and is of use for the size at which it is shown: each better and dearer than
    /// the one before. Empty where nothing is to be sent.
    pub layers: ArrayVec<Layer, MAX_STEPS>,
    /// What its sender could make the best layer take, if it were asked to.
    pub attainable: Bitrate,
}

impl SlotDemand {
    /// What it would take at its best.
    fn wanted(&self) -> Bitrate {
        self.layers.last().map_or(Bitrate::ZERO, |best| best.rate.max(self.attainable))
    }
}

/// How much a slot matters to its subscriber; the greater goes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Importance {
    /// Audio goes before all video.
    pub audio: bool,
    /// What the subscriber says.
    pub priority: u8,
    /// What it is.
    pub role: Role,
    /// Pixels of its tile; 0 where the subscriber does not say.
    pub area: u32,
}

/// One way to send a publication: all up to a layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layer {
    /// Up to which.
    pub id: LayerId,
    /// What that takes on the wire, lower layers that it needs included.
    pub rate: Bitrate,
}

/// The highest layer that is sent, in each dimension. The greater is the better.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LayerId {
    /// Place among the simulcast layers, the lowest first.
    pub rank: u8,
    /// Spatial layer within the stream; [`u8::MAX`] for all.
    pub spatial: u8,
    /// Temporal layer; [`u8::MAX`] for all.
    pub temporal: u8,
}

impl LayerId {
    /// Everything.
    pub const ALL: Self = Self { rank: u8::MAX, spatial: u8::MAX, temporal: u8::MAX };
    /// The smallest picture at its full frame rate.
    pub const LOWEST: Self = Self { rank: 0, spatial: 0, temporal: u8::MAX };

    /// The same at whatever frame rate.
    fn picture(self) -> (u8, u8) {
        (self.rank, self.spatial)
    }
}

/// What came of sharing out one path.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Allocation {
    /// What all that was granted takes.
    pub granted: Bitrate,
    /// What all that is wanted would take, with what is not sent now for want of room.
    pub wanted: Bitrate,
    /// The next layer to be granted, which the estimate has no room for.
    pub next_step: Option<NextStep>,
    /// When what is granted for a while only has to be reviewed.
    pub review: Option<Instant>,
}

/// A layer that a higher estimate would bring: what a path may be probed for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NextStep {
    /// What the subscriber would get more.
    pub gain: Bitrate,
    /// The estimate at which it would.
    pub at: Bitrate,
}

/// Shares out the path to one subscriber.
pub trait BitrateAllocator: Debug + Send {
    /// An estimate may be taken for more where a path that carries less cannot be measured, as the policy says.
    ///
    /// Writes to `granted`, for each slot of `demands`, how many of its layers it may carry: 0 pauses it. What is
    /// granted stays within `estimate`, but for audio, which is always granted, for one layer that is always sent, and for
    /// a moment for the lowest layer of what was sent before.
    /// Without an estimate everything wanted is granted. `history` is the subscriber's own.
    fn allocate(
        &mut self,
        now: Instant,
        estimate: Option<Bitrate>,
        demands: &[SlotDemand],
        history: &mut AllocationHistory,
        granted: &mut Vec<usize>,
    ) -> Allocation;
}

/// Which policy a worker uses.
#[derive(Clone, PartialEq, Debug)]
pub enum AllocatorConfig {
    /// The most important first.
    ByImportance(ImportanceConfig),
}

impl Default for AllocatorConfig {
    fn default() -> Self {
        Self::ByImportance(ImportanceConfig::default())
    }
}

impl AllocatorConfig {
    /// Makes the policy.
    pub fn build(&self) -> Box<dyn BitrateAllocator> {
        match self {
            Self::ByImportance(config) => Box::new(ByImportance::new(config.clone())),
        }
    }
}

#[cfg(test)]
mod tests;
