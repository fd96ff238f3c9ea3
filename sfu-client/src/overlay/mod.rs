//! The burned-in overlay: frame number and clock, for machines as blocks and for people as digits.
//!
//! The blocks are a grid across the top of the picture, `COLUMNS` wide and `ROWS` high, each cell a square of
//! `width / COLUMNS` luma samples, white for 1 and black for 0. The first column is white and the last black, which
//! gives the reader its threshold. Between them, row by row, most significant bit first:
//!
//! ```text
//! | 24 bits source | 32 bits frame number | 48 bits microseconds since the Unix epoch, modulo 2^48 | 16 bits CRC |
//! ```
//!
//! Cell borders follow from the picture's width alone, so the blocks survive scaling, and a cell is large enough to
//! survive the coarsest quantiser.

mod digits;

use crate::frame::VideoFrame;
use std::time::Duration;

/// Cells per row: 30 of payload between a white and a black one.
const COLUMNS: usize = 32;
/// Rows of payload.
const ROWS: usize = 4;
/// Bits in each row.
const ROW_BITS: usize = COLUMNS - 2;
/// Limited-range white.
const WHITE: u8 = 235;
/// Limited-range black.
const BLACK: u8 = 16;
/// The clock's field.
const CLOCK_MASK: u64 = (1 << 48) - 1;
/// The source's field.
const SOURCE_MASK: u32 = (1 << 24) - 1;
/// Narrowest picture whose cells (5 samples) are read reliably after coding.
pub const MIN_WIDTH: usize = 160;
/// Lowest picture that has room for blocks and digits.
pub const MIN_HEIGHT: usize = 90;

/// What is burned into a picture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Overlay {
    /// Which publisher: a number it has chosen at random. A change is a switch of source, not a gap.
    source: u32,
    /// Number of the frame, from 0.
    pub frame: u32,
    /// The sender's wall clock at capture, in microseconds since the Unix epoch, modulo 2^48.
    clock: u64,
}

impl Overlay {
    /// Frame `frame` of `source` (its lower 24 bits), captured at `unix` since the Unix epoch.
    pub fn new(source: u32, frame: u32, unix: Duration) -> Self {
        Self { source: source & SOURCE_MASK, frame, clock: micros(unix) & CLOCK_MASK }
    }

    /// Which publisher it was.
    pub const fn source(&self) -> u32 {
        self.source
    }

    /// Time from capture to `unix` by the wall clock; zero where the sender's clock is ahead.
    pub fn age(&self, unix: Duration) -> Duration {
        let age = micros(unix).wrapping_sub(self.clock) & CLOCK_MASK;
        // The upper half of the circle is a clock that is ahead.
        if age > CLOCK_MASK / 2 { Duration::ZERO } else { Duration::from_micros(age) }
    }

    /// Burns blocks and digits into `picture`. Pictures below [`MIN_WIDTH`] x [`MIN_HEIGHT`] stay as they are.
    pub fn draw(&self, picture: &mut VideoFrame) {
        if picture.width() < MIN_WIDTH || picture.height() < MIN_HEIGHT {
            return;
        }
        let bits = self.to_bits();
        for row in 0..ROWS {
            for column in 0..COLUMNS {
                let white = match column {
                    0 => true,
                    c if c == COLUMNS - 1 => false,
                    c => bits >> (ROWS * ROW_BITS - 1 - (row * ROW_BITS + c - 1)) & 1 == 1,
                };
                let (x, x_end) = (edge(picture.width(), column), edge(picture.width(), column + 1));
                let (y, y_end) = (edge(picture.width(), row), edge(picture.width(), row + 1));
                picture.fill_grey(x, y, x_end - x, y_end - y, if white { WHITE } else { BLACK });
            }
        }
        let seconds = self.clock / 1_000_000;
        let text = format!(
            "{:06}  {:02}:{:02}:{:02}.{:03}",
            self.frame % 1_000_000,
            seconds / 3600 % 24,
            seconds / 60 % 60,
            seconds % 60,
            self.clock / 1000 % 1000
        );
        digits::draw(picture, &text);
    }

    /// Reads the blocks of `picture`; `None` where there are none or they do not pass their checksum.
    pub fn read(picture: &VideoFrame) -> Option<Self> {
        if picture.width() < MIN_WIDTH || picture.height() < MIN_HEIGHT {
            return None;
        }
        let mut bits = 0u128;
        for row in 0..ROWS {
            let white = cell_mean(picture, 0, row);
            let black = cell_mean(picture, COLUMNS - 1, row);
            if white < black + 64 {
                return None;
            }
            for column in 1..COLUMNS - 1 {
                let one = cell_mean(picture, column, row) * 2 > white + black;
                bits = bits << 1 | u128::from(one);
            }
        }
        Self::from_bits(bits)
    }

