//! People and things: ellipses with texture, before a background.

use super::texture::Texture;
use crate::frame::VideoFrame;
use std::f64::consts::TAU;

/// A textured ellipse; lengths in shares of the picture's height.
struct Thing {
    centre: (f64, f64),
    radii: (f64, f64),
    luma: i32,
    /// How strong the texture is, of 256.
    texture: i32,
    chroma: (u8, u8),
}

/// Somebody in room number `room`, `second` seconds after the start.
pub(super) fn talking(picture: &mut VideoFrame, texture: &Texture, second: f64, room: usize) {
    let shift = (room * 61) as isize;
    let brightness = [118, 96, 150, 80, 134][room % 5];
    background(picture, texture, (shift, shift * 3), (brightness, 90 + (room % 3) as i32 * 50));
    let wave = |rate: f64, phase: f64| (TAU * (rate * second + phase)).sin();
    let (sway, nod) = (0.03 * wave(0.23, 0.1) + 0.01 * wave(0.71, 0.3), 0.012 * wave(0.9, 0.0));
    let middle = 0.5 * picture.width() as f64 / picture.height() as f64 + 0.1 * (room % 3) as f64;
    let skin = (108, 150);
    let mut things = vec![
        Thing { centre: (middle + sway * 0.6, 1.02), radii: (0.36, 0.42), luma: 86, texture: 110, chroma: (140, 120) },
        Thing { centre: (middle + sway, 0.36 + nod), radii: (0.17, 0.22), luma: 60, texture: 90, chroma: (124, 132) },
        Thing { centre: (middle + sway, 0.39 + nod), radii: (0.14, 0.19), luma: 165, texture: 40, chroma: skin },
    ];
    // Blinks of 0.15 s every 3.1 s.
    let open = if second % 3.1 < 0.15 { 0.004 } else { 0.016 };
    for side in [-0.055, 0.055] {
        let centre = (middle + sway + side, 0.35 + nod);
        things.push(Thing { centre, radii: (0.024, open), luma: 50, texture: 0, chroma: (128, 128) });
    }
    let mouth = 0.008 + 0.022 * (wave(2.1, 0.0) * wave(0.37, 0.2)).abs();
    let centre = (middle + sway, 0.48 + nod);
    things.push(Thing { centre, radii: (0.05, mouth), luma: 70, texture: 20, chroma: (118, 160) });
    // Hands rest, and move for two seconds of five.
    let moves = (1.0 - ((second % 5.0) - 3.0).abs()).clamp(0.0, 1.0);
    for (side, rate) in [(-1.0, 0.9), (1.0, 1.1)] {
        let (dx, dy) = (wave(rate, 0.0) * 0.1 * moves, wave(rate * 1.3, 0.25) * 0.16 * moves);
        let centre = (middle + side * 0.3 + dx, 0.86 - 0.25 * moves + dy);
        things.push(Thing { centre, radii: (0.075, 0.085), luma: 155, texture: 70, chroma: skin });
    }
    for thing in &things {
        thing.draw(picture, texture);
    }
}

/// A world that pans fast, and things that cross it.
pub(super) fn rush(picture: &mut VideoFrame, texture: &Texture, second: f64) {
    let unit = picture.height() as f64;
    let wave = |rate: f64, phase: f64| (TAU * (rate * second + phase)).sin();
    let pan = ((wave(0.17, 0.0) * 1.1 + second * 0.3) * unit, wave(0.31, 0.2) * 0.35 * unit);
    background(picture, texture, (pan.0 as isize, pan.1 as isize), (122, 150));
    let aspect = picture.width() as f64 / unit;
    for number in 0..7 {
        let phase = f64::from(number) / 7.0;
        let centre = (aspect * (0.5 + 0.6 * wave(0.4 + 0.09 * phase, phase)), 0.5 + 0.5 * wave(0.53, phase * 2.3));
        let (luma, radius) = (70 + number * 20, 0.09 + 0.08 * phase);
        let chroma = (100 + (number * 9) as u8, 150 - (number * 8) as u8);
        Thing { centre, radii: (radius, radius * 0.8), luma, texture: 150, chroma }.draw(picture, texture);
    }
}

/// Leaves a twelfth of the light, which wavers by a few percent, and little colour.
pub(super) fn darken(picture: &mut VideoFrame, second: f64) {
    let share = 0.22 * (1.0 + 0.03 * (TAU * 0.4 * second).sin());
    let (luma, u, v) = picture.planes_mut();
    let table: [u8; 256] = std::array::from_fn(|luma| (16.0 + (luma as f64 - 16.0).max(0.0) * share) as u8);
    luma.iter_mut().for_each(|sample| *sample = table[usize::from(*sample)]);
    for sample in u.iter_mut().chain(v) {
        *sample = ((i32::from(*sample) - 128) * 2 / 5 + 128) as u8;
    }
}

/// Fills the picture with texture from `origin` on, around a mean and with a strength of 256.
fn background(picture: &mut VideoFrame, texture: &Texture, origin: (isize, isize), (mean, strength): (i32, i32)) {
    let (width, height) = (picture.width(), picture.height());
    let (luma, u, v) = picture.planes_mut();
    for (y, row) in luma.chunks_exact_mut(width).enumerate() {
        let light = mean + 30 - (60 * y / height) as i32;
        for (x, sample) in row.iter_mut().enumerate() {
            let grain = texture.at(x as isize + origin.0, y as isize + origin.1);
            *sample = (light + grain * strength / 256).clamp(16, 235) as u8;
        }
    }
    u.fill(124);
    v.fill((126 + origin.1.rem_euclid(9)) as u8);
}

impl Thing {
    fn draw(&self, picture: &mut VideoFrame, texture: &Texture) {
        let (width, height) = (picture.width(), picture.height());
        let unit = height as f64;
        let (centre_x, centre_y) = (self.centre.0 * unit, self.centre.1 * unit);
        let (radius_x, radius_y) = (self.radii.0 * unit, self.radii.1 * unit);
        let (luma, u, v) = picture.planes_mut();
        let from_y = (centre_y - radius_y).max(0.0) as usize;
        for y in from_y..((centre_y + radius_y).max(0.0) as usize).min(height) {
            let across = (y as f64 - centre_y) / radius_y;
            let reach = radius_x * (1.0 - across * across).max(0.0).sqrt();
            let from = ((centre_x - reach).max(0.0) as usize).min(width);
            let to = ((centre_x + reach).max(0.0) as usize).clamp(from, width);
            for (x, sample) in luma[y * width + from..y * width + to].iter_mut().enumerate() {
                let place = ((x + from) as isize - centre_x as isize, y as isize - centre_y as isize);
                let light = self.luma - (place.1 as f64 / radius_y * 14.0) as i32;
                *sample = (light + texture.at(place.0, place.1) * self.texture / 256).clamp(16, 235) as u8;
            }
            let chroma = y / 2 * (width / 2) + from / 2..y / 2 * (width / 2) + to / 2;
            u[chroma.clone()].fill(self.chroma.0);
            v[chroma].fill(self.chroma.1);
        }
    }
}
