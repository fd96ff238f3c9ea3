//! Frames as they came, in the form in which Matroska keeps them.

use crate::peer::VideoCodec;
use crate::receive::{is_keyframe, without_descriptors};
use bytes::Bytes;
use sfu_rtc::codec::{ParameterSetId, av1, frame_facts, h264, parameter_sets};
use sfu_rtc::media::Codec;

/// Between two units of annex B, as [`crate::receive::annex_b`] writes it.
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// A picture to write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Picture {
    pub(super) data: Vec<u8>,
    /// Where a decoder can begin: what it must know.
    pub(super) begins: Option<Beginning>,
}

/// What a player must know before the first picture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Beginning {
    pub(super) size: (u16, u16),
    /// Matroska's CodecPrivate.
    pub(super) private: Vec<u8>,
}

/// Matroska's CodecID.
pub(super) const fn codec_id(codec: VideoCodec) -> &'static str {
    match codec {
        VideoCodec::H264 => "V_MPEG4/ISO/AVC",
        VideoCodec::Vp8 => "V_VP8",
        VideoCodec::Vp9 => "V_VP9",
        VideoCodec::Av1 => "V_AV1",
    }
}

/// The picture that these payloads carry; `unit` is it in annex B form, where it is H.264. `None` where it is damaged.
pub(super) fn picture(codec: VideoCodec, payloads: &[Bytes], unit: Option<&[u8]>) -> Option<Picture> {
    match codec {
        VideoCodec::H264 => unit.and_then(|unit| avc_picture(payloads, unit)),
        VideoCodec::Vp8 => vpx_picture(codec, Codec::Vp8, payloads),
        VideoCodec::Vp9 => vpx_picture(codec, Codec::Vp9, payloads),
        VideoCodec::Av1 => av1_picture(payloads),
    }
}

/// A temporal unit without its delimiter, as Matroska has it (AV1 codec mapping of Matroska, "Block Data").
fn av1_picture(payloads: &[Bytes]) -> Option<Picture> {
    let data = without_descriptors(VideoCodec::Av1, payloads)?;
    let begins = is_keyframe(VideoCodec::Av1, payloads).then(|| av1_beginning(&data)).flatten();
    Some(Picture { data, begins })
}

/// AV1CodecConfigurationRecord (AV1 codec ISO media file format binding, section 2.3): version; profile, level; tier, depth,
/// monochrome, subsampling, place of chroma; no presentation delay; then the sequence header.
fn av1_beginning(temporal_unit: &[u8]) -> Option<Beginning> {
    let header = av1::sequence_headers(temporal_unit).next()?;
    let found = av1::Configuration::read(header.content)?;
    let flags = [
        found.high_tier,
        found.high_bitdepth,
        found.twelve_bit,
        found.monochrome,
        found.subsampling.0,
        found.subsampling.1,
    ];
    let flags = flags.into_iter().fold(0, |byte, flag| byte << 1 | u8::from(flag));
    let mut private = vec![0x81, found.profile << 5 | found.level, flags << 2 | found.chroma_sample_position, 0];
    private.extend(header.unit);
    Some(Beginning { size: found.resolution, private })
}

fn vpx_picture(codec: VideoCodec, known_as: Codec, payloads: &[Bytes]) -> Option<Picture> {
    let facts = frame_facts(known_as, payloads.first()?, false, None).ok()?;
    let begins = facts.resolution.filter(|_| facts.keyframe).map(|size| Beginning { size, private: Vec::new() });
    Some(Picture { data: without_descriptors(codec, payloads)?, begins })
}

/// Units with their length before them (ISO/IEC 14496-15 section 5.3.3). Parameter sets stay where they are too: a size
/// that changes comes with new ones.
fn avc_picture(payloads: &[Bytes], unit: &[u8]) -> Option<Picture> {
    let mut data = Vec::with_capacity(unit.len());
    for unit in units(unit) {
        data.extend(u32::try_from(unit.len()).ok()?.to_be_bytes());
        data.extend(unit);
    }
    let is_keyframe = payloads.iter().any(|payload| sfu_rtc::codec::begins_keyframe(Codec::H264, payload));
    Some(Picture { data, begins: if is_keyframe { avc_beginning(payloads) } else { None } })
}

