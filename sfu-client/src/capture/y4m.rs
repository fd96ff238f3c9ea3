//! Pictures from a YUV4MPEG2 file (4:2:0, 8 bits), repeated from the start at its end.

use super::VideoSource;
use crate::frame::VideoFrame;
use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// Longest header line: real ones take less than a hundred bytes.
const MAX_LINE: u64 = 1024;

/// A YUV4MPEG2 file.
#[derive(Debug)]
pub struct Y4mReader<R = BufReader<File>> {
    input: R,
    width: usize,
    height: usize,
    frame_rate: f64,
    /// Where the first frame begins.
    start: u64,
}

impl Y4mReader {
    /// Opens a file.
    ///
    /// # Errors
    /// Where it cannot be read or is not 8-bit 4:2:0 YUV4MPEG2.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Self::new(BufReader::new(file)).with_context(|| format!("cannot play {}", path.display()))
    }
}

impl<R: BufRead + Seek> Y4mReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// Where the input is not 8-bit 4:2:0 YUV4MPEG2.
    pub fn new(input: R) -> Result<Self> {
        let mut reader = Self::stream(input)?;
        reader.start = reader.input.stream_position()?;
        Ok(reader)
    }
}

impl<R: BufRead> Y4mReader<R> {
    /// Reads the header of what can be read once only.
    pub(super) fn stream(mut input: R) -> Result<Self> {
        let line = read_line(&mut input)?.context("the file is empty")?;
        let mut words = line.split(' ');
        ensure!(words.next() == Some("YUV4MPEG2"), "this is not a YUV4MPEG2 file");
        let (mut width, mut height, mut frame_rate) = (0, 0, 30.0);
        for word in words.filter(|word| !word.is_empty()) {
            let Some((tag, value)) = word.split_at_checked(1) else { bail!("the header is not ASCII") };
            match tag {
                "W" => width = value.parse().context("the width is not a number")?,
                "H" => height = value.parse().context("the height is not a number")?,
                "F" => frame_rate = parse_ratio(value)?,
                "C" => ensure!(
                    matches!(value, "420" | "420jpeg" | "420mpeg2" | "420paldv"),
                    "the colour space C{value} is not 8-bit 4:2:0"
                ),
                _ => {}
            }
        }
        VideoFrame::new(width, height)?;
        Ok(Self { input, width, height, frame_rate, start: 0 })
    }

    /// The next picture; false at the end.
    pub(super) fn read_picture(&mut self, picture: &mut VideoFrame) -> Result<bool> {
        let Some(line) = read_line(&mut self.input)? else { return Ok(false) };
        ensure!(line.split(' ').next() == Some("FRAME"), "a frame does not begin with FRAME");
        self.input.read_exact(picture.data_mut()).context("the last frame is cut off")?;
        Ok(true)
    }
}

impl<R: BufRead + Seek + Send> VideoSource for Y4mReader<R> {
    fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    fn frame_rate(&self) -> f64 {
        self.frame_rate
    }

    fn draw(&mut self, _frame: u32, picture: &mut VideoFrame) -> Result<bool> {
        ensure!((picture.width(), picture.height()) == self.size(), "the picture is not of the file's size");
        if self.read_picture(picture)? {
            return Ok(true);
        }
        self.input.seek(SeekFrom::Start(self.start))?;
        self.read_picture(picture)
    }
}

/// One line without its end; `None` at the end of the input.
fn read_line(input: &mut impl BufRead) -> Result<Option<String>> {
    let mut line = Vec::new();
    input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    ensure!(line.pop() == Some(b'\n'), "a header line is too long");
    Ok(Some(String::from_utf8(line).context("a header line is not ASCII")?))
}

fn parse_ratio(text: &str) -> Result<f64> {
    let (numerator, denominator) = text.split_once(':').context("the frame rate is not a ratio")?;
    let rate = numerator.parse::<f64>()? / denominator.parse::<f64>()?;
    ensure!((1.0..=240.0).contains(&rate), "the frame rate must be 1 to 240, not {text}");
    Ok(rate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn plays_and_starts_again() {
        let mut file = b"YUV4MPEG2 W2 H2 F30000:1001 Ip C420jpeg\n".to_vec();
        for luma in [1, 2] {
            file.extend_from_slice(b"FRAME\n");
            file.extend_from_slice(&[luma, luma, luma, luma, 128, 128]);
        }
        let mut reader = Y4mReader::new(Cursor::new(file)).unwrap();
        assert!((reader.frame_rate() - 29.97).abs() < 0.01);
        let mut picture = VideoFrame::new(2, 2).unwrap();
        for luma in [1, 2, 1] {
            assert!(reader.draw(0, &mut picture).unwrap());
            assert_eq!(picture.data()[0], luma);
        }
    }

    #[test]
    fn bad_files_are_refused() {
        let header = |text: &str| Y4mReader::new(Cursor::new(text.as_bytes().to_vec())).map(|_| ());
        assert!(header("").is_err());
        assert!(header("RIFF W2 H2\n").is_err());
        assert!(header("YUV4MPEG2 W2 H2 C444\n").is_err());
        assert!(header("YUV4MPEG2 W2 H2 F0:0\n").is_err());
        assert!(header("YUV4MPEG2 W2\n").is_err());
        assert!(header(&"Y".repeat(5000)).is_err());
        let mut cut = Y4mReader::new(Cursor::new(b"YUV4MPEG2 W2 H2\nFRAME\nabc".to_vec())).unwrap();
        assert!(cut.draw(0, &mut VideoFrame::new(2, 2).unwrap()).is_err());
    }
}
