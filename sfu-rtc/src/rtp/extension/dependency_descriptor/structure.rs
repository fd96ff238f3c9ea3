//! The template dependency structure: templates, decode targets, chains, resolutions.
//!
//! In order: id offset (6), decode targets - 1 (5); per template a step to the next layer (2: 0 the same, 1 next
//! temporal, 2 next spatial, 3 the end); per template and target a DTI (2); per template frame differences (1 + 4
//! each); chains ns(targets + 1), the chain of each target, and per template and chain a difference (4); resolutions
//! (1, then 16 + 16 per spatial layer).

use super::{Dti, Dtis};
use crate::codec::bits::BitReader;
use arrayvec::ArrayVec;

/// Most decode targets: their count has five bits.
pub const MAX_DECODE_TARGETS: usize = 32;
/// Most chains: one for each decode target.
pub const MAX_CHAINS: usize = MAX_DECODE_TARGETS;
/// Most frames that one frame refers to; AV1, which has the most, knows seven.
pub const MAX_FRAME_DIFFS: usize = 8;
/// Most templates: their ids have six bits.
const MAX_TEMPLATES: usize = 64;
/// Spatial layers that a payload may have (scalability modes end at L3; AV1 has two bits).
const MAX_SPATIAL: usize = 4;
/// Temporal layers that a payload may have (AV1 has three bits).
const MAX_TEMPORAL: u8 = 8;

/// A set of layers that a receiver may choose to decode.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct DecodeTarget {
    /// Highest spatial layer in it.
    pub spatial: u8,
    /// Highest temporal layer in it.
    pub temporal: u8,
    /// Chain that protects it: while every frame of the chain arrives, the target can be decoded.
    pub chain: Option<u8>,
}

/// What frames of one kind have in common.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Template {
    pub(super) spatial: u8,
    pub(super) temporal: u8,
    pub(super) dtis: Dtis,
    pub(super) frame_diffs: ArrayVec<u16, MAX_FRAME_DIFFS>,
    pub(super) chain_diffs: ArrayVec<u8, MAX_CHAINS>,
    /// The decode target that ends with this layer.
    pub(super) own_target: Option<usize>,
    /// No frame of the layer depends on another of it, as far as the templates tell.
    pub(super) layer_of_leaves: bool,
}

/// The templates of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Templates {
    id_offset: u8,
    templates: Vec<Template>,
    pub(super) decode_targets: ArrayVec<DecodeTarget, MAX_DECODE_TARGETS>,
    pub(super) resolutions: ArrayVec<(u16, u16), MAX_SPATIAL>,
}

impl Templates {
    pub(super) fn read(bits: &mut BitReader<'_>) -> Option<Self> {
        let id_offset = bits.byte(6)?;
        let target_count = usize::from(bits.byte(5)?) + 1;
        let mut templates = read_layers(bits)?;
        for template in &mut templates {
            template.dtis = Dtis::read(bits, target_count)?;
        }
        for template in &mut templates {
            while bits.flag()? {
                template.frame_diffs.try_push(u16::from(bits.byte(4)?) + 1).ok()?;
            }
        }
        let mut decode_targets: ArrayVec<_, MAX_DECODE_TARGETS> =
            (0..target_count).map(|target| layers_of(target, &templates)).collect();
        read_chains(bits, &mut decode_targets, &mut templates)?;
        relate(&mut templates, &decode_targets);
        let resolutions = read_resolutions(bits, templates.last()?.spatial)?;
        Some(Self { id_offset, templates, decode_targets, resolutions })
    }

    /// The template with the id `id`.
    pub(super) fn of(&self, id: u8) -> Option<&Template> {
        let index = (id + 64 - self.id_offset) % 64; // both have six bits
        self.templates.get(usize::from(index))
    }
}

fn read_layers(bits: &mut BitReader<'_>) -> Option<Vec<Template>> {
    let mut templates = Vec::new();
    let (mut spatial, mut temporal) = (0, 0);
    loop {
        if templates.len() == MAX_TEMPLATES || usize::from(spatial) == MAX_SPATIAL || temporal == MAX_TEMPORAL {
            return None;
        }
        templates.push(Template {
            spatial,
            temporal,
            dtis: Dtis::default(),
            frame_diffs: ArrayVec::new(),
            chain_diffs: ArrayVec::new(),
            own_target: None,
            layer_of_leaves: false,
        });
        match bits.bits(2)? {
            0 => {}
            1 => temporal += 1,
            2 => (spatial, temporal) = (spatial + 1, 0),
            _ => return Some(templates),
        }
    }
}

/// The highest layers among the templates that are part of the target.
fn layers_of(target: usize, templates: &[Template]) -> DecodeTarget {
    let parts = templates.iter().filter(|template| template.dtis.of(target) != Dti::NotPresent);
    parts.fold(DecodeTarget::default(), |highest, template| DecodeTarget {
        spatial: highest.spatial.max(template.spatial),
        temporal: highest.temporal.max(template.temporal),
        chain: None,
    })
}

/// Finds each template's own decode target, and whether all frames of its layer are leaves there.
fn relate(templates: &mut [Template], targets: &[DecodeTarget]) {
    for (index, target) in targets.iter().enumerate() {
        let ends_with =
            |template: &Template| (template.spatial, template.temporal) == (target.spatial, target.temporal);
        let leaves = templates.iter().filter(|t| ends_with(t)).all(|t| t.dtis.of(index) != Dti::Required);
        for template in templates.iter_mut().filter(|t| ends_with(t)) {
            template.own_target = Some(index);
            template.layer_of_leaves = leaves;
        }
    }
}

fn read_chains(bits: &mut BitReader<'_>, targets: &mut [DecodeTarget], templates: &mut [Template]) -> Option<()> {
    let chain_count = bits.below(targets.len() as u32 + 1)?; // at most 32 targets
    if chain_count == 0 {
        return Some(());
    }
    for target in targets {
        target.chain = Some(bits.below(chain_count)?.try_into().ok()?);
    }
    for template in templates {
        for _ in 0..chain_count {
            template.chain_diffs.try_push(bits.byte(4)?).ok()?;
        }
    }
    Some(())
}

fn read_resolutions(bits: &mut BitReader<'_>, max_spatial: u8) -> Option<ArrayVec<(u16, u16), MAX_SPATIAL>> {
    let mut resolutions = ArrayVec::new();
    if bits.flag()? {
        for _ in 0..=max_spatial {
            let (width, height) = (bits.bits(16)?, bits.bits(16)?);
            resolutions.push((one_more(width)?, one_more(height)?));
        }
    }
    Some(resolutions)
}

/// Sizes are written less one; 65,536 is none that we handle.
fn one_more(minus_one: u32) -> Option<u16> {
    u16::try_from(minus_one + 1).ok()
}
