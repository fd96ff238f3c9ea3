//! What is in the window: a tile for each stream, with the sender's name, and why nothing new is in it.

use crate::frame::VideoFrame;
use font8x8::UnicodeFonts;
use std::time::{Duration, Instant};

/// Side of a character's box.
const GLYPH: usize = 8;
/// So many pixels of the window are one of a character; one where a line does not fit otherwise.
const ZOOM: usize = 2;
/// Height of a line of text, with its border.
const LINE: usize = (GLYPH + 4) * ZOOM;
const WHITE: u32 = 0x00ff_ffff;
const YELLOW: u32 = 0x00ff_d040;
const BACKGROUND: u32 = 0x0018_1818;
/// A picture is frozen after a gap of three times the mean one, or this much more than that (webrtc-stats).
const FREEZE_MARGIN: Duration = Duration::from_millis(150);
/// Weight of the newest gap in the mean.
const WEIGHT: f64 = 0.1;
/// The mean gap before there are two pictures.
const FIRST_GAP: Duration = Duration::from_millis(33);

/// All tiles.
#[derive(Default)]
pub(super) struct Wall {
    tiles: Vec<Tile>,
    /// What is said where there are none.
    waiting: Vec<String>,
}

struct Tile {
    mid: String,
    sender: String,
    /// Why no more comes.
    reason: String,
    /// The newest picture, and when it came.
    newest: Option<(VideoFrame, Instant)>,
    gap: Duration,
}

impl Wall {
    /// A picture has come.
    pub(super) fn show(&mut self, now: Instant, mid: &str, sender: &str, picture: VideoFrame) {
        let tile = self.tile(mid);
        sender.clone_into(&mut tile.sender);
        if let Some((_, before)) = &tile.newest {
            let gap = now.saturating_duration_since(*before).min(tile.gap * 3);
            tile.gap = tile.gap.mul_f64(1.0 - WEIGHT) + gap.mul_f64(WEIGHT);
        }
        tile.newest = Some((picture, now));
    }

    /// The stream of this section is `sender`'s, and sends no more for this `reason`, if it is not empty.
    pub(super) fn tell(&mut self, mid: &str, sender: &str, reason: &str) {
        let tile = self.tile(mid);
        sender.clone_into(&mut tile.sender);
        reason.clone_into(&mut tile.reason);
    }

    /// Of these streams nothing has come yet.
    pub(super) fn wait_for(&mut self, waiting: Vec<String>) {
        self.waiting = waiting;
    }

    fn tile(&mut self, mid: &str) -> &mut Tile {
        let known = self.tiles.iter().position(|tile| tile.mid == mid);
        let place = known.unwrap_or_else(|| {
            let (sender, reason) = (String::new(), String::new());
            self.tiles.push(Tile { mid: mid.to_owned(), sender, reason, newest: None, gap: FIRST_GAP });
            self.tiles.len() - 1
        });
        &mut self.tiles[place]
    }

    /// Draws everything, as it is at `now`.
    pub(super) fn draw(&self, now: Instant, canvas: &mut Canvas<'_>) {
        canvas.pixels.fill(BACKGROUND);
        let area = Area { x: 0, y: 0, width: canvas.width, height: canvas.height() };
        if self.tiles.is_empty() {
            canvas.write(area, 0, "no pictures have come yet", WHITE);
        }
        let columns = (1..).find(|columns| columns * columns >= self.tiles.len()).unwrap_or(1);
        let rows = self.tiles.len().div_ceil(columns).max(1);
        let (width, height) = (area.width / columns, area.height / rows);
        for (place, tile) in self.tiles.iter().enumerate() {
            let (x, y) = (place % columns * width, place / columns * height);
            tile.draw(now, Area { x, y, width, height }, canvas);
        }
        for (line, waiting) in (1..).zip(&self.waiting) {
            canvas.write(area, line, waiting, YELLOW);
        }
    }
}

impl Tile {
    fn draw(&self, now: Instant, area: Area, canvas: &mut Canvas<'_>) {
        if let Some((picture, _)) = &self.newest {
            canvas.paint(area, picture);
        }
        canvas.write(area, 0, &self.sender, WHITE);
        canvas.write(area, (area.height / LINE).saturating_sub(1), &self.trouble(now), YELLOW);
    }

    /// Why the picture does not move, or is no better.
    fn trouble(&self, now: Instant) -> String {
        let frozen = self.newest.as_ref().map(|(_, at)| now.saturating_duration_since(*at));
        let limit = (self.gap * 3).max(self.gap + FREEZE_MARGIN);
        let frozen = match frozen {
            Some(time) if time <= limit => return self.reason.clone(),
            Some(time) => format!("frozen for {:.1} s", time.as_secs_f64()),
            None => "no picture yet".to_owned(),
        };
        let reason = if self.reason.is_empty() { "nothing comes from the network" } else { &self.reason };
        format!("{frozen}: {reason}")
    }
}

/// A rectangle of the window.
#[derive(Clone, Copy)]
pub(super) struct Area {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

/// The window's pixels, 0RGB, row by row.
pub(super) struct Canvas<'a> {
    pixels: &'a mut [u32],
    width: usize,
}

impl<'a> Canvas<'a> {
    /// Of whole rows, and at least one pixel.
    pub(super) fn new(pixels: &'a mut [u32], width: usize) -> Self {
        Self { pixels, width }
    }

    fn height(&self) -> usize {
        self.pixels.len() / self.width
    }