    fn to_bits(self) -> u128 {
        let payload = u128::from(self.source) << 80 | u128::from(self.frame) << 48 | u128::from(self.clock);
        payload << 16 | u128::from(crc16(&payload.to_be_bytes()[3..]))
    }

    fn from_bits(bits: u128) -> Option<Self> {
        let overlay = Self {
            source: u32::try_from(bits >> 96).ok()?,
            frame: u32::try_from(bits >> 64 & u128::from(u32::MAX)).ok()?,
            clock: u64::try_from(bits >> 16 & u128::from(CLOCK_MASK)).ok()?,
        };
        (overlay.to_bits() == bits).then_some(overlay)
    }
}

fn micros(unix: Duration) -> u64 {
    u64::try_from(unix.as_micros()).unwrap_or(u64::MAX)
}

/// Where cell `index` begins, in luma samples; exact scaling needs rounding from the width, not whole cells.
const fn edge(width: usize, index: usize) -> usize {
    width * index / COLUMNS
}

/// Mean luma of the middle half of a cell: its border is blurred by coding and scaling.
fn cell_mean(picture: &VideoFrame, column: usize, row: usize) -> u32 {
    let width = picture.width();
    let (x, x_end) = (edge(width, column), edge(width, column + 1));
    let (y, y_end) = (edge(width, row), edge(width, row + 1));
    let (margin_x, margin_y) = ((x_end - x) / 4, (y_end - y) / 4);
    let luma = picture.planes().0;
    let (mut sum, mut count) = (0, 0);
    for line in (y + margin_y)..(y_end - margin_y) {
        for sample in &luma[line * width + x + margin_x..line * width + x_end - margin_x] {
            sum += u32::from(*sample);
            count += 1;
        }
    }
    sum / count
}

/// CRC-16/CCITT-FALSE (polynomial 0x1021, start 0xffff).
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xffff, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| if crc & 0x8000 != 0 { crc << 1 ^ 0x1021 } else { crc << 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_is_read() {
        for (width, height) in [(160, 90), (320, 180), (424, 240), (640, 360), (1280, 720)] {
            for (frame, micros) in [(0, 0), (u32::MAX, CLOCK_MASK), (0x1234_5678, 1_795_219_200_123_456)] {
                let mut picture = VideoFrame::new(width, height).unwrap();
                let overlay = Overlay::new(SOURCE_MASK - 5, frame, Duration::from_micros(micros));
                overlay.draw(&mut picture);
                assert_eq!(Overlay::read(&picture), Some(overlay), "{width}x{height}");
            }
        }
    }

    #[test]
    fn survives_halving_and_noise() {
        let mut picture = VideoFrame::new(640, 360).unwrap();
        let overlay = Overlay::new(1, 77, Duration::from_secs(1_795_000_000));
        overlay.draw(&mut picture);
        let mut small = VideoFrame::new(320, 180).unwrap();
        for y in 0..180 {
            for x in 0..320 {
                let noise = (x * 7 + y * 13) % 41;
                let value = usize::from(picture.planes().0[y * 2 * 640 + x * 2]) + noise;
                small.planes_mut().0[y * 320 + x] = u8::try_from(value.saturating_sub(20).min(255)).unwrap();
            }
        }
        assert_eq!(Overlay::read(&small), Some(overlay));
    }

    #[test]
    fn pictures_without_blocks_read_as_none() {
        assert_eq!(Overlay::read(&VideoFrame::new(320, 180).unwrap()), None);
        assert_eq!(Overlay::read(&VideoFrame::new(64, 64).unwrap()), None);
        let mut picture = VideoFrame::new(320, 180).unwrap();
        Overlay::new(1, 5, Duration::ZERO).draw(&mut picture);
        let (x, cell) = (edge(320, 8), edge(320, 1));
        picture.fill_grey(x, 0, cell, cell, WHITE);
        assert_eq!(Overlay::read(&picture), None, "the checksum catches one wrong cell");
    }

    #[test]
    fn age_is_the_time_since_capture_also_over_the_wrap() {
        let overlay = Overlay::new(1, 1, Duration::from_micros(CLOCK_MASK - 10));
        assert_eq!(overlay.age(Duration::from_micros(CLOCK_MASK + 1 + 20)), Duration::from_micros(31));
        assert_eq!(overlay.age(Duration::from_micros(CLOCK_MASK - 1000)), Duration::ZERO);
    }

    #[test]
    fn crc_of_the_standard_check_string() {
        assert_eq!(crc16(b"123456789"), 0x29b1);
    }
}
