//! Dependency descriptor (AV1 RTP payload specification, appendix A): what a frame depends on and what depends on it.
//!
//! ```text
//! |S|E| template  |         frame number          |   mandatory: first and last packet of the frame
//! |T|A|D|F|C| ...                                     extended: template structure, active decode targets, own
//!                                                     DTIs, frame differences, chain differences
//! ```
//! A frame takes its layer, decode target indications (DTIs), frame and chain differences from a template; the
//! templates come once, with the first packet of a keyframe, and hold until the next such packet. Hence a reader keeps
//! a [`DependencyStructure`] per stream.

mod structure;
mod write;

use crate::codec::bits::BitReader;
use crate::drop_reason::DropReason;
use arrayvec::ArrayVec;
pub use structure::{DecodeTarget, MAX_CHAINS, MAX_DECODE_TARGETS, MAX_FRAME_DIFFS};
use structure::{Template, Templates};
pub use write::{FrameDescription, MAX_DIFF, Undescribable};

/// What a frame means for one decode target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dti {
    /// The frame is no part of it.
    NotPresent = 0,
    /// Nothing in it depends on the frame.
    Discardable = 1,
    /// A receiver may begin with it here.
    Switch = 2,
    /// Something in it depends on the frame.
    Required = 3,
}

impl Dti {
    const fn from_bits(bits: u64) -> Self {
        match bits & 3 {
            0 => Self::NotPresent,
            1 => Self::Discardable,
            2 => Self::Switch,
            _ => Self::Required,
        }
    }
}

/// DTIs of a frame, one for each decode target, two bits each.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Dtis {
    bits: u64,
    count: u8,
}

impl Dtis {
    fn read(bits: &mut BitReader<'_>, count: usize) -> Option<Self> {
        let mut dtis = Self::default();
        for target in 0..count.min(MAX_DECODE_TARGETS) {
            dtis.bits |= u64::from(bits.bits(2)?) << (2 * target);
            dtis.count += 1;
        }
        Some(dtis)
    }

    /// For decode target `target`; [`Dti::NotPresent`] where there is none.
    pub fn of(&self, target: usize) -> Dti {
        if target < usize::from(self.count) { Dti::from_bits(self.bits >> (2 * target)) } else { Dti::NotPresent }
    }

    /// In the order of the decode targets.
    pub fn iter(&self) -> impl Iterator<Item = Dti> + use<> {
        let dtis = *self;
        (0..usize::from(dtis.count)).map(move |target| dtis.of(target))
    }
}

/// One packet's descriptor, its template filled in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DependencyDescriptor {
    /// First packet of the frame.
    pub start_of_frame: bool,
    /// Last packet of the frame.
    pub end_of_frame: bool,
    /// Number of the frame; counts every frame of every layer.
    pub frame_number: u16,
    /// Whether the packet brought the templates, as the first of a keyframe does.
    pub structure_attached: bool,
    /// Spatial layer.
    pub spatial: u8,
    /// Temporal layer.
    pub temporal: u8,
    /// What the frame means for each decode target.
    pub dtis: Dtis,
    /// How many frame numbers before this one the frames lie that it refers to; none for a frame that stands alone.
    pub frame_diffs: ArrayVec<u16, MAX_FRAME_DIFFS>,
    /// For each chain, how many frame numbers before this one its last frame lies.
    pub chain_diffs: ArrayVec<u8, MAX_CHAINS>,
    /// Decode targets that the encoder produces from here on, one bit each, where the packet says so.
    pub active_decode_targets: Option<u32>,
    /// Whether a receiver may begin with this frame's own layer here: the frame is a switch in the decode target
    /// that ends with its layer, or that layer has nothing but leaves.
    pub switching_point: bool,
    /// Size of the frame's spatial layer, where the templates tell it.
    pub resolution: Option<(u16, u16)>,
}

impl DependencyDescriptor {
    /// Whether the frame refers to no other.
    pub fn is_keyframe(&self) -> bool {
        self.structure_attached || self.frame_diffs.is_empty()
    }

    /// Whether nothing in any decode target depends on the frame.
    pub fn is_discardable(&self) -> bool {
        self.dtis.iter().all(|dti| matches!(dti, Dti::NotPresent | Dti::Discardable))
    }
}

/// How much later than newer frames a retransmitted keyframe may come, in frames: 10 s of 30. Further back, the
/// sender has begun anew.
const MAX_LATE_FRAMES: u16 = 300;

/// The templates of one stream.
#[derive(Clone, Debug, Default)]
pub struct DependencyStructure {
    current: Option<Templates>,
    /// Frame that brought them.
    frame_number: u16,
}

impl DependencyStructure {
    /// Reads a descriptor, and keeps the templates that it brings. An error where it is malformed or its templates
    /// have not come; the packet may still be of use by its payload header.
    pub fn parse(&mut self, value: &[u8]) -> Result<DependencyDescriptor, DropReason> {
        self.read(value).ok_or(DropReason::RtpMalformed)
    }

