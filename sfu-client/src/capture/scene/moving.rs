//! A drifting gradient, a textured floor and a ball that bounces.

use crate::frame::VideoFrame;

/// Draws picture number `step`.
pub(super) fn draw(picture: &mut VideoFrame, step: usize) {
    sky(picture, step);
    floor(picture, step);
    ball(picture, step);
}

/// A gradient over the whole picture that drifts a sample per frame.
fn sky(picture: &mut VideoFrame, step: usize) {
    let (width, height) = (picture.width(), picture.height());
    let (luma, u, v) = picture.planes_mut();
    for (y, line) in luma.chunks_exact_mut(width).enumerate() {
        let base = 60 + y * 80 / height;
        for (x, sample) in line.iter_mut().enumerate() {
            *sample = to_u8(base + triangle(x + step, 128) / 2);
        }
    }
    for (y, (u, v)) in u.chunks_exact_mut(width / 2).zip(v.chunks_exact_mut(width / 2)).enumerate() {
        u.fill(to_u8(110 + triangle(y + step / 2, 64)));
        v.fill(to_u8(150 - triangle(y + step / 3, 64)));
    }
}

/// A checkered texture in the lower third that moves sideways: work for motion search.
fn floor(picture: &mut VideoFrame, step: usize) {
    let (width, height) = (picture.width(), picture.height());
    let top = height * 2 / 3;
    for (row, line) in picture.planes_mut().0.chunks_exact_mut(width).enumerate().skip(top) {
        for (x, sample) in line.iter_mut().enumerate() {
            let checker = ((x + step * 2) / 16 + (row - top) / 12) % 2;
            let grain = (x + step * 2).wrapping_mul(0x9e37_79b1) ^ row.wrapping_mul(0x85eb_ca6b);
            *sample = to_u8(60 + checker * 90 + (grain >> 7) % 12);
        }
    }
}

/// A ball that bounces off all four sides.
fn ball(picture: &mut VideoFrame, step: usize) {
    let (width, height) = (picture.width(), picture.height());
    let radius = (width.min(height) / 8).max(1);
    let centre_x = radius + triangle(step * 4, (width - 2 * radius).max(1));
    let centre_y = radius + triangle(step * 3, (height - 2 * radius).max(1));
    let (luma, u, v) = picture.planes_mut();
    for y in centre_y - radius..(centre_y + radius).min(height) {
        let reach = (radius * radius - centre_y.abs_diff(y).pow(2)).isqrt();
        let (from, to) = (centre_x - reach, (centre_x + reach).min(width));
        luma[y * width + from..y * width + to].fill(200);
        let chroma = y / 2 * (width / 2) + from / 2..y / 2 * (width / 2) + to / 2;
        u[chroma.clone()].fill(90);
        v[chroma].fill(190);
    }
}

/// 0 up to `peak` and down again, once every `2 * peak` steps.
const fn triangle(step: usize, peak: usize) -> usize {
    let phase = step % (2 * peak);
    if phase < peak { phase } else { 2 * peak - phase }
}

fn to_u8(value: usize) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}
