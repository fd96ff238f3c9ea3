//! What H.264 and H.265 share: network abstraction layer units.

use arrayvec::ArrayVec;

/// How much of a parameter set is read; sizes stand well within it.
const MAX_PARAMETER_SET: usize = 256;

/// Which parameter set a unit is, in the order of decoding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ParameterSetId {
    /// A video parameter set of H.265, with its vps_video_parameter_set_id.
    Video(u32),
    /// A sequence parameter set, with its id.
    Sequence(u32),
    /// A picture parameter set, with its id.
    Picture(u32),
}

/// A unit's content with the emulation prevention bytes taken out (H.264 and H.265 section 7.3.1.1: 00 00 03).
pub(super) fn unescaped(unit: &[u8]) -> ArrayVec<u8, MAX_PARAMETER_SET> {
    let mut content = ArrayVec::new();
    let mut zeros = 0;
    for &byte in unit {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        if content.try_push(byte).is_err() {
            break;
        }
    }
    content
}

/// The units of an aggregation packet, each behind its length in 16 bits; `None`, and the end, where one is cut short.
pub(super) fn aggregated(mut rest: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let unit = rest.split_first_chunk::<2>().and_then(|(len, after)| {
            let len = usize::from(u16::from_be_bytes(*len));
            after.split_at_checked(len).filter(|_| len > 0)
        });
        rest = unit.map_or(&[], |(_, after)| after);
        Some(unit.map(|(unit, _)| unit))
    })
}

/// Size of a picture of `width` by `height`, less what the four sides crop off.
pub(super) fn cropped(width: u32, height: u32, sides: [u32; 4], unit: (u32, u32)) -> Option<(u16, u16)> {
    let [left, right, top, bottom] = sides;
    let across = left.checked_add(right)?.checked_mul(unit.0)?;
    let down = top.checked_add(bottom)?.checked_mul(unit.1)?;
    Some((width.checked_sub(across)?.try_into().ok()?, height.checked_sub(down)?.try_into().ok()?))
}