    /// The decode targets, in the order of the descriptor's DTIs; none before the first templates.
    pub fn decode_targets(&self) -> &[DecodeTarget] {
        self.current.as_ref().map_or(&[], |templates| &templates.decode_targets)
    }

    fn read(&mut self, value: &[u8]) -> Option<DependencyDescriptor> {
        let mut bits = BitReader::new(value);
        let mandatory = Mandatory::read(&mut bits)?;
        let extended = if value.len() > MANDATORY_LEN { Extended::read(&mut bits)? } else { Extended::default() };
        if !extended.structure_present {
            return mandatory.complete(&extended, &mut bits, self.current.as_ref()?);
        }
        let templates = Templates::read(&mut bits)?;
        let descriptor = mandatory.complete(&extended, &mut bits, &templates)?;
        let late_by = self.frame_number.wrapping_sub(descriptor.frame_number);
        if self.current.is_none() || late_by == 0 || late_by > MAX_LATE_FRAMES {
            self.frame_number = descriptor.frame_number;
            self.current = Some(templates);
        }
        Some(descriptor)
    }
}

/// Bytes of the mandatory fields.
const MANDATORY_LEN: usize = 3;

struct Mandatory {
    start_of_frame: bool,
    end_of_frame: bool,
    template: u8,
    frame_number: u16,
}

/// Which of the optional parts follow.
#[derive(Default)]
struct Extended {
    structure_present: bool,
    active_targets_present: bool,
    own_dtis: bool,
    own_frame_diffs: bool,
    own_chain_diffs: bool,
}

impl Extended {
    fn read(bits: &mut BitReader<'_>) -> Option<Self> {
        Some(Self {
            structure_present: bits.flag()?,
            active_targets_present: bits.flag()?,
            own_dtis: bits.flag()?,
            own_frame_diffs: bits.flag()?,
            own_chain_diffs: bits.flag()?,
        })
    }
}

impl Mandatory {
    fn read(bits: &mut BitReader<'_>) -> Option<Self> {
        Some(Self {
            start_of_frame: bits.flag()?,
            end_of_frame: bits.flag()?,
            template: bits.byte(6)?,
            frame_number: bits.bits(16)?.try_into().ok()?,
        })
    }

    /// Reads what follows the templates, and fills in the frame's template.
    fn complete(
        self,
        extended: &Extended,
        bits: &mut BitReader<'_>,
        templates: &Templates,
    ) -> Option<DependencyDescriptor> {
        let targets = templates.decode_targets.len();
        let all_targets = extended.structure_present.then(|| u32::MAX >> (MAX_DECODE_TARGETS - targets));
        let active_decode_targets =
            if extended.active_targets_present { Some(bits.bits(targets as u32)?) } else { all_targets };
        let template = templates.of(self.template)?;
        let Template { spatial, temporal, mut dtis, own_target, layer_of_leaves, .. } = *template;
        let (mut frame_diffs, mut chain_diffs) = (template.frame_diffs.clone(), template.chain_diffs.clone());
        if extended.own_dtis {
            dtis = Dtis::read(bits, targets)?;
        }
        if extended.own_frame_diffs {
            frame_diffs = own_frame_diffs(bits)?;
        }
        if extended.own_chain_diffs {
            for diff in &mut chain_diffs {
                *diff = bits.byte(8)?;
            }
        }
        let own_dti = own_target.map_or(Dti::NotPresent, |target| dtis.of(target));
        Some(DependencyDescriptor {
            start_of_frame: self.start_of_frame,
            end_of_frame: self.end_of_frame,
            frame_number: self.frame_number,
            structure_attached: extended.structure_present,
            switching_point: own_dti == Dti::Switch || own_dti == Dti::Discardable && layer_of_leaves,
            resolution: templates.resolutions.get(usize::from(spatial)).copied(),
            spatial,
            temporal,
            dtis,
            frame_diffs,
            chain_diffs,
            active_decode_targets,
        })
    }
}

fn own_frame_diffs(bits: &mut BitReader<'_>) -> Option<ArrayVec<u16, MAX_FRAME_DIFFS>> {
    let mut diffs = ArrayVec::new();
    loop {
        let nibbles = bits.bits(2)?;
        if nibbles == 0 {
            return Some(diffs);
        }
        diffs.try_push(u16::try_from(bits.bits(4 * nibbles)?).ok()? + 1).ok()?;
    }
}

/// Gives a descriptor another frame number. Too short a value stays as it is.
pub fn set_frame_number(value: &mut [u8], frame_number: u16) {
    if let Some(place) = value.get_mut(1..MANDATORY_LEN) {
        place.copy_from_slice(&frame_number.to_be_bytes());
    }
}

#[cfg(test)]
mod tests;
