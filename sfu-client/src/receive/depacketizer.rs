//! Payloads of one frame to what a decoder takes.
//!
//! H.264 (RFC 6184): the first byte's lower five bits are the type: 1-23 one NAL unit, 24 STAP-A (units with a 16-bit
//! length before each), 28 FU-A (a second byte `S E R type`, then a fragment).

use crate::peer::VideoCodec;
use bytes::Bytes;
use sfu_rtc::codec::{self, av1, vp8, vp9};
use sfu_rtc::media::Codec;

const STAP_A: u8 = 24;
const FU_A: u8 = 28;
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// Puts the payloads of one picture, in order, together in annex B form. `None` where one is damaged.
pub fn annex_b(payloads: &[Bytes]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(payloads.iter().map(|payload| payload.len() + START_CODE.len()).sum());
    let mut fragmented = false;
    for payload in payloads {
        let (first, rest) = payload.split_first()?;
        let kind = first & 0x1f;
        if fragmented && kind != FU_A {
            return None;
        }
        match kind {
            1..=23 => {
                out.extend_from_slice(&START_CODE);
                out.extend_from_slice(payload);
            }
            STAP_A => append_units(rest, &mut out)?,
            FU_A => {
                let (header, fragment) = rest.split_first()?;
                let (start, end) = (header & 0x80 != 0, header & 0x40 != 0);
                if start == fragmented {
                    return None;
                }
                if start {
                    out.extend_from_slice(&START_CODE);
                    out.push(first & 0xe0 | header & 0x1f);
                }
                out.extend_from_slice(fragment);
                fragmented = !end;
            }
            _ => return None,
        }
    }
    (!fragmented && !out.is_empty()).then_some(out)
}

