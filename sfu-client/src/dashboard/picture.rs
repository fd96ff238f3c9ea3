//! A picture as half blocks: each character is two square pixels, one above the other.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::widgets::Widget;
use sfu_client::frame::VideoFrame;

/// Draws a picture as large as fits, in its shape.
pub(super) struct HalfBlocks<'a> {
    pub(super) picture: &'a VideoFrame,
    /// Whether the terminal has all colours; else the 216 of the cube.
    pub(super) true_colour: bool,
}

impl Widget for HalfBlocks<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let (width, height) = (self.picture.width(), self.picture.height());
        let (most_columns, most_rows) = (usize::from(area.width), usize::from(area.height) * 2);
        // In whole pixels of the screen, none larger than the picture's own.
        let columns = most_columns.min(most_rows * width / height).min(width);
        let rows = (columns * height / width).min(most_rows);
        for y in 0..rows / 2 {
            for x in 0..columns {
                let pixel = |row| self.colour(mean(self.picture, (x, row), (columns, rows)));
                let place = ((area.x as usize + x) as u16, (area.y as usize + y) as u16);
                let style = Style::new().fg(pixel(2 * y)).bg(pixel(2 * y + 1));
                if let Some(cell) = buffer.cell_mut(place) {
                    cell.set_symbol("▀").set_style(style);
                }
            }
        }
    }
}

impl HalfBlocks<'_> {
    fn colour(&self, [r, g, b]: [u8; 3]) -> Color {
        if self.true_colour {
            return Color::Rgb(r, g, b);
        }
        // 16 colours, then a cube of six steps on each side.
        let step = |value: u8| (u16::from(value) * 5 + 127) / 255;
        Color::Indexed((16 + 36 * step(r) + 6 * step(g) + step(b)) as u8)
    }
}

/// The mean colour of what pixel `(x, y)` of `(columns, rows)` covers, from limited-range BT.601.
fn mean(picture: &VideoFrame, (x, y): (usize, usize), (columns, rows): (usize, usize)) -> [u8; 3] {
    let (luma, u, v) = picture.planes();
    let plane = |plane: &[u8], width: usize, height: usize| {
        let (left, right) = (x * width / columns, ((x + 1) * width / columns).max(x * width / columns + 1));
        let (top, bottom) = (y * height / rows, ((y + 1) * height / rows).max(y * height / rows + 1));
        let lines = (top..bottom).map(|line| &plane[line * width + left..line * width + right]);
        let sum: u32 = lines.flatten().map(|sample| u32::from(*sample)).sum();
        sum as f32 / ((right - left) * (bottom - top)) as f32
    };
    let (width, height) = (picture.width(), picture.height());
    let luma = (plane(luma, width, height) - 16.0) * 1.164;
    let (u, v) = (plane(u, width / 2, height / 2) - 128.0, plane(v, width / 2, height / 2) - 128.0);
    [luma + 1.596 * v, luma - 0.392 * u - 0.813 * v, luma + 2.017 * u].map(|value| value.round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(picture: &VideoFrame, width: u16, height: u16, true_colour: bool) -> Buffer {
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
        HalfBlocks { picture, true_colour }.render(buffer.area, &mut buffer);
        buffer
    }

    #[test]
    fn two_pixels_share_a_character_and_the_shape_is_kept() {
        let mut picture = VideoFrame::new(64, 32).unwrap();
        picture.fill_grey(0, 0, 64, 16, 235);
        let buffer = drawn(&picture, 20, 20, true);
        // 20 pixels wide, 10 high: five rows of characters.
        assert_eq!((buffer[(19, 4)].symbol(), buffer[(0, 5)].symbol()), ("▀", " "));
        assert_eq!((buffer[(3, 1)].fg, buffer[(3, 3)].bg), (Color::Rgb(255, 255, 255), Color::Rgb(0, 0, 0)));
        assert_eq!((buffer[(3, 2)].fg, buffer[(3, 2)].bg), (Color::Rgb(255, 255, 255), Color::Rgb(0, 0, 0)));
        assert_eq!(drawn(&picture, 20, 20, false)[(3, 1)].fg, Color::Indexed(231));
    }

    #[test]
    fn colours_are_those_of_the_picture() {
        let mut picture = VideoFrame::new(4, 4).unwrap();
        // Red in BT.601.
        let (y, u, v) = picture.planes_mut();
        y.fill(81);
        u.fill(90);
        v.fill(240);
        let Color::Rgb(r, g, b) = drawn(&picture, 4, 2, true)[(0, 0)].fg else { panic!() };
        assert!(r > 250 && g < 5 && b < 5, "{r} {g} {b}");
    }

    #[test]
    fn any_area_is_drawn() {
        let picture = VideoFrame::new(640, 360).unwrap();
        for (width, height) in [(0, 0), (1, 1), (3, 200), (200, 1), (300, 120)] {
            drawn(&picture, width, height, true);
        }
    }
}
