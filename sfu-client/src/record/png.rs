//! Pictures as PNG (ISO/IEC 15948): signature, then chunks `length(4) type(4) data CRC-32(4)`, big endian: IHDR (8 bits,
//! RGB), IDAT, IEND.
//!
//! Rows are not compressed (blocks of stored bytes, RFC 1951, 3.2.4, in a zlib stream, RFC 1950): these are pictures to
//! look at once.

use crate::frame::VideoFrame;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// Largest block of stored bytes.
const MAX_BLOCK: usize = 0xffff;

/// Writes `picture` to a file.
///
/// # Errors
/// Where that is not possible.
pub fn write_png(path: &Path, picture: &VideoFrame) -> Result<()> {
    fs::write(path, png(picture)).with_context(|| format!("cannot write {}", path.display()))
}

fn png(picture: &VideoFrame) -> Vec<u8> {
    let (width, height) = (picture.width(), picture.height());
    let mut rows = Vec::with_capacity(height * (1 + width * 3));
    let (luma, u, v) = picture.planes();
    for (y, row) in luma.chunks_exact(width).enumerate() {
        // No filter.
        rows.push(0);
        for (x, luma) in row.iter().enumerate() {
            let chroma = y / 2 * (width / 2) + x / 2;
            rows.extend_from_slice(&rgb(*luma, u[chroma], v[chroma]));
        }
    }
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = Vec::new();
    // Sides are at most 3840.
    header.extend_from_slice(&(width as u32).to_be_bytes());
    header.extend_from_slice(&(height as u32).to_be_bytes());
    header.extend_from_slice(&[8, 2, 0, 0, 0]);
    chunk(&mut out, b"IHDR", &header);
    chunk(&mut out, b"IDAT", &zlib(&rows));
    chunk(&mut out, b"IEND", &[]);
    out
}

/// BT.601, limited range.
fn rgb(luma: u8, u: u8, v: u8) -> [u8; 3] {
    let (y, u, v) = (1.164 * (f64::from(luma) - 16.0), f64::from(u) - 128.0, f64::from(v) - 128.0);
    [y + 1.596 * v, y - 0.392 * u - 0.813 * v, y + 2.017 * u].map(|part| part.round().clamp(0.0, 255.0) as u8)
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let mut blocks = data.chunks(MAX_BLOCK).peekable();
    while let Some(block) = blocks.next() {
        let length = block.len() as u16;
        out.push(u8::from(blocks.peek().is_none()));
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    let (a, b) = data.iter().fold((1u32, 0u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    out.extend_from_slice(&(b << 16 | a).to_be_bytes());
    out
}

fn chunk(out: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    out.extend_from_slice(&(data.len() as u32).to_be_bytes());
    let start = out.len();
    out.extend_from_slice(kind);
    out.extend_from_slice(data);
    let crc = crc32(&out[start..]);
    out.extend_from_slice(&crc.to_be_bytes());
}

/// ISO 3309, as PNG wants it.
fn crc32(bytes: &[u8]) -> u32 {
    let table: [u32; 256] = std::array::from_fn(|byte| {
        (0..8).fold(byte as u32, |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    });
    !bytes.iter().fold(!0, |crc, byte| table[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ crc >> 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_and_colours_are_right() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(zlib(b"Wikipedia")[2 + 5 + 9..], 0x11e6_0398u32.to_be_bytes());
        assert_eq!((rgb(16, 128, 128), rgb(235, 128, 128)), ([0, 0, 0], [255, 255, 255]));
        // Pure red of BT.601.
        assert_eq!(rgb(82, 90, 240), [255, 1, 0]);
    }

    #[test]
    fn chunks_follow_each_other_to_the_end() {
        let file = png(&VideoFrame::new(320, 180).unwrap());
        let mut rest = &file[8..];
        let mut kinds = Vec::new();
        while let Some((length, body)) = rest.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            kinds.push(body[..4].to_vec());
            assert_eq!(crc32(&body[..4 + length]).to_be_bytes(), body[4 + length..8 + length]);
            rest = &body[8 + length..];
        }
        assert_eq!(kinds, [b"IHDR", b"IDAT", b"IEND"]);
        // 180 rows of 961 bytes in three blocks.
        assert_eq!(file.len(), 8 + 3 * 12 + 13 + 2 + 3 * 5 + 180 * 961 + 4);
    }
}
