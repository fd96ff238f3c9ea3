//! The overlay's digits for people: a 5x7 font, scaled up to the picture.

use crate::frame::VideoFrame;

/// Width of a character's cell in font dots: five and a gap.
const CELL: usize = 6;
/// Height in font dots.
const HEIGHT: usize = 7;

/// Writes `text` (digits, colon, point, space) near the picture's bottom left, white on black.
pub(super) fn draw(picture: &mut VideoFrame, text: &str) {
    // Half the picture's width reads well at every size and leaves the scene visible.
    let scale = (picture.width() / 2 / (CELL * text.len())).max(1);
    let (left, top) = (scale * 2, picture.height().saturating_sub(scale * (HEIGHT + 3)));
    picture.fill_grey(left - scale, top - scale, scale * (CELL * text.len() + 1), scale * (HEIGHT + 2), 16);
    for (index, character) in text.bytes().enumerate() {
        for (row, dots) in glyph(character).into_iter().enumerate() {
            for column in 0..5 {
                if dots >> (4 - column) & 1 == 1 {
                    let x = left + (index * CELL + column) * scale;
                    picture.fill_grey(x, top + row * scale, scale, scale, 235);
                }
            }
        }
    }
}

/// Rows of a character from the top, five dots each, the leftmost in bit 4.
const fn glyph(character: u8) -> [u8; HEIGHT] {
    match character {
        b'0' => [0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110],
        b'1' => [0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110],
        b'2' => [0b01110, 0b10001, 0b00001, 0b00010, 0b00100, 0b01000, 0b11111],
        b'3' => [0b11111, 0b00010, 0b00100, 0b00010, 0b00001, 0b10001, 0b01110],
        b'4' => [0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010],
        b'5' => [0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110],
        b'6' => [0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110],
        b'7' => [0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b01000, 0b01000],
        b'8' => [0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110],
        b'9' => [0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100],
        b':' => [0, 0b00100, 0b00100, 0, 0b00100, 0b00100, 0],
        b'.' => [0, 0, 0, 0, 0, 0b00100, 0b00100],
        _ => [0; HEIGHT],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stay_inside_small_pictures() {
        let mut picture = VideoFrame::new(160, 90).unwrap();
        draw(&mut picture, "000123  12:34:56.789");
        let luma = picture.planes().0;
        assert!(luma[..160 * 70].iter().all(|y| *y == 16), "the upper part stays free");
        assert!(luma[160 * 70..].contains(&235));
    }
}