fn units(unit: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = unit.strip_prefix(&START_CODE).unwrap_or(unit);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.windows(START_CODE.len()).position(|window| window == START_CODE);
        let (unit, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after.get(START_CODE.len()..).unwrap_or_default();
        Some(unit)
    })
}

/// AVCDecoderConfigurationRecord (ISO/IEC 14496-15 section 5.3.3.1): version, profile, constraints, level, lengths of 4
/// bytes, then the parameter sets.
fn avc_beginning(payloads: &[Bytes]) -> Option<Beginning> {
    let (mut sequences, mut pictures) = (Vec::new(), Vec::new());
    for (id, set) in payloads.iter().flat_map(|payload| parameter_sets(Codec::H264, payload)) {
        match id {
            ParameterSetId::Sequence(_) => sequences.push(set),
            ParameterSetId::Picture(_) => pictures.push(set),
            ParameterSetId::Video(_) => {}
        }
    }
    let [_, profile, constraints, level, ..] = **sequences.first()? else { return None };
    let mut private = vec![1, profile, constraints, level, 0xff];
    for (mask, sets) in [(0xe0, &sequences), (0, &pictures)] {
        private.push(mask | u8::try_from(sets.len()).ok().filter(|count| *count < 32)?);
        for set in sets {
            private.extend(u16::try_from(set.len()).ok()?.to_be_bytes());
            private.extend(*set);
        }
    }
    Some(Beginning { size: h264_size(sequences.first()?)?, private })
}

fn h264_size(sequence_set: &[u8]) -> Option<(u16, u16)> {
    h264::resolution(sequence_set.get(1..)?)
}

/// `OpusHead` (RFC 7845 section 5.1), which is Matroska's CodecPrivate for Opus, and how many channels it names: two
/// where the first packet has two. A decoder makes as many of whatever comes.
pub(super) fn opus_head(packet: &[u8]) -> (u8, Vec<u8>) {
    // The stereo bit of the first byte (RFC 6716 section 3.1).
    let channels = if packet.first().is_some_and(|toc| toc & 4 != 0) { 2 } else { 1 };
    let mut head = b"OpusHead\x01".to_vec();
    head.push(channels);
    head.extend([0, 0]);
    head.extend(48_000u32.to_le_bytes());
    head.extend([0, 0, 0]);
    (channels, head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_get_their_lengths() {
        let unit = [0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x65, 2, 3];
        assert_eq!(units(&unit).collect::<Vec<_>>(), [&[0x67, 1][..], &[0x65, 2, 3]]);
        let picture = avc_picture(&[Bytes::from_static(&[0x41, 2])], &[0, 0, 0, 1, 0x41, 2]).unwrap();
        assert_eq!(picture, Picture { data: vec![0, 0, 0, 2, 0x41, 2], begins: None });
    }

    #[test]
    fn a_keyframe_without_its_sets_begins_nothing() {
        let slice = Bytes::from_static(&[0x65, 0x88, 0x80, 1]);
        assert_eq!(avc_picture(&[slice], &[0, 0, 0, 1, 0x65, 0x88]).unwrap().begins, None);
    }

    #[test]
    fn an_av1_stream_begins_with_its_sequence_header() {
        // Level 4.0, 1920x804.
        let header = [0x08, 0x00, 0x00, 0x00, 0x42, 0xa7, 0xbf, 0xe4, 0x60, 0x0d, 0x00, 0x40];
        let begins = Bytes::from([&[0x28, 12], &header[..], &[0x30, 0x10, 0]].concat());
        let picture = av1_picture(&[begins]).unwrap();
        let unit = [&[0x0a, 11], &header[1..]].concat();
        assert_eq!(picture.data, [&unit[..], &[0x32, 2, 0x10, 0]].concat());
        let private = [&[0x81, 0x08, 0x0c, 0], &unit[..]].concat();
        assert_eq!(picture.begins, Some(Beginning { size: (1_920, 804), private }));
        let next = av1_picture(&[Bytes::from_static(&[0x10, 0x30, 0x30, 0])]).unwrap();
        assert_eq!(next, Picture { data: vec![0x32, 2, 0x30, 0], begins: None });
    }

    #[test]
    fn stereo_is_known_by_the_packet() {
        assert_eq!(opus_head(&[0x7c]).0, 2);
        let (channels, head) = opus_head(&[0x78]);
        assert_eq!((channels, head.len()), (1, 19));
    }
}
