//! Pages of text, as on a shared screen: nothing moves until the page is turned.

use super::texture::hash;
use crate::frame::VideoFrame;

/// Seconds from page to page.
pub(super) const SECONDS: f64 = 5.0;
/// Of a letter's cell and a line, in dots; the letters themselves have 5 by 7.
const CELL: usize = 6;
const LINE: usize = 11;
/// Letters of the alphabet, each a pattern of dots: strokes as thin as those of small print.
const LETTERS: u32 = 26;
/// One of so many places is a space.
const SPACES: u32 = 6;
/// The picture is so many dots wide, or has single samples for dots.
const DOTS: usize = 640;
const PAPER: u8 = 235;
const INK: u8 = 40;

/// Draws the page that is shown at `second`.
pub(super) fn draw(picture: &mut VideoFrame, second: f64) {
    let page = (second / SECONDS) as u32;
    let dot = (picture.width() / DOTS).max(1);
    let (width, height) = (picture.width() / dot, picture.height() / dot);
    picture.fill_grey(0, 0, picture.width(), picture.height(), PAPER);
    // The frame number and the clock take the uppermost eighth of the width.
    let (left, top, bottom) = (width / 20, width / 8 + 4, height.saturating_sub(LINE));
    for (number, y) in (top..bottom).step_by(LINE).enumerate() {
        let line = hash(page.wrapping_mul(1_009).wrapping_add(number as u32));
        // Some lines are the last of a paragraph.
        let end = if line.is_multiple_of(5) { width / 2 } else { width - left };
        for (place, x) in (left..end.saturating_sub(CELL)).step_by(CELL).enumerate() {
            let chosen = hash(line ^ (place as u32).wrapping_mul(0x9e37));
            if !chosen.is_multiple_of(SPACES) {
                letter(picture, (x * dot, y * dot), dot, chosen / SPACES % LETTERS);
            }
        }
    }
}

fn letter(picture: &mut VideoFrame, (left, top): (usize, usize), dot: usize, letter: u32) {
    let dots = u64::from(hash(letter)) << 32 | u64::from(hash(letter + LETTERS));
    for place in (0..35).filter(|place| dots >> place & 1 == 1) {
        picture.fill_grey(left + place % 5 * dot, top + place / 5 * dot, dot, dot, INK);
    }
}