    /// Draws `picture` as large as fits, in its shape.
    fn paint(&mut self, area: Area, picture: &VideoFrame) {
        let (from_width, from_height) = (picture.width(), picture.height());
        let width = area.width.min(area.height * from_width / from_height);
        let height = (width * from_height / from_width).min(area.height);
        let (left, top) = (area.x + (area.width - width) / 2, area.y + (area.height - height) / 2);
        let (luma, u, v) = picture.planes();
        for y in 0..height {
            let from = y * from_height / height;
            let start = (top + y) * self.width + left;
            for (x, pixel) in self.pixels[start..start + width].iter_mut().enumerate() {
                let at = x * from_width / width;
                let chroma = from / 2 * (from_width / 2) + at / 2;
                *pixel = rgb(luma[from * from_width + at], u[chroma], v[chroma]);
            }
        }
    }

    /// Writes a line of text, cut to the area, on a dark ground; nothing where it is empty.
    fn write(&mut self, area: Area, line: usize, text: &str, colour: u32) {
        let top = area.y + line * LINE;
        let zoom = if text.chars().count() * GLYPH * ZOOM <= area.width { ZOOM } else { 1 };
        let fits = area.width / (GLYPH * zoom);
        if text.is_empty() || top + LINE > area.y + area.height || fits == 0 {
            return;
        }
        for (place, character) in text.chars().take(fits).enumerate() {
            let glyph = font8x8::BASIC_FONTS.get(character).or_else(|| font8x8::LATIN_FONTS.get(character));
            self.glyph((area.x + place * GLYPH * zoom, top), zoom, glyph.unwrap_or([0x7e; GLYPH]), colour);
        }
    }

    fn glyph(&mut self, (left, top): (usize, usize), zoom: usize, glyph: [u8; GLYPH], colour: u32) {
        let border = (LINE - GLYPH * zoom) / 2;
        for y in 0..LINE {
            let row = y.checked_sub(border).and_then(|y| glyph.get(y / zoom)).copied().unwrap_or(0);
            let start = (top + y) * self.width + left;
            for (x, pixel) in self.pixels[start..start + GLYPH * zoom].iter_mut().enumerate() {
                let is_set = row >> (x / zoom) & 1 == 1;
                // A quarter of the light is left of the ground.
                *pixel = if is_set { colour } else { *pixel >> 2 & 0x003f_3f3f };
            }
        }
    }
}

/// BT.601, limited range, in 1/1024.
fn rgb(luma: u8, u: u8, v: u8) -> u32 {
    let (y, u, v) = (1_192 * (i32::from(luma) - 16), i32::from(u) - 128, i32::from(v) - 128);
    let part = |value: i32| ((value + 512) >> 10).clamp(0, 255) as u32;
    part(y + 1_634 * v) << 16 | part(y - 401 * u - 833 * v) << 8 | part(y + 2_066 * u)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: (usize, usize) = (640, 360);

    fn drawn(wall: &Wall, now: Instant) -> Vec<u32> {
        let mut pixels = vec![0; SIZE.0 * SIZE.1];
        wall.draw(now, &mut Canvas::new(&mut pixels, SIZE.0));
        pixels
    }

    fn has(pixels: &[u32], colour: u32) -> bool {
        pixels.contains(&colour)
    }

    fn white() -> VideoFrame {
        let mut picture = VideoFrame::new(320, 180).unwrap();
        picture.fill_grey(0, 0, 320, 180, 235);
        picture
    }

    #[test]
    fn before_a_picture_the_window_says_so() {
        let now = Instant::now();
        let mut wall = Wall::default();
        assert!(has(&drawn(&wall, now), WHITE) && !has(&drawn(&wall, now), YELLOW));
        wall.wait_for(vec!["ada: nothing comes: it is not shown here".to_owned()]);
        assert!(has(&drawn(&wall, now), YELLOW));
        wall.tell("0", "ada", "");
        assert!(wall.tiles[0].trouble(now).starts_with("no picture yet: nothing comes"));
    }

    #[test]
    fn a_picture_fills_the_window_and_a_freeze_is_named_with_its_reason() {
        let (mut wall, begun) = (Wall::default(), Instant::now());
        for number in 0..30 {
            wall.show(begun + Duration::from_millis(33) * number, "0", "", white());
        }
        let last = begun + Duration::from_millis(33) * 29;
        assert!(drawn(&wall, last).iter().all(|pixel| *pixel == WHITE));
        wall.tell("0", "", "nothing comes: no room on this connection");
        let later = last + Duration::from_millis(2_500);
        assert_eq!(wall.tiles[0].trouble(later), "frozen for 2.5 s: nothing comes: no room on this connection");
        assert!(has(&drawn(&wall, later), YELLOW));
    }

    #[test]
    fn tiles_lie_beside_each_other_whatever_size_the_window_has() {
        let now = Instant::now();
        let mut wall = Wall::default();
        for mid in ["0", "1", "2"] {
            wall.show(now, mid, "somebody with a very long name indeed, much longer than any tile is wide", white());
        }
        let pixels = drawn(&wall, now);
        let at = |x: usize, y: usize| pixels[y * SIZE.0 + x];
        assert_eq!([at(160, 90), at(480, 90), at(160, 270), at(480, 270)], [WHITE, WHITE, WHITE, BACKGROUND]);
        for (width, height) in [(1, 1), (7, 3), (31, 500), (1_000, 2)] {
            let mut pixels = vec![0; width * height];
            wall.draw(now, &mut Canvas::new(&mut pixels, width));
        }
    }

    #[test]
    fn colours_are_those_of_bt601() {
        assert_eq!((rgb(16, 128, 128), rgb(235, 128, 128)), (0, WHITE));
        let [r, g, b] = [16, 8, 0].map(|shift| rgb(82, 90, 240) >> shift & 0xff);
        assert!(r > 250 && g < 5 && b < 5, "{r} {g} {b}");
    }
}
