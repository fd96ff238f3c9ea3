//! Picture ids of VP8 (RFC 7741 section 4.2) and VP9 (RFC 9628 section 4.2), which are written alike.
//!
//! ```text
//! |M| PictureID   |   7 bits, or with M
//! |   PictureID   |   the low 8 of 15
//! ```

use arrayvec::ArrayVec;

const WIDE: u8 = 0x80;

/// The picture id that begins `bytes`, and how many bytes it takes.
pub(super) fn read(bytes: &[u8]) -> Option<(u16, usize)> {
    let first = *bytes.first()?;
    if first & WIDE == 0 {
        return Some((u16::from(first), 1));
    }
    Some((u16::from_be_bytes([first & !WIDE, *bytes.get(1)?]), 2))
}

/// Writes `picture_id` as wide as `old_len` bytes, or wider where it does not fit.
pub(super) fn write(picture_id: u16, old_len: usize, out: &mut ArrayVec<u8, 16>) {
    let [high, low] = picture_id.to_be_bytes();
    if old_len == 1 && picture_id < 0x80 {
        out.push(low);
    } else {
        out.extend([high | WIDE, low]);
    }
}
