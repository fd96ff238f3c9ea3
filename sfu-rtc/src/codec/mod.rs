//! Payload headers of the codecs: what a forwarder must know of a frame without decoding it.

pub mod av1;
pub(crate) mod bits;
pub mod frame_class;
pub mod h264;
pub mod h265;
mod nal;
mod opus;
pub mod red;
pub mod vp8;
pub mod vp9;

pub use nal::ParameterSetId;

use crate::drop_reason::DropReason;
use crate::media::Codec;
use crate::rtp::extension::dependency_descriptor::DependencyDescriptor;

/// What one packet's payload header (or dependency descriptor) says of its frame, for any codec.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct FrameFacts {
    /// First packet of a frame (for layered codecs: of a layer frame).
    ///
    /// Without a dependency descriptor, H.264, H.265 and AV1 tell it only by where a picture can begin; of a
    /// keyframe's packets it is then the one that brings the parameter sets, which a receiver needs first.
    pub start_of_frame: bool,
    /// Last packet of a frame (for layered codecs: of a layer frame).
    pub end_of_frame: bool,
    /// Belongs to a frame from which decoding can begin. VP8 and AV1 payload headers tell it on the frame's first
    /// packet only.
    pub keyframe: bool,
    /// Temporal layer, 0 the base.
    pub temporal: u8,
    /// Spatial layer, 0 the base.
    pub spatial: u8,
    /// From this frame on a receiver may begin to decode its temporal layer. Always so in the base layer.
    pub switching_point: bool,
    /// No other frame depends on this one.
    pub discardable: bool,
    /// VP8 or VP9 picture id, 15 bits.
    pub picture_id: Option<u16>,
    /// VP8 or VP9 index of the base-layer frame, 8 bits.
    pub tl0_pic_idx: Option<u8>,
    /// Frame number of the dependency descriptor, 16 bits.
    pub frame_number: Option<u16>,
    /// How many frame numbers before this one the only frame lies that it refers to, where the dependency descriptor
    /// names one.
    pub reference: Option<u16>,
    /// Width and height in pixels of the whole picture, all spatial layers included, where the packet tells: payload headers do on keyframes.
    pub resolution: Option<(u16, u16)>,
}

/// What a packet says of its frame. The dependency descriptor, where there is one, is believed before the payload
/// header; the payload header must be valid all the same, but for AV1, H.264 and H.265, which may be encrypted end to
/// end.
pub fn frame_facts(
    codec: Codec,
    payload: &[u8],
    marker: bool,
    descriptor: Option<&DependencyDescriptor>,
) -> Result<FrameFacts, DropReason> {
    let from_payload = match codec {
        Codec::Opus => opus::frame_facts(payload),
        Codec::OpusRed => red::primary(payload).and_then(|range| opus::frame_facts(&payload[range])),
        Codec::Vp8 => vp8::frame_facts(payload, marker),
        Codec::Vp9 => vp9::frame_facts(payload),
        Codec::H264 => h264::frame_facts(payload, marker),
        Codec::H265 => h265::frame_facts(payload, marker),
        Codec::Av1 => av1::frame_facts(payload, marker),
    };
    let facts = from_payload.ok_or(DropReason::PayloadMalformed);
    match descriptor {
        None => facts,
        Some(descriptor) if matches!(codec, Codec::Vp8 | Codec::Vp9) => Ok(described(descriptor, facts?)),
        Some(descriptor) => Ok(described(descriptor, facts.unwrap_or_default())),
    }
}

/// The parameter sets in a payload of H.264 or H.265, each a whole unit; of another codec none.
pub fn parameter_sets(codec: Codec, payload: &[u8]) -> impl Iterator<Item = (ParameterSetId, &[u8])> {
    let h264 = (codec == Codec::H264).then(|| h264::parameter_sets(payload));
    let h265 = (codec == Codec::H265).then(|| h265::parameter_sets(payload));
    h264.into_iter().flatten().chain(h265.into_iter().flatten())
}

/// Whether a payload of H.264 or H.265 has the beginning of a picture from which decoding can begin: its first slice, or
/// the first fragment of that.
pub fn begins_keyframe(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::H264 => h264::begins_idr(payload),
        Codec::H265 => h265::begins_random_access(payload),
        _ => false,
    }
}

fn described(descriptor: &DependencyDescriptor, facts: FrameFacts) -> FrameFacts {
    FrameFacts {
        start_of_frame: descriptor.start_of_frame,
        end_of_frame: descriptor.end_of_frame,
        keyframe: descriptor.is_keyframe(),
        temporal: descriptor.temporal,
        spatial: descriptor.spatial,
        switching_point: descriptor.temporal == 0 || descriptor.switching_point,
        discardable: descriptor.is_discardable(),
        frame_number: Some(descriptor.frame_number),
        reference: descriptor.frame_diffs.first().copied().filter(|_| descriptor.frame_diffs.len() == 1),
        resolution: facts.resolution.or(descriptor.resolution),
        ..facts
    }
}

#[cfg(test)]
mod tests;