fn append_units(mut units: &[u8], out: &mut Vec<u8>) -> Option<()> {
    while let Some((length, rest)) = units.split_first_chunk() {
        let (unit, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        out.extend_from_slice(&START_CODE);
        out.extend_from_slice(unit);
        units = rest;
    }
    units.is_empty().then_some(())
}

/// What these payloads carry, in order: a VP8 or VP9 frame without the descriptors before its pieces (RFC 7741 and RFC
/// 9628, section 4.2 each), or an AV1 temporal unit without its delimiter. `None` where one is damaged, the beginning is
/// missing, or the codec is another.
pub fn without_descriptors(codec: VideoCodec, payloads: &[Bytes]) -> Option<Vec<u8>> {
    match codec {
        VideoCodec::Vp8 => {
            joined(payloads, |payload| vp8::Descriptor::parse(payload).map(|found| (found.len, found.start_of_frame)))
        }
        VideoCodec::Vp9 => {
            joined(payloads, |payload| vp9::Descriptor::parse(payload).map(|found| (found.len, found.begin)))
        }
        VideoCodec::Av1 => av1::temporal_unit(payloads),
        VideoCodec::H264 => None,
    }
}

/// `descriptor` says how long the descriptor is, and whether a frame begins.
fn joined(payloads: &[Bytes], descriptor: impl Fn(&[u8]) -> Option<(usize, bool)>) -> Option<Vec<u8>> {
    let (_, begins) = descriptor(payloads.first()?)?;
    let mut out = Vec::with_capacity(payloads.iter().map(Bytes::len).sum());
    for payload in payloads {
        let (length, _) = descriptor(payload)?;
        out.extend_from_slice(payload.get(length..)?);
    }
    begins.then_some(out)
}

/// Whether a decoder can begin at the frame that these payloads carry, as far as their headers tell; with H.264 it needs
/// parameter sets too.
pub fn is_keyframe(codec: VideoCodec, payloads: &[Bytes]) -> bool {
    match codec {
        VideoCodec::H264 => payloads.iter().any(|payload| codec::begins_keyframe(Codec::H264, payload)),
        VideoCodec::Vp8 => payloads.first().is_some_and(|payload| vp8_keyframe(payload).unwrap_or(false)),
        // I, P, L, F, B, E, V, Z from the highest bit: a begin (B) without inter-picture prediction (P).
        VideoCodec::Vp9 => payloads.first().is_some_and(|p| p.first().is_some_and(|byte| byte & 0x48 == 0x08)),
        // Aggregation header: N, "first packet of a coded video sequence" (AV1 RTP specification section 4.4).
        VideoCodec::Av1 => payloads.first().is_some_and(|p| p.first().is_some_and(|byte| byte & 0x08 != 0)),
    }
}

/// RFC 7741 section 4.2: descriptor `X R N S PID`, optional `I L T K`, ids; then the frame's header, whose lowest bit
/// is 0 for a keyframe.
fn vp8_keyframe(payload: &[u8]) -> Option<bool> {
    let first = payload.first()?;
    if first & 0x17 != 0x10 {
        return Some(false);
    }
    let mut at = 1;
    if first & 0x80 != 0 {
        let extensions = payload.get(at)?;
        at += 1;
        if extensions & 0x80 != 0 {
            at += if payload.get(at)? & 0x80 != 0 { 2 } else { 1 };
        }
        at += usize::from(extensions & 0x40 != 0) + usize::from(extensions & 0x30 != 0);
    }
    Some(payload.get(at)? & 1 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtp::codec::av1::Av1Payloader;
    use rtp::codec::h264::H264Payloader;
    use rtp::packetizer::Payloader;

    fn bytes(payloads: &[&'static [u8]]) -> Vec<Bytes> {
        payloads.iter().map(|payload| Bytes::from_static(payload)).collect()
    }

    #[test]
    fn h264_comes_back_as_it_went() {
        let mut picture = vec![0, 0, 0, 1, 0x67, 1, 2, 3, 0, 0, 0, 1, 0x68, 4, 5, 0, 0, 0, 1, 0x65, 0x88];
        picture.extend((0..3000u32).map(|i| (i % 251) as u8 | 1));
        let payloads = H264Payloader::default().payload(1000, &Bytes::from(picture.clone())).unwrap();
        assert!(payloads.len() > 3);
        assert!(is_keyframe(VideoCodec::H264, &payloads));
        assert_eq!(annex_b(&payloads).unwrap(), picture);
        assert_eq!(annex_b(&payloads[..payloads.len() - 1]), None, "the end is missing");
        assert_eq!(annex_b(&payloads[2..]), None, "the start is missing");
    }

    #[test]
    fn frames_come_back_without_their_descriptors() {
        let vp8 = bytes(&[&[0x90, 0xe0, 0x81, 2, 3, 0x10, 7], &[0x80, 0xe0, 0x81, 2, 3, 0x10, 8, 9], &[0, 5]]);
        assert_eq!(without_descriptors(VideoCodec::Vp8, &vp8).unwrap(), [7, 8, 9, 5]);
        assert_eq!(without_descriptors(VideoCodec::Vp8, &vp8[1..]), None, "the start is missing");
        assert_eq!(without_descriptors(VideoCodec::Vp8, &bytes(&[&[0x90, 0xe0, 0x81]])), None);
        // References in every piece of a frame.
        let vp9 =
            bytes(&[&[0xd8, 0x80, 1, 2, 7], &[0xd0, 0x80, 1, 2, 8], &[0xd0, 0x80, 1, 2, 9], &[0xd4, 0x80, 1, 2, 5]]);
        assert_eq!(without_descriptors(VideoCodec::Vp9, &vp9).unwrap(), [7, 8, 9, 5]);
        assert_eq!(without_descriptors(VideoCodec::Vp9, &vp9[1..]), None, "the start is missing");
        assert_eq!(without_descriptors(VideoCodec::H264, &vp9), None);
        assert_eq!(without_descriptors(VideoCodec::Vp9, &[]), None);
    }

    #[test]
    fn av1_comes_back_as_it_went() {
        // A temporal delimiter, which is not sent, a sequence header and a frame.
        let head = [0x0a, 3, 1, 2, 3, 0x32, 0xb8, 0x17];
        let unit = [&[0x12, 0][..], &head, &[7; 3_000]].concat();
        let payloads = Av1Payloader::default().payload(1_000, &Bytes::from(unit.clone())).unwrap();
        assert!(payloads.len() > 3 && payloads.iter().all(|payload| payload.len() <= 1_000));
        assert!(is_keyframe(VideoCodec::Av1, &payloads) && !is_keyframe(VideoCodec::Av1, &payloads[1..]));
        assert_eq!(without_descriptors(VideoCodec::Av1, &payloads).unwrap(), unit[2..]);
        assert_eq!(without_descriptors(VideoCodec::Av1, &payloads[1..]), None, "the start is missing");
        assert_eq!(without_descriptors(VideoCodec::Av1, &payloads[..2]), None, "the end is missing");
    }

    #[test]
    fn damaged_payloads_are_refused() {
        assert_eq!(annex_b(&bytes(&[])), None);
        assert_eq!(annex_b(&bytes(&[&[]])), None);
        assert_eq!(annex_b(&bytes(&[&[0x78, 0, 9, 1]])), None);
        assert_eq!(annex_b(&bytes(&[&[0x7c]])), None);
        assert_eq!(annex_b(&bytes(&[&[0x7f, 1, 2]])), None);
        assert_eq!(annex_b(&bytes(&[&[0x7c, 0x85, 1], &[0x41, 1]])), None);
    }

    #[test]
    fn keyframes_are_known_by_their_headers() {
        assert!(!is_keyframe(VideoCodec::H264, &bytes(&[&[0x41, 1], &[]])));
        assert!(is_keyframe(VideoCodec::H264, &bytes(&[&[0x78, 0, 2, 0x67, 1, 0, 2, 0x65, 0x88]])));
        assert!(!is_keyframe(VideoCodec::H264, &bytes(&[&[0x65, 0x48]])), "its first slice is missing");
        assert!(is_keyframe(VideoCodec::Vp8, &bytes(&[&[0x90, 0xe0, 0x81, 2, 3, 0x10, 0]])));
        assert!(!is_keyframe(VideoCodec::Vp8, &bytes(&[&[0x90, 0xe0, 0x81, 2, 3, 0x10, 1]])));
        assert!(is_keyframe(VideoCodec::Vp8, &bytes(&[&[0x10, 0x10]])));
        assert!(!is_keyframe(VideoCodec::Vp8, &bytes(&[&[0x90, 0x80, 0x81]])));
        assert!(is_keyframe(VideoCodec::Vp9, &bytes(&[&[0x88, 1]])));
        assert!(!is_keyframe(VideoCodec::Vp9, &bytes(&[&[0xc8, 1]])));
        assert!(is_keyframe(VideoCodec::Av1, &bytes(&[&[0x18, 1]])));
    }
}
